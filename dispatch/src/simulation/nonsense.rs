//! Arbitrary events in arbitrary order: unknown ids, doubled answers, slaves that lie.
//! `PROPTEST_CASES` sets how many.

use crate::audit::Audit;
use crate::{
    Config, Core, End, Event, KeyId, KindId, Loss, Placement, ReservationId, SlaveId, TaskId,
    TaskSpec, Time, Wait,
};
use dpfw_protocol::error::Cause;
use dpfw_protocol::ids::AttemptId;
use dpfw_protocol::message::TaskFlags;
use proptest::prelude::*;
use std::time::Duration;

fn slave() -> impl Strategy<Value = SlaveId> {
    (1..6u64).prop_map(SlaveId)
}

fn attempts() -> impl Strategy<Value = Vec<AttemptId>> {
    prop::collection::vec((0..24u64).prop_map(AttemptId), 0..6)
}

fn reservation() -> impl Strategy<Value = ReservationId> {
    (0..12u64).prop_map(ReservationId)
}

fn keys() -> impl Strategy<Value = Vec<KeyId>> {
    prop::collection::vec((0..4u64).prop_map(KeyId), 0..4)
}

fn placement() -> impl Strategy<Value = Placement> {
    prop_oneof![
        6 => Just(Placement::Anywhere),
        2 => slave().prop_map(Placement::On),
        2 => reservation().prop_map(Placement::Reserved),
        2 => keys().prop_map(|keys| Placement::Near(keys.into())),
        3 => keys().prop_map(|keys| Placement::At(keys.into())),
    ]
}

fn submit() -> impl Strategy<Value = Event> {
    let deadline =
        prop::option::weighted(0.2, (0..400u64).prop_map(|ms| Time::from_nanos(ms * 1_000_000)));
    let flags = prop_oneof![
        1 => Just(TaskFlags::default()),
        2 => Just(TaskFlags::ONCE),
        3 => Just(TaskFlags::EFFECT_FREE),
        1 => Just(TaskFlags::ONCE.with(TaskFlags::EFFECT_FREE)),
    ];
    let parts = (0..200u64, 0..3u32, flags, deadline, placement(), 0..20u32);
    parts.prop_map(|(task, kind, flags, deadline, placement, calls)| {
        let spec = TaskSpec { kind: KindId(kind), flags, deadline, placement, calls };
        Event::Submit { task: TaskId(task), spec }
    })
}

fn end() -> impl Strategy<Value = End> {
    let cause = prop_oneof![
        3 => Just(Cause::Busy { what: "sandboxes".into() }),
        1 => Just(Cause::Draining),
        1 => Just(Cause::SlaveLost { may_have_run: true }),
        2 => Just(Cause::Failed { message: "no".into() }),
    ];
    prop_oneof![
        3 => prop_oneof![4 => 0..20_000_000u64, 1 => any::<u64>()]
            .prop_map(|nanos| End::Done { run: Duration::from_nanos(nanos) }),
        2 => cause.prop_map(|cause| End::Failed { cause }),
        1 => (0..4u64).prop_map(|key| End::KeyGone { key: KeyId(key) }),
    ]
}

fn loss() -> impl Strategy<Value = Loss> {
    prop_oneof![3 => Just(Loss::Died), 1 => Just(Loss::Unreachable), 1 => Just(Loss::Left)]
}

fn in_order(mut keys: Vec<KeyId>) -> Box<[KeyId]> {
    keys.sort_unstable();
    keys.dedup();
    keys.into()
}

fn event() -> impl Strategy<Value = Event> {
    let wait = prop_oneof![Just(Wait::Yes), Just(Wait::No)];
    prop_oneof![
        40 => submit(),
        8 => (0..200u64).prop_map(|task| Event::Cancel { task: TaskId(task) }),
        12 => (slave(), 0..4u32, 0..20u32)
            .prop_map(|(slave, slots, attempts)| Event::SlaveJoined { slave, slots, attempts }),
        6 => (slave(), 0..4u32, prop::bool::weighted(0.2), attempts()).prop_map(
            |(slave, slots, taken, running)| Event::SlaveStatus { slave, slots, taken, running }),
        8 => (slave(), 0..30u64, attempts()).prop_map(|(slave, upto, attempts)| Event::Holds {
            slave, upto: AttemptId(upto), attempts }),
        2 => slave().prop_map(|slave| Event::SlaveDraining { slave }),
        5 => (slave(), loss()).prop_map(|(slave, loss)| Event::SlaveLost { slave, loss }),
        6 => (slave(), attempts())
            .prop_map(|(slave, attempts)| Event::Started { slave, attempts }),
        3 => (slave(), attempts())
            .prop_map(|(slave, attempts)| Event::Waiting { slave, attempts }),
        4 => (slave(), attempts())
            .prop_map(|(slave, attempts)| Event::Loading { slave, attempts }),
        3 => (slave(), attempts())
            .prop_map(|(slave, attempts)| Event::Queued { slave, attempts }),
        50 => (slave(), 0..24u64, end()).prop_map(|(slave, attempt, end)| Event::Finished {
            slave, attempt: AttemptId(attempt), end }),
        6 => (slave(), attempts())
            .prop_map(|(slave, attempts)| Event::Returned { slave, attempts }),
        8 => (slave(), 0..4u64).prop_map(|(slave, key)| Event::KeyAt { slave, key: KeyId(key) }),
        8 => (slave(), keys(), keys()).prop_map(|(slave, keys, held)| Event::Located {
            slave, keys: in_order(keys), held }),
        3 => (0..4u64, 0..60u64).prop_map(|(key, ms)| Event::KeyCost {
            key: KeyId(key), cost: Duration::from_millis(ms) }),
        1 => (0..4u64).prop_map(|key| Event::KeyForgotten { key: KeyId(key) }),
        1 => (0..3u32).prop_map(|kind| Event::KindForgotten { kind: KindId(kind) }),
        2 => (slave(), 0..4u64).prop_map(|(slave, key)| Event::KeyGone { slave, key: KeyId(key) }),
        6 => (reservation(), prop::option::weighted(0.3, slave()), wait).prop_map(
            |(reservation, slave, wait)| Event::Reserve { reservation, slave, wait }),
        4 => reservation().prop_map(|reservation| Event::Release { reservation }),
        24 => (slave(), reservation(), any::<bool>()).prop_map(|(slave, reservation, granted)| {
            Event::ReserveAnswered { slave, reservation, granted } }),
        1 => Just(Event::NoMoreSlaves),
        1 => Just(Event::SlavesExpected),
        8 => Just(Event::Tick),
    ]
}

/// Whether the driver would send it: it never uses the id of a task or reservation again.
fn is_fresh(seen: &mut std::collections::HashSet<(u8, u64)>, event: &Event) -> bool {
    match event {
        Event::Submit { task, .. } => seen.insert((0, task.0)),
        Event::Reserve { reservation, .. } => seen.insert((1, reservation.0)),
        _ => true,
    }
}

proptest! {
    #[test]
    fn nonsense_breaks_no_promise(
        events in prop::collection::vec((event(), prop_oneof![3 => Just(0), 1 => 0..40u64]), 0..250)
    ) {
        let (mut core, mut audit) = (Core::new(Config::default()), Audit::default());
        let mut seen = std::collections::HashSet::new();
        let (mut now, mut out) = (Time::ZERO, Vec::new());
        let last = (Event::Shutdown, 0);
        for (event, pause) in events.into_iter().chain([last]) {
            if !is_fresh(&mut seen, &event) {
                continue;
            }
            now += Duration::from_millis(pause);
            core.handle(now, event.clone(), &mut out);
            core.check_invariants();
            audit.follow(now, &event, &out);
            audit.compare(&core.stats());
            out.clear();
        }
        audit.assert_all_resolved();
        prop_assert_eq!(core.stats().unresolved, 0);
    }
}
