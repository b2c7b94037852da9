//! Writing an entry, whatever is there.
//!
//! Invariants: an entry is written while its shard is locked, and is in the index, the line, the
//! times and the ledger as it is in the map when the lock is given back; while room is made for
//! it nothing is locked, so what is there is looked at anew behind each step.

use super::entry::{self, Content, Entry, Life, New};
use super::ledger::{Account, Need};
use super::shared::Join;
use super::{Answer, Store};
use dashmap::mapref::entry::{Entry as Slot, OccupiedEntry, VacantEntry};
use dpfw_protocol::changes::What;
use dpfw_protocol::error::Cause;
use dpfw_protocol::store::{EntryKind, FullKey, Principal, Terms, Version};
use std::sync::Arc;

/// An entry that is to be written.
pub(super) struct Write<'a> {
    pub(super) key: FullKey,
    pub(super) writer: &'a Principal,
    pub(super) content: Content,
    pub(super) terms: Terms,
    /// Whether it keeps the terms of the entry that it replaces, if it replaces one.
    pub(super) keeps_terms: bool,
    /// Whether to go on making room for it: that may take long.
    pub(super) go_on: &'a dyn Fn() -> bool,
}

type Vacant<'a> = VacantEntry<'a, FullKey, Entry>;
type Occupied<'a> = OccupiedEntry<'a, FullKey, Entry>;

/// What came of trying to write.
enum Tried<'a> {
    Done(Answer),
    /// The present entry is not as it has to be.
    Not(Version),
    /// There is no room; what it would cost, what the old entry was charged, and whether that is
    /// in a line.
    NoRoom(Write<'a>, u64, Option<(u64, bool)>),
}

/// What an entry is to be one of.
fn joining<'a>(new: &'a New, key: &'a FullKey, pinned: bool) -> Option<Join<'a>> {
    let shared = new.content.shared()?;
    Some(Join { shared, key, lined: new.life.evictable && !pinned })
}

impl Store {
    /// Writes if the present version (0 for none) is as it has to be.
    pub(super) fn write(
        &self,
        mut write: Write<'_>,
        may: impl Fn(Version) -> bool,
    ) -> Result<Answer, Cause> {
        if let Content::Value(value) = &write.content {
            self.admits(value.len() as u64)?;
        }
        if write.content.kind() != EntryKind::Resident && self.is_asleep(&write.key) {
            let key = write.key.key.to_string();
            return Err(Cause::WrongKind { key, kind: EntryKind::Resident });
        }
        if self.ledger.has_share() {
            self.look_at_share(&write)?;
        }
        let mut step = 0;
        loop {
            step += 1;
            let (refused, cost, old) = match self.try_write(write, &may)? {
                Tried::Done(answer) => return Ok(answer),
                Tried::Not(version) => return Ok(Answer { version, ..Answer::default() }),
                Tried::NoRoom(write, cost, old) => (write, cost, old),
            };
            write = refused;
            let spared = write.content.shared().map(|shared| shared.beside(&write.key));
            let need = Need {
                writer: write.writer,
                key: Some(&write.key),
                new: cost,
                old: old.map(|(cost, _)| cost),
                old_is_lined: old.is_some_and(|(_, is_lined)| is_lined),
                spared: spared.unwrap_or_default(),
            };
            if !self.make_room(&need, step, write.go_on)? {
                return Err(self.ledger.lack(&need));
            }
        }
    }

    /// Refuses what would give its writer more that never goes than its share.
    fn look_at_share(&self, write: &Write<'_>) -> Result<(), Cause> {
        let life = Life::new(write.terms, self.clock.now());
        let shared = write.content.shared().map_or(0, |shared| shared.at_stake());
        let cost = entry::cost(&write.key, &write.content, life).saturating_add(shared);
        let (mut goes, mut old) = (life.evictable, 0);
        if let Some(present) = self.entries.get(&write.key) {
            goes = if write.keeps_terms { present.is_lined() } else { goes && !present.pinned };
            if !present.is_lined() && present.owner.principal == *write.writer {
                let less = present.content.shared().map_or(0, |shared| shared.less());
                old = present.cost + less;
            }
        }
        match goes {
            true => Ok(()),
            false => self.ledger.within_share(write.writer, cost, old),
        }
    }

    fn try_write<'a>(
        &self,
        write: Write<'a>,
        may: impl Fn(Version) -> bool,
    ) -> Result<Tried<'a>, Cause> {
        let Write { key, writer, content, terms, keeps_terms, go_on } = write;
        let now = self.clock.now();
        let life = Life::new(terms, now);
        let mut cost = entry::cost(&key, &content, life);
        let mut new = New { content, cost, life, now };
        let (key, content, old) = match self.entries.entry(key) {
            Slot::Vacant(_) if !may(0) => return Ok(Tried::Not(0)),
            Slot::Vacant(slot) => {
                let join = joining(&new, slot.key(), false);
                match self.ledger.take_shared(writer, cost, join) {
                    Some(owner) => return Ok(Tried::Done(self.fill(slot, new, owner))),
                    None => (slot.into_key(), new.content, None),
                }
            }
            Slot::Occupied(slot) => {
                let old = slot.get();
                // What is over is charged until it is replaced, but is there for nobody.
                let present = (!old.is_gone(new.now)).then_some(old);
                let version = present.map_or(0, |present| present.version);
                if present.is_some_and(|present| present.content.kind() != new.content.kind()) {
                    return Err(old.wrong_kind(slot.key()));
                }
                if !may(version) {
                    return Ok(Tried::Not(version));
                }
                if let Some(present) = present.filter(|_| keeps_terms) {
                    new.life = present.life();
                    cost = entry::cost(slot.key(), &new.content, new.life);
                    new.cost = cost;
                }
                let join = joining(&new, slot.key(), present.is_some_and(|old| old.pinned));
                let room = self.ledger.exchange_shared(writer, cost, join, (slot.key(), old));
                match room {
                    Some(owner) => return Ok(Tried::Done(self.replace(slot, new, owner))),
                    None => {
                        let less = old.content.shared().map_or(0, |shared| shared.less());
                        let old = (old.cost + less, old.is_lined());
                        (slot.into_key(), new.content, Some(old))
                    }
                }
            }
        };
        let cost = cost.saturating_add(content.shared().map_or(0, |shared| shared.more()));
        let write = Write { key, writer, content, terms, keeps_terms, go_on };
        Ok(Tried::NoRoom(write, cost, old))
    }

    pub(super) fn fill(&self, slot: Vacant<'_>, new: New, owner: Arc<Account>) -> Answer {
        let (version, kind) = (self.next_version(), new.content.kind());
        let entry = Entry::new(new, owner, version);
        self.index.insert(slot.key());
        self.enlist(slot.key(), &entry);
        self.note(slot.key(), &entry);
        self.changes.publish(slot.key(), kind, version, What::Put);
        let waited = self.changes.has_waiters().then(|| slot.key().clone());
        // The shard is locked until here.
        drop(slot.insert(entry));
        if let Some(key) = waited {
            self.changes.wake(&key);
        }
        Answer { hit: true, version, ..Answer::default() }
    }

    fn replace(&self, mut slot: Occupied<'_>, new: New, owner: Option<Arc<Account>>) -> Answer {
        let kind = new.content.kind();
        let old = slot.get();
        self.unlist(slot.key(), old);
        if old.is_gone(new.now) {
            let gone = self.next_version();
            self.changes.publish(slot.key(), old.content.kind(), gone, What::Expired);
        }
        let version = self.next_version();
        let (replaced, account) = slot.get_mut().renew(new, owner, version);
        self.enlist(slot.key(), slot.get());
        self.note(slot.key(), slot.get());
        self.changes.publish(slot.key(), kind, version, What::Put);
        let is_image = kind == EntryKind::Image;
        let waited = (is_image || self.changes.has_waiters()).then(|| slot.key().clone());
        drop(slot);
        // What was there is cleared up when nothing is locked: it may be large.
        drop(account);
        match &waited {
            Some(key) if is_image => self.cleared(key, replaced, What::Put),
            _ => drop(replaced),
        }
        if let Some(key) = waited {
            self.changes.wake(&key);
        }
        Answer { hit: true, version, ..Answer::default() }
    }
}
