//! Map and reduce: batches of files are counted, counts are merged, on whatever slave is
//! free.
//!
//! Owns: what is in flight and what waits to be merged. Invariant: both are bounded, so
//! that memory does not grow with the number of files.

use crate::input::Input;
use crate::kill::{self, Killed};
use anyhow::{Context as _, Result, ensure};
use dpfw::{Call, CallExt, Master, Progress, Receipt, Stats, TaskError, TaskHandle};
use examples_kit::{Bar, Report, Slaves, Unit, grouped};
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use std::ops::RangeInclusive;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};
use tokio::time::MissedTickBehavior;
use wordcount::Batches;
use wordcount_tasks::{Counts, count, merge};

/// Batches that the input is cut into, within the sizes below.
const BATCHES: u64 = 64;

/// Bytes of a batch: so many that a slave takes longer to count them than the master to read
/// what it counted, without which the slaves are rarely counting at once, and no more than are
/// well spread over the slaves.
const BATCH: RangeInclusive<u64> = 1 << 18..=4 << 20;

/// How long a task may take; it takes some tenths of a second. The demo then ends with an
/// error instead of never.
const PATIENCE: Duration = Duration::from_secs(60);

/// Tasks in flight: each slave counts one, has one there, and one is on its way.
const IN_FLIGHT: usize = 6;

/// So many counts are merged by a task.
const FAN_IN: usize = 4;

/// A slave is killed when this part of the input has been counted, or as soon after as may be.
const KILL_AFTER: u64 = 10;

/// So many wait before they are merged when a slave is to be killed, for which all slaves
/// have to be counting.
const HELD_BACK: usize = 4 * FAN_IN;

/// A task in flight.
#[derive(Debug)]
pub(crate) struct Flight {
    /// Counted from 1, in the order of dispatch.
    pub(crate) number: usize,
    /// The bytes that it counts; none if it merges.
    bytes: u64,
    handle: TaskHandle<Counts>,
}

/// A task that has ended; what awaiting a flight gives.
pub(crate) struct Landed {
    number: usize,
    bytes: u64,
    result: Result<Counts, TaskError>,
    receipt: Option<Receipt>,
}

impl Flight {
    pub(crate) fn progress(&self) -> Progress {
        self.handle.progress()
    }
}

impl Future for Flight {
    type Output = Landed;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Landed> {
        Pin::new(&mut self.handle).poll(cx).map(|result| {
            let receipt = self.handle.receipt();
            Landed { number: self.number, bytes: self.bytes, result, receipt }
        })
    }
}

/// The job, done.
#[derive(Debug)]
pub(crate) struct Done {
    pub(crate) counts: Counts,
    tasks: usize,
    merges: usize,
    elapsed: Duration,
    killed: Option<Killed>,
    /// The tasks that were started more than once.
    again: Vec<(usize, Receipt)>,
}

/// The job under way.
struct Job<'a> {
    master: &'a Master,
    batches: Batches,
    flights: FuturesUnordered<Flight>,
    /// Waiting to be merged; no more than [`HELD_BACK`] and what is in flight.
    parts: Vec<Counts>,
    tasks: usize,
    merges: usize,
    counted: u64,
    again: Vec<(usize, Receipt)>,
}

/// Counts the input, and kills one of the slaves in the middle.
pub(crate) async fn run(master: &Master, input: &Input, slaves: &mut Slaves) -> Result<Done> {
    let begun = Instant::now();
    let bar = Bar::new(input.files.bytes, Unit::Bytes);
    let mut job = Job {
        master,
        batches: Batches::new(input.files.paths.clone(), batch_size(input.files.bytes)),
        flights: FuturesUnordered::new(),
        parts: Vec::new(),
        tasks: 0,
        merges: 0,
        counted: 0,
        again: Vec::new(),
    };
    let mut killed = None;
    let mut look = tokio::time::interval(kill::LOOK);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        // Early, since on a busy machine all slaves are rarely counting at once.
        let is_time = killed.is_none() && job.counted * KILL_AFTER >= input.files.bytes;
        job.dispatch(if is_time { HELD_BACK } else { FAN_IN })?;
        tokio::select! {
            landed = job.flights.next() => match landed {
                Some(landed) => job.land(landed, &bar)?,
                None => break,
            },
            _ = look.tick(), if is_time => {
                killed = kill::try_kill(job.flights.iter(), slaves)?;
                if let Some(killed) = &killed {
                    bar.say(&format!("the slave at {} is killed with SIGKILL", killed.address));
                }
            }
        }
    }
    bar.finish();
    let counts = job.parts.pop().context("nothing was counted")?;
    let Job { tasks, merges, again, .. } = job;
    Ok(Done { counts, tasks, merges, elapsed: begun.elapsed(), killed, again })
}

fn batch_size(bytes: u64) -> usize {
    (bytes / BATCHES).clamp(*BATCH.start(), *BATCH.end()) as usize
}

impl Job<'_> {
    /// Dispatches as much as may be in flight: merges first if so many counts wait, since
    /// they free memory.
    fn dispatch(&mut self, most: usize) -> Result<()> {
        while self.flights.len() < IN_FLIGHT {
            if self.parts.len() >= most {
                self.merge();
            } else if let Some(batch) = self.batches.next().transpose()? {
                let bytes = batch.iter().map(|text| text.len() as u64).sum();
                self.fly(count::call(batch), bytes);
            } else if self.flights.is_empty() && self.parts.len() > 1 {
                self.merge();
            } else {
                break;
            }
        }
        Ok(())
    }

    fn merge(&mut self) {
        self.merges += 1;
        let parts = self.parts.drain(..self.parts.len().min(FAN_IN)).collect();
        self.fly(merge::call(parts), 0);
    }

    fn fly(&mut self, call: Call<Counts>, bytes: u64) {
        self.tasks += 1;
        let handle = self.master.dispatch(call.timeout(PATIENCE));
        self.flights.push(Flight { number: self.tasks, bytes, handle });
    }

    fn land(&mut self, landed: Landed, bar: &Bar) -> Result<()> {
        let Landed { number, bytes, result, receipt } = landed;
        self.parts.push(result.with_context(|| format!("task {number} failed"))?);
        self.counted += bytes;
        bar.advance(bytes);
        if let Some(receipt) = receipt.filter(|receipt| receipt.attempts > 1) {
            bar.say(&format!("task {number} was done again on {}", receipt.slave));
            self.again.push((number, receipt));
        }
        Ok(())
    }
}

impl Done {
    /// Whether there was a moment to kill a slave.
    pub(crate) fn has_killed(&self) -> bool {
        self.killed.is_some()
    }

    /// Whether a started attempt was lost with the killed slave and done again.
    ///
    /// # Errors
    /// It was not; the demo has not shown what it is for.
    pub(crate) fn check_loss(&self) -> Result<()> {
        let bytes = self.counts.bytes;
        ensure!(
            self.killed.is_some(),
            "no slave was killed: the slaves were never counting all at once; \
             {bytes} bytes may be too few"
        );
        ensure!(!self.again.is_empty(), "no started attempt was lost and done again");
        Ok(())
    }

    pub(crate) fn tell(&self, report: &mut Report) {
        let seconds = self.elapsed.as_secs_f64();
        let counts = self.tasks - self.merges;
        report.row("words", grouped(self.counts.all_words()));
        report.row("identifiers", grouped(self.counts.all_identifiers()));
        report.row("tasks", format!("{} ({counts} count, {} merge)", self.tasks, self.merges));
        report.row("time", format!("{seconds:.2} s"));
        report.row("tasks per second", format!("{:.1}", self.tasks as f64 / seconds));
        let rate = self.counts.bytes as f64 / 1e6 / seconds;
        report.row("megabytes per second", format!("{rate:.1}"));
    }

    pub(crate) fn tell_loss(&self, stats: &Stats, report: &mut Report) {
        match &self.killed {
            None => report.row("killed", "no slave"),
            Some(killed) => {
                report.row("killed", format!("the slave at {}, with SIGKILL", killed.address));
                for (number, done, total) in &killed.begun {
                    let how = format!(
                        "task {number}, {} of {} bytes done",
                        grouped(*done),
                        grouped(*total)
                    );
                    report.row("begun then", how);
                }
            }
        }
        for (number, receipt) in &self.again {
            let (attempts, slave) = (receipt.attempts, &receipt.slave);
            report.row("done again", format!("task {number}, attempt {attempts}, on {slave}"));
        }
        report.row("dispatched again", format!("{} in all, begun or not", stats.retried));
        report.row("late results dropped", stats.stale);
        report.row("slaves left", stats.slaves);
    }
}
