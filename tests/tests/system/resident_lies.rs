//! F47, F50, F59: masters that say of residents what they may not.

use super::resident_caller::{Caller, under};
use super::scene::{Scene, dispatch};
use super::stage::unharmed;
use anyhow::Result;
use dpfw_protocol::error::Cause;
use dpfw_protocol::ids::{BindId, MethodId, ResidentId};
use dpfw_protocol::message::{
    BindMethod, BindResident, CallFlags, CallResident, Dispatch, Extras, ResidentOp, SpawnAs,
    Withdraw,
};
use dpfw_protocol::store::Key;
use dpfw_test_tasks::add;
use dpfw_tests::fleet::{Pair, slave};
use dpfw_tests::wait::until;

fn call(resident: u64, method: u32) -> CallResident {
    let (resident, method, flags) = (ResidentId(resident), MethodId(method), CallFlags::default());
    CallResident { resident, method, flags, budget_us: None, payload: 1 }
}

const NUMBER: u64 = 1 << 62 | 5;

#[tokio::test]
async fn f50_what_is_said_of_residents_out_of_turn_ends_the_link() -> Result<()> {
    let scene = Scene::start().await?;
    let module = add::task().module().hash();
    // Bound out of turn, in either count.
    for number in [2, u32::MAX] {
        let mut wire = scene.liar().await?;
        let constructor = "counter.new".into();
        let bind = BindResident { bind: BindId(number), module, constructor, expects: None };
        wire.send(0, &bind, &[]).await?;
        scene.refused(wire, "a constructor", "is bound out of turn").await?;
    }
    for number in [1, u32::MAX] {
        let mut wire = scene.liar().await?;
        let name = "counter.bump".into();
        let bind = BindMethod { method: MethodId(number), module, name, expects: None };
        wire.send(0, &bind, &[]).await?;
        scene.refused(wire, "a method", "is bound out of turn").await?;
    }
    // Called without having been bound, and by numbers that are none of calls.
    let mut wire = scene.liar().await?;
    wire.send(NUMBER, &call(1, 0), &[0x90]).await?;
    scene.refused(wire, "an unbound method", "method 0 is not bound").await?;
    for number in [0, 7, (1 << 62) - 1, 1 << 63, u64::MAX] {
        let mut wire = scene.liar().await?;
        wire.send(number, &call(1, 0), &[0x90]).await?;
        scene.refused(wire, "a number", "is no number of a call").await?;
    }
    // A task that is to spawn, and a constructor that is not.
    let mut wire = scene.liar().await?;
    let extras = Extras { spawn: Some(Box::new(under("c")?)), ..Extras::default() };
    let spawns = Dispatch { extras: Some(Box::new(extras)), ..dispatch(0, 0) };
    wire.send(1, &spawns, &[]).await?;
    scene.refused(wire, "a task", "is no constructor").await?;
    let mut wire = scene.liar().await?;
    let constructor = "counter.new".into();
    let bind = BindResident { bind: BindId(1), module, constructor, expects: None };
    wire.send(0, &bind, &[]).await?;
    wire.send(1, &dispatch(1, 0), &[]).await?;
    scene.refused(wire, "a constructor", "spawns nothing").await?;
    scene.end().await
}

#[tokio::test]
async fn f47_a_call_that_is_made_twice_ends_the_link() -> Result<()> {
    let scene = Scene::start().await?;
    let address = &scene.pair.address;
    let mut caller = Caller::dial(address, "liar", add::task().module()).await?;
    let unruly = caller.spawn("unruly.new", (), under("u")?).await?;
    let spin = caller.call_within(unruly, "unruly.spin", (), Some(100_000)).await?;
    until("it to run", async || Ok(caller.found("u").await?.is_some_and(|it| it.waiting == 0)))
        .await?;
    caller.wire.send(spin, &call(unruly.0, 0), &[0x90]).await?;
    scene.refused(caller.wire, "twice", "is under way already").await?;
    // The call goes on without its master, for as long as it may.
    let mut other = Caller::dial(address, "other", add::task().module()).await?;
    let end = other.asked(ResidentOp::Await { resident: unruly }).await;
    assert!(matches!(end.map_err(|e| e.downcast()), Err(Ok(Cause::DeadlineExceeded))));
    scene.end().await
}

#[tokio::test]
async fn f47_residents_of_another_namespace_are_not_there() -> Result<()> {
    let scene = Scene::start().await?;
    let (address, module) = (&scene.pair.address, add::task().module());
    let mut owner = Caller::dial(address, "owner", module).await?;
    let counter = owner.spawn("counter.new", (6u64,), under("c")?).await?;
    let mut liar = Caller::elsewhere(address, "liar", module).await?;
    assert_eq!(liar.found("c").await?, None);
    let not_there = Cause::NoResident { key: format!("#{counter}") };
    assert_eq!(liar.failure(counter, "counter.bump", ()).await?, not_there);
    for op in [
        ResidentOp::Stop { resident: counter },
        ResidentOp::Await { resident: counter },
        ResidentOp::HandOver { resident: counter },
        ResidentOp::TakeBack { resident: counter },
        ResidentOp::LetGo { resident: counter },
        ResidentOp::Moved { resident: counter, to: super::resident_caller::peer("nowhere")? },
    ] {
        let request = liar.ask(op).await?;
        let failure = liar.answer(request).await?.0.failure.map(Cause::from);
        assert_eq!(failure.as_ref(), Some(&not_there));
    }
    let list = ResidentOp::List { prefix: String::new(), after: None, limit: 10 };
    assert!(liar.asked(list).await?.residents.is_empty());
    // Its key is another one there.
    let own = liar.spawn("counter.new", (0u64,), under("c")?).await?;
    assert_eq!(liar.value::<u64>(own, "counter.bump", ()).await?, 1);
    // Not even what became of it is told.
    owner.asked(ResidentOp::Stop { resident: counter }).await?;
    assert_eq!(liar.failure(counter, "counter.bump", ()).await?, not_there);
    assert!(owner.value::<u64>(own, "counter.bump", ()).await.is_err());
    scene.end().await
}

#[tokio::test]
async fn f47_what_is_not_there_or_of_another_kind_is_an_error_of_the_call() -> Result<()> {
    let scene = Scene::start().await?;
    let mut caller = Caller::dial(&scene.pair.address, "liar", add::task().module()).await?;
    let counter = caller.spawn("counter.new", (6u64,), under("c")?).await?;
    for id in [0, counter.0 + 1, u64::MAX] {
        let cause = caller.failure(ResidentId(id), "counter.bump", ()).await?;
        assert_eq!(cause, Cause::NoResident { key: format!("#{id}") });
    }
    // Methods of another class would take its memory for what it is not.
    assert_eq!(caller.value::<u64>(counter, "counter.peek", ()).await?, 6);
    for method in ["unruly.calls", "fragile.text"] {
        let cause = caller.failure(counter, method, ()).await?;
        assert!(matches!(cause, Cause::Mismatch { .. }), "{cause}");
    }
    let cause = caller.failure(counter, "counter.other", ()).await?;
    assert!(matches!(&cause, Cause::MissingTask { known, .. } if known.len() > 3), "{cause}");
    let cause = caller.failure(counter, "counter.skip", ("no number",)).await?;
    assert!(matches!(cause, Cause::BadArguments { .. }), "{cause}");
    // What is over or was never is passed over.
    for number in [NUMBER, 3, u64::MAX >> 1] {
        caller.cancel(number).await?;
        caller.wire.send(number, &Withdraw {}, &[]).await?;
    }
    for op in [ResidentOp::LetGo { resident: counter }, ResidentOp::TakeBack { resident: counter }]
    {
        let request = caller.ask(op).await?;
        let failure = caller.answer(request).await?.0.failure.map(Cause::from);
        assert!(matches!(failure, Some(Cause::Rejected { .. })), "{failure:?}");
    }
    assert_eq!(caller.value::<u64>(counter, "counter.peek", ()).await?, 6);
    // A state that is longer than what came.
    let terms = SpawnAs { key: Key::new("d")?, state: Some(u64::MAX), ..under("d")? };
    let attempt = caller.begin_spawn("counter.new", (6u64,), terms).await?;
    assert!(matches!(caller.spawned(attempt).await?, Err(Cause::BadArguments { .. })));
    scene.end().await
}

#[tokio::test]
async fn f59_a_flood_of_calls_is_bounded_and_others_are_served() -> Result<()> {
    // One slot more than there are calls without end.
    let pair = Pair::start(slave("s1", 2)?).await?;
    unharmed(&pair.master).await?;
    let (address, module) = (&pair.address, add::task().module());
    let mut liar = Caller::dial(address, "liar", module).await?;
    let terms = SpawnAs { mailbox: u32::MAX, ..under("u")? };
    let unruly = liar.spawn("unruly.new", (), terms).await?;
    let spin = liar.call(unruly, "unruly.spin", ()).await?;
    let mut calls = Vec::new();
    for _ in 0..20_000 {
        calls.push(liar.call(unruly, "unruly.calls", ()).await?);
    }
    let last = calls.pop().unwrap_or(spin);
    let cause = liar.cause(last).await?;
    assert!(matches!(&cause, Cause::Busy { .. }), "{cause}");
    let mut honest = Caller::dial(address, "honest", module).await?;
    let counter = honest.spawn("counter.new", (6u64,), under("c")?).await?;
    assert_eq!(honest.value::<u64>(counter, "counter.bump", ()).await?, 7);
    let waiting = honest.found("u").await?.map_or(0, |it| it.waiting);
    assert!(waiting <= 8 * 1024, "{waiting} wait");
    liar.cancel(spin).await?;
    assert_eq!(liar.cause(spin).await?, Cause::Cancelled);
    unharmed(&pair.master).await
}
