//! What a slave says to its masters: how attempts go on and end, and how it is itself.
//!
//! What it says of images and of keys is with those.

use super::KeptAs;
use crate::attempts::AttemptSet;
use crate::error::Failure;
use crate::ids::{AttemptId, ModuleHash};
use crate::store::{Disk, EntryInfo};
use serde::{Deserialize, Serialize};

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

/// Attempts have not begun, because their module is being fetched or made, or because all sandboxes
/// that may wait are in use. They hold no slot meanwhile; [`Queued`] is said when the module is
/// there.
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

/// The answer to a [`StoreRequest`](super::StoreRequest); the payload is a value.
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

/// The answer to a [`Reserve`](super::Reserve).
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
    /// Those that it has otherwise: arriving, queued, waiting for their module, for a sandbox, or
    /// for something else without a slot.
    pub others: AttemptSet,
}

/// Nothing new is admitted; what runs will end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Draining {}

/// How a slave is, for people and programs that watch it; the answer to a [`Describe`](super::Describe).
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
    /// Residents that are alive.
    pub residents: u32,
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
