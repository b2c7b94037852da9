//! What an observer may say.
//!
//! Owns: which messages are for whoever may only look, and how the others are refused. Does not:
//! answer those that are; the reader does, as for a master. Invariants: nothing that an observer
//! says has anything run, written, held or ended; each thing that it may not ask for is refused in
//! the words of that thing, or, where there are none, by the end of the link.

use super::Reader;
use crate::residents;
use crate::standing::Rights;
use dpfw_link::LinkError;
use dpfw_protocol::error::Cause;
use dpfw_protocol::frame::{END, Frame};
use dpfw_protocol::message::{
    Bind, BindImage, BindMethod, BindResident, CallResident, Cancel, Dispatch, Failed, FetchImage,
    Message, Recall, Release, Reserve, Reserved, ResidentOp, ResidentReply, ResidentRequest,
    Snapshot, StoreReply, StoreRequest, Timing, Withdraw, decode, kind,
};
use dpfw_protocol::store::StoreOp;

impl Reader {
    /// Whether this session may say that. If not it has been told so.
    ///
    /// # Errors
    /// [`LinkError::Broken`] if there is no answer that could tell it.
    pub(super) fn may_say(&self, frame: &Frame<'_>) -> Result<bool, LinkError> {
        match self.session.rights {
            Rights::Dispatch => Ok(true),
            Rights::Observe => self.may_look(frame),
        }
    }

    fn may_look(&self, frame: &Frame<'_>) -> Result<bool, LinkError> {
        match frame.header.kind {
            kind::STORE_REQUEST => {
                let request = decode::<StoreRequest>(frame)?.0;
                // What looks sends nothing: a payload would be held for it.
                let looks = request.payload == 0
                    && matches!(
                        request.op,
                        StoreOp::Get { .. }
                            | StoreOp::GetRange { .. }
                            | StoreOp::Look { .. }
                            | StoreOp::List { .. }
                    );
                if !looks {
                    self.refuse_as(frame, &unwritten());
                }
                return Ok(looks);
            }
            kind::RESIDENT_REQUEST => {
                let op = decode::<ResidentRequest>(frame)?.0.op;
                let looks = matches!(
                    op,
                    ResidentOp::Find { .. } | ResidentOp::List { .. } | ResidentOp::Await { .. }
                );
                if !looks {
                    let failure = Some(not_allowed("change what becomes of a resident").into());
                    self.refuse_as(frame, &ResidentReply { failure, ..Default::default() });
                }
                return Ok(looks);
            }
            kind::DISPATCH => {
                decode::<Dispatch>(frame)?;
                let failure = not_allowed("dispatch a task").into();
                self.refuse_as(frame, &Failed { timing: Timing::default(), failure });
            }
            kind::CALL_RESIDENT => {
                decode::<CallResident>(frame)?;
                self.audited("an observer may not call a resident");
                residents::refuse(
                    &self.core,
                    &self.session,
                    frame.header.conversation,
                    not_allowed("call a resident"),
                );
                self.abandon(frame);
            }
            kind::FETCH_IMAGE => {
                decode::<FetchImage>(frame)?;
                let failure = Some(not_allowed("fetch an image").into());
                self.refuse_as(frame, &Snapshot { failure, payload: 0 });
            }
            kind::RESERVE => {
                decode::<Reserve>(frame)?;
                self.refuse_as(frame, &Reserved { granted: false });
            }
            // Words about what it could not have dispatched.
            kind::BIND => drop(decode::<Bind>(frame)?),
            kind::BIND_IMAGE => drop(decode::<BindImage>(frame)?),
            kind::BIND_RESIDENT => drop(decode::<BindResident>(frame)?),
            kind::BIND_METHOD => drop(decode::<BindMethod>(frame)?),
            kind::CANCEL => drop(decode::<Cancel>(frame)?),
            kind::RECALL => drop(decode::<Recall>(frame)?),
            kind::WITHDRAW => drop(decode::<Withdraw>(frame)?),
            kind::RELEASE => drop(decode::<Release>(frame)?),
            kind::MODULE_BYTES | kind::IMAGE_BYTES => return Err(self.broken("send code")),
            kind::DRAIN => return Err(self.broken("drain a slave")),
            _ => return Ok(true),
        }
        Ok(false)
    }

    /// Tells the audit log that more was asked for than the peer may.
    fn audited(&self, why: &str) {
        self.core.tell_refusal("rights", &self.session, None, why);
    }

    fn refuse_as<M: Message>(&self, frame: &Frame<'_>, message: &M) {
        self.audited("an observer looks, and does nothing else");
        // It always fits a frame.
        let _ = self.session.outbox.message(frame.header.conversation, message);
        self.abandon(frame);
    }

    /// Ends the link of an observer that asks for what there is no refusal for.
    fn broken(&self, what: &str) -> LinkError {
        let why = format!("an observer may not {what}; a master may");
        self.audited(&why);
        LinkError::Broken(why)
    }

    /// Lets the observer stop sending what is refused.
    fn abandon(&self, frame: &Frame<'_>) {
        if frame.header.flags & END == 0 {
            let cause = not_allowed("send a payload");
            // It always fits a frame.
            let _ = self.session.outbox.abandon(frame.header.conversation, cause);
        }
        self.session.outbox.flush();
    }
}

fn unwritten() -> StoreReply {
    StoreReply {
        failure: Some(not_allowed("change the store").into()),
        hit: false,
        version: 0,
        entries: Vec::new(),
        more: false,
        payload: 0,
    }
}

/// Why it is not done.
fn not_allowed(what: &str) -> Cause {
    Cause::NotAllowed { what: format!("an observer may not {what}; a master may") }
}

#[cfg(test)]
mod tests;
