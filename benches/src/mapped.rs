//! What an item of a `map` costs beside what is done with it: nothing to speak of.

use crate::process::Process;
use crate::report::print;
use anyhow::{Result, ensure};
use dpfw::Master;
use dpfw_bench_tasks::successor;
use futures_util::StreamExt;
use std::time::Instant;

/// Items of a round.
const ITEMS: i64 = 10_000_000;

/// Nanoseconds for each of ten million integers whose successors are asked for, in chunks that the
/// map chooses; beside a plain loop over as many in this process.
pub(crate) async fn items(slave: &Process, rounds: usize) -> Result<()> {
    let master = Master::builder().slave(&slave.address).build().await?;
    let (mut values, mut limits) = (vec![], vec![]);
    for round in 0..=rounds {
        let start = Instant::now();
        let expected = (0..ITEMS).fold(0i64, |sum, n| sum + std::hint::black_box(n) + 1);
        let limit = start.elapsed();
        let start = Instant::now();
        let mut results = master.map(0..ITEMS, successor::call);
        let (mut sum, mut next) = (0, 0);
        while let Some(result) = results.next().await {
            let result = result?;
            next += 1;
            ensure!(result == next, "{result} came where {next} was due");
            sum += result;
        }
        ensure!(sum == expected, "{sum} instead of {expected}");
        if round > 0 {
            values.push(start.elapsed().as_secs_f64() * 1e9 / ITEMS as f64);
            limits.push(limit.as_secs_f64() * 1e9 / ITEMS as f64);
        }
    }
    print("map_item_ns", "ns", &values, &limits);
    Ok(())
}
