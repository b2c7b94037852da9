//! What masters and slaves say of residents.
//!
//! Owns: the messages. Invariant: a call of a resident is a conversation of its own, answered
//! with `DONE` or `FAILED` as an attempt is, and is no attempt: nobody places, recalls or
//! repeats it.

use super::{Message, kind};
use crate::error::Failure;
use crate::ids::{BindId, MethodId, ModuleHash, PeerId, ResidentId};
use crate::limits::{MAX_KEY, MAX_LISTED, MAX_NAME};
use crate::resident::{End, Mailbox, ResidentInfo, Saving};
use crate::restart::Restart;
use crate::signature::Signature;
use crate::store::Key;
use serde::{Deserialize, Serialize};
use std::num::NonZeroU64;

/// Declares a constructor that the session will call, as [`Bind`](super::Bind) does a task:
/// an attempt at it, with [`SpawnAs`], makes a resident.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BindResident {
    /// The number, in the same count as those of tasks.
    pub bind: BindId,
    /// The module.
    pub module: ModuleHash,
    /// The constructor: `class.name`.
    pub constructor: String,
    /// What the caller believes it to be, if that is not the module's own word.
    pub expects: Option<Signature>,
}

/// Declares a method that the session will call, once, by number.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BindMethod {
    /// The number, counted from 0 without gaps.
    pub method: MethodId,
    /// The module that the caller has; the resident may be of another.
    pub module: ModuleHash,
    /// The method: `class.name`.
    pub name: String,
    /// What the caller believes it to be. Always there for a resident of another module.
    pub expects: Option<Signature>,
}

/// As what a resident is spawned. The result of the attempt is a [`Spawned`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SpawnAs {
    /// Its key.
    pub key: Key,
    /// What to do where there is one under the key.
    pub there: There,
    /// When it is begun again; never if it is not said.
    pub restart: Option<Restart>,
    /// What becomes of its mailbox then.
    pub on_restart: Mailbox,
    /// Calls of one session that may wait for it; 0 for the slave's own choice.
    pub mailbox: u32,
    /// When its state is taken, if it offers that.
    pub saving: Saving,
    /// Whether its state is on disk before those who changed it are answered.
    pub durable: bool,
    /// Bytes at the end of the payload that are a saved state, from which it is made instead of
    /// by its constructor; the arguments stand before them, for later.
    pub state: Option<u64>,
    /// Whether it waits to be let go before it takes calls: it comes from another slave.
    pub held: bool,
    /// Its lineage, of one that is handed over; see [`ResidentInfo::lineage`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lineage: Option<NonZeroU64>,
}

/// What to do where there is an entry under the key of one that is to be spawned.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum There {
    /// It is an error.
    #[default]
    Refuse,
    /// It is the one, if it is a resident of the class.
    Take,
}

/// The result of an attempt to spawn.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spawned {
    /// The resident.
    pub resident: ResidentInfo,
    /// Whether it was there.
    pub was_there: bool,
}

/// How a method is called.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct CallFlags(u8);

impl CallFlags {
    /// The result is not sent: the end alone is told.
    pub const CAST: Self = Self(1);

    /// Whether all of `other` are set.
    pub fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }
}

/// Calls a method of a resident, in a conversation of its own; the payload is the arguments.
/// Answered with `DONE` or `FAILED`; `CANCEL` stops it as it does an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CallResident {
    /// Whose.
    pub resident: ResidentId,
    /// Which.
    pub method: MethodId,
    /// How.
    pub flags: CallFlags,
    /// Microseconds until its deadline, counted from arrival.
    pub budget_us: Option<u64>,
    /// The length of the arguments; those not in this frame follow in chunks.
    pub payload: u64,
}

/// Takes a call back that has not begun; one that has goes on. It is answered either way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Withdraw {}

/// What to do about residents. Answered with a [`ResidentReply`] in its conversation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ResidentOp {
    /// Describes the one under a key, if there is one.
    Find {
        /// Its key.
        key: Key,
    },
    /// Describes those whose keys begin so, in the order of their keys.
    List {
        /// How their keys begin.
        prefix: String,
        /// Only keys behind this one.
        after: Option<Key>,
        /// At most so many.
        limit: u32,
    },
    /// Ends it when its present call is over; those in its mailbox fail. Answered when it has.
    Stop {
        /// Which.
        resident: ResidentId,
    },
    /// Answered when it has ended.
    Await {
        /// Which.
        resident: ResidentId,
    },
    /// Holds it after its present call, to be moved; answered with its terms, and its arguments
    /// and state as payload. If the session ends it goes on.
    HandOver {
        /// Which.
        resident: ResidentId,
    },
    /// It was not moved, and goes on.
    TakeBack {
        /// Which.
        resident: ResidentId,
    },
    /// It was moved: it ends here, and those in its mailbox are told where it is.
    Moved {
        /// Which.
        resident: ResidentId,
        /// The slave that has it now.
        to: PeerId,
    },
    /// One that was spawned held takes calls from now on. If the session ends before, it ends.
    LetGo {
        /// Which.
        resident: ResidentId,
    },
    /// What a move that broke off left under a key is forgotten, if it is this: the resident lives
    /// on elsewhere. Otherwise nothing is done.
    GiveWay {
        /// The key.
        key: Key,
        /// By which number it was found.
        left: ResidentId,
    },
}

impl ResidentOp {
    fn is_bounded(&self) -> bool {
        match self {
            Self::Find { key } | Self::GiveWay { key, .. } => key.is_bounded(),
            Self::List { prefix, after, .. } => {
                prefix.len() <= MAX_KEY && after.as_ref().is_none_or(Key::is_bounded)
            }
            _ => true,
        }
    }
}

/// Asks something of a slave's residents.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResidentRequest {
    /// What.
    pub op: ResidentOp,
}

/// The answer to a [`ResidentRequest`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResidentReply {
    /// Why it could not be done; why the resident failed, if it ended so.
    pub failure: Option<Failure>,
    /// What was found.
    pub residents: Vec<ResidentInfo>,
    /// Whether a listing goes on behind its last key.
    pub more: bool,
    /// How it ended.
    pub end: Option<End>,
    /// As what one that is handed over is to be spawned.
    pub spawn: Option<Box<SpawnAs>>,
    /// The length of the payload: of one that is handed over, its arguments and its state.
    pub payload: u64,
    /// The constructor of one that is handed over: `class.name`. Not there otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub constructor: Option<String>,
}

impl SpawnAs {
    pub(super) fn is_bounded(&self) -> bool {
        self.key.is_bounded()
    }
}

impl Message for BindResident {
    const KIND: u8 = kind::BIND_RESIDENT;
    fn is_bounded(&self) -> bool {
        self.constructor.len() <= MAX_NAME
    }
}

impl Message for BindMethod {
    const KIND: u8 = kind::BIND_METHOD;
    fn is_bounded(&self) -> bool {
        self.name.len() <= MAX_NAME
    }
}

impl Message for CallResident {
    const KIND: u8 = kind::CALL_RESIDENT;
}

impl Message for Withdraw {
    const KIND: u8 = kind::WITHDRAW;
}

impl Message for ResidentRequest {
    const KIND: u8 = kind::RESIDENT_REQUEST;
    fn is_bounded(&self) -> bool {
        self.op.is_bounded()
    }
}

impl Message for ResidentReply {
    const KIND: u8 = kind::RESIDENT_REPLY;
    fn is_bounded(&self) -> bool {
        self.failure.as_ref().is_none_or(Failure::is_bounded)
            && self.residents.len() <= MAX_LISTED
            && self.residents.iter().all(ResidentInfo::is_bounded)
            && self.spawn.as_ref().is_none_or(|spawn| spawn.is_bounded())
            && self.constructor.as_ref().is_none_or(|name| name.len() <= MAX_NAME)
    }
}
