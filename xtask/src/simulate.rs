//! `cargo xtask simulate`: worlds of masters and slaves that do not exist, by their seeds.
//!
//! Owns: how many, and which. Does not: know what happens in them; that is
//! `dispatch/src/simulation`. Invariant: a seed that failed runs again exactly.

use crate::command::{cargo_with, run as run_command};
use anyhow::Result;
use clap::Args;

/// Which worlds are run.
#[derive(Args, Debug)]
pub(crate) struct Options {
    /// How many seeds; of some kinds of worlds a part of them.
    #[arg(long, default_value_t = SEEDS)]
    seeds: u64,
    /// The only seed to run, as a failure has printed it.
    #[arg(long, conflicts_with = "seeds")]
    seed: Option<u64>,
    /// Prints every event of every master.
    #[arg(long, requires = "seed")]
    trace: bool,
    /// The kind of world, as a failure has printed it; all of them otherwise.
    kind: Option<String>,
}

/// Worlds in CI.
const SEEDS: u64 = 2000;

/// Runs as many as CI does.
pub(crate) fn all() -> Result<()> {
    run(&Options { seeds: SEEDS, seed: None, trace: false, kind: None })
}

/// Runs worlds.
pub(crate) fn run(options: &Options) -> Result<()> {
    let kind = options.kind.as_deref().unwrap_or_default();
    let tests = format!("simulation::{kind}");
    let mut command = cargo_with(&["test", "-p", "dpfw-dispatch", "--lib", &tests, "--"]);
    match options.seed {
        Some(seed) => {
            command.env("DPFW_SEED", seed.to_string());
            // They have seeds of their own.
            command.args(["--skip", "nonsense", "--skip", "mutants"]);
        }
        None => {
            command.env("DPFW_SEEDS", options.seeds.to_string());
        }
    }
    if options.trace {
        command.env("DPFW_TRACE", "1").arg("--nocapture");
    }
    run_command(&mut command)
}
