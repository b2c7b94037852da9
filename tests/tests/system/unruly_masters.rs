//! F8, F16, F47, F50, F59: well-formed messages that come when they should not.

use super::scene::{Scene, dispatch};
use super::stage::unharmed;
use anyhow::{Context, Result};
use dpfw::{Limits, Module, Task};
use dpfw_protocol::error::Cause;
use dpfw_protocol::hello::{PREFACE, Role};
use dpfw_protocol::ids::{AttemptId, BindId};
use dpfw_protocol::message::{
    Bind, Cancel, Close, Credit, Done, Failed, Heartbeat, ModuleBytes, NeedModule, Progress,
    Recall, Release, StoreReply, StoreRequest, close, kind,
};
use dpfw_protocol::store::{Key, StoreOp, Terms};
use dpfw_test_tasks::add;
use dpfw_tests::fleet::{Pair, entry, slave};
use dpfw_tests::peer::{Wire, hello};
use dpfw_tests::wait::within;
use dpfw_tests::wasm::module;

#[tokio::test]
async fn f08_f47_a_task_id_that_was_used_is_refused() -> Result<()> {
    let scene = Scene::start().await?;
    for (first, second) in [(1, 1), (9, 3), (1, 0)] {
        let mut wire = scene.liar().await?;
        wire.send(first, &dispatch(0, 3), &[0x92, 2, 3]).await?;
        let (id, done, result) = wire.expect::<Done>().await?;
        assert_eq!((id, done.payload, &result[..]), (first, 1, &[5][..]));
        wire.send(second, &dispatch(0, 3), &[0x92, 2, 3]).await?;
        scene.refused(wire, "a used id", &format!("attempt {second} is stale")).await?;
    }
    scene.end().await
}

#[tokio::test]
async fn f47_ids_belong_to_their_session() -> Result<()> {
    let scene = Scene::start().await?;
    // The honest master's attempts have these very ids.
    let mut wire = scene.liar().await?;
    for id in 1..20 {
        wire.send(id, &Cancel {}, &[]).await?;
    }
    wire.send(0, &Recall { attempts: (1..20).map(AttemptId).collect() }, &[]).await?;
    wire.send(3, &dispatch(0, 3), &[0x92, 2, 3]).await?;
    assert_eq!(wire.expect::<Done>().await?.0, 3);
    assert!(!scene.runs.is_finished(), "somebody else's cancel was obeyed");
    drop(wire);
    scene.end().await
}

#[tokio::test]
async fn f50_messages_out_of_turn_or_of_the_other_role_are_refused() -> Result<()> {
    let scene = Scene::start().await?;
    let out = |kind: u8| format!("a frame of kind {kind} is out of turn");
    let mut wire = scene.liar().await?;
    wire.send(1, &Progress { done: 1, total: 2 }, &[]).await?;
    scene.refused(wire, "a slave's progress", &out(kind::PROGRESS)).await?;
    let mut wire = scene.liar().await?;
    wire.send(0, &NeedModule { module: add::task().module().hash() }, &[]).await?;
    scene.refused(wire, "a slave's need", &out(kind::NEED_MODULE)).await?;
    let mut wire = scene.liar().await?;
    let reply = StoreReply {
        failure: None,
        hit: true,
        version: 1,
        entries: Vec::new(),
        more: false,
        payload: 0,
    };
    wire.send(7, &reply, &[]).await?;
    scene.refused(wire, "a slave's reply", &out(kind::STORE_REPLY)).await?;
    let mut wire = scene.liar().await?;
    wire.raw(&hello(Role::Master, "again")?.to_bytes()?[PREFACE.len()..]).await?;
    scene.refused(wire, "a second hello", &out(kind::HELLO)).await?;
    for kind in [0, 7, 99, 255] {
        let mut wire = scene.liar().await?;
        wire.frame(kind, 0, &[1, 0, 0x90], true).await?;
        scene.refused(wire, "an unknown kind", &out(kind)).await?;
    }
    let mut wire = scene.liar().await?;
    wire.send(1, &dispatch(7, 1), &[0x90]).await?;
    scene.refused(wire, "a task that is not bound", "task 7 is not bound").await?;
    let mut wire = scene.liar().await?;
    wire.bind(5, add::task().module(), "add").await?;
    scene.refused(wire, "a gap", "task 5 is bound out of turn").await?;
    let mut wire = scene.liar().await?;
    let bind = Bind {
        bind: BindId(1),
        module: add::task().module().hash(),
        task: "x".repeat(1024),
        expects: None,
    };
    wire.send(0, &bind, &[]).await?;
    wire.frame(kind::STORE_REQUEST, 9, &[7, 0, 0x92, 0x81, 0xa3, b'G', b'e', b't', 0x90], true)
        .await?;
    scene.refused(wire, "an operation without a key", "is malformed").await?;
    scene.end().await
}

#[tokio::test]
async fn what_concerns_nothing_is_passed_over() -> Result<()> {
    let scene = Scene::start().await?;
    let mut wire = scene.liar().await?;
    wire.send(0, &Heartbeat {}, &[]).await?;
    wire.send(77, &Cancel {}, &[]).await?;
    wire.send(0, &Recall { attempts: vec![AttemptId(77), AttemptId(0)] }, &[]).await?;
    wire.send(0, &Release {}, &[]).await?;
    wire.send(5, &Credit { bytes: u64::MAX }, &[]).await?;
    wire.send(5, &Credit { bytes: u64::MAX }, &[]).await?;
    wire.frame(kind::CHUNK, 77, b"a stray", true).await?;
    let unasked = ModuleBytes { module: add::task().module().hash(), payload: 3 };
    wire.send(1 << 62, &unasked, b"abc").await?;
    wire.send(1, &dispatch(0, 3), &[0x92, 2, 3]).await?;
    let (id, _, result) = wire.expect::<Done>().await?;
    assert_eq!((id, &result[..]), (1, &[5][..]));
    drop(wire);
    scene.end().await
}

#[tokio::test]
async fn a_module_of_other_bytes_than_its_hash_hurts_only_who_sent_it() -> Result<()> {
    let scene = Scene::start().await?;
    let module = module("(module (func (export \"f\") (result i32) (i32.const 4711)))")?;
    let mut wire = scene.liar().await?;
    let fresh = with_section(&module)?;
    wire.bind(1, &fresh, "f").await?;
    wire.send(1, &dispatch(1, 1), &[0x90]).await?;
    assert_eq!(wire.expect::<NeedModule>().await?.1.module, fresh.hash());
    let honest = scene.pair.master.dispatch(Task::<i32>::new(fresh.clone(), "f").call(&[0; 0])?);
    let forged = ModuleBytes { module: fresh.hash(), payload: 6 };
    wire.send(1 << 62, &forged, b"forged").await?;
    let cause: Cause = wire.expect::<Failed>().await?.1.failure.into();
    assert_eq!(cause, Cause::Rejected { reason: "its bytes do not have its hash".into() });
    assert_eq!(within("the honest task", honest).await??, 4711);
    drop(wire);
    scene.end().await
}

#[tokio::test]
async fn f16_a_master_that_dies_leaves_nothing_behind() -> Result<()> {
    let pair = Pair::simple().await?;
    let linked = pair.linked()?;
    unharmed(&pair.master).await?;
    let mut wire = Wire::master(&pair.address, "mortal").await?;
    wire.bind(0, add::task().module(), "spin").await?;
    let args = [&[0x91, 0xa5][..], b"spins"].concat();
    for id in 1..10 {
        wire.send(id, &dispatch(0, args.len() as u64), &args).await?;
    }
    entry(&linked, "spins").await?;
    let waits = pair.master.dispatch(add::call(20, 22));
    drop(wire);
    assert_eq!(within("the other master's task", waits).await??, 42);
    linked.store().remove("spins").await?;
    for _ in 0..20 {
        unharmed(&pair.master).await?;
    }
    assert!(linked.store().list("spins").await?.is_empty(), "a dead master's task was started");
    Ok(())
}

#[tokio::test]
async fn the_store_is_asked_by_hand() -> Result<()> {
    let scene = Scene::start().await?;
    let mut wire = scene.liar().await?;
    let key = || Key::new("by hand");
    let put =
        StoreRequest { op: StoreOp::Put { key: key()? }, payload: 3, terms: Terms::default() };
    wire.send(1 << 62, &put, b"\xa2hi").await?;
    let (id, reply, _) = wire.expect::<StoreReply>().await?;
    assert!(
        id == 1 << 62 && reply.hit && reply.version > 0 && reply.failure.is_none(),
        "{reply:?}"
    );
    let get =
        StoreRequest { op: StoreOp::Get { key: key()? }, payload: 0, terms: Terms::default() };
    wire.send((1 << 62) + 1, &get, &[]).await?;
    let (_, _, value) = wire.expect::<StoreReply>().await?;
    assert_eq!(value, b"\xa2hi");
    let seen = scene.pair.linked()?.store().get::<String>("by hand").await?;
    assert_eq!(seen.as_deref(), Some("hi"));
    let bye = Close { code: close::DONE, reason: "enough".into() };
    wire.send(0, &bye, &[]).await?;
    assert_eq!(wire.closed().await?, None, "whoever hears a goodbye does not answer");
    scene.end().await
}

#[tokio::test]
async fn f59_a_slave_whose_queue_is_full_says_so() -> Result<()> {
    let mut limits = Limits::default();
    limits.queued = 2;
    let pair = Pair::start(slave("s1", 1)?.limits(limits)).await?;
    unharmed(&pair.master).await?;
    let mut wire = Wire::master(&pair.address, "greedy").await?;
    wire.bind(0, add::task().module(), "spin").await?;
    let args = [&[0x91, 0xa5][..], b"spins"].concat();
    wire.send(1, &dispatch(0, args.len() as u64), &args).await?;
    entry(&pair.linked()?, "spins").await?;
    for id in 2..=4 {
        wire.send(id, &dispatch(0, args.len() as u64), &args).await?;
    }
    let (id, failed, _) = wire.expect::<Failed>().await?;
    let cause: Cause = failed.failure.into();
    assert_eq!((id, cause), (4, Cause::Busy { what: "2 attempts wait at the slave".into() }));
    drop(wire);
    unharmed(&pair.master).await
}

/// The module, as no earlier run of the tests has left it in the cache.
fn with_section(module: &Module) -> Result<Module> {
    let bytes = module.bytes().context("it has bytes")?;
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?.as_nanos();
    let name = format!("\u{4}uniq{now:032}");
    let section = [&[0, name.len() as u8][..], name.as_bytes()].concat();
    Ok(Module::new([&bytes[..], &section].concat()))
}

#[tokio::test]
async fn f22_a_cancel_reaches_an_attempt_wherever_it_is() -> Result<()> {
    let pair = Pair::simple().await?;
    unharmed(&pair.master).await?;
    let mut wire = Wire::master(&pair.address, "fickle").await?;
    wire.bind(0, add::task().module(), "forever").await?;
    // Each is cancelled about when the one before has given its slot back.
    for round in 0..500u64 {
        let ids = round * 10 + 1..round * 10 + 9;
        for id in ids.clone() {
            wire.send(id, &dispatch(0, 1), &[0x90]).await?;
        }
        for id in ids.clone() {
            wire.send(id, &Cancel {}, &[]).await?;
        }
        for _ in ids {
            let cause: Cause = wire.expect::<Failed>().await?.1.failure.into();
            assert_eq!(cause, Cause::Cancelled);
        }
    }
    drop(wire);
    unharmed(&pair.master).await
}

#[tokio::test]
async fn a_dropped_slave_ends_whatever_waits_there() -> Result<()> {
    for _ in 0..5 {
        let pair = Pair::simple().await?;
        unharmed(&pair.master).await?;
        let mut wire = Wire::master(&pair.address, "greedy").await?;
        wire.bind(0, add::task().module(), "spin").await?;
        let args = [&[0x91, 0xa5][..], b"spins"].concat();
        for id in 1..20 {
            wire.send(id, &dispatch(0, args.len() as u64), &args).await?;
        }
        entry(&pair.linked()?, "spins").await?;
        let slave = pair.slave;
        let ended = tokio::task::spawn_blocking(move || drop(slave));
        within("the slave's threads to end", ended).await??;
    }
    Ok(())
}

#[tokio::test]
async fn d7_a_reserved_slave_starts_nothing_of_others_whatever_they_send() -> Result<()> {
    let pair = Pair::start(slave("s1", 2)?).await?;
    unharmed(&pair.master).await?;
    let held = within("the reservation", pair.master.reserve()).await??;
    let mut wire = Wire::master(&pair.address, "pushy").await?;
    wire.bind(0, add::task().module(), "add").await?;
    wire.send(1, &dispatch(0, 3), &[0x92, 2, 3]).await?;
    wire.send(2, &dispatch(0, 3), &[0x92, 2, 3]).await?;
    for i in 0..50 {
        assert_eq!(within("a sum", held.dispatch(add::call(i, 1))).await??, i + 1);
    }
    wire.send(1, &Cancel {}, &[]).await?;
    let (id, failed, _) = wire.expect::<Failed>().await?;
    assert_eq!((id, Cause::from(failed.failure)), (1, Cause::Cancelled));
    drop(held);
    assert_eq!(wire.expect::<Done>().await?.0, 2);
    Ok(())
}
