//! D12, F2, R6: residents are spawned under keys, found by them, listed and stopped.

use anyhow::Result;
use dpfw::store::EntryKind;
use dpfw::{CallExt, Cause, End, Master, MethodCall, Namespace, Stage, Task, Untyped};
use dpfw_test_tasks::{Counter, Unruly, counter, gate, unruly};
use dpfw_tests::fleet::{Pair, entry, linked, listening, master, slave};
use dpfw_tests::wait::{until, within};
use futures_util::future::try_join_all;
use std::collections::BTreeSet;
use std::time::Duration;

#[tokio::test]
async fn d12_a_generator_in_a_slaves_table_is_invoked_twice() -> Result<()> {
    let pair = Pair::simple().await?;
    let held = pair.master.reserve().await?;
    let c = held.spawn("uniqID", counter::new(0)).await?;
    assert_eq!(within("the first", c.call(counter::bump())).await??, 1);
    assert_eq!(within("the second", c.call(counter::bump())).await??, 2);
    assert_eq!(c.to_string(), format!("uniqID (counter) at s1 at {}", pair.address));
    let entries = held.store().list("uniq").await?;
    assert_eq!((entries.len(), entries[0].kind), (1, EntryKind::Resident));
    Ok(())
}

#[tokio::test]
async fn r6_a_resident_is_found_by_its_key_from_any_master_of_the_namespace() -> Result<()> {
    let pair = Pair::simple().await?;
    let c = pair.master.spawn("k", counter::new(6)).await?;
    let other = master(&[&pair.address]).await?;
    let found = other.resident::<Counter>("k").await?;
    assert_eq!(found.call(counter::bump()).await?, 7);
    assert_eq!(c.call(counter::bump()).await?, 8);
    assert_eq!(pair.linked()?.resident::<Counter>("k").await?, c);
    let elsewhere = Namespace::new("elsewhere")?;
    let stranger = Master::builder().slave(&pair.address).namespace(elsewhere).build().await?;
    let error = stranger.resident::<Counter>("k").await.expect_err("it is not theirs");
    assert_eq!(error.cause(), &Cause::NoResident { key: "k".into() });
    assert!(stranger.residents("").await?.is_empty());
    // Theirs has the same key, and is another one.
    let theirs = stranger.spawn("k", counter::new(0)).await?;
    assert_eq!(theirs.call(counter::bump()).await?, 1);
    assert_eq!(c.call(counter::peek()).await?, 8);
    Ok(())
}

#[tokio::test]
async fn a_resident_is_spawned_on_the_slave_that_has_least_to_do() -> Result<()> {
    let (_one, first) = listening(slave("s1", 1)?).await?;
    let (_two, second) = listening(slave("s2", 1)?).await?;
    let master = master(&[&first, &second]).await?;
    let slaves = [linked(&master, "s1")?, linked(&master, "s2")?];
    for n in 0..6 {
        let (busy, idle) = (&slaves[n % 2], &slaves[(n + 1) % 2]);
        let (runs, end) = (format!("runs {n}"), format!("end {n}"));
        let holds = master.dispatch(gate::call(runs.clone(), end.clone(), 1).on(busy));
        entry(busy, &runs).await?;
        let c =
            within("it", master.spawn(format!("k{n}"), counter::new(0)).into_future()).await??;
        assert_eq!(&c.slave(), idle, "{n}");
        busy.store().put(&end, &1).await?;
        within("the task", holds).await??;
    }
    Ok(())
}

#[tokio::test]
async fn f2_a_key_on_two_slaves_is_told_apart_by_slave() -> Result<()> {
    let (_one, first) = listening(slave("s1", 1)?).await?;
    let (_two, second) = listening(slave("s2", 1)?).await?;
    let master = master(&[first, second]).await?;
    let (s1, s2) = (linked(&master, "s1")?, linked(&master, "s2")?);
    s1.spawn("k", counter::new(10)).await?;
    let found = master.resident::<Counter>("k").await?;
    assert_eq!(found.slave(), s1);
    s2.spawn("k", counter::new(20)).await?;
    for error in [
        master.resident::<Counter>("k").await.expect_err("it is on two"),
        master.get_or_spawn("k", counter::new(0)).await.expect_err("it is on two"),
    ] {
        let slaves = vec!["s1".into(), "s2".into()];
        assert_eq!(error.cause(), &Cause::ResidentTwice { key: "k".into(), slaves });
        assert!(error.to_string().ends_with("is on more than one slave: s1, s2"), "{error}");
    }
    assert_eq!(s1.resident::<Counter>("k").await?.call(counter::bump()).await?, 11);
    assert_eq!(s2.resident::<Counter>("k").await?.call(counter::bump()).await?, 21);
    let keys: Vec<_> =
        master.residents("").await?.into_iter().map(|it| it.slave.name().to_string()).collect();
    assert_eq!(keys.iter().collect::<BTreeSet<_>>().len(), 2, "{keys:?}");
    Ok(())
}

#[tokio::test]
async fn of_many_who_get_or_spawn_at_once_one_spawns() -> Result<()> {
    let (_one, first) = listening(slave("s1", 2)?).await?;
    let (_two, second) = listening(slave("s2", 2)?).await?;
    // They see the same slaves, in another order.
    let masters = [master(&[&first, &second]).await?, master(&[&second, &first]).await?];
    let all = (0..20).map(|n| masters[n % 2].get_or_spawn("k", counter::new(0)).into_future());
    let all = within("all of them", try_join_all(all.collect::<Vec<_>>())).await??;
    let calls = all.iter().map(|c| c.call(counter::bump()));
    let mut numbers = within("their calls", try_join_all(calls.collect::<Vec<_>>())).await??;
    numbers.sort_unstable();
    assert_eq!(numbers, (1..=20).collect::<Vec<_>>(), "there is one, and it counts all");
    assert_eq!(masters[0].residents("").await?.len(), 1);
    Ok(())
}

#[tokio::test]
async fn a_taken_key_and_a_constructor_that_fails_leave_no_resident() -> Result<()> {
    let pair = Pair::simple().await?;
    let here = pair.linked()?;
    here.store().put("value", &1).await?;
    here.spawn("k", counter::new(1)).await?;
    for (key, kind) in [("value", EntryKind::Value), ("k", EntryKind::Resident)] {
        let error = here.spawn(key, counter::new(0)).await.expect_err("it is taken");
        assert_eq!(error.cause(), &Cause::KeyTaken { key: key.into(), kind });
    }
    let error = here.get_or_spawn("k", unruly::new()).await.expect_err("it is a counter");
    assert!(matches!(error.cause(), Cause::Mismatch { .. } | Cause::KeyTaken { .. }), "{error}");
    let error = here.spawn("u", unruly::refused("no".into())).await.expect_err("it refuses");
    assert_eq!(error.cause(), &Cause::Failed { message: "no".into() });
    let error = here.spawn("u", unruly::panics("ouch".into())).await.expect_err("it panics");
    assert!(matches!(error.cause(), Cause::Panic { message, .. } if message == "ouch"), "{error}");
    let endless = here.spawn("u", unruly::for_ever()).timeout(Duration::from_millis(50));
    let error = within("the deadline", endless).await?.expect_err("it never ends");
    assert_eq!(error.cause(), &Cause::DeadlineExceeded);
    let error = here.resident::<Unruly>("u").await.expect_err("there is none");
    assert_eq!(error.cause(), &Cause::NoResident { key: "u".into() });
    let error = here.spawn("", unruly::new()).await.expect_err("no key");
    assert!(matches!(error.cause(), Cause::Limit { .. }), "{error}");
    // The key is free again.
    let u = within("another try", here.spawn("u", unruly::new())).await??;
    assert_eq!(u.call(unruly::calls()).await?, 1);
    Ok(())
}

#[tokio::test]
async fn a_class_or_a_method_that_is_otherwise_is_told_before_anything_runs() -> Result<()> {
    let pair = Pair::simple().await?;
    let here = pair.linked()?;
    let c = here.spawn("k", counter::new(1)).await?;
    let error = here.resident::<Unruly>("k").await.expect_err("it is a counter");
    let difference = "`k` is a resident of the class `counter`, not `unruly`".to_owned();
    assert_eq!(error.cause(), &Cause::Mismatch { difference });
    let untyped = here.untyped_resident("k").await?;
    let missing = untyped.method::<u64>("jump", &())?;
    let error = untyped.call(missing).await.expect_err("it has no such method");
    let Cause::MissingTask { known, .. } = error.cause() else { panic!("{error}") };
    assert!(known.contains(&"counter.bump".into()), "{known:?}");
    assert!(!known.iter().any(|it| it.ends_with(".new") || it.ends_with(".save")), "{known:?}");
    // What makes one, or takes its state, is nobody's to call.
    for name in ["new", "load", "save"] {
        let error = untyped.call(untyped.method::<u64>(name, &(7,))?).await.expect_err(name);
        assert!(matches!(error.cause(), Cause::MissingTask { .. }), "{name}: {error}");
    }
    // Another module's word on a method of the same name.
    let foreign = dpfw::Module::known(dpfw::ModuleHash::of(b"another"));
    let task = Task::<u64>::new(foreign, "counter.bump");
    let error = untyped.call(MethodCall::<Untyped, u64>::new(task.call(&())?)).await;
    let error = error.expect_err("nobody can tell whether it is the same");
    assert!(matches!(error.cause(), Cause::Mismatch { .. }), "{error}");
    let bad = untyped.method::<u64>("skip", &("five",))?;
    let error = untyped.call(bad).await.expect_err("that is no number");
    assert!(matches!(error.cause(), Cause::BadArguments { .. }), "{error}");
    assert_eq!(c.call(counter::peek()).await?, 1, "nothing has run");
    Ok(())
}

#[tokio::test]
async fn r9_calls_casts_and_errors_in_their_order() -> Result<()> {
    let pair = Pair::simple().await?;
    let c = pair.master.spawn("k", counter::new(0)).mailbox(16).await?;
    let calls: Vec<_> = (0..500).map(|_| c.call(counter::bump())).collect();
    for (n, call) in calls.into_iter().enumerate() {
        assert_eq!(within("a number", call).await??, n as u64 + 1);
    }
    for _ in 0..100 {
        within("the cast to be sent", c.cast(counter::bump())).await??;
    }
    assert_eq!(within("what is behind the casts", c.call(counter::peek())).await??, 600);
    // An error value is an answer, and no failure.
    let error = c.call(counter::skip(u64::MAX)).await.expect_err("there is no such number");
    assert_eq!(error.cause(), &Cause::Failed { message: "there is no such number".into() });
    assert_eq!(c.call(counter::skip(5)).await?, 605);
    within("the failed cast", c.cast(counter::skip(u64::MAX)).done()).await?.expect_err("failed");
    assert_eq!(c.failed_casts(), 1);
    let info = c.info().await?;
    assert_eq!((info.served, info.restarts, info.stage), (604, 0, Stage::Alive));
    Ok(())
}

#[tokio::test]
async fn residents_are_listed_stopped_and_waited_for() -> Result<()> {
    let pair = Pair::simple().await?;
    let here = pair.linked()?;
    for key in ["b/2", "a/1", "b/1"] {
        here.spawn(key, counter::new(0)).mailbox(7).await?;
    }
    let c = here.resident::<Counter>("b/1").await?;
    c.call(counter::bump()).await?;
    let keys = |all: Vec<dpfw::ResidentInfo>| all.into_iter().map(|it| it.key).collect::<Vec<_>>();
    assert_eq!(keys(here.residents("").await?), ["a/1", "b/1", "b/2"]);
    let listed = here.residents("b/").await?;
    let first = &listed[0];
    assert_eq!((&*first.key, &*first.class, first.mailbox), ("b/1", "counter", 7));
    assert_eq!((first.served, first.waiting, first.saves), (1, 0, true));
    assert!(first.memory_bytes > 0 && first.slave == here, "{first:?}");
    let waits = {
        let c = c.clone();
        tokio::spawn(async move { c.wait().await })
    };
    within("the stop", c.stop()).await??;
    assert_eq!(within("the end", waits).await???, End::Stopped);
    let error = c.call(counter::bump()).await.expect_err("it has ended");
    let (key, why) = ("b/1".into(), "it was stopped".into());
    assert_eq!(error.cause(), &Cause::ResidentEnded { key, why });
    c.stop().await?;
    assert_eq!(keys(here.residents("b").await?), ["b/2"]);
    // To remove the entry ends it as well.
    let d = here.resident::<Counter>("b/2").await?;
    assert!(here.store().remove("b/2").await?);
    assert_eq!(within("the end", d.wait()).await??, End::Stopped);
    until("the key to be free", async || Ok(here.spawn("b/2", counter::new(1)).await.is_ok())).await
}

#[test]
fn blocking_code_spawns_calls_and_casts() -> Result<()> {
    let master = Master::builder().build_blocking()?;
    let c = master.spawn("k", counter::new(0)).join()?;
    c.cast(counter::bump()).join()?;
    let second = c.call(counter::bump());
    assert_eq!((c.call(counter::bump()).join()?, second.join()?), (3, 2));
    Ok(())
}
