//! A slave's beginning: how long until it has its first result, and what it takes to wait for more.

use crate::measure::check;
use crate::process::Process;
use crate::report::print;
use crate::tcp;
use crate::trips::FRAME;
use anyhow::{Context, Result};
use dpfw::Master;
use dpfw_bench_tasks::fresh_add;
use std::path::Path;
use std::time::Instant;

/// From starting a slave's process to its first result, its module in the cache
/// (`first_result_ms`) and for the first time (`first_result_new_ms`, the size of the module in
/// `module_kib`); beside a bare echo's process and its first answer. And, of the former, from when
/// both are linked (`compile_cache_hit_ms`): finding the compiled module, mapping it, and a task.
pub(crate) async fn first_result(cache: &Path, rounds: usize) -> Result<()> {
    let (mut known, mut new, mut hits, mut limits) = (vec![], vec![], vec![], vec![]);
    for round in 0..=rounds {
        let start = Instant::now();
        let echo = Process::tcp()?;
        tcp::round_trips(&echo.address, FRAME, 1).await?;
        let limit = start.elapsed();
        drop(echo);
        let empty = tempfile::tempdir()?;
        let (fresh, _) = first(empty.path()).await?;
        let (again, hit) = first(cache).await?;
        if round > 0 {
            limits.push(limit.as_secs_f64() * 1e3);
            new.push(fresh);
            known.push(again);
            hits.push(hit);
        }
    }
    let module = fresh_add::task().module().bytes().context("no module")?.len();
    print("first_result_ms", "ms", &known, &limits);
    print("first_result_new_ms", "ms", &new, &limits);
    print("compile_cache_hit_ms", "ms", &hits, &[]);
    print("module_kib", "KiB", &[module as f64 / 1024.0], &[]);
    Ok(())
}

/// Milliseconds from the start of a slave to its first result, and from its link to that.
async fn first(cache: &Path) -> Result<(f64, f64)> {
    let start = Instant::now();
    let slave = Process::slave(cache)?;
    let master = Master::builder().slave(&slave.address).build().await?;
    let linked = Instant::now();
    check(master.dispatch(fresh_add::call(2, 3)).await?, 5)?;
    let ended = Instant::now();
    master.shutdown().await;
    Ok(((ended - start).as_secs_f64() * 1e3, (ended - linked).as_secs_f64() * 1e3))
}

/// The memory of a slave that waits for work, beside that of a bare echo.
pub(crate) async fn idle(cache: &Path, rounds: usize) -> Result<()> {
    let (mut values, mut limits) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        let echo = Process::tcp()?;
        tcp::round_trips(&echo.address, FRAME, 1).await?;
        limits.push(echo.resident_mib()?);
        drop(echo);
        let slave = Process::slave(cache)?;
        let master = Master::builder().slave(&slave.address).build().await?;
        check(master.dispatch(fresh_add::call(2, 3)).await?, 5)?;
        values.push(slave.resident_mib()?);
        master.shutdown().await;
    }
    print("idle_rss_mib", "MiB", &values, &limits);
    Ok(())
}
