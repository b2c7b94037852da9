use crate::testing::{Bench, MS, accepted, failures, placed, sent, spec};
use crate::{Again, Effect, Event, Loss, Placement, SlaveId, TaskSpec};
use dpfw_protocol::error::Cause;
use dpfw_protocol::ids::AttemptId;
use dpfw_protocol::message::TaskFlags;

fn cancelled(effects: &[Effect]) -> Vec<u64> {
    let cancel = |effect: &Effect| match effect {
        Effect::Cancel { attempt, .. } => Some(attempt.0),
        _ => None,
    };
    effects.iter().filter_map(cancel).collect()
}

/// One slave that works on two tasks and has one ready.
fn three_out() -> Bench {
    let mut bench = Bench::new(&[2]);
    bench.submit_many(3);
    bench
}

#[test]
fn what_a_slave_forgot_is_tried_again_and_counts_as_a_try() {
    let mut bench = three_out();
    assert_eq!(bench.holds(1, 3, &[1, 3]), []);
    let effects = bench.holds(1, 3, &[1, 3]);
    let why = Again::Forgotten;
    assert_eq!(effects[0], Effect::Retried { task: crate::TaskId(2), slave: SlaveId(1), why });
    assert_eq!(sent(&effects), [(1, 2, 4)]);
    assert_eq!(bench.core.stats().forgotten, 1);
    assert!(matches!(bench.done(1, 2, MS)[..], [Effect::Stale { .. }]));
    // Two more, and it has used up its tries.
    for attempt in [4, 5] {
        bench.holds(1, attempt, &[1, 3]);
        let effects = bench.holds(1, attempt, &[1, 3]);
        match attempt {
            4 => assert_eq!(sent(&effects), [(1, 2, 5)]),
            _ => {
                let exhausted = Cause::AttemptsExhausted { attempts: 3 };
                assert_eq!(failures(&effects), [(2, exhausted)]);
            }
        }
    }
}

#[test]
fn a_difference_counts_when_two_successive_tellings_have_it() {
    let mut bench = three_out();
    for _ in 0..3 {
        assert_eq!(bench.holds(1, 3, &[1, 2]), []);
        assert_eq!(bench.holds(1, 3, &[1, 2, 3]), []);
    }
    assert_eq!(bench.core.stats().forgotten, 0);
}

#[test]
fn what_is_under_way_is_not_missed() {
    let mut bench = three_out();
    for upto in [0, 1, 1, 2, 2] {
        let held: Vec<_> = (1..=upto).collect();
        assert_eq!(bench.holds(1, upto, &held), [], "up to {upto}");
    }
    // The third is missed once when it has arrived, and was under way before.
    assert_eq!(bench.holds(1, 3, &[1, 2]), []);
    assert_eq!(sent(&bench.holds(1, 3, &[1, 2])), [(1, 3, 4)]);
}

#[test]
fn a_forgotten_task_that_runs_once_may_have_run() {
    let mut bench = Bench::new(&[2]);
    bench.submit(TaskSpec { flags: TaskFlags::ONCE, ..spec() });
    bench.submit(placed(Placement::On(SlaveId(1))));
    bench.holds(1, 2, &[]);
    let may = Cause::SlaveLost { may_have_run: true };
    assert_eq!(failures(&bench.holds(1, 2, &[])), [(2, may.clone()), (1, may)]);
}

#[test]
fn nobody_is_suspect_of_what_was_forgotten() {
    let mut bench = Bench::new(&[2, 2]);
    bench.submit(spec());
    bench.holds(1, 1, &[]);
    bench.holds(1, 1, &[]);
    bench.submit_many(3);
    let alone = bench.core.stats();
    assert_eq!((alone.queued, alone.unresolved), (0, 4), "all run side by side");
}

#[test]
fn a_cancel_that_was_lost_is_said_again() {
    let mut bench = three_out();
    assert_eq!(cancelled(&bench.cancel(2)), [2]);
    assert_eq!(bench.holds(1, 3, &[1, 2, 3]), []);
    assert_eq!(cancelled(&bench.holds(1, 3, &[1, 2, 3])), [2]);
    assert_eq!(cancelled(&bench.holds(1, 3, &[1, 2, 3])), [2]);
    assert_eq!(bench.core.stats().recancelled, 2);
    bench.failed(1, 2, Cause::Cancelled);
    assert_eq!(bench.holds(1, 3, &[1, 3]), []);
}

#[test]
fn a_cancelled_attempt_whose_end_was_lost_frees_its_slot() {
    let mut bench = Bench::new(&[1]);
    bench.measure(1000 * MS);
    bench.submit_many(2);
    assert_eq!(sent(&bench.cancel(2)), []);
    bench.holds(1, 2, &[]);
    assert_eq!(sent(&bench.holds(1, 2, &[])), [(1, 3, 3)]);
    assert_eq!(bench.core.stats().forgotten, 1);
}

#[test]
fn what_is_over_and_still_held_is_cancelled() {
    let mut bench = three_out();
    assert_eq!(accepted(&bench.done(1, 2, MS)), [2]);
    assert_eq!(bench.holds(1, 3, &[1, 2, 3]), []);
    assert_eq!(cancelled(&bench.holds(1, 3, &[1, 2, 3])), [2]);
    assert_eq!(bench.holds(1, 3, &[1, 3]), []);
    assert_eq!(bench.holds(1, 3, &[1, 2, 3]), []);
}

#[test]
fn a_slave_is_not_believed_beyond_what_it_was_sent() {
    let mut bench = three_out();
    for _ in 0..3 {
        assert_eq!(bench.holds(1, u64::MAX, &[3, 2, 2, 1, 99, u64::MAX]), []);
        assert_eq!(bench.holds(9, 3, &[]), []);
    }
}

#[test]
fn a_forgotten_suspect_leaves_its_slave_open() {
    let mut bench = Bench::new(&[1]);
    bench.submit(spec());
    bench.started(1, &[1]);
    bench.lose(1, Loss::Died);
    assert_eq!(sent(&bench.join(2, 1)), [(2, 1, 1)]);
    bench.submit(spec());
    bench.holds(2, 1, &[]);
    // It is suspect still, and alone again.
    assert_eq!(sent(&bench.holds(2, 1, &[])), [(2, 1, 2)]);
    assert_eq!(sent(&bench.done(2, 2, MS)), [(2, 2, 3)]);
}

#[test]
fn many_that_agree_are_passed_over() {
    let mut bench = Bench::new(&[64]);
    bench.measure(MS / 1000);
    bench.submit_many(1500);
    let all: Vec<_> = (1..=1600).collect();
    let known = |core: &crate::Core| core.stats().unresolved - core.stats().queued;
    let out = known(&bench.core);
    assert!(out > 1000, "{out} are out");
    for _ in 0..3 {
        let slave = SlaveId(1);
        let attempts = all.iter().copied().map(AttemptId).collect();
        let effects = bench.handle(Event::Holds { slave, upto: AttemptId(1600), attempts });
        assert!(cancelled(&effects).iter().all(|attempt| *attempt == 1), "one is over");
    }
    assert_eq!(known(&bench.core), out);
}
