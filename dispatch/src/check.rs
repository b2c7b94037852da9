//! Checks of everything that must hold between two events.
//!
//! Owns: nothing. For tests and simulations; it looks at every task and every slave.

use crate::alarm::Alarm;
use crate::core::Core;
use crate::hash::IdMap;
use crate::reserve::State;
use crate::slave::{Hold, Room};
use crate::task::{Aside, At, Home, List, Ref};
use crate::time::Time;

impl Core {
    /// Checks every invariant.
    ///
    /// # Panics
    /// If one does not hold.
    pub fn check_invariants(&self) {
        assert!(self.touched.is_empty(), "slaves are left to look at");
        self.slaves.check(&self.config);
        self.check_queues();
        self.check_attempts();
        self.check_pairs();
        self.check_deadlines();
        self.check_holds();
        self.check_reservations();
        self.check_lanes();
        self.check_nothing_is_left_to_do();
    }

    /// Whether nothing is left of the tasks that it had: its tables are as they were before
    /// the first one.
    ///
    /// # Errors
    /// What is left.
    pub fn is_at_rest(&self) -> Result<(), String> {
        let attempts: usize = self.slaves.iter().map(|(_, slave)| slave.outs.len()).sum();
        let left = [
            (self.tasks.len(), "tasks"),
            (self.out, "tasks that are out"),
            (self.pairs.len() + self.hedgeable, "attempts beside others"),
            (attempts, "attempts"),
            (self.reservations.len(), "reservations"),
            (self.unassigned.len() + self.wanting.len(), "wishes for a slave"),
            (self.emptying.len() + self.alone, "slaves kept for suspects"),
            (self.alarms.deadlines(), "deadlines"),
            (self.lanes_len(), "lanes"),
        ];
        match left.into_iter().find(|(count, _)| *count > 0) {
            Some((count, what)) => Err(format!("{count} {what} are left")),
            None => Ok(()),
        }
    }

    /// Every task that is not out is in the one queue where it belongs.
    fn check_queues(&self) {
        let mut queued = 0;
        let mut check = |list: &List, belongs: &dyn Fn(Ref) -> bool| {
            let tasks: Vec<_> = list.iter(&self.tasks).collect();
            assert_eq!(tasks.len(), list.len(), "the length of a queue");
            assert!(tasks.iter().all(|task| belongs(*task)), "a task in another's queue");
            queued += tasks.len();
        };
        let suspect = |task| self.tasks[task].record.is_suspect();
        let anywhere = |task| self.tasks[task].home.is_anywhere();
        let aside = |task: Ref| self.tasks[task].aside;
        let queued_here = |task: Ref| matches!(aside(task), Aside::No | Aside::Spent);
        check(&self.queue, &|task| anywhere(task) && !suspect(task) && queued_here(task));
        for (id, list) in self.lanes_to_check() {
            check(list, &|task| self.lane_of(task) == Some(id) && !suspect(task));
        }
        for (kind, list) in &self.aside {
            assert!(!list.is_empty(), "nothing of kind {kind:?} is aside");
            let belongs =
                |task: Ref| aside(task) == Aside::Module && self.tasks[task].kind == *kind;
            check(list, &|task| anywhere(task) && !suspect(task) && belongs(task));
            let head = list.head().and_then(|task| self.choose(task));
            assert_eq!(head, None, "what is aside could be sent");
        }
        let bound = |task: Ref| self.tasks[task].home.is_bound();
        check(&self.suspects, &|task| !bound(task) && suspect(task));
        for (id, slave) in self.slaves.iter() {
            let here = |task| matches!(self.tasks[task].home, Home::On(slave) if slave == id);
            check(&slave.pinned, &here);
        }
        for (id, reservation) in &self.reservations {
            let under = |task| matches!(self.tasks[task].home, Home::Reserved(r) if r == *id);
            check(&reservation.lane, &under);
        }
        assert_eq!(queued + self.out, self.tasks.len(), "a task in no queue and no attempt");
        let free = |task: Ref| matches!(self.tasks[task].at, At::Out { .. });
        assert_eq!(self.tasks.iter().filter(|(task, _)| free(*task)).count(), self.out);
    }

    /// Every task that is out is so in one attempt, or in a second one too that is noted; and the
    /// attempts agree.
    fn check_attempts(&self) {
        let mut out = 0;
        for (id, slave) in self.slaves.iter() {
            for (attempt, sent) in &slave.outs {
                let Some(task) = sent.task else { continue };
                out += 1;
                let own = self.attempts_of(task).filter(|own| *own == (id, *attempt)).count();
                assert_eq!(own, 1, "attempt {attempt} at slave {id} is not its task's");
            }
        }
        assert_eq!(out, self.out + self.pairs.len(), "tasks that are out");
    }

    fn check_deadlines(&self) {
        let mut deadlines = 0;
        for (task, it) in self.tasks.iter() {
            if it.deadline == Time::NEVER {
                continue;
            }
            deadlines += 1;
            let at = match it.deadline > self.now {
                true => it.deadline,
                false => it.deadline + self.config.deadline_grace,
            };
            assert!(at > self.now, "task {} is overdue", it.id);
            assert!(self.alarms.has(at, Alarm::Deadline(task)), "no alarm for task {}", it.id);
            assert!(it.deadline > self.now || self.has_started(task));
        }
        assert_eq!(deadlines, self.alarms.deadlines(), "alarms of tasks that are gone");
    }

    /// A suspect is alone; every record of who is kept for whom agrees.
    fn check_holds(&self) {
        let (mut alone, mut emptying, mut wanting) = (0, 0, 0);
        for (id, slave) in self.slaves.iter() {
            match slave.hold {
                Hold::Open => {}
                Hold::Alone(attempt) => {
                    alone += 1;
                    assert_eq!(slave.outs.len(), 1, "a suspect at slave {id} is not alone");
                    assert!(slave.outs.contains_key(&attempt));
                }
                Hold::Emptying { .. } => {
                    emptying += 1;
                    assert!(self.emptying.contains(&id));
                }
                Hold::Wanted { by, .. } => {
                    let it = &self.reservations[&by];
                    assert_eq!(it.state, State::Wanted(id));
                    wanting += usize::from(it.target.is_none());
                    assert!(it.target.is_some() || self.wanting.get(&by) == Some(&id));
                }
                Hold::Asked(by) => assert_eq!(self.reservations[&by].state, State::Asked(id)),
                Hold::Held(by) => assert_eq!(self.reservations[&by].state, State::Held(id)),
            }
            for sent in slave.outs.values() {
                let suspect = sent.task.is_some_and(|task| self.tasks[task].record.is_suspect());
                assert!(!suspect || matches!(slave.hold, Hold::Alone(_)), "a suspect in company");
            }
        }
        let kept = (self.alone, self.emptying.len(), self.wanting.len());
        assert_eq!(kept, (alone, emptying, wanting), "records of who is kept for whom");
    }

    fn check_reservations(&self) {
        let mut waiting: IdMap<_, u32> = IdMap::default();
        for reservation in
            self.unassigned.iter().chain(self.slaves.iter().flat_map(|(_, s)| &s.waiting))
        {
            *waiting.entry(*reservation).or_default() += 1;
        }
        for (id, it) in &self.reservations {
            let places = waiting.get(id).copied().unwrap_or(0);
            assert_eq!(places, u32::from(it.state == State::Waiting), "reservation {id}");
            if let State::Wanted(slave) | State::Asked(slave) | State::Held(slave) = it.state {
                assert!(self.slaves.find(slave).is_some(), "reservation {id} of a lost slave");
            }
        }
        assert!(waiting.keys().all(|id| self.reservations.contains_key(id)));
        let known = |(key, slave)| self.slaves.find(slave).is_some_and(|s| s.keys.contains(&key));
        assert!(self.keys.pairs().all(known), "a key at a lost slave");
    }

    /// Nothing waits that could go.
    fn check_nothing_is_left_to_do(&self) {
        let free = self.slaves.first().is_some_and(|rank| rank.room == Room::Free);
        assert!(self.queue.is_empty() || !free, "a slot is free while tasks wait");
        let empty = self.slaves.ranks().take_while(|rank| rank.is_empty());
        let wanted = empty.map(|rank| rank.slave).find(|slave| self.suspect_for(*slave).is_some());
        assert_eq!(wanted, None, "a slave is empty while suspects wait");
        for (id, slave) in self.slaves.iter() {
            let idle = slave.is_able() && slave.hold == Hold::Open && slave.outs.is_empty();
            assert!(slave.pinned.is_empty() || !idle, "slave {id} is idle while its tasks wait");
        }
    }
}
