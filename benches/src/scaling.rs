//! What two slots do more than one, without the network.

use crate::report::print;
use anyhow::{Context, Result, anyhow, ensure};
use dpfw::Limits;
use dpfw_bench_tasks::fresh_add;
use dpfw_slave::Local;
use std::sync::Barrier;
use std::thread;
use std::time::Instant;

/// Tasks of each slot in a round.
const TASKS: usize = 200_000;

/// Fresh sandboxes of two slots by those of one; beside it what one does a second.
pub(crate) fn measure(rounds: usize) -> Result<()> {
    let (mut ratios, mut ones) = (vec![], vec![]);
    for round in 0..=rounds {
        let (one, two) = (rate(1)?, rate(2)?);
        if round > 0 {
            ratios.push(two / one);
            ones.push(one);
        }
    }
    print("sandbox_scaling", "times one slot", &ratios, &[]);
    print("sandboxes_per_s", "1/s", &ones, &[]);
    Ok(())
}

/// Sandboxes a second of so many threads, each with an engine of its own.
fn rate(threads: usize) -> Result<f64> {
    let ready = Barrier::new(threads);
    let took: Result<Vec<_>> = thread::scope(|scope| {
        let spawned: Vec<_> = (0..threads).map(|_| scope.spawn(|| slot(&ready))).collect();
        let ended = spawned.into_iter().map(|thread| thread.join());
        ended.map(|took| took.map_err(|_| anyhow!("a slot panicked"))?).collect()
    });
    let longest = took?.into_iter().fold(0.0, f64::max);
    Ok((threads * TASKS) as f64 / longest)
}

/// One slot's tasks; the seconds they took.
fn slot(ready: &Barrier) -> Result<f64> {
    let made = || {
        let module = fresh_add::task().module().bytes().context("no module")?.clone();
        let mut local = Local::new(&module, Limits::default())?;
        let add = local.task("fresh_add")?;
        anyhow::Ok((local, add))
    };
    // The others wait for this one whether or not it has what it needs.
    let made = made();
    ready.wait();
    let (local, add) = made?;
    let begun = Instant::now();
    for _ in 0..TASKS {
        let result = local.call(&add, &[0x92, 2, 1])?;
        ensure!(result.get(1) == Some(&1), "a sandbox was used twice");
    }
    Ok(begun.elapsed().as_secs_f64())
}
