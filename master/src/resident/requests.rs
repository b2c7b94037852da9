//! What is asked of a slave's residents beside calls, and what it answers.
//!
//! Owns: the questions. Invariant: what a slave answers is held against what was asked before it
//! is believed.

use super::window::{Place, Window};
use crate::slave::{Linked, Unanswered};
use dpfw_protocol::Bytes;
use dpfw_protocol::error::Cause;
use dpfw_protocol::message::{ResidentOp, ResidentReply, ResidentRequest};
use dpfw_protocol::payload::Payload;
use dpfw_protocol::resident::ResidentInfo;
use dpfw_protocol::store::Key;
use std::sync::Arc;

/// Asks, and gives the answer as it came.
pub(super) async fn answer(
    linked: &Linked,
    op: ResidentOp,
) -> Result<(ResidentReply, Bytes), Cause> {
    let request = ResidentRequest { op };
    let answer = linked.ask(&linked.residents.replies, &request, Payload::default()).await;
    answer.map_err(|unanswered| match unanswered {
        Unanswered::Lost if linked.residents.is_shut_down() => Cause::Shutdown,
        Unanswered::Lost => Cause::SlaveLost { may_have_run: true },
        Unanswered::Unsendable(error) => Cause::BadArguments { message: error.to_string() },
    })
}

/// Asks, and gives the answer with its payload; a failure is one.
pub(crate) async fn ask_with_payload(
    linked: &Linked,
    op: ResidentOp,
) -> Result<(ResidentReply, Bytes), Cause> {
    let (mut reply, payload) = answer(linked, op).await?;
    // Of one that ended the failure says how.
    match reply.failure.take_if(|_| reply.end.is_none()) {
        Some(failure) => Err(failure.into()),
        None => Ok((reply, payload)),
    }
}

/// Asks, and gives the answer.
pub(crate) async fn ask(linked: &Linked, op: ResidentOp) -> Result<ResidentReply, Cause> {
    Ok(ask_with_payload(linked, op).await?.0)
}

impl Window {
    /// Asks something of the resident at a place; a lost slave is a lost resident.
    pub(crate) async fn ask(
        &self,
        place: &Place,
        op: ResidentOp,
    ) -> Result<(ResidentReply, Bytes), Cause> {
        ask_with_payload(&place.linked, op).await.map_err(|cause| lost(&self.key, cause))
    }
}

/// Why nothing is known of a resident: a lost slave is a lost resident.
pub(super) fn lost(key: &Key, cause: Cause) -> Cause {
    match cause {
        Cause::SlaveLost { may_have_run } => {
            Cause::ResidentLost { key: key.to_string(), may_have_run }
        }
        cause => cause,
    }
}

/// The one resident that was asked for.
pub(crate) fn one(reply: ResidentReply, key: &Key) -> Result<ResidentInfo, Cause> {
    let found = reply.residents.into_iter().next().filter(|info| info.key == *key);
    found.ok_or_else(|| Cause::NoResident { key: key.to_string() })
}

impl Place {
    /// Whether it is this very one.
    pub(crate) fn is(&self, other: &Self) -> bool {
        self.linked.id == other.linked.id && self.resident == other.resident
    }

    /// The same over another link to its slave.
    pub(super) fn over(&self, linked: Arc<Linked>) -> Self {
        Self { linked, ..self.clone() }
    }

    /// Where a slave says that it is.
    pub(crate) fn of(linked: Arc<Linked>, info: &ResidentInfo) -> Self {
        // A mailbox that takes nothing would be waited for without end.
        let mailbox = info.mailbox.max(1) as usize;
        Self { linked, resident: info.resident, module: info.module, mailbox }
    }
}

/// The window of a resident that a slave has told of.
pub(super) fn window(linked: &Arc<Linked>, info: &ResidentInfo) -> Arc<Window> {
    linked.residents.window(info.resident, || {
        let (key, class) = (info.key.clone(), info.class.as_str().into());
        let place = Place::of(Arc::clone(linked), info);
        Window::new(key, class, Arc::clone(&linked.home), place)
    })
}
