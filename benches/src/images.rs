//! What an image costs: to build, and to start from.

use crate::process::Process;
use crate::report::print;
use anyhow::{Context, Result, ensure};
use dpfw::{Image, Master};
use dpfw_bench_tasks::{fresh_add, heap};
use std::collections::VecDeque;
use std::time::Instant;

/// The initialised heap.
const MIB: u32 = 64;

/// Tasks in a round, and how many of them are under way at once.
const TASKS: usize = 50_000;
const UNDER_WAY: usize = 1_024;

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
async fn each(master: &Master, image: Option<&Image>) -> Result<f64> {
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
