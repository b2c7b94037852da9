use crate::testing::{Bench, MS, failures, placed, sent, spec};
use crate::{Again, Effect, Event, KeyId, Loss, Placement, SlaveId, TaskSpec};
use dpfw_protocol::error::Cause;
use dpfw_protocol::message::TaskFlags;

fn once() -> TaskSpec {
    TaskSpec { flags: TaskFlags::ONCE, ..spec() }
}

fn whys(effects: &[Effect]) -> Vec<(u64, Again)> {
    let why = |effect: &Effect| match effect {
        Effect::Retried { task, why, .. } => Some((task.0, *why)),
        _ => None,
    };
    effects.iter().filter_map(why).collect()
}

#[test]
fn the_tasks_of_a_lost_slave_go_elsewhere_in_their_order() {
    let mut bench = Bench::new(&[2]);
    bench.submit_many(6);
    bench.lose(1, Loss::Unreachable);
    let tasks: Vec<_> = sent(&bench.join(2, 3)).iter().map(|(_, task, _)| *task).collect();
    assert_eq!(tasks, [1, 2, 3, 4, 5, 6]);
}

#[test]
fn the_first_in_the_slots_count_as_started_and_the_others_do_not() {
    let mut bench = Bench::new(&[1]);
    bench.submit_many(2);
    let lost = Loss::Unreachable;
    let expected = [(2, Again::LostUnstarted(lost)), (1, Again::Lost(lost))];
    assert_eq!(whys(&bench.lose(1, lost)), expected);
}

#[test]
fn what_was_reported_as_started_counts_as_such() {
    let mut bench = Bench::new(&[1]);
    bench.submit_many(2);
    bench.started(1, &[2]);
    let lost = Loss::Unreachable;
    assert_eq!(whys(&bench.lose(1, lost)), [(2, Again::Lost(lost)), (1, Again::Lost(lost))]);
    let mut bench = Bench::new(&[1]);
    bench.submit_many(2);
    let running = crate::testing::ids(&[2]);
    bench.handle(Event::SlaveStatus { slave: SlaveId(1), slots: 1, taken: false, running });
    assert_eq!(whys(&bench.lose(1, lost))[0], (2, Again::Lost(lost)));
}

#[test]
fn after_three_started_attempts_a_task_is_given_up() {
    let mut bench = Bench::new(&[]);
    bench.submit(spec());
    for slave in 1..=3 {
        assert_eq!(sent(&bench.join(slave, 1)), [(slave, 1, 1)]);
        let failed = failures(&bench.lose(slave, Loss::Unreachable));
        match slave {
            3 => assert_eq!(failed, [(1, Cause::AttemptsExhausted { attempts: 3 })]),
            _ => assert_eq!(failed, []),
        }
    }
}

#[test]
fn attempts_that_had_not_started_are_not_counted() {
    let mut bench = Bench::new(&[]);
    bench.submit_many(2);
    let mut given_up = Vec::new();
    for slave in 1..=6 {
        bench.join(slave, 1);
        let failed = failures(&bench.lose(slave, Loss::Unreachable));
        given_up.extend(failed.iter().map(|(task, _)| (*task, slave)));
    }
    assert_eq!(given_up, [(1, 3), (2, 6)]);
}

#[test]
fn a_once_task_that_was_sent_may_have_run_and_one_that_was_not_waits() {
    let mut bench = Bench::new(&[1]);
    (0..3).for_each(|_| drop(bench.submit(once())));
    let may = Cause::SlaveLost { may_have_run: true };
    assert_eq!(failures(&bench.lose(1, Loss::Unreachable)), [(2, may.clone()), (1, may)]);
    assert_eq!(sent(&bench.join(2, 1)), [(2, 3, 1)]);
}

#[test]
fn a_once_task_that_was_returned_goes_elsewhere() {
    let mut bench = Bench::new(&[1]);
    (0..2).for_each(|_| drop(bench.submit(once())));
    bench.handle(Event::SlaveDraining { slave: SlaveId(1) });
    bench.returned(1, &[2]);
    bench.done(1, 1, MS);
    bench.lose(1, Loss::Left);
    assert_eq!(sent(&bench.join(2, 1)), [(2, 2, 1)]);
}

#[test]
fn a_pinned_task_ends_with_its_slave() {
    let mut bench = Bench::new(&[1, 1]);
    (0..3).for_each(|_| drop(bench.submit(placed(Placement::On(SlaveId(1))))));
    let lost = |may_have_run| Cause::SlaveLost { may_have_run };
    let expected = [(3, lost(false)), (2, lost(true)), (1, lost(true))];
    assert_eq!(failures(&bench.lose(1, Loss::Died)), expected);
}

#[test]
fn late_answers_of_a_lost_slave_are_stale() {
    let mut bench = Bench::new(&[1, 1]);
    bench.submit(spec());
    bench.lose(1, Loss::Unreachable);
    assert!(matches!(bench.done(1, 1, MS)[..], [Effect::Stale { .. }]));
    assert_eq!(crate::testing::accepted(&bench.done(2, 1, MS)), [1]);
}

#[test]
fn nothing_refers_to_a_lost_slave() {
    let mut bench = Bench::new(&[1]);
    bench.handle(Event::KeyAt { slave: SlaveId(1), key: KeyId(1) });
    bench.lose(1, Loss::Left);
    assert_eq!(bench.lose(1, Loss::Left), []);
    assert_eq!(bench.core.stats().slaves, 0);
}

#[test]
fn what_reached_a_slave_after_its_drain_had_not_started() {
    let mut bench = Bench::new(&[2]);
    bench.submit_many(2);
    bench.started(1, &[2]);
    let left = Loss::Left;
    let expected = [(2, Again::Lost(left)), (1, Again::LostUnstarted(left))];
    assert_eq!(whys(&bench.lose(1, left)), expected);
}
