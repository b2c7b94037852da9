//! Who holds how much of the store, and who is first to give something up.
//!
//! There is one quota, in bytes and in entries, for the whole store. What a principal may hold
//! of it is not limited while there is room. When a write needs room, its share counts: the
//! quota divided by the number of principals with entries, the writer among them with what it
//! is about to write. First goes what principals hold that are over their share, then anybody's;
//! among these the entry that was not used for longest. Plain values and pinned entries are in
//! no line and never go; of these a principal may have no more than its share, if there is one.
//!
//! Owns: the sums, and each principal's line of what may be evicted. Does not: know what an
//! entry holds, or remove one. Invariants: no sum ever exceeds the quota; an account is in the
//! table while it has entries; a line has exactly its owner's entries that may be evicted.
//! Locks: a shard of the entries before the table before a line, never the other way round.

use super::entry::Entry;
use super::shared::Spared;
use dashmap::DashMap;
use dpfw_protocol::error::{Cause, Limit};
use dpfw_protocol::store::{FullKey, Principal, Version};
use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// See the module's page.
#[derive(Debug)]
pub(super) struct Ledger {
    used: Sum,
    /// What of it may be evicted.
    lined: Sum,
    most_bytes: u64,
    most_entries: u64,
    /// Bytes of entries that never go which one principal may have.
    share: u64,
    accounts: DashMap<Principal, Arc<Account>>,
}

#[derive(Debug, Default)]
struct Sum {
    bytes: AtomicU64,
    entries: AtomicU64,
}

impl Sum {
    fn add(&self, bytes: u64) {
        self.bytes.fetch_add(bytes, Relaxed);
        self.entries.fetch_add(1, Relaxed);
    }

    /// Gives how many entries are left.
    fn subtract(&self, bytes: u64) -> u64 {
        self.bytes.fetch_sub(bytes, Relaxed);
        self.entries.fetch_sub(1, Relaxed) - 1
    }
}

/// When an entry was last used, as far as its line knows, and its version, which no other has.
type Place = (u64, Version);

/// What one principal holds.
#[derive(Debug)]
pub(super) struct Account {
    pub(super) principal: Principal,
    held: Sum,
    /// Bytes of them that may be evicted.
    lined: AtomicU64,
    /// Its entries that may be evicted, in the order in which they were last used when they were
    /// looked at: reading an entry does not touch the line. Whoever evicts puts those back that
    /// were used since.
    line: Mutex<BTreeMap<Place, FullKey>>,
}

/// What a write needs.
#[derive(Debug)]
pub(super) struct Need<'a> {
    pub(super) writer: &'a Principal,
    /// The entry that is written: its old value is not evicted to make room for the new one.
    pub(super) key: Option<&'a FullKey>,
    pub(super) new: u64,
    /// What the old entry was charged; nothing if there is none.
    pub(super) old: Option<u64>,
    /// Whether the old entry is in a line.
    pub(super) old_is_lined: bool,
    /// Other entries of what is written.
    pub(super) spared: Spared,
}

/// Who is to be evicted next.
#[derive(Debug)]
pub(super) struct Candidate {
    pub(super) key: FullKey,
    pub(super) place: Place,
}

impl Ledger {
    pub(super) fn new(most_bytes: u64, most_entries: u64, share: u64) -> Self {
        let (used, lined, accounts) = Default::default();
        Self { used, lined, most_bytes, most_entries, share, accounts }
    }

    /// Whether there is a share: it is asked for only then.
    pub(super) fn has_share(&self) -> bool {
        self.share < self.most_bytes
    }

    /// Whether a principal may have so many bytes more that never go, besides `old` of them that it
    /// gives up. Those who write at once may each be told so.
    ///
    /// # Errors
    /// [`Cause::Limit`] with the share.
    pub(super) fn within_share(&self, writer: &Principal, new: u64, old: u64) -> Result<(), Cause> {
        let stays = self.accounts.get(writer).map_or(0, |account| {
            let held = account.held.bytes.load(Relaxed);
            held.saturating_sub(account.lined.load(Relaxed))
        });
        match stays.saturating_sub(old).saturating_add(new) <= self.share {
            true => Ok(()),
            false => Err(Cause::Limit { limit: Limit::Quota, allowed: self.share }),
        }
    }

    /// Entries, and what they cost in bytes.
    pub(super) fn size(&self) -> (u64, u64) {
        (self.used.entries.load(Relaxed), self.used.bytes.load(Relaxed))
    }

    /// Principals that have entries.
    #[cfg(test)]
    pub(super) fn principals(&self) -> usize {
        self.accounts.len()
    }

    pub(super) fn most_bytes(&self) -> u64 {
        self.most_bytes
    }

    pub(super) fn most_entries(&self) -> u64 {
        self.most_entries
    }

    pub(super) fn quota(&self) -> Cause {
        Cause::Limit { limit: Limit::Quota, allowed: self.most_bytes }
    }

    /// What there is too little of for a write.
    pub(super) fn lack(&self, need: &Need<'_>) -> Cause {
        match need.old.is_none() && self.used.entries.load(Relaxed) >= self.most_entries {
            true => Cause::Limit { limit: Limit::Entries, allowed: self.most_entries },
            false => self.quota(),
        }
    }

    /// Whether a value of this length could ever be stored.
    pub(super) fn could_hold(&self, len: u64) -> bool {
        len <= self.most_bytes
    }

    /// Takes bytes for something that is no entry yet, or for more than an entry had; whether
    /// there are so many.
    pub(super) fn take_bytes(&self, new: u64, old: u64) -> bool {
        let fits = |used: u64| {
            let sum = (used - old).checked_add(new)?;
            (sum <= self.most_bytes || new <= old).then_some(sum)
        };
        self.used.bytes.try_update(Relaxed, Relaxed, fits).is_ok()
    }

    pub(super) fn give_bytes(&self, bytes: u64) {
        self.used.bytes.fetch_sub(bytes, Relaxed);
    }

    /// Takes the room for an entry, and so many bytes beside it, if there is any; gives the writer's
    /// account.
    pub(super) fn take(&self, writer: &Principal, new: u64, beside: u64) -> Option<Arc<Account>> {
        let fits = |entries| (entries < self.most_entries).then_some(entries + 1);
        self.used.entries.try_update(Relaxed, Relaxed, fits).ok()?;
        if !self.take_bytes(new.saturating_add(beside), 0) {
            self.used.entries.fetch_sub(1, Relaxed);
            return None;
        }
        Some(self.account(writer, new))
    }

    /// Takes the room for an entry in the place of another, each with so many bytes beside it, if
    /// there is any; gives the writer's account unless it was its owner's.
    pub(super) fn exchange(
        &self,
        writer: &Principal,
        (new, beside): (u64, u64),
        owner: &Account,
        (old, before): (u64, u64),
    ) -> Option<Option<Arc<Account>>> {
        let (all, was) = (new.saturating_add(beside), old + before);
        // Most often nothing changes but the value, and nobody else is held up.
        if all != was && !self.take_bytes(all, was) {
            return None;
        }
        if owner.principal != *writer {
            let account = self.account(writer, new);
            self.leave(owner, old);
            return Some(Some(account));
        }
        if new != old {
            owner.held.bytes.fetch_add(new, Relaxed);
            owner.held.bytes.fetch_sub(old, Relaxed);
        }
        Some(None)
    }

    /// Gives the room of an entry back.
    pub(super) fn give(&self, owner: &Account, cost: u64) {
        self.used.subtract(cost);
        self.leave(owner, cost);
    }

    /// The writer's account, charged while the table is locked: so none is taken out of it that
    /// has entries.
    fn account(&self, writer: &Principal, cost: u64) -> Arc<Account> {
        if let Some(account) = self.accounts.get(writer) {
            account.held.add(cost);
            return Arc::clone(&account);
        }
        let account = self.accounts.entry(writer.clone()).or_insert_with(|| {
            let (held, lined, line) = Default::default();
            Arc::new(Account { principal: writer.clone(), held, lined, line })
        });
        account.held.add(cost);
        Arc::clone(&account)
    }

    /// Charges an account for what is no entry, and may be evicted or not.
    pub(super) fn charge(&self, owner: &Account, bytes: u64, lined: bool) {
        owner.held.bytes.fetch_add(bytes, Relaxed);
        if lined {
            self.lined.bytes.fetch_add(bytes, Relaxed);
            owner.lined.fetch_add(bytes, Relaxed);
        }
    }

    /// Charges it no more.
    pub(super) fn discharge(&self, owner: &Account, bytes: u64, lined: bool) {
        owner.held.bytes.fetch_sub(bytes, Relaxed);
        if lined {
            self.lined.bytes.fetch_sub(bytes, Relaxed);
            owner.lined.fetch_sub(bytes, Relaxed);
        }
    }

    fn leave(&self, owner: &Account, cost: u64) {
        if owner.held.subtract(cost) == 0 {
            let is_empty = |account: &Arc<Account>| account.held.entries.load(Relaxed) == 0;
            self.accounts.remove_if(&owner.principal, |_, account| is_empty(account));
        }
    }

    /// An entry may be evicted from now on.
    pub(super) fn line_up(&self, key: &FullKey, entry: &Entry) {
        self.line_shared(key, entry, true);
        self.lined.add(entry.cost);
        entry.owner.lined.fetch_add(entry.cost, Relaxed);
        entry.set_place(entry.used());
        entry.owner.line().insert((entry.place(), entry.version), key.clone());
    }

    /// It may not, or is gone.
    pub(super) fn line_out(&self, key: &FullKey, entry: &Entry) {
        self.line_shared(key, entry, false);
        self.lined.subtract(entry.cost);
        entry.owner.lined.fetch_sub(entry.cost, Relaxed);
        entry.owner.line().remove(&(entry.place(), entry.version));
    }

    /// It was used since it was lined up.
    pub(super) fn line_up_again(&self, entry: &Entry) {
        let mut line = entry.owner.line();
        if let Some(key) = line.remove(&(entry.place(), entry.version)) {
            entry.set_place(entry.used());
            line.insert((entry.place(), entry.version), key);
        }
    }

    /// Whether there is room for a write now.
    pub(super) fn has_room(&self, need: &Need<'_>) -> bool {
        self.would_fit(need, 0, 0)
    }

    /// Whether there would be room if all were evicted that may be.
    pub(super) fn could_have_room(&self, need: &Need<'_>) -> bool {
        let own = if need.old_is_lined { (need.old.unwrap_or(0), 1) } else { (0, 0) };
        let stays = (own.0 + need.spared.lined.0, own.1 + need.spared.lined.1);
        let bytes = self.lined.bytes.load(Relaxed).saturating_sub(stays.0);
        let entries = self.lined.entries.load(Relaxed).saturating_sub(stays.1);
        self.would_fit(need, bytes, entries)
    }

    fn would_fit(&self, need: &Need<'_>, bytes: u64, entries: u64) -> bool {
        let without = bytes.saturating_add(need.old.unwrap_or(0));
        let left = self.used.bytes.load(Relaxed).saturating_sub(without);
        let others = self.used.entries.load(Relaxed).saturating_sub(entries);
        left.saturating_add(need.new) <= self.most_bytes
            && (need.old.is_some() || others < self.most_entries)
    }

    /// Whom the rule of this page names. Walks over the principals, not over their entries.
    pub(super) fn first_to_go(&self, need: &Need<'_>) -> Option<Candidate> {
        let others = self.accounts.len() as u64;
        let principals = others + u64::from(!self.accounts.contains_key(need.writer));
        let mut first: Option<((bool, Reverse<Place>), Candidate)> = None;
        for account in &self.accounts {
            let line = account.line();
            let may_go = |key: &FullKey| Some(key) != need.key && !need.spared.keys.contains(key);
            let Some((&place, key)) = line.iter().find(|(_, key)| may_go(key)) else {
                continue;
            };
            let rank = (self.is_over(&account, need, principals), Reverse(place));
            if first.as_ref().is_none_or(|(best, _)| rank > *best) {
                first = Some((rank, Candidate { key: key.clone(), place }));
            }
        }
        first.map(|(_, candidate)| candidate)
    }

    /// Whether a principal holds more than its share.
    fn is_over(&self, account: &Account, need: &Need<'_>, principals: u64) -> bool {
        let writes = u64::from(account.principal == *need.writer);
        let more = need.new.saturating_sub(need.old.unwrap_or(0)) * writes;
        let one = writes * u64::from(need.old.is_none());
        let is_more = |held: u64, more: u64, most: u64| {
            u128::from(held.saturating_add(more)) * u128::from(principals) > u128::from(most)
        };
        is_more(account.held.bytes.load(Relaxed), more, self.most_bytes)
            || is_more(account.held.entries.load(Relaxed), one, self.most_entries)
    }
}

impl Account {
    fn line(&self) -> MutexGuard<'_, BTreeMap<Place, FullKey>> {
        self.line.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
