//! F11, F45, F49, F56, F57, F60: more peers than there is room for, and those that waste it.

use super::scene::Scene;
use super::stage::unharmed;
use anyhow::{Context, Result};
use dpfw::{CallExt, Limits, Master, Task};
use dpfw_protocol::hello::Role;
use dpfw_protocol::limits::MAX_HANDSHAKES;
use dpfw_protocol::message::{Heartbeat, close, encode};
use dpfw_test_tasks::add;
use dpfw_tests::fleet::{self, Pair, arrival, slave};
use dpfw_tests::knock::knock;
use dpfw_tests::peer::{Wire, hello};
use dpfw_tests::process::Process;
use dpfw_tests::proxy::Proxy;
use dpfw_tests::wait::{until, within};
use dpfw_tests::wasm::module;
use rustix::process::{Resource, Rlimit, getrlimit, prlimit};
use std::collections::VecDeque;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

#[tokio::test]
async fn f11_a_thousand_peers_come_at_once_and_vanish() -> Result<()> {
    let scene = Scene::start().await?;
    // Each has a descriptor here and one at the slave, in this very process.
    let most = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    let at_once = (most / 4).min(1000) as usize;
    let mut left = 1000;
    while left > 0 {
        let crowd = at_once.min(left);
        left -= crowd;
        let come = (0..crowd).map(|i| {
            let address = scene.pair.address.clone();
            async move {
                let mut stream = TcpStream::connect(address).await?;
                let hello = hello(Role::Master, &format!("peer{i}"))?.to_bytes()?;
                // It may have been told already that there are too many.
                if knock(&mut stream).await.is_ok() {
                    let _ = stream.write_all(&hello).await;
                }
                anyhow::Ok(stream)
            }
        });
        let come = futures_util::future::try_join_all(come);
        let peers = within("the crowd to connect", come).await??;
        unharmed(&scene.pair.master).await?;
        drop(peers);
    }
    let linked = scene.pair.linked()?;
    until("the crowd to be gone", async || Ok(linked.describe().await?.links == 1)).await?;
    // Whoever comes now is welcome.
    unharmed(&fleet::master(&[&scene.pair.address]).await?).await?;
    scene.end().await
}

#[tokio::test]
async fn f45_a_handshake_byte_by_byte_has_no_more_time() -> Result<()> {
    let scene = Scene::start().await?;
    // The whole hello would take some ten seconds.
    let proxy = Proxy::before(&scene.pair.address)?;
    let mut wire = Wire::dial(proxy.address()).await?;
    proxy.there().throttle(20);
    wire.raw(&hello(Role::Master, "slow")?.to_bytes()?).await?;
    wire.preface().await?;
    let closed = wire.closed().await?.context("closed in silence")?;
    assert_eq!(closed.code, close::REFUSED);
    assert_eq!(closed.reason, "the handshake took longer than 2s");
    scene.end().await
}

#[tokio::test]
async fn f49_frames_without_content_without_end_are_cut_off() -> Result<()> {
    let scene = Scene::start().await?;
    let mut frames = Vec::new();
    for _ in 0..1000 {
        encode(&mut frames, dpfw_protocol::ids::ConversationId::LINK, &Heartbeat {}, &[], true)?;
    }
    let mut wire = scene.liar().await?;
    let flood = async {
        while wire.raw(&frames).await.is_ok() {
            unharmed(&scene.pair.master).await?;
        }
        anyhow::Ok(())
    };
    within("the flood to be cut off", flood).await??;
    scene.refused(wire, "a flood", "frames without content, without end").await?;
    scene.end().await
}

#[tokio::test]
async fn f57_beyond_the_limit_on_links_a_master_is_told() -> Result<()> {
    let mut limits = Limits::default();
    limits.links = 3;
    let pair = Pair::start(slave("full", 1)?.limits(limits)).await?;
    let one = Wire::master(&pair.address, "one").await?;
    let _two = Wire::master(&pair.address, "two").await?;
    let linked = pair.linked()?;
    until("three links", async || Ok(linked.describe().await?.links == 3)).await?;
    for _ in 0..20 {
        let error = within("the refusal", Master::builder().slave(&pair.address).build()).await?;
        let text = error.expect_err("there is no room").to_string();
        let words = "the peer closed the link: busy: the slave has 3 links, and takes no more";
        assert!(text.ends_with(words), "{text}");
    }
    // The slave that dials is told as well, and goes on to dial.
    unharmed(&pair.master).await?;
    drop(one);
    until("a place", async || Ok(linked.describe().await?.links == 2)).await?;
    unharmed(&fleet::master(&[&pair.address]).await?).await?;
    unharmed(&pair.master).await
}

#[tokio::test]
async fn f57_a_full_slave_links_a_master_anew() -> Result<()> {
    let mut limits = Limits::default();
    limits.links = 2;
    let pair = Pair::start(slave("full", 1)?.limits(limits)).await?;
    let ours = hello(Role::Master, "again")?;
    let mut older = Wire::dial(&pair.address).await?;
    older.greet(&ours).await?;
    let linked = pair.linked()?;
    until("two links", async || Ok(linked.describe().await?.links == 2)).await?;
    let mut newer = Wire::dial(&pair.address).await?;
    newer.greet(&ours).await?;
    assert_eq!(older.closed().await?.map(|close| close.code), Some(close::SUPERSEDED));
    assert_eq!(linked.describe().await?.links, 2);
    unharmed(&pair.master).await
}

#[tokio::test]
async fn f57_ten_thousand_connections_that_say_nothing() -> Result<()> {
    let scene = Scene::start().await?;
    let mut open = VecDeque::new();
    let mut told = 0;
    for n in 0..10_000 {
        open.push_back(TcpStream::connect(&scene.pair.address).await?);
        if n % 1000 == 0 {
            // The newest gets a link, whoever stands before the door.
            unharmed(&fleet::master(&[&scene.pair.address]).await?).await?;
        }
        if open.len() > MAX_HANDSHAKES + 100 {
            let mut oldest = open.pop_front().context("there are some")?;
            let mut said = Vec::new();
            // A reset is an end as well.
            let read = tokio::io::AsyncReadExt::read_to_end(&mut oldest, &mut said);
            let _ = within("the oldest to be told", read).await?;
            told += usize::from(String::from_utf8_lossy(&said).contains("busy: more than 256"));
        }
    }
    assert!(told > 9_000, "only {told} were told");
    unharmed(&scene.pair.master).await?;
    drop(open);
    scene.end().await
}

/// A slave in a process of its own, and a master that is linked to it.
async fn apart(name: &str) -> Result<(Process, Master)> {
    let process = Process::start(env!("CARGO_BIN_EXE_dpfw-test-slave"), name, 1).await?;
    let master = fleet::master(&[&process.address]).await?;
    unharmed(&master).await?;
    Ok((process, master))
}

/// Limits what the process may have.
fn limit(process: &Process, what: Resource, most: u64) -> Result<()> {
    let old = getrlimit(what);
    let new = Rlimit { current: Some(most), maximum: old.maximum };
    prlimit(Some(process.pid()), what, new)?;
    Ok(())
}

/// A task of a module that nobody has seen.
fn fresh(number: u64) -> Result<Task<i64>> {
    let text = format!("(module (func (export \"f\") (result i64) (i64.const {number})))");
    Ok(Task::new(module(&text)?, "f"))
}

#[tokio::test]
async fn f56_without_descriptors_established_links_go_on() -> Result<()> {
    let (process, master) = apart("p1").await?;
    let opened = || -> Result<u64> {
        let directory = format!("/proc/{}/fd", process.pid().as_raw_nonzero());
        Ok(std::fs::read_dir(directory)?.count() as u64)
    };
    // A few may come; then those are left that the links need.
    limit(&process, Resource::Nofile, opened()? + 40)?;
    let mut open = Vec::new();
    while let Ok(wire) = Wire::master(&process.address, &format!("m{}", open.len())).await {
        open.push(wire);
        assert!(open.len() < 100, "there is no end of them");
    }
    let mut stream = TcpStream::connect(&process.address).await?;
    let mut said = Vec::new();
    let told = tokio::io::AsyncReadExt::read_to_end(&mut stream, &mut said);
    // A reset is an end as well.
    let _ = within("a word of the slave", told).await?;
    let text = String::from_utf8_lossy(&said);
    assert!(text.contains("busy: no descriptors are left"), "{text}");
    // New modules need files.
    for number in 0..3 {
        let task = fresh(u64::from(std::process::id()) << 8 | number)?;
        within("a new module's task", master.dispatch(task.call(&[0; 0])?)).await??;
    }
    // None at all: accepting waits, links go on.
    limit(&process, Resource::Nofile, opened()?.saturating_sub(5))?;
    let waits = TcpStream::connect(&process.address).await?;
    for _ in 0..20 {
        unharmed(&master).await?;
    }
    // When there are some again, whoever comes is linked.
    limit(&process, Resource::Nofile, 512)?;
    drop((open, waits));
    unharmed(&fleet::master(&[&process.address]).await?).await?;
    unharmed(&master).await
}

#[tokio::test]
async fn f60_without_mappings_a_task_is_done_elsewhere() -> Result<()> {
    let (process, master) = apart("p1").await?;
    let pages = std::fs::read_to_string(format!("/proc/{}/statm", process.pid().as_raw_nonzero()))?;
    let pages: u64 = pages.split(' ').next().context("its size")?.parse()?;
    // What is mapped stays; a sandbox beyond the pool, which needs gigabytes, cannot be.
    limit(&process, Resource::As, pages * rustix::param::page_size() as u64 + (64 << 20))?;
    let text = "(module (memory 1) (table 1 funcref) (table 1 funcref) \
                (func (export \"f\") (result i64) (i64.const 7)))";
    let two_tables = Task::<i64>::new(module(text)?, "f");
    let here = within("the refusal", master.dispatch(two_tables.call(&[0; 0])?)).await?;
    let error = here.expect_err("there is no room for it");
    assert!(matches!(error.cause(), dpfw::Cause::Busy { .. }), "{error}");
    // With another slave there is.
    let other = slave("s1", 1)?.build()?;
    let (ours, theirs) = dpfw::ByteStream::pair(1 << 16);
    other.attach(theirs);
    master.attach(ours);
    arrival(&master, "s1").await?;
    for _ in 0..10 {
        let call = two_tables.call(&[0; 0])?;
        assert_eq!(within("the task elsewhere", master.dispatch(call)).await??, 7);
    }
    // And what has a place in the pool runs where it ran before.
    let p1 = fleet::linked(&master, "p1")?;
    assert_eq!(within("a sum there", master.dispatch(add::call(1, 1).on(&p1))).await??, 2);
    Ok(())
}
