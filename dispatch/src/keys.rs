//! Which slaves have which keys.
//!
//! Owns: the index from keys to slaves. Does not: choose a slave, or keep what a slave's
//! own account keeps. Invariant: a slave that is gone is under no key.

use crate::event::{KeyId, SlaveId};
use crate::hash::IdMap;
use std::collections::BTreeSet;

/// The index.
#[derive(Debug, Default)]
pub(crate) struct Keys {
    holders: IdMap<KeyId, BTreeSet<SlaveId>>,
}

impl Keys {
    pub(crate) fn add(&mut self, key: KeyId, slave: SlaveId) {
        self.holders.entry(key).or_default().insert(slave);
    }

    pub(crate) fn remove(&mut self, key: KeyId, slave: SlaveId) {
        let Some(holders) = self.holders.get_mut(&key) else { return };
        holders.remove(&slave);
        if holders.is_empty() {
            self.holders.remove(&key);
        }
    }

    /// The slaves that have a key.
    pub(crate) fn holders(&self, key: KeyId) -> impl Iterator<Item = SlaveId> + '_ {
        self.holders.get(&key).into_iter().flatten().copied()
    }

    /// All of it, for checking.
    pub(crate) fn pairs(&self) -> impl Iterator<Item = (KeyId, SlaveId)> + '_ {
        self.holders.iter().flat_map(|(key, slaves)| slaves.iter().map(|slave| (*key, *slave)))
    }
}
