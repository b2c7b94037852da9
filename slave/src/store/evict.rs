//! Making room, and what goes without being asked: eviction and the end of a time to live.
//!
//! The entry that was not used for longest is found without looking at the others: those that
//! may go stand in lines (`ledger`), ordered by when they were used last when they were looked
//! at. A read only notes the time in its entry, so it costs what it did. Whoever needs room
//! takes the first of the line: if it was read since, it goes back to where it belongs and the
//! next is looked at. That is the exact order, but for one thing: after [`LOOKS`] of them the
//! next one goes, so that a write never pays for a whole store that was just read.
//!
//! Owns: when entries go by themselves. Invariants: nothing is evicted for a write that would
//! not fit all the same; what is written is not evicted to make room for itself.

use super::entry::Entry;
use super::ledger::Need;
use super::{Shared, Store};
use dpfw_protocol::changes::What;
use dpfw_protocol::error::Cause;
use dpfw_protocol::store::{FullKey, Version};
use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Entries that were used since they were lined up and get a second chance, for one eviction.
const LOOKS: usize = 64;

/// Entries that one sweep removes at most: some milliseconds.
const SWEPT: usize = 4096;

/// Entries by when their time is over. Changed only while their shard is locked for writing.
#[derive(Debug, Default)]
pub(super) struct Times(Mutex<BTreeMap<(u64, Version), FullKey>>);

impl Times {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<(u64, Version), FullKey>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn insert(&self, key: &FullKey, entry: &Entry) {
        if let Some(at) = entry.gone_at {
            self.lock().insert((at, entry.version), key.clone());
        }
    }

    pub(super) fn remove(&self, entry: &Entry) {
        if let Some(at) = entry.gone_at {
            self.lock().remove(&(at, entry.version));
        }
    }

    /// The first whose time is over.
    fn due(&self, now: u64) -> Option<(FullKey, Version)> {
        let times = self.lock();
        let (&(at, version), key) = times.first_key_value()?;
        (at <= now).then(|| (key.clone(), version))
    }
}

impl Store {
    /// Removes entries whose time is over, a bounded number; whether there may be more.
    pub(crate) fn sweep(&self) -> bool {
        let now = self.clock.now();
        (0..SWEPT).all(|_| self.expire_one(now))
    }

    fn expire_one(&self, now: u64) -> bool {
        let Some((key, version)) = self.times.due(now) else {
            return false;
        };
        let gone = self.entries.remove_if(&key, |key, entry| {
            let is_it = entry.version == version;
            if is_it {
                self.forget(key, entry, What::Expired);
            }
            is_it
        });
        if let Some((key, entry)) = gone {
            tracing::debug!(key = %key.key, "an entry's time is over");
            // Whatever is large is cleared up when no lock is held.
            drop(entry);
            self.changes.wake(&key);
        }
        true
    }

    /// Takes one step to make room for a write, as the ledger's rule has it: what is needed may
    /// be less behind it. Whether it is worth trying again.
    ///
    /// # Errors
    /// [`Cause::Cancelled`] if it is not to go on; asked at every [`LOOKS`]th step.
    pub(super) fn make_room(
        &self,
        need: &Need<'_>,
        step: usize,
        go_on: &dyn Fn() -> bool,
    ) -> Result<bool, Cause> {
        if step.is_multiple_of(LOOKS) && !go_on() {
            return Err(Cause::Cancelled);
        }
        if self.ledger.has_room(need) || self.expire_one(self.clock.now()) {
            return Ok(true);
        }
        Ok(self.ledger.could_have_room(need) && self.evict_one(need))
    }

    /// Evicts one entry, and what goes with it; whether there was one.
    fn evict_one(&self, need: &Need<'_>) -> bool {
        let (mut looks, mut with) = (0, None);
        while let Some(first) = self.ledger.first_to_go(need) {
            looks += 1;
            let gone = self.entries.remove_if(&first.key, |key, entry| {
                // Else it was written, pinned or removed meanwhile, and is in no line any more.
                let is_it = entry.version == first.place.1 && entry.is_lined();
                let goes = is_it && (entry.used() <= first.place.0 || looks > LOOKS);
                if goes {
                    with = entry.content.shared().map(|it| (Arc::clone(it), it.all_that_go()));
                    self.forget(key, entry, What::Evicted);
                } else if is_it {
                    self.ledger.line_up_again(entry);
                }
                goes
            });
            if let Some((key, entry)) = gone {
                self.was_evicted(key, entry, need);
                if let Some((shared, keys)) = with {
                    let others = keys.iter().filter(|key| Some(*key) != need.key);
                    others.for_each(|key| self.evict_beside(key, &shared, need));
                }
                return true;
            }
        }
        false
    }

    /// Evicts an entry of what another one was evicted of.
    fn evict_beside(&self, key: &FullKey, shared: &Arc<Shared>, need: &Need<'_>) {
        let gone = self.entries.remove_if(key, |key, entry| {
            let is_its = entry.content.shared().is_some_and(|its| Arc::ptr_eq(its, shared));
            let goes = is_its && entry.is_lined();
            if goes {
                self.forget(key, entry, What::Evicted);
            }
            goes
        });
        if let Some((key, entry)) = gone {
            self.was_evicted(key, entry, need);
        }
    }

    fn was_evicted(&self, key: FullKey, entry: Entry, need: &Need<'_>) {
        self.evicted.fetch_add(1, Ordering::Relaxed);
        let (kind, owner) = (entry.content.kind(), &entry.owner.principal.0);
        let (bytes, writer) = (entry.content.bytes(), &need.writer.0);
        tracing::info!(key = %key.key, %kind, bytes, %owner, %writer, "an entry is evicted");
        self.cleared(&key, entry.content, What::Evicted);
        self.changes.wake(&key);
    }

    /// Takes an entry out of everything but the map, under its shard's lock, and says so.
    pub(super) fn forget(&self, key: &FullKey, entry: &Entry, what: What) {
        self.index.remove(key);
        self.note_gone(key, entry);
        self.unlist(key, entry);
        self.ledger.give_shared(key, entry);
        self.changes.publish(key, entry.content.kind(), self.next_version(), what);
    }

    /// Puts an entry into the line and the times, if it belongs there.
    pub(super) fn enlist(&self, key: &FullKey, entry: &Entry) {
        if entry.is_lined() {
            self.ledger.line_up(key, entry);
        }
        self.times.insert(key, entry);
    }

    /// Takes an entry out of the line and the times.
    pub(super) fn unlist(&self, key: &FullKey, entry: &Entry) {
        if entry.is_lined() {
            self.ledger.line_out(key, entry);
        }
        self.times.remove(entry);
    }
}
