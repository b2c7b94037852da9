//! What an image costs: to build, to start from, and to send.

use crate::process::Process;
use crate::report::print;
use crate::tcp;
use anyhow::{Context, Result, ensure};
use dpfw::{CallExt, Image, Master, Origin, Transfer};
use dpfw_bench_tasks::{fresh_add, heap};
use std::collections::VecDeque;
use std::path::Path;
use std::time::Instant;

/// The initialised heap.
const MIB: u32 = 64;

/// Tasks in a round, and how many of them are under way at once.
const TASKS: usize = 50_000;
pub(crate) const UNDER_WAY: usize = 1_024;

/// A fresh sandbox on an image beside one on the module alone, and what building it takes beyond
/// its init. Both at a slave with one slot.
pub(crate) async fn all(slave: &Process, rounds: usize) -> Result<()> {
    let master = Master::builder().slave(&slave.address).build().await?;
    let (mut extra, mut plain, mut builds, mut inits) = (vec![], vec![], vec![], vec![]);
    for round in 0..=rounds {
        // Another one in each round: the slave keeps what it has built.
        let image = master.init(heap::call(MIB, round as u64 + 1)).await?;
        let places = image.places().await;
        let place = places.first().context("it was built")?;
        let without = each(&master, None).await?;
        let with = each(&master, Some(&image)).await?;
        if round > 0 {
            builds.push(place.took.saturating_sub(place.init).as_secs_f64() * 1e3);
            inits.push(place.init.as_secs_f64() * 1e3);
            plain.push(without);
            extra.push(with - without);
        }
    }
    print("image_64mib_extra_us", "us", &extra, &plain);
    print("image_build_ms", "ms", &builds, &inits);
    Ok(())
}

/// Microseconds for each of many tasks under way.
pub(crate) async fn each(master: &Master, image: Option<&Image>) -> Result<f64> {
    let dispatch = |i: i64| match image {
        Some(image) => image.dispatch(fresh_add::call(i, 1)),
        None => master.dispatch(fresh_add::call(i, 1)),
    };
    let check = |(count, sum): (u32, i64), expected: i64| {
        ensure!(count == 1 && sum == expected, "a sandbox was used {count} times");
        Ok(())
    };
    // The first maps what it runs in.
    check(dispatch(0).await?, 1)?;
    let start = Instant::now();
    let mut under_way = VecDeque::with_capacity(UNDER_WAY);
    for i in 0..TASKS as i64 {
        if under_way.len() == UNDER_WAY
            && let Some((expected, task)) = under_way.pop_front()
        {
            check(task.await?, expected)?;
        }
        under_way.push_back((i + 1, dispatch(i)));
    }
    for (expected, task) in under_way {
        check(task.await?, expected)?;
    }
    Ok(start.elapsed().as_secs_f64() * 1e6 / TASKS as f64)
}

/// What an image of 64 MiB takes at a slave that has it on disk: its process was started again on the
/// cache in which an earlier one has built it. Measured is from the link to the first task's result;
/// beside it what building it took. The system has the files in memory: what is measured is dpfw, and
/// not a disk.
pub(crate) async fn kept(cache: &Path, rounds: usize) -> Result<()> {
    let cache = cache.join("kept");
    let (mut kept, mut built) = (vec![], vec![]);
    for round in 0..=rounds {
        // Each process is another one, and only the first finds nothing.
        let slave = Process::slave(&cache)?;
        let master = Master::builder().slave(&slave.address).build().await?;
        let begun = Instant::now();
        let image = master.init(heap::call(MIB, 0)).await?;
        image.dispatch(fresh_add::call(1, 1)).await?;
        let took = begun.elapsed().as_secs_f64() * 1e3;
        let place = image.places().await.pop().context("it is there")?;
        let expected = if round == 0 { Origin::Built } else { Origin::Kept };
        ensure!(place.origin == expected, "it is {:?}, not {expected:?}", place.origin);
        if round == 0 { built.push(took) } else { kept.push(took) }
    }
    print("image_kept_ms", "ms", &kept, &built);
    Ok(())
}

/// Sends an image of 64 MiB to a slave, beside bare TCP of as many bytes in the same round.
///
/// The master has the snapshot, for it has passed it on before, from the slave that built it to
/// another one. Measured is from when a task that needs it is dispatched to a third until that one
/// has all of the snapshot, as its log says: its question for it included. Bare TCP is timed until
/// the other end has said that it has all of as many bytes. Both receive for the first time, into
/// memory that the kernel has yet to give them, as a slave that is new does. `image_sent_ms` is what comes of it:
/// until the first task on it is done, compiling included, beside what building it took. Another
/// image and other slaves in each round: nothing is there before.
pub(crate) async fn send(cache: &Path, rounds: usize) -> Result<()> {
    let (mut ratios, mut rates, mut limits) = (vec![], vec![], vec![]);
    let (mut ready, mut built) = (vec![], vec![]);
    for round in 0..=rounds {
        let slave = |n: usize| Process::talking_slave(&cache.join(format!("send-{round}-{n}")));
        let slaves = [slave(0)?, slave(1)?, slave(2)?];
        let builder = slaves.iter().fold(Master::builder(), |b, slave| b.slave(&slave.address));
        let master = builder.build().await?;
        let image = master.init(heap::call(MIB, round as u64)).transfer(Transfer::Always).await?;
        let place = image.places().await.pop().context("it was built")?;
        let linked = master.slaves();
        let mut others = linked.iter().filter(|slave| *slave.name() != place.slave);
        let (second, third) = others.next().zip(others.next()).context("three are linked")?;
        // Otherwise its module, and the pipe to it, would be measured as well.
        image.dispatch(fresh_add::call(1, 1).on(second)).await?;
        master.dispatch(fresh_add::call(1, 1).on(third)).await?;
        let last = slaves.iter().find(|slave| third.address() == slave.address);

        let limit = tcp::send_first(&Process::tcp()?.address).await?;
        let begun = Instant::now();
        let mut task = image.dispatch(fresh_add::call(1, 1).on(third));
        (&mut task).await?;
        let until_ready = begun.elapsed();
        let sent = task.receipt().and_then(|receipt| receipt.image).map(|image| image.origin);
        ensure!(sent == Some(Origin::Sent), "the image was not sent: {sent:?}");
        let arrived = last.context("it was started here")?.heard("an image has come")?;
        if round > 0 {
            let took = arrived.duration_since(begun).as_secs_f64();
            let rate = tcp::BULK as f64 / 1e6 / took;
            let limit = tcp::BULK as f64 / 1e6 / limit.as_secs_f64();
            ratios.push(rate / limit);
            rates.push(rate);
            limits.push(limit);
            ready.push(until_ready.as_secs_f64() * 1e3);
            built.push(place.took.as_secs_f64() * 1e3);
        }
    }
    print("image_send_ratio", "of bare TCP", &ratios, &[]);
    print("image_send_mb_per_s", "MB/s", &rates, &limits);
    print("image_sent_ms", "ms", &ready, &built);
    Ok(())
}
