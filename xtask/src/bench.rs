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

/// The same, and fails if a figure is beyond its bar.
pub(crate) fn check(args: &[String]) -> Result<()> {
    let beyond = beside_bars(args)?;
    ensure!(beyond.is_empty(), "bars that were not cleared: {}", beyond.join(", "));
    Ok(())
}

/// How often a figure that is beyond its bar is measured: other programs on the machine
/// spoil one measurement easily, and the next one seldom.
const TRIES: usize = 3;

/// Measures, and shows the figures beside their bars. Gives those that are beyond.
pub(crate) fn beside_bars(args: &[String]) -> Result<Vec<String>> {
    build()?;
    let (rest, only) = split_only(args);
    let bars: Vec<Bar> = BARS.into_iter().filter(|bar| is_wanted(bar, only.as_deref())).collect();
    let mut lines = measure(args)?;
    for _ in 1..TRIES {
        for bar in beyond(&bars, &lines) {
            eprintln!("{}; once more", bar.beside(bar.figure(&lines)));
            let only = ["--only".to_owned(), bar.metric.to_owned()];
            lines.extend(measure(&[&rest[..], &only].concat())?);
        }
    }
    for bar in &bars {
        eprintln!("{}", bar.beside(bar.figure(&lines)));
    }
    Ok(beyond(&bars, &lines).iter().map(ToString::to_string).collect())
}

fn beyond(bars: &[Bar], lines: &[String]) -> Vec<Bar> {
    bars.iter().copied().filter(|bar| !bar.is_cleared(bar.figure(lines))).collect()
}

/// The arguments without `--only METRIC`, and that metric.
fn split_only(args: &[String]) -> (Vec<String>, Option<String>) {
    let (mut rest, mut only) = (Vec::new(), None);
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        match arg.strip_prefix("--only") {
            Some("") => only = args.next().cloned(),
            Some(metric) => only = Some(metric.trim_start_matches('=').to_owned()),
            None => rest.push(arg.clone()),
        }
    }
    (rest, only)
}

/// Whether a bar's metric is measured with `--only`, as the benchmark understands it.
fn is_wanted(bar: &Bar, only: Option<&str>) -> bool {
    only.is_none_or(|only| bar.metric.contains(only))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_are_those_of_the_metrics_that_were_asked_for() {
        let split = |line: &str| split_only(&line.split(' ').map(String::from).collect::<Vec<_>>());
        let rest = vec!["--rounds".to_owned(), "3".to_owned()];
        assert_eq!(split("--rounds 3"), (rest.clone(), None));
        assert_eq!(split("--only idle --rounds 3"), (rest.clone(), Some("idle".into())));
        assert_eq!(split("--rounds 3 --only=idle"), (rest, Some("idle".into())));

        let wanted = |only| BARS.iter().filter(|bar| is_wanted(bar, only)).count();
        assert_eq!([None, Some("payload"), Some("rtt")].map(wanted), [BARS.len(), 3, 0]);
    }
}
