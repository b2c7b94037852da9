//! What a task costs that waits in the master.
//!
//! Owns: the process that queues, so that memory of other measurements is not used again.
//! Does not: count arguments: its calls have none that are allocated. Its handles are counted.

use crate::process::own_mib;
use crate::report::print;
use anyhow::{Context, Result, ensure};
use dpfw::{Master, Task};
use dpfw_bench_tasks::fresh_add;
use std::process::Command;

/// Tasks that wait at once.
const QUEUED: usize = 1_000_000;

/// Dispatched between two turns of the driver.
const BATCH: usize = 1_000;

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
