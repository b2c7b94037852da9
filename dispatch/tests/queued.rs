//! A million tasks at once. Nothing here is timed: an event whose cost grows with the queue
//! would make this test take hours.

use dpfw_dispatch::{
    Config, Core, Effect, End, Event, KindId, Placement, SlaveId, TaskId, TaskSpec, Time,
};
use dpfw_protocol::error::Cause;
use dpfw_protocol::ids::AttemptId;
use dpfw_protocol::message::TaskFlags;
use std::collections::VecDeque;
use std::time::Duration;

const TASKS: u64 = 1_000_000;

/// A policy at work, and what it has sent.
struct Work {
    core: Core,
    out: Vec<Effect>,
    sent: VecDeque<(SlaveId, AttemptId)>,
    resolved: u64,
}

impl Work {
    fn handle(&mut self, event: Event) {
        self.core.handle(Time::ZERO, event, &mut self.out);
        for effect in self.out.drain(..) {
            match effect {
                Effect::Send { slave, attempt, .. } => self.sent.push_back((slave, attempt)),
                Effect::Resolve { .. } => self.resolved += 1,
                _ => {}
            }
        }
    }

    fn submit(&mut self, task: u64) {
        // Every eighth has a deadline, in no order, and is in one more table.
        let far = Time::from_nanos(1 + task.wrapping_mul(0x9e37_79b9_7f4a_7c15) / 2);
        let deadline = task.is_multiple_of(8).then_some(far);
        let (kind, flags) = (KindId(0), TaskFlags::default());
        let placement = Placement::Anywhere;
        let spec = TaskSpec { kind, flags, deadline, placement, calls: 1 };
        self.handle(Event::Submit { task: TaskId(task), spec });
    }
}

#[test]
fn f62_a_million_tasks_wait_end_and_are_cancelled_and_leave_nothing() {
    let core = Core::new(Config::default());
    let mut work = Work { core, out: Vec::new(), sent: VecDeque::new(), resolved: 0 };
    (1..=TASKS).for_each(|task| work.submit(task));
    assert_eq!(work.core.stats().queued as u64, TASKS);
    // From the middle of the queue, and from its end.
    for task in (TASKS / 4..TASKS / 2).chain((TASKS / 2..TASKS).rev().step_by(2)) {
        work.handle(Event::Cancel { task: TaskId(task) });
    }
    assert_eq!(work.resolved, TASKS / 2);
    for slave in 1..=4 {
        work.handle(Event::SlaveJoined { slave: SlaveId(slave), slots: 2, attempts: 8192 });
    }
    let mut ends = 0;
    while let Some((slave, attempt)) = work.sent.pop_front() {
        ends += 1;
        let end = match ends % 16 {
            0 => End::Failed { cause: Cause::Failed { message: String::new() } },
            _ => End::Done { run: Duration::from_micros(4) },
        };
        work.handle(Event::Finished { slave, attempt, end });
    }
    assert_eq!(work.resolved, TASKS);
    assert_eq!(work.core.is_at_rest(), Ok(()));
    work.core.check_invariants();
}
