use crate::testing::{Bench, MS, placed, sent, spec};
use crate::{Effect, Event, Placement, SlaveId};
use std::time::Duration;

fn recalled(effects: &[Effect]) -> Vec<(u64, Vec<u64>)> {
    let recall = |effect: &Effect| match effect {
        Effect::Recall { slave, attempts } => {
            Some((slave.0, attempts.iter().map(|attempt| attempt.0).collect()))
        }
        _ => None,
    };
    effects.iter().filter_map(recall).collect()
}

/// Slave 1 has one slot and eight short tasks; slave 2 has nothing.
fn loaded() -> Bench {
    let mut bench = Bench::new(&[1]);
    bench.measure(Duration::from_micros(100));
    bench.submit_many(9);
    bench
}

#[test]
fn half_of_what_cannot_begin_is_recalled_when_another_slave_has_nothing_to_do() {
    let mut bench = loaded();
    bench.join(2, 1);
    let effects = bench.wait(5 * MS);
    assert_eq!(recalled(&effects), [(1, vec![7, 8, 9, 10])]);
    let effects = bench.returned(1, &[7, 8, 9, 10]);
    let sends: Vec<_> = sent(&effects).iter().map(|(slave, task, _)| (*slave, *task)).collect();
    assert_eq!(sends, [(2, 7), (2, 8), (2, 9), (2, 10)]);
}

#[test]
fn a_recall_is_not_repeated_before_it_is_answered() {
    let mut bench = loaded();
    bench.join(2, 1);
    assert_eq!(recalled(&bench.wait(5 * MS)).len(), 1);
    assert_eq!(recalled(&bench.wait(50 * MS)), []);
}

#[test]
fn little_work_that_goes_on_is_not_worth_a_recall() {
    let mut bench = loaded();
    bench.join(2, 1);
    for attempt in 2..10 {
        bench.now += MS;
        assert_eq!(recalled(&bench.done(1, attempt, MS / 10)), []);
    }
}

#[test]
fn nothing_is_recalled_while_tasks_wait_here() {
    let mut bench = Bench::new(&[1, 1]);
    bench.measure(Duration::from_micros(100));
    bench.submit_many(100);
    assert!(bench.core.stats().queued > 0);
    assert_eq!(recalled(&bench.wait(50 * MS)), []);
}

#[test]
fn what_has_started_is_not_recalled() {
    let mut bench = loaded();
    bench.started(1, &[2, 3, 4, 5, 6, 7, 8, 9]);
    bench.join(2, 1);
    assert_eq!(recalled(&bench.wait(5 * MS)), [(1, vec![10])]);
}

#[test]
fn pinned_tasks_stay() {
    let mut bench = Bench::new(&[1]);
    bench.measure(Duration::from_micros(100));
    (0..9).for_each(|_| drop(bench.submit(placed(Placement::On(SlaveId(1))))));
    bench.join(2, 1);
    assert_eq!(recalled(&bench.wait(5 * MS)), []);
    assert_eq!(bench.core.next_wake(), None);
}

#[test]
fn a_drain_needs_no_recall() {
    let mut bench = loaded();
    bench.handle(Event::SlaveDraining { slave: SlaveId(1) });
    bench.join(2, 1);
    assert_eq!(recalled(&bench.wait(50 * MS)), []);
}

#[test]
fn much_work_is_recalled_at_once() {
    let mut bench = Bench::new(&[4]);
    bench.measure(Duration::from_micros(1900));
    (0..8).for_each(|_| drop(bench.submit(spec())));
    bench.handle(Event::SlaveStatus { slave: SlaveId(1), slots: 1, taken: false, running: vec![] });
    assert_eq!(recalled(&bench.join(2, 1)), [(1, vec![6, 7, 8, 9])]);
}
