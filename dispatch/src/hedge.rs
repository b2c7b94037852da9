//! Trying a task a second time, while its first attempt is out for long and a slot is free.
//!
//! Owns: when, which tasks, and at which slave. Does not: settle what becomes of the two
//! (`pair`). Invariants: only tasks that are free of effects, and bound to no slave, are tried
//! so; a second attempt goes to another slave, and nothing that waits here could go there
//! instead; there are two at most.
//!
//! Cost: nothing for a task that has effects, a comparison or two for one that has none. All
//! attempts in slots are looked at, but only while a slot is free for which nothing waits, and so
//! seldom that it takes no more than a few hundredths of the time.

use crate::alarm::Alarm;
use crate::core::{Core, Turn};
use crate::event::SlaveId;
use crate::place::CANDIDATES;
use crate::slave::{Company, Moves, Room, Sent, Slave, Stage};
use crate::slaves::Rank;
use crate::task::{Home, Ref};
use crate::time::Time;
use dpfw_protocol::ids::AttemptId;
use std::time::Duration;

/// An attempt is tried beside when it is out for so many times what the task is expected to take
/// at another slave: then it is late by as much as the second one will take.
const PATIENCE: u64 = 2;

/// Within such a time of any event attempts are looked at: some were sent since the last look,
/// which are expected to be done long before the next. It is not felt by a person.
const SOON: Duration = Duration::from_millis(100);

/// Until the next look, for each attempt that was looked at: twenty times what that takes.
const PAUSE_FOR_EACH: Duration = Duration::from_micros(2);

/// Of slaves that have a task's keys, how many are looked at.
const HOLDERS: usize = 32;

/// An attempt that has been out for too long. The first in order is the most overdue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Straggler {
    due: Time,
    since: Time,
    slave: SlaveId,
    attempt: AttemptId,
    task: Ref,
}

/// What a look at all attempts has shown.
#[derive(Debug)]
struct Look {
    stragglers: Vec<Straggler>,
    /// When there may be others.
    next: Time,
    looked_at: u32,
}

impl Core {
    /// Sends second attempts, if slaves have free slots and nothing waits here. Apart, so that
    /// what every event comes by stays small.
    #[inline(never)]
    pub(crate) fn hedge(&mut self, turn: &mut Turn<'_>) {
        if !self.queue.is_empty() || !self.has_free_slot() {
            return;
        }
        let soon = turn.now + SOON;
        let at = match self.hedge_at {
            Some(at) if at <= soon => return,
            Some(_) => soon,
            None => self.hedge_now(turn),
        };
        if let Some(armed) = self.hedge_at.replace(at) {
            self.alarms.clear(armed, Alarm::Hedge);
        }
        self.alarms.set(at, Alarm::Hedge);
    }

    fn has_free_slot(&self) -> bool {
        self.slaves.first().is_some_and(|rank| rank.room == Room::Free)
    }

    /// Sends them, the most overdue first, one for each free slot. When to look again.
    fn hedge_now(&mut self, turn: &mut Turn<'_>) -> Time {
        let Look { mut stragglers, mut next, looked_at } = self.look(turn.now);
        stragglers.sort_unstable();
        for straggler in stragglers {
            // Those before it may have taken the better places.
            match self.second_place(straggler.task, straggler.slave) {
                Some((cost, rank)) if self.late(straggler.since, cost) <= turn.now => {
                    self.try_beside(turn, &straggler, rank.slave);
                }
                _ => next = next.min(turn.now + SOON),
            }
        }
        // What drops out at once is not tried again at once.
        let next = if self.hedgeable == 0 { turn.now } else { next };
        let pause = (PAUSE_FOR_EACH * looked_at.max(1)).max(self.config.recall_worth);
        next.max(turn.now + pause)
    }

    /// Looks at all attempts that have slots, as far as is known: the first that are out and do
    /// not idle. What lies ready behind them is for a recall.
    fn look(&self, now: Time) -> Look {
        let mut look = Look { stragglers: Vec::new(), next: Time::NEVER, looked_at: 0 };
        for (id, slave) in self.slaves.iter() {
            self.look_at(now, id, slave, &mut look);
        }
        look
    }

    fn look_at(&self, now: Time, id: SlaveId, slave: &Slave, look: &mut Look) {
        let mut slots = slave.slots;
        for (attempt, sent) in &slave.outs {
            look.looked_at = look.looked_at.saturating_add(1);
            if slots == 0 {
                // They will have slots before long.
                look.next = look.next.min(now + SOON);
                return;
            }
            let idles = sent.stage.is_idle();
            slots -= u32::from(!idles);
            let Some(task) = sent.task.filter(|_| sent.company == Company::May) else { continue };
            match self.due(now, id, task, sent).filter(|_| !idles) {
                Some(due) if due > now => look.next = look.next.min(due),
                Some(due) => {
                    let (since, slave, attempt) = (sent.since(), id, *attempt);
                    look.stragglers.push(Straggler { due, since, slave, attempt, task });
                }
                // As seldom as it is late: it may stay so for days.
                None => look.next = look.next.min(now + now.since(sent.since()) / 4),
            }
        }
    }

    /// From when on it is worth it to try a task beside an attempt, or to look closer. `None` if it
    /// could be sent nowhere now.
    fn due(&self, now: Time, id: SlaveId, task: Ref, sent: &Sent) -> Option<Time> {
        let soonest = sent.since() + self.config.recall_worth;
        if soonest > now {
            return Some(soonest);
        }
        if sent.stage == Stage::Recalled || self.tasks[task].deadline <= now {
            return None;
        }
        self.second_place(task, id).map(|(cost, _)| self.late(sent.since(), cost))
    }

    /// When what has a slot since then is out for too long, if it takes so long elsewhere.
    fn late(&self, since: Time, cost: u64) -> Time {
        let patience = Duration::from_nanos(cost.saturating_mul(PATIENCE));
        since + patience.max(self.config.recall_worth)
    }

    /// The slave with a free slot where a task is expected to take least, and how long: another
    /// than where it is, of those that may run it. `None` if there is none, or nothing was
    /// measured.
    fn second_place(&self, task: Ref, first: SlaveId) -> Option<(u64, Rank)> {
        let place = |rank: Rank| Some((self.second_cost(task, first, rank)?, rank));
        match &self.tasks[task].home {
            Home::At(keys) => {
                let holders = self.keys.with_all(keys).take(HOLDERS);
                holders.filter_map(|id| self.slaves.rank(id)).filter_map(place).min()
            }
            _ => self.slaves.ranks().take(CANDIDATES).copied().filter_map(place).min(),
        }
    }

    /// What a second attempt is expected to take at a slave, in nanoseconds, with making what its
    /// task would rather find there.
    fn second_cost(&self, task: Ref, first: SlaveId, rank: Rank) -> Option<u64> {
        let id = rank.slave;
        let is_other = id != first || mutated!(HedgedAtSameSlave);
        let slave = self.slaves.find(id).filter(|_| is_other && rank.room == Room::Free)?;
        if slave.loads(self.tasks[task].kind) || !self.knows_cost(id, task) {
            return None;
        }
        let making = match &self.tasks[task].home {
            Home::Near(keys) if !keys.iter().all(|key| slave.keys.contains(key)) => {
                self.keys.cost(keys).unwrap_or(0)
            }
            _ => 0,
        };
        Some(self.cost_at(id, task).saturating_add(making))
    }

    fn try_beside(&mut self, turn: &mut Turn<'_>, straggler: &Straggler, id: SlaveId) {
        let Straggler { slave, attempt, task, .. } = *straggler;
        let Some(second) = self.begin(turn, id, task, Moves::No, Company::Has) else { return };
        self.pairs.insert(task, (id, second));
        self.counted.hedged += 1;
        self.hedgeable -= 1;
        if let Some(there) = self.slaves.find_mut(slave) {
            there.change(attempt, &self.config, |sent| {
                (sent.moves, sent.company) = (Moves::No, Company::Has);
            });
        }
        self.slaves.settle(slave, &self.config);
    }
}

#[cfg(test)]
mod tests;
