//! Where tasks go.
//!
//! Owns: which queue a task waits in, which slave it is sent to, whose turn it is at
//! a slave. Does not: send more than a slave's account has room for. Invariants: tasks of
//! a queue are sent in its order; a slave that is kept for somebody gets nothing of the
//! general queue; of two queues for one slave neither starves.

use crate::alarm::Alarm;
use crate::core::{Core, End, Outlook, Turn};
use crate::effect::ReserveError;
use crate::event::{KeyId, ReservationId, SlaveId};
use crate::hash::IdMap;
use crate::slave::{Hold, Room, Slave, is_long};
use crate::task::{Aside, Home, List, Ref, Tasks};
use crate::time::{Time, nanos};
use dpfw_protocol::error::Cause;

/// Slaves looked at for one task. The first is almost always right; another is only where
/// a kind of task is long at one slave and short at the next.
pub(crate) const CANDIDATES: usize = 4;

/// Keys of a task, and holders of each, that are looked at when placing it near them: a
/// preference may not cost more than it gains.
const NEAR_KEYS: usize = 8;
const NEAR_HOLDERS: usize = 32;

/// So many pinned tasks in a row go first at a slave; then it is the others' turn.
pub(crate) const STREAK: u32 = 8;

/// The queue of a task.
fn lane(core: &mut Core, task: Ref) -> Option<(&mut Tasks, &mut List)> {
    let list = match core.tasks[task].home {
        Home::On(slave) => &mut core.slaves.find_mut(slave)?.pinned,
        Home::Reserved(reservation) => &mut core.reservations.get_mut(&reservation)?.lane,
        _ if core.tasks[task].record.is_suspect() => &mut core.suspects,
        Home::At(_) => {
            let lane = core.lane_of(task)?;
            &mut core.lanes.get_mut(lane)?.list
        }
        _ => match core.tasks[task].aside {
            Aside::Module => core.aside.get_mut(&core.tasks[task].kind)?,
            Aside::Keys => {
                let lane = core.lane_of(task)?;
                &mut core.lanes.get_mut(lane)?.list
            }
            Aside::No | Aside::Spent => &mut core.queue,
        },
    };
    Some((&mut core.tasks, list))
}

impl Core {
    /// Puts a task into its queue. The caller knows that its slave or reservation is there.
    pub(crate) fn enqueue(&mut self, task: Ref, end: End) {
        let is_suspect = self.tasks[task].record.is_suspect();
        match (&self.tasks[task].home, self.tasks[task].aside) {
            (Home::At(_), _) if is_suspect => self.stranded = true,
            (Home::At(_), _) | (Home::Near(_), Aside::Keys) => self.open_lane(task),
            _ => {}
        }
        if let Some((tasks, list)) = lane(self, task) {
            match end {
                End::Front => list.push_front(tasks, task),
                End::Back => list.push_back(tasks, task),
            }
        }
        self.touch_lane(task);
    }

    /// Takes a task out of its queue.
    pub(crate) fn dequeue(&mut self, task: Ref) {
        self.unlink(task);
        self.touch_lane(task);
    }

    pub(crate) fn unlink(&mut self, task: Ref) {
        let lane_of_keys = self.lane_of(task);
        if let Some((tasks, list)) = lane(self, task) {
            list.unlink(tasks, task);
        }
        if let Some(lane) = lane_of_keys {
            self.leave_lane(lane);
        }
        if std::mem::take(&mut self.tasks[task].aside) == Aside::Module {
            let kind = self.tasks[task].kind;
            if self.aside.get(&kind).is_some_and(List::is_empty) {
                self.aside.remove(&kind);
            }
        }
    }

    fn touch_lane(&mut self, task: Ref) {
        match self.tasks[task].home {
            Home::On(slave) => self.touched.push(slave),
            Home::Reserved(reservation) => self.touched.extend(self.holder(reservation)),
            Home::At(_) | Home::Near(_) => {
                if let Some(lane) = self.lane_of(task) {
                    self.touch_slaves_of(lane);
                }
            }
            Home::Anywhere => {}
        }
    }

    /// Sends what can be sent, and ends what waits for nothing.
    pub(crate) fn pump(&mut self, turn: &mut Turn<'_>) {
        loop {
            while let Some(slave) = self.touched.pop() {
                self.serve(turn, slave);
            }
            self.place_suspects(turn);
            self.place_reservations(turn);
            self.tend_lanes(turn);
            if self.touched.is_empty() {
                self.place_queued(turn);
            }
            if self.touched.is_empty() {
                break;
            }
        }
        self.recall(turn);
        if self.hedgeable > 0 {
            self.hedge(turn);
        }
        if self.outlook == Outlook::NoMore && self.slaves.is_empty() {
            self.give_up(turn);
        }
    }

    /// Sends what any slave may run.
    fn place_queued(&mut self, turn: &mut Turn<'_>) {
        self.place_aside(turn);
        while let Some(task) = self.queue.head() {
            if self.bide(task) {
                continue;
            }
            if let Some(slave) = self.choose(task) {
                self.queue.unlink(&mut self.tasks, task);
                self.send(turn, slave, task);
            } else if !self.step_aside(task) {
                break;
            }
        }
    }

    fn give_up(&mut self, turn: &mut Turn<'_>) {
        self.give_up_lanes(turn);
        while let Some(task) = self.queue.pop(&mut self.tasks) {
            self.fail(turn, task, Cause::NoSlaves, None);
        }
        while let Some(task) = self.aside.values().find_map(List::head) {
            self.unlink(task);
            self.fail(turn, task, Cause::NoSlaves, None);
        }
        while let Some(task) = self.suspects.pop(&mut self.tasks) {
            self.fail(turn, task, Cause::NoSlaves, None);
        }
        while let Some(reservation) = self.unassigned.first().copied() {
            self.fail_reservation(turn, reservation, ReserveError::NoSlaves);
        }
    }

    /// The slave for the first task of the general queue.
    pub(crate) fn choose(&self, task: Ref) -> Option<SlaveId> {
        let best = self.slaves.first().filter(|rank| rank.room != Room::Full)?;
        if let Home::Near(keys) = &self.tasks[task].home
            && let Some(near) = self.choose_near(task, keys, best.slave)
        {
            return Some(near);
        }
        let mut candidates = self.slaves.ranks().take(CANDIDATES).map(|rank| rank.slave);
        candidates.find(|slave| self.fits(*slave, task))
    }

    /// The slave with room that has the most of the keys, unless none has any.
    fn choose_near(&self, task: Ref, keys: &[KeyId], best: SlaveId) -> Option<SlaveId> {
        let keys = &keys[..keys.len().min(NEAR_KEYS)];
        let has_all = |slave: &Slave| keys.iter().all(|key| slave.keys.contains(key));
        if self.slaves.find(best).is_some_and(has_all) {
            return None;
        }
        let mut counts: IdMap<SlaveId, u32> = IdMap::default();
        for key in keys {
            for holder in self.keys.holders(*key).take(NEAR_HOLDERS) {
                *counts.entry(holder).or_default() += 1;
            }
        }
        let open = counts.into_iter().filter(|(slave, _)| self.fits(*slave, task));
        let ranked = open.map(|(slave, count)| (count, std::cmp::Reverse(self.slaves.rank(slave))));
        let (_, best) = ranked.max()?;
        best.0.map(|rank| rank.slave)
    }

    /// Whether a slave is open and has room for a task.
    fn fits(&self, slave: SlaveId, task: Ref) -> bool {
        let room = self.slaves.rank(slave).map_or(Room::Full, |rank| rank.room);
        let kind = self.tasks[task].kind;
        let loads = self.slaves.find(slave).is_some_and(|slave| slave.loads(kind));
        !loads && self.fits_room(room, slave, task)
    }

    pub(crate) fn fits_room(&self, room: Room, slave: SlaveId, task: Ref) -> bool {
        match room {
            Room::Free => true,
            Room::Ahead => !is_long(self.cost_at(slave, task), &self.config),
            Room::Full => false,
        }
    }

    /// What a task is expected to cost at a slave, in nanoseconds. Of one of which nothing
    /// is known just one lies ready at each slot: it counts as what is queued ahead.
    pub(crate) fn cost_at(&self, slave: SlaveId, task: Ref) -> u64 {
        let it = &self.tasks[task];
        let own = self.slaves.find(slave).and_then(|slave| slave.costs.get(&it.kind).copied());
        own.or_else(|| self.costs.expect(it.kind)).map_or_else(
            || nanos(self.config.queue_ahead),
            |mean| mean.nanos().saturating_mul(u64::from(it.calls.max(1))),
        )
    }

    /// Whether anything was measured of what a task is expected to cost.
    pub(crate) fn knows_cost(&self, slave: SlaveId, task: Ref) -> bool {
        let kind = self.tasks[task].kind;
        let own = self.slaves.find(slave).is_some_and(|slave| slave.costs.contains_key(&kind));
        own || self.costs.expect(kind).is_some()
    }

    /// Looks after one slave: for whom it is kept, and what only it may run.
    fn serve(&mut self, turn: &mut Turn<'_>, id: SlaveId) {
        self.claim(turn, id);
        while let Some(task) = self.next_pinned(turn.now, id) {
            let lane = self.lane_of(task);
            let pinned = lane.is_some() || self.tasks[task].home.is_bound();
            self.unlink(task);
            self.send(turn, id, task);
            if let Some(slave) = self.slaves.find_mut(id) {
                slave.streak = if pinned { slave.streak.saturating_add(1) } else { 0 };
                slave.last_lane = lane.unwrap_or(slave.last_lane);
            }
        }
        if let Some(slave) = self.slaves.find_mut(id).filter(|slave| !slave.has_own()) {
            slave.streak = slave.streak.min(1);
        }
        self.slaves.settle(id, &self.config);
    }

    /// The next task that is sent to a slave because it belongs there, or because the
    /// general queue's turn has come.
    fn next_pinned(&self, now: Time, id: SlaveId) -> Option<Ref> {
        let slave = self.slaves.find(id).filter(|slave| slave.is_able())?;
        let pinned = slave.pinned.head();
        let own = || match slave.streak % 2 {
            0 => pinned.or_else(|| self.next_in_lanes(id)),
            _ => self.next_in_lanes(id).or(pinned),
        };
        let next = match slave.hold {
            Hold::Alone(_) => None,
            Hold::Emptying { since } | Hold::Wanted { since, .. } => {
                pinned.filter(|_| now >= since + self.config.pinned_patience)
            }
            Hold::Open if slave.streak >= STREAK && slave.has_own() => {
                self.queue.head().or_else(own)
            }
            Hold::Open => own(),
            Hold::Asked(_) => pinned,
            Hold::Held(reservation) => {
                let reserved = self.reservations.get(&reservation).and_then(|r| r.lane.head());
                match slave.streak % 2 {
                    0 => pinned.or(reserved),
                    _ => reserved.or(pinned),
                }
            }
        };
        next.filter(|task| {
            let room = slave.room(&self.config).0;
            self.fits_room(room, id, *task) && self.fits_lane(room, id, *task)
        })
    }

    /// Moves a slave's hold on: what it was emptied for may begin, or it is to be emptied.
    fn claim(&mut self, turn: &mut Turn<'_>, id: SlaveId) {
        let Some(slave) = self.slaves.find(id).filter(|slave| slave.is_able()) else { return };
        let (empty, askable) = (slave.outs.is_empty(), slave.refused.is_none());
        match slave.hold {
            Hold::Open => self.claim_open(turn, id),
            Hold::Emptying { .. } if empty => match self.suspect_for(id) {
                Some(task) => self.send_alone(turn, id, task),
                None => self.set_hold(id, Hold::Open),
            },
            Hold::Wanted { by, .. } if empty && askable => self.ask(turn, by, id),
            _ => {}
        }
    }

    fn claim_open(&mut self, turn: &mut Turn<'_>, id: SlaveId) {
        let Some(slave) = self.slaves.find_mut(id) else { return };
        let (empty, askable) = (slave.outs.is_empty(), slave.refused.is_none());
        let since = turn.now;
        if askable && let Some(by) = slave.waiting.pop_front() {
            return self.want(turn, by, id, empty);
        }
        if !slave.has_own() || slave.streak < STREAK {
            return;
        }
        if let Some(suspect) = self.suspect_for(id)
            && self.may_empty()
        {
            match empty {
                true => self.send_alone(turn, id, suspect),
                false => self.set_hold(id, Hold::Emptying { since }),
            }
        } else if askable && let Some(by) = self.unassigned.pop_first() {
            self.want(turn, by, id, empty);
        }
    }

    fn want(&mut self, turn: &mut Turn<'_>, by: ReservationId, id: SlaveId, empty: bool) {
        match empty {
            true => self.ask(turn, by, id),
            false => self.set_hold(id, Hold::Wanted { by, since: turn.now }),
        }
    }

    /// Changes for whom a slave is kept, and every record of it.
    pub(crate) fn set_hold(&mut self, id: SlaveId, hold: Hold) {
        let Some(slave) = self.slaves.find_mut(id) else { return };
        match std::mem::replace(&mut slave.hold, hold) {
            Hold::Emptying { .. } => {
                self.emptying.remove(&id);
            }
            Hold::Alone(_) => self.alone -= 1,
            Hold::Wanted { by, .. } => {
                self.wanting.remove(&by);
            }
            Hold::Open | Hold::Asked(_) | Hold::Held(_) => {}
        }
        let patience = self.config.pinned_patience;
        match hold {
            Hold::Emptying { since } => {
                self.emptying.insert(id);
                self.alarms.set(since + patience, Alarm::Patience(id));
            }
            Hold::Alone(_) => self.alone += 1,
            Hold::Wanted { by, since } => {
                self.mark_wanted(by, id);
                self.alarms.set(since + patience, Alarm::Patience(id));
            }
            Hold::Open | Hold::Asked(_) | Hold::Held(_) => {}
        }
        self.slaves.settle(id, &self.config);
        self.touched.push(id);
    }
}

#[cfg(test)]
mod tests;
