//! Results that stay where they were made, and tasks that go where they are.
//!
//! Owns: what is said of keys beside the store's own operations. Does not: read or change an
//! entry. Invariant: no list of keys is longer than [`MAX_NEEDS`].

use super::SpawnAs;
use crate::limits::MAX_NEEDS;
use crate::store::{Key, Version};
use crate::task_limits::TaskLimits;
use serde::{Deserialize, Serialize};

/// What few attempts are asked for with, so that the others do not pay for it.
///
/// ```
/// use dpfw_protocol::message::Extras;
/// use dpfw_protocol::store::Key;
///
/// let extras = Extras { keep: Some(Key::new("sorted")?), ..Extras::default() };
/// assert!(extras.limits.is_none() && extras.needs.is_empty() && !extras.is_nothing());
/// # Ok::<(), dpfw_protocol::error::Cause>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Extras {
    /// What it may use, where that is less than the slave allows.
    pub limits: Option<TaskLimits>,
    /// Under which key its result stays in the slave's store, instead of being sent.
    pub keep: Option<Key>,
    /// Keys of entries that have to be there when it starts.
    pub needs: Vec<Key>,
    /// As what a resident is spawned, if it is at a constructor. Not there if it is not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spawn: Option<Box<SpawnAs>>,
}

impl Extras {
    /// Whether nothing is asked for.
    pub fn is_nothing(&self) -> bool {
        *self == Self::default()
    }

    pub(super) fn is_bounded(&self) -> bool {
        self.keep.as_ref().is_none_or(Key::is_bounded)
            && are_bounded(&self.needs)
            && self.spawn.as_ref().is_none_or(|spawn| spawn.is_bounded())
    }
}

pub(super) fn are_bounded(keys: &[Key]) -> bool {
    keys.len() <= MAX_NEEDS && keys.iter().all(Key::is_bounded)
}

/// What became of a result that stays at its slave.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeptAs {
    /// The entry's version.
    pub version: Version,
    /// The length of the result.
    pub bytes: u64,
}

/// Asks which of these keys the store has, in the session's namespace; answered with
/// [`Located`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Locate {
    /// The keys.
    pub keys: Vec<Key>,
}

/// The answer to a [`Locate`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Located {
    /// Of each of the keys, in their order, whether it is there.
    pub held: Vec<bool>,
}
