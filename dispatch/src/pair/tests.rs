use super::*;
use crate::testing::{
    Bench, MS, accepted, cancelled, failures, free, ids, placed, sent, spec, started,
};
use crate::{Again, Effect, End, Event, KeyId, Loss, Placement, SlaveId, TaskSpec, Time};

/// Task 2 is out at slave 2, and a second time at slave 1, both attempts of one slot. Slave 3 is
/// busy with task 3.
fn pair() -> Bench {
    pair_of(free())
}

fn pair_of(spec: TaskSpec) -> Bench {
    let mut bench = Bench::new(&[1, 1, 1]);
    bench.measure(10 * MS);
    assert_eq!(sent(&bench.submit(spec)), [(2, 2, 1)]);
    bench.submit(placed(Placement::On(SlaveId(3))));
    assert_eq!(sent(&bench.pass(20 * MS)), [(1, 2, 2)]);
    bench
}

fn trap() -> Cause {
    Cause::Trap { kind: dpfw_protocol::error::Trap::Unreachable, backtrace: Vec::new() }
}

fn retries(effects: &[Effect]) -> Vec<(u64, Again)> {
    let retry = |effect: &Effect| match effect {
        Effect::Retried { task, why, .. } => Some((task.0, *why)),
        _ => None,
    };
    effects.iter().filter_map(retry).collect()
}

#[test]
fn the_first_result_is_accepted_and_the_other_attempt_cancelled() {
    for (winner, loser) in [((1, 2), (2, 1)), ((2, 1), (1, 2))] {
        let mut bench = pair();
        let effects = bench.done(winner.0, winner.1, 10 * MS);
        assert_eq!((started(&effects), cancelled(&effects)), (vec![(2, 2)], vec![loser]));
        // The loser has its slot until its slave says that it ended.
        assert_eq!(sent(&bench.submit(spec())), [(winner.0, 4, winner.1 + 1)]);
        let late = bench.done(loser.0, loser.1, 10 * MS);
        assert!(matches!(late[..], [Effect::Stale { .. }]), "{late:?}");
        assert_eq!(sent(&bench.submit(spec())).len(), 1);
        let stats = bench.core.stats();
        assert_eq!((stats.accepted, stats.stale, stats.unresolved), (2, 1, 3));
    }
}

#[test]
fn a_failure_of_the_tasks_own_in_either_ends_it() {
    for (slave, attempt, other) in [(1, 2, (2, 1)), (2, 1, (1, 2))] {
        let mut bench = pair();
        let effects = bench.failed(slave, attempt, trap());
        assert_eq!(failures(&effects), [(2, trap())]);
        assert_eq!(cancelled(&effects), [other]);
        assert!(effects.iter().any(|effect| matches!(effect, Effect::Resolve { attempts: 2, .. })));
    }
}

#[test]
fn what_a_slave_cannot_do_is_left_to_the_other() {
    let said = |cause| End::Failed { cause };
    let reason = || "it imports what is not granted".to_owned();
    let ends = [
        said(Cause::Busy { what: "sandboxes".into() }),
        said(Cause::Draining),
        said(Cause::Rejected { reason: reason() }),
        said(Cause::ImageGone { image: "index".into() }),
        said(Cause::Internal { message: "a panic".into() }),
        End::KeyGone { key: KeyId(7) },
    ];
    for end in ends {
        for (slave, attempt, other) in [(1, 2, (2, 1)), (2, 1, (1, 2))] {
            let mut bench = pair();
            let effects = bench.end(slave, attempt, end.clone());
            assert!(failures(&effects).is_empty() && retries(&effects).is_empty(), "{effects:?}");
            assert!(sent(&effects).is_empty() && cancelled(&effects).is_empty(), "{effects:?}");
            assert_eq!(bench.core.slave_of(crate::TaskId(2)), Some(SlaveId(other.0)));
            let effects = bench.done(other.0, other.1, MS);
            assert_eq!(started(&effects), [(2, 1)]);
        }
    }
}

#[test]
fn a_slave_that_will_not_run_it_is_not_asked_again_and_a_busy_one_is() {
    let mut bench = pair();
    bench.failed(1, 2, Cause::Rejected { reason: "no".into() });
    assert_eq!(sent(&bench.pass(2000 * MS)), []);
    let mut bench = pair();
    bench.failed(1, 2, Cause::Busy { what: "sandboxes".into() });
    assert_eq!(sent(&bench.pass(9 * MS)), []);
    assert_eq!(sent(&bench.pass(200 * MS)), [(1, 2, 3)]);
}

#[test]
fn what_a_slave_gives_back_is_not_queued_while_the_other_goes_on() {
    let mut bench = pair();
    bench.handle(Event::SlaveDraining { slave: SlaveId(1) });
    let effects = bench.returned(1, &[2]);
    assert!(retries(&effects).is_empty() && sent(&effects).is_empty(), "{effects:?}");
    assert_eq!(started(&bench.done(2, 1, MS)), [(2, 1)]);
    // One that gives it back unasked is left alone for a while.
    let mut bench = pair();
    assert_eq!(bench.returned(1, &[2]), []);
    assert_eq!(sent(&bench.pass(9 * MS)), []);
    assert_eq!(sent(&bench.pass(MS)), [(1, 2, 3)]);
}

#[test]
fn neither_is_recalled() {
    let mut bench = pair();
    let (slave, running) = (SlaveId(2), Vec::new());
    bench.handle(Event::SlaveStatus { slave, slots: 0, taken: false, running });
    bench.done(3, 1, 10 * MS);
    bench.pass(100 * MS);
    assert_eq!(bench.core.stats().recalled, 0);
}

#[test]
fn a_lost_slave_of_two_counts_as_a_try_and_the_other_goes_on() {
    let mut bench = pair();
    let effects = bench.lose(2, Loss::Unreachable);
    assert!(retries(&effects).is_empty() && failures(&effects).is_empty(), "{effects:?}");
    assert_eq!(retries(&bench.lose(1, Loss::Unreachable)), [(2, Again::Lost(Loss::Unreachable))]);
    let cause = Cause::AttemptsExhausted { attempts: 3 };
    bench.done(3, 1, MS);
    assert_eq!(failures(&bench.lose(3, Loss::Unreachable)), [(2, cause)]);
}

#[test]
fn one_that_was_lost_is_tried_beside_again_but_not_if_that_could_end_it() {
    let mut bench = pair();
    bench.lose(1, Loss::Unreachable);
    bench.join(4, 1);
    assert_eq!(sent(&bench.pass(200 * MS)), [(4, 2, 1)]);
    bench.lose(4, Loss::Unreachable);
    bench.join(5, 1);
    assert_eq!(sent(&bench.pass(2000 * MS)), []);
    assert_eq!(started(&bench.done(2, 1, MS)), [(2, 3)]);
}

#[test]
fn a_forgotten_one_of_two_counts_as_a_try_and_the_other_goes_on() {
    let mut bench = pair();
    bench.holds(1, 2, &[]);
    let effects = bench.holds(1, 2, &[]);
    assert!(retries(&effects).is_empty() && failures(&effects).is_empty(), "{effects:?}");
    assert_eq!(bench.core.stats().forgotten, 1);
    assert_eq!(started(&bench.done(2, 1, MS)), [(2, 2)]);
}

#[test]
fn a_death_of_one_of_two_makes_nobody_suspect_while_the_other_is_out() {
    let mut bench = pair();
    bench.started(2, &[1]);
    assert_eq!(retries(&bench.lose(2, Loss::Died)), []);
    // It may lie beside others, and others beside it; and it is not tried beside again.
    bench.handle(Event::SlaveStatus { slave: SlaveId(1), slots: 2, taken: false, running: vec![] });
    assert_eq!(sent(&bench.submit(spec())), [(1, 4, 3)]);
    bench.join(4, 1);
    assert_eq!(sent(&bench.pass(1000 * MS)), []);
    assert_eq!(started(&bench.done(1, 2, MS)), [(2, 2)]);
}

#[test]
fn both_deaths_count_as_one_and_the_poison_is_found_alone() {
    let mut bench = pair();
    assert_eq!(retries(&bench.lose(2, Loss::Died)), []);
    let effects = bench.lose(1, Loss::Died);
    assert_eq!(retries(&effects), [(2, Again::Lost(Loss::Died))]);
    // It waits for a slave that is empty.
    assert_eq!(sent(&bench.pass(1000 * MS)), []);
    assert_eq!(sent(&bench.done(3, 1, MS)), [(3, 2, 2)]);
    assert_eq!(failures(&bench.lose(3, Loss::Died)), []);
    assert_eq!(sent(&bench.join(4, 4)), [(4, 2, 1)]);
    assert_eq!(failures(&bench.lose(4, Loss::Died)), [(2, Cause::Poison { deaths: 3 })]);
}

#[test]
fn a_death_counts_when_the_other_is_over_in_any_other_way() {
    let mut bench = pair();
    bench.lose(2, Loss::Died);
    let busy = Cause::Busy { what: "sandboxes".into() };
    assert_eq!(retries(&bench.failed(1, 2, busy)), [(2, Again::Busy)]);
    bench.join(4, 2);
    // A suspect: nothing is sent beside it.
    assert_eq!(sent(&bench.submit(spec())), []);
    assert_eq!(started(&bench.done(4, 1, MS)), [(2, 2)]);
    let mut bench = pair();
    bench.lose(2, Loss::Died);
    let lost = Again::Lost(Loss::Unreachable);
    assert_eq!(retries(&bench.lose(1, Loss::Unreachable)), [(2, lost)]);
    assert_eq!(sent(&bench.pass(1000 * MS)), [], "slave 3 is not empty");
}

#[test]
fn who_dies_of_it_is_lost_and_its_bystanders_are_tried_again() {
    let mut bench = Bench::new(&[2, 1]);
    bench.measure(10 * MS);
    bench.submit(free());
    bench.submit_many(1);
    assert_eq!(sent(&bench.pass(20 * MS)), [(1, 2, 3)]);
    let effects = bench.lose(1, Loss::Died);
    assert_eq!(retries(&effects), [(3, Again::Lost(Loss::Died))]);
}

#[test]
fn a_cancel_and_a_shutdown_take_both_back() {
    let mut bench = pair();
    let effects = bench.cancel(2);
    assert_eq!(
        (cancelled(&effects), failures(&effects)),
        (vec![(2, 1), (1, 2)], vec![(2, Cause::Cancelled)])
    );
    let mut bench = pair();
    assert_eq!(cancelled(&bench.handle(Event::Shutdown)), [(2, 1), (1, 2), (3, 1)]);
}

#[test]
fn a_deadline_has_its_grace_if_either_has_started() {
    let deadline = Some(Time::from(50 * MS));
    let late = vec![(2, Cause::DeadlineExceeded)];
    let mut bench = pair_of(TaskSpec { deadline, ..free() });
    bench.started(1, &[2]);
    assert_eq!(failures(&bench.pass(100 * MS)), []);
    let effects = bench.pass(bench.core.config.deadline_grace);
    assert_eq!((failures(&effects), cancelled(&effects).len()), (late.clone(), 2));
    // None if the one that has is over.
    let mut bench = pair_of(TaskSpec { deadline, ..free() });
    bench.started(1, &[2]);
    bench.pass(100 * MS);
    assert_eq!(failures(&bench.lose(1, Loss::Unreachable)), late);
    let mut bench = pair_of(TaskSpec { deadline, ..free() });
    assert_eq!(failures(&bench.pass(30 * MS)), late);
}

#[test]
fn both_are_known_by_their_names_and_when_they_were_sent() {
    let bench = pair();
    let (first, second) = (ids(&[1])[0], ids(&[2])[0]);
    for (slave, attempt) in [(2, first), (1, second)] {
        assert_eq!(bench.core.task_of(SlaveId(slave), attempt), Some(crate::TaskId(2)));
    }
    assert_eq!(bench.core.sent_at(SlaveId(2), first), Some(Time::ZERO));
    assert_eq!(bench.core.sent_at(SlaveId(1), second), Some(Time::from(20 * MS)));
    assert_eq!(bench.core.sent_at(SlaveId(1), first), None);
}

#[test]
fn nothing_is_left_of_a_pair() {
    let mut bench = pair();
    bench.done(1, 2, MS);
    bench.failed(2, 1, Cause::Cancelled);
    assert_eq!(accepted(&bench.done(3, 1, MS)), [3]);
    assert_eq!(bench.core.is_at_rest(), Ok(()));
}
