//! Tasks of all kinds on slaves that are killed, stopped and terminated at random:
//! `dpfw-soak --minutes 10`. It fails unless every result is exact, nothing hangs, and all is
//! as before when it is over. `cargo xtask soak` builds and runs it.

#![forbid(unsafe_code)]

use anyhow::{Context, Result};
use clap::Parser;
use dpfw_tests::soak::Plan;
use std::process::ExitCode;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Runs tasks of all kinds while slaves are killed, stopped and terminated at random.
#[derive(Parser)]
#[command(name = "cargo xtask soak", bin_name = "cargo xtask soak")]
struct Options {
    /// How long tasks are dispatched
    #[arg(long, default_value = "1")]
    minutes: f64,
    /// Tasks, dispatched evenly; 20,000 a minute unless told
    #[arg(long)]
    tasks: Option<u64>,
    /// Repeats what was random; another one each time unless told
    #[arg(long)]
    seed: Option<u64>,
    /// Slaves in processes of their own; all but the first may be ended
    #[arg(long, default_value = "4")]
    slaves: usize,
    /// The mean time between two signals to a slave, in seconds
    #[arg(long, default_value = "2")]
    mean: f64,
    /// Nothing is done to the slaves; then none may be lost either
    #[arg(long)]
    calm: bool,
    /// One JSON object in place of the tables
    #[arg(long)]
    json: bool,
}

/// What an acceptance run dispatches.
const A_MINUTE: f64 = 20_000.0;

impl Options {
    fn plan(&self) -> Result<Plan> {
        let here = std::env::current_exe()?;
        let beside = here.parent().context("a program is in a directory")?;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Ok(Plan {
            seed: self.seed.unwrap_or(u64::from(now.subsec_nanos()) ^ now.as_secs()),
            time: Duration::try_from_secs_f64(self.minutes * 60.0)?,
            tasks: self.tasks.unwrap_or((self.minutes * A_MINUTE) as u64),
            slaves: self.slaves.max(1),
            signals: (!self.calm).then(|| Duration::try_from_secs_f64(self.mean)).transpose()?,
            program: beside.join("dpfw-test-slave"),
        })
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let options = Options::parse();
    match run(&options).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(options: &Options) -> Result<()> {
    let plan = options.plan()?;
    eprintln!("seed {}", plan.seed);
    let report = plan.run().await.with_context(|| format!("seed {}", plan.seed))?;
    match options.json {
        true => println!("{}", report.to_json()),
        false => print!("{report}"),
    }
    Ok(())
}
