//! `cargo xtask bench`.
//!
//! Owns: the release build, and holding figures against their bars. Does not: measure;
//! `dpfw-bench` does.

use crate::bars::{BARS, Bar};
use crate::command::{built, cargo_with, run as run_command, shown};
use crate::targets;
use anyhow::{Context, Result, bail, ensure};
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

/// Builds and runs the benchmark with these arguments.
pub(crate) fn run(args: &[String]) -> Result<()> {
    let mut bench = build()?;
    run_command(bench.args(args))
}

/// The same, and fails if a figure is beyond its bar, measured twice: other programs on the
/// machine spoil one measurement easily, and the next one seldom.
pub(crate) fn check(args: &[String]) -> Result<()> {
    build()?;
    let mut lines = measure(args)?;
    let beyond = |lines: &[String]| -> Vec<Bar> {
        BARS.into_iter().filter(|bar| !bar.is_cleared(bar.figure(lines))).collect()
    };
    for bar in beyond(&lines) {
        eprintln!("{}; once more", bar.beside(bar.figure(&lines)));
        let only = ["--only".to_owned(), bar.metric.to_owned()];
        lines.extend(measure(&[args, &only].concat())?);
    }
    for bar in BARS {
        eprintln!("{}", bar.beside(bar.figure(&lines)));
    }
    let beyond: Vec<_> = beyond(&lines).iter().map(ToString::to_string).collect();
    ensure!(beyond.is_empty(), "bars that were not cleared: {}", beyond.join(", "));
    Ok(())
}

/// Builds the benchmark and, beside it, the program whose slaves it starts: in one go, so
/// that both have the same dependencies.
fn build() -> Result<Command> {
    targets::ensure()?;
    let packages = ["--package", "dpfw-bench", "--package", "dpfw-cli"];
    run_command(cargo_with(&["build", "--release"]).args(packages))?;
    bench()
}

fn bench() -> Result<Command> {
    Ok(Command::new(built("release", "dpfw-bench")?))
}

/// Runs the benchmark; shows its lines as they come, and gives them.
fn measure(args: &[String]) -> Result<Vec<String>> {
    let mut bench = bench()?;
    bench.args(args);
    let shown = shown(&bench);
    eprintln!("$ {shown}");
    let mut child = bench.stdout(Stdio::piped()).spawn().context("it cannot be started")?;
    let mut lines = Vec::new();
    for line in BufReader::new(child.stdout.take().context("it has no stdout")?).lines() {
        let line = line.context("its output cannot be read")?;
        println!("{line}");
        lines.push(line);
    }
    let status = child.wait()?;
    if !status.success() {
        bail!("`{shown}` failed ({status})");
    }
    Ok(lines)
}
