//! The project's own tool: `cargo xtask demo`, `test`, `faults`, `simulate`, `fuzz`, `soak`,
//! `bench`, `counts`, `guests`, `programs`, `ci`.
//!
//! Owns: which programs are run, in which order, and what is said when one cannot be. Does
//! not: depend on dpfw, so that it is there in seconds. Invariant: everything is run from
//! the root of the workspace, whatever the caller's directory.

#![forbid(unsafe_code)]

mod apt;
mod bars;
mod bench;
mod ci;
mod command;
mod counts;
mod demo;
mod faults;
mod fuzz;
mod guests;
mod page;
mod programs;
mod seeds;
mod simulate;
mod soak;
mod targets;
mod test;

use anyhow::{Context, Result};
use clap::{Parser, Subcommand};
use std::path::Path;
use std::process::ExitCode;

/// Runs, tests and measures dpfw.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Cli {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// Runs the demo: a real job on two slaves, one of which is killed in the middle.
    Demo {
        /// For the demo itself: `--dir DIR`, `--top N`, `--help`.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<String>,
    },
    /// Runs all tests, with cargo-nextest if it is there, and the doc tests.
    Test {
        /// For the test runner, in place of the whole: `-p dpfw-dispatch`, a test's name.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<String>,
    },
    /// Shows every fault that dpfw survives, with the tests of each and what comes of them.
    Faults(faults::Options),
    /// Shows what the systems before dpfw offer, with the tests that show it here.
    Seeds(seeds::Options),
    /// Looks for inputs that break what reads bytes of peers and guests, two minutes a target.
    Fuzz(fuzz::Options),
    /// Measures dpfw beside the limits of the platform, one JSON object a line; or beside peers,
    /// in one table.
    Bench(bench::Options),
    /// Counts the instructions of the hot paths, and holds them against those that are kept.
    Counts(counts::Options),
    /// Runs tasks of all kinds while slaves are killed, stopped and terminated at random, and
    /// shows what grows meanwhile.
    Soak {
        /// For the soak itself: `--minutes M`, `--seed N`, `--json`, `--help`.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<String>,
    },
    /// Installs what guests in other languages are built with, for `cargo test`.
    Guests,
    /// Runs everything that CI runs, most telling first.
    Ci(ci::Options),
    /// Runs masters and slaves that do not exist, with faults, by the seeds of their worlds.
    Simulate(simulate::Options),
    /// Builds the programs of other authors that the tests run; `test` does so by itself.
    Programs,
}

fn main() -> ExitCode {
    match run(Cli::parse().what) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(what: What) -> Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("xtask has no workspace")?;
    std::env::set_current_dir(root)
        .with_context(|| format!("{} is not there any more", root.display()))?;
    match what {
        What::Demo { args } => demo::run(&args),
        What::Test { args } => test::run(&args),
        What::Fuzz(options) => fuzz::run(&options),
        What::Faults(options) => faults::run(&options),
        What::Seeds(options) => seeds::run(&options),
        What::Bench(options) => bench::run(&options),
        What::Counts(options) => counts::run(&options),
        What::Soak { args } => soak::run(&args),
        What::Guests => guests::ensure(),
        What::Ci(options) => ci::run(&options),
        What::Simulate(options) => simulate::run(&options),
        What::Programs => programs::run(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_passed_on() {
        use clap::CommandFactory;
        Cli::command().debug_assert();

        let parse = |line: &str| Cli::try_parse_from(line.split(' ')).expect("well-formed").what;
        let What::Demo { args } = parse("xtask demo --dir --help") else {
            panic!("another command");
        };
        assert_eq!(args, ["--dir", "--help"]);
    }
}
