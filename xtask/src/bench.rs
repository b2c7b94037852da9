//! `cargo xtask bench`.
//!
//! Owns: the release build, holding figures against their bars, and putting them beside
//! those of peers. Does not: measure; `dpfw-bench` and peers' scripts do. Invariant: what was
//! measured beside peers is in a file before it is in a table.

mod columns;
mod line;
mod machine;
mod number;
mod peers;
mod picture;
mod record;
mod rows;
mod scripts;
mod table;

use crate::bars::{BARS, Bar};
use crate::command::{built, cargo_with, each_line, run as run_command, shown};
use crate::targets;
use anyhow::{Context, Result, bail, ensure};
use clap::Args;
use std::path::PathBuf;
use std::process::Command;

/// What is measured, and beside what it is shown.
#[derive(Args, Debug, Default)]
pub(crate) struct Options {
    #[command(flatten)]
    pub(crate) which: Which,
    /// Fails if a figure is beyond its bar, and again when it is measured once more.
    #[arg(long, conflicts_with_all = ["peers", "from", "out", "plot"])]
    check: bool,
    /// Measures peers too, by the run.sh in each folder of DIR, and prints one table.
    ///
    /// A run.sh prints JSON lines {"peer", "metric", "value", "unit"}, and if they are known
    /// "noisy", "mode", "version", "isolation". Of a peer that is not known by name the metrics
    /// rtt_us_p50, pinned_same_rtt_us_p50, tasks_per_s, actor_calls_per_s_pipelined and
    /// payload_up_MBps_64MiB are shown. `--rounds N` is in its environment as PEER_REPS.
    #[arg(long, value_name = "DIR", value_parser = absolute)]
    peers: Option<PathBuf>,
    /// Only these peers, by their folders' names.
    #[arg(long, value_name = "PEER", value_delimiter = ',', requires = "peers")]
    only_peers: Vec<String>,
    /// Measures nothing: takes the JSON lines of an earlier run. Of two files with the same peer
    /// the last counts.
    #[arg(long, value_name = "FILE", value_parser = absolute)]
    #[arg(conflicts_with_all = ["peers", "out", "rounds", "only", "args"])]
    from: Vec<PathBuf>,
    /// Where the JSON lines go [default: target/bench/DATE.jsonl].
    #[arg(long, value_name = "FILE", value_parser = absolute)]
    out: Option<PathBuf>,
    /// Draws peers.svg and peers.png in DIR, docs if none is named.
    #[arg(long, value_name = "DIR", value_parser = absolute)]
    #[expect(clippy::option_option, reason = "how clap tells an option without a value")]
    plot: Option<Option<PathBuf>>,
}

/// What of the benchmark is run, and how often.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct Which {
    /// Rounds of each measurement.
    #[arg(long)]
    pub(crate) rounds: Option<usize>,
    /// Only metrics whose names contain this.
    #[arg(long, value_name = "METRIC")]
    only: Option<String>,
    /// For the benchmark itself, after `--`.
    #[arg(last = true)]
    args: Vec<String>,
}

/// A path from where the caller is: this tool goes to the workspace's root.
fn absolute(path: &str) -> std::io::Result<PathBuf> {
    std::path::absolute(path)
}

/// Measures, and shows the figures as lines, beside their bars or beside peers.
pub(crate) fn run(options: &Options) -> Result<()> {
    if options.check {
        let beyond = beside_bars(&options.which)?;
        ensure!(beyond.is_empty(), "bars that were not cleared: {}", beyond.join(", "));
        return Ok(());
    }
    if options.peers.is_some()
        || !options.from.is_empty()
        || options.out.is_some()
        || options.plot.is_some()
    {
        return peers::run(options);
    }
    build()?;
    run_command(bench()?.args(options.which.args()))
}

/// How often a figure that is beyond its bar is measured: other programs on the machine
/// spoil one measurement easily, and the next one seldom.
const TRIES: usize = 3;

/// Measures, and shows the figures beside their bars. Gives those that are beyond.
pub(crate) fn beside_bars(which: &Which) -> Result<Vec<String>> {
    build()?;
    let bars: Vec<Bar> = BARS.into_iter().filter(|bar| which.wants(bar)).collect();
    let mut lines = measured(which)?;
    for _ in 1..TRIES {
        for bar in beyond(&bars, &lines) {
            eprintln!("{}; once more", bar.beside(bar.figure(&lines)));
            let only = Some(bar.metric.to_owned());
            lines.extend(measured(&Which { only, ..which.clone() })?);
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

impl Which {
    /// So many rounds of everything.
    pub(crate) fn rounds(rounds: usize) -> Self {
        Self { rounds: Some(rounds), ..Self::default() }
    }

    /// As the benchmark reads it.
    fn args(&self) -> Vec<String> {
        let mut args = Vec::new();
        if let Some(rounds) = self.rounds {
            args.extend(["--rounds".to_owned(), rounds.to_string()]);
        }
        if let Some(only) = &self.only {
            args.extend(["--only".to_owned(), only.clone()]);
        }
        args.extend_from_slice(&self.args);
        args
    }

    /// Whether a bar's metric is measured, as the benchmark understands it.
    fn wants(&self, bar: &Bar) -> bool {
        self.only.as_ref().is_none_or(|only| bar.metric.contains(only))
    }
}

/// Builds the benchmark and, beside it, the program whose slaves it starts: in one go, so
/// that both have the same dependencies.
fn build() -> Result<()> {
    targets::ensure()?;
    let packages = ["--package", "dpfw-bench", "--package", "dpfw-cli"];
    run_command(cargo_with(&["build", "--release"]).args(packages))
}

fn bench() -> Result<Command> {
    Ok(Command::new(built("release", "dpfw-bench")?))
}

/// Runs the benchmark; shows its lines as they come, and gives them.
fn measured(which: &Which) -> Result<Vec<String>> {
    let mut lines = Vec::new();
    measure(which, |line| {
        println!("{line}");
        lines.push(line.to_owned());
    })?;
    Ok(lines)
}

/// Runs the benchmark; gives each line as it comes.
fn measure(which: &Which, take: impl FnMut(&str)) -> Result<()> {
    let mut bench = bench()?;
    bench.args(which.args());
    let shown = shown(&bench);
    eprintln!("$ {shown}");
    let status = each_line(&mut bench, take).with_context(|| format!("`{shown}` cannot be run"))?;
    if !status.success() {
        bail!("`{shown}` failed ({status})");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        options: Options,
    }

    fn parse(line: &str) -> Result<Options, String> {
        let parsed = Line::try_parse_from(line.split(' '));
        parsed.map(|line| line.options).map_err(|error| error.to_string())
    }

    #[test]
    fn options_are_read_in_any_order() {
        let options = parse("bench --rounds 3 --peers a --only rtt --only-peers b,c -- --x");
        let options = options.expect("well-formed");
        assert_eq!(options.which.args(), ["--rounds", "3", "--only", "rtt", "--x"]);
        assert_eq!(options.only_peers, ["b", "c"]);
        let here = std::env::current_dir().expect("somewhere");
        assert_eq!(options.peers, Some(here.join("a")));

        let options = parse("bench --from a --from b --plot").expect("well-formed");
        assert_eq!((options.from.len(), options.plot), (2, Some(None)));
        let options = parse("bench --plot c").expect("well-formed");
        assert_eq!(options.plot, Some(Some(here.join("c"))));
    }

    #[test]
    fn options_that_say_two_things_are_refused() {
        for line in [
            "bench --check --peers a",
            "bench --from a --peers b",
            "bench --from a --rounds 3",
            "bench --only-peers a",
        ] {
            assert!(parse(line).is_err(), "{line}");
        }
    }

    #[test]
    fn bars_are_those_of_the_metrics_that_were_asked_for() {
        let which = |only: &str| Which { only: Some(only.into()), ..Which::rounds(3) };
        let wanted = |which: Which| BARS.iter().filter(|bar| which.wants(bar)).count();
        let all = [Which::default(), which("payload"), which("nothing")];
        assert_eq!(all.map(wanted), [BARS.len(), 3, 0]);
        assert_eq!(which("idle").args(), ["--rounds", "3", "--only", "idle"]);
    }
}
