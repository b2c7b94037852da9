//! Images of 512 MiB: what ten tasks on one cost together, and what it takes to make it.

use crate::images::{UNDER_WAY, each};
use crate::process::Process;
use crate::report::print;
use anyhow::{Context, Result, ensure};
use dpfw::{Image, Master};
use dpfw_bench_tasks::{heap, peek};
use dpfw_test_waiting::{doze, fill, read_and_write};
use dpfw_tests::memory::proportional_mib;
use dpfw_tests::wait::until;
use std::collections::VecDeque;
use std::path::Path;
use std::time::Instant;

/// The initialised heap.
const MIB: u32 = 512;

/// Tasks at once.
const TASKS: usize = 10;

/// Each writes to every so many-th page: 1 % of them.
const STRIDE: u32 = 100;

/// What ten tasks cost that have read a whole image of 512 MiB and written to 1 % of its pages, the
/// image included: what the slave's process has in memory while none of them has ended, beyond what
/// it had before the image was made. Each page is counted once, page tables are counted. Beside it
/// what that would be if each had a copy; the whole of the process is `image_512mib_slave_mib`.
///
/// The most memory that the slave had while it built the image, by what the image has, is
/// `image_build_peak`; what a fresh sandbox on such an image costs beyond one on the module alone
/// `image_512mib_extra_us`; and what a task takes that reads 50 of its pages, others each time,
/// `image_512mib_peek_us`.
pub(crate) async fn all(cache: &Path, rounds: usize) -> Result<()> {
    let (mut ten, mut whole, mut peaks) = (vec![], vec![], vec![]);
    let (mut extra, mut plain, mut peeks) = (vec![], vec![], vec![]);
    for round in 0..rounds {
        // A slave of its own in each round: what another left behind is not measured.
        let slave = Process::slave(&cache.join(format!("big-{round}")))?;
        let master = Master::builder().slave(&slave.address).build().await?;
        master.dispatch(doze::call(0, 0)).await?;
        let before = proportional_mib(slave.id())?;
        slave.reset_peak()?;
        let image = master.init(fill::call(MIB, 1, round as u64)).await?;
        peaks.push(slave.peak_mib()? / f64::from(MIB));
        let together = together(&master, &image, &slave).await?;
        ten.push(together - before);
        whole.push(together);
        let image = master.init(heap::call(MIB, round as u64)).await?;
        let without = each(&master, None).await?;
        extra.push(each(&master, Some(&image)).await? - without);
        plain.push(without);
        peeks.push(peeked(&image).await?);
    }
    let copies = f64::from(MIB) * TASKS as f64;
    print("image_512mib_ten_tasks_mib", "MiB", &ten, &[copies]);
    print("image_512mib_slave_mib", "MiB", &whole, &[]);
    print("image_build_peak", "times its memory", &peaks, &[]);
    print("image_512mib_extra_us", "us", &extra, &plain);
    print("image_512mib_peek_us", "us", &peeks, &[]);
    Ok(())
}

/// Microseconds of each of many tasks that read here and there.
async fn peeked(image: &Image) -> Result<f64> {
    const PEEKS: u32 = 20_000;
    const PAGES: u32 = 50;
    let calls = (0..PEEKS).map(|n| image.dispatch(peek::call(u64::from(n), PAGES)));
    let begun = Instant::now();
    let mut under_way: VecDeque<_> = VecDeque::new();
    for task in calls {
        under_way.push_back(task);
        if under_way.len() > UNDER_WAY
            && let Some(task) = under_way.pop_front()
        {
            task.await?;
        }
    }
    for task in under_way {
        task.await?;
    }
    Ok(begun.elapsed().as_secs_f64() * 1e6 / f64::from(PEEKS))
}

/// MiB of the slave while all tasks are under way and have done what they do.
async fn together(master: &Master, image: &Image, slave: &Process) -> Result<f64> {
    let linked = master.slaves().pop().context("it is linked")?;
    let store = linked.store();
    let call = |n| read_and_write::call(STRIDE, format!("at/{n}"), "go".into());
    let tasks: Vec<_> = (0..TASKS).map(|n| image.dispatch(call(n))).collect();
    let all = async || Ok(store.list("at/").await?.len() == TASKS);
    until("all tasks to have read and written", all).await?;
    let mib = proportional_mib(slave.id())?;
    store.put("go", &0u64).await?;
    let pages = u64::from((MIB << 8).div_ceil(STRIDE));
    for task in tasks {
        let (before, after) = task.await?;
        ensure!(after == before.wrapping_add(pages), "a task has seen what another one wrote");
    }
    Ok(mib)
}
