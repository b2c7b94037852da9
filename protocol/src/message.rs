//! What masters and slaves say to one another.
//!
//! A message is a struct of its own, encoded as a MessagePack array; which one it is
//! stands in the frame's header. None is recursive, and every list and text in one is
//! bounded by the frame that carries it.

use crate::attempts::AttemptSet;
use crate::error::{Failure, quoted};
use crate::frame::{END, Frame, HEADER, Header};
use crate::ids::{AttemptId, BindId, ConversationId, ModuleHash};
use crate::limits::{MAX_BODY, MAX_LISTED, MAX_MESSAGE, MAX_NAME, MAX_NEEDS, MAX_TEXT};
use crate::payload::whole;
use crate::signature::Signature;
use crate::store::{Disk, EntryInfo, StoreOp, Terms};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

mod image;
mod keys;
mod resident;

pub use image::{
    BindImage, FetchImage, ImageBytes, ImageGone, ImageReady, NeedImage, Offer, Origin, Snapshot,
};
pub use keys::{Extras, KeptAs, Locate, Located};
pub use resident::{
    BindMethod, BindResident, CallFlags, CallResident, ResidentOp, ResidentReply, ResidentRequest,
    SpawnAs, Spawned, There, Withdraw,
};

/// Properties of a task that change how it may be tried.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct TaskFlags(u8);

impl TaskFlags {
    /// Never tried again once it may have run.
    pub const ONCE: Self = Self(1);
    /// May be tried twice at once: it has no effect but its result.
    pub const EFFECT_FREE: Self = Self(2);
    /// Many calls of one task: the payload is a batch, and so is the result.
    pub const BATCH: Self = Self(4);
    /// Each call of a batch gets a sandbox of its own.
    pub const ISOLATED: Self = Self(8);
    /// What is remembered of a failure to build its image is forgotten first.
    pub const AFRESH: Self = Self(16);

    /// Whether all of `other` are set.
    pub fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// These flags and the others.
    #[must_use]
    pub fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

/// Declares a task that the session will call, once, by number.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bind {
    /// The number, counted from 0 without gaps.
    pub bind: BindId,
    /// The module.
    pub module: ModuleHash,
    /// The task within it, or the function of a plain module.
    pub task: String,
    /// What the caller believes the task to be, if that is not the module's own word.
    pub expects: Option<Signature>,
}

/// Asks for one attempt; the payload is the arguments. The conversation is the attempt.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dispatch {
    /// The task.
    pub bind: BindId,
    /// How it may be tried.
    pub flags: TaskFlags,
    /// Microseconds until its deadline, counted from arrival.
    pub budget_us: Option<u64>,
    /// The length of the arguments; those not in this frame follow in chunks.
    pub payload: u64,
    /// What else is asked for. Not there if nothing is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub extras: Option<Box<Extras>>,
}

/// Stops an attempt: unstarted ones are dropped, running ones interrupted. The slave
/// answers with the attempt's end as always.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cancel {}

/// Asks for attempts back that have not started. Those that have are not touched.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recall {
    /// The attempts.
    pub attempts: Vec<AttemptId>,
}

/// Offers a module's bytes, after [`NeedModule`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModuleBytes {
    /// Whose bytes.
    pub module: ModuleHash,
    /// Their number; 0 says that the master does not have them.
    pub payload: u64,
}

/// Reads or changes an entry of the keyed store; the payload is a value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoreRequest {
    /// What to do.
    pub op: StoreOp,
    /// The length of the value.
    pub payload: u64,
    /// On what terms a value is kept that is written, and any change is answered. Not there if
    /// it stays and is answered at once.
    #[serde(default, skip_serializing_if = "Terms::is_plain")]
    pub terms: Terms,
}

/// Asks for all slots of the slave.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reserve {
    /// Whether to wait until they are free.
    pub wait: bool,
}

/// Gives all slots back, or takes back the wish for them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Release {}

/// Asks how the slave is; it answers with a [`Description`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Describe {}

/// Asks the slave to drain, and to end then. It answers with [`Draining`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Drain {}

/// Asks for a module's bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NeedModule {
    /// Which module.
    pub module: ModuleHash,
}

/// Attempts have begun to run. Sent for those that run longer than a tick.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Started {
    /// The attempts.
    pub attempts: Vec<AttemptId>,
}

/// Attempts wait for something and hold no slot: a program for its input, or for room for
/// its output. Sent for waits that are longer than a tick; [`Started`] is said when they go on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Waiting {
    /// The attempts.
    pub attempts: Vec<AttemptId>,
}

/// Attempts have not begun, because their module is being fetched or made. They hold no slot
/// meanwhile; [`Queued`] is said when it is there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Loading {
    /// The attempts.
    pub attempts: Vec<AttemptId>,
}

/// The module of attempts is there: they wait for a slot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Queued {
    /// The attempts.
    pub attempts: Vec<AttemptId>,
}

/// What an attempt cost at the slave.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Timing {
    /// From arrival to start, in microseconds.
    pub queued_us: u64,
    /// From start to the guest's first instruction: making or building what it runs in.
    pub init_us: u64,
    /// In the guest, in microseconds.
    pub run_us: u64,
    /// Linear memory at the end, in bytes.
    pub memory: u64,
}

/// An attempt ended with a result, which is the payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Done {
    /// What it cost.
    pub timing: Timing,
    /// The length of the result; what is not in this frame follows in chunks. 0 if it stays at
    /// the slave.
    pub payload: u64,
    /// The entry that it is, if it stays at the slave. Not there if it does not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kept: Option<KeptAs>,
}

/// An attempt ended without a result.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failed {
    /// What it cost.
    pub timing: Timing,
    /// Why.
    pub failure: Failure,
}

/// Attempts go back unstarted: recalled, or the slave is draining.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Returned {
    /// The attempts.
    pub attempts: Vec<AttemptId>,
}

/// A line that an attempt's guest logged.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Log {
    /// 1 error, 2 warn, 3 info, 4 debug, 5 trace.
    pub level: u8,
    /// Where in the guest.
    pub target: String,
    /// The line, its control characters escaped.
    pub text: String,
}

/// How far an attempt is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// Done so far, in the task's own unit.
    pub done: u64,
    /// In all; 0 if not known.
    pub total: u64,
}

/// The answer to a [`StoreRequest`]; the payload is a value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoreReply {
    /// Why it could not be done.
    pub failure: Option<Failure>,
    /// Whether the entry was there, or the change was made.
    pub hit: bool,
    /// The entry's version after it.
    pub version: u64,
    /// What a listing found.
    pub entries: Vec<EntryInfo>,
    /// Whether a listing goes on behind its last key.
    pub more: bool,
    /// The length of the value.
    pub payload: u64,
}

/// The answer to a [`Reserve`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reserved {
    /// Whether the slots are held for this session now.
    pub granted: bool,
}

/// How a slave stands towards this session. Sent once a second, which makes it the slave's
/// heartbeat, and when a master has to know at once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// Tasks that it runs at once.
    pub slots: u32,
    /// Attempts in a slot, of all sessions.
    pub running: u32,
    /// Attempts that wait for something and hold no slot.
    pub waiting: u32,
    /// Sandboxes in being.
    pub sandboxes: u32,
    /// Attempts not started, of all sessions.
    pub queued: u32,
    /// Whether another session holds all slots.
    pub taken: bool,
    /// The last of this session's attempts that it has taken in; those up to it that are in
    /// neither of the sets below it has no more.
    pub upto: AttemptId,
    /// This session's attempts that are in a slot.
    pub attempts: AttemptSet,
    /// Those that it has otherwise: arriving, queued, waiting for their module, or for
    /// something else without a slot.
    pub others: AttemptSet,
}

/// Nothing new is admitted; what runs will end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Draining {}

/// How a slave is, for people and programs that watch it; the answer to a [`Describe`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Description {
    /// Tasks that it runs at once.
    pub slots: u32,
    /// Attempts in a slot, of all sessions.
    pub running: u32,
    /// Attempts that wait for something and hold no slot.
    pub waiting: u32,
    /// Attempts not started, of all sessions.
    pub queued: u32,
    /// Sandboxes in being.
    pub sandboxes: u32,
    /// The machine's load average over the last minute, in thousandths.
    pub load_milli: u32,
    /// Bytes of memory that the slave's process has resident.
    pub memory: u64,
    /// What the entries of the store cost, in bytes.
    pub store_bytes: u64,
    /// Entries of the store.
    pub store_entries: u64,
    /// Entries that were evicted from the store since the slave started.
    pub store_evicted: u64,
    /// Modules that are loaded.
    pub modules: u32,
    /// Masters that are linked.
    pub links: u32,
    /// Seconds since the slave started.
    pub uptime_s: u64,
    /// Program and version, for people.
    pub agent: String,
    /// Whether nothing new is admitted.
    pub draining: bool,
    /// Whether the store's values are on disk. Not there if they are in memory only.
    #[serde(default, skip_serializing_if = "Disk::is_memory")]
    pub disk: Disk,
}

/// The link ends, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Close {
    /// The reason's number; see [`close`].
    pub code: u16,
    /// The reason in words.
    pub reason: String,
}

/// Reasons for closing a link.
pub mod close {
    /// The work is done: nothing is lost by this.
    pub const DONE: u16 = 0;
    /// The peers cannot work together.
    pub const REFUSED: u16 = 1;
    /// The peer broke the protocol.
    pub const PROTOCOL: u16 = 2;
    /// A newer session of the same peer took over.
    pub const SUPERSEDED: u16 = 3;
    /// The slave has drained.
    pub const DRAINED: u16 = 4;
    /// The peer does not read what it asked for.
    pub const OVERRUN: u16 = 5;
    /// Nothing was heard of the peer for too long.
    pub const SILENT: u16 = 6;
}

/// The sender is alive. Any byte is a sign of life; this one is sent when there is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Heartbeat {}

/// The receiver of a conversation's payload takes so many bytes more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Credit {
    /// How many.
    pub bytes: u64,
}

/// The sender of a conversation's payload gives up in the middle of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Abandon {
    /// Why.
    pub failure: Failure,
}

/// Raw payload; a frame without a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Chunk {
    /// Whether the payload is complete.
    pub last: bool,
}

/// The kinds in a frame's header.
pub mod kind {
    /// [`Hello`](crate::hello::Hello).
    pub const HELLO: u8 = 1;
    /// A message of this module.
    pub const CLOSE: u8 = 2;
    /// A message of this module.
    pub const HEARTBEAT: u8 = 3;
    /// Payload without a message.
    pub const CHUNK: u8 = 4;
    /// A message of this module.
    pub const CREDIT: u8 = 5;
    /// A message of this module.
    pub const ABANDON: u8 = 6;
    /// A message of this module, to a slave.
    pub const BIND: u8 = 16;
    /// A message of this module, to a slave.
    pub const DISPATCH: u8 = 17;
    /// A message of this module, to a slave.
    pub const CANCEL: u8 = 18;
    /// A message of this module, to a slave.
    pub const RECALL: u8 = 19;
    /// A message of this module, to a slave.
    pub const MODULE_BYTES: u8 = 20;
    /// A message of this module, to a slave.
    pub const STORE_REQUEST: u8 = 21;
    /// A message of this module, to a slave.
    pub const RESERVE: u8 = 22;
    /// A message of this module, to a slave.
    pub const RELEASE: u8 = 23;
    /// A message of this module, to a slave.
    pub const DESCRIBE: u8 = 24;
    /// A message of this module, to a slave.
    pub const DRAIN: u8 = 25;
    /// A message of this module, to a slave.
    pub const BIND_IMAGE: u8 = 26;
    /// A message of this module, to a slave.
    pub const IMAGE_BYTES: u8 = 30;
    /// A message of this module, to a slave.
    pub const FETCH_IMAGE: u8 = 31;
    /// A message of [`changes`](crate::changes), to a slave.
    pub const WATCH: u8 = 27;
    /// A message of [`changes`](crate::changes), to a slave.
    pub const UNWATCH: u8 = 28;
    /// A message of this module, to a slave.
    pub const LOCATE: u8 = 29;
    /// A message of this module, to a master.
    pub const NEED_MODULE: u8 = 32;
    /// A message of this module, to a master.
    pub const STARTED: u8 = 33;
    /// A message of this module, to a master.
    pub const DONE: u8 = 34;
    /// A message of this module, to a master.
    pub const FAILED: u8 = 35;
    /// A message of this module, to a master.
    pub const RETURNED: u8 = 36;
    /// A message of this module, to a master.
    pub const LOG: u8 = 37;
    /// A message of this module, to a master.
    pub const PROGRESS: u8 = 38;
    /// A message of this module, to a master.
    pub const STORE_REPLY: u8 = 39;
    /// A message of this module, to a master.
    pub const RESERVED: u8 = 40;
    /// A message of this module, to a master.
    pub const STATUS: u8 = 41;
    /// A message of this module, to a master.
    pub const DRAINING: u8 = 42;
    /// A message of this module, to a master.
    pub const DESCRIPTION: u8 = 43;
    /// A message of this module, to a master.
    pub const WAITING: u8 = 44;
    /// A message of this module, to a master.
    pub const LOADING: u8 = 45;
    /// A message of this module, to a master.
    pub const QUEUED: u8 = 46;
    /// A message of this module, to a master.
    pub const NEED_IMAGE: u8 = 47;
    /// A message of this module, to a master.
    pub const IMAGE_READY: u8 = 48;
    /// A message of this module, to a master.
    pub const IMAGE_GONE: u8 = 51;
    /// A message of this module, to a master.
    pub const SNAPSHOT: u8 = 52;
    /// A message of [`changes`](crate::changes), to a master.
    pub const CHANGED: u8 = 49;
    /// A message of this module, to a master.
    pub const LOCATED: u8 = 50;
    /// A message of this module, to a slave.
    pub const BIND_RESIDENT: u8 = 64;
    /// A message of this module, to a slave.
    pub const BIND_METHOD: u8 = 65;
    /// A message of this module, to a slave.
    pub const CALL_RESIDENT: u8 = 66;
    /// A message of this module, to a slave.
    pub const RESIDENT_REQUEST: u8 = 67;
    /// A message of this module, to a slave.
    pub const WITHDRAW: u8 = 68;
    /// A message of this module, to a master.
    pub const RESIDENT_REPLY: u8 = 80;
}

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
            && self.entries.iter().all(|entry| entry.key.is_bounded())
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
