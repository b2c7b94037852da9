//! One task at a time: how long until its result is there.
//!
//! In three settings, each beside a bare echo of as many bytes in the same one: where the
//! scheduler puts both processes, both on one processor, and each on its own.

use crate::measure::check;
use crate::placed::{Placed, Placement};
use crate::process::Process;
use crate::report::{percentile, print};
use crate::tcp;
use anyhow::Result;
use dpfw::Master;
use dpfw_bench_tasks::fresh_add;
use std::time::Instant;

/// Bytes of a dispatch of `fresh_add(2, 3)` on the wire: 16 of header, 2 of length, 5 of
/// message, 3 of arguments. The answer is longer, by its timings.
pub(crate) const FRAME: usize = 32;

/// Round trips in a round.
const ROUND_TRIPS: usize = 5_000;

/// Measures in one setting: the metric's name and its percentiles.
pub(crate) async fn measure(
    name: &str,
    placement: Placement,
    slave: impl FnOnce() -> Result<Process>,
    rounds: usize,
) -> Result<()> {
    let ((slave, echo), _placed) = Placed::start(placement, || Ok((slave()?, Process::tcp()?)))?;
    let master = Master::builder().slave(&slave.address).build().await?;
    let (mut p50, mut p99, mut limit50, mut limit99) = (vec![], vec![], vec![], vec![]);
    for round in 0..=rounds {
        let mut bare = tcp::round_trips(&echo.address, FRAME, ROUND_TRIPS).await?;
        let mut times = Vec::with_capacity(ROUND_TRIPS);
        for i in 0..ROUND_TRIPS as i64 {
            let start = Instant::now();
            check(master.dispatch(fresh_add::call(i, 3)).await?, i + 3)?;
            times.push(start.elapsed().as_secs_f64() * 1e6);
        }
        if round > 0 {
            p50.push(percentile(&mut times, 0.5));
            p99.push(percentile(&mut times, 0.99));
            limit50.push(percentile(&mut bare, 0.5));
            limit99.push(percentile(&mut bare, 0.99));
        }
    }
    print(&format!("{name}_p50"), "us", &p50, &limit50);
    print(&format!("{name}_p99"), "us", &p99, &limit99);
    Ok(())
}
