use crate::testing::{Bench, MS, accepted, placed, sent, spec};
use crate::{Effect, End, Event, KeyId, Loss, Outcome, Placement, SlaveId, TaskSpec};
use std::time::Duration;

const NOBODY: [u64; 0] = [];

fn keys(keys: &[u64]) -> Box<[KeyId]> {
    keys.iter().copied().map(KeyId).collect()
}

fn at(of: &[u64]) -> TaskSpec {
    placed(Placement::At(keys(of)))
}

fn near(of: &[u64]) -> TaskSpec {
    placed(Placement::Near(keys(of)))
}

/// Which slaves are asked.
fn asked(effects: &[Effect]) -> Vec<u64> {
    let ask = |effect: &Effect| match effect {
        Effect::Locate { slave, .. } => Some(slave.0),
        _ => None,
    };
    effects.iter().filter_map(ask).collect()
}

/// Which tasks ended for want of which key.
fn gone(effects: &[Effect]) -> Vec<(u64, u64)> {
    let gone = |effect: &Effect| match effect {
        Effect::Resolve { task, outcome: Outcome::KeyGone { key, .. }, .. } => {
            Some((task.0, key.0))
        }
        _ => None,
    };
    effects.iter().filter_map(gone).collect()
}

trait Keyed {
    fn key_at(&mut self, slave: u64, key: u64) -> Vec<Effect>;
    fn key_gone(&mut self, slave: u64, key: u64) -> Vec<Effect>;
    fn located(&mut self, slave: u64, asked: &[u64], held: &[u64]) -> Vec<Effect>;
    fn cost(&mut self, key: u64, cost: Duration);
}

impl Keyed for Bench {
    fn key_at(&mut self, slave: u64, key: u64) -> Vec<Effect> {
        self.handle(Event::KeyAt { slave: SlaveId(slave), key: KeyId(key) })
    }

    fn key_gone(&mut self, slave: u64, key: u64) -> Vec<Effect> {
        self.handle(Event::KeyGone { slave: SlaveId(slave), key: KeyId(key) })
    }

    fn located(&mut self, slave: u64, asked: &[u64], held: &[u64]) -> Vec<Effect> {
        let held = keys(held).into_vec();
        self.handle(Event::Located { slave: SlaveId(slave), keys: keys(asked), held })
    }

    fn cost(&mut self, key: u64, cost: Duration) {
        self.handle(Event::KeyCost { key: KeyId(key), cost });
    }
}

#[test]
fn a_task_at_its_keys_goes_to_a_slave_that_has_all_of_them() {
    let mut bench = Bench::new(&[4, 4, 4]);
    bench.key_at(1, 1);
    bench.key_at(2, 1);
    bench.key_at(2, 2);
    assert_eq!(sent(&bench.submit(at(&[2, 1, 2]))), [(2, 1, 1)]);
    assert_eq!(asked(&bench.submit(at(&[1, 3]))), [1, 2, 3]);
}

#[test]
fn of_several_slaves_that_have_a_key_the_least_loaded_gets_the_task() {
    let mut bench = Bench::new(&[2, 2, 2]);
    bench.measure(9 * MS);
    bench.key_at(2, 1);
    bench.key_at(3, 1);
    let slaves: Vec<_> =
        (0..5).flat_map(|_| sent(&bench.submit(at(&[1])))).map(|(slave, ..)| slave).collect();
    assert_eq!(slaves, [2, 3, 2, 3], "the fifth waits, though slave 1 has nothing to do");
    assert_eq!(sent(&bench.done(3, 1, 9 * MS)), [(3, 6, 3)]);
}

#[test]
fn where_keys_are_that_nobody_is_known_to_have_is_asked_of_all() {
    let mut bench = Bench::new(&[1, 1]);
    assert_eq!(asked(&bench.submit(at(&[7]))), [1, 2]);
    assert_eq!(asked(&bench.submit(at(&[7]))), NOBODY, "they have been asked");
    assert_eq!(gone(&bench.located(1, &[7], &[])), []);
    let effects = bench.located(2, &[7], &[7]);
    assert_eq!(sent(&effects), [(2, 1, 1)], "nobody knows how long the other would lie there");
    assert_eq!(sent(&bench.done(2, 1, MS)), [(2, 2, 2)]);
}

#[test]
fn what_lies_at_one_slave_is_taken_back_for_another_that_has_its_keys() {
    let mut bench = Bench::new(&[1, 1, 1]);
    bench.measure(MS);
    bench.key_at(1, 7);
    bench.key_at(2, 7);
    assert_eq!((0..4).flat_map(|_| sent(&bench.submit(at(&[7])))).count(), 4);
    let effects = bench.wait(20 * MS);
    let recalled = |effect: &&Effect| matches!(effect, Effect::Recall { .. });
    assert_eq!(effects.iter().filter(recalled).count(), 1, "slave 3 has nothing to do");

    let mut bench = Bench::new(&[1, 1]);
    bench.measure(MS);
    bench.key_at(1, 7);
    assert_eq!((0..2).flat_map(|_| sent(&bench.submit(at(&[7])))).count(), 2);
    assert_eq!(bench.wait(20 * MS), [], "there is no other");
}

#[test]
fn a_key_that_nobody_has_ends_the_task() {
    let mut bench = Bench::new(&[1, 1]);
    bench.key_at(1, 7);
    bench.submit(at(&[7, 8]));
    bench.located(1, &[7, 8], &[7]);
    assert_eq!(gone(&bench.located(2, &[7, 8], &[])), [(1, 8)]);
    assert!(bench.core.is_at_rest().is_ok());
}

#[test]
fn a_slave_that_comes_is_asked_too_and_one_that_goes_answers_by_that() {
    let mut bench = Bench::new(&[]);
    assert_eq!(asked(&bench.submit(at(&[7]))), NOBODY, "there is nobody to ask yet");
    assert_eq!(asked(&bench.join(1, 1)), [1]);
    assert_eq!(asked(&bench.join(2, 1)), [2]);
    assert_eq!(gone(&bench.lose(1, Loss::Died)), []);
    assert_eq!(gone(&bench.located(2, &[7], &[])), [(1, 7)]);
}

#[test]
fn when_no_slave_will_come_the_task_ends_for_that_reason() {
    let mut bench = Bench::new(&[]);
    bench.submit(at(&[7]));
    let effects = bench.handle(Event::NoMoreSlaves);
    assert_eq!(crate::testing::failures(&effects), [(1, dpfw_protocol::error::Cause::NoSlaves)]);
}

#[test]
fn a_task_whose_slave_is_lost_while_it_waits_is_sought_elsewhere_and_ends() {
    let mut bench = Bench::new(&[1, 1]);
    bench.measure(9 * MS);
    bench.key_at(1, 7);
    bench.submit(at(&[7]));
    bench.submit(at(&[7]));
    let effects = bench.lose(1, Loss::Unreachable);
    assert_eq!((asked(&effects), gone(&effects)), (vec![2], vec![]));
    assert_eq!(gone(&bench.located(2, &[7], &[])), [(2, 7), (3, 7)]);

    let mut bench = Bench::new(&[1]);
    bench.measure(9 * MS);
    bench.key_at(1, 7);
    bench.submit(at(&[7]));
    bench.submit(at(&[7]));
    assert_eq!(gone(&bench.lose(1, Loss::Left)), [(2, 7), (3, 7)]);
}

#[test]
fn what_was_lost_with_its_slave_is_tried_again_where_the_keys_are() {
    let mut bench = Bench::new(&[1, 1, 1]);
    bench.key_at(1, 7);
    bench.key_at(2, 7);
    let first = sent(&bench.submit(at(&[7])))[0].0;
    let second = 3 - first;
    assert_eq!(sent(&bench.lose(first, Loss::Unreachable)), [(second, 1, 1)]);
    assert_eq!(accepted(&bench.done(second, 1, MS)), [1]);
}

#[test]
fn a_suspect_is_tried_again_alone_where_its_keys_are() {
    let mut bench = Bench::new(&[1, 2, 2]);
    bench.measure(9 * MS);
    bench.key_at(1, 7);
    assert_eq!(sent(&bench.submit(at(&[7]))), [(1, 2, 2)]);
    bench.started(1, &[2]);
    bench.key_at(2, 7);
    assert_eq!(sent(&bench.submit(spec())), [(2, 3, 1)]);
    // It may not be beside task 3, and slave 3 has not got its key.
    assert_eq!(sent(&bench.lose(1, Loss::Died)), []);
    assert_eq!(sent(&bench.done(2, 1, 9 * MS)), [(2, 2, 2)]);
    assert_eq!(gone(&bench.lose(2, Loss::Died)), [(2, 7)]);
}

#[test]
fn a_slave_that_has_the_key_no_longer_says_so_and_another_is_tried() {
    let mut bench = Bench::new(&[1, 1]);
    bench.key_at(1, 7);
    bench.submit(at(&[7]));
    let effects = bench.end(1, 1, End::KeyGone { key: KeyId(7) });
    assert_eq!(asked(&effects), [1, 2]);
    bench.located(1, &[7], &[]);
    assert_eq!(sent(&bench.located(2, &[7], &[7])), [(2, 1, 1)]);
}

#[test]
fn a_slave_that_says_two_things_of_a_key_is_not_tried_for_ever() {
    let mut bench = Bench::new(&[1]);
    bench.key_at(1, 7);
    bench.submit(at(&[7]));
    let mut ended = Vec::new();
    for attempt in 1..=11 {
        assert_eq!(ended, []);
        ended = gone(&bench.end(1, attempt, End::KeyGone { key: KeyId(7) }));
        bench.located(1, &[7], &[7]);
    }
    assert_eq!(ended, [(1, 7)]);
}

#[test]
fn a_task_on_a_slave_ends_if_its_key_is_gone_there() {
    let mut bench = Bench::new(&[1, 1]);
    bench.key_at(2, 7);
    bench.submit(placed(Placement::On(SlaveId(1))));
    assert_eq!(gone(&bench.end(1, 1, End::KeyGone { key: KeyId(7) })), [(1, 7)]);
}

#[test]
fn many_lanes_pinned_tasks_and_the_general_queue_share_a_slave() {
    let mut bench = Bench::new(&[1]);
    bench.measure(9 * MS);
    (1..4).for_each(|key| drop(bench.key_at(1, key)));
    bench.submit(spec());
    bench.submit_many(3);
    for _ in 0..8 {
        (1..4).for_each(|key| drop(bench.submit(at(&[key]))));
    }
    bench.submit(placed(Placement::On(SlaveId(1))));
    let mut order = Vec::new();
    for attempt in 2..20 {
        order.extend(sent(&bench.done(1, attempt, 9 * MS)).iter().map(|(_, task, _)| *task));
    }
    // Task 30 is pinned, 3 to 5 are anybody's, the others have their keys here.
    assert_eq!(order[..9], [30, 6, 7, 8, 9, 10, 11, 12, 3]);
    assert!(order[9..].contains(&4), "{order:?}");
}

#[test]
fn a_soft_wish_is_waited_for_as_long_as_making_it_would_take() {
    let mut bench = Bench::new(&[1, 1]);
    bench.measure(9 * MS);
    bench.cost(7, 50 * MS);
    bench.key_at(1, 7);
    assert_eq!(sent(&bench.submit(near(&[7]))), [(1, 2, 2)]);
    assert_eq!(sent(&bench.submit(near(&[7]))), [], "9 ms are less than 50");
    assert_eq!(sent(&bench.submit(spec())), [(2, 4, 1)], "it holds up nobody");
    bench.done(2, 1, 9 * MS);
    assert_eq!(sent(&bench.done(1, 2, 9 * MS)), [(1, 3, 3)]);
    bench.submit(near(&[7]));
    assert_eq!(bench.wait(49 * MS), []);
    assert_eq!(sent(&bench.wait(MS)), [(2, 5, 2)], "it took longer than was thought");
}

#[test]
fn what_would_wait_longer_than_making_it_takes_goes_elsewhere() {
    let mut bench = Bench::new(&[1, 4]);
    bench.measure(9 * MS);
    bench.cost(7, 20 * MS);
    bench.key_at(1, 7);
    let sent: Vec<_> = (0..6).flat_map(|_| sent(&bench.submit(near(&[7])))).collect();
    let elsewhere = sent.iter().filter(|(slave, ..)| *slave == 2).count();
    assert_eq!(elsewhere, 3, "one runs there, two are waited for: {sent:?}");
}

#[test]
fn a_soft_wish_whose_slave_goes_is_anybodys() {
    let mut bench = Bench::new(&[1, 1]);
    bench.measure(9 * MS);
    bench.cost(7, 50 * MS);
    bench.key_at(1, 7);
    bench.submit(near(&[7]));
    bench.submit(near(&[7]));
    assert_eq!(sent(&bench.key_gone(1, 7)), [(2, 3, 1)]);
    assert_eq!(bench.handle(Event::KeyForgotten { key: KeyId(7) }), []);
}

#[test]
fn a_task_that_waits_for_its_keys_can_be_cancelled() {
    let mut bench = Bench::new(&[1]);
    bench.submit(at(&[7]));
    bench.cancel(1);
    assert!(bench.core.is_at_rest().is_ok());
    assert_eq!(gone(&bench.located(1, &[7], &[])), []);
}

#[test]
fn a_suspect_that_is_bound_to_its_keys_holds_up_no_other() {
    let mut bench = Bench::new(&[3]);
    bench.measure(9 * MS);
    bench.key_at(1, 7);
    for spec in [spec(), at(&[7]), spec()] {
        bench.submit(spec);
    }
    bench.started(1, &[2, 3, 4]);
    bench.join(2, 2);
    bench.key_at(2, 7);
    bench.submit(placed(Placement::On(SlaveId(2))));
    bench.join(3, 1);
    // Task 3 has to wait for slave 2, which is not emptied while another is kept.
    assert_eq!(sent(&bench.lose(1, Loss::Died)), [(3, 2, 1)]);
    assert_eq!(sent(&bench.join(4, 1)), [(4, 4, 1)]);
}
