//! Which slaves have which keys, and what it costs to make what is under one.
//!
//! Owns: the index from keys to slaves. Does not: choose a slave, or keep what a slave's
//! own account keeps. Invariant: a slave that is gone is under no key.

use crate::core::Core;
use crate::event::{KeyId, SlaveId};
use crate::hash::IdMap;
use std::collections::BTreeSet;
use std::time::Duration;

/// The index.
#[derive(Debug, Default)]
pub(crate) struct Keys {
    holders: IdMap<KeyId, BTreeSet<SlaveId>>,
    /// In nanoseconds, where a slave that lacks it can make it.
    costs: IdMap<KeyId, u64>,
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

    /// The slaves that have all of these keys; none if there are no keys.
    pub(crate) fn with_all<'a>(&'a self, keys: &'a [KeyId]) -> impl Iterator<Item = SlaveId> + 'a {
        let holders = |key: &KeyId| self.holders.get(key);
        // Beginning with the key that the fewest have.
        let fewest = keys.iter().min_by_key(|key| holders(key).map_or(0, BTreeSet::len));
        let candidates = fewest.and_then(holders).into_iter().flatten().copied();
        candidates.filter(move |slave| {
            keys.iter().all(|key| holders(key).is_some_and(|holders| holders.contains(slave)))
        })
    }

    /// What it costs to make what is under all of these keys; `None` if nobody can tell.
    pub(crate) fn cost(&self, keys: &[KeyId]) -> Option<u64> {
        keys.iter().try_fold(0u64, |sum, key| Some(sum.saturating_add(*self.costs.get(key)?)))
    }

    /// All of it, for checking.
    pub(crate) fn pairs(&self) -> impl Iterator<Item = (KeyId, SlaveId)> + '_ {
        self.holders.iter().flat_map(|(key, slaves)| slaves.iter().map(|slave| (*key, *slave)))
    }
}

impl Core {
    pub(crate) fn handle_key(&mut self, id: SlaveId, key: KeyId) {
        let Some(slave) = self.slaves.find_mut(id) else { return };
        if slave.keys.insert(key) {
            self.keys.add(key, id);
            self.find_lanes(id, key);
        }
    }

    pub(crate) fn handle_key_gone(&mut self, id: SlaveId, key: KeyId) {
        let Some(slave) = self.slaves.find_mut(id) else { return };
        if slave.keys.remove(&key) {
            self.keys.remove(key, id);
            self.lose_lanes(id, key);
        }
    }

    pub(crate) fn handle_key_cost(&mut self, key: KeyId, cost: Duration) {
        self.keys.costs.insert(key, crate::time::nanos(cost));
    }

    /// Nothing is known of a key any more, nor need be.
    pub(crate) fn handle_key_forgotten(&mut self, key: KeyId) {
        self.keys.costs.remove(&key);
        let holders: Vec<_> = self.keys.holders(key).collect();
        holders.into_iter().for_each(|slave| self.handle_key_gone(slave, key));
    }
}
