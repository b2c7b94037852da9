//! Entries whose building fails: the next of those that wait takes over.

use super::get_or_init::{go, is_idle, waiting};
use anyhow::Result;
use dpfw::{CallExt, Cause, Drained, LinkedSlave, Master, Running, TaskHandle};
use dpfw_test_waiting::{End, need};
use dpfw_tests::fleet::{self, Pair, arrival, dial, entry, linked, listening, quiet, slave};
use dpfw_tests::lines::Lines;
use dpfw_tests::proxy::Proxy;
use dpfw_tests::wait::{until, within};
use std::time::Duration;

fn needs(master: &Master, me: &str, end: End) -> TaskHandle<String> {
    master.dispatch(need::call("k".into(), me.into(), end))
}

/// One builds, and others wait in this order.
async fn queue(master: &Master, at: &LinkedSlave, end: End) -> Result<[TaskHandle<String>; 3]> {
    let first = needs(master, "a", end);
    entry(at, "a").await?;
    let second = needs(master, "b", End::Value);
    waiting(at, 2).await?;
    let third = needs(master, "c", End::Value);
    waiting(at, 3).await?;
    Ok([first, second, third])
}

/// The second takes over, and all but the first get what it builds.
async fn taken_over(at: &LinkedSlave, left: [TaskHandle<String>; 2]) -> Result<()> {
    entry(at, "b").await?;
    waiting(at, 2).await?;
    go(at, "b").await?;
    for handle in left {
        assert_eq!(within("the value", handle).await??, "b");
    }
    assert_eq!(at.store().get::<u64>("+builds").await?, Some(2));
    is_idle(at).await
}

#[tokio::test]
async fn the_next_takes_over_from_one_that_fails_or_panics() -> Result<()> {
    for end in [End::Fails, End::Panics] {
        let pair = Pair::simple().await?;
        let at = pair.linked()?;
        let [first, second, third] = queue(&pair.master, &at, end).await?;
        go(&at, "a").await?;
        let error = within("the error", first).await?.expect_err("it fails");
        match error.cause() {
            Cause::Failed { message } => assert_eq!(message, "a did not build it"),
            Cause::Panic { message, .. } => assert_eq!(message, "a panics"),
            other => panic!("{other}"),
        }
        taken_over(&at, [second, third]).await?;
    }
    Ok(())
}

#[tokio::test]
async fn f22_the_next_takes_over_from_one_that_is_cancelled() -> Result<()> {
    // While it waits, and while it runs.
    for end in [End::Value, End::Spins] {
        let pair = Pair::simple().await?;
        let at = pair.linked()?;
        let [first, second, third] = queue(&pair.master, &at, end).await?;
        if end == End::Spins {
            go(&at, "a").await?;
            until("it to run", async || Ok(at.describe().await?.running == 1)).await?;
        }
        drop(first);
        taken_over(&at, [second, third]).await?;
    }
    Ok(())
}

#[tokio::test]
async fn f23_the_next_takes_over_when_a_deadline_passes() -> Result<()> {
    for end in [End::Value, End::Spins] {
        let pair = Pair::simple().await?;
        let at = pair.linked()?;
        let call = need::call("k".into(), "a".into(), end).timeout(Duration::from_millis(300));
        let first = pair.master.dispatch(call);
        let second = async {
            entry(&at, "a").await?;
            go(&at, if end == End::Spins { "a" } else { "nobody" }).await?;
            Ok::<_, anyhow::Error>(needs(&pair.master, "b", End::Value))
        };
        let second = second.await?;
        let error = within("the deadline", first).await?.expect_err("it never ends");
        assert_eq!(error.cause(), &Cause::DeadlineExceeded);
        entry(&at, "b").await?;
        go(&at, "b").await?;
        assert_eq!(within("the value", second).await??, "b");
        is_idle(&at).await?;
    }
    Ok(())
}

#[tokio::test]
async fn f16_the_next_takes_over_when_the_builders_master_is_gone() -> Result<()> {
    let (_slave, address) = listening(slave("s1", 1)?).await?;
    let (one, two) = (fleet::master(&[&address]).await?, fleet::master(&[&address]).await?);
    let at = linked(&two, "s1")?;
    let first = needs(&one, "a", End::Value);
    entry(&at, "a").await?;
    let second = needs(&two, "b", End::Value);
    waiting(&at, 2).await?;
    one.shutdown().await;
    drop(first);
    entry(&at, "b").await?;
    go(&at, "b").await?;
    assert_eq!(within("the value", second).await??, "b");
    is_idle(&at).await?;
    quiet(&two).await
}

#[tokio::test]
async fn f05_the_next_takes_over_when_the_builders_link_ends_and_the_first_comes_last() -> Result<()>
{
    for end in [Proxy::cut, Proxy::reset] {
        let (_slave, address) = listening(slave("s1", 1)?).await?;
        let proxy = Proxy::before(&address)?;
        let (one, two) =
            (fleet::master(&[proxy.address()]).await?, fleet::master(&[&address]).await?);
        let at = linked(&two, "s1")?;
        let first = needs(&one, "a", End::Value);
        entry(&at, "a").await?;
        let second = needs(&two, "b", End::Value);
        waiting(&at, 2).await?;
        end(&proxy);
        entry(&at, "b").await?;
        // It is linked again, and what it had begun waits now.
        waiting(&at, 2).await?;
        go(&at, "b").await?;
        assert_eq!(within("the value", second).await??, "b");
        assert_eq!(within("the same value", first).await??, "b");
        assert_eq!(at.store().get::<u64>("+builds").await?, Some(2));
        is_idle(&at).await?;
    }
    Ok(())
}

#[tokio::test]
async fn where_all_fail_each_gets_its_own_error() -> Result<()> {
    let lines = Lines::capture();
    let pair = Pair::simple().await?;
    let at = pair.linked()?;
    let names = ["a", "b", "c", "d"];
    let mut all = Vec::new();
    for (n, name) in names.into_iter().enumerate() {
        all.push(needs(&pair.master, name, End::Fails));
        waiting(&at, n as u32 + 1).await?;
    }
    for (name, handle) in names.into_iter().zip(all) {
        // In the order in which they came.
        entry(&at, name).await?;
        go(&at, name).await?;
        let error = within("the error", handle).await?.expect_err("it fails");
        let why = format!("{name} did not build it");
        assert_eq!(error.cause(), &Cause::Failed { message: why.clone() });
        lines.wait_for(&["DEBUG", "the entry `k` was not built", &why]).await?;
    }
    assert_eq!(at.store().get::<u64>("+builds").await?, Some(4));
    is_idle(&at).await
}

#[tokio::test]
async fn f22_one_that_waits_and_is_cancelled_is_passed_over() -> Result<()> {
    let pair = Pair::simple().await?;
    let at = pair.linked()?;
    let [first, second, third] = queue(&pair.master, &at, End::Fails).await?;
    drop(second);
    waiting(&at, 2).await?;
    go(&at, "a").await?;
    assert!(within("the error", first).await?.is_err());
    entry(&at, "c").await?;
    assert!(at.store().list("b").await?.iter().all(|entry| entry.key != "b"), "it has built");
    go(&at, "c").await?;
    assert_eq!(within("the value", third).await??, "c");
    is_idle(&at).await
}

#[tokio::test]
async fn f17_a_drain_waits_for_what_is_built_and_for_those_that_wait() -> Result<()> {
    let pair = Pair::simple().await?;
    let at = pair.linked()?;
    let handles = queue(&pair.master, &at, End::Value).await?;
    let drain = pair.slave.drain(Duration::from_secs(600));
    let ends = async {
        go(&at, "a").await?;
        for handle in handles {
            assert_eq!(handle.await?, "a");
        }
        anyhow::Ok(())
    };
    let (drained, ended) = within("both", async { tokio::join!(drain, ends) }).await?;
    assert_eq!(drained, Drained::Clean);
    ended
}

#[tokio::test]
async fn f17_what_still_waits_when_a_drain_is_over_goes_elsewhere() -> Result<()> {
    let Running { master, listening } =
        Master::builder().listen("127.0.0.1:0").build_listening().await?;
    let [draining, other] = [slave("s1", 1)?.build()?, slave("s2", 1)?.build()?];
    draining.dial(dial(listening[0].to_string()));
    let handles = queue(&master, &arrival(&master, "s1").await?, End::Value).await?;
    other.dial(dial(listening[0].to_string()));
    let at = arrival(&master, "s2").await?;
    let drained = within("the drain", draining.drain(Duration::ZERO)).await?;
    let Drained::Interrupted(unfinished) = drained else { panic!("{drained:?}") };
    assert!(unfinished.len() == 3 && unfinished.iter().all(|one| one.stopped), "{unfinished:?}");
    for name in ["a", "b", "c"] {
        go(&at, name).await?;
    }
    for handle in handles {
        within("the value", handle).await??;
    }
    assert_eq!(at.store().get::<u64>("+builds").await?, Some(1));
    Ok(())
}

#[tokio::test]
async fn d7_what_others_wait_for_is_built_though_the_slots_are_held() -> Result<()> {
    let (_slave, address) = listening(slave("s1", 1)?).await?;
    let (one, two) = (fleet::master(&[&address]).await?, fleet::master(&[&address]).await?);
    let at = linked(&two, "s1")?;
    let builds = needs(&one, "a", End::Value);
    entry(&at, "a").await?;
    waiting(&at, 1).await?;
    let held = within("a reservation", two.reserve()).await??;
    let needs = held.dispatch(need::call("k".into(), "b".into(), End::Value));
    waiting(&at, 2).await?;
    go(&at, "a").await?;
    assert_eq!(within("what is needed", needs).await??, "a");
    assert_eq!(within("what was built", builds).await??, "a");
    drop(held);
    is_idle(&at).await
}
