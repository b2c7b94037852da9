//! The keyed store: values under keys, in namespaces.
//!
//! Owns: the entries, their versions and sizes, the quota. Invariants: an operation on a
//! key is atomic; a version is never used twice, not even after a removal; what is stored
//! stays within the quota, and a refused write leaves the old value; the index has exactly
//! the keys of the entries, so that a listing looks at its own page and at nothing else.

use crate::limits::Limits;
use changes::{Changes, ChangesOf};
use dashmap::DashMap;
use dashmap::mapref::entry::Entry as Slot;
use dpfw_protocol::Bytes;
use dpfw_protocol::error::{Cause, Limit};
use dpfw_protocol::hello::Namespace;
use dpfw_protocol::limits::MAX_LISTED;
use dpfw_protocol::store::{EntryInfo, EntryKind, FullKey, Key, Principal, StoreOp, Version};
use index::Index;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

mod changes;
mod index;

/// The entries of a slave.
#[derive(Debug)]
pub(crate) struct Store {
    entries: DashMap<FullKey, Entry>,
    /// Changed only while the entry's shard is locked; never the other way round.
    index: Index,
    changes: Changes,
    versions: AtomicU64,
    bytes: AtomicU64,
    count: AtomicU64,
    most_bytes: u64,
    most_entries: u64,
}

#[derive(Debug)]
struct Entry {
    value: Bytes,
    version: Version,
    used: Instant,
    owner: Principal,
}

/// What an operation brought.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Answer {
    /// Whether the entry was there, or the change was made.
    pub(crate) hit: bool,
    /// The entry's version after the operation; 0 if there is none.
    pub(crate) version: Version,
    /// The value that was read.
    pub(crate) value: Bytes,
    /// Whether a listing was asked for.
    pub(crate) is_listing: bool,
    /// What it found.
    pub(crate) entries: Vec<EntryInfo>,
    /// Whether it goes on behind its last key.
    pub(crate) more: bool,
}

/// What every entry costs beside its key and value, so that many empty ones count.
const OVERHEAD: u64 = 128;

fn cost(key: &FullKey, value: &Bytes) -> u64 {
    // The key is in the index once more.
    OVERHEAD + 2 * key.key.as_str().len() as u64 + value.len() as u64
}

impl Store {
    /// An empty store.
    pub(crate) fn new(limits: &Limits) -> Self {
        Self {
            entries: DashMap::new(),
            index: Index::default(),
            changes: Changes::default(),
            versions: AtomicU64::new(1),
            bytes: AtomicU64::new(0),
            count: AtomicU64::new(0),
            most_bytes: limits.store_bytes,
            most_entries: limits.store_entries,
        }
    }

    /// Entries, and what they cost in bytes.
    pub(crate) fn size(&self) -> (u64, u64) {
        (self.count.load(Ordering::Relaxed), self.bytes.load(Ordering::Relaxed))
    }

    /// Whether a value of this length could ever be stored: asked before one is built.
    ///
    /// # Errors
    /// [`Cause::Limit`] if not.
    pub(crate) fn check_value(&self, len: u64) -> Result<(), Cause> {
        match len <= self.most_bytes {
            true => Ok(()),
            false => Err(Cause::Limit { limit: Limit::Quota, allowed: self.most_bytes }),
        }
    }

    /// Does what a task or a master asks for.
    ///
    /// # Errors
    /// [`Cause::Limit`] if a write exceeds the quota.
    pub(crate) fn apply(
        &self,
        namespace: &Namespace,
        owner: &Principal,
        op: StoreOp,
        value: Bytes,
    ) -> Result<Answer, Cause> {
        let full = |key| FullKey { namespace: namespace.clone(), key };
        match op {
            StoreOp::Get { key } => Ok(self.get(&full(key))),
            StoreOp::Put { key } => self.write(full(key), owner, value, |_| true),
            StoreOp::PutIfAbsent { key } => self.write(full(key), owner, value, |v| v == 0),
            StoreOp::CompareAndSwap { key, expected } => {
                self.write(full(key), owner, value, |v| v == expected)
            }
            StoreOp::Remove { key } => Ok(self.remove(&full(key))),
            StoreOp::List { prefix, after, limit } => {
                Ok(self.list(namespace, &prefix, after.as_ref(), limit))
            }
        }
    }

    /// The changes of an entry, from now on.
    pub(crate) fn changes_of(&self, key: &FullKey) -> ChangesOf<'_> {
        self.changes.of(key)
    }

    fn get(&self, key: &FullKey) -> Answer {
        match self.entries.get_mut(key) {
            None => Answer::default(),
            Some(mut entry) => {
                entry.used = Instant::now();
                let (version, value) = (entry.version, entry.value.clone());
                Answer { hit: true, version, value, ..Answer::default() }
            }
        }
    }

    /// Writes if the present version (0 for none) is as it has to be.
    fn write(
        &self,
        key: FullKey,
        owner: &Principal,
        value: Bytes,
        may: impl FnOnce(Version) -> bool,
    ) -> Result<Answer, Cause> {
        let new = cost(&key, &value);
        let slot = self.entries.entry(key);
        let (present, old) = match &slot {
            Slot::Occupied(entry) => (entry.get().version, cost(entry.key(), &entry.get().value)),
            Slot::Vacant(_) => (0, 0),
        };
        if !may(present) {
            return Ok(Answer { version: present, ..Answer::default() });
        }
        self.account(old, new)?;
        if old == 0 {
            self.index.insert(slot.key());
        }
        let version = self.versions.fetch_add(1, Ordering::Relaxed);
        let entry = Entry { value, version, used: Instant::now(), owner: owner.clone() };
        self.changes.tell(slot.insert(entry).key());
        Ok(Answer { hit: true, version, ..Answer::default() })
    }

    /// Takes the room for an entry, or says that there is none.
    fn account(&self, old: u64, new: u64) -> Result<(), Cause> {
        let over = |limit, allowed| Err(Cause::Limit { limit, allowed });
        if old == 0 && self.count.fetch_add(1, Ordering::Relaxed) >= self.most_entries {
            self.count.fetch_sub(1, Ordering::Relaxed);
            return over(Limit::Entries, self.most_entries);
        }
        let total = self.bytes.fetch_add(new, Ordering::Relaxed) + new;
        if new > old && total - old > self.most_bytes {
            self.bytes.fetch_sub(new, Ordering::Relaxed);
            if old == 0 {
                self.count.fetch_sub(1, Ordering::Relaxed);
            }
            return over(Limit::Quota, self.most_bytes);
        }
        self.bytes.fetch_sub(old, Ordering::Relaxed);
        Ok(())
    }

    fn remove(&self, key: &FullKey) -> Answer {
        // A closure that always agrees, for it runs under the shard's lock.
        let forget = |key: &FullKey, _: &Entry| {
            self.index.remove(key);
            true
        };
        let Some((key, entry)) = self.entries.remove_if(key, forget) else {
            return Answer::default();
        };
        self.bytes.fetch_sub(cost(&key, &entry.value), Ordering::Relaxed);
        self.count.fetch_sub(1, Ordering::Relaxed);
        self.changes.tell(&key);
        Answer { hit: true, ..Answer::default() }
    }

    fn list(&self, namespace: &Namespace, prefix: &str, after: Option<&Key>, limit: u32) -> Answer {
        let mut page = Page::new((limit as usize).min(MAX_LISTED));
        let mut after = after.cloned();
        // An entry that is removed meanwhile leaves the page shorter, never empty before
        // the end: who asks goes on behind the last key.
        while !page.more {
            let keys = self.index.next(namespace, prefix, after.as_ref());
            let found = keys.iter().filter_map(|key| self.info(namespace, key));
            found.for_each(|info| page.take(info));
            match keys.into_iter().nth(index::STEP - 1) {
                Some(last) => after = Some(last),
                None => break,
            }
        }
        let Page { entries, more, .. } = page;
        Answer { hit: !entries.is_empty(), is_listing: true, entries, more, ..Answer::default() }
    }

    /// An entry as a listing shows it, if it is still there.
    fn info(&self, namespace: &Namespace, key: &Key) -> Option<EntryInfo> {
        let full = FullKey { namespace: namespace.clone(), key: key.clone() };
        let entry = self.entries.get(&full)?;
        Some(EntryInfo {
            key: full.key.clone(),
            kind: EntryKind::Value,
            bytes: entry.value.len() as u64,
            version: entry.version,
            idle_s: entry.used.elapsed().as_secs(),
            owner: entry.owner.clone(),
        })
    }
}

/// What a listing gives at once: no more entries than were asked for, and than fit a frame.
struct Page {
    entries: Vec<EntryInfo>,
    left: usize,
    room: usize,
    /// There is another entry, for the next page.
    more: bool,
}

impl Page {
    fn new(limit: usize) -> Self {
        let room = dpfw_protocol::limits::MAX_MESSAGE - 1024;
        Self { entries: Vec::new(), left: limit, room, more: false }
    }

    fn take(&mut self, entry: EntryInfo) {
        let size = entry.key.as_str().len() + 128;
        if self.more || self.left == 0 || size > self.room {
            self.more = true;
            return;
        }
        self.left -= 1;
        self.room -= size;
        self.entries.push(entry);
    }
}

#[cfg(test)]
mod tests;
