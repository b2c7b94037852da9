//! The measurements.

use crate::placed::Placement;
use crate::plain::Plain;
use crate::process::Process;
use crate::report::print;
use crate::tcp::{self, BULK};
use crate::{
    balance, beside, big_images, durable, encrypted, images, many, mapped, pipeline, programs,
    queued, residents, scaling, starts, trips,
};
use anyhow::{Context, Result, bail, ensure};
use dpfw::{Limits, Master};
use dpfw_bench_tasks::{fresh_add, give, take};
use dpfw_slave::Local;
use std::collections::VecDeque;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// Tasks in a round, and how many of them are under way at once.
const TASKS: usize = 200_000;
const UNDER_WAY: usize = 1_024;

/// One task at a time, in three settings.
const ROUND_TRIPS: [(&str, Placement); 3] = [
    ("rtt_us", Placement::Anywhere),
    ("rtt_one_core_us", Placement::Together),
    ("rtt_cross_core_us", Placement::Apart),
];

const STARTS: [&str; 3] = ["first_result_ms", "first_result_new_ms", "compile_cache_hit_ms"];

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
        for (metric, placement) in ROUND_TRIPS {
            if bench.wants(metric) {
                trips::measure(metric, placement, || bench.slave(), bench.rounds).await?;
            }
        }
        if bench.wants("fresh_tasks_per_s") || bench.wants("fresh_tasks_by_plain_loop") {
            bench.throughput().await?;
        }
        if bench.wants("payload") {
            bench.payloads().await?;
        }
        if bench.wants("beside_1gib") {
            beside::measure(&bench.cache(), bench.rounds).await?;
        }
        if bench.wants("sandbox_scaling") {
            scaling::measure(bench.rounds)?;
        }
        if STARTS.iter().any(|metric| bench.wants(metric)) {
            starts::first_result(&bench.cache(), bench.rounds).await?;
        }
        if bench.wants("idle_rss_mib") {
            starts::idle(&bench.cache(), bench.rounds).await?;
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
        if bench.wants("image_kept_ms") {
            images::kept(bench.cache.path(), bench.rounds).await?;
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
            durable::recovery(bench.rounds).await?;
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
        if bench.wants("map_item_ns") {
            mapped::items(&bench.slave()?, bench.rounds).await?;
        }
        if bench.wants("balance_equal") {
            balance::equal(&bench.cache(), bench.rounds).await?;
        }
        if bench.wants("balance_mixed") {
            balance::mixed(bench.rounds).await?;
        }
        if bench.wants("balance_slow") {
            balance::slow(bench.rounds).await?;
        }
        if bench.wants("queued_rate_ratio") {
            queued::rates(&bench.slave()?, bench.rounds).await?;
        }
        for (metric, load) in many::FANOUT {
            if bench.wants(metric) {
                many::fanout(metric, &load, bench.rounds).await?;
            }
        }
        if bench.wants("churn_stall_ms") {
            many::churn(bench.rounds).await?;
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

    /// Many tasks under way, beside the same calls in one process without network: in sandboxes as
    /// a slave has them, and in instances of wasmtime alone.
    async fn throughput(&self) -> Result<()> {
        let module = fresh_add::task().module().bytes().context("no module")?.clone();
        let mut local = Local::new(&module, Limits::default())?;
        let add = local.task("fresh_add")?;
        let plain = Plain::new(&module, "fresh_add")?;
        let slave = self.slave()?;
        let master = Master::builder().slave(&slave.address).build().await?;
        let (mut rates, mut limits, mut plains) = (vec![], vec![], vec![]);
        for round in 0..=self.rounds {
            let start = Instant::now();
            for i in 0..TASKS {
                let result = local.call(&add, &arguments(i))?;
                ensure!(is_fresh(&result), "a sandbox was used twice");
            }
            let bare = TASKS as f64 / start.elapsed().as_secs_f64();
            let alone = plain.rate(TASKS / 4, |i| arguments(i).to_vec(), is_fresh)?;
            let rate = pipelined(&master).await?;
            if round > 0 {
                rates.push(rate);
                limits.push(bare);
                plains.push(alone);
            }
        }
        print("fresh_tasks_per_s", "1/s", &rates, &limits);
        let ratios: Vec<f64> =
            rates.iter().zip(&plains).map(|(rate, alone)| rate / alone).collect();
        print("fresh_tasks_by_plain_loop", "x", &ratios, &[]);
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
}

/// Any count but 1 means that a sandbox was used twice.
pub(crate) fn check((count, sum): (u32, i64), expected: i64) -> Result<()> {
    if count != 1 {
        bail!("a sandbox was used {count} times");
    }
    ensure!(sum == expected, "{sum} instead of {expected}");
    Ok(())
}

/// As the master encodes them: an array of two integers.
fn arguments(i: usize) -> [u8; 7] {
    [0x92, 0xd2, (i >> 24) as u8, (i >> 16) as u8, (i >> 8) as u8, i as u8, 1]
}

/// Whether a result says that it is the first of its sandbox.
fn is_fresh(result: &[u8]) -> bool {
    result.get(1) == Some(&1)
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
