use crate::testing::{Bench, MS, failures, sent, spec};
use crate::{Event, KindId, Loss, TaskSpec};
use dpfw_protocol::error::Cause;

/// A task whose module is another one.
fn other() -> TaskSpec {
    TaskSpec { kind: KindId(1), ..spec() }
}

const MANY: u64 = 10_000;

/// A slave of one slot has two attempts, one of which lies ready, and makes their module.
fn loading() -> Bench {
    let mut bench = Bench::new(&[1]);
    assert_eq!(sent(&bench.submit_many(2)), [(1, 1, 1), (1, 2, 2)]);
    assert_eq!(bench.loading(1, &[1, 2]), []);
    bench
}

#[test]
fn f36_what_waits_for_its_module_holds_no_slot() {
    let mut bench = loading();
    assert_eq!(sent(&bench.submit(other())), [(1, 3, 3)]);
}

#[test]
fn f36_nothing_more_of_a_kind_is_sent_to_who_makes_its_module() {
    let mut bench = loading();
    assert_eq!(bench.submit(spec()), []);
    assert_eq!(bench.queued(1, &[1, 2]), [], "its slot is taken again");
    assert_eq!(sent(&bench.done(1, 1, MS)), [(1, 3, 3)]);
}

#[test]
fn f36_others_pass_by_however_many_wait_for_a_module() {
    let mut bench = loading();
    bench.submit_many(MANY);
    let task = 3 + MANY;
    assert_eq!(sent(&bench.submit(other())), [(1, task, 3)]);
    // Those that had stepped aside come first.
    bench.done(1, 3, MS);
    bench.submit(other());
    bench.done(1, 4, MS);
    bench.queued(1, &[1, 2]);
    assert_eq!(sent(&bench.done(1, 1, MS))[0].1, 3);
}

#[test]
fn f36_another_slave_that_has_the_module_takes_what_is_aside() {
    let mut bench = loading();
    bench.submit(spec());
    bench.submit(other());
    assert_eq!(sent(&bench.join(2, 1))[0], (2, 3, 1));
}

#[test]
fn what_is_aside_ends_as_what_is_queued_does() {
    let mut bench = loading();
    bench.submit(spec());
    bench.submit(TaskSpec { deadline: Some(bench.now + 10 * MS), ..spec() });
    bench.submit(spec());
    assert_eq!(failures(&bench.cancel(3)), [(3, Cause::Cancelled)]);
    assert_eq!(failures(&bench.wait(10 * MS)), [(4, Cause::DeadlineExceeded)]);
    bench.handle(Event::NoMoreSlaves);
    let failed = failures(&bench.lose(1, Loss::Left));
    assert_eq!(failed.len(), 3, "{failed:?}");
    assert!(failed.iter().all(|(_, cause)| *cause == Cause::NoSlaves), "{failed:?}");
    assert_eq!(bench.core.is_at_rest(), Ok(()));
}

#[test]
fn a_slave_that_is_lost_with_a_module_half_made_has_begun_none_of_its_tasks() {
    let mut bench = loading();
    bench.lose(1, Loss::Unreachable);
    for slave in 2..6 {
        assert_eq!(sent(&bench.join(slave, 1)), [(slave, 1, 1), (slave, 2, 2)]);
        bench.loading(slave, &[1, 2]);
        assert_eq!(failures(&bench.lose(slave, Loss::Unreachable)), []);
    }
}
