//! The keyed store: what is kept and what goes, values in pieces and in parts, updates.

use anyhow::Result;
use dpfw::store::{Event, What};
use dpfw::{CallExt, Cause, Limit, Limits, LinkedSlave, Master, PeerId, TaskLimits};
use dpfw_test_tasks::{begin_and_spin, count_up, get, keep_on, pin, put, read_part, write_pieces};
use dpfw_tests::fleet::{self, Pair, linked, slave};
use dpfw_tests::lines::Lines;
use dpfw_tests::wait::{until, within};
use futures_util::StreamExt;
use std::time::Duration;

async fn keys(slave: &LinkedSlave) -> Result<Vec<String>> {
    Ok(slave.store().list("").await?.into_iter().map(|entry| entry.key).collect())
}

fn limits(store_bytes: u64) -> Limits {
    let mut limits = Limits::default();
    limits.store_bytes = store_bytes;
    limits
}

/// A field of a line of the log.
fn field<'a>(line: &'a str, name: &str) -> Option<&'a str> {
    line.split_whitespace().find_map(|word| word.strip_prefix(name)?.strip_prefix('='))
}

async fn named(name: &str, address: &str) -> Result<Master> {
    let builder = Master::builder().name(PeerId::new(name)?).slave(address);
    Ok(within("the master to link", builder.build()).await??)
}

#[tokio::test]
async fn updates_of_tasks_and_masters_at_once_lose_nothing() -> Result<()> {
    let (_slave, address) = fleet::listening(slave("s1", 4)?).await?;
    let (one, two) = (fleet::master(&[&address]).await?, fleet::master(&[&address]).await?);
    let calls = || (0..20).map(|_| count_up::call("n".into(), 50)).collect::<Vec<_>>();
    let tasks = async { tokio::try_join!(one.parallel(calls()), two.parallel(calls())) };
    let by_master = async {
        let store = linked(&one, "s1")?.store();
        let mut done = 0;
        while done < 20 {
            // Tasks are many times as quick: that a master gives up is no fault.
            match store.update("n", |n: Option<u64>| n.unwrap_or(0) + 1).await {
                Ok(_) => done += 1,
                Err(error) => anyhow::ensure!(matches!(error.cause(), Cause::Busy { .. })),
            }
        }
        anyhow::Ok(())
    };
    let (tasks, master) = within("all updates", async { tokio::join!(tasks, by_master) }).await?;
    tasks?;
    master?;
    let sum = linked(&two, "s1")?.store().get::<u64>("n").await?;
    assert_eq!(sum, Some(2 * 20 * 50 + 20));
    Ok(())
}

#[tokio::test]
async fn an_update_keeps_the_terms_of_a_value_or_takes_others() -> Result<()> {
    let pair = Pair::simple().await?;
    let store = pair.linked()?.store();
    let of = async || -> Result<_> {
        let entry = store.list("n").await?.remove(0);
        Ok((entry.evictable, entry.ttl, entry.pinned))
    };
    let up = |before: Option<u64>| before.unwrap_or(0) + 1;
    let hour = Duration::from_secs(3600);
    store.put("n", &1u64).ttl(hour).await?;
    assert!(store.pin("n").await?);
    let before = of().await?.1;
    assert_eq!(within("a task's", pair.master.dispatch(count_up::call("n".into(), 2))).await??, 3);
    assert_eq!(store.update("n", up).await?, 4);
    let (evictable, left, pinned) = of().await?;
    assert!(evictable && pinned && left.is_some() && left <= before, "its time goes on");
    assert_eq!(store.update("n", up).evictable().await?, 5);
    assert_eq!(of().await?, (true, None, true));
    assert_eq!(store.update("n", up).ttl(hour).await?, 6);
    assert!(of().await?.1.is_some());
    // A swap sets them, as a put does.
    let now = store.get_versioned::<u64>("n").await?.expect("it is there");
    assert!(store.compare_and_swap("n", now.version, &7u64).await?);
    assert_eq!(of().await?, (false, None, true));
    // What was not there stays.
    assert!(store.remove("n").await?);
    assert_eq!(store.update("n", up).await?, 1);
    assert_eq!(of().await?, (false, None, false));
    Ok(())
}

#[tokio::test]
async fn a_task_writes_what_it_could_not_hold() -> Result<()> {
    let pair = Pair::simple().await?;
    let store = pair.linked()?.store();
    // 16 MiB, by a task that may have 4.
    let call = write_pieces::call("large".into(), 1 << 20, 16, true);
    let few = TaskLimits::new().memory(4 << 20);
    within("the task", pair.master.dispatch(call.limits(few))).await??;
    let part = store.get_range("large", (5 << 20) - 2..(5 << 20) + 2).await?.expect("it is there");
    assert_eq!(&part.value[..], [4, 4, 5, 5]);
    assert!(store.get_range("large", 16 << 20..u64::MAX).await?.expect("there").value.is_empty());
    let read = read_part::call("large".into(), (3 << 20) - 1, (3 << 20) + 1);
    let read = within("the part", pair.master.dispatch(read.limits(few))).await??;
    assert_eq!(read.as_deref(), Some(&[2, 3][..]));
    let missing = pair.master.dispatch(read_part::call("none".into(), 0, 1)).await?;
    assert!(missing.is_none() && store.get_range("none", 0..1).await?.is_none());
    Ok(())
}

#[tokio::test]
async fn a_value_that_is_not_finished_costs_nothing_when_its_task_has_ended() -> Result<()> {
    let pair = Pair::simple().await?;
    let (slave, store) = (pair.linked()?, pair.linked()?.store());
    store.put("k", "old").await?;
    let before = slave.describe().await?.store_bytes;
    pair.master.dispatch(write_pieces::call("k".into(), 1 << 20, 2, false)).await?;
    assert_eq!(slave.describe().await?.store_bytes, before);
    // A guest that never returns is cancelled in the middle of it.
    let spins = pair.master.dispatch(begin_and_spin::call("k".into(), 1 << 20, "a".into()));
    fleet::entry(&slave, "a").await?;
    assert!(slave.describe().await?.store_bytes > before + (1 << 20));
    drop(spins);
    until("its bytes to be given back", async || {
        Ok(slave.describe().await?.store_bytes < before + 1000)
    })
    .await?;
    assert_eq!(store.get::<String>("k").await?.as_deref(), Some("old"));
    super::stage::unharmed(&pair.master).await
}

#[tokio::test]
async fn f58_what_may_go_goes_and_the_rest_stays() -> Result<()> {
    let lines = Lines::capture();
    let pair = Pair::start(slave("s1", 1)?.limits(limits(40_000))).await?;
    let (slave, master) = (pair.linked()?, &pair.master);
    let mut changes = slave.store().watch("").await?;
    let keep = async |key: &str, evictable| {
        master.dispatch(keep_on::call(key.into(), 10_000, evictable, None)).await
    };
    keep("stays", false).await?;
    keep("a", true).await?;
    keep("b", true).await?;
    assert!(master.dispatch(pin::call("a".into(), true)).await?);
    keep("c", true).await?;
    assert_eq!(keys(&slave).await?, ["a", "c", "stays"]);
    assert_eq!(slave.describe().await?.store_evicted, 1);
    keep("more", false).await?;
    assert_eq!(keys(&slave).await?, ["a", "more", "stays"]);
    let error = keep("c", true).await.expect_err("nothing may go");
    assert!(error.to_string().contains("the limit on quota was exceeded"), "{error}");
    let error = slave.store().put("stays", &vec![200u8; 20_000]).await.expect_err("too large");
    assert_eq!(error.cause(), &Cause::Limit { limit: Limit::Quota, allowed: 40_000 });
    // What it was refused for is there as it was.
    let old = slave.store().get_range("stays", 0..u64::MAX).await?.expect("it is there");
    assert!(old.value.len() == 10_000 && old.value.iter().all(|byte| *byte == 1));
    assert!(slave.store().unpin("a").await?);
    keep("c", true).await?;
    assert_eq!(keys(&slave).await?, ["c", "more", "stays"]);
    drop(pair.master);
    let mut evicted = Vec::new();
    while let Some(event) = within("the changes", changes.next()).await? {
        match event {
            Event::Changed(change) if change.what == What::Evicted => evicted.push(change.key),
            Event::Changed(_) => {}
            other => assert_eq!(other, Event::Lost),
        }
    }
    assert_eq!(evicted, ["b", "c", "a"]);
    // Each is said in the log as well, and whose write it was for. Other tests evict none of this
    // length.
    let said = lines.with(&["an entry is evicted", "kind=value", "bytes=10000 "]);
    let said: Vec<_> = said.iter().filter_map(|line| field(line, "key")).collect();
    assert_eq!(said, evicted);
    let lines = lines.with(&["an entry is evicted", "bytes=10000 "]);
    assert!(lines.iter().all(|line| field(line, "owner") == field(line, "writer")), "{lines:?}");
    Ok(())
}

#[tokio::test]
async fn who_is_over_its_share_makes_room_for_the_other() -> Result<()> {
    let (_slave, address) = fleet::listening(slave("s1", 1)?.limits(limits(60_000))).await?;
    let (small, large) = (named("small", &address).await?, named("large", &address).await?);
    let keep = async |master: &Master, key: &str| {
        master.dispatch(keep_on::call(key.into(), 9_000, true, None)).await
    };
    keep(&small, "s/1").await?;
    for key in ["l/1", "l/2", "l/3", "l/4", "l/5"] {
        keep(&large, key).await?;
    }
    // `s/1` was not used for longest, but the other holds five of six.
    keep(&small, "s/2").await?;
    keep(&large, "l/6").await?;
    assert_eq!(keys(&linked(&small, "s1")?).await?, ["l/3", "l/4", "l/5", "l/6", "s/1", "s/2"]);
    let listed = linked(&small, "s1")?.store().list("l/3").await?;
    assert_eq!((listed[0].owner.as_str(), listed[0].evictable), ("large", true));
    Ok(())
}

#[tokio::test]
async fn what_has_its_time_is_gone_behind_it_and_watchers_hear_of_it() -> Result<()> {
    let pair = Pair::simple().await?;
    let store = pair.linked()?.store();
    let mut changes = store.watch("").await?;
    store.put("hour", "long").ttl(Duration::from_secs(3600)).await?;
    let version = store.put("moment", "short").ttl(Duration::from_millis(1)).await?;
    pair.master.dispatch(keep_on::call("task's".into(), 1, false, Some(1))).await?;
    let mut gone = Vec::new();
    while gone.len() < 2 {
        match within("the end of both", changes.next()).await?.expect("the slave is there") {
            Event::Changed(change) if change.what == What::Expired => {
                assert!(change.version > version);
                gone.push(change.key);
            }
            Event::Changed(change) => assert_eq!(change.what, What::Put),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(gone, ["moment", "task's"]);
    assert_eq!(store.get::<String>("moment").await?, None);
    let listed = store.list("").await?;
    assert_eq!((listed.len(), listed[0].key.as_str()), (1, "hour"));
    assert!(listed[0].ttl.is_some_and(|left| left <= Duration::from_secs(3600)));
    // It stays if it is written without a time.
    pair.master.dispatch(put::call("hour".into(), "ever".into())).await?;
    assert_eq!(store.list("").await?[0].ttl, None);
    assert_eq!(pair.master.dispatch(get::call("hour".into())).await?.as_deref(), Some("ever"));
    Ok(())
}
