//! What a plan came to, for people and for programs.

use super::load::Done;
use super::measure::Sample;
use super::signals::Told;
use dpfw::Stats;
use serde_json::{Value, json};
use std::fmt;
use std::time::Duration;

/// How the master and the first slave changed while tasks ran, per hour. Nothing where there
/// were too few samples.
#[derive(Clone, Copy, Debug, serde::Serialize)]
pub struct Slopes {
    /// Samples that were taken, one a second, after it was warm.
    pub samples: usize,
    /// Bytes that are resident.
    pub master_memory: Option<f64>,
    /// Open descriptors.
    pub master_descriptors: Option<f64>,
    /// Tasks that have not resolved.
    pub master_tasks: Option<f64>,
    /// Bytes that are resident.
    pub slave_memory: Option<f64>,
    /// Open descriptors.
    pub slave_descriptors: Option<f64>,
    /// Attempts and sandboxes.
    pub slave_tasks: Option<f64>,
}

/// What a plan came to. That there is one says that all results were exact.
#[derive(Clone, Debug)]
pub struct Report {
    /// Repeats it.
    pub seed: u64,
    /// From the first task to the last result.
    pub took: Duration,
    /// What was done.
    pub done: Done,
    /// What was done to each slave.
    pub told: Vec<Told>,
    /// What the master has counted.
    pub stats: Stats,
    /// By how many seconds the wall clocks that the slaves saw differed.
    pub spread: u64,
    /// Each slave, and behind them the master, when nothing had been done.
    pub before: Vec<Sample>,
    /// The same when all was done.
    pub after: Vec<Sample>,
    /// How it went in between.
    pub slopes: Slopes,
}

impl Report {
    /// For programs.
    pub fn to_json(&self) -> Value {
        let Stats { accepted, failed, sent, retried, recalled, hedged, stale, .. } = self.stats;
        json!({
            "seed": self.seed,
            "seconds": self.took.as_secs_f64(),
            "done": self.done,
            "told": self.told,
            "master": {
                "accepted": accepted, "failed": failed, "sent": sent, "retried": retried,
                "recalled": recalled, "hedged": hedged, "stale": stale,
            },
            "wall_clock_spread_s": self.spread,
            "before": self.before,
            "after": self.after,
            "per_hour": self.slopes,
        })
    }
}

const MIB: f64 = 1_048_576.0;

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { seed, took, done, stats, .. } = self;
        let seconds = took.as_secs_f64();
        writeln!(f, "seed {seed}: {} tasks in {seconds:.1} s, all results exact", done.tasks)?;
        writeln!(
            f,
            "attempts {}, tried again {}, twice at once {}, late answers dropped {}",
            stats.sent, stats.retried, stats.hedged, stats.stale
        )?;
        for (index, told) in self.told.iter().enumerate() {
            let Told { killed, terminated, stopped, lost } = told;
            writeln!(
                f,
                "slave {index}: killed {killed}, terminated {terminated}, stopped {stopped} \
                 ({lost} for longer than silence is borne)"
            )?;
        }
        writeln!(f, "\n{:10} {:>24} {:>24}", "", "memory, MiB", "descriptors")?;
        for (index, (then, now)) in self.before.iter().zip(&self.after).enumerate() {
            let name = match index + 1 == self.before.len() {
                true => "master".to_owned(),
                false => format!("slave {index}"),
            };
            let memory = [then, now].map(|sample| sample.memory as f64 / MIB);
            let memory = format!("{:.1} -> {:.1}", memory[0], memory[1]);
            let descriptors = format!("{} -> {}", then.descriptors, now.descriptors);
            writeln!(f, "{name:10} {memory:>24} {descriptors:>24}")?;
        }
        let Slopes { samples, .. } = self.slopes;
        writeln!(f, "\nper hour, of {samples} samples")?;
        writeln!(f, "{:10} {:>16} {:>16} {:>16}", "", "memory, MiB", "descriptors", "tasks")?;
        let slopes = &self.slopes;
        let rows = [
            ("master", slopes.master_memory, slopes.master_descriptors, slopes.master_tasks),
            ("slave 0", slopes.slave_memory, slopes.slave_descriptors, slopes.slave_tasks),
        ];
        for (name, memory, descriptors, tasks) in rows {
            let memory = told(memory.map(|bytes| bytes / MIB));
            let (descriptors, tasks) = (told(descriptors), told(tasks));
            writeln!(f, "{name:10} {memory:>16} {descriptors:>16} {tasks:>16}")?;
        }
        Ok(())
    }
}

/// A slope, with its sign.
fn told(slope: Option<f64>) -> String {
    slope.map_or_else(|| "-".to_owned(), |slope| format!("{slope:+.1}"))
}
