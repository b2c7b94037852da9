use crate::testing::{Bench, MS, accepted, failures, placed, sent, spec};
use crate::{Again, Effect, Event, Loss, Placement, SlaveId, TaskId, TaskSpec};
use dpfw_protocol::error::Cause;
use dpfw_protocol::message::TaskFlags;

fn busy() -> Cause {
    Cause::Busy { what: "sandboxes".into() }
}

#[test]
fn an_error_ends_the_task_at_once() {
    let mut bench = Bench::new(&[1, 1]);
    for cause in [Cause::Failed { message: "no".into() }, Cause::SlaveLost { may_have_run: true }] {
        let [(slave, task, attempt)] = sent(&bench.submit(spec()))[..] else { panic!("not sent") };
        assert_eq!(failures(&bench.failed(slave, attempt, cause.clone())), [(task, cause)]);
    }
}

#[test]
fn a_busy_slave_is_left_alone_and_the_task_goes_elsewhere() {
    let mut bench = Bench::new(&[1, 1]);
    bench.submit(spec());
    let effects = bench.failed(1, 1, busy());
    let retried = Effect::Retried { task: TaskId(1), slave: SlaveId(1), why: Again::Busy };
    assert_eq!(effects[0], retried);
    assert_eq!(sent(&effects), [(2, 1, 1)]);
    assert_eq!(sent(&bench.submit_many(3)).len(), 1);
    let pause = bench.core.config.busy_pause;
    assert_eq!(sent(&bench.wait(pause)).len(), 2);
}

#[test]
fn the_pause_doubles_and_a_result_resets_it() {
    let mut bench = Bench::new(&[1]);
    let pause = bench.core.config.busy_pause;
    bench.submit(spec());
    for (attempt, factor) in [(1, 1), (2, 2), (3, 4)] {
        bench.failed(1, attempt, busy());
        assert_eq!(bench.core.next_wake(), Some(bench.now + pause * factor));
        assert_eq!(sent(&bench.wait(pause * factor)), [(1, 1, attempt + 1)]);
    }
    bench.done(1, 4, MS);
    bench.submit(spec());
    bench.failed(1, 5, busy());
    assert_eq!(bench.core.next_wake(), Some(bench.now + pause));
}

#[test]
fn after_enough_tries_busy_is_the_answer() {
    let mut bench = Bench::new(&[1]);
    bench.submit(spec());
    for attempt in 1..=10 {
        assert_eq!(failures(&bench.failed(1, attempt, busy())), []);
        bench.wait(bench.core.config.busy_pause_max);
    }
    assert_eq!(failures(&bench.failed(1, 11, busy())), [(1, busy())]);
}

#[test]
fn a_task_refused_for_draining_goes_elsewhere_and_its_slave_gets_nothing_more() {
    let mut bench = Bench::new(&[1, 1]);
    bench.submit(spec());
    assert_eq!(sent(&bench.failed(1, 1, Cause::Draining)), [(2, 1, 1)]);
    assert!(sent(&bench.submit_many(3)).iter().all(|(slave, ..)| *slave == 2));
}

#[test]
fn what_may_run_once_is_not_repeated_when_a_drain_interrupts_it() {
    let mut bench = Bench::new(&[1, 1]);
    let once = || TaskSpec { flags: TaskFlags::default().with(TaskFlags::ONCE), ..spec() };
    bench.submit(once());
    let lost = Cause::SlaveLost { may_have_run: true };
    assert_eq!(failures(&bench.failed(1, 1, Cause::Draining)), [(1, lost.clone())]);

    let mut bench = Bench::new(&[1, 1]);
    bench.submit(placed(Placement::On(SlaveId(1))));
    assert_eq!(failures(&bench.failed(1, 1, Cause::Draining)), [(1, lost)]);

    let mut bench = Bench::new(&[1, 1]);
    bench.submit(once());
    bench.started(1, &[1]);
    let busy = Cause::Busy { what: "no room for the result".into() };
    assert_eq!(failures(&bench.failed(1, 1, busy.clone())), [(1, busy)]);
}

#[test]
fn a_draining_slave_gets_nothing_and_gives_back_what_has_not_started() {
    let mut bench = Bench::new(&[1]);
    bench.submit_many(3);
    bench.handle(Event::SlaveDraining { slave: SlaveId(1) });
    bench.returned(1, &[2]);
    assert_eq!(sent(&bench.join(2, 1)), [(2, 2, 1), (2, 3, 2)]);
    assert_eq!(accepted(&bench.done(1, 1, MS)), [1]);
    assert_eq!(bench.lose(1, Loss::Left), []);
}

#[test]
fn what_was_returned_goes_in_front_in_its_order() {
    let mut bench = Bench::new(&[1]);
    bench.measure(MS / 2);
    bench.submit_many(8);
    bench.handle(Event::SlaveDraining { slave: SlaveId(1) });
    bench.returned(1, &[3, 4, 5]);
    bench.measure(MS / 2);
    let tasks: Vec<_> = sent(&bench.join(2, 1)).iter().map(|(_, task, _)| *task).collect();
    assert_eq!(tasks, [3, 4, 5, 7, 8]);
}

#[test]
fn what_nobody_asked_for_is_not_sent_back_at_once() {
    let mut bench = Bench::new(&[1]);
    bench.submit(spec());
    assert_eq!(sent(&bench.returned(1, &[1])), []);
    assert_eq!(sent(&bench.wait(bench.core.config.busy_pause)), [(1, 1, 2)]);
}

#[test]
fn what_a_slave_never_had_is_stale() {
    let mut bench = Bench::new(&[1]);
    bench.submit(spec());
    for effects in [bench.done(1, 7, MS), bench.done(9, 1, MS), bench.returned(1, &[7])] {
        assert!(matches!(effects[..], [Effect::Stale { .. }]));
    }
    assert_eq!(bench.started(1, &[0, 7, u64::MAX]), []);
    assert_eq!(bench.started(9, &[1]), []);
}

#[test]
fn a_pinned_task_waits_for_its_busy_slave() {
    let mut bench = Bench::new(&[1, 1]);
    bench.submit(placed(Placement::On(SlaveId(1))));
    assert_eq!(sent(&bench.failed(1, 1, busy())), []);
    assert_eq!(sent(&bench.wait(bench.core.config.busy_pause)), [(1, 1, 2)]);
}

#[test]
fn an_attempt_that_waits_holds_no_slot() {
    let mut bench = Bench::new(&[1]);
    let long = bench.core.config.queue_ahead * 2;
    bench.measure(long);
    assert_eq!(sent(&bench.submit_many(2)), [(1, 2, 2)]);
    bench.started(1, &[2]);
    assert_eq!(sent(&bench.waiting(1, &[2])), [(1, 3, 3)], "the slot is free");
    bench.started(1, &[2]);
    assert_eq!(sent(&bench.submit_many(1)), [], "both want it now");
    assert_eq!(sent(&bench.done(1, 3, long)), [], "the first has it");
    assert_eq!(sent(&bench.done(1, 2, long)), [(1, 4, 4)]);
}

#[test]
fn an_attempt_that_waits_when_its_slave_dies_had_started() {
    let mut bench = Bench::new(&[1, 1]);
    let once = TaskSpec { flags: TaskFlags::ONCE, ..spec() };
    bench.submit(once);
    bench.waiting(1, &[1]);
    let cause = Cause::SlaveLost { may_have_run: true };
    assert_eq!(failures(&bench.lose(1, Loss::Died)), [(1, cause)]);
}

#[test]
fn what_ran_behind_one_that_waited_is_suspect_when_its_slave_dies() {
    let mut bench = Bench::new(&[1]);
    assert_eq!(sent(&bench.submit_many(2)).len(), 2);
    bench.waiting(1, &[1]);
    bench.join(2, 1);
    let effects = bench.lose(1, Loss::Died);
    let why = Again::Lost(Loss::Died);
    let retried = Effect::Retried { task: TaskId(2), slave: SlaveId(1), why };
    assert!(effects.contains(&retried), "{effects:?}");
}
