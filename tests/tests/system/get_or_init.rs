//! Entries that are built once: who builds, who waits, and who goes on meanwhile.

use anyhow::Result;
use dpfw::{Cause, Facts, Limit, Limits, LinkedSlave};
use dpfw_test_tasks::add;
use dpfw_test_waiting::{End, need, need_both, need_number, need_too_much};
use dpfw_tests::fleet::{self, Pair, entry, linked, listening, quiet, slave};
use dpfw_tests::wait::{until, within};

/// Waits until so many sandboxes wait at the slave.
pub(super) async fn waiting(slave: &LinkedSlave, most: u32) -> Result<()> {
    let what = format!("{most} sandboxes to wait");
    until(&what, async || Ok(slave.describe().await?.waiting == most)).await
}

/// Nothing waits or runs at the slave.
pub(super) async fn is_idle(slave: &LinkedSlave) -> Result<()> {
    until("the slave to be idle", async || {
        let it = slave.describe().await?;
        Ok((it.running, it.waiting, it.sandboxes, it.queued) == (0, 0, 0, 0))
    })
    .await
}

/// Lets one that builds go on.
pub(super) async fn go(slave: &LinkedSlave, who: &str) -> Result<()> {
    slave.store().put(&format!("{who}/go"), &0u64).await?;
    Ok(())
}

#[tokio::test]
async fn of_a_hundred_tasks_one_builds_and_the_others_wait_without_a_slot() -> Result<()> {
    let (_slave, address) = listening(slave("s1", 2)?).await?;
    let (one, two) = (fleet::master(&[&address]).await?, fleet::master(&[&address]).await?);
    let at = linked(&one, "s1")?;
    let call = || need::call("k".into(), "n".into(), End::Value);
    let all: Vec<_> = (0..50).flat_map(|_| [one.dispatch(call()), two.dispatch(call())]).collect();
    waiting(&at, 100).await?;
    // The slots are free, for both masters.
    for master in [&one, &two] {
        let sums = master.parallel((0..100).map(|n| add::call(n, 1)).collect::<Vec<_>>());
        assert_eq!(within("the sums", sums).await??, (1..=100).collect::<Vec<_>>());
    }
    let it = at.describe().await?;
    assert_eq!((it.running, it.waiting, it.sandboxes), (0, 100, 100));
    go(&at, "n").await?;
    for handle in all {
        assert_eq!(within("the value", handle).await??, "n");
    }
    assert_eq!(at.store().get::<u64>("+builds").await?, Some(1), "it was built again");
    is_idle(&at).await?;
    // It is there from now on, for whoever comes.
    assert_eq!(within("the value", two.dispatch(call())).await??, "n");
    assert_eq!(at.store().get::<u64>("+builds").await?, Some(1), "it was built again");
    quiet(&one).await
}

#[tokio::test]
async fn maps_of_tasks_that_wait_find_what_was_built() -> Result<()> {
    let pair = Pair::start(slave("s1", 2)?).await?;
    for (n, isolated) in [(1, false), (2, true)] {
        let keys = || (0..300).map(|n| format!("k{}/{isolated}", n % 3));
        let map = pair.master.map(keys(), need_number::call).chunk(20);
        let map = if isolated { map.isolated() } else { map };
        let numbers = within("the map", map.all()).await??;
        assert_eq!(numbers, keys().map(|key| key.len() as u64).collect::<Vec<_>>());
        let builds = pair.linked()?.store().get::<u64>("+builds").await?;
        assert_eq!(builds, Some(3 * n), "of three entries each was built once");
    }
    Ok(())
}

#[tokio::test]
async fn namespaces_build_for_themselves() -> Result<()> {
    let (_slave, address) = listening(slave("s1", 1)?).await?;
    let builder = dpfw::Master::builder().slave(&address);
    let red = builder.namespace(dpfw::Namespace::new("red")?).build();
    let red = within("the link", red).await??;
    let blue = fleet::master(&[&address]).await?;
    let of_red = red.dispatch(need::call("k".into(), "red".into(), End::Value));
    let of_blue = blue.dispatch(need::call("k".into(), "blue".into(), End::Value));
    for (master, who) in [(&red, "red"), (&blue, "blue")] {
        entry(&linked(master, "s1")?, who).await?;
        go(&linked(master, "s1")?, who).await?;
    }
    assert_eq!(within("one value", of_red).await??, "red");
    assert_eq!(within("the other", of_blue).await??, "blue");
    Ok(())
}

#[tokio::test]
async fn what_a_master_has_put_meanwhile_is_what_all_get() -> Result<()> {
    let pair = Pair::simple().await?;
    let at = pair.linked()?;
    let builds = pair.master.dispatch(need::call("k".into(), "a".into(), End::Value));
    entry(&at, "a").await?;
    let waits = pair.master.dispatch(need::call("k".into(), "b".into(), End::Value));
    waiting(&at, 2).await?;
    at.store().put("k", "put").await?;
    go(&at, "a").await?;
    assert_eq!(within("the builder's", builds).await??, "put");
    assert_eq!(within("the other's", waits).await??, "put");
    Ok(())
}

#[tokio::test]
async fn two_that_need_what_the_other_one_builds_are_told() -> Result<()> {
    let pair = Pair::simple().await?;
    let at = pair.linked()?;
    let both = |first: &str, second: &str, me: &str| {
        pair.master.dispatch(need_both::call(first.into(), second.into(), me.into()))
    };
    let (a, b) = (both("x", "y", "a"), both("y", "x", "b"));
    entry(&at, "a").await?;
    entry(&at, "b").await?;
    go(&at, "a").await?;
    // It waits for what the other builds.
    until("the gate to be passed", async || {
        Ok(at.describe().await?.waiting == 2 && !a.is_finished())
    })
    .await?;
    go(&at, "b").await?;
    let (a, b) = (within("one", a).await?, within("the other", b).await?);
    let (error, value) = match (a, b) {
        (Ok(value), Err(error)) | (Err(error), Ok(value)) => (error, value),
        other => panic!("{other:?}"),
    };
    assert!(matches!(error.cause(), Cause::Ring { keys } if keys.len() == 2), "{error}");
    assert!(error.to_string().contains("the task waits for itself: it asks for"), "{error}");
    assert!(["a", "b"].contains(&value.as_str()), "{value}");
    // Its own is a ring as well.
    let own = both("z", "z", "c");
    entry(&at, "c").await?;
    go(&at, "c").await?;
    let error = within("its own", own).await?.expect_err("it waits for itself");
    assert_eq!(error.cause(), &Cause::Ring { keys: vec!["z".into()] });
    is_idle(&at).await
}

#[tokio::test]
async fn f58_what_the_store_has_no_room_for_is_each_ones_own_error() -> Result<()> {
    let mut limits = Limits::default();
    limits.store_bytes = 100_000;
    let pair = Pair::start(slave("s1", 2)?.limits(limits)).await?;
    let calls = (0..4).map(|_| need_too_much::call("k".into(), 200_000));
    let handles: Vec<_> = calls.map(|call| pair.master.dispatch(call)).collect();
    for handle in handles {
        let error = within("the error", handle).await?.expect_err("no room");
        assert!(error.to_string().contains("the limit on quota was exceeded"), "{error}");
    }
    assert_eq!(pair.linked()?.store().get::<u64>("+builds").await?, Some(4));
    is_idle(&pair.linked()?).await
}

#[test]
fn a_module_imports_what_waits_only_if_it_calls_it() -> Result<()> {
    let facts = |module: &dpfw::Module| -> Result<Facts> {
        let bytes = module.bytes().expect("compiled with the tests");
        Ok(Facts::of(bytes, &Limits::default())?)
    };
    let plain = facts(add::task().module())?;
    assert!(plain.imports.iter().any(|(_, name)| name == "store_get"), "it uses the store");
    assert!(
        !plain
            .imports
            .iter()
            .any(|(_, name)| name.starts_with("store_c") && name != "store_compare_and_swap")
    );
    let waits = |name: &str| name == "store_wait" || name.starts_with("store_watch");
    assert!(!plain.waits && !plain.imports.iter().any(|(_, name)| waits(name)));
    assert!(facts(need::task().module())?.waits);
    let limit = Limit::Claims;
    assert_eq!(limit.amount(64), "64 entries");
    Ok(())
}
