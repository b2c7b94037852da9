use crate::testing::{Bench, MS, free, placed, sent, spec};
use crate::{Event, KeyId, KindId, Loss, Placement, ReservationId, SlaveId, TaskSpec, Time, Wait};
use dpfw_protocol::message::TaskFlags;
use std::time::Duration;

/// Slaves 1 and 2 of one slot, of which the second has task 2, which is expected to take 10 ms.
fn straggler(spec: TaskSpec) -> Bench {
    let mut bench = Bench::new(&[1, 1]);
    bench.measure(10 * MS);
    assert_eq!(sent(&bench.submit(spec)), [(2, 2, 1)]);
    bench
}

fn keyed(placement: fn(Box<[KeyId]>) -> Placement) -> TaskSpec {
    TaskSpec { placement: placement([KeyId(7)].into()), ..free() }
}

fn key_at(bench: &mut Bench, slave: u64) {
    bench.handle(Event::KeyAt { slave: SlaveId(slave), key: KeyId(7) });
}

#[test]
fn what_is_out_for_twice_its_time_is_tried_where_a_slot_is_free() {
    let mut bench = straggler(free());
    assert_eq!(sent(&bench.pass(20 * MS - Duration::from_nanos(1))), []);
    assert_eq!(sent(&bench.pass(Duration::from_nanos(1))), [(1, 2, 2)]);
    let stats = bench.core.stats();
    assert_eq!((stats.hedged, stats.sent, stats.unresolved, stats.queued), (1, 3, 1, 0));
}

#[test]
fn it_is_not_tried_a_third_time() {
    let mut bench = straggler(free());
    bench.join(3, 1);
    assert_eq!(sent(&bench.pass(1000 * MS)).len(), 1);
    assert_eq!(bench.core.next_wake(), None);
}

#[test]
fn only_what_is_free_of_effects_and_bound_to_nothing_is() {
    let once = TaskFlags::ONCE.with(TaskFlags::EFFECT_FREE);
    let on = Placement::On(SlaveId(2));
    let kinds = [spec(), TaskSpec { flags: once, ..spec() }, TaskSpec { placement: on, ..free() }];
    for kind in kinds {
        let mut bench = straggler(kind);
        assert_eq!(bench.core.next_wake(), None);
        assert_eq!(sent(&bench.pass(1000 * MS)), []);
    }
}

#[test]
fn what_runs_under_a_reservation_is_not() {
    let mut bench = Bench::new(&[1, 1]);
    bench.measure(MS);
    bench.reserve(1, Wait::Yes);
    bench.answer(2, 1, true);
    let placement = Placement::Reserved(ReservationId(1));
    assert_eq!(sent(&bench.submit(TaskSpec { placement, ..free() })), [(2, 2, 1)]);
    assert_eq!(sent(&bench.pass(1000 * MS)), []);
}

#[test]
fn a_suspect_is_not() {
    let mut bench = Bench::new(&[1, 1]);
    bench.measure(MS);
    bench.submit(free());
    assert_eq!(sent(&bench.lose(2, Loss::Died)), [(1, 2, 2)]);
    bench.join(3, 1);
    assert_eq!(sent(&bench.pass(1000 * MS)), []);
}

#[test]
fn nothing_is_tried_twice_while_anything_waits_here() {
    let mut bench = straggler(free());
    assert_eq!(sent(&bench.submit(spec())), [(1, 3, 2)]);
    bench.submit_many(1);
    assert_eq!(sent(&bench.pass(50 * MS)), []);
    // The slot is for what waits, and only then for the straggler.
    assert_eq!(sent(&bench.done(1, 2, 10 * MS)), [(1, 4, 3)]);
    assert_eq!(sent(&bench.done(1, 3, 10 * MS)), [(1, 2, 4)]);
}

#[test]
fn a_slave_without_a_free_slot_gets_no_second_attempt() {
    let mut bench = straggler(free());
    bench.submit(spec());
    assert_eq!(sent(&bench.pass(500 * MS)), []);
}

#[test]
fn a_kind_that_was_never_measured_is_not_tried_twice_until_it_is() {
    let mut bench = Bench::new(&[1, 1]);
    let kind = || TaskSpec { kind: KindId(3), ..free() };
    (0..2).for_each(|_| drop(bench.submit(kind())));
    assert_eq!(sent(&bench.pass(100 * MS)), []);
    assert_eq!(sent(&bench.done(1, 1, 100 * MS)), []);
    let effects = bench.pass(150 * MS);
    assert_eq!(sent(&effects), [(1, 2, 2)]);
}

#[test]
fn short_tasks_are_given_the_time_of_a_recall() {
    let mut bench = Bench::new(&[1, 1]);
    bench.measure(Duration::from_micros(10));
    bench.submit(free());
    let worth = bench.core.config.recall_worth;
    assert_eq!(sent(&bench.pass(worth - Duration::from_nanos(1))), []);
    assert_eq!(sent(&bench.pass(Duration::from_nanos(1))).len(), 1);
}

#[test]
fn time_counts_from_when_it_was_last_said_to_begin() {
    let mut bench = straggler(free());
    bench.pass(15 * MS);
    bench.started(2, &[1]);
    assert_eq!(sent(&bench.pass(19 * MS)), []);
    bench.started(2, &[1]);
    assert_eq!(sent(&bench.pass(MS)).len(), 1);
}

#[test]
fn what_holds_no_slot_is_left_to_wait() {
    for loads in [true, false] {
        let mut bench = straggler(free());
        match loads {
            true => bench.loading(2, &[1]),
            false => bench.waiting(2, &[1]),
        };
        assert_eq!(sent(&bench.pass(1000 * MS)), []);
        match loads {
            true => bench.queued(2, &[1]),
            false => bench.started(2, &[1]),
        };
        assert_eq!(sent(&bench.pass(19 * MS)), []);
        assert_eq!(sent(&bench.pass(110 * MS)).len(), 1);
    }
}

#[test]
fn what_lies_behind_a_straggler_is_recalled_and_not_tried_twice() {
    let mut bench = Bench::new(&[1]);
    bench.measure(Duration::from_micros(100));
    (0..3).for_each(|_| drop(bench.submit(free())));
    bench.join(2, 1);
    assert_eq!(sent(&bench.pass(100 * MS)), [(2, 2, 1)]);
    assert_eq!(bench.core.stats().recalled, 1);
    let back = bench.returned(1, &[4]);
    assert_eq!(sent(&back), [(2, 4, 2)]);
}

#[test]
fn it_is_not_sent_where_its_module_is_being_made() {
    let mut bench = straggler(free());
    bench.submit(TaskSpec { placement: Placement::On(SlaveId(1)), ..spec() });
    bench.loading(1, &[2]);
    assert_eq!(sent(&bench.pass(500 * MS)), []);
    bench.queued(1, &[2]);
    bench.done(1, 2, 10 * MS);
    assert_eq!(sent(&bench.pass(200 * MS)), [(1, 2, 3)]);
}

#[test]
fn the_most_overdue_go_first_one_for_each_free_slot() {
    let mut bench = Bench::new(&[3]);
    bench.measure(10 * MS);
    for _ in 0..3 {
        bench.submit(free());
        bench.now += MS;
    }
    // Task 3 has begun anew.
    bench.started(1, &[2, 4]);
    bench.pass(100 * MS);
    assert_eq!(sent(&bench.join(2, 2)), [(2, 3, 1), (2, 2, 2)]);
}

#[test]
fn of_slaves_with_free_slots_the_quickest_is_taken() {
    let mut bench = Bench::new(&[1, 1, 1]);
    for (slave, cost) in [(1, 100), (2, 10), (3, 10)] {
        let on = Placement::On(SlaveId(slave));
        let [(_, _, attempt)] = sent(&bench.submit(placed(on)))[..] else { panic!("not sent") };
        bench.done(slave, attempt, cost * MS);
    }
    // The slow one is the first of those that are free.
    let on = Placement::On(SlaveId(2));
    assert_eq!(sent(&bench.submit(free())), [(1, 4, 2)]);
    bench.done(1, 2, 100 * MS);
    bench.submit(placed(on));
    bench.done(2, 2, 10 * MS);
    assert_eq!(sent(&bench.submit(free())), [(3, 6, 2)]);
    assert_eq!(sent(&bench.pass(30 * MS)), [(2, 6, 3)]);
}

#[test]
fn what_needs_keys_is_tried_only_where_they_are() {
    let mut bench = Bench::new(&[1, 1, 1]);
    bench.measure(10 * MS);
    key_at(&mut bench, 2);
    assert_eq!(sent(&bench.submit(keyed(Placement::At))), [(2, 2, 1)]);
    assert_eq!(sent(&bench.pass(500 * MS)), []);
    key_at(&mut bench, 3);
    assert_eq!(sent(&bench.pass(150 * MS)), [(3, 2, 1)]);
}

#[test]
fn making_what_it_would_rather_find_counts() {
    let mut bench = Bench::new(&[1, 1]);
    bench.measure(10 * MS);
    key_at(&mut bench, 2);
    bench.handle(Event::KeyCost { key: KeyId(7), cost: 90 * MS });
    assert_eq!(sent(&bench.submit(keyed(Placement::Near))), [(2, 2, 1)]);
    assert_eq!(sent(&bench.pass(199 * MS)), []);
    assert_eq!(sent(&bench.pass(MS)), [(1, 2, 2)]);
}

#[test]
fn what_is_overdue_has_time_left_or_stays() {
    let mut bench = Bench::new(&[1, 1]);
    bench.measure(10 * MS);
    let deadline = Some(Time::from(15 * MS));
    bench.submit(TaskSpec { deadline, ..free() });
    bench.started(2, &[1]);
    assert_eq!(sent(&bench.pass(900 * MS)), []);
}

#[test]
fn tasks_that_come_one_after_the_other_set_one_alarm() {
    let mut bench = Bench::new(&[1, 1]);
    bench.measure(MS);
    bench.submit(free());
    let wake = bench.core.next_wake();
    assert_eq!(wake, Some(bench.now + bench.core.config.recall_worth));
    for (slave, attempt) in [(2, 1), (1, 2), (2, 2), (1, 3)] {
        bench.now += MS;
        bench.done(slave, attempt, MS);
        assert_eq!(bench.core.next_wake(), wake);
        bench.submit(free());
        assert_eq!(bench.core.next_wake(), wake);
    }
    // And none when there is nothing to look at.
    bench.done(2, 3, MS);
    bench.pass(5 * MS);
    assert_eq!(bench.core.next_wake(), None);
}

#[test]
fn a_task_that_runs_for_long_wakes_nobody_until_it_is_late() {
    let mut bench = Bench::new(&[1, 1]);
    bench.measure(3_600_000 * MS);
    bench.submit(free());
    bench.pass(200 * MS);
    assert_eq!(bench.core.next_wake(), Some(Time::from(7_200_000 * MS)));
    // What comes meanwhile is looked at soon all the same.
    bench.join(3, 1);
    let [(slave, ..)] = sent(&bench.submit(TaskSpec { kind: KindId(1), ..free() }))[..] else {
        panic!("not sent");
    };
    bench.done(slave, if slave == 1 { 2 } else { 1 }, MS);
    let [(first, ..)] = sent(&bench.submit(TaskSpec { kind: KindId(1), ..free() }))[..] else {
        panic!("not sent");
    };
    let second = sent(&bench.pass(110 * MS));
    assert!(matches!(second[..], [(slave, 4, _)] if slave != first), "{second:?}");
}
