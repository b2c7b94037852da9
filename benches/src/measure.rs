//! The measurements.

use crate::apart::Apart;
use crate::process::Process;
use crate::report::{percentile, print};
use crate::tcp::{self, BULK};
use crate::{big_images, durable, encrypted, images, pipeline, programs, queued, residents};
use anyhow::{Context, Result, bail, ensure};
use dpfw::{Limits, Master};
use dpfw_bench_tasks::{fresh_add, give, take};
use dpfw_slave::Local;
use std::collections::VecDeque;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// Bytes of a dispatch of `fresh_add(2, 3)` on the wire: 16 of header, 2 of length, 5 of
/// message, 3 of arguments. The answer is longer, by its timings.
const FRAME: usize = 32;

/// Round trips in a round.
const ROUND_TRIPS: usize = 5_000;

/// Tasks in a round, and how many of them are under way at once.
const TASKS: usize = 200_000;
const UNDER_WAY: usize = 1_024;

/// What all measurements share.
struct Bench {
    rounds: usize,
    only: Option<String>,
    cache: tempfile::TempDir,
}

/// Measures everything, or what is asked for.
pub(crate) fn all(rounds: usize, only: Option<&str>) -> Result<()> {
    let only = only.map(str::to_owned);
    let bench = Bench { rounds, only, cache: tempfile::tempdir()? };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        if bench.wants("rtt_us") {
            bench.round_trips().await?;
        }
        if bench.wants("fresh_tasks_per_s") {
            bench.throughput().await?;
        }
        if bench.wants("payload") {
            bench.payloads().await?;
        }
        if bench.wants("first_result_ms") {
            bench.first_result().await?;
        }
        if bench.wants("idle_rss_mib") {
            bench.idle().await?;
        }
        if bench.wants("queued_task_bytes") {
            queued::measure(bench.rounds)?;
        }
        if bench.wants("pipeline_link_bytes") {
            pipeline::link_bytes(&bench.slave()?, bench.rounds).await?;
        }
        if bench.wants("image_64mib_extra_us") || bench.wants("image_build_ms") {
            images::all(&bench.slave()?, bench.rounds).await?;
        }
        if bench.wants("image_send_ratio") {
            images::send(bench.cache.path(), bench.rounds).await?;
        }
        if bench.wants("image_512mib_ten_tasks_mib") {
            big_images::all(bench.cache.path(), bench.rounds).await?;
        }
        if bench.wants("resident_calls_per_s") {
            residents::throughput(&bench.slave()?, bench.rounds).await?;
        }
        if bench.wants("resident_rtt_us_p50") {
            residents::round_trips(|| bench.slave(), bench.rounds).await?;
        }
        if bench.wants("resident_bytes") {
            residents::bytes(|| bench.slave(), bench.rounds).await?;
        }
        if bench.wants("durable_puts_per_s") {
            durable::puts(&bench.cache(), bench.rounds).await?;
        }
        if bench.wants("recovery_ms") {
            durable::recovery(&bench.cache(), bench.rounds).await?;
        }
        if bench.wants("tls_fresh_tasks_ratio") || bench.wants("tls_payload_ratio") {
            encrypted::ratios(&bench.cache(), bench.rounds).await?;
        }
        if bench.wants("tls_handshake_cpu_ms") {
            encrypted::handshakes(bench.rounds).await?;
        }
        if bench.wants("tls_idle_link_kib") {
            encrypted::idle(&bench.cache(), bench.rounds).await?;
        }
        if bench.wants("program_start_us") {
            programs::start(&bench.slave()?, bench.rounds).await?;
        }
        if bench.wants("program_stdin_mb_per_s") {
            programs::stream(&bench.slave()?, bench.rounds).await?;
        }
        Ok(())
    })
}

impl Bench {
    fn wants(&self, metric: &str) -> bool {
        self.only
            .as_ref()
            .is_none_or(|only| metric.contains(only.as_str()) || only.contains(metric))
    }

    fn slave(&self) -> Result<Process> {
        Process::slave(&self.cache())
    }

    fn cache(&self) -> PathBuf {
        self.cache.path().join("cache")
    }

    /// One task at a time, beside a bare echo of as many bytes.
    async fn round_trips(&self) -> Result<()> {
        let ((slave, echo), _apart) = Apart::start(|| Ok((self.slave()?, Process::tcp()?)))?;
        let master = Master::builder().slave(&slave.address).build().await?;
        let (mut p50, mut p99, mut limit50, mut limit99) = (vec![], vec![], vec![], vec![]);
        for round in 0..=self.rounds {
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
        print("rtt_us_p50", "us", &p50, &limit50);
        print("rtt_us_p99", "us", &p99, &limit99);
        Ok(())
    }

    /// Many tasks under way, beside the same calls in one process without network.
    async fn throughput(&self) -> Result<()> {
        let module = fresh_add::task().module().bytes().context("no module")?.clone();
        let mut local = Local::new(&module, Limits::default())?;
        let add = local.task("fresh_add")?;
        let slave = self.slave()?;
        let master = Master::builder().slave(&slave.address).build().await?;
        let (mut rates, mut limits) = (vec![], vec![]);
        for round in 0..=self.rounds {
            let start = Instant::now();
            for i in 0..TASKS as i64 {
                // The arguments as the master encodes them: an array of two integers.
                let args =
                    [0x92, 0xd2, (i >> 24) as u8, (i >> 16) as u8, (i >> 8) as u8, i as u8, 1];
                let result = local.call(&add, &args)?;
                ensure!(result.get(1) == Some(&1), "a sandbox was used twice");
            }
            let bare = TASKS as f64 / start.elapsed().as_secs_f64();
            let rate = pipelined(&master).await?;
            if round > 0 {
                rates.push(rate);
                limits.push(bare);
            }
        }
        print("fresh_tasks_per_s", "1/s", &rates, &limits);
        Ok(())
    }

    /// 64 MiB in and out, beside bare TCP.
    async fn payloads(&self) -> Result<()> {
        let (slave, bare) = (self.slave()?, Process::tcp()?);
        let master = Master::builder().slave(&slave.address).build().await?;
        let bytes: dpfw_bench_tasks::Bytes = vec![5u8; BULK].into();
        let (mut times, mut limits) = (Vec::new(), Vec::new());
        for _ in 0..=self.rounds {
            limits.extend(tcp::send_bulk(&bare.address, 1).await?);
            let start = Instant::now();
            let len = master.dispatch(take::call(bytes.clone())).await?;
            times.push(start.elapsed());
            ensure!(len == BULK as u64, "{len} bytes arrived");
        }
        print("payload_in_mb_per_s", "MB/s", &rates(&times[1..]), &rates(&limits[1..]));

        let (mut times, mut limits) = (Vec::new(), Vec::new());
        for _ in 0..=self.rounds {
            limits.extend(tcp::receive_bulk(&bare.address, 1).await?);
            let start = Instant::now();
            let bytes = master.dispatch(give::call(BULK as u64)).await?;
            times.push(start.elapsed());
            ensure!(bytes.len() == BULK && bytes.iter().step_by(4096).all(|b| *b == 7), "not 7s");
        }
        print("payload_out_mb_per_s", "MB/s", &rates(&times[1..]), &rates(&limits[1..]));
        Ok(())
    }

    /// From starting a slave's process to its first result, its module in the cache; beside
    /// a bare echo's process and its first answer.
    async fn first_result(&self) -> Result<()> {
        let (mut times, mut limits) = (Vec::new(), Vec::new());
        for _ in 0..=self.rounds {
            let start = Instant::now();
            let echo = Process::tcp()?;
            tcp::round_trips(&echo.address, FRAME, 1).await?;
            limits.push(start.elapsed().as_secs_f64() * 1e3);
            drop(echo);
            let start = Instant::now();
            let slave = self.slave()?;
            let master = Master::builder().slave(&slave.address).build().await?;
            check(master.dispatch(fresh_add::call(2, 3)).await?, 5)?;
            times.push(start.elapsed().as_secs_f64() * 1e3);
            master.shutdown().await;
        }
        print("first_result_ms", "ms", &times[1..], &limits[1..]);
        Ok(())
    }

    /// The memory of a slave that waits for work, beside that of a bare echo.
    async fn idle(&self) -> Result<()> {
        let (mut values, mut limits) = (Vec::new(), Vec::new());
        for _ in 0..self.rounds {
            let echo = Process::tcp()?;
            tcp::round_trips(&echo.address, FRAME, 1).await?;
            limits.push(echo.resident_mib()?);
            drop(echo);
            let slave = self.slave()?;
            let master = Master::builder().slave(&slave.address).build().await?;
            check(master.dispatch(fresh_add::call(2, 3)).await?, 5)?;
            values.push(slave.resident_mib()?);
            master.shutdown().await;
        }
        print("idle_rss_mib", "MiB", &values, &limits);
        Ok(())
    }
}

/// Any count but 1 means that a sandbox was used twice.
pub(crate) fn check((count, sum): (u32, i64), expected: i64) -> Result<()> {
    if count != 1 {
        bail!("a sandbox was used {count} times");
    }
    ensure!(sum == expected, "{sum} instead of {expected}");
    Ok(())
}

/// Tasks per second with many under way.
pub(crate) async fn pipelined(master: &Master) -> Result<f64> {
    let start = Instant::now();
    let mut under_way = VecDeque::with_capacity(UNDER_WAY);
    for i in 0..TASKS as i64 {
        if under_way.len() == UNDER_WAY
            && let Some((expected, task)) = under_way.pop_front()
        {
            check(task.await?, expected)?;
        }
        under_way.push_back((i + 1, master.dispatch(fresh_add::call(i, 1))));
    }
    for (expected, task) in under_way {
        check(task.await?, expected)?;
    }
    Ok(TASKS as f64 / start.elapsed().as_secs_f64())
}

fn rates(times: &[Duration]) -> Vec<f64> {
    times.iter().map(|time| BULK as f64 / 1e6 / time.as_secs_f64()).collect()
}
