//! Giving the snapshot of an image away.
//!
//! Invariants: a session gets one at a time, and what all of a principal's have in memory, until it
//! is sent, is no more than its share; the links' thread does not read the disk.

use crate::core::Core;
use crate::module::code::Wanted;
use crate::session::Session;
use crate::shares::Taken;
use dpfw_protocol::Bytes;
use dpfw_protocol::error::Cause;
use dpfw_protocol::ids::{ConversationId, ImageId};
use dpfw_protocol::message::Snapshot;
use std::sync::Arc;

/// Sends a session the snapshot of an image, or why there is none.
pub(crate) fn snapshot(
    core: &Arc<Core>,
    session: &Arc<Session>,
    conversation: ConversationId,
    image: ImageId,
) {
    let Some(turn) = session.begin_fetch() else {
        let what = "another image is being fetched".into();
        return answer(session, conversation, Err(Cause::Busy { what }));
    };
    let (core, session) = (Arc::clone(core), Arc::clone(session));
    // It ends with the runtime of the links, which is the slave's.
    drop(core.helm.handle().clone().spawn_blocking(move || {
        let found = find(&core, &session, image);
        answer(&session, conversation, found);
        drop(turn);
    }));
}

/// A snapshot, and the room that it takes until its last byte is sent.
struct Counted {
    bytes: Vec<u8>,
    _room: Taken,
}

impl AsRef<[u8]> for Counted {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

fn find(core: &Core, session: &Session, image: ImageId) -> Result<Bytes, Cause> {
    if session.is_clogged() {
        let what = "the master does not take what it asked for".into();
        return Err(Cause::Busy { what });
    }
    let (modules, _) = core.modules().ok_or(Cause::Draining)?;
    let snapshot = modules.snapshot_of(&Wanted::new(image, None, session))?;
    let (_, _, len) = snapshot;
    let room = core.fetched.lend(&session.holdings.fetched, len).ok_or_else(|| Cause::Busy {
        what: "as many bytes of images are being fetched as may be, or by this master".into(),
    })?;
    let bytes = modules.read_snapshot(snapshot)?;
    Ok(Bytes::from_owner(Counted { bytes, _room: room }))
}

fn answer(session: &Session, conversation: ConversationId, found: Result<Bytes, Cause>) {
    let (bytes, failure) = match found {
        Ok(bytes) => (bytes, None),
        Err(cause) => (Bytes::new(), Some(cause.into())),
    };
    let snapshot = Snapshot { failure, payload: bytes.len() as u64 };
    if let Err(error) = session.outbox.message_with(conversation, &snapshot, bytes.into()) {
        tracing::error!(%error, "a snapshot cannot be sent");
    }
    session.look_for_clog();
    session.outbox.flush();
}
