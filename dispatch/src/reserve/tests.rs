use super::*;
use crate::event::Event;
use crate::testing::{Bench, MS, failures, placed, sent, spec};
use crate::{Loss, Placement};

fn asked(effects: &[Effect]) -> Vec<(u64, u64)> {
    let ask = |effect: &Effect| match effect {
        Effect::AskReserve { slave, reservation, .. } => Some((slave.0, reservation.0)),
        _ => None,
    };
    effects.iter().filter_map(ask).collect()
}

type Resolved = Vec<(u64, Result<SlaveId, ReserveError>)>;

fn resolved(effects: &[Effect]) -> Resolved {
    let resolve = |effect: &Effect| match effect {
        Effect::ReserveResolved { reservation, outcome } => Some((reservation.0, *outcome)),
        _ => None,
    };
    effects.iter().filter_map(resolve).collect()
}

fn reserve_on(slave: u64, wait: Wait) -> Event {
    Event::Reserve { reservation: ReservationId(1), slave: Some(SlaveId(slave)), wait }
}

fn under(reservation: u64) -> crate::TaskSpec {
    placed(Placement::Reserved(ReservationId(reservation)))
}

/// One slave of two slots, held by reservation 1.
fn held() -> Bench {
    let mut bench = Bench::new(&[2]);
    assert_eq!(asked(&bench.reserve(1, Wait::No)), [(1, 1)]);
    assert_eq!(resolved(&bench.answer(1, 1, true)), [(1, Ok(SlaveId(1)))]);
    bench
}

#[test]
fn an_idle_slave_is_asked_and_held_and_only_its_holder_uses_it() {
    let mut bench = held();
    assert_eq!(sent(&bench.submit(spec())), []);
    assert_eq!(sent(&bench.submit(under(1))), [(1, 2, 1)]);
    let effects = bench.release(1);
    let release = Effect::ReleaseSlave { slave: SlaveId(1), reservation: ReservationId(1) };
    assert_eq!(effects[0], release);
    assert_eq!(sent(&effects), [(1, 1, 2)]);
}

#[test]
fn the_slave_unused_for_longest_is_reserved() {
    let mut bench = Bench::new(&[1, 1, 1]);
    bench.measure(MS);
    assert_eq!(asked(&bench.reserve(1, Wait::No)), [(2, 1)]);
    assert_eq!(asked(&bench.reserve(2, Wait::No)), [(3, 2)]);
    assert_eq!(asked(&bench.reserve(3, Wait::No)), [(1, 3)]);
}

#[test]
fn without_an_idle_slave_one_that_does_not_wait_fails() {
    let mut bench = Bench::new(&[1]);
    bench.submit(spec());
    let none = Err(ReserveError::NoneIdle);
    assert_eq!(resolved(&bench.reserve(1, Wait::No)), [(1, none)]);
}

#[test]
fn one_that_waits_has_the_slave_with_the_least_to_do_emptied() {
    let mut bench = Bench::new(&[2, 2]);
    bench.measure(9 * MS);
    bench.submit_many(3);
    assert_eq!(asked(&bench.reserve(1, Wait::Yes)), []);
    assert_eq!(sent(&bench.submit(spec())), [], "slave 1 is being emptied");
    assert_eq!(asked(&bench.done(1, 2, 9 * MS)), [(1, 1)]);
}

#[test]
fn an_idle_slave_is_better_than_one_that_is_emptied() {
    let mut bench = Bench::new(&[1]);
    bench.submit(spec());
    bench.reserve(1, Wait::Yes);
    assert_eq!(asked(&bench.join(2, 1)), [(2, 1)]);
    assert_eq!(sent(&bench.submit(spec())).len(), 1, "slave 1 is open again");
}

#[test]
fn first_come_first_served() {
    let mut bench = Bench::new(&[]);
    bench.reserve(1, Wait::Yes);
    bench.reserve(2, Wait::Yes);
    assert_eq!(asked(&bench.join(1, 1)), [(1, 1)]);
    assert_eq!(asked(&bench.join(2, 1)), [(2, 2)]);
}

#[test]
fn a_slave_that_refuses_is_not_asked_again_at_once() {
    let mut bench = Bench::new(&[1, 1]);
    bench.reserve(1, Wait::Yes);
    assert_eq!(asked(&bench.answer(1, 1, false)), [(2, 1)]);
    assert_eq!(asked(&bench.answer(2, 1, false)), []);
    assert_eq!(asked(&bench.wait(bench.core.config.refusal_pause)).len(), 1);
}

#[test]
fn when_all_refuse_one_that_does_not_wait_fails() {
    let mut bench = Bench::new(&[1]);
    bench.reserve(1, Wait::No);
    assert_eq!(resolved(&bench.answer(1, 1, false)), [(1, Err(ReserveError::NoneIdle))]);
}

#[test]
fn without_slaves_to_come_there_is_nothing_to_reserve() {
    let mut bench = Bench::new(&[]);
    bench.reserve(1, Wait::Yes);
    let none = Err(ReserveError::NoSlaves);
    assert_eq!(resolved(&bench.handle(Event::NoMoreSlaves)), [(1, none)]);
    assert_eq!(resolved(&bench.reserve(2, Wait::Yes)), [(2, none)]);
}

#[test]
fn the_slave_asked_for_is_waited_for_and_lost_with_it() {
    let mut bench = Bench::new(&[1, 1]);
    bench.submit_many(2);
    assert_eq!(asked(&bench.handle(reserve_on(2, Wait::Yes))), []);
    assert_eq!(asked(&bench.done(2, 1, MS)), [(2, 1)]);
    let lost = bench.lose(2, Loss::Unreachable);
    assert_eq!(resolved(&lost), [(1, Err(ReserveError::SlaveLost))]);
    let unknown = bench.handle(reserve_on(9, Wait::Yes));
    assert_eq!(resolved(&unknown), [(1, Err(ReserveError::SlaveLost))]);
}

#[test]
fn tasks_of_a_released_reservation_end_with_it() {
    let mut bench = held();
    (0..9).for_each(|_| drop(bench.submit(under(1))));
    assert_eq!(failures(&bench.release(1)).len(), 5);
    assert_eq!(failures(&bench.submit(under(1))), [(10, released())]);
    assert_eq!(bench.release(1), [], "a release of nothing is ignored");
}

#[test]
fn tasks_of_a_holder_end_with_its_slave() {
    let mut bench = held();
    (0..5).for_each(|_| drop(bench.submit(under(1))));
    bench.join(2, 4);
    let failed = failures(&bench.lose(1, Loss::Died));
    let lost = |may_have_run| Cause::SlaveLost { may_have_run };
    assert_eq!(failed.len(), 5);
    assert!(failed.contains(&(5, lost(false))) && failed.contains(&(1, lost(true))));
    assert_eq!(failures(&bench.submit(under(1))), [(6, lost(false))]);
    assert_eq!(bench.release(1), []);
}

#[test]
fn an_answer_to_a_wish_that_was_taken_back_grants_nothing() {
    let mut bench = Bench::new(&[1]);
    bench.reserve(1, Wait::Yes);
    bench.release(1);
    bench.reserve(2, Wait::Yes);
    assert_eq!(resolved(&bench.answer(1, 1, true)), []);
    assert_eq!(resolved(&bench.answer(1, 2, true)), [(2, Ok(SlaveId(1)))]);
}

#[test]
fn answers_that_come_in_another_order_are_still_each_one_s_own() {
    let mut bench = Bench::new(&[1]);
    bench.reserve(1, Wait::Yes);
    bench.release(1);
    bench.reserve(2, Wait::No);
    assert_eq!(resolved(&bench.answer(1, 2, false)), [(2, Err(ReserveError::NoneIdle))]);
    assert_eq!(bench.answer(1, 1, true), [], "nobody holds the slave");
    assert_eq!(bench.answer(1, 2, true), [], "it was answered");
    assert_eq!(sent(&bench.submit(spec())), [(1, 1, 1)]);
}

#[test]
fn shutdown_ends_what_waits_and_gives_back_what_is_held() {
    let mut bench = held();
    bench.reserve(2, Wait::Yes);
    let effects = bench.handle(Event::Shutdown);
    assert_eq!(resolved(&effects), [(2, Err(ReserveError::Shutdown))]);
    assert!(effects.iter().any(|effect| matches!(effect, Effect::ReleaseSlave { .. })));
}
