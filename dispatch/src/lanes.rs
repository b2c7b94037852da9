//! Tasks that wait for slaves that have their keys.
//!
//! Owns: a queue for each set of keys that tasks wait for, which slaves have all of it, and
//! who was asked. Does not: know what is under a key, or believe that it stays there; a slave
//! looks when it starts an attempt, and says so if it is gone.
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
use crate::core::{Core, End, Turn};
use crate::effect::{Effect, Outcome};
use crate::event::{KeyId, SlaveId};
use crate::hash::IdMap;
use crate::slave::{Hold, Room, Standing};
use crate::task::{Aside, Home, List, Ref};
use crate::time::Time;
use dpfw_protocol::error::Cause;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound::{Excluded, Unbounded};
use std::time::Duration;

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

    /// A slave has come: it may have what others have not.
    pub(crate) fn ask_newcomer(&mut self, turn: &mut Turn<'_>, slave: SlaveId) {
        for lane in self.lanes.by_id.values_mut() {
            if lane.tie == Tie::Hard && lane.at.is_empty() {
                lane.search = Search::Asked;
                lane.asked.insert(slave);
                turn.out.push(Effect::Locate { slave, keys: lane.keys.clone() });
            }
        }
    }

    /// A slave has said which of the keys it has.
    pub(crate) fn handle_located(&mut self, id: SlaveId, keys: &[KeyId], held: &[KeyId]) {
        for key in keys {
            match held.contains(key) {
                true => self.handle_key(id, *key),
                false => self.handle_key_gone(id, *key),
            }
        }
        if let Some(found) = self.lanes.find(Tie::Hard, keys)
            && let Some(lane) = self.lanes.by_id.get_mut(&found)
        {
            lane.asked.remove(&id);
            self.lanes.stirred.insert(found);
        }
    }

    /// Looks after the hard lanes for which there may be no slave.
    pub(crate) fn tend_lanes(&mut self, turn: &mut Turn<'_>) {
        while let Some(id) = self.lanes.stirred.pop_first() {
            let Some(lane) = self.lanes.by_id.get(&id) else { continue };
            if !lane.at.is_empty() || !lane.asked.is_empty() {
                continue;
            }
            // The first slave to come is asked then.
            let is_early = lane.search == Search::New && self.slaves.is_empty();
            let is_over = lane.search == Search::Asked;
            if !is_early && (is_over || !self.ask_all(turn, id)) {
                self.fail_lane_of_keys(turn, id);
            }
        }
        if std::mem::take(&mut self.stranded) {
            self.fail_stranded(turn);
        }
    }

    /// Asks every slave that works for the keys of a lane; whether there is one.
    fn ask_all(&mut self, turn: &mut Turn<'_>, id: LaneId) -> bool {
        let working = self.slaves.iter().filter(|(_, it)| it.standing == Standing::Working);
        let asked: BTreeSet<_> = working.map(|(slave, _)| slave).collect();
        let Some(lane) = self.lanes.by_id.get_mut(&id) else { return false };
        for slave in asked.iter().filter(|_| !mutated!(LocateForgotten)) {
            turn.out.push(Effect::Locate { slave: *slave, keys: lane.keys.clone() });
        }
        lane.search = Search::Asked;
        lane.asked = asked;
        !lane.asked.is_empty()
    }

    fn fail_lane_of_keys(&mut self, turn: &mut Turn<'_>, id: LaneId) {
        while let Some(task) = self.lanes.head(id) {
            self.unlink(task);
            self.fail_without_key(turn, task);
        }
    }

    /// Ends the suspects for whose keys there is no slave.
    fn fail_stranded(&mut self, turn: &mut Turn<'_>) {
        let is_stranded = |task: &Ref| match &self.tasks[*task].home {
            Home::At(keys) => !self.keys.with_all(keys).any(|slave| self.works(slave)),
            _ => false,
        };
        let stranded: Vec<_> = self.suspects.iter(&self.tasks).filter(is_stranded).collect();
        for task in stranded {
            self.unlink(task);
            self.fail_without_key(turn, task);
        }
    }

    /// Ends a task, which is in no queue, because no slave has its keys. Of several the first
    /// is named that no slave has; if each is somewhere, the first.
    fn fail_without_key(&mut self, turn: &mut Turn<'_>, task: Ref) {
        let Home::At(keys) = &self.tasks[task].home else { return };
        let is_nowhere = |key: &&KeyId| !self.keys.holders(**key).any(|slave| self.works(slave));
        let Some(key) = keys.iter().find(is_nowhere).or(keys.first()).copied() else { return };
        self.counted.failed += 1;
        self.resolve(turn, task, Outcome::KeyGone { key, slave: None }, 0);
    }

    /// Ends what waits in hard lanes, when no slave is linked and none will come.
    pub(crate) fn give_up_lanes(&mut self, turn: &mut Turn<'_>) {
        while let Some(id) = self.lanes.by_id.keys().next().copied() {
            while let Some(task) = self.lanes.head(id) {
                self.unlink(task);
                self.fail(turn, task, Cause::NoSlaves, None);
            }
        }
    }

    /// Has the head of the queue wait for a slave that has its keys, if that is expected to be
    /// over sooner than making what is under them elsewhere. Whether it does.
    pub(crate) fn bide(&mut self, task: Ref) -> bool {
        let it = &self.tasks[task];
        let Home::Near(keys) = &it.home else { return false };
        if it.aside != Aside::No || !self.is_worth_biding(task, keys) {
            return false;
        }
        self.queue.unlink(&mut self.tasks, task);
        self.tasks[task].aside = Aside::Keys;
        self.enqueue(task, End::Back);
        true
    }

    fn is_worth_biding(&self, task: Ref, keys: &[KeyId]) -> bool {
        let Some(cost) = self.keys.cost(keys) else { return false };
        let lane = self.lanes.find(Tie::Soft, keys).and_then(|id| self.lanes.by_id.get(&id));
        let ahead = lane.map_or(0, |lane| lane.list.len() as u64);
        let mut holders =
            self.keys.with_all(keys).filter_map(|id| Some((id, self.slaves.find(id)?)));
        let has_room = |(id, slave): (SlaveId, &crate::slave::Slave)| {
            slave.is_open() && self.fits_room(slave.room(&self.config).0, id, task)
        };
        let is_short = holders.any(|(id, slave)| {
            let work = slave.all_nanos.saturating_add(ahead.saturating_mul(self.cost_at(id, task)));
            let is_usable = slave.is_able() && matches!(slave.hold, Hold::Open);
            is_usable && work / u64::from(slave.slots.max(1)) < cost
        });
        let mut holders =
            self.keys.with_all(keys).filter_map(|id| Some((id, self.slaves.find(id)?)));
        // Where there is room it goes at once.
        is_short && !holders.any(has_room)
    }

    /// A soft lane has waited long enough, or has nobody to wait for: any slave will do.
    pub(crate) fn release_lane(&mut self, id: LaneId) {
        let Some(lane) = self.lanes.by_id.get(&id) else { return };
        let tasks: Vec<_> = lane.list.iter(&self.tasks).collect();
        for task in tasks.into_iter().rev() {
            self.unlink(task);
            self.tasks[task].aside = Aside::Spent;
            self.queue.push_front(&mut self.tasks, task);
        }
    }

    /// Checks the lanes.
    ///
    /// # Panics
    /// If an invariant does not hold.
    pub(crate) fn check_lanes(&self) {
        assert!(self.lanes.stirred.is_empty() && !self.stranded, "lanes are left to look after");
        for task in self.suspects.iter(&self.tasks) {
            let Home::At(keys) = &self.tasks[task].home else { continue };
            let mut at = self.keys.with_all(keys);
            assert!(at.any(|slave| self.works(slave)), "a suspect without a slave");
        }
        for (id, lane) in &self.lanes.by_id {
            assert!(!lane.list.is_empty(), "an empty lane");
            assert_eq!(self.lanes.find(lane.tie, &lane.keys), Some(*id));
            let at: BTreeSet<_> =
                self.keys.with_all(&lane.keys).filter(|slave| self.works(*slave)).collect();
            assert_eq!(lane.at, at, "the slaves of a lane");
            assert!(lane.asked.iter().all(|slave| self.works(*slave)), "asked a lost slave");
            let waits = !at.is_empty() || !lane.asked.is_empty();
            match lane.tie {
                Tie::Hard => assert!(waits || self.slaves.is_empty(), "a lane without hope"),
                Tie::Soft => {
                    assert!(!at.is_empty() && self.alarms.has(lane.until, Alarm::Lane(*id)))
                }
            }
            for slave in &lane.at {
                let Some(there) = self.slaves.find(*slave) else { continue };
                assert!(there.lanes.contains(id), "slave {slave} does not know its lane");
                let idle = there.is_able() && there.hold == Hold::Open && there.outs.is_empty();
                assert!(!idle || there.room(&self.config).0 == Room::Full, "slave {slave} is idle");
            }
        }
        let known: usize = self.lanes.by_id.values().map(|lane| lane.at.len()).sum();
        let knowing: usize = self.slaves.iter().map(|(_, slave)| slave.lanes.len()).sum();
        assert_eq!(known, knowing, "slaves know lanes that are not");
    }

    /// The lanes with the tasks that wait in them, for checking.
    pub(crate) fn lanes_to_check(&self) -> impl Iterator<Item = (LaneId, &List)> {
        self.lanes.by_id.iter().map(|(id, lane)| (*id, &lane.list))
    }

    /// How many lanes there are.
    pub(crate) fn lanes_len(&self) -> usize {
        self.lanes.by_id.len()
    }
}

#[cfg(test)]
mod tests;
