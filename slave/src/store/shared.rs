//! What several entries are together: an image under several keys costs its memory once.
//!
//! Owns: to whom that is charged, and when it was used. Does not: know what it is. Invariants: its
//! bytes are charged once while it has an entry, and not otherwise; to whoever keeps it from being
//! evicted, else to whoever's entry came first; they may be evicted if all of its entries may.
//! Locks: below a shard of the entries and before the table, never two shards; two of these in the
//! order of their addresses.

use super::entry::Entry;
use super::ledger::{Account, Ledger};
use dpfw_protocol::store::{FullKey, Principal};
use std::ptr;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// See the module's page.
#[derive(Debug)]
pub(crate) struct Shared {
    bytes: u64,
    /// When it was last used, under whatever key.
    pub(super) used: AtomicU64,
    by: Mutex<Vec<Sharer>>,
}

/// An entry of it.
#[derive(Debug)]
struct Sharer {
    key: FullKey,
    owner: Arc<Account>,
    /// What the entry was charged for itself.
    cost: u64,
    /// Whether it is in a line of what may be evicted.
    lined: bool,
}

/// An entry that is to be one of it.
#[derive(Clone, Copy)]
pub(super) struct Join<'a> {
    pub(super) shared: &'a Shared,
    pub(super) key: &'a FullKey,
    pub(super) lined: bool,
}

/// What is not to be evicted for a write, as it is what is written: its other entries.
#[derive(Debug, Default)]
pub(super) struct Spared {
    pub(super) keys: Vec<FullKey>,
    /// What of it stands in lines, in bytes and in entries.
    pub(super) lined: (u64, u64),
}

/// The entries, if there is anything to lock.
type Locked<'a> = Option<MutexGuard<'a, Vec<Sharer>>>;

/// To whom it is charged, and whether it may be evicted.
type Charged = Option<(Arc<Account>, bool)>;

impl Shared {
    /// What costs so many bytes, and has no entry yet.
    pub(crate) fn new(bytes: u64) -> Arc<Self> {
        Arc::new(Self { bytes, used: AtomicU64::new(0), by: Mutex::default() })
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Sharer>> {
        self.by.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What it costs beside what is there: nothing if it is there.
    pub(super) fn more(&self) -> u64 {
        if self.lock().is_empty() { self.bytes } else { 0 }
    }

    /// What goes with an entry of it: nothing if there are others.
    pub(super) fn less(&self) -> u64 {
        if self.lock().len() == 1 { self.bytes } else { 0 }
    }

    /// What is charged to whoever keeps it from being evicted, if nobody does.
    pub(super) fn at_stake(&self) -> u64 {
        if self.lock().iter().all(|sharer| sharer.lined) { self.bytes } else { 0 }
    }

    /// Its entries but the one of this key.
    pub(super) fn beside(&self, key: &FullKey) -> Spared {
        let by = self.lock();
        let others = || by.iter().filter(|sharer| sharer.key != *key);
        let lined = || others().filter(|sharer| sharer.lined);
        let whole = by.iter().all(|sharer| sharer.lined) && others().next().is_some();
        let bytes = lined().map(|sharer| sharer.cost).sum::<u64>() + u64::from(whole) * self.bytes;
        let keys = others().map(|sharer| sharer.key.clone()).collect();
        Spared { keys, lined: (bytes, lined().count() as u64) }
    }

    /// The keys of its entries, if all of them may be evicted: they go together.
    pub(super) fn all_that_go(&self) -> Vec<FullKey> {
        let by = self.lock();
        let goes = by.iter().all(|sharer| sharer.lined);
        by.iter().filter(|_| goes).map(|sharer| sharer.key.clone()).collect()
    }
}

fn charged(by: &[Sharer]) -> Charged {
    let keeper = by.iter().find(|sharer| !sharer.lined);
    let lined = keeper.is_none();
    keeper.or(by.first()).map(|sharer| (Arc::clone(&sharer.owner), lined))
}

/// Both are locked, in the order that all keep to.
fn lock_both<'a>(one: Option<&'a Shared>, other: Option<&'a Shared>) -> (Locked<'a>, Locked<'a>) {
    let address = |shared: Option<&Shared>| shared.map(ptr::from_ref);
    match address(one) <= address(other) {
        true => {
            let one = one.map(Shared::lock);
            (one, other.map(Shared::lock))
        }
        false => {
            let other = other.map(Shared::lock);
            (one.map(Shared::lock), other)
        }
    }
}

impl Join<'_> {
    fn sharer(&self, owner: &Arc<Account>, cost: u64) -> Sharer {
        let (key, owner) = (self.key.clone(), Arc::clone(owner));
        Sharer { key, owner, cost, lined: self.lined }
    }
}

impl Ledger {
    /// Takes the room for an entry, and for what it is one of if it is the first, if there is any;
    /// gives the writer's account.
    pub(super) fn take_shared(
        &self,
        writer: &Principal,
        cost: u64,
        join: Option<Join<'_>>,
    ) -> Option<Arc<Account>> {
        let Some(join) = join else {
            return self.take(writer, cost, 0);
        };
        let mut by = join.shared.lock();
        let more = if by.is_empty() { join.shared.bytes } else { 0 };
        let owner = self.take(writer, cost, more)?;
        self.change(join.shared, &mut by, |by| by.push(join.sharer(&owner, cost)));
        Some(owner)
    }

    /// Takes the room for an entry in the place of another, if there is any; gives the writer's
    /// account unless it was its owner's.
    pub(super) fn exchange_shared(
        &self,
        writer: &Principal,
        cost: u64,
        join: Option<Join<'_>>,
        (key, old): (&FullKey, &Entry),
    ) -> Option<Option<Arc<Account>>> {
        let joined = join.map(|join| join.shared);
        let left: Option<&Shared> = old.content.shared().map(|left| &**left);
        let is_same = joined.is_some_and(|joined| left.is_some_and(|left| ptr::eq(joined, left)));
        let left = left.filter(|_| !is_same);
        let (mut joins, mut leaves) = lock_both(joined, left);
        let more = joined.zip(joins.as_deref()).filter(|(_, by)| by.is_empty());
        let less = left.zip(leaves.as_deref()).filter(|(_, by)| by.len() == 1);
        let bytes = |shared: Option<(&Shared, &Vec<Sharer>)>| shared.map_or(0, |(it, _)| it.bytes);
        let (more, less) = (bytes(more), bytes(less));
        let owner = self.exchange(writer, (cost, more), &old.owner, (old.cost, less))?;
        if let (Some(left), Some(by)) = (left, &mut leaves) {
            self.change(left, by, |by| by.retain(|sharer| sharer.key != *key));
        }
        if let (Some(join), Some(by)) = (join, &mut joins) {
            let sharer = join.sharer(owner.as_ref().unwrap_or(&old.owner), cost);
            self.change(join.shared, by, |by| match by.iter_mut().find(|by| by.key == *key) {
                Some(its) => *its = sharer,
                None => by.push(sharer),
            });
        }
        Some(owner)
    }

    /// Gives the room of an entry back, and of what it was the last of.
    pub(super) fn give_shared(&self, key: &FullKey, entry: &Entry) {
        if let Some(shared) = entry.content.shared() {
            let mut by = shared.lock();
            self.change(shared, &mut by, |by| by.retain(|sharer| sharer.key != *key));
            if by.is_empty() {
                self.give_bytes(shared.bytes);
            }
        }
        self.give(&entry.owner, entry.cost);
    }

    /// An entry of it may be evicted from now on, or not any more.
    pub(super) fn line_shared(&self, key: &FullKey, entry: &Entry, lined: bool) {
        if let Some(shared) = entry.content.shared() {
            let mut by = shared.lock();
            self.change(shared, &mut by, |by| {
                let its = by.iter_mut().find(|sharer| sharer.key == *key);
                its.into_iter().for_each(|sharer| sharer.lined = lined);
            });
        }
    }

    fn change(&self, shared: &Shared, by: &mut Vec<Sharer>, change: impl FnOnce(&mut Vec<Sharer>)) {
        let before = charged(by);
        change(by);
        let after = charged(by);
        // Before less: a sum is never below what it stands for.
        if let Some((owner, lined)) = after {
            self.charge(&owner, shared.bytes, lined);
        }
        if let Some((owner, lined)) = before {
            self.discharge(&owner, shared.bytes, lined);
        }
    }
}
