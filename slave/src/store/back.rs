//! What is there again after a start, of what was on disk: values, states, images.
//!
//! Invariants: what is there again was charged, and stays within the quota; of what may be
//! evicted goes what was written first, if the quota is lower than it was; what may not is never
//! dropped: the slave does not start then.

use super::disk::{Gone, Loaded, Part, Stored, wall_ms};
use super::entry::{self, Content, Entry, Held, Life, New};
use super::shared::Join;
use super::{DirectoryError, Shared, Store};
use dashmap::mapref::entry::Entry as Slot;
use dpfw_protocol::error::Limit;
use dpfw_protocol::store::{FullKey, ImageInfo, Principal, Terms};
use std::cmp::Reverse;
use std::panic::resume_unwind;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::Instant;

/// A value that is to be there again.
struct Back {
    key: FullKey,
    stored: Stored,
    life: Life,
    cost: u64,
}

impl Back {
    /// Whether it cannot go.
    fn stays(&self) -> bool {
        self.stored.pinned || !self.life.evictable
    }
}

/// Why an image is not under a key again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NotBack {
    /// There is something else.
    Taken,
    NoRoom,
}

impl Store {
    /// Puts an image under a key again that has nothing, if there is room for it without anything
    /// being evicted. So many others were used since it was.
    pub(crate) fn take_image_back(
        &self,
        key: &FullKey,
        owner: &Principal,
        info: ImageInfo,
        (held, shared): (Held, Arc<Shared>),
        since: u64,
    ) -> Result<(), NotBack> {
        if self.is_asleep(key) {
            return Err(NotBack::Taken);
        }
        let life = Life { evictable: true, ..Life::ENDLESS };
        let content = Content::Image(held, Box::new(info), Arc::clone(&shared));
        let cost = entry::cost(key, &content, life);
        let Slot::Vacant(slot) = self.entries.entry(key.clone()) else {
            return Err(NotBack::Taken);
        };
        let join = Join { shared: &shared, key, lined: true };
        let owner = self.ledger.take_shared(owner, cost, Some(join)).ok_or(NotBack::NoRoom)?;
        // All are put back at once, and some time after the store was made.
        let now = self.clock.now().saturating_sub(since);
        self.fill(slot, New { content, cost, life, now }, owner);
        Ok(())
    }

    /// Takes what was on disk; gives the keys of what has gone.
    pub(super) fn take_back(
        &self,
        directory: &Path,
        loaded: Loaded,
    ) -> Result<Gone, DirectoryError> {
        let begun = Instant::now();
        // The same for all, so that those are evicted first that were written first.
        let now = self.clock.now();
        let Loaded { values, saved, was_cut_off, .. } = loaded;
        let (found, mut gone) = (values.len(), Gone::new());
        let back = living(values, now, &mut gone);
        let kept = back.iter().filter(|back| back.stays()).map(|back| back.cost);
        let states = saved.iter().map(|(key, stored)| {
            entry::cost(key, &Content::Value(stored.content.clone()), Life::ENDLESS)
        });
        let sum = |(bytes, entries), cost| (bytes + cost, entries + 1);
        let (needed, entries) = kept.chain(states).fold((0, 0), sum);
        self.check_needed(directory, needed, entries)?;
        for (key, stored) in saved {
            self.take_saved_back(key, stored);
        }
        self.take_values_back(back, now, &mut gone);
        let (entries, bytes) = self.ledger.size();
        let ms = begun.elapsed().as_millis() as u64;
        let directory = directory.display();
        if was_cut_off {
            tracing::warn!(%directory, "the store was not closed: its last whole commit is there");
        }
        if found > 0 {
            let dropped = gone.len();
            tracing::info!(%directory, entries, bytes, dropped, ms, "the store is there again");
        }
        Ok(gone)
    }

    fn check_needed(
        &self,
        directory: &Path,
        bytes: u64,
        entries: u64,
    ) -> Result<(), DirectoryError> {
        let refuse = |limit, needed, allowed| {
            let directory = directory.to_path_buf();
            Err(DirectoryError::Quota { directory, limit, needed, allowed })
        };
        if !self.ledger.could_hold(bytes) {
            return refuse(Limit::Quota, bytes, self.ledger.most_bytes());
        }
        match entries > self.ledger.most_entries() {
            true => refuse(Limit::Entries, entries, self.ledger.most_entries()),
            false => Ok(()),
        }
    }

    /// Puts values back as far as there is room, which are in the order of their keys.
    fn take_values_back(&self, mut back: Vec<Back>, now: u64, gone: &mut Gone) {
        let keys: Vec<FullKey> = back.iter().map(|back| back.key.clone()).collect();
        let sum = back.iter().map(|back| back.cost).sum();
        if !self.ledger.could_hold(sum) || back.len() as u64 > self.ledger.most_entries() {
            // Those first that may not go, then those that were written last.
            back.sort_by_key(|back| (!back.stays(), Reverse(back.stored.version)));
        }
        let before = gone.len();
        thread::scope(|scope| {
            let fill = || self.index.fill(&keys);
            // Two things are to be built, and a machine has two cores at least.
            let filling = thread::Builder::new().spawn_scoped(scope, fill);
            let no_room = back.into_iter().filter_map(|back| self.take_one_back(back, now).err());
            gone.extend(no_room.map(|key| (Part::Values, key)));
            match filling {
                Ok(filling) => filling.join().unwrap_or_else(|panic| resume_unwind(panic)),
                Err(_) => fill(),
            }
        });
        for (_, key) in &gone[before..] {
            self.index.remove(key);
            self.evicted.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Gives the key back if there is no room.
    fn take_one_back(&self, back: Back, now: u64) -> Result<(), FullKey> {
        let Back { key, stored, life, cost } = back;
        let Some(owner) = self.ledger.take(&stored.owner, cost, 0) else {
            return Err(key);
        };
        let content = Content::Value(stored.content);
        let new = New { content, cost, life, now };
        let mut entry = Entry::new(new, owner, stored.version);
        entry.pinned = stored.pinned;
        self.enlist(&key, &entry);
        self.entries.insert(key, entry);
        Ok(())
    }
}

/// Those of these values whose time is not over.
fn living(values: Vec<(FullKey, Stored)>, now: u64, gone: &mut Gone) -> Vec<Back> {
    let now_ms = wall_ms();
    let mut living = Vec::with_capacity(values.len());
    for (key, stored) in values {
        let ttl_ms = stored.time.map(|time| time.left_at(now_ms));
        if ttl_ms == Some(0) {
            gone.push((Part::Values, key));
            continue;
        }
        let life = Life::new(Terms { evictable: stored.evictable, ttl_ms, durable: false }, now);
        let cost = entry::cost(&key, &Content::Value(stored.content.clone()), life);
        living.push(Back { key, stored, life, cost });
    }
    living
}
