//! A task's way through the master's policy: submitted, sent, ended.
//!
//! Owns: slaves that end what they are sent in the order of sending. Does not: carry anything
//! out. Invariant: as many tasks are unresolved after each as were before it.

use crate::Ready;
use anyhow::{Context, Result, ensure};
use dpfw_dispatch::{
    Config, Core, Effect, End, Event, KindId, Placement, SlaveId, TaskId, TaskSpec, Time,
};
use dpfw_protocol::ids::AttemptId;
use dpfw_protocol::limits::MAX_ATTEMPTS;
use dpfw_protocol::message::TaskFlags;
use std::collections::VecDeque;
use std::time::Duration;

/// Tasks that are unresolved: a caller's who keeps the slaves busy.
const IN_FLIGHT: u64 = 1_000;

/// How long each holds its slot: as long as a small task in a fresh sandbox.
const RUN: Duration = Duration::from_micros(4);

struct Work {
    core: Core,
    now: Time,
    tasks: u64,
    out: Vec<Effect>,
    sent: VecDeque<(SlaveId, AttemptId)>,
    resolved: u64,
}

/// One task after another, with so many slaves of two slots each.
pub(crate) fn beside(slaves: u64) -> Result<Ready> {
    let (core, out, sent) = (Core::new(Config::default()), Vec::new(), VecDeque::new());
    let mut work = Work { core, now: Time::ZERO, tasks: 0, out, sent, resolved: 0 };
    for slave in (1..=slaves).map(SlaveId) {
        work.handle(Event::SlaveJoined { slave, slots: 2, attempts: MAX_ATTEMPTS as u32 });
    }
    (0..IN_FLIGHT).for_each(|_| work.submit());
    Ok(Ready::new(1, move || {
        work.submit();
        work.end()?;
        ensure!(work.tasks - work.resolved == IN_FLIGHT, "{} are resolved", work.resolved);
        Ok(())
    }))
}

impl Work {
    fn submit(&mut self) {
        self.tasks += 1;
        let (kind, flags) = (KindId(0), TaskFlags::default());
        let spec =
            TaskSpec { kind, flags, deadline: None, placement: Placement::Anywhere, calls: 1 };
        self.handle(Event::Submit { task: TaskId(self.tasks), spec });
    }

    fn end(&mut self) -> Result<()> {
        let (slave, attempt) = self.sent.pop_front().context("nothing is out")?;
        self.now += RUN;
        self.handle(Event::Finished { slave, attempt, end: End::Done { run: RUN } });
        // As the driver does after each batch of events.
        if self.core.next_wake().is_some_and(|at| at <= self.now) {
            self.handle(Event::Tick);
        }
        Ok(())
    }

    fn handle(&mut self, event: Event) {
        self.core.handle(self.now, event, &mut self.out);
        for effect in self.out.drain(..) {
            match effect {
                Effect::Send { slave, attempt, .. } => self.sent.push_back((slave, attempt)),
                Effect::Resolve { .. } => self.resolved += 1,
                _ => {}
            }
        }
    }
}
