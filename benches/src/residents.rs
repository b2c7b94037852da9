//! Calls of residents: how many, how quick, and what a resident costs that nobody calls.

use crate::placed::{Placed, Placement};
use crate::process::Process;
use crate::report::{percentile, print};
use crate::tcp;
use anyhow::{Context, Result, ensure};
use dpfw::{Class, Limits, Master, Resident};
use dpfw_bench_tasks::{Tally, tally};
use dpfw_slave::Local;
use std::collections::VecDeque;
use std::time::Instant;

/// Calls in a round, and how many of them are under way at once: as many as a mailbox takes.
const CALLS: u64 = 500_000;
const UNDER_WAY: usize = 1_024;

/// Round trips in a round.
const ROUND_TRIPS: u64 = 5_000;

/// Bytes of a call on the wire: 16 of header, 2 of length, 6 of message, 2 of arguments. The
/// answer is longer, by its timings.
const FRAME: usize = 30;

/// Residents whose memory is measured.
const MANY: u32 = 10_000;

/// Many calls of one resident under way, beside the same calls in one process without a link.
pub(crate) async fn throughput(slave: &Process, rounds: usize) -> Result<()> {
    let module = Tally::module().bytes().context("no module")?.clone();
    let mut local = Local::new(&module, Limits::default())?.resident("tally.new", &[0x90])?;
    let add = local.method("tally.add")?;
    let master = Master::builder().slave(&slave.address).build().await?;
    let resident = master.spawn("bench", tally::new()).await?;
    let (mut rates, mut limits) = (vec![], vec![]);
    for round in 0..=rounds {
        let start = Instant::now();
        for _ in 0..CALLS {
            ensure!(!local.call(add, &[0x91, 1])?.is_empty(), "there is no result");
        }
        let bare = CALLS as f64 / start.elapsed().as_secs_f64();
        let rate = pipelined(&resident).await?;
        if round > 0 {
            rates.push(rate);
            limits.push(bare);
        }
    }
    resident.stop().await?;
    print("resident_calls_per_s", "1/s", &rates, &limits);
    Ok(())
}

/// Calls per second with many under way, each of which adds one.
async fn pipelined(resident: &Resident<Tally>) -> Result<f64> {
    let before = resident.call(tally::add(0)).await?;
    let start = Instant::now();
    let mut under_way = VecDeque::with_capacity(UNDER_WAY);
    let mut sum = before;
    for _ in 0..CALLS {
        if under_way.len() == UNDER_WAY
            && let Some(call) = under_way.pop_front()
        {
            sum += 1;
            ensure!(call_of(call).await? == sum, "calls are out of order");
        }
        under_way.push_back(resident.call(tally::add(1)));
    }
    for call in under_way {
        sum += 1;
        ensure!(call_of(call).await? == sum, "calls are out of order");
    }
    let rate = CALLS as f64 / start.elapsed().as_secs_f64();
    ensure!(sum == before + CALLS, "{sum} calls of {CALLS}");
    Ok(rate)
}

async fn call_of(call: dpfw::CallHandle<u64>) -> Result<u64> {
    Ok(call.await?)
}

/// One call at a time, beside a bare echo of as many bytes.
pub(crate) async fn round_trips(start: impl Fn() -> Result<Process>, rounds: usize) -> Result<()> {
    let both = || Ok((start()?, Process::tcp()?));
    let ((slave, echo), _placed) = Placed::start(Placement::Apart, both)?;
    let master = Master::builder().slave(&slave.address).build().await?;
    let resident = master.spawn("bench", tally::new()).await?;
    let (mut p50, mut limit50) = (vec![], vec![]);
    for round in 0..=rounds {
        let mut bare = tcp::round_trips(&echo.address, FRAME, ROUND_TRIPS as usize).await?;
        let mut times = Vec::with_capacity(ROUND_TRIPS as usize);
        for i in 0..ROUND_TRIPS {
            let start = Instant::now();
            let sum = resident.call(tally::add(1)).await?;
            times.push(start.elapsed().as_secs_f64() * 1e6);
            ensure!(sum == round as u64 * ROUND_TRIPS + i + 1, "{sum} calls");
        }
        if round > 0 {
            p50.push(percentile(&mut times, 0.5));
            limit50.push(percentile(&mut bare, 0.5));
        }
    }
    print("resident_rtt_us_p50", "us", &p50, &limit50);
    Ok(())
}

/// What of a slave's memory each of many residents takes that nobody calls, page tables included.
pub(crate) async fn bytes(start: impl Fn() -> Result<Process>, rounds: usize) -> Result<()> {
    let mut values = Vec::new();
    for _ in 0..rounds.min(3) {
        let slave = start()?;
        let master = Master::builder().slave(&slave.address).build().await?;
        // The first brings the module, and the engine that all share.
        let first = master.spawn("first", tally::new()).await?;
        ensure!(first.call(tally::add(1)).await? == 1, "it is not fresh");
        let before = slave.own_memory_mib()?;
        for n in 1..MANY {
            let resident = master.spawn(format!("bench/{n}"), tally::new()).await?;
            ensure!(resident.call(tally::add(1)).await? == 1, "it is not fresh");
        }
        let more = slave.own_memory_mib()? - before;
        values.push(more * 1024.0 * 1024.0 / f64::from(MANY - 1));
        master.shutdown().await;
    }
    print("resident_bytes", "B", &values, &[]);
    Ok(())
}
