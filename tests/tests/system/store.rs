//! D9, F58: the keyed store, from tasks and from masters.

use anyhow::Result;
use dpfw::{Cause, Limit, Limits, Master, Namespace};
use dpfw_test_tasks::{fill, get, increment, keys, put, put_if_absent, remove, swap};
use dpfw_tests::fleet::{self, Pair, linked, slave};
use dpfw_tests::wait::within;

#[tokio::test]
async fn d9_tasks_use_the_store() -> Result<()> {
    let Pair { master, .. } = &Pair::simple().await?;
    let k = || "k".to_owned();
    assert_eq!(master.dispatch(get::call(k())).await?, None);
    let first = master.dispatch(put::call(k(), "a".into())).await?;
    assert!(first > 0);
    assert_eq!(master.dispatch(get::call(k())).await?.as_deref(), Some("a"));
    assert!(!master.dispatch(put_if_absent::call(k(), "b".into())).await?);
    assert!(master.dispatch(put_if_absent::call("l".into(), "b".into())).await?);
    assert_eq!(master.dispatch(swap::call(k(), "c".into(), first + 1000)).await?, None);
    let second = master.dispatch(swap::call(k(), "c".into(), first)).await?.expect("it is first");
    assert!(second > first);
    assert_eq!(master.dispatch(swap::call(k(), "d".into(), first)).await?, None);
    assert_eq!(master.dispatch(keys::call(String::new())).await?, ["k", "l"]);
    assert!(master.dispatch(remove::call(k())).await?);
    assert!(!master.dispatch(remove::call(k())).await?);
    // 0 stands for no entry, and a version is never used again.
    let third = master.dispatch(swap::call(k(), "e".into(), 0)).await?.expect("it is not there");
    assert!(third > second);
    assert_eq!(master.dispatch(get::call(k())).await?.as_deref(), Some("e"));
    Ok(())
}

#[tokio::test]
async fn d9_masters_use_the_store() -> Result<()> {
    let pair = Pair::simple().await?;
    let store = pair.linked()?.store();
    assert_eq!(store.get::<u64>("k").await?, None);
    let version = store.put("k", &1u64).await?;
    let stored = store.get_versioned::<u64>("k").await?.expect("it was put");
    assert_eq!((stored.value, stored.version), (1, version));
    assert!(!store.put_if_absent("k", &2u64).await?);
    assert!(!store.compare_and_swap("k", version + 1000, &2u64).await?);
    assert!(store.compare_and_swap("k", version, &3u64).await?);
    assert!(store.compare_and_swap("new", 0, &4u64).await?);
    assert_eq!(store.get::<u64>("k").await?, Some(3));
    let listed = store.list("").await?;
    let names: Vec<_> = listed.iter().map(|entry| (entry.key.as_str(), entry.bytes)).collect();
    assert_eq!(names, [("k", 1), ("new", 1)]);
    assert!(store.list("nothing").await?.is_empty());
    assert!(store.remove("k").await? && !store.remove("k").await?);
    Ok(())
}

#[tokio::test]
async fn d9_tasks_and_masters_see_the_same_entries() -> Result<()> {
    let (_slave, address) = fleet::listening(slave("s1", 2)?).await?;
    let (one, two) = (fleet::master(&[&address]).await?, fleet::master(&[&address]).await?);
    linked(&one, "s1")?.store().put("from master", "one").await?;
    assert_eq!(two.dispatch(get::call("from master".into())).await?.as_deref(), Some("one"));
    two.dispatch(put::call("from task".into(), "two".into())).await?;
    let seen = linked(&one, "s1")?.store().get::<String>("from task").await?;
    assert_eq!(seen.as_deref(), Some("two"));
    // It outlives its masters.
    one.shutdown().await;
    two.shutdown().await;
    let three = fleet::master(&[&address]).await?;
    assert_eq!(three.dispatch(keys::call("from".into())).await?, ["from master", "from task"]);
    Ok(())
}

#[tokio::test]
async fn d9_namespaces_are_apart() -> Result<()> {
    let (_slave, address) = fleet::listening(slave("s1", 2)?).await?;
    let in_namespace = async |name: &str| -> Result<Master> {
        let builder = Master::builder().slave(&address).namespace(Namespace::new(name)?);
        Ok(within("the link", builder.build()).await??)
    };
    let (red, blue) = (in_namespace("red").await?, in_namespace("blue").await?);
    red.dispatch(put::call("k".into(), "red".into())).await?;
    assert_eq!(blue.dispatch(get::call("k".into())).await?, None);
    blue.dispatch(put::call("k".into(), "blue".into())).await?;
    assert_eq!(red.dispatch(get::call("k".into())).await?.as_deref(), Some("red"));
    assert!(linked(&blue, "s1")?.store().remove("k").await?);
    assert_eq!(red.dispatch(keys::call(String::new())).await?, ["k"]);
    assert!(linked(&blue, "s1")?.store().list("").await?.is_empty());
    Ok(())
}

#[tokio::test]
async fn d9_compare_and_swap_loses_nothing() -> Result<()> {
    let (_slave, address) = fleet::listening(slave("s1", 4)?).await?;
    let (one, two) = (fleet::master(&[&address]).await?, fleet::master(&[&address]).await?);
    let calls = || (0..40).map(|_| increment::call("n".into(), 50)).collect::<Vec<_>>();
    let both = async { tokio::try_join!(one.parallel(calls()), two.parallel(calls())) };
    let by_master = async {
        let store = linked(&one, "s1")?.store();
        for _ in 0..100 {
            loop {
                let before = store.get_versioned::<u64>("n").await?;
                let (value, version) = before.map_or((0, 0), |b| (b.value, b.version));
                if store.compare_and_swap("n", version, &(value + 1)).await? {
                    break;
                }
            }
        }
        anyhow::Ok(())
    };
    let (tasks, master) = within("all increments", async { tokio::join!(both, by_master) }).await?;
    tasks?;
    master?;
    let sum = linked(&two, "s1")?.store().get::<u64>("n").await?;
    assert_eq!(sum, Some(2 * 40 * 50 + 100));
    Ok(())
}

#[tokio::test]
async fn d9_of_many_that_put_if_absent_one_wins() -> Result<()> {
    let pair = Pair::start(slave("s1", 4)?).await?;
    let calls = (0..100).map(|i| put_if_absent::call("k".into(), i.to_string()));
    let won = within("all", pair.master.parallel(calls.collect::<Vec<_>>())).await??;
    assert_eq!(won.iter().filter(|won| **won).count(), 1);
    let winner = won.iter().position(|won| *won).map(|i| i.to_string());
    assert_eq!(pair.linked()?.store().get::<String>("k").await?, winner);
    Ok(())
}

#[tokio::test]
async fn d9_a_listing_has_many_pages() -> Result<()> {
    let pair = Pair::simple().await?;
    let store = pair.linked()?.store();
    let name = |i: u32| format!("{}{i:05}", "long/".repeat(100));
    let puts = (0..1000).map(|i| {
        let store = store.clone();
        async move { store.put(&name(i), &i).await }
    });
    for put in within("the puts", futures_util::future::join_all(puts)).await? {
        put?;
    }
    store.put("other", &1).await?;
    let expected: Vec<_> = (0..1000).map(name).collect();
    let listed = within("the listing", store.list("long/")).await??;
    let listed: Vec<_> = listed.into_iter().map(|entry| entry.key).collect();
    // Not assert_eq: half a MiB of keys tells nobody anything.
    assert!(listed == expected, "{} keys to the master", listed.len());
    let by_task = within("the listing", pair.master.dispatch(keys::call("long/".into()))).await??;
    assert!(by_task == expected, "{} keys to the task", by_task.len());
    Ok(())
}

#[tokio::test]
async fn d9_large_values_travel_in_chunks() -> Result<()> {
    let pair = Pair::simple().await?;
    let store = pair.linked()?.store();
    let text = "0123456789".repeat(1_000_000);
    within("the put", store.put("large", &text).into_future()).await??;
    let back = within("the get", store.get::<String>("large")).await??;
    assert!(back == Some(text.clone()), "the value has changed on its way");
    let seen = within("a task's get", pair.master.dispatch(get::call("large".into()))).await??;
    assert!(seen == Some(text), "the value has changed on its way");
    Ok(())
}

#[tokio::test]
async fn a_value_of_another_type_is_told() -> Result<()> {
    let pair = Pair::simple().await?;
    let store = pair.linked()?.store();
    store.put("n", &7u64).await?;
    let error = store.get::<String>("n").await.expect_err("it is a number");
    assert!(matches!(error.cause(), Cause::BadResult { .. }), "{error}");
    assert!(error.to_string().starts_with("the store of s1: "), "{error}");
    assert!(error.to_string().contains("`n`"), "{error}");
    let error = pair.master.dispatch(get::call("n".into())).await.expect_err("it is a number");
    assert!(error.to_string().contains("the value of `n` has another type"), "{error}");
    Ok(())
}

#[tokio::test]
async fn keys_have_a_length() -> Result<()> {
    let pair = Pair::simple().await?;
    let store = pair.linked()?.store();
    for key in [String::new(), "k".repeat(1025)] {
        let error = store.put(&key, &1).await.expect_err("no key");
        assert_eq!(error.cause(), &Cause::Limit { limit: Limit::Key, allowed: 1024 });
        let error = pair.master.dispatch(put::call(key, "x".into())).await.expect_err("no key");
        assert!(error.to_string().contains("the limit on key was exceeded"), "{error}");
    }
    store.put(&"k".repeat(1024), &1).await?;
    assert!(store.list(&"p".repeat(1024)).await?.is_empty());
    Ok(())
}

#[tokio::test]
async fn a_prefix_that_is_too_long_is_told_and_the_link_stands() -> Result<()> {
    let pair = Pair::simple().await?;
    let store = pair.linked()?.store();
    let outcome = within("the listing", store.list(&"p".repeat(1025))).await?;
    assert!(outcome.is_err(), "{outcome:?}");
    assert!(pair.linked()?.is_linked(), "the link did not survive");
    super::stage::unharmed(&pair.master).await
}

#[tokio::test]
async fn f58_over_quota_the_old_value_stays() -> Result<()> {
    let mut limits = Limits::default();
    limits.store_bytes = 1 << 20;
    limits.store_entries = 3;
    let pair = Pair::start(slave("s1", 1)?.limits(limits)).await?;
    let store = pair.linked()?.store();
    store.put("a", "old").await?;
    let quota = |allowed| Cause::Limit { limit: Limit::Quota, allowed };
    let error = store.put("a", &"x".repeat(1 << 20)).await.expect_err("too large");
    assert_eq!(error.cause(), &quota(1 << 20));
    let error = store.put("a", &"x".repeat(3 << 20)).await.expect_err("too large to be sent");
    assert_eq!(error.cause(), &quota(1 << 20));
    let error = pair.master.dispatch(fill::call("b".into(), 1 << 20)).await.expect_err("too large");
    assert!(error.to_string().contains("the limit on quota was exceeded"), "{error}");
    assert_eq!(store.get::<String>("a").await?.as_deref(), Some("old"));
    assert_eq!(store.list("").await?.len(), 1);
    // What is refused costs nothing, what is removed gives room.
    for _ in 0..5 {
        pair.master.dispatch(fill::call("b".into(), 900_000)).await?;
        assert!(store.remove("b").await?);
    }
    store.put("b", &1).await?;
    store.put("c", &1).await?;
    let entries = Cause::Limit { limit: Limit::Entries, allowed: 3 };
    assert_eq!(store.put("d", &1).await.expect_err("a fourth").cause(), &entries);
    store.put("c", &2).await?;
    super::stage::unharmed(&pair.master).await
}
