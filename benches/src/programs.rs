//! WASI programs: what starting one costs, and how fast bytes flow through one.

use crate::process::{Process, own_peak_mib, reset_own_peak};
use crate::report::print;
use crate::source::Source;
use crate::tcp::{self, BULK};
use anyhow::{Context, Result, ensure};
use dpfw::Master;
use dpfw_tests::programs::{PROBE, probe};
use std::time::Instant;
use tokio::io::AsyncReadExt;
use wasmtime::{Engine, Linker, Module, Store};
use wasmtime_wasi::WasiCtxBuilder;
use wasmtime_wasi::p1::{WasiP1Ctx, add_to_linker_sync};
use wasmtime_wasi::p2::pipe::MemoryOutputPipe;

/// Programs in a round, and how many of them are under way at once.
const PROGRAMS: usize = 5_000;
const UNDER_WAY: usize = 64;

/// Bytes that go through a program.
const THROUGH: u64 = 1 << 30;

/// Starts a hello world many times, beside the same by wasmtime in one process.
pub(crate) async fn start(slave: &Process, rounds: usize) -> Result<()> {
    let master = Master::builder().slave(&slave.address).build().await?;
    let (mut times, mut limits) = (vec![], vec![]);
    for round in 0..=rounds {
        // It drives a runtime of its own.
        let bare = std::thread::spawn(alone).join().ok().context("the thread panicked")?;
        let bare = bare.map_err(|e| anyhow::anyhow!("wasmtime alone: {e:#}"))?;
        let start = Instant::now();
        let mut under_way = std::collections::VecDeque::new();
        for _ in 0..PROGRAMS {
            if under_way.len() == UNDER_WAY
                && let Some(task) = under_way.pop_front()
            {
                hello(task).await?;
            }
            let (master, program) = (master.clone(), probe(&["hello"]));
            under_way.push_back(tokio::spawn(async move { master.output(program).await }));
        }
        for task in under_way {
            hello(task).await?;
        }
        if round > 0 {
            times.push(start.elapsed().as_secs_f64() * 1e6 / PROGRAMS as f64);
            limits.push(bare);
        }
    }
    print("program_start_us", "us", &times, &limits);
    Ok(())
}

type Started = tokio::task::JoinHandle<Result<dpfw::Output, dpfw::TaskError>>;

async fn hello(task: Started) -> Result<()> {
    let output = task.await??;
    ensure!(output.status.is_success() && output.stdout == "hello, world\n", "not a hello");
    Ok(())
}

/// Microseconds that a hello world takes in a loop without dpfw, in a fresh instance each.
fn alone() -> wasmtime::Result<f64> {
    let engine = Engine::default();
    let module = Module::new(&engine, PROBE)?;
    let mut linker: Linker<WasiP1Ctx> = Linker::new(&engine);
    add_to_linker_sync(&mut linker, |state| state)?;
    let instances = linker.instantiate_pre(&module)?;
    let start = Instant::now();
    for _ in 0..PROGRAMS {
        let stdout = MemoryOutputPipe::new(64);
        let args = ["probe", "hello"];
        let state = WasiCtxBuilder::new().args(&args).stdout(stdout.clone()).build_p1();
        let mut store = Store::new(&engine, state);
        let instance = instances.instantiate(&mut store)?;
        instance.get_typed_func::<(), ()>(&mut store, "_start")?.call(&mut store, ())?;
        wasmtime::ensure!(stdout.contents() == "hello, world\n", "not a hello");
    }
    Ok(start.elapsed().as_secs_f64() * 1e6 / PROGRAMS as f64)
}

/// 1 GiB through a program that counts it, beside bare TCP; then through one that copies it
/// to its stdout, and how much memory both ends need for that.
pub(crate) async fn stream(slave: &Process, rounds: usize) -> Result<()> {
    let bare = Process::tcp()?;
    let master = Master::builder().slave(&slave.address).build().await?;
    let (mut rates, mut limits) = (vec![], vec![]);
    for round in 0..=rounds {
        let sent = tcp::send_bulk(&bare.address, 4).await?;
        let limit = sent.iter().map(|time| BULK as f64 / 1e6 / time.as_secs_f64());
        let start = Instant::now();
        let output = master.output(probe(&["count"]).stdin(Source::of(THROUGH))).await?;
        let took = start.elapsed().as_secs_f64();
        ensure!(output.stdout == format!("{THROUGH}\n"), "not all of it arrived");
        if round > 0 {
            rates.push(THROUGH as f64 / 1e6 / took);
            limits.extend(limit);
        }
    }
    print("program_stdin_mb_per_s", "MB/s", &rates, &limits);

    let (before, own_before) = (slave.resident_mib()?, reset_own_peak()?);
    slave.reset_peak()?;
    let mut handle = master.run(probe(&["cat"]).stdin(Source::of(THROUGH)));
    let (mut stdout, mut buffer, mut total) = (handle.stdout(), vec![0; 64 << 10], 0);
    while let n @ 1.. = stdout.read(&mut buffer).await? {
        total += n as u64;
    }
    ensure!(total == THROUGH && handle.status().await?.is_success(), "not all of it came back");
    print("program_copy_slave_mib", "MiB", &[slave.peak_mib()? - before], &[]);
    print("program_copy_master_mib", "MiB", &[own_peak_mib()? - own_before], &[]);
    Ok(())
}
