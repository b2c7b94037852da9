//! What a master says to its slaves: attempts, modules, the store, slots.
//!
//! What it says of images and of keys is with those.

use super::Extras;
use crate::ids::{AttemptId, BindId, ModuleHash};
use crate::signature::Signature;
use crate::store::{StoreOp, Terms};
use serde::{Deserialize, Serialize};

/// Properties of a task that change how it may be tried.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct TaskFlags(u8);

impl TaskFlags {
    /// Never tried again once it may have run.
    pub const ONCE: Self = Self(1);
    /// May be tried twice at once, on two slaves: it has no effect but its result.
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

    /// These flags but for the others.
    #[must_use]
    pub fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
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

/// Offers a module's bytes, after [`NeedModule`](super::NeedModule).
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

/// Asks how the slave is; it answers with a [`Description`](super::Description).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Describe {}

/// Asks the slave to drain, and to end then. It answers with [`Draining`](super::Draining).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Drain {}
