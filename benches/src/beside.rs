//! One small task at a time while 1 GiB crosses the same link: how long until its result is there.
//!
//! Beside the same while the link is idle. The bytes are a program's input, which it counts, or
//! its output, which is counted here: neither end ever holds more of them than the link's window.
//! Or they are arguments and results of 64 MiB, one after the other.

use crate::measure::check;
use crate::process::Process;
use crate::report::{percentile, print};
use crate::source::Source;
use crate::tcp::BULK as ONE;
use anyhow::{Result, ensure};
use dpfw::Master;
use dpfw_bench_tasks::{Bytes, fresh_add, give, take};
use dpfw_tests::programs::probe;
use std::path::Path;
use std::time::Instant;
use tokio::io::AsyncReadExt;

/// Bytes that cross the link.
const BULK: u64 = 1 << 30;

/// Round trips on an idle link in a round.
const IDLE: usize = 5_000;

/// A slave has a slot for the program and one for the tasks.
const SLOTS: u32 = 2;

/// Measures in both directions, of streams and of payloads.
pub(crate) async fn measure(cache: &Path, rounds: usize) -> Result<()> {
    let slave = Process::slave_of(cache, SLOTS)?;
    let master = Master::builder().slave(&slave.address).build().await?;
    let mut idle = vec![];
    let mut beside = [vec![], vec![], vec![], vec![]];
    for round in 0..=rounds {
        let mut quiet = round_trips(&master, |n| n == IDLE).await?;
        let mut times = [
            round_trips_beside(&master, send(master.clone())).await?,
            round_trips_beside(&master, receive(master.clone())).await?,
            round_trips_beside(&master, give_arguments(master.clone())).await?,
            round_trips_beside(&master, take_results(master.clone())).await?,
        ];
        if round > 0 {
            idle.push(percentile(&mut quiet, 0.5));
            for (all, times) in beside.iter_mut().zip(&mut times) {
                all.push(percentile(times, 0.5));
            }
        }
    }
    let metrics = ["in", "out", "arguments", "results"];
    for (what, times) in metrics.into_iter().zip(&beside) {
        print(&format!("beside_1gib_{what}_rtt_us_p50"), "us", times, &idle);
    }
    Ok(())
}

/// Tasks one after the other while something else is done.
async fn round_trips_beside(
    master: &Master,
    work: impl Future<Output = Result<()>> + Send + 'static,
) -> Result<Vec<f64>> {
    let work = tokio::spawn(work);
    let times = round_trips(master, |_| work.is_finished()).await?;
    work.await??;
    Ok(times)
}

/// Tasks one after the other until so many were enough, in microseconds.
async fn round_trips(master: &Master, is_over: impl Fn(usize) -> bool) -> Result<Vec<f64>> {
    let mut times = Vec::new();
    while !is_over(times.len()) {
        let (start, number) = (Instant::now(), times.len() as i64);
        check(master.dispatch(fresh_add::call(number, 3)).await?, number + 3)?;
        times.push(start.elapsed().as_secs_f64() * 1e6);
    }
    ensure!(times.len() > 100, "only {} tasks beside 1 GiB", times.len());
    Ok(times)
}

async fn send(master: Master) -> Result<()> {
    let output = master.output(probe(&["count"]).stdin(Source::of(BULK))).await?;
    ensure!(output.stdout == format!("{BULK}\n"), "not all of it arrived");
    Ok(())
}

async fn receive(master: Master) -> Result<()> {
    let mut handle = master.run(probe(&["write", &BULK.to_string()]));
    let (mut stdout, mut buffer, mut total) = (handle.stdout(), vec![0; 64 << 10], 0);
    while let n @ 1.. = stdout.read(&mut buffer).await? {
        total += n as u64;
    }
    ensure!(total == BULK && handle.status().await?.is_success(), "not all of it came back");
    Ok(())
}

async fn give_arguments(master: Master) -> Result<()> {
    let bytes: Bytes = vec![5u8; ONE].into();
    for _ in 0..BULK / ONE as u64 {
        let len = master.dispatch(take::call(bytes.clone())).await?;
        ensure!(len == ONE as u64, "{len} bytes arrived");
    }
    Ok(())
}

async fn take_results(master: Master) -> Result<()> {
    for _ in 0..BULK / ONE as u64 {
        let bytes = master.dispatch(give::call(ONE as u64)).await?;
        ensure!(bytes.len() == ONE, "{} bytes came back", bytes.len());
    }
    Ok(())
}
