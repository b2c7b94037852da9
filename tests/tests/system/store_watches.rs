//! Watching the keyed store, at one slave and at all.

use anyhow::{Context, Result};
use dpfw::store::{Change, Changes, Event, What};
use dpfw::{Cause, Limit, Master};
use dpfw_protocol::changes::{Changed, Unwatch, Watch};
use dpfw_protocol::message::Heartbeat;
use dpfw_test_tasks::{put, remove};
use dpfw_tests::fleet::{self, Pair, linked, slave};
use dpfw_tests::peer::Wire;
use dpfw_tests::wait::{is_pending, until, within};
use futures_util::StreamExt;
use std::collections::BTreeMap;

pub(super) async fn next(changes: &mut Changes) -> Result<Change> {
    match within("a change", changes.next()).await?.context("the watch has ended")? {
        Event::Changed(change) => Ok(change),
        other => anyhow::bail!("{other:?}"),
    }
}

async fn told(changes: &mut Changes) -> Result<(What, String)> {
    let change = next(changes).await?;
    Ok((change.what, change.key))
}

#[tokio::test]
async fn a_master_hears_of_what_others_and_tasks_change() -> Result<()> {
    let (_slave, address) = fleet::listening(slave("s1", 1)?).await?;
    let (one, two) = (fleet::master(&[&address]).await?, fleet::master(&[&address]).await?);
    let mut changes = linked(&one, "s1")?.store().watch("jobs/").await?;
    let store = linked(&two, "s1")?.store();
    let version = store.put("jobs/1", "new").await?;
    store.put("other", "unseen").await?;
    two.dispatch(put::call("jobs/2".into(), "by a task".into())).await?;
    assert!(two.dispatch(remove::call("jobs/1".into())).await?);
    let first = next(&mut changes).await?;
    assert_eq!((first.what, first.key.as_str(), first.version), (What::Put, "jobs/1", version));
    assert_eq!(told(&mut changes).await?, (What::Put, "jobs/2".into()));
    let removed = next(&mut changes).await?;
    assert_eq!((removed.what, removed.key.as_str()), (What::Removed, "jobs/1"));
    assert!(removed.version > version);
    // Another namespace is another store.
    let builder = Master::builder().slave(&address).namespace(dpfw::Namespace::new("red")?);
    let red = within("the link", builder.build()).await??;
    linked(&red, "s1")?.store().put("jobs/red", "unseen").await?;
    store.put("jobs/3", "seen").await?;
    assert_eq!(told(&mut changes).await?, (What::Put, "jobs/3".into()));
    Ok(())
}

#[tokio::test]
async fn what_is_there_comes_first_without_a_gap() -> Result<()> {
    let (_slave, address) = fleet::listening(slave("s1", 2)?).await?;
    let (one, two) = (fleet::master(&[&address]).await?, fleet::master(&[&address]).await?);
    let store = linked(&two, "s1")?.store();
    let puts = (0..500).map(|i| store.put(&format!("k/{i:03}"), &i).into_future());
    futures_util::future::try_join_all(puts).await?;
    // While they are told, all of them change, and the last of them says that it is the last.
    let mut changes = linked(&one, "s1")?.store().watch("").with_present().await?;
    let writes = async {
        for i in (0..500).rev() {
            store.put(&format!("k/{i:03}"), &"again").await?;
        }
        store.put("end", &0).await
    };
    let mut seen = BTreeMap::new();
    let reads = async {
        loop {
            let change = next(&mut changes).await?;
            if change.key == "end" {
                return anyhow::Ok(());
            }
            let before = seen.insert(change.key, change.version);
            assert!(before < Some(change.version));
        }
    };
    let (written, read) = within("all", async { tokio::join!(writes, reads) }).await?;
    written?;
    read?;
    let there = store.list("k/").await?.into_iter().map(|entry| (entry.key, entry.version));
    assert!(seen == there.collect(), "{} keys", seen.len());
    Ok(())
}

#[tokio::test]
async fn a_watch_ends_with_its_stream_and_with_its_link() -> Result<()> {
    let Pair { master, slave, .. } = Pair::simple().await?;
    let store = linked(&master, "s1")?.store();
    let mut all = Vec::new();
    for _ in 0..64 {
        all.push(store.watch("").await?);
    }
    let refused = store.watch("").await.expect_err("one too many");
    assert!(matches!(refused.cause(), Cause::Busy { what } if what.contains("64")), "{refused}");
    drop(all.pop());
    let mut last = store.watch("").await?;
    let refused = store.watch(&"p".repeat(1025)).await.expect_err("no prefix");
    assert!(!matches!(refused.cause(), Cause::Busy { .. } | Cause::SlaveLost { .. }), "{refused}");
    drop(slave);
    assert_eq!(within("the end", last.next()).await?, Some(Event::Lost));
    assert_eq!(within("the end", last.next()).await?, None);
    let lost = store.watch("").await.expect_err("the link is gone");
    assert!(matches!(lost.cause(), Cause::SlaveLost { .. }), "{lost}");
    Ok(())
}

#[tokio::test]
async fn all_slaves_are_watched_those_to_come_too() -> Result<()> {
    let (first, address) = fleet::listening(slave("s1", 1)?).await?;
    let builder = Master::builder().slave(&address).listen("127.0.0.1:0");
    let running = within("the link", builder.build_listening()).await??;
    let master = running.master;
    linked(&master, "s1")?.store().put("old", "1").await?;
    let mut changes = master.watch("").with_present().await?;
    let mut told = async || -> Result<(String, What, String)> {
        match within("a change", changes.next()).await?.context("it goes on")? {
            (slave, Event::Changed(change)) => {
                Ok((slave.name().to_string(), change.what, change.key))
            }
            (slave, _) => Ok((slave.name().to_string(), What::Removed, "all".into())),
        }
    };
    assert_eq!(told().await?, ("s1".into(), What::Present, "old".into()));
    // One that has an entry before it is linked.
    let second = slave("s2", 1)?.build()?;
    let other = second.listen("127.0.0.1:0").await?.to_string();
    let filler = fleet::master(&[&other]).await?;
    linked(&filler, "s2")?.store().put("before", "2").await?;
    second.dial(fleet::dial(running.listening[0].to_string()));
    assert_eq!(told().await?, ("s2".into(), What::Present, "before".into()));
    linked(&filler, "s2")?.store().put("after", "3").await?;
    assert_eq!(told().await?, ("s2".into(), What::Put, "after".into()));
    linked(&master, "s1")?.store().put("here", "4").await?;
    assert_eq!(told().await?, ("s1".into(), What::Put, "here".into()));
    drop(first);
    assert_eq!(told().await?, ("s1".into(), What::Removed, "all".into()));
    linked(&filler, "s2")?.store().remove("after").await?;
    assert_eq!(told().await?, ("s2".into(), What::Removed, "after".into()));
    master.shutdown().await;
    assert_eq!(told().await?, ("s2".into(), What::Removed, "all".into()));
    assert!(within("the end", changes.next()).await?.is_none());
    Ok(())
}

#[tokio::test]
async fn a_caller_that_does_not_take_misses_and_holds_nobody_up() -> Result<()> {
    let (_slave, address) = fleet::listening(slave("s1", 2)?).await?;
    let (one, two) = (fleet::master(&[&address]).await?, fleet::master(&[&address]).await?);
    let mut changes = linked(&one, "s1")?.store().watch("").await?;
    let store = linked(&two, "s1")?.store();
    let many = 30_000u64;
    let puts = futures_util::stream::iter(0..many).map(|i| store.put("k", &i).into_future());
    let mut puts = puts.buffer_unordered(256);
    let all = async {
        while let Some(put) = puts.next().await {
            put?;
        }
        anyhow::Ok(())
    };
    within("the puts", all).await??;
    store.put("end", "").await?;
    // What was told and what was not is all that there was; the last is told, or missed as well.
    let (mut told, mut missed, mut last) = (0, 0, 0);
    while told + missed < many + 1 {
        match within("a change", changes.next()).await?.context("it goes on")? {
            Event::Changed(change) => {
                assert!(change.version > last || change.key == "end");
                last = change.version;
                told += 1;
            }
            Event::Missed(count) => missed += count,
            other => panic!("{other:?}"),
        }
    }
    assert!(missed > 0 && told >= 16 << 10, "{told} told, {missed} missed");
    store.put("now", "").await?;
    assert_eq!(self::told(&mut changes).await?, (What::Put, "now".into()));
    super::stage::unharmed(&one).await
}

#[tokio::test]
async fn a_master_that_does_not_read_is_told_how_much_it_missed() -> Result<()> {
    let pair = Pair::simple().await?;
    let store = pair.linked()?.store();
    let mut deaf = Wire::master(&pair.address, "deaf").await?;
    let watch = Watch { prefix: "k".into(), present: false };
    deaf.send(1 << 62, &watch, &[]).await?;
    let (id, begun, _) = deaf.expect::<Changed>().await?;
    assert_eq!((id, begun.failure, begun.missed, begun.changes.len()), (1 << 62, None, 0, 0));
    // More than lies in all the buffers between the two.
    let (key, many) = ("k".repeat(1024), 20_000);
    for _ in 0..many / 1000 {
        let puts = (0..1000).map(|_| store.put(&key, &1).into_future());
        within("the puts", futures_util::future::try_join_all(puts)).await??;
        deaf.send(0, &Heartbeat {}, &[]).await?;
    }
    let (mut told, mut missed, mut last) = (0, 0, 0);
    while told + missed < many {
        let (_, changed, _) = deaf.expect::<Changed>().await?;
        deaf.send(0, &Heartbeat {}, &[]).await?;
        missed += changed.missed;
        told += changed.changes.len() as u64;
        for change in changed.changes {
            assert!(change.version > last);
            last = change.version;
        }
    }
    assert!(missed > 0 && told + missed == many, "{told} told, {missed} missed");
    // It goes on as if nothing had been.
    let version = store.put("k2", &1).await?;
    let (_, changed, _) = deaf.expect::<Changed>().await?;
    assert_eq!((changed.missed, changed.changes[0].version), (0, version));
    deaf.send(1 << 62, &Unwatch {}, &[]).await?;
    super::stage::unharmed(&pair.master).await
}

#[tokio::test]
async fn a_prefix_has_a_length_and_a_waiting_watch_is_cancel_safe() -> Result<()> {
    let pair = Pair::simple().await?;
    let store = pair.linked()?.store();
    assert!(store.watch(&"p".repeat(1024)).await.is_ok());
    let error = store.put("", &1).await.expect_err("no key");
    assert_eq!(error.cause(), &Cause::Limit { limit: Limit::Key, allowed: 1024 });
    for _ in 0..200 {
        // Dropped before the slave has answered: it is ended there all the same, or there would
        // be too many.
        let mut watch = store.watch("").into_future();
        is_pending(&mut watch).await;
    }
    until("a watch to be taken", async || Ok(store.watch("").await.is_ok())).await?;
    super::stage::unharmed(&pair.master).await
}
