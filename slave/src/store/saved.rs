//! Saved states of residents: records under keys, which nobody but their makers reads.
//!
//! Owns: them. Does not: know what is in one. Invariants: each is charged to its owner, whole,
//! for as long as it is there; nothing evicts one; on disk they are as they are here, if there is
//! a disk. Without one there are few: those of residents whose move broke off. Locks: these before a
//! shard, never the other way round.

use super::Store;
use super::disk::{Part, Record, Stored};
use super::entry::{self, Content, Life};
use super::ledger::{Account, Need};
use super::shared::Spared;
use dpfw_protocol::Bytes;
use dpfw_protocol::error::Cause;
use dpfw_protocol::store::{FullKey, Principal};
use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The records. Bounded by the store's quota.
#[derive(Debug, Default)]
pub(super) struct SavedStates {
    records: Mutex<BTreeMap<FullKey, Saved>>,
    /// How many there are: most stores without a disk have none, and never ask.
    count: AtomicUsize,
}

#[derive(Debug)]
struct Saved {
    record: Bytes,
    owner: Arc<Account>,
    /// What it was charged.
    cost: u64,
}

impl SavedStates {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<FullKey, Saved>> {
        self.records.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn any(&self) -> bool {
        self.count.load(Ordering::Acquire) > 0
    }

    fn insert(
        &self,
        all: &mut BTreeMap<FullKey, Saved>,
        key: FullKey,
        new: Saved,
    ) -> Option<Saved> {
        let old = all.insert(key, new);
        self.count.store(all.len(), Ordering::Release);
        old
    }

    fn remove(&self, all: &mut BTreeMap<FullKey, Saved>, key: &FullKey) -> Option<Saved> {
        let old = all.remove(key);
        self.count.store(all.len(), Ordering::Release);
        old
    }
}

impl Store {
    /// Whether values and records are on disk.
    pub(crate) fn is_on_disk(&self) -> bool {
        self.disk.get().is_some()
    }

    /// The record under a key.
    pub(crate) fn saved(&self, key: &FullKey) -> Option<Bytes> {
        self.saved.lock().get(key).map(|saved| saved.record.clone())
    }

    /// The same, and whose it is.
    pub(crate) fn saved_by(&self, key: &FullKey) -> Option<(Bytes, Principal)> {
        let saved = self.saved.lock();
        saved.get(key).map(|saved| (saved.record.clone(), saved.owner.principal.clone()))
    }

    /// Whether a key has the record of a resident that is not there.
    pub(super) fn is_asleep(&self, key: &FullKey) -> bool {
        self.saved.any() && self.saved.lock().contains_key(key) && self.kind_of(key).is_none()
    }

    /// What is known by the next records that have no resident, from a key on and as long as they
    /// are meant.
    pub(crate) fn asleep<T>(
        &self,
        from: Bound<&FullKey>,
        is_meant: impl Fn(&FullKey) -> bool,
        known: impl Fn(&FullKey, &[u8], &Principal) -> Option<T>,
        most: usize,
    ) -> Vec<T> {
        if !self.saved.any() {
            return Vec::new();
        }
        let saved = self.saved.lock();
        let meant = saved.range((from, Bound::Unbounded)).take_while(|(key, _)| is_meant(key));
        let asleep = meant.filter(|(key, _)| self.kind_of(key).is_none());
        asleep
            .filter_map(|(key, saved)| known(key, &saved.record, &saved.owner.principal))
            .take(most)
            .collect()
    }

    /// Forgets the record under a key; whether there was one.
    pub(crate) fn forget_saved(&self, key: &FullKey) -> bool {
        let mut all = self.saved.lock();
        let Some(saved) = self.saved.remove(&mut all, key) else {
            return false;
        };
        if let Some(disk) = self.disk.get() {
            disk.note(Part::Saved, key, None);
        }
        drop(all);
        self.ledger.give(&saved.owner, saved.cost);
        true
    }

    /// Saves a record under a key, in place of the one that is there.
    ///
    /// # Errors
    /// [`Cause::Limit`] if there is no room, [`Cause::Storage`] if the disk does not take it: the
    /// old one stays.
    pub(crate) fn save(
        &self,
        key: &FullKey,
        owner: &Principal,
        record: Bytes,
    ) -> Result<(), Cause> {
        self.admits(record.len() as u64)?;
        let cost = entry::cost(key, &Content::Value(record.clone()), Life::ENDLESS);
        let mut all = self.saved.lock();
        let old = all.get(key).map(|old| (Arc::clone(&old.owner), old.cost));
        let bytes = old.as_ref().map(|(_, cost)| *cost);
        if self.ledger.has_share() {
            let own = old.as_ref().filter(|(account, _)| account.principal == *owner);
            self.ledger.within_share(owner, cost, own.map_or(0, |(_, cost)| *cost))?;
        }
        let (old_is_lined, spared) = (false, Spared::default());
        let need = Need { writer: owner, key: None, new: cost, old: bytes, old_is_lined, spared };
        let mut step = 0;
        let account = loop {
            let taken = match &old {
                Some((owner, old)) => {
                    let changed = self.ledger.exchange(need.writer, (cost, 0), owner, (*old, 0));
                    changed.map(|newer| newer.unwrap_or_else(|| Arc::clone(owner)))
                }
                None => self.ledger.take(owner, cost, 0),
            };
            if let Some(account) = taken {
                break account;
            }
            step += 1;
            if !self.make_room(&need, step, &|| true)? {
                return Err(self.ledger.lack(&need));
            }
        };
        if let Some(disk) = self.disk.get() {
            let record = Record {
                version: 0,
                owner: Arc::clone(&account),
                evictable: false,
                pinned: true,
                time: None,
                content: record.clone(),
            };
            disk.note(Part::Saved, key, Some(record));
        }
        let new = Saved { record, owner: account, cost };
        let replaced = self.saved.insert(&mut all, key.clone(), new);
        drop(all);
        // It may be large.
        drop(replaced);
        Ok(())
    }
}

impl Store {
    /// A record that was on disk. There is room for it.
    pub(super) fn take_saved_back(&self, key: FullKey, stored: Stored) {
        let content = Content::Value(stored.content.clone());
        let cost = entry::cost(&key, &content, Life::ENDLESS);
        if let Some(owner) = self.ledger.take(&stored.owner, cost, 0) {
            let saved = Saved { record: stored.content, owner, cost };
            self.saved.insert(&mut self.saved.lock(), key, saved);
        }
    }
}
