//! A policy with its time and effects, for unit tests.

use crate::{
    Config, Core, Effect, End, Event, KindId, Loss, Outcome, Placement, ReservationId, SlaveId,
    TaskId, TaskSpec, Time,
};
use dpfw_protocol::error::Cause;
use dpfw_protocol::ids::AttemptId;
use dpfw_protocol::message::TaskFlags;
use std::time::Duration;

pub(crate) const MS: Duration = Duration::from_millis(1);

/// A task of kind 0 for any slave.
pub(crate) fn spec() -> TaskSpec {
    TaskSpec {
        kind: KindId(0),
        flags: TaskFlags::default(),
        deadline: None,
        placement: Placement::Anywhere,
        calls: 1,
    }
}

/// A task of kind 0 with that placement.
pub(crate) fn placed(placement: Placement) -> TaskSpec {
    TaskSpec { placement, ..spec() }
}

/// A task of kind 0 for any slave that may be tried twice at once.
pub(crate) fn free() -> TaskSpec {
    TaskSpec { flags: TaskFlags::EFFECT_FREE, ..spec() }
}

/// A policy on a bench: every event is followed by a check of the invariants.
pub(crate) struct Bench {
    pub(crate) core: Core,
    pub(crate) now: Time,
    tasks: u64,
}

impl Bench {
    /// With slaves 1, 2, ... of that many slots.
    pub(crate) fn new(slots: &[u32]) -> Self {
        let mut bench = Self { core: Core::new(Config::default()), now: Time::ZERO, tasks: 0 };
        for (id, slots) in (1..).zip(slots) {
            bench.join(id, *slots);
        }
        bench
    }

    pub(crate) fn handle(&mut self, event: Event) -> Vec<Effect> {
        let mut out = Vec::new();
        self.core.handle(self.now, event, &mut out);
        self.core.check_invariants();
        out
    }

    pub(crate) fn wait(&mut self, time: Duration) -> Vec<Effect> {
        self.now += time;
        self.handle(Event::Tick)
    }

    /// Lets so much time pass, waking the policy whenever it wants to be woken.
    pub(crate) fn pass(&mut self, time: Duration) -> Vec<Effect> {
        let (end, mut effects) = (self.now + time, Vec::new());
        while let Some(wake) = self.core.next_wake().filter(|wake| *wake <= end) {
            self.now = wake;
            effects.extend(self.handle(Event::Tick));
        }
        self.now = end;
        effects
    }

    pub(crate) fn join(&mut self, id: u64, slots: u32) -> Vec<Effect> {
        self.handle(Event::SlaveJoined { slave: SlaveId(id), slots, attempts: 8192 })
    }

    /// Submits task 1, 2, ...
    pub(crate) fn submit(&mut self, spec: TaskSpec) -> Vec<Effect> {
        self.tasks += 1;
        self.handle(Event::Submit { task: TaskId(self.tasks), spec })
    }

    pub(crate) fn submit_many(&mut self, count: u64) -> Vec<Effect> {
        (0..count).flat_map(|_| self.submit(spec())).collect()
    }

    pub(crate) fn cancel(&mut self, task: u64) -> Vec<Effect> {
        self.handle(Event::Cancel { task: TaskId(task) })
    }

    pub(crate) fn end(&mut self, slave: u64, attempt: u64, end: End) -> Vec<Effect> {
        self.handle(Event::Finished { slave: SlaveId(slave), attempt: AttemptId(attempt), end })
    }

    pub(crate) fn done(&mut self, slave: u64, attempt: u64, run: Duration) -> Vec<Effect> {
        self.end(slave, attempt, End::Done { run })
    }

    pub(crate) fn failed(&mut self, slave: u64, attempt: u64, cause: Cause) -> Vec<Effect> {
        self.end(slave, attempt, End::Failed { cause })
    }

    pub(crate) fn lose(&mut self, slave: u64, loss: Loss) -> Vec<Effect> {
        self.handle(Event::SlaveLost { slave: SlaveId(slave), loss })
    }

    pub(crate) fn started(&mut self, slave: u64, attempts: &[u64]) -> Vec<Effect> {
        self.handle(Event::Started { slave: SlaveId(slave), attempts: ids(attempts) })
    }

    pub(crate) fn waiting(&mut self, slave: u64, attempts: &[u64]) -> Vec<Effect> {
        self.handle(Event::Waiting { slave: SlaveId(slave), attempts: ids(attempts) })
    }

    /// The slave holds exactly these of the attempts up to that one.
    pub(crate) fn loading(&mut self, slave: u64, attempts: &[u64]) -> Vec<Effect> {
        self.handle(Event::Loading { slave: SlaveId(slave), attempts: ids(attempts) })
    }

    pub(crate) fn queued(&mut self, slave: u64, attempts: &[u64]) -> Vec<Effect> {
        self.handle(Event::Queued { slave: SlaveId(slave), attempts: ids(attempts) })
    }

    pub(crate) fn holds(&mut self, slave: u64, upto: u64, attempts: &[u64]) -> Vec<Effect> {
        let (slave, upto) = (SlaveId(slave), AttemptId(upto));
        self.handle(Event::Holds { slave, upto, attempts: ids(attempts) })
    }

    pub(crate) fn returned(&mut self, slave: u64, attempts: &[u64]) -> Vec<Effect> {
        self.handle(Event::Returned { slave: SlaveId(slave), attempts: ids(attempts) })
    }

    pub(crate) fn reserve(&mut self, id: u64, wait: crate::Wait) -> Vec<Effect> {
        self.handle(Event::Reserve { reservation: ReservationId(id), slave: None, wait })
    }

    pub(crate) fn answer(&mut self, slave: u64, wish: u64, granted: bool) -> Vec<Effect> {
        let (slave, reservation) = (SlaveId(slave), ReservationId(wish));
        self.handle(Event::ReserveAnswered { slave, reservation, granted })
    }

    pub(crate) fn release(&mut self, id: u64) -> Vec<Effect> {
        self.handle(Event::Release { reservation: ReservationId(id) })
    }

    /// Has kind 0 measured as costing that much, with a task that comes and goes.
    pub(crate) fn measure(&mut self, run: Duration) {
        for effect in self.submit(spec()) {
            if let Effect::Send { slave, attempt, .. } = effect {
                self.done(slave.0, attempt.0, run);
            }
        }
    }
}

pub(crate) fn ids(attempts: &[u64]) -> Vec<AttemptId> {
    attempts.iter().copied().map(AttemptId).collect()
}

/// What was sent: slave, task, attempt.
pub(crate) fn sent(effects: &[Effect]) -> Vec<(u64, u64, u64)> {
    let send = |effect: &Effect| match effect {
        Effect::Send { slave, task, attempt, .. } => Some((slave.0, task.0, attempt.0)),
        _ => None,
    };
    effects.iter().filter_map(send).collect()
}

/// What was cancelled: slave, attempt.
pub(crate) fn cancelled(effects: &[Effect]) -> Vec<(u64, u64)> {
    let cancel = |effect: &Effect| match effect {
        Effect::Cancel { slave, attempt } => Some((slave.0, attempt.0)),
        _ => None,
    };
    effects.iter().filter_map(cancel).collect()
}

/// Which tasks resolved with a result, and how often each was started.
pub(crate) fn started(effects: &[Effect]) -> Vec<(u64, u32)> {
    let accept = |effect: &Effect| match effect {
        Effect::Resolve { task, outcome: Outcome::Accepted { .. }, attempts } => {
            Some((task.0, *attempts))
        }
        _ => None,
    };
    effects.iter().filter_map(accept).collect()
}

/// Which tasks resolved without a result, and why.
pub(crate) fn failures(effects: &[Effect]) -> Vec<(u64, Cause)> {
    let failure = |effect: &Effect| match effect {
        Effect::Resolve { task, outcome: Outcome::Failed { cause, .. }, .. } => {
            Some((task.0, cause.clone()))
        }
        _ => None,
    };
    effects.iter().filter_map(failure).collect()
}

/// Which tasks resolved with a result.
pub(crate) fn accepted(effects: &[Effect]) -> Vec<u64> {
    let accept = |effect: &Effect| match effect {
        Effect::Resolve { task, outcome: Outcome::Accepted { .. }, .. } => Some(task.0),
        _ => None,
    };
    effects.iter().filter_map(accept).collect()
}
