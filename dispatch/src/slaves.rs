//! All slaves, in the order in which they are chosen.
//!
//! Owns: the table of slaves and its two indexes. Does not: send. Invariant: after
//! `settle` a slave stands in the indexes as its account says; everything that changes an
//! account settles it before the next choice.

use crate::config::Config;
use crate::event::SlaveId;
use crate::hash::IdMap;
use crate::slave::{Room, Slave};
use std::collections::BTreeSet;

/// A slave's place in the order: those with a free slot first, the least loaded first,
/// then the one that was chosen longest ago.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Rank {
    pub(crate) room: Room,
    load: u64,
    chosen: u64,
    pub(crate) slave: SlaveId,
}

impl Rank {
    /// Whether nothing is out there.
    pub(crate) fn is_empty(&self) -> bool {
        self.room == Room::Free && self.load == 0
    }
}

#[derive(Debug)]
struct Entry {
    slave: Slave,
    chosen: u64,
    rank: Option<Rank>,
    excess: u32,
}

/// All slaves.
#[derive(Debug, Default)]
pub(crate) struct Slaves {
    by_id: IdMap<SlaveId, Entry>,
    /// Slaves open for the general queue.
    ranks: BTreeSet<Rank>,
    /// Slaves with attempts that could be elsewhere, by how many there are: in powers of
    /// two, so that it rarely changes.
    excess: BTreeSet<(u32, SlaveId)>,
    choices: u64,
}

impl Slaves {
    pub(crate) fn insert(&mut self, id: SlaveId, slave: Slave) {
        self.choices += 1;
        let entry = Entry { slave, chosen: self.choices, rank: None, excess: 0 };
        self.by_id.insert(id, entry);
    }

    pub(crate) fn remove(&mut self, id: SlaveId) -> Option<Slave> {
        let entry = self.by_id.remove(&id)?;
        entry.rank.map(|rank| self.ranks.remove(&rank));
        self.excess.remove(&(entry.excess, id));
        Some(entry.slave)
    }

    pub(crate) fn find(&self, id: SlaveId) -> Option<&Slave> {
        self.by_id.get(&id).map(|entry| &entry.slave)
    }

    pub(crate) fn find_mut(&mut self, id: SlaveId) -> Option<&mut Slave> {
        self.by_id.get_mut(&id).map(|entry| &mut entry.slave)
    }

    pub(crate) fn len(&self) -> usize {
        self.by_id.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.by_id.is_empty()
    }

    /// All, in no useful order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (SlaveId, &Slave)> {
        self.by_id.iter().map(|(id, entry)| (*id, &entry.slave))
    }

    /// The same, to be changed in what places nothing.
    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Slave> {
        self.by_id.values_mut().map(|entry| &mut entry.slave)
    }

    /// Notes that a slave was chosen: among equals it is the last to be chosen again.
    pub(crate) fn choose(&mut self, id: SlaveId) {
        self.choices += 1;
        if let Some(entry) = self.by_id.get_mut(&id) {
            entry.chosen = self.choices;
        }
    }

    /// Puts a slave where its account says.
    pub(crate) fn settle(&mut self, id: SlaveId, config: &Config) {
        let Some(entry) = self.by_id.get_mut(&id) else { return };
        let rank = entry.wanted_rank(id, config);
        if rank != entry.rank {
            entry.rank.map(|rank| self.ranks.remove(&rank));
            rank.map(|rank| self.ranks.insert(rank));
            entry.rank = rank;
        }
        let excess = entry.wanted_excess();
        if excess != entry.excess {
            self.excess.remove(&(entry.excess, id));
            if excess > 0 {
                self.excess.insert((excess, id));
            }
            entry.excess = excess;
        }
    }

    /// Slaves open for the general queue, best first.
    pub(crate) fn ranks(&self) -> impl Iterator<Item = &Rank> {
        self.ranks.iter()
    }

    /// The best of them.
    pub(crate) fn first(&self) -> Option<Rank> {
        self.ranks.first().copied()
    }

    /// A slave's place in the order, if it is open.
    pub(crate) fn rank(&self, id: SlaveId) -> Option<Rank> {
        self.by_id.get(&id).and_then(|entry| entry.rank)
    }

    /// The place that a slave would have in the order if it were open.
    pub(crate) fn load(&self, id: SlaveId, config: &Config) -> Option<Rank> {
        let entry = self.by_id.get(&id)?;
        let (room, load) = entry.slave.room(config);
        Some(Rank { room, load, chosen: entry.chosen, slave: id })
    }

    /// Slaves with attempts that could be elsewhere, the fullest first.
    pub(crate) fn fullest(&self) -> impl Iterator<Item = SlaveId> {
        self.excess.iter().rev().map(|(_, id)| *id)
    }

    /// Checks that the indexes agree with the accounts.
    ///
    /// # Panics
    /// If they do not.
    pub(crate) fn check(&self, config: &Config) {
        let ranked = self.by_id.values().filter(|entry| entry.rank.is_some()).count();
        assert_eq!(self.ranks.len(), ranked, "slaves in the order");
        let full = self.by_id.values().filter(|entry| entry.excess > 0).count();
        assert_eq!(self.excess.len(), full, "slaves with an excess");
        for (id, entry) in &self.by_id {
            entry.slave.check(*id, config);
            assert_eq!(entry.rank, entry.wanted_rank(*id, config), "the rank of slave {id}");
            assert!(entry.rank.is_none_or(|rank| self.ranks.contains(&rank)));
            assert_eq!(entry.excess, entry.wanted_excess(), "the excess of slave {id}");
            assert!(entry.excess == 0 || self.excess.contains(&(entry.excess, *id)));
        }
    }
}

impl Entry {
    fn wanted_rank(&self, slave: SlaveId, config: &Config) -> Option<Rank> {
        let (room, load) = self.slave.room(config);
        let rank = Rank { room, load, chosen: self.chosen, slave };
        self.slave.is_open().then_some(rank)
    }

    fn wanted_excess(&self) -> u32 {
        self.slave.excess().checked_ilog2().map_or(0, |log| log + 1)
    }
}
