use crate::testing::{Bench, MS, accepted, failures, placed, sent, spec};
use crate::{Effect, Event, Placement, SlaveId, TaskSpec, Time};
use dpfw_protocol::error::Cause;
use dpfw_protocol::ids::AttemptId;
use std::time::Duration;

fn by(deadline: Duration) -> TaskSpec {
    TaskSpec { deadline: Some(Time::from(deadline)), ..spec() }
}

#[test]
fn a_task_is_sent_ended_and_resolved_and_nothing_is_left() {
    let mut bench = Bench::new(&[1]);
    assert_eq!(sent(&bench.submit(spec())), [(1, 1, 1)]);
    assert_eq!(accepted(&bench.done(1, 1, MS)), [1]);
    let stats = bench.core.stats();
    assert_eq!((stats.unresolved, stats.accepted, stats.sent), (0, 1, 1));
    assert_eq!(bench.core.next_wake(), None);
}

#[test]
fn a_result_is_accepted_once_and_a_second_one_is_stale() {
    let mut bench = Bench::new(&[1]);
    bench.submit(spec());
    assert_eq!(bench.done(1, 1, MS).len(), 1);
    let stale = Effect::Stale { slave: SlaveId(1), attempt: AttemptId(1) };
    assert_eq!(bench.done(1, 1, MS), [stale]);
    assert_eq!(bench.core.stats().stale, 1);
}

#[test]
fn a_task_submitted_twice_is_one_task() {
    let mut bench = Bench::new(&[4]);
    bench.submit(spec());
    assert_eq!(bench.handle(Event::Submit { task: crate::TaskId(1), spec: spec() }), []);
}

#[test]
fn a_deadline_that_passes_in_the_queue_ends_the_task() {
    let mut bench = Bench::new(&[]);
    bench.submit(by(3 * MS));
    assert_eq!(bench.core.next_wake(), Some(Time::from(3 * MS)));
    assert_eq!(bench.wait(2 * MS), []);
    assert_eq!(failures(&bench.wait(MS)), [(1, Cause::DeadlineExceeded)]);
    assert_eq!(failures(&bench.submit(by(MS))), [(2, Cause::DeadlineExceeded)]);
}

#[test]
fn the_budget_is_what_is_left_of_the_deadline() {
    let mut bench = Bench::new(&[]);
    bench.submit(by(10 * MS));
    bench.now += 4 * MS;
    let effects = bench.join(1, 1);
    assert!(
        matches!(&effects[..], [Effect::Send { budget: Some(budget), .. }] if *budget == 6 * MS)
    );
}

#[test]
fn a_slave_that_ignores_a_deadline_is_not_waited_for() {
    let mut bench = Bench::new(&[1]);
    bench.submit(by(10 * MS));
    bench.started(1, &[1]);
    assert_eq!(bench.wait(11 * MS), []);
    let effects = bench.wait(bench.core.config.deadline_grace);
    assert_eq!(failures(&effects), [(1, Cause::DeadlineExceeded)]);
    assert!(matches!(effects[0], Effect::Cancel { .. }));
    assert!(matches!(bench.done(1, 1, MS)[..], [Effect::Stale { .. }]));
}

#[test]
fn what_was_not_started_by_its_deadline_ends_then() {
    let mut bench = Bench::new(&[1]);
    bench.submit(by(10 * MS));
    let effects = bench.wait(10 * MS);
    assert_eq!(failures(&effects), [(1, Cause::DeadlineExceeded)]);
    assert!(matches!(effects[0], Effect::Cancel { .. }));
}

#[test]
fn a_cancelled_task_in_the_queue_is_gone() {
    let mut bench = Bench::new(&[]);
    bench.submit_many(3);
    assert_eq!(failures(&bench.cancel(2)), [(2, Cause::Cancelled)]);
    assert_eq!(bench.cancel(2), []);
    assert_eq!(sent(&bench.join(1, 4)), [(1, 1, 1), (1, 3, 2)]);
}

#[test]
fn a_cancelled_task_keeps_its_slot_until_the_slave_says_so() {
    let mut bench = Bench::new(&[1]);
    bench.measure(1000 * MS);
    bench.submit_many(2);
    let effects = bench.cancel(2);
    assert_eq!(failures(&effects), [(2, Cause::Cancelled)]);
    assert_eq!(sent(&effects), []);
    let effects = bench.failed(1, 2, Cause::Cancelled);
    assert!(matches!(effects[0], Effect::Stale { .. }));
    assert_eq!(sent(&effects), [(1, 3, 3)]);
}

#[test]
fn without_slaves_to_come_tasks_end_and_with_them_they_wait() {
    let mut bench = Bench::new(&[]);
    bench.submit(spec());
    assert_eq!(failures(&bench.handle(Event::NoMoreSlaves)), [(1, Cause::NoSlaves)]);
    assert_eq!(failures(&bench.submit(spec())), [(2, Cause::NoSlaves)]);
    bench.handle(Event::SlavesExpected);
    assert_eq!(bench.submit(spec()), []);
    assert_eq!(sent(&bench.join(1, 1)), [(1, 3, 1)]);
}

#[test]
fn a_slave_that_joins_after_all_is_used() {
    let mut bench = Bench::new(&[]);
    bench.handle(Event::NoMoreSlaves);
    bench.join(1, 1);
    assert_eq!(sent(&bench.submit(spec())), [(1, 1, 1)]);
    let effects = bench.lose(1, crate::Loss::Unreachable);
    assert_eq!(failures(&effects), [(1, Cause::NoSlaves)]);
}

#[test]
fn shutdown_ends_everything_and_stops_what_is_out() {
    let mut bench = Bench::new(&[1]);
    bench.submit_many(4);
    bench.submit(placed(Placement::On(SlaveId(1))));
    let effects = bench.handle(Event::Shutdown);
    assert_eq!(failures(&effects), [1, 2, 3, 4, 5].map(|task| (task, Cause::Shutdown)));
    let cancelled = effects.iter().filter(|e| matches!(e, Effect::Cancel { .. })).count();
    assert_eq!(cancelled, 2);
    assert_eq!(failures(&bench.submit(spec())), [(6, Cause::Shutdown)]);
}

#[test]
fn time_that_goes_back_expires_nothing() {
    let mut bench = Bench::new(&[1]);
    bench.now += 5 * MS;
    bench.submit(by(10 * MS));
    bench.now = Time::ZERO;
    assert_eq!(bench.handle(Event::Tick), []);
}

#[test]
fn a_result_that_comes_with_the_last_of_the_grace_is_accepted() {
    let mut bench = Bench::new(&[1]);
    bench.submit(by(10 * MS));
    bench.started(1, &[1]);
    bench.now += 10 * MS + bench.core.config.deadline_grace;
    assert_eq!(accepted(&bench.done(1, 1, MS)), [1]);
}
