//! What masters and slaves say to one another.
//!
//! A message is a struct of its own, encoded as a MessagePack array; which one it is
//! stands in the frame's header. None is recursive, and every list and text in one is
//! bounded by the frame that carries it.

use crate::error::{Failure, quoted};
use crate::frame::{END, Frame, HEADER, Header};
use crate::ids::ConversationId;
use crate::limits::{MAX_BODY, MAX_LISTED, MAX_MESSAGE, MAX_NAME, MAX_NEEDS, MAX_TEXT};
use crate::payload::whole;
use crate::store::EntryInfo;
use serde::{Serialize, de::DeserializeOwned};

mod image;
mod keys;
pub mod kind;
mod link;
mod resident;
mod to_master;
mod to_slave;

pub use image::{
    BindImage, FetchImage, ImageBytes, ImageGone, ImageReady, NeedImage, Offer, Origin, Snapshot,
};
pub use keys::{Extras, KeptAs, Locate, Located};
pub use link::{Abandon, Chunk, Close, Credit, Heartbeat, close};
pub use resident::{
    BindMethod, BindResident, CallFlags, CallResident, ResidentOp, ResidentReply, ResidentRequest,
    SpawnAs, Spawned, There, Withdraw,
};
pub use to_master::{
    Description, Done, Draining, Failed, Loading, Log, NeedModule, Progress, Queued, Reserved,
    Returned, Started, Status, StoreReply, Timing, Waiting,
};
pub use to_slave::{
    Bind, Cancel, Describe, Dispatch, Drain, ModuleBytes, Recall, Release, Reserve, StoreRequest,
    TaskFlags,
};

/// A struct that is a frame's message.
pub trait Message: Serialize + DeserializeOwned {
    /// Its [`kind`].
    const KIND: u8;

    /// Whether its lists and texts are within their limits.
    fn is_bounded(&self) -> bool {
        true
    }
}

macro_rules! messages {
    ($($name:ident = $kind:ident),* $(,)?) => {
        $(impl Message for $name { const KIND: u8 = kind::$kind; })*
    };
}

messages! {
    Cancel = CANCEL, ModuleBytes = MODULE_BYTES, Reserve = RESERVE,
    Release = RELEASE, Describe = DESCRIBE, Drain = DRAIN, NeedModule = NEED_MODULE, Done = DONE, Progress = PROGRESS,
    Reserved = RESERVED, Draining = DRAINING, Status = STATUS, Heartbeat = HEARTBEAT, Credit = CREDIT,
}

macro_rules! bounded {
    ($($name:ident = $kind:ident, $self:ident => $check:expr;)*) => {
        $(impl Message for $name {
            const KIND: u8 = kind::$kind;
            fn is_bounded(&$self) -> bool { $check }
        })*
    };
}

bounded! {
    Bind = BIND, self => self.task.len() <= MAX_NAME;
    Dispatch = DISPATCH, self => self.extras.as_ref().is_none_or(|extras| extras.is_bounded());
    Locate = LOCATE, self => keys::are_bounded(&self.keys);
    Located = LOCATED, self => self.held.len() <= MAX_NEEDS;
    Recall = RECALL, self => self.attempts.len() <= MAX_LISTED;
    Started = STARTED, self => self.attempts.len() <= MAX_LISTED;
    Returned = RETURNED, self => self.attempts.len() <= MAX_LISTED;
    Waiting = WAITING, self => self.attempts.len() <= MAX_LISTED;
    Loading = LOADING, self => self.attempts.len() <= MAX_LISTED;
    Queued = QUEUED, self => self.attempts.len() <= MAX_LISTED;
    StoreRequest = STORE_REQUEST, self => self.op.is_bounded();
    StoreReply = STORE_REPLY, self => {
        self.entries.len() <= MAX_LISTED
            && self.entries.iter().all(EntryInfo::is_bounded)
            && self.failure.as_ref().is_none_or(Failure::is_bounded)
    };
    Description = DESCRIPTION, self => self.agent.len() <= MAX_NAME;
    Failed = FAILED, self => self.failure.is_bounded();
    Abandon = ABANDON, self => self.failure.is_bounded();
    Log = LOG, self => self.target.len() <= MAX_NAME && self.text.len() <= MAX_TEXT;
    Close = CLOSE, self => self.reason.len() <= MAX_TEXT;
}

/// A frame is no message, or one out of turn.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MessageError {
    /// The body is shorter than it says.
    #[error("a frame of kind {kind} is truncated")]
    Truncated {
        /// The frame's kind.
        kind: u8,
    },
    /// The message is not the MessagePack that its kind calls for.
    #[error("a message of kind {kind} is malformed: {reason}")]
    Malformed {
        /// The frame's kind.
        kind: u8,
        /// What is wrong with it.
        reason: String,
    },
    /// A list or a text is too long.
    #[error("a message of kind {kind} is out of bounds")]
    Unbounded {
        /// The frame's kind.
        kind: u8,
    },
    /// Nobody may say this now.
    #[error("a frame of kind {kind} is out of turn")]
    OutOfTurn {
        /// The frame's kind.
        kind: u8,
    },
    /// A message is too long to be sent.
    #[error("a message of kind {kind} is too long: {len} bytes")]
    TooLong {
        /// The frame's kind.
        kind: u8,
        /// Its length.
        len: usize,
    },
}

/// Appends a frame: the message, and the payload behind it.
///
/// # Errors
/// [`MessageError::TooLong`] if the message does not fit a frame; nothing is appended.
pub fn encode<M: Message>(
    out: &mut Vec<u8>,
    conversation: ConversationId,
    message: &M,
    payload: &[u8],
    last: bool,
) -> Result<(), MessageError> {
    let start = out.len();
    out.extend_from_slice(&[0; HEADER + 2]);
    let body = out.len();
    let written = rmp_serde::encode::write(out, message);
    let len = out.len() - body;
    let fits = len <= MAX_MESSAGE && 2 + len + payload.len() <= MAX_BODY;
    if written.is_err() || !fits || !message.is_bounded() {
        out.truncate(start);
        return Err(MessageError::TooLong { kind: M::KIND, len });
    }
    out.extend_from_slice(payload);
    let header = Header {
        len: (out.len() - start - HEADER) as u32,
        kind: M::KIND,
        flags: if last { END } else { 0 },
        conversation,
    };
    out[start..start + HEADER].copy_from_slice(&header.to_bytes());
    out[start + HEADER..body].copy_from_slice(&(len as u16).to_le_bytes());
    Ok(())
}

/// The message and the payload in a frame's body.
///
/// # Errors
/// [`MessageError`] if the body is not this message.
pub fn decode<'a, M: Message>(frame: &Frame<'a>) -> Result<(M, &'a [u8]), MessageError> {
    let kind = frame.header.kind;
    let truncated = MessageError::Truncated { kind };
    let (len, rest) = frame.body.split_first_chunk::<2>().ok_or(truncated.clone())?;
    let len = usize::from(u16::from_le_bytes(*len));
    let (bytes, payload) = rest.split_at_checked(len).ok_or(truncated)?;
    let message: M = whole(bytes, MAX_DEPTH)
        .map_err(|e| MessageError::Malformed { kind, reason: quoted(&e) })?;
    if !message.is_bounded() {
        return Err(MessageError::Unbounded { kind });
    }
    Ok((message, payload))
}

/// No message nests deeper than a signature's fields.
pub(crate) const MAX_DEPTH: usize = 16;
