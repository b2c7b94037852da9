use crate::testing::{Bench, MS, failures, placed, sent, spec};
use crate::{Event, KeyId, Placement, SlaveId};
use dpfw_protocol::error::Cause;
use std::time::Duration;

fn on(slave: u64) -> crate::TaskSpec {
    placed(Placement::On(SlaveId(slave)))
}

fn status(slave: u64, slots: u32, taken: bool) -> Event {
    Event::SlaveStatus { slave: SlaveId(slave), slots, taken, running: Vec::new() }
}

#[test]
fn tasks_are_sent_in_their_order() {
    let mut bench = Bench::new(&[]);
    bench.submit_many(4);
    let tasks: Vec<_> = sent(&bench.join(1, 4)).iter().map(|(_, task, _)| *task).collect();
    assert_eq!(tasks, [1, 2, 3, 4]);
}

#[test]
fn the_least_loaded_slave_is_chosen_and_ties_are_spread() {
    let mut bench = Bench::new(&[1, 4, 1]);
    let slaves: Vec<_> = sent(&bench.submit_many(6)).iter().map(|(slave, ..)| *slave).collect();
    assert_eq!(slaves, [1, 2, 3, 2, 2, 2]);
}

#[test]
fn equal_slaves_get_equal_shares() {
    let mut bench = Bench::new(&[2; 10]);
    let mut shares = [0; 10];
    for (slave, ..) in sent(&bench.submit_many(20)) {
        shares[slave as usize - 1] += 1;
    }
    assert_eq!(shares, [2; 10]);
}

#[test]
fn of_an_unknown_kind_one_lies_ready_for_each_slot() {
    let mut bench = Bench::new(&[2]);
    assert_eq!(sent(&bench.submit_many(100)).len(), 4);
}

#[test]
fn of_a_short_kind_as_many_lie_ready_as_fill_two_milliseconds() {
    let mut bench = Bench::new(&[1]);
    bench.measure(Duration::from_micros(100));
    assert_eq!(sent(&bench.submit_many(100)).len(), 1 + 20);
}

#[test]
fn of_a_long_kind_none_lies_ready() {
    let mut bench = Bench::new(&[2]);
    bench.measure(3 * MS);
    assert_eq!(sent(&bench.submit_many(100)).len(), 2);
}

#[test]
fn a_batch_costs_as_much_as_its_calls() {
    let mut bench = Bench::new(&[1]);
    bench.measure(Duration::from_micros(100));
    let batch = crate::TaskSpec { calls: 10, ..spec() };
    let sends: usize = (0..100).map(|_| sent(&bench.submit(batch.clone())).len()).sum();
    assert_eq!(sends, 1 + 2);
}

#[test]
fn a_slave_gets_no_more_than_it_takes() {
    let mut bench = Bench::new(&[]);
    bench.handle(Event::SlaveJoined { slave: SlaveId(1), slots: 8, attempts: 3 });
    assert_eq!(sent(&bench.submit_many(10)).len(), 3);
}

#[test]
fn a_slave_that_another_master_took_gets_nothing() {
    let mut bench = Bench::new(&[1, 1]);
    bench.handle(status(1, 1, true));
    let slaves: Vec<_> = sent(&bench.submit_many(5)).iter().map(|(slave, ..)| *slave).collect();
    assert_eq!(slaves, [2, 2]);
    assert_eq!(sent(&bench.submit(on(1))), []);
    assert_eq!(sent(&bench.handle(status(1, 1, false))).len(), 2);
}

#[test]
fn slots_that_come_later_are_used() {
    let mut bench = Bench::new(&[0]);
    bench.submit_many(4);
    assert_eq!(sent(&bench.handle(status(1, 2, false))).len(), 4);
}

#[test]
fn a_pinned_task_goes_nowhere_else() {
    let mut bench = Bench::new(&[1, 1]);
    bench.measure(9 * MS);
    assert_eq!(sent(&bench.submit(on(2))), [(2, 2, 1)]);
    assert_eq!(sent(&bench.submit(on(2))), []);
    assert_eq!(sent(&bench.done(2, 1, 9 * MS)), [(2, 3, 2)]);
}

#[test]
fn a_task_pinned_to_an_unknown_slave_did_not_run() {
    let mut bench = Bench::new(&[1]);
    let lost = Cause::SlaveLost { may_have_run: false };
    assert_eq!(failures(&bench.submit(on(9))), [(1, lost)]);
}

#[test]
fn a_task_pinned_to_a_draining_slave_is_refused() {
    let mut bench = Bench::new(&[0]);
    bench.submit(on(1));
    let effects = bench.handle(Event::SlaveDraining { slave: SlaveId(1) });
    assert_eq!(failures(&effects), [(1, Cause::Draining)]);
    assert_eq!(failures(&bench.submit(on(1))), [(2, Cause::Draining)]);
}

/// Which tasks a slave of one slot gets, one after the other.
fn order(bench: &mut Bench, count: usize) -> Vec<u64> {
    let mut order = Vec::new();
    let first = bench.core.stats().sent;
    for attempt in (first..).take(count) {
        let effects = bench.done(1, attempt, 9 * MS);
        order.extend(sent(&effects).iter().map(|(_, task, _)| *task));
    }
    order
}

#[test]
fn pinned_tasks_go_first_and_the_general_queue_does_not_starve() {
    let mut bench = Bench::new(&[1]);
    bench.measure(9 * MS);
    bench.submit(spec());
    bench.submit_many(2);
    (0..20).for_each(|_| drop(bench.submit(on(1))));
    let expected: Vec<u64> = (5..13).chain([3]).chain(13..21).chain([4]).chain(21..25).collect();
    assert_eq!(order(&mut bench, 22), expected);
}

#[test]
fn a_task_goes_near_its_keys_if_there_is_room() {
    let mut bench = Bench::new(&[1, 1, 1]);
    bench.measure(9 * MS);
    let keys = [KeyId(1), KeyId(2)];
    for (slave, key) in [(2, 0), (3, 0), (3, 1)] {
        bench.handle(Event::KeyAt { slave: SlaveId(slave), key: keys[key] });
    }
    let near = || placed(Placement::Near(keys.into()));
    let mut slaves = Vec::new();
    (0..3).for_each(|_| slaves.extend(sent(&bench.submit(near())).iter().map(|(s, ..)| *s)));
    assert_eq!(slaves, [3, 2, 1]);
    bench.handle(Event::KeyGone { slave: SlaveId(3), key: KeyId(1) });
    bench.lose(3, crate::Loss::Left);
}
