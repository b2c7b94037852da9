//! F51, F54, F55: values that outlive their slave.

use anyhow::{Context, Result, ensure};
use dpfw::store::Disk;
use dpfw::{Cause, LinkedSlave, Master, SlaveBuilder, Storage, Store};
use dpfw_test_waiting::{put_durable, remove_durable, sync};
use dpfw_tests::fleet::{self, Pair, linked, slave};
use dpfw_tests::lines::Lines;
use dpfw_tests::process::Process;
use dpfw_tests::wait::{until, within};
use futures_util::future::join_all;
use rustix::process::{Resource, Rlimit, Signal, prlimit};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use tempfile::TempDir;

const SLAVE: &str = env!("CARGO_BIN_EXE_dpfw-test-slave");

/// Where a slave keeps its store. It is made by the slave, as it has to be.
fn place(directory: &TempDir) -> PathBuf {
    directory.path().join("store")
}

fn keeping(directory: &TempDir) -> Result<SlaveBuilder> {
    Ok(slave("s1", 1)?.store(place(directory)))
}

/// A slave in a process of its own, whose files are at most so long.
async fn kept_by(directory: &TempDir, longest: Option<u64>) -> Result<Process> {
    Process::keeping(SLAVE, "s1", &place(directory), longest).await
}

async fn reach(process: &Process) -> Result<(Master, LinkedSlave)> {
    let master = fleet::master(&[&process.address]).await?;
    let there = linked(&master, "s1")?;
    Ok((master, there))
}

#[tokio::test]
async fn values_are_there_again_after_a_restart() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let pair = Pair::start(keeping(&directory)?).await?;
    let store = pair.linked()?.store();
    let version = within("the put", store.put("a", "durable").durable()).await??;
    store.put("b", "soon").await?;
    store.put("c", "gone").durable().await?;
    ensure!(within("the remove", store.remove_durable("c")).await??, "it was there");
    let before = store.list("").await?;
    assert_eq!(pair.linked()?.describe().await?.disk, Disk::Durable);
    drop(pair);

    let pair = Pair::start(keeping(&directory)?).await?;
    let store = pair.linked()?.store();
    let after = store.list("").await?;
    let shown = |all: &[dpfw::Listed]| {
        let one = |it: &dpfw::Listed| (it.key.clone(), it.version, it.owner.clone(), it.bytes);
        all.iter().map(one).collect::<Vec<_>>()
    };
    assert_eq!(shown(&after), shown(&before));
    let found = store.get_versioned::<String>("a").await?.context("it is there")?;
    assert_eq!((found.value.as_str(), found.version), ("durable", version));
    // A swap that began before the restart is none the wiser.
    ensure!(store.compare_and_swap("a", version, "swapped").durable().await?, "not swapped");
    Ok(())
}

#[tokio::test]
async fn what_tasks_write_durably_is_there_again() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let pair = Pair::start(keeping(&directory)?).await?;
    let puts = (0..50).map(|n| put_durable::call(format!("k{n}"), n)).collect::<Vec<_>>();
    within("the tasks", pair.master.parallel(puts)).await??;
    ensure!(pair.master.dispatch(remove_durable::call("k0".into())).await?, "it was there");
    pair.master.dispatch(sync::call()).await?;
    drop(pair);
    let pair = Pair::start(keeping(&directory)?).await?;
    let store = pair.linked()?.store();
    assert_eq!(store.list("k").await?.len(), 49);
    assert_eq!(store.get::<u64>("k7").await?, Some(7));
    Ok(())
}

#[tokio::test]
async fn without_a_directory_what_is_durable_is_refused_and_nothing_is_changed() -> Result<()> {
    let pair = Pair::simple().await?;
    let there = pair.linked()?;
    let absent = Cause::Storage { what: Storage::Absent };
    let error = there.store().put("a", &1).durable().await.expect_err("it has no disk");
    assert_eq!(error.cause(), &absent);
    let error = there.store().remove_durable("a").await.expect_err("it has no disk");
    assert_eq!(error.cause(), &absent);
    let error = pair.master.dispatch(put_durable::call("a".into(), 1)).await;
    let error = error.expect_err("it has no disk").to_string();
    ensure!(error.contains("the slave has no directory for its store"), "{error}");
    assert_eq!(there.store().get::<u64>("a").await?, None);
    assert_eq!(there.describe().await?.disk, Disk::Memory);
    Ok(())
}

#[tokio::test]
async fn a_slave_that_drains_writes_everything() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let process = kept_by(&directory, None).await?;
    let (_master, there) = reach(&process).await?;
    for n in 0..1000u64 {
        there.store().put(&format!("k{n}"), &n).await?;
    }
    process.signal(Signal::TERM)?;
    ensure!(process.ended().await?.success(), "it did not drain");
    let process = kept_by(&directory, None).await?;
    let (_master, there) = reach(&process).await?;
    assert_eq!(there.store().list("k").await?.len(), 1000);
    Ok(())
}

#[tokio::test]
async fn f51_a_full_disk_is_told_and_left_behind() -> Result<()> {
    let directory = tempfile::tempdir()?;
    // No file of the slave may be longer.
    let mut process = kept_by(&directory, Some(16 << 20)).await?;
    let (_master, there) = reach(&process).await?;
    let store = there.store();
    let (full, value) = (Cause::Storage { what: Storage::Full }, "x".repeat(1 << 20));
    let mut acknowledged = 0;
    let error = loop {
        let put = store.put(&format!("k{acknowledged}"), &value).durable().into_future();
        match within("the put", put).await? {
            Ok(_) => acknowledged += 1,
            Err(error) => break error,
        }
        ensure!(acknowledged < 64, "the disk is never full");
    };
    assert_eq!(error.cause(), &full);
    assert_eq!(there.describe().await?.disk, Disk::Full);
    assert_eq!(store.put("more", "small").await.expect_err("full").cause(), &full);
    ensure!(store.get::<String>("k0").await? == Some(value.clone()), "it cannot be read");

    // There is room again.
    prlimit(Some(process.pid()), Resource::Fsize, Rlimit { current: None, maximum: None })?;
    until("the disk to be used again", async || Ok(there.describe().await?.disk == Disk::Durable))
        .await?;
    within("the put", store.put("after", "small").durable()).await??;
    process.kill()?;
    let process = kept_by(&directory, None).await?;
    let (_master, there) = reach(&process).await?;
    assert_eq!(there.store().get::<String>("after").await?.as_deref(), Some("small"));
    for n in 0..acknowledged {
        let found = there.store().get::<String>(&format!("k{n}")).await?;
        ensure!(found.as_ref() == Some(&value), "k{n} was acknowledged and is not there");
    }
    Ok(())
}

#[tokio::test]
async fn f55_a_second_process_is_refused_and_told_why() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let first = kept_by(&directory, None).await?;
    let mut second = Command::new(SLAVE);
    second.args(["s2", "1"]).arg(fleet::cache()?).env("DPFW_TEST_STORE", place(&directory));
    let mut second = second.stdin(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    // It would end with its standard input.
    let _stdin = second.stdin.take();
    let second = second.wait_with_output()?;
    ensure!(!second.status.success(), "it has started");
    let told = String::from_utf8_lossy(&second.stderr);
    let expected = format!("the store of another slave (process {})", first.id());
    ensure!(
        told.contains(&expected) && told.contains(&*place(&directory).to_string_lossy()),
        "{told}"
    );
    // The first notices nothing.
    let (_master, there) = reach(&first).await?;
    within("the put", there.store().put("a", &1).durable()).await??;
    Ok(())
}

/// Writers that each count up a number under a key of their own.
const WRITERS: usize = 16;

/// How often the slave is killed.
const KILLS: u64 = 100;

/// What is known of one key.
#[derive(Default)]
struct Counted {
    sent: AtomicU64,
    acknowledged: AtomicU64,
    version: AtomicU64,
}

/// Counts up until the slave is lost.
async fn count(store: &Store, key: &str, counted: &Counted, all: &AtomicU64) {
    loop {
        let next = counted.sent.fetch_add(1, Ordering::SeqCst) + 1;
        match store.put(key, &next).durable().await {
            Ok(version) => {
                counted.version.store(version, Ordering::SeqCst);
                counted.acknowledged.store(next, Ordering::SeqCst);
                all.fetch_add(1, Ordering::SeqCst);
            }
            Err(_) => return,
        }
    }
}

/// Puts and removes, until the slave is lost; gives the last key whose removal was acknowledged.
async fn come_and_go(store: &Store, round: u64) -> Option<String> {
    let mut last = None;
    for n in 0u64.. {
        let key = format!("gone/{round}/{n}");
        if store.put(&key, &n).durable().await.is_err() || store.remove_durable(&key).await.is_err()
        {
            break;
        }
        last = Some(key);
    }
    last
}

/// Everything that was acknowledged is there, and nothing that was never sent.
async fn check(store: &Store, counted: &[(String, Counted)]) -> Result<()> {
    for (key, counted) in counted {
        let [sent, acknowledged, version] =
            [&counted.sent, &counted.acknowledged, &counted.version]
                .map(|n| n.load(Ordering::SeqCst));
        let found = store.get_versioned::<u64>(key).await?;
        let (value, of) = found.map_or((0, 0), |found| (found.value, found.version));
        ensure!(value >= acknowledged, "{key} has {value}, and {acknowledged} was acknowledged");
        ensure!(value <= sent, "{key} has {value}, and {sent} was the last that was sent");
        let is_it = value == acknowledged;
        ensure!(if is_it { of == version } else { of > version }, "{key} has version {of}");
    }
    Ok(())
}

#[tokio::test]
async fn f54_a_slave_that_is_killed_a_hundred_times_loses_nothing_acknowledged() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let counted: Vec<_> = (0..WRITERS).map(|n| (format!("k{n}"), Counted::default())).collect();
    let mut gone: Option<String> = None;
    for round in 0..KILLS {
        let mut process = kept_by(&directory, None).await?;
        let (master, there) = reach(&process).await?;
        let store = there.store();
        check(&store, &counted).await?;
        if let Some(key) = gone.take() {
            ensure!(store.get::<u64>(&key).await?.is_none(), "{key} was removed, and is back");
        }
        // Each kill meets another moment.
        let (acknowledged, enough) = (AtomicU64::new(0), 10 + round * 7 % 53);
        let writers =
            counted.iter().map(|(key, counted)| count(&store, key, counted, &acknowledged));
        let kill = async {
            until("writes to be acknowledged", async || {
                Ok(acknowledged.load(Ordering::SeqCst) >= enough)
            })
            .await?;
            process.kill()
        };
        let all = async { tokio::join!(join_all(writers), come_and_go(&store, round), kill) };
        let (_, removed, killed) = within("the slave to be killed", all).await?;
        killed?;
        gone = removed;
        master.shutdown().await;
    }
    let process = kept_by(&directory, None).await?;
    let (_master, there) = reach(&process).await?;
    check(&there.store(), &counted).await
}

#[tokio::test]
async fn f54_what_a_kill_left_is_said_to_be_the_last_whole_commit() -> Result<()> {
    let lines = Lines::capture();
    let directory = tempfile::tempdir()?;
    let place = place(&directory).to_string_lossy().into_owned();
    let mut process = kept_by(&directory, None).await?;
    let (_master, there) = reach(&process).await?;
    within("the put", there.store().put("a", &1).durable()).await??;
    process.kill()?;
    let said = "the store was not closed: its last whole commit is there";
    drop(keeping(&directory)?.build()?);
    lines.wait_for(&[said, &place]).await?;
    drop(keeping(&directory)?.build()?);
    assert_eq!(lines.with(&[said, &place]).len(), 1, "it was closed in order");
    Ok(())
}
