//! The whole of dpfw on a real job: run by `cargo xtask demo`.
//!
//! Two slaves, processes of their own on loopback, count the words and identifiers of every
//! Rust file in the local cargo registry. In the middle one of them is killed with SIGKILL.
//!
//! Owns: the order of the acts. Invariant: it ends with success only if what was begun on
//! the killed slave was done again, and if every count is the one of a plain loop.

#![forbid(unsafe_code)]

mod basics;
mod input;
mod job;
mod kill;
mod reference;

use anyhow::{Context, Result, anyhow};
use clap::Parser;
use dpfw::Master;
use examples_kit::{Caches, Report, Slaves, grouped};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

/// Counts the words and identifiers of all Rust files in the cargo registry on two slaves,
/// and kills one of them in the middle.
#[derive(Parser)]
struct Cli {
    /// A directory of Rust files to count instead of the cargo registry.
    #[arg(long)]
    dir: Option<PathBuf>,
    /// How many of the most frequent identifiers are shown.
    #[arg(long, default_value_t = 10)]
    top: usize,
}

/// As many slaves as the demo needs: one to kill, one to go on.
const SLAVES: usize = 2;

/// How often the job is done, if no slave could be killed in its middle.
const TRIES: usize = 3;

fn main() -> ExitCode {
    match run(&Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("the demo failed: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(cli: &Cli) -> Result<()> {
    // The handles are awaited here; the master's driver has a thread of its own, so that
    // it hears the slaves while this one reads files.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(demo(cli))
}

async fn demo(cli: &Cli) -> Result<()> {
    let begun = Instant::now();
    let input = input::find(cli.dir.as_deref())?;
    let mut slaves = Slaves::start(SLAVES, Caches::Shared, &[])?;
    let builder = slaves.addresses().fold(Master::builder(), |b, address| b.slave(address));
    let master = builder.build_blocking().context("the master cannot start")?;
    let mut report = Report::default();

    report.title("slaves");
    for slave in master.slaves() {
        report.row(slave.name(), format!("{}, slots: {}", slave.address(), slave.slots()));
    }
    report.title("basics");
    basics::run(&master, &mut report).await?;
    report.print_and_clear();

    let mut done = job::run(&master, &input, &mut slaves).await?;
    // Where others use the machine as well the slaves may not have been seen at work all at once.
    for _ in 1..TRIES {
        if done.has_killed() {
            break;
        }
        done = job::run(&master, &input, &mut slaves).await?;
    }
    report.title("the job");
    input.tell(&mut report);
    done.tell(&mut report);
    report.title("the loss");
    done.tell_loss(&master.stats().await, &mut report);

    let reference = reference::count(&input.files.paths)?;
    report.title("the same without dpfw, in this process");
    let verdict = reference.compare(&done.counts);
    reference.tell(verdict.as_ref(), &mut report);
    report.title("most frequent identifiers");
    for (name, n) in done.counts.most_frequent(cli.top) {
        report.row(name, grouped(n));
    }
    report.print_and_clear();

    done.check_loss()?;
    verdict.map_err(|difference| anyhow!("the counts differ: {difference}"))?;
    println!("all of it in {:.1} s", begun.elapsed().as_secs_f64());
    Ok(())
}
