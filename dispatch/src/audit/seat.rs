//! One slave, as the second opinion sees it.

use crate::{KeyId, Loss, ReservationId, SlaveId, TaskId};
use dpfw_protocol::ids::AttemptId;
use std::collections::{BTreeMap, BTreeSet};

/// An attempt that is out.
#[derive(Clone, Copy, Debug)]
pub(super) struct Open {
    pub(super) task: TaskId,
    started: bool,
    waiting: bool,
    /// It waits for its module.
    loading: bool,
}

/// An attempt that ended while its task waited for it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Closed {
    pub(super) slave: SlaveId,
    pub(super) attempt: AttemptId,
    pub(super) why: Why,
    /// The task is out in another one.
    pub(super) beside: bool,
    /// That it was lost has been counted.
    pub(super) counted: bool,
}

/// How an attempt ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Why {
    /// As the slave said.
    Said,
    /// The slave does not hold it any more.
    Forgotten,
    /// With its session.
    Lost { began: bool, loss: Loss },
}

#[derive(Debug, Default)]
pub(super) struct Seat {
    pub(super) slots: u32,
    limit: u32,
    pub(super) draining: bool,
    pub(super) taken: bool,
    last: u64,
    pub(super) open: BTreeMap<AttemptId, Open>,
    pub(super) recalled: BTreeSet<AttemptId>,
    /// Absent from what the slave last said that it holds.
    missed: BTreeSet<AttemptId>,
    /// Held as it last said, though nobody wants them.
    lingering: BTreeSet<AttemptId>,
    pub(super) asked: Option<ReservationId>,
    pub(super) held: Option<ReservationId>,
    /// As it was said last.
    pub(super) keys: BTreeSet<KeyId>,
}

impl Seat {
    pub(super) fn new(slots: u32, limit: u32) -> Self {
        Self { slots, limit, ..Self::default() }
    }

    /// It has a key, or has it no longer.
    pub(super) fn set_key(&mut self, key: KeyId, is_held: bool) {
        match is_held {
            true => drop(self.keys.insert(key)),
            false => drop(self.keys.remove(&key)),
        }
    }

    /// It has said which of the keys it has.
    pub(super) fn locate(&mut self, keys: &[KeyId], held: &[KeyId]) {
        self.keys.retain(|key| !keys.contains(key));
        self.keys.extend(keys.iter().filter(|key| held.contains(key)));
    }

    /// Whether it has all of these keys.
    pub(super) fn has_all(&self, keys: &[KeyId]) -> bool {
        keys.iter().all(|key| self.keys.contains(key))
    }

    /// Attempts have begun to run, or wait.
    pub(super) fn stage(&mut self, attempts: &[AttemptId], waiting: bool) {
        for attempt in attempts {
            if let Some(open) = self.open.get_mut(attempt) {
                (open.started, open.waiting, open.loading) = (true, waiting, false);
            }
        }
    }

    /// Attempts that have not begun wait for their module, or no longer.
    pub(super) fn load(&mut self, attempts: &[AttemptId], loading: bool) {
        for attempt in attempts {
            if let Some(open) = self.open.get_mut(attempt)
                && !open.started
                && !self.recalled.contains(attempt)
            {
                open.loading = loading;
            }
        }
    }

    pub(super) fn send(&mut self, attempt: AttemptId, task: TaskId) {
        assert!(!self.draining && !self.taken, "sent to a slave that drains or is taken");
        assert!((self.open.len() as u64) < u64::from(self.limit), "sent too many");
        assert!(attempt.0 > self.last, "attempt ids must grow");
        self.last = attempt.0;
        self.open.insert(attempt, Open { task, started: false, waiting: false, loading: false });
    }

    /// Whether a slot is free, as far as is known.
    pub(super) fn has_free_slot(&self) -> bool {
        let in_slots = self.open.values().filter(|open| !open.waiting && !open.loading);
        in_slots.count() < self.slots as usize
    }

    /// An attempt has ended. That it was held says nothing of whether it still is.
    pub(super) fn end(&mut self, attempt: AttemptId) -> Option<Open> {
        self.lingering.remove(&attempt);
        self.open.remove(&attempt)
    }

    /// The attempts that are absent from what a slave holds for the second time.
    pub(super) fn hold(&mut self, upto: AttemptId, held: &[AttemptId]) -> Vec<AttemptId> {
        let is_absent = |attempt: &AttemptId| *attempt <= upto && !held.contains(attempt);
        let absent: BTreeSet<_> = self.open.keys().copied().filter(is_absent).collect();
        let gone = self.missed.intersection(&absent).copied().collect();
        // What lies beyond has not been spoken of.
        self.missed.retain(|attempt| *attempt > upto);
        self.missed.extend(absent);
        gone
    }

    /// The attempts that a slave holds for the second time though nobody wants them; those
    /// that are wanted are given.
    pub(super) fn linger(
        &mut self,
        upto: AttemptId,
        held: &[AttemptId],
        is_wanted: impl Fn(AttemptId) -> bool,
    ) -> Vec<AttemptId> {
        let upto = upto.min(AttemptId(self.last));
        let unwanted = held.iter().copied().filter(|a| *a <= upto && !is_wanted(*a));
        let unwanted: BTreeSet<_> = unwanted.collect();
        let twice = self.lingering.intersection(&unwanted).copied().collect();
        let open = &self.open;
        self.lingering.retain(|attempt| *attempt > upto && open.contains_key(attempt));
        self.lingering.extend(unwanted);
        twice
    }

    /// Which attempts had begun when the session ended, as far as is known: those that
    /// were said to have, and as many as there are slots, in their order.
    pub(super) fn begun_at(&self, loss: Loss) -> Vec<(AttemptId, bool)> {
        let mut ahead = 0;
        let begun = |(attempt, open): (&AttemptId, &Open)| {
            let in_slot = loss != Loss::Left && ahead < self.slots && !open.loading;
            ahead += u32::from(!open.waiting && !open.loading);
            (*attempt, open.started || in_slot)
        };
        self.open.iter().map(begun).collect()
    }
}
