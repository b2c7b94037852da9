//! Residents at their slave, called by masters by hand.

use super::resident_caller::{Caller, peer, under};
use super::stage::unharmed;
use anyhow::{Context, Result};
use dpfw::Module;
use dpfw_protocol::error::{Cause, Limit};
use dpfw_protocol::message::{ResidentOp, SpawnAs, There};
use dpfw_protocol::resident::{End, Mailbox, Saving, Stage};
use dpfw_protocol::restart::Restart;
use dpfw_protocol::store::EntryKind;
use dpfw_test_tasks::{add, gate};
use dpfw_tests::fleet::{Pair, entry, slave};
use dpfw_tests::wait::{until, within};
use std::time::Duration;

/// A slave that has the modules, and somebody to talk to it.
struct Scene {
    pair: Pair,
    module: Module,
}

impl Scene {
    async fn start(slots: usize) -> Result<Self> {
        Self::of(Pair::start(slave("s1", slots)?).await?, false).await
    }

    /// With residents whose calls may wait.
    async fn waiting(slots: usize) -> Result<Self> {
        Self::of(Pair::start(slave("s1", slots)?).await?, true).await
    }

    async fn of(pair: Pair, waits: bool) -> Result<Self> {
        unharmed(&pair.master).await?;
        let hoard = dpfw_test_waiting::hoard::call(1);
        within("a module that waits", pair.master.dispatch(hoard)).await??;
        let module = match waits {
            true => dpfw_test_waiting::hoard::task().module().clone(),
            false => add::task().module().clone(),
        };
        Ok(Self { pair, module })
    }

    async fn caller(&self, name: &str) -> Result<Caller> {
        Caller::dial(&self.pair.address, name, &self.module).await
    }
}

/// Begun again at once, without end.
fn at_once(terms: SpawnAs) -> SpawnAs {
    SpawnAs { restart: Some(Restart::every(Duration::ZERO)), ..terms }
}

#[tokio::test]
async fn d12_a_resident_keeps_its_state_from_call_to_call() -> Result<()> {
    let scene = Scene::start(2).await?;
    let mut caller = scene.caller("caller").await?;
    let counter = caller.spawn("counter.new", (6u64,), under("uniqID")?).await?;
    assert_eq!(caller.value::<u64>(counter, "counter.bump", ()).await?, 7);
    assert_eq!(caller.value::<u64>(counter, "counter.bump", ()).await?, 8);
    // Whoever has its number may call it.
    let mut other = scene.caller("other").await?;
    let found = other.found("uniqID").await?.context("there")?;
    assert_eq!((found.resident, found.class.as_str(), found.served), (counter, "counter", 2));
    assert_eq!((found.stage, found.waiting, found.restarts), (Stage::Alive, 0, 0));
    assert!(found.memory > 0 && found.saves && found.owner.0 == peer("caller")?);
    assert_eq!(other.value::<u64>(counter, "counter.bump", ()).await?, 9);
    // An error that a method gives is no failure of the resident.
    let cause = other.failure(counter, "counter.skip", (u64::MAX,)).await?;
    assert!(matches!(cause, Cause::Failed { .. }), "{cause}");
    assert_eq!(other.value::<u64>(counter, "counter.peek", ()).await?, 9);
    let linked = scene.pair.linked()?;
    assert_eq!(linked.describe().await?.residents, 1);
    let listed = linked.store().list("").await?;
    assert_eq!((listed.len(), listed[0].kind), (1, EntryKind::Resident));
    unharmed(&scene.pair.master).await
}

#[tokio::test]
async fn calls_of_one_master_run_in_their_order() -> Result<()> {
    let scene = Scene::start(2).await?;
    let mut caller = scene.caller("caller").await?;
    let counter = caller.spawn("counter.new", (0u64,), under("c")?).await?;
    let mut calls = Vec::new();
    for _ in 0..1000 {
        calls.push(caller.call(counter, "counter.bump", ()).await?);
    }
    for (index, call) in calls.into_iter().enumerate() {
        assert_eq!(caller.result::<u64>(call).await?, index as u64 + 1);
    }
    Ok(())
}

#[tokio::test]
async fn a_key_has_one_entry() -> Result<()> {
    let scene = Scene::start(2).await?;
    let mut caller = scene.caller("caller").await?;
    let counter = caller.spawn("counter.new", (0u64,), under("c")?).await?;
    let taken = |kind| Err(Cause::KeyTaken { key: "c".into(), kind });
    let again = caller.begin_spawn("counter.new", (0u64,), under("c")?).await?;
    assert_eq!(caller.spawned(again).await?, taken(EntryKind::Resident));
    // What is there is taken if it is of the class.
    let take = SpawnAs { there: There::Take, ..under("c")? };
    let there = caller.begin_spawn("counter.new", (0u64,), take.clone()).await?;
    let there = caller.spawned(there).await??;
    assert!(there.was_there && there.resident.resident == counter);
    let other = caller.begin_spawn("unruly.new", (), take).await?;
    assert_eq!(caller.spawned(other).await?, taken(EntryKind::Resident));
    // It is no value, and goes with its entry.
    let store = scene.pair.linked()?.store();
    let error = store.get::<u64>("c").await.expect_err("no value");
    assert!(matches!(error.cause(), Cause::WrongKind { kind: EntryKind::Resident, .. }), "{error}");
    let end = caller.ask(ResidentOp::Await { resident: counter }).await?;
    assert!(store.remove("c").await?);
    assert_eq!(caller.answer(end).await?.0.end, Some(End::Stopped));
    let cause = caller.failure(counter, "counter.bump", ()).await?;
    assert!(matches!(cause, Cause::ResidentEnded { .. }), "{cause}");
    store.put("c", &1u64).await?;
    let again = caller.begin_spawn("counter.new", (0u64,), under("c")?).await?;
    assert_eq!(caller.spawned(again).await?, taken(EntryKind::Value));
    Ok(())
}

#[tokio::test]
async fn of_those_that_take_or_spawn_one_spawns() -> Result<()> {
    let scene = Scene::waiting(1).await?;
    let mut caller = scene.caller("caller").await?;
    let take = || Ok::<_, anyhow::Error>(SpawnAs { there: There::Take, ..under("c")? });
    let mut attempts = Vec::new();
    for _ in 0..20 {
        attempts.push(caller.begin_spawn("sleeper.once_there", ("go",), take()?).await?);
    }
    // They hold no slot, whether they build or wait for whoever does.
    unharmed(&scene.pair.master).await?;
    let gone = attempts.remove(5);
    caller.cancel(gone).await?;
    assert_eq!(caller.spawned(gone).await?, Err(Cause::Cancelled));
    // The one that spawns is cancelled: the next goes on.
    let first = attempts.remove(0);
    caller.cancel(first).await?;
    assert_eq!(caller.spawned(first).await?, Err(Cause::Cancelled));
    scene.pair.linked()?.store().put("go", &1).await?;
    let mut made = Vec::new();
    for attempt in attempts {
        made.push(caller.spawned(attempt).await??);
    }
    assert_eq!(made.iter().filter(|spawned| !spawned.was_there).count(), 1);
    assert!(made.iter().all(|it| it.resident.resident == made[0].resident.resident));
    Ok(())
}

#[tokio::test]
async fn f29_a_resident_that_panics_is_gone_and_its_callers_are_told() -> Result<()> {
    let scene = Scene::start(2).await?;
    let mut caller = scene.caller("caller").await?;
    let counter = caller.spawn("counter.new", (0u64,), under("c")?).await?;
    let end = caller.ask(ResidentOp::Await { resident: counter }).await?;
    let boom = caller.call(counter, "counter.bump_and_panic", ()).await?;
    let behind = caller.call(counter, "counter.bump", ()).await?;
    let cause = caller.cause(boom).await?;
    assert!(
        matches!(&cause, Cause::Panic { message, .. } if message.contains("panics at 1")),
        "{cause}"
    );
    let cause = caller.cause(behind).await?;
    assert!(
        matches!(&cause, Cause::ResidentEnded { why, .. } if why.contains("panics at 1")),
        "{cause}"
    );
    let (reply, _) = caller.answer(end).await?;
    assert_eq!(reply.end, Some(End::Failed));
    assert!(matches!(reply.failure.map(Cause::from), Some(Cause::Panic { .. })));
    assert_eq!(caller.found("c").await?, None);
    // Its key is free.
    caller.spawn("counter.new", (0u64,), under("c")?).await?;
    unharmed(&scene.pair.master).await
}

#[tokio::test]
async fn f29_a_resident_is_begun_again_by_its_policy() -> Result<()> {
    let scene = Scene::start(2).await?;
    let mut caller = scene.caller("caller").await?;
    let unruly = caller.spawn("unruly.new", (), at_once(under("u")?)).await?;
    assert_eq!(caller.value::<u32>(unruly, "unruly.calls", ()).await?, 1);
    let boom = caller.call(unruly, "unruly.boom", ("no",)).await?;
    let behind = caller.call(unruly, "unruly.calls", ()).await?;
    assert!(matches!(caller.cause(boom).await?, Cause::Panic { .. }));
    assert_eq!(caller.result::<u32>(behind).await?, 1, "its constructor ran again");
    assert!(matches!(caller.failure(unruly, "unruly.traps", ()).await?, Cause::Trap { .. }));
    assert_eq!(caller.value::<u32>(unruly, "unruly.calls", ()).await?, 1);
    assert_eq!(caller.found("u").await?.context("there")?.restarts, 2);
    // Or its callers are told.
    let tell = SpawnAs { on_restart: Mailbox::Tell, ..at_once(under("t")?) };
    let told = caller.spawn("unruly.new", (), tell).await?;
    let spin = caller.call(told, "unruly.spin", ()).await?;
    let behind = caller.call(told, "unruly.calls", ()).await?;
    until("it to run", async || Ok(caller.found("t").await?.context("there")?.waiting == 1))
        .await?;
    caller.cancel(spin).await?;
    assert_eq!(caller.cause(spin).await?, Cause::Cancelled);
    assert_eq!(caller.cause(behind).await?, Cause::ResidentRestarted { key: "t".into() });
    assert_eq!(caller.value::<u32>(told, "unruly.calls", ()).await?, 1);
    unharmed(&scene.pair.master).await
}

#[tokio::test]
async fn f29_one_that_fails_too_often_has_failed_for_good() -> Result<()> {
    let scene = Scene::start(1).await?;
    let mut caller = scene.caller("caller").await?;
    let restart =
        Some(Restart::every(Duration::from_secs(1)).retries(1).backoff(Duration::from_secs(1)));
    let terms = SpawnAs { restart, ..under("u")? };
    let unruly = caller.spawn("unruly.new", (), terms).await?;
    let end = caller.ask(ResidentOp::Await { resident: unruly }).await?;
    assert!(matches!(caller.failure(unruly, "unruly.boom", ("once",)).await?, Cause::Panic { .. }));
    assert_eq!(caller.found("u").await?.context("there")?.stage, Stage::Restarting);
    // It waits in the mailbox for the pause to be over.
    assert!(matches!(
        caller.failure(unruly, "unruly.boom", ("twice",)).await?,
        Cause::Panic { .. }
    ));
    let (reply, _) = caller.answer(end).await?;
    let failure = reply.failure.map(Cause::from);
    assert_eq!(reply.end, Some(End::Failed));
    assert!(
        matches!(&failure, Some(Cause::Panic { message, .. }) if message == "twice!"),
        "{failure:?}"
    );
    Ok(())
}

#[tokio::test]
async fn constructors_that_fail_leave_nothing() -> Result<()> {
    let scene = Scene::start(2).await?;
    let mut caller = scene.caller("caller").await?;
    let refused = caller.begin_spawn("unruly.refused", ("why",), at_once(under("u")?)).await?;
    let cause = caller.spawned(refused).await?.expect_err("refused");
    assert!(matches!(&cause, Cause::Failed { message } if message == "why"), "{cause}");
    let panics = caller.begin_spawn("unruly.panics", ("why",), at_once(under("u")?)).await?;
    assert!(matches!(caller.spawned(panics).await?, Err(Cause::Panic { .. })));
    let missing = caller.begin_spawn("unruly.other", (), under("u")?).await?;
    assert!(matches!(caller.spawned(missing).await?, Err(Cause::MissingTask { .. })));
    // F24: one without end.
    let endless = caller.begin_spawn("unruly.for_ever", (), under("u")?).await?;
    caller.cancel(endless).await?;
    assert_eq!(caller.spawned(endless).await?, Err(Cause::Cancelled));
    assert_eq!(caller.found("u").await?, None);
    assert_eq!(scene.pair.linked()?.describe().await?.residents, 0);
    caller.spawn("unruly.new", (), under("u")?).await?;
    unharmed(&scene.pair.master).await
}

#[tokio::test]
async fn f23_calls_without_end_are_cut_short_and_the_next_one_runs() -> Result<()> {
    let scene = Scene::start(2).await?;
    let mut caller = scene.caller("caller").await?;
    let unruly = caller.spawn("unruly.new", (), at_once(under("u")?)).await?;
    let late = caller.call_within(unruly, "unruly.spin", (), Some(50_000)).await?;
    // Its own time passes while it waits.
    let never = caller.call_within(unruly, "unruly.calls", (), Some(1)).await?;
    let next = caller.call(unruly, "unruly.calls", ()).await?;
    assert_eq!(caller.cause(late).await?, Cause::DeadlineExceeded);
    assert_eq!(caller.cause(never).await?, Cause::DeadlineExceeded);
    assert_eq!(caller.result::<u32>(next).await?, 1);
    // F22: one that is cancelled, and one that is taken back before it began.
    let spin = caller.call(unruly, "unruly.spin", ()).await?;
    let behind = caller.call(unruly, "unruly.calls", ()).await?;
    until("it to run", async || Ok(caller.found("u").await?.context("there")?.waiting == 1))
        .await?;
    caller.withdraw(behind).await?;
    caller.withdraw(spin).await?;
    assert_eq!(caller.cause(behind).await?, Cause::Cancelled);
    caller.cancel(spin).await?;
    assert_eq!(caller.cause(spin).await?, Cause::Cancelled);
    assert_eq!(caller.value::<u32>(unruly, "unruly.calls", ()).await?, 1);
    unharmed(&scene.pair.master).await
}

#[tokio::test]
async fn limits_are_each_calls_own_but_memory() -> Result<()> {
    let mut limits = dpfw::Limits::default();
    (limits.memory, limits.result) = (64 << 20, 1000);
    let pair = Pair::start(slave("s1", 1)?.limits(limits)).await?;
    let scene = Scene::of(pair, false).await?;
    let mut caller = scene.caller("caller").await?;
    let unruly = caller.spawn("unruly.new", (), at_once(under("u")?)).await?;
    // F32: too large a result leaves its memory in order.
    let cause = caller.failure(unruly, "unruly.bytes", (2000u64,)).await?;
    assert_eq!(cause, Cause::Limit { limit: Limit::Result, allowed: 1000 });
    assert_eq!(caller.value::<u32>(unruly, "unruly.calls", ()).await?, 1);
    // F26: what it has grown by stays counted.
    assert_eq!(caller.value::<u32>(unruly, "unruly.grow", (30u32,)).await?, 30);
    let cause = caller.failure(unruly, "unruly.grow", (40u32,)).await?;
    assert_eq!(cause, Cause::Limit { limit: Limit::Memory, allowed: 64 << 20 });
    assert_eq!(caller.value::<u32>(unruly, "unruly.grow", (10u32,)).await?, 10, "begun again");
    Ok(())
}

#[tokio::test]
async fn f59_a_mailbox_is_bounded_for_each_session() -> Result<()> {
    let scene = Scene::start(2).await?;
    let (mut one, mut two) = (scene.caller("one").await?, scene.caller("two").await?);
    let terms = SpawnAs { mailbox: 2, ..at_once(under("u")?) };
    let unruly = one.spawn("unruly.new", (), terms).await?;
    let spin = one.call(unruly, "unruly.spin", ()).await?;
    until("it to run", async || Ok(one.found("u").await?.context("there")?.waiting == 0)).await?;
    let first = one.call(unruly, "unruly.calls", ()).await?;
    let second = one.call(unruly, "unruly.calls", ()).await?;
    for _ in 0..100 {
        let cause = one.failure(unruly, "unruly.calls", ()).await?;
        assert!(matches!(&cause, Cause::Busy { what } if what.contains("2 calls wait")), "{cause}");
    }
    let other = two.call(unruly, "unruly.calls", ()).await?;
    until("the other", async || Ok(two.found("u").await?.context("there")?.waiting == 3)).await?;
    one.cancel(spin).await?;
    assert_eq!(one.cause(spin).await?, Cause::Cancelled);
    assert_eq!((one.result::<u32>(first).await?, one.result::<u32>(second).await?), (1, 2));
    assert_eq!(two.result::<u32>(other).await?, 3);
    Ok(())
}

#[tokio::test]
async fn a_resident_that_is_stopped_ends_behind_its_present_call() -> Result<()> {
    let scene = Scene::waiting(2).await?;
    let mut caller = scene.caller("caller").await?;
    let sleeper = caller.spawn("sleeper.new", (), under("s")?).await?;
    let present = caller.call(sleeper, "sleeper.wait", ("go", "waits")).await?;
    let behind = caller.call(sleeper, "sleeper.tick", ()).await?;
    entry(&scene.pair.linked()?, "waits").await?;
    let stop = caller.ask(ResidentOp::Stop { resident: sleeper }).await?;
    let cause = caller.cause(behind).await?;
    assert_eq!(cause, Cause::ResidentEnded { key: "s".into(), why: "it was stopped".into() });
    let late = caller.failure(sleeper, "sleeper.tick", ()).await?;
    assert_eq!(late, cause);
    scene.pair.linked()?.store().put("go", &1).await?;
    assert_eq!(caller.result::<u64>(present).await?, 1);
    assert_eq!(caller.answer(stop).await?.0.end, Some(End::Stopped));
    // Who asks later is told as well.
    let late = caller.asked(ResidentOp::Await { resident: sleeper }).await?;
    assert_eq!(late.end, Some(End::Stopped));
    Ok(())
}

#[tokio::test]
async fn a_call_that_waits_holds_no_slot_and_ends_in_each_way() -> Result<()> {
    let scene = Scene::waiting(1).await?;
    let linked = scene.pair.linked()?;
    let mut caller = scene.caller("caller").await?;
    let sleeper = caller.spawn("sleeper.new", (), at_once(under("s")?)).await?;
    let waits = caller.call(sleeper, "sleeper.wait", ("go", "waits")).await?;
    entry(&linked, "waits").await?;
    unharmed(&scene.pair.master).await?;
    linked.store().put("go", &1).await?;
    assert_eq!(caller.result::<u64>(waits).await?, 1);
    assert_eq!(caller.value::<u64>(sleeper, "sleeper.doze", (1u64,)).await?, 2);
    // F25: cancelled, and over its time, while it waits.
    let waits = caller.call(sleeper, "sleeper.wait", ("never", "waits again")).await?;
    entry(&linked, "waits again").await?;
    caller.cancel(waits).await?;
    assert_eq!(caller.cause(waits).await?, Cause::Cancelled);
    let late = caller.call_within(sleeper, "sleeper.wait", ("never", "w"), Some(20_000)).await?;
    assert_eq!(caller.cause(late).await?, Cause::DeadlineExceeded);
    assert_eq!(caller.value::<u64>(sleeper, "sleeper.tick", ()).await?, 1, "begun again");
    unharmed(&scene.pair.master).await
}

#[tokio::test]
async fn f16_a_master_that_goes_leaves_its_residents_and_takes_its_calls_along() -> Result<()> {
    let scene = Scene::waiting(1).await?;
    let linked = scene.pair.linked()?;
    let (mut one, mut two) = (scene.caller("one").await?, scene.caller("two").await?);
    let sleeper = one.spawn("sleeper.new", (), under("s")?).await?;
    let _runs = one.call(sleeper, "sleeper.wait", ("go", "waits")).await?;
    entry(&linked, "waits").await?;
    let _dropped = one.call(sleeper, "sleeper.tick", ()).await?;
    let stays = two.call(sleeper, "sleeper.tick", ()).await?;
    until("both", async || Ok(two.found("s").await?.context("there")?.waiting == 2)).await?;
    drop(one);
    until("one to go", async || Ok(two.found("s").await?.context("there")?.waiting == 1)).await?;
    linked.store().put("go", &1).await?;
    // What ran went on; what waited did not run.
    assert_eq!(two.result::<u64>(stays).await?, 2);
    Ok(())
}

#[tokio::test]
async fn who_holds_all_slots_has_its_calls_run_behind_those_of_others() -> Result<()> {
    let scene = Scene::start(2).await?;
    let (mut one, mut two) = (scene.caller("one").await?, scene.caller("two").await?);
    let counter = one.spawn("counter.new", (0u64,), under("c")?).await?;
    let reserve = two.next();
    two.wire.send(reserve, &dpfw_protocol::message::Reserve { wait: true }, &[]).await?;
    two.wire.expect::<dpfw_protocol::message::Reserved>().await?;
    let waits = one.call(counter, "counter.bump", ()).await?;
    until("it to wait", async || Ok(two.found("c").await?.context("there")?.waiting == 1)).await?;
    // The call that came first runs first, in the slot that the second is given.
    assert_eq!(two.value::<u64>(counter, "counter.bump", ()).await?, 2);
    assert_eq!(one.result::<u64>(waits).await?, 1);
    Ok(())
}

#[tokio::test]
async fn what_was_saved_is_there_after_a_restart() -> Result<()> {
    let scene = Scene::start(2).await?;
    let mut caller = scene.caller("caller").await?;
    let each = SpawnAs { saving: Saving::EachCall, ..at_once(under("each")?) };
    let counter = caller.spawn("counter.new", (6u64,), each).await?;
    for n in 7..10 {
        assert_eq!(caller.value::<u64>(counter, "counter.bump", ()).await?, n);
    }
    assert!(matches!(
        caller.failure(counter, "counter.bump_and_panic", ()).await?,
        Cause::Panic { .. }
    ));
    assert_eq!(caller.value::<u64>(counter, "counter.peek", ()).await?, 9);
    // Soon after the first change, without anybody's call.
    let soon = SpawnAs { saving: Saving::After(1), ..at_once(under("soon")?) };
    let counter = caller.spawn("counter.new", (6u64,), soon).await?;
    assert_eq!(caller.value::<u64>(counter, "counter.bump", ()).await?, 7);
    until("it to be kept", async || {
        let boom = caller.failure(counter, "counter.bump_and_panic", ()).await?;
        assert!(matches!(boom, Cause::Panic { .. }), "{boom}");
        let n: u64 = caller.value(counter, "counter.bump", ()).await?;
        Ok(n == 8)
    })
    .await?;
    // One that cannot be saved fails of it; the call did not count.
    let each = SpawnAs { saving: Saving::EachCall, ..at_once(under("fragile")?) };
    let fragile = caller.spawn("fragile.new", ("a", false), each).await?;
    assert!(matches!(caller.failure(fragile, "fragile.write", ("b",)).await?, Cause::Panic { .. }));
    Ok(())
}

#[tokio::test]
async fn a_resident_moves_and_no_call_is_lost() -> Result<()> {
    let scene = Scene::start(1).await?;
    let (there, address) = dpfw_tests::fleet::listening(slave("s2", 1)?).await?;
    let other = dpfw_tests::fleet::master(&[&address]).await?;
    unharmed(&other).await?;
    let mut caller = scene.caller("caller").await?;
    let mut beyond = Caller::dial(&address, "caller", &scene.module).await?;
    let counter = caller.spawn("counter.new", (6u64,), under("c")?).await?;
    assert_eq!(caller.value::<u64>(counter, "counter.bump", ()).await?, 7);
    // It is taken, and waits; what comes meanwhile waits with it.
    let leave = caller.ask(ResidentOp::HandOver { resident: counter }).await?;
    let (reply, payload) = caller.answer(leave).await?;
    let spawn = *reply.spawn.context("its terms")?;
    assert_eq!((spawn.state, spawn.held), (Some(1), true));
    assert_eq!(
        (payload.as_slice(), reply.constructor.as_deref()),
        (&[0x91, 6, 7][..], Some("counter.new"))
    );
    let waits = caller.call(counter, "counter.bump", ()).await?;
    let twice = caller.ask(ResidentOp::HandOver { resident: counter }).await?;
    assert!(caller.answer(twice).await?.0.failure.is_some(), "it is on its way");
    assert_eq!(caller.found("c").await?.context("there")?.stage, Stage::Moving);
    caller.asked(ResidentOp::TakeBack { resident: counter }).await?;
    assert_eq!(caller.result::<u64>(waits).await?, 8, "it stays after all");
    // And now in earnest.
    let leave = caller.ask(ResidentOp::HandOver { resident: counter }).await?;
    let (reply, payload) = caller.answer(leave).await?;
    let spawn = *reply.spawn.context("its terms")?;
    let waits = caller.call(counter, "counter.bump", ()).await?;
    let attempt = beyond.begin_spawn_with("counter.new", &payload, spawn).await?;
    let new = beyond.spawned(attempt).await??.resident.resident;
    let first = beyond.call(new, "counter.bump", ()).await?;
    assert_eq!(beyond.found("c").await?.context("there")?.stage, Stage::Moving);
    let moved = ResidentOp::Moved { resident: counter, to: peer("s2")? };
    assert_eq!(caller.asked(moved).await?.end, Some(End::Moved(peer("s2")?)));
    let gone = Cause::ResidentMoved { key: "c".into(), to: "s2".into() };
    assert_eq!(caller.cause(waits).await?, gone);
    assert_eq!(caller.failure(counter, "counter.bump", ()).await?, gone, "also who comes late");
    beyond.asked(ResidentOp::LetGo { resident: new }).await?;
    assert_eq!(beyond.result::<u64>(first).await?, 9);
    // What offers no state does not go.
    let unruly = caller.spawn("unruly.new", (), under("u")?).await?;
    let leave = caller.ask(ResidentOp::HandOver { resident: unruly }).await?;
    let failure = caller.answer(leave).await?.0.failure.map(Cause::from);
    assert!(matches!(failure, Some(Cause::Rejected { .. })), "{failure:?}");
    drop((there, other));
    Ok(())
}

#[tokio::test]
async fn who_moves_a_resident_and_is_lost_leaves_it_where_it_was() -> Result<()> {
    let scene = Scene::start(1).await?;
    let (mut caller, mut mover) = (scene.caller("caller").await?, scene.caller("mover").await?);
    let counter = caller.spawn("counter.new", (6u64,), under("c")?).await?;
    let leave = mover.ask(ResidentOp::HandOver { resident: counter }).await?;
    let (reply, payload) = mover.answer(leave).await?;
    let terms = SpawnAs { key: under("d")?.key, ..*reply.spawn.context("its terms")? };
    let attempt = mover.begin_spawn_with("counter.new", &payload, terms).await?;
    let held = mover.spawned(attempt).await??.resident.resident;
    let waits = caller.call(counter, "counter.bump", ()).await?;
    let never = caller.call(held, "counter.bump", ()).await?;
    let stays = caller.ask(ResidentOp::TakeBack { resident: counter }).await?;
    assert!(caller.answer(stays).await?.0.failure.is_some(), "it is not this one's to say");
    drop(mover);
    assert_eq!(caller.result::<u64>(waits).await?, 7);
    assert!(matches!(caller.cause(never).await?, Cause::ResidentEnded { .. }));
    Ok(())
}

#[tokio::test]
async fn who_would_move_one_that_fails_before_it_goes_is_told_so() -> Result<()> {
    let scene = Scene::start(1).await?;
    let mut caller = scene.caller("caller").await?;
    let counter = caller.spawn("counter.new", (6u64,), at_once(under("c")?)).await?;
    let fails = caller.call_within(counter, "counter.bump_and_loop", (), Some(500_000)).await?;
    let linked = scene.pair.linked()?;
    until("it to run", async || Ok(linked.describe().await?.running == 1)).await?;
    // It would go behind its present call, with which it fails.
    let leave = caller.ask(ResidentOp::HandOver { resident: counter }).await?;
    assert_eq!(caller.cause(fails).await?, Cause::DeadlineExceeded);
    let (reply, _) = within("the answer", caller.answer(leave)).await??;
    let failure = reply.failure.map(Cause::from);
    let is_busy = matches!(&failure, Some(Cause::Busy { what }) if what.contains("begun again"));
    assert!(is_busy, "{failure:?}");
    assert_eq!(caller.value::<u64>(counter, "counter.bump", ()).await?, 7);
    Ok(())
}

#[tokio::test]
async fn f17_a_drain_lets_the_present_call_end_and_tells_the_others() -> Result<()> {
    let scene = Scene::waiting(2).await?;
    let mut caller = scene.caller("caller").await?;
    let sleeper = caller.spawn("sleeper.new", (), under("s")?).await?;
    let idle = caller.spawn("sleeper.new", (), under("i")?).await?;
    let present = caller.call(sleeper, "sleeper.wait", ("go", "waits")).await?;
    entry(&scene.pair.linked()?, "waits").await?;
    let behind = caller.call(sleeper, "sleeper.tick", ()).await?;
    let (end, other) = (
        caller.ask(ResidentOp::Await { resident: sleeper }).await?,
        caller.ask(ResidentOp::Await { resident: idle }).await?,
    );
    until("both", async || Ok(caller.found("s").await?.context("there")?.waiting == 1)).await?;
    let store = scene.pair.linked()?.store();
    caller.wire.send(0, &dpfw_protocol::message::Drain {}, &[]).await?;
    assert_eq!(caller.cause(behind).await?, Cause::Draining);
    assert_eq!(caller.answer(other).await?.0.end, Some(End::Drained));
    store.put("go", &1).await?;
    assert_eq!(caller.result::<u64>(present).await?, 1);
    assert_eq!(caller.answer(end).await?.0.end, Some(End::Drained));
    let drained = within("the drain", scene.pair.slave.drained()).await?;
    assert_eq!(drained, dpfw::Drained::Clean);
    Ok(())
}

#[tokio::test]
async fn residents_are_listed_in_the_order_of_their_keys() -> Result<()> {
    let scene = Scene::start(2).await?;
    let mut caller = scene.caller("caller").await?;
    for key in ["b/2", "a", "b/1", "c", "b/3"] {
        caller.spawn("counter.new", (0u64,), under(key)?).await?;
    }
    let mut list =
        async |prefix: &str, after: Option<&str>, limit| -> Result<(Vec<String>, bool)> {
            let after = after.map(dpfw_protocol::store::Key::new).transpose()?;
            let op = ResidentOp::List { prefix: prefix.into(), after, limit };
            let reply = caller.asked(op).await?;
            Ok((reply.residents.iter().map(|it| it.key.to_string()).collect(), reply.more))
        };
    assert_eq!(list("", None, 10).await?.0, ["a", "b/1", "b/2", "b/3", "c"]);
    assert_eq!(list("b/", None, 2).await?, (vec!["b/1".into(), "b/2".into()], true));
    assert_eq!(list("b/", Some("b/2"), 2).await?, (vec!["b/3".into()], false));
    assert_eq!(list("", Some("b/3"), 1).await?, (vec!["c".into()], false));
    Ok(())
}

#[tokio::test]
async fn f60_of_more_residents_than_there_may_be_the_next_is_busy() -> Result<()> {
    let mut limits = dpfw::Limits::default();
    limits.residents = 2;
    let scene = Scene::of(Pair::start(slave("s1", 1)?.limits(limits)).await?, false).await?;
    let mut caller = scene.caller("caller").await?;
    let first = caller.spawn("counter.new", (0u64,), under("a")?).await?;
    caller.spawn("counter.new", (0u64,), under("b")?).await?;
    let third = caller.begin_spawn("counter.new", (0u64,), under("c")?).await?;
    let cause = caller.spawned(third).await?.expect_err("one too many");
    assert!(
        matches!(&cause, Cause::Busy { what } if what.contains("limit on residents")),
        "{cause}"
    );
    // One that fails has its place again, and so has one that is stopped.
    assert!(matches!(
        caller.failure(first, "counter.bump_and_panic", ()).await?,
        Cause::Panic { .. }
    ));
    let c = caller.spawn("counter.new", (0u64,), under("c")?).await?;
    caller.asked(ResidentOp::Stop { resident: c }).await?;
    caller.spawn("counter.new", (0u64,), under("d")?).await?;
    unharmed(&scene.pair.master).await
}

#[tokio::test]
async fn tasks_and_calls_share_the_slots() -> Result<()> {
    let scene = Scene::start(1).await?;
    let mut caller = scene.caller("caller").await?;
    let counter = caller.spawn("counter.new", (0u64,), under("c")?).await?;
    let holds = scene.pair.master.dispatch(gate::call("holds".into(), "end".into(), 1));
    entry(&scene.pair.linked()?, "holds").await?;
    let mut calls = Vec::new();
    for _ in 0..10 {
        calls.push(caller.call(counter, "counter.bump", ()).await?);
    }
    until("them to wait", async || Ok(caller.found("c").await?.context("there")?.waiting == 10))
        .await?;
    assert_eq!(caller.unasked(), 0, "the one slot is held");
    scene.pair.linked()?.store().put("end", &1).await?;
    within("the task", holds).await??;
    for (index, call) in calls.into_iter().enumerate() {
        assert_eq!(caller.result::<u64>(call).await?, index as u64 + 1);
    }
    Ok(())
}
