//! Tasks that watch the keyed store: they hear what masters hear, and hold no slot meanwhile.

use super::get_or_init::{is_idle, waiting};
use super::store_watches::next;
use anyhow::{Context, Result};
use dpfw::{Cause, Limits, Master};
use dpfw_test_tasks::{add, put};
use dpfw_test_waiting::{hear, hear_late, hear_much, need_on, sleeper};
use dpfw_tests::fleet::{self, Pair, entry, linked, listening, slave};
use dpfw_tests::wait::within;
use std::time::Duration;

#[tokio::test]
async fn a_task_hears_what_a_master_hears_and_holds_no_slot_meanwhile() -> Result<()> {
    let mut limits = Limits::default();
    limits.store_bytes = 100_000;
    let pair = Pair::start(slave("s1", 1)?.limits(limits)).await?;
    let (at, store) = (pair.linked()?, pair.linked()?.store());
    let mut changes = store.watch("k/").await?;
    let hears = hear::call("k/".into(), false, "here".into(), "k/end".into());
    let hears = pair.master.dispatch(hears);
    entry(&at, "here").await?;
    for key in ["k/1", "other", "k/2"] {
        store.put(key, "by a master").await?;
        waiting(&at, 1).await?;
    }
    // The slave's one slot is free.
    assert_eq!(within("a sum", pair.master.dispatch(add::call(1, 2))).await??, 3);
    pair.master.dispatch(put::call("k/1".into(), "by a task".into())).await?;
    assert!(store.remove("k/2").await?);
    store.put("k/soon", &1).ttl(Duration::from_millis(1)).await?;
    let mut told = Vec::new();
    while told.last().is_none_or(|last: &String| !last.starts_with("k/soon expired")) {
        let change = next(&mut changes).await?;
        told.push(format!("{} {} {}", change.key, change.what, change.version));
    }
    store.put("k/goes", &vec![1u8; 60_000]).evictable().await?;
    // There is no room for both.
    store.put("large", &vec![1u8; 60_000]).await?;
    let red = Master::builder().slave(&pair.address).namespace(dpfw::Namespace::new("red")?);
    let red = within("the link", red.build()).await??;
    linked(&red, "s1")?.store().put("k/red", "unseen").await?;
    store.put("k/end", &0).await?;
    while told.last().is_none_or(|last| !last.starts_with("k/end")) {
        let change = next(&mut changes).await?;
        told.push(format!("{} {} {}", change.key, change.what, change.version));
    }
    let heard = within("what it heard", hears).await??;
    let words = |line: &String| line.rsplit_once(' ').map(|(words, _)| words.to_owned());
    let expected = [
        "k/1 put",
        "k/2 put",
        "k/1 put",
        "k/2 removed",
        "k/soon put",
        "k/soon expired",
        "k/goes put",
        "k/goes evicted",
        "k/end put",
    ];
    assert_eq!(heard.iter().filter_map(words).collect::<Vec<_>>(), expected);
    assert_eq!(heard, told, "the master was told otherwise");
    is_idle(&at).await
}

#[tokio::test]
async fn a_task_hears_of_what_is_there_first_without_a_gap() -> Result<()> {
    let pair = Pair::start(slave("s1", 1)?).await?;
    let (at, store) = (pair.linked()?, pair.linked()?.store());
    let puts = (0..500).map(|n| store.put(&format!("k/{n:03}"), &n).into_future());
    futures_util::future::try_join_all(puts).await?;
    let hears = hear::call("k/".into(), true, "here".into(), "k/end".into());
    let hears = pair.master.dispatch(hears);
    entry(&at, "here").await?;
    for n in (0..500).rev() {
        store.put(&format!("k/{n:03}"), "again").await?;
    }
    store.put("k/end", &0).await?;
    // Each is told at least once, and last as it is now.
    let mut seen = std::collections::BTreeMap::new();
    for line in within("what it heard", hears).await?? {
        let (words, version) = line.rsplit_once(' ').context("a version")?;
        let key = words.split(' ').next().context("a key")?.to_owned();
        let version: u64 = version.parse()?;
        assert!(seen.insert(key, version) < Some(version), "{line}");
    }
    let there = store.list("k/").await?.into_iter().map(|entry| (entry.key, entry.version));
    assert!(seen == there.collect(), "{} keys", seen.len());
    Ok(())
}

#[tokio::test]
async fn a_task_that_does_not_take_is_told_how_much_it_missed() -> Result<()> {
    let pair = Pair::simple().await?;
    let (at, store) = (pair.linked()?, pair.linked()?.store());
    let late = pair.master.dispatch(hear_late::call("k".into(), "here".into(), "go".into()));
    entry(&at, "here").await?;
    let many = 6000u64;
    for _ in 0..many / 1000 {
        let puts = (0..1000).map(|n| store.put("k", &n).into_future());
        within("the puts", futures_util::future::try_join_all(puts)).await??;
    }
    store.put("go", &0).await?;
    // A few thousand are kept for it.
    assert_eq!(within("what it heard", late).await??, (4096, many - 4096));
    is_idle(&at).await
}

#[tokio::test]
async fn watches_of_tasks_are_bounded_and_end_with_them() -> Result<()> {
    let mut limits = Limits::default();
    limits.watches = 40;
    let pair = Pair::start(slave("s1", 1)?.limits(limits)).await?;
    let (at, store) = (pair.linked()?, pair.linked()?.store());
    let hears = |n, me: &str| pair.master.dispatch(hear_much::call(n, me.into(), "go".into()));
    let refused = async |watches, what: &str| -> Result<()> {
        let error = within("the refusal", hears(watches, "more")).await?.expect_err("too many");
        assert!(error.to_string().contains(what), "{error}");
        Ok(())
    };
    refused(17, "16 prefixes are watched").await?;
    for n in 0..3 {
        // Two have as many as a sandbox may; their master has the rest of what it may.
        let mut tasks = Vec::new();
        for me in ["a", "b"].map(|me| format!("{me}/{n}")) {
            tasks.push(hears(16, &me));
            entry(&at, &me).await?;
        }
        let mut own = Vec::new();
        while let Ok(watch) = store.watch("").await {
            own.push(watch);
        }
        assert!((1..=8).contains(&own.len()), "{}", own.len());
        refused(1, "the slave has 40 watches, or has none left").await?;
        drop((tasks, own));
        is_idle(&at).await?;
    }
    store.put("go", &0).await?;
    within("its end", hears(16, "again")).await??;
    Ok(())
}

#[tokio::test]
async fn what_a_resident_watches_it_watches_for_a_call() -> Result<()> {
    let pair = Pair::simple().await?;
    let resident = pair.linked()?.spawn("r", sleeper::new()).await?;
    for _ in 0..20 {
        // Each was ended with its call: else there would be too many.
        resident.call(sleeper::listen("".into())).await?;
    }
    pair.linked()?.store().put("k", &1).await?;
    let error = resident.call(sleeper::heard()).await.expect_err("it is over");
    assert!(error.to_string().contains("there is no watch"), "{error}");
    Ok(())
}

#[tokio::test]
async fn an_init_watches_nothing() -> Result<()> {
    let pair = Pair::simple().await?;
    let init = dpfw_test_waiting::fill_and_watch::call(1);
    let error = within("the refusal", pair.master.init(init).into_future()).await?;
    let error = error.expect_err("an init sees nothing of the store");
    assert!(matches!(error.cause(), Cause::InitFailed { .. }), "{error}");
    assert!(error.to_string().contains("an init sees nothing of the store"), "{error}");
    Ok(())
}

#[tokio::test]
async fn what_is_built_once_is_kept_on_the_terms_that_were_said() -> Result<()> {
    let (_slave, address) = listening(slave("s1", 2)?).await?;
    let master = fleet::master(&[&address]).await?;
    let store = linked(&master, "s1")?.store();
    let needs = async |key: &str, ttl: Option<u64>, number| -> Result<u64> {
        let call = need_on::call(key.into(), ttl, number);
        Ok(within("the number", master.dispatch(call)).await??)
    };
    assert_eq!(needs("stays", None, 1).await?, 1);
    assert_eq!(needs("a while", Some(3_600_000), 2).await?, 2);
    assert_eq!(needs("stays", Some(1), 3).await?, 1, "it is there");
    let listed = store.list("").await?;
    let terms: Vec<_> = listed.iter().map(|e| (e.evictable, e.ttl.is_some())).collect();
    assert_eq!(terms, [(true, true), (false, false)]);
    // One that is gone at once is built by each.
    assert_eq!(
        (needs("no while", Some(0), 4).await?, needs("no while", Some(0), 5).await?),
        (4, 5)
    );
    Ok(())
}
