//! D9: the pages of an image are there once, however many tasks run on it.

use anyhow::{Context, Result};
use dpfw_test_tasks::{large, sum_once};
use dpfw_test_waiting::{doze, fill, read_and_write};
use dpfw_tests::fleet::{self, Pair};
use dpfw_tests::memory::proportional_mib;
use dpfw_tests::process::Process;
use dpfw_tests::wait::{until, within};
use std::process::Command;

#[tokio::test]
async fn tasks_on_an_image_share_its_pages_and_own_what_they_write() -> Result<()> {
    share_pages(1).await
}

#[tokio::test]
async fn sparse_memory_is_mapped_as_dense_memory_is() -> Result<()> {
    // In a third of its pages there is something, for what is filled begins within a page: an image
    // like this, unless wasmtime is told otherwise, is copied into each sandbox.
    share_pages(6).await
}

/// Tasks at once on an image of which every so many-th page is filled, one and then ten more: each
/// reads all of it, and writes to a hundredth of its pages.
async fn share_pages(filled: u32) -> Result<()> {
    const MIB: u32 = 64;
    const TASKS: u32 = 10;
    const STRIDE: u32 = 100;
    // With a cache of its own: how an image was laid out for an earlier one is no matter.
    let home = tempfile::tempdir()?;
    let mut command = Command::new(env!("CARGO_BIN_EXE_dpfw-test-slave"));
    let slave = Process::with_cache(command.args(["s1", "1"]), home.path()).await?;
    let master = fleet::master(&[&slave.address]).await?;
    master.dispatch(doze::call(0, 0)).await?;
    let before = proportional_mib(slave.id())?;
    let image =
        within("the image", master.init(fill::call(MIB, filled, 1)).into_future()).await??;
    let store = master.slaves().pop().context("it is linked")?.store();
    let call = |n| read_and_write::call(STRIDE, format!("at/{n}"), "go".into());
    let mut tasks = vec![image.dispatch(call(TASKS))];
    let have = async |count| Ok(store.list("at/").await?.len() == count);
    until("the first to have read and written", async || have(1).await).await?;
    let one = proportional_mib(slave.id())? - before;
    tasks.extend((0..TASKS).map(|n| image.dispatch(call(n))));
    until("all to have read and written", async || have(tasks.len()).await).await?;
    let more = proportional_mib(slave.id())? - before - one;
    store.put("go", &0u64).await?;
    let written = u64::from((MIB << 8).div_ceil(STRIDE));
    for task in tasks {
        let (read, after) = task.await?;
        assert_eq!(after, read.wrapping_add(written), "a task has seen what another one wrote");
    }
    // One image, and half of it for what its making may have left.
    let most = 1.5 * f64::from(MIB);
    assert!(one < most, "{one} MiB for one, where {most} were expected at most");
    // A hundredth of it for each task, and as much again and a few MiB for all else.
    let most = 2.0 * f64::from(MIB * TASKS) / f64::from(STRIDE) + 4.0;
    assert!(more < most, "{more} MiB for ten more, where {most} were expected at most");
    Ok(())
}

#[tokio::test]
async fn tasks_that_read_all_of_a_large_image_find_it_as_it_was() -> Result<()> {
    let Pair { master, .. } = &Pair::simple().await?;
    let image = master.init(large::call(64)).await?;
    let pages = (64u64 << 20) / 4096;
    let expected = (1..=pages).map(|n| n * 512).sum::<u64>();
    // Clearing up is slow for all these pages, so they are given back now and then.
    for _ in 0..20 {
        assert_eq!(image.dispatch(sum_once::call()).await?, (expected, 1));
    }
    Ok(())
}
