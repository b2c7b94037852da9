//! What a task costs that waits in the master, and whether many that wait make the others slower.
//!
//! Owns: the process that queues, so that memory of other measurements is not used again.
//! Does not: count arguments: its calls have none that are allocated. Its handles are counted.

use crate::measure::check;
use crate::process::{Process, own_mib};
use crate::report::print;
use crate::within::within;
use anyhow::{Context, Result, ensure};
use dpfw::{Master, Task, TaskHandle};
use dpfw_bench_tasks::fresh_add;
use std::process::Command;
use std::time::{Duration, Instant};

/// Tasks that wait at once.
const QUEUED: usize = 1_000_000;

/// Dispatched between two turns of the driver.
const BATCH: usize = 1_000;

/// The first and the last of them that are timed.
const PART: usize = 100_000;

/// Tasks before them: the slave is as quick then as it will be.
const BEFORE: usize = 20_000;

/// Longer than all of them take.
const PATIENCE: Duration = Duration::from_secs(300);

/// Measures in a process of its own, once a round.
pub(crate) fn measure(rounds: usize) -> Result<()> {
    let mut values = Vec::new();
    for _ in 0..rounds {
        let output = Command::new(std::env::current_exe()?).arg("queued").output()?;
        ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let said = String::from_utf8(output.stdout)?;
        values.push(said.trim().parse().with_context(|| format!("no figure: {said}"))?);
    }
    print("queued_task_bytes", "B", &values, &[]);
    Ok(())
}

/// The process: prints how many bytes a queued task costs.
pub(crate) fn run() -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        // Slaves may come, so that tasks wait; none does.
        let master = Master::builder().listen("127.0.0.1:0").queue(QUEUED).build().await?;
        // It never runs, so what it takes does not matter.
        let task: Task<i64> = Task::new(fresh_add::task().module().clone(), "fresh_add");
        let mut handles = Vec::with_capacity(QUEUED);
        let before = own_mib()?;
        for n in 0..QUEUED {
            handles.push(master.dispatch(task.call(&())?));
            if n % BATCH == 0 {
                tokio::task::yield_now().await;
            }
        }
        let stats = master.stats().await;
        ensure!(stats.queued == QUEUED, "{stats:?}");
        let bytes = (own_mib()? - before) * f64::from(1 << 20);
        println!("{}", bytes / QUEUED as f64);
        Ok(())
    })
}

/// Of a million tasks that wait in the master, all handles kept, for a slave with one slot: the
/// rate of the last hundred thousand by that of the first. None runs before all wait: the slave is
/// held by a reservation, which is given back then.
pub(crate) async fn rates(slave: &Process, rounds: usize) -> Result<()> {
    let (mut ratios, mut lasts, mut firsts) = (vec![], vec![], vec![]);
    for _ in 0..rounds {
        let master = Master::builder().slave(&slave.address).queue(QUEUED).build().await?;
        timed(queue(&master, BEFORE).await?).await?;
        let held = master.reserve().await?;
        let handles = queue(&master, QUEUED).await?;
        let stats = master.stats().await;
        ensure!(stats.queued == QUEUED, "{stats:?}");
        drop(held);
        let times = timed(handles).await?;
        let rate =
            |from: usize, to: usize| (to - from) as f64 / (times[to] - times[from]).as_secs_f64();
        let (first, last) = (rate(0, PART), rate(QUEUED - 1 - PART, QUEUED - 1));
        ratios.push(last / first);
        lasts.push(last);
        firsts.push(first);
        master.shutdown().await;
    }
    print("queued_rate_ratio", "x", &ratios, &[]);
    print("queued_last_per_s", "1/s", &lasts, &firsts);
    Ok(())
}

type Queued = Vec<TaskHandle<(u32, i64)>>;

/// Dispatches so many tasks, the driver having its turns meanwhile.
async fn queue(master: &Master, tasks: usize) -> Result<Queued> {
    let mut handles = Vec::with_capacity(tasks);
    for n in 0..tasks {
        handles.push(master.dispatch(fresh_add::call(i64::try_from(n)?, 1)));
        if n % BATCH == 0 {
            tokio::task::yield_now().await;
        }
    }
    Ok(handles)
}

/// When each was heard to have ended. One slot ends them in their order.
async fn timed(handles: Queued) -> Result<Vec<Instant>> {
    let all = async {
        let mut times = Vec::with_capacity(handles.len());
        for (handle, sum) in handles.into_iter().zip(1..) {
            check(handle.await?, sum)?;
            times.push(Instant::now());
        }
        Ok(times)
    };
    within(PATIENCE, "the last of the tasks that were queued", all).await
}
