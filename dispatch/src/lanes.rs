//! Tasks that wait for slaves that have their keys.
//!
//! Owns: a queue for each set of keys that tasks wait for, which slaves have all of it, and
//! who was asked (`search` asks). Does not: know what is under a key, or believe that it stays
//! there; a slave looks when it starts an attempt, and says so if it is gone.
//!
//! A lane is *hard* for tasks that run only where their keys are. If no slave is known to have
//! them, every slave that works is asked, once; when none has them the tasks end. A lane is
//! *soft* for tasks that would rather run there: they wait as long as that is expected to take
//! less time than making what is under the keys elsewhere, and not longer than that; then any
//! slave will do. So a wrong guess costs no more than twice the right one.
//!
//! Invariants: no lane is empty; a slave that works and has all keys of a lane knows the lane,
//! and no other slave does; a hard lane for which there is no slave waits for an answer, or for
//! the first slave to come.

use crate::alarm::Alarm;
use crate::core::Core;
use crate::event::{KeyId, SlaveId};
use crate::hash::IdMap;
use crate::slave::{Room, Standing};
use crate::task::{Aside, Home, List, Ref};
use crate::time::Time;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound::{Excluded, Unbounded};
use std::time::Duration;

mod bide;
mod check;
mod search;

/// A lane; never used again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct LaneId(u64);

/// Whether tasks run where their keys are, or rather there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Tie {
    Hard,
    Soft,
}

/// How far the search for a hard lane's keys is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Search {
    /// Nobody was asked: no slave has ever been linked while it waited.
    New,
    /// The slaves that had them have them no longer: all are to be asked.
    Again,
    /// Whoever could be asked was.
    Asked,
}

/// Tasks that wait for the same keys.
#[derive(Debug)]
pub(crate) struct Lane {
    keys: Box<[KeyId]>,
    tie: Tie,
    pub(crate) list: List,
    /// Slaves that work and have all of the keys.
    at: BTreeSet<SlaveId>,
    /// Slaves that were asked for the keys and have not answered.
    asked: BTreeSet<SlaveId>,
    search: Search,
    /// How long a soft lane waits.
    until: Time,
}

/// All lanes. Bounded by the tasks that wait in them.
#[derive(Debug, Default)]
pub(crate) struct Lanes {
    by_id: BTreeMap<LaneId, Lane>,
    hard: BTreeMap<Box<[KeyId]>, LaneId>,
    soft: BTreeMap<Box<[KeyId]>, LaneId>,
    by_key: IdMap<KeyId, BTreeSet<LaneId>>,
    /// Hard lanes to look after before the event is done.
    stirred: BTreeSet<LaneId>,
    last: u64,
}

impl Lanes {
    pub(crate) fn get_mut(&mut self, id: LaneId) -> Option<&mut Lane> {
        self.by_id.get_mut(&id)
    }

    pub(crate) fn find(&self, tie: Tie, keys: &[KeyId]) -> Option<LaneId> {
        let by_keys = if tie == Tie::Hard { &self.hard } else { &self.soft };
        by_keys.get(keys).copied()
    }

    fn insert(&mut self, lane: Lane) -> LaneId {
        self.last += 1;
        let id = LaneId(self.last);
        let by_keys = if lane.tie == Tie::Hard { &mut self.hard } else { &mut self.soft };
        by_keys.insert(lane.keys.clone(), id);
        for key in &lane.keys {
            self.by_key.entry(*key).or_default().insert(id);
        }
        self.by_id.insert(id, lane);
        id
    }

    fn remove(&mut self, id: LaneId) -> Option<Lane> {
        let lane = self.by_id.remove(&id)?;
        let by_keys = if lane.tie == Tie::Hard { &mut self.hard } else { &mut self.soft };
        by_keys.remove(&lane.keys);
        for key in &lane.keys {
            if let Some(lanes) = self.by_key.get_mut(key) {
                lanes.remove(&id);
                if lanes.is_empty() {
                    self.by_key.remove(key);
                }
            }
        }
        self.stirred.remove(&id);
        Some(lane)
    }

    /// The first task of a lane.
    fn head(&self, id: LaneId) -> Option<Ref> {
        self.by_id.get(&id)?.list.head()
    }

    fn of_key(&self, key: KeyId) -> Vec<LaneId> {
        self.by_key.get(&key).into_iter().flatten().copied().collect()
    }
}

impl Core {
    /// The lane that a task waits in, if it waits in one.
    pub(crate) fn lane_of(&self, task: Ref) -> Option<LaneId> {
        let it = &self.tasks[task];
        match &it.home {
            Home::At(keys) if !it.record.is_suspect() => self.lanes.find(Tie::Hard, keys),
            Home::Near(keys) if it.aside == Aside::Keys => self.lanes.find(Tie::Soft, keys),
            _ => None,
        }
    }

    /// Sees to it that there is a lane for a task that is to wait for its keys.
    pub(crate) fn open_lane(&mut self, task: Ref) {
        let (tie, keys) = match &self.tasks[task].home {
            Home::At(keys) => (Tie::Hard, &**keys),
            Home::Near(keys) => (Tie::Soft, &**keys),
            _ => return,
        };
        if self.lanes.find(tie, keys).is_some() {
            return;
        }
        let works = |slave: &SlaveId| self.works(*slave);
        let at: BTreeSet<_> = self.keys.with_all(keys).filter(works).collect();
        let (keys, list, asked) = (keys.clone(), List::default(), BTreeSet::new());
        let cost = Duration::from_nanos(self.keys.cost(&keys).unwrap_or(0));
        let until = if tie == Tie::Hard { Time::NEVER } else { self.now + cost };
        let lane = Lane { keys, tie, list, at, asked, search: Search::New, until };
        let at: Vec<_> = lane.at.iter().copied().collect();
        let id = self.lanes.insert(lane);
        match tie {
            Tie::Hard => drop(self.lanes.stirred.insert(id)),
            Tie::Soft => self.alarms.set(until, Alarm::Lane(id)),
        }
        at.into_iter().for_each(|slave| self.link_lane(slave, id));
    }

    fn works(&self, slave: SlaveId) -> bool {
        self.slaves.find(slave).is_some_and(|slave| slave.standing == Standing::Working)
    }

    fn link_lane(&mut self, slave: SlaveId, lane: LaneId) {
        if let Some(there) = self.slaves.find_mut(slave) {
            there.lanes.insert(lane);
        }
        self.slaves.settle(slave, &self.config);
        self.touched.push(slave);
    }

    fn unlink_lane(&mut self, slave: SlaveId, lane: LaneId) {
        if let Some(there) = self.slaves.find_mut(slave) {
            there.lanes.remove(&lane);
        }
        self.slaves.settle(slave, &self.config);
        self.touched.push(slave);
    }

    /// A task has left a lane, which is no lane if it was the last.
    pub(crate) fn leave_lane(&mut self, id: LaneId) {
        if !self.lanes.by_id.get(&id).is_some_and(|lane| lane.list.is_empty()) {
            return;
        }
        let Some(lane) = self.lanes.remove(id) else { return };
        self.alarms.clear(lane.until, Alarm::Lane(id));
        lane.at.into_iter().for_each(|slave| self.unlink_lane(slave, id));
    }

    /// Has the slaves of a lane looked at, the least loaded first.
    pub(crate) fn touch_slaves_of(&mut self, id: LaneId) {
        let Some(lane) = self.lanes.by_id.get(&id) else { return };
        let mut ranks: Vec<_> =
            lane.at.iter().filter_map(|slave| self.slaves.load(*slave, &self.config)).collect();
        // The last one that is touched is the first to be looked at.
        ranks.sort_unstable();
        self.touched.extend(ranks.into_iter().rev().map(|rank| rank.slave));
    }

    /// The first task of the lane whose turn it is at a slave.
    pub(crate) fn next_in_lanes(&self, id: SlaveId) -> Option<Ref> {
        let slave = self.slaves.find(id)?;
        let after = (Excluded(slave.last_lane), Unbounded);
        let next = slave.lanes.range(after).next().or_else(|| slave.lanes.first())?;
        self.lanes.head(*next)
    }

    /// Whether a task that waits for its keys may go to a slave with that room. It does not lie
    /// ready behind others as long as another slave may turn out to have them, or as nothing is
    /// known of how long it would lie there.
    pub(crate) fn fits_lane(&self, room: Room, slave: SlaveId, task: Ref) -> bool {
        let Some(lane) = self.lane_of(task).and_then(|id| self.lanes.by_id.get(&id)) else {
            return true;
        };
        room == Room::Free || (lane.asked.is_empty() && self.knows_cost(slave, task))
    }

    /// Whether a task may be taken back from its slave: there is another that has its keys.
    pub(crate) fn may_move(&self, task: Ref) -> bool {
        let it = &self.tasks[task];
        let elsewhere = match &it.home {
            Home::Anywhere | Home::Near(_) => true,
            Home::On(_) | Home::Reserved(_) => false,
            Home::At(keys) => self.keys.with_all(keys).nth(1).is_some(),
        };
        elsewhere && !it.record.is_suspect()
    }

    /// A slave has a key now, and perhaps all of some lanes.
    pub(crate) fn find_lanes(&mut self, slave: SlaveId, key: KeyId) {
        if !self.works(slave) {
            return;
        }
        for id in self.lanes.of_key(key) {
            let Some(lane) = self.lanes.by_id.get_mut(&id) else { continue };
            let Some(there) = self.slaves.find(slave) else { continue };
            if lane.keys.iter().all(|key| there.keys.contains(key)) && lane.at.insert(slave) {
                self.link_lane(slave, id);
            }
        }
    }

    /// A slave has a key no longer.
    pub(crate) fn lose_lanes(&mut self, slave: SlaveId, key: KeyId) {
        self.stranded |= !self.suspects.is_empty();
        self.lanes.of_key(key).into_iter().for_each(|lane| self.lose_lane(slave, lane));
    }

    /// A slave does not work any more, or is gone: with its keys, and without an answer.
    pub(crate) fn lose_all_lanes(&mut self, slave: SlaveId) {
        if mutated!(LostKeysKept) {
            return;
        }
        self.stranded |= !self.suspects.is_empty();
        let mut unanswered = Vec::new();
        for (id, lane) in &mut self.lanes.by_id {
            if lane.asked.remove(&slave) {
                unanswered.push(*id);
            }
        }
        self.lanes.stirred.extend(unanswered);
        let all: Vec<_> = self
            .lanes
            .by_id
            .iter()
            .filter(|(_, lane)| lane.at.contains(&slave))
            .map(|(id, _)| *id)
            .collect();
        all.into_iter().for_each(|lane| self.lose_lane(slave, lane));
    }

    fn lose_lane(&mut self, slave: SlaveId, id: LaneId) {
        let Some(lane) = self.lanes.by_id.get_mut(&id) else { return };
        if !lane.at.remove(&slave) {
            return;
        }
        if lane.at.is_empty() {
            lane.search = Search::Again;
            match lane.tie {
                Tie::Hard => drop(self.lanes.stirred.insert(id)),
                Tie::Soft => self.release_lane(id),
            }
        }
        self.unlink_lane(slave, id);
    }
}

#[cfg(test)]
mod tests;
