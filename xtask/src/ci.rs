//! `cargo xtask ci`: everything that CI runs.
//!
//! Owns: the steps and their order, most telling first. Invariant: a step that cannot be
//! had here (a tool, a network) is told as skipped, never as passed.

use crate::command::{cargo_with, run as run_command, succeeds};
use crate::{bench, counts, demo, faults, seeds, simulate, targets, test};
use anyhow::{Context, Result};
use clap::{Args, ValueEnum};
use std::time::{Duration, Instant};

/// Which steps are run.
#[derive(Args, Debug)]
pub(crate) struct Options {
    /// Steps to leave out.
    #[arg(long, value_delimiter = ',')]
    skip: Vec<Step>,
    /// The only steps to run.
    #[arg(long, value_delimiter = ',', conflicts_with = "skip")]
    only: Vec<Step>,
}

/// One step, in the order in which they are run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Step {
    /// Formatting.
    Fmt,
    /// Lints, as errors.
    Clippy,
    /// All tests and doc tests.
    Test,
    /// The instructions of the hot paths, beside those that are kept.
    Counts,
    /// That each fault of `docs/faults.md` has a test.
    Faults,
    /// That each row of `docs/seeds.md` has its tests, or says why not.
    Seeds,
    /// Masters and slaves that do not exist, in 2,000 worlds.
    Simulate,
    /// The documentation, its warnings as errors.
    Docs,
    /// Licences, bans and sources of the dependencies; advisories if they can be reached.
    Deny,
    /// The demo.
    Demo,
    /// A short benchmark, its figures shown beside the bars.
    Bench,
}

/// How a step ended that did not fail.
#[derive(Debug, PartialEq, Eq)]
enum Ended {
    Passed,
    Skipped(&'static str),
}

/// Runs the steps up to the first that fails.
pub(crate) fn run(options: &Options) -> Result<()> {
    targets::ensure()?;
    let mut done = Vec::new();
    for step in options.steps() {
        eprintln!("\n== {}", step.name());
        let begun = Instant::now();
        let ended = step.run().with_context(|| {
            format!("the step {0} failed; repeat it with `cargo xtask ci --only {0}`", step.name())
        })?;
        done.push((step, ended, begun.elapsed()));
    }
    eprintln!();
    for (step, ended, elapsed) in &done {
        eprintln!("{}", line(*step, ended, *elapsed));
    }
    Ok(())
}

impl Options {
    fn steps(&self) -> Vec<Step> {
        let is_wanted = |step: &Step| match self.only.is_empty() {
            true => !self.skip.contains(step),
            false => self.only.contains(step),
        };
        Step::value_variants().iter().copied().filter(is_wanted).collect()
    }
}

impl Step {
    fn name(self) -> String {
        self.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
    }

    fn run(self) -> Result<Ended> {
        match self {
            Self::Fmt => {
                component("fmt", "rustfmt")?;
                run_command(&mut cargo_with(&["fmt", "--all", "--check"]))?;
            }
            Self::Clippy => {
                component("clippy", "clippy")?;
                let clippy = ["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"];
                run_command(&mut cargo_with(&clippy))?;
            }
            Self::Test => test::run(&[])?,
            Self::Counts => counts::run(&counts::Options::default())?,
            Self::Faults => faults::run(&faults::Options::listing())?,
            Self::Seeds => seeds::run(&seeds::Options::default())?,
            Self::Simulate => simulate::all()?,
            Self::Docs => {
                let doc = ["doc", "--workspace", "--no-deps"];
                run_command(cargo_with(&doc).env("RUSTDOCFLAGS", "-D warnings"))?;
            }
            Self::Deny => return deny(),
            Self::Demo => demo::run(&[])?,
            // What it measures has to be right; how fast it is says as much about who else
            // is on the machine, and fails nothing here. `cargo xtask bench --check` does.
            Self::Bench => drop(bench::beside_bars(&bench::Which::rounds(3))?),
        }
        Ok(Ended::Passed)
    }
}

/// A component of the toolchain; rustup's default profile has both.
fn component(command: &str, component: &str) -> Result<()> {
    if succeeds(&mut cargo_with(&[command, "--version"])) {
        return Ok(());
    }
    let mut add = std::process::Command::new("rustup");
    run_command(add.args(["component", "add", component]))
        .with_context(|| format!("`cargo {command}` is missing and cannot be installed"))
}

/// Checks the dependencies.
fn deny() -> Result<Ended> {
    if !succeeds(&mut cargo_with(&["deny", "--version"])) {
        let installed = run_command(&mut cargo_with(&["install", "cargo-deny", "--locked"]));
        if let Err(error) = installed {
            eprintln!("{error:#}");
            return Ok(Ended::Skipped("cargo-deny is not there and cannot be installed"));
        }
    }
    run_command(&mut cargo_with(&[
        "deny",
        "check",
        "--hide-inclusion-graph",
        "licenses",
        "bans",
        "sources",
    ]))?;
    // The fuzzer's own licence is none for programs; it is in none.
    let fuzz = ["deny", "--manifest-path", "fuzz/Cargo.toml", "--config", "deny.toml", "check"];
    let fuzz_with = |more: &[&str]| {
        run_command(&mut cargo_with(&[&fuzz[..], &["--hide-inclusion-graph"], more].concat()))
    };
    fuzz_with(&["bans", "sources"])?;
    if !succeeds(&mut cargo_with(&["deny", "fetch", "db"])) {
        return Ok(Ended::Skipped("all but advisories passed; their database is out of reach"));
    }
    run_command(&mut cargo_with(&["deny", "check", "advisories"]))?;
    fuzz_with(&["advisories"])?;
    Ok(Ended::Passed)
}

fn line(step: Step, ended: &Ended, elapsed: Duration) -> String {
    let seconds = elapsed.as_secs();
    match ended {
        Ended::Passed => format!("passed   {:8} {seconds:4} s", step.name()),
        Ended::Skipped(why) => format!("SKIPPED  {:8} {seconds:4} s  {why}", step.name()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(skip: &[Step], only: &[Step]) -> Vec<String> {
        let options = Options { skip: skip.to_vec(), only: only.to_vec() };
        options.steps().into_iter().map(Step::name).collect()
    }

    #[test]
    fn steps_are_run_in_their_order() {
        let all = [
            "fmt", "clippy", "test", "counts", "faults", "seeds", "simulate", "docs", "deny",
            "demo", "bench",
        ];
        assert_eq!(names(&[], &[]), all);
        assert_eq!(
            names(&[Step::Test, Step::Bench], &[]),
            ["fmt", "clippy", "counts", "faults", "seeds", "simulate", "docs", "deny", "demo"]
        );
        assert_eq!(names(&[], &[Step::Demo, Step::Fmt]), ["fmt", "demo"]);
    }

    #[test]
    fn what_was_skipped_is_not_told_as_passed() {
        let told = line(Step::Deny, &Ended::Skipped("no network"), Duration::from_secs(3));
        assert_eq!(told, "SKIPPED  deny        3 s  no network");
    }
}
