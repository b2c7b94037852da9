//! A simulated slave: slots, a queue, and answers.

use crate::link::{Future, Happening, ToSlave};
use crate::plan::Plan;
use crate::random::Random;
use dpfw_dispatch::{End, Event, Loss, ReservationId, SlaveId, TaskId};
use dpfw_protocol::error::Cause;
use dpfw_protocol::ids::AttemptId;
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

/// Attempts that run longer than this are reported.
const TICK: u64 = 10_000_000;

#[derive(Clone, Copy, Debug)]
struct Attempt {
    id: AttemptId,
    task: TaskId,
    deadline: Option<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Claim {
    None,
    Waiting(ReservationId),
    Held,
}

#[derive(Debug)]
pub(crate) struct Slave {
    pub(crate) id: SlaveId,
    pub(crate) slots: u32,
    pub(crate) speed: u64,
    /// Whether the master still hears it.
    pub(crate) linked: bool,
    pub(crate) draining: bool,
    last: u64,
    queue: VecDeque<Attempt>,
    running: BTreeMap<AttemptId, (TaskId, u64, bool)>,
    claim: Claim,
}

/// What a slave acts upon.
pub(crate) struct Around<'a> {
    pub(crate) now: u64,
    pub(crate) plan: &'a Plan,
    pub(crate) random: &'a mut Random,
    pub(crate) future: &'a mut Future,
    pub(crate) runs: &'a mut BTreeMap<TaskId, u32>,
}

impl Slave {
    pub(crate) fn new(id: SlaveId, slots: u32, speed: u64) -> Self {
        Self {
            id,
            slots,
            speed,
            linked: true,
            draining: false,
            last: 0,
            queue: VecDeque::new(),
            running: BTreeMap::new(),
            claim: Claim::None,
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.queue.is_empty() && self.running.is_empty()
    }

    fn tell(&self, around: &mut Around<'_>, event: Event) {
        if self.linked {
            around
                .future
                .add(around.now + around.plan.latency, Happening::Told(Some(self.id), event));
        }
    }

    fn finish(&self, around: &mut Around<'_>, attempt: AttemptId, end: End) {
        self.tell(around, Event::Finished { slave: self.id, attempt, end });
    }

    fn fail(&self, around: &mut Around<'_>, attempt: AttemptId, cause: Cause) {
        self.finish(around, attempt, End::Failed { cause });
    }

    pub(crate) fn handle(&mut self, around: &mut Around<'_>, message: ToSlave) {
        match message {
            ToSlave::Dispatch { attempt, task, budget } => {
                assert!(attempt.0 > self.last, "an attempt sent twice");
                self.last = attempt.0;
                let busy = around.plan.faults.busy;
                if self.draining {
                    self.fail(around, attempt, Cause::Draining);
                } else if busy > 0 && around.random.one_in(busy) {
                    self.fail(around, attempt, Cause::Busy { what: "sandboxes".into() });
                } else {
                    let deadline = budget.map(|budget| around.now + budget);
                    self.queue.push_back(Attempt { id: attempt, task, deadline });
                    self.start(around);
                }
            }
            ToSlave::Cancel { attempt } => self.cancel(around, attempt),
            ToSlave::Recall { attempts } => self.give_back(around, |id| attempts.contains(&id)),
            ToSlave::Reserve { wish, wait } => match (self.is_empty(), wait) {
                _ if around.random.one_in(5) || self.draining => self.answer(around, wish, false),
                (true, _) => self.answer(around, wish, true),
                (false, true) => self.claim = Claim::Waiting(wish),
                (false, false) => self.answer(around, wish, false),
            },
            ToSlave::Release => match self.claim {
                Claim::Waiting(wish) => self.answer(around, wish, false),
                Claim::None | Claim::Held => self.claim = Claim::None,
            },
        }
    }

    fn answer(&mut self, around: &mut Around<'_>, reservation: ReservationId, granted: bool) {
        self.claim = if granted { Claim::Held } else { Claim::None };
        self.tell(around, Event::ReserveAnswered { slave: self.id, reservation, granted });
    }

    fn start(&mut self, around: &mut Around<'_>) {
        while self.running.len() < self.slots as usize
            && let Some(attempt) = self.queue.pop_front()
        {
            let job = &around.plan.tasks[&attempt.task];
            let run = job.cost * 100 / self.speed;
            let end = attempt.deadline.map_or(around.now + run, |d| d.min(around.now + run));
            let late = end < around.now + run;
            let end = end.max(around.now);
            *around.runs.entry(attempt.task).or_default() += 1;
            self.running.insert(attempt.id, (attempt.task, around.now, late));
            match job.poison && !late {
                true => around.future.add(around.now + run / 2, Happening::Dies(self.id)),
                false => around.future.add(end, Happening::Ends(self.id, attempt.id)),
            }
            if end > around.now + TICK {
                around.future.add(around.now + TICK, Happening::Reports(self.id, attempt.id));
            }
        }
    }

    pub(crate) fn end(&mut self, around: &mut Around<'_>, attempt: AttemptId) {
        let Some((_, since, late)) = self.running.remove(&attempt) else { return };
        match late {
            true => self.fail(around, attempt, Cause::DeadlineExceeded),
            false => {
                let run = Duration::from_nanos(around.now - since);
                self.finish(around, attempt, End::Done { run });
            }
        }
        self.go_on(around);
    }

    fn go_on(&mut self, around: &mut Around<'_>) {
        self.start(around);
        if let Claim::Waiting(wish) = self.claim
            && self.is_empty()
        {
            self.answer(around, wish, true);
        }
        if self.is_empty() && self.draining && self.linked {
            self.tell(around, Event::SlaveLost { slave: self.id, loss: Loss::Left });
            self.linked = false;
        }
    }

    pub(crate) fn report(&mut self, around: &mut Around<'_>, attempt: AttemptId) {
        if self.running.contains_key(&attempt) {
            self.tell(around, Event::Started { slave: self.id, attempts: vec![attempt] });
        }
    }

    fn cancel(&mut self, around: &mut Around<'_>, attempt: AttemptId) {
        let queued = self.queue.len();
        self.queue.retain(|waiting| waiting.id != attempt);
        let dies = |task: &TaskId| around.plan.tasks[task].poison;
        let runs = self.running.get(&attempt).is_some_and(|(task, ..)| !dies(task));
        if queued != self.queue.len() || (runs && self.running.remove(&attempt).is_some()) {
            self.fail(around, attempt, Cause::Cancelled);
            self.go_on(around);
        }
    }

    fn give_back(&mut self, around: &mut Around<'_>, which: impl Fn(AttemptId) -> bool) {
        let (back, kept) = self.queue.iter().partition::<Vec<Attempt>, _>(|a| which(a.id));
        self.queue = kept.into();
        if !back.is_empty() {
            let attempts = back.into_iter().map(|attempt| attempt.id).collect();
            self.tell(around, Event::Returned { slave: self.id, attempts });
        }
        self.go_on(around);
    }

    pub(crate) fn drain(&mut self, around: &mut Around<'_>) {
        self.draining = true;
        self.tell(around, Event::SlaveDraining { slave: self.id });
        if let Claim::Waiting(wish) = self.claim {
            self.answer(around, wish, false);
        }
        self.give_back(around, |_| true);
    }
}
