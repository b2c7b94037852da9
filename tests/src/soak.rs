//! Tasks of all kinds on slaves in processes of their own, while these are killed, stopped,
//! continued and terminated at random.
//!
//! Owns: the plan, and what has to hold in the end: every result is exact, nothing hangs, and
//! descriptors, memory and the tables of tasks are back where they were. Does not: run within
//! a test's process, where other tests would be measured with it; `dpfw-soak` is a program.
//! Invariant: everything random comes from one seed, but for when the machine does what.

mod load;
mod measure;
mod random;
mod report;
mod signals;

use crate::fleet::linked;
use crate::process::Process;
use crate::wait::{until, within};
use anyhow::{Context, Result, ensure};
use dpfw::{CallExt, LinkedSlave, Master};
use dpfw_test_tasks::{clocks, nap};
use futures_util::future::try_join_all;
pub use load::Done;
pub use measure::Sample;
use measure::Series;
use random::Random;
pub use report::{Report, Slopes};
pub use signals::Told;
use signals::Watched;
use std::path::PathBuf;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::Instant;

/// What is to be done, and what is done to the slaves meanwhile.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Everything random comes of it.
    pub seed: u64,
    /// How long tasks are dispatched, evenly.
    pub time: Duration,
    /// How many.
    pub tasks: u64,
    /// How many slaves there are; the first is stopped and continued, but never ended, so
    /// that there is one whose memory can be watched all the while.
    pub slaves: usize,
    /// The mean time between two signals to a slave; nothing is done to them without.
    pub signals: Option<Duration>,
    /// `dpfw-test-slave`.
    pub program: PathBuf,
}

/// Slots of each slave.
const SLOTS: usize = 2;

/// How much larger than before a process may be when it is idle again: what its allocator
/// keeps of the largest payloads that were under way at once, and the buffer that is kept for
/// the next one.
const MARGIN: u64 = 48 << 20;

/// Tries that chance alone cannot use up.
const ENOUGH: u32 = 10_000;

/// How long a sample waits for a slave.
const ANSWER: Duration = Duration::from_millis(500);

impl Plan {
    fn name(index: usize) -> String {
        format!("soak{index}")
    }

    /// Runs the plan.
    ///
    /// # Errors
    /// A result that is not the right one, something that hangs, or something that is not
    /// where it was before.
    pub async fn run(&self) -> Result<Report> {
        let builder = Master::builder().listen("127.0.0.1:0").attempts(ENOUGH).poison(ENOUGH);
        let running = within("the master", builder.build_listening()).await??;
        let (master, address) = (running.master, running.listening[0].to_string());
        let mut crew = Vec::new();
        for index in 0..self.slaves {
            let name = Self::name(index);
            let process = Process::dialling(&self.program, &name, SLOTS, &address).await?;
            let program = self.program.clone();
            crew.push(Watched::new(process, program, name, address.clone(), index > 0));
        }
        let spread = self.warm_up(&master).await?;
        let before = self.idle(&master, &crew).await?;
        let (first, begun) = (self.slave(&master, 0)?, Instant::now());
        let mut random = Random::new(self.seed);
        let (over, ending) = watch::channel(());
        let tending = crew.into_iter().map(|watched| {
            let pauses = self.signals.map(|mean| (mean, random.fork()));
            watched.tend(pauses, ending.clone())
        });
        let tending = try_join_all(tending.collect::<Vec<_>>());
        let sampling = self.series(&master, before[0].process, ending.clone());
        let loaded = async {
            let done = load::run(&master, self).await;
            // Whoever tends and samples ends with it.
            drop(over);
            done
        };
        let (crew, series, done) = tokio::try_join!(tending, sampling, loaded)?;
        let took = begun.elapsed();
        ensure!(self.signals.is_some() || first.is_linked(), "{first} was lost for no reason");
        // What they have warmed is what they had before.
        self.warm_up(&master).await?;
        let after = self.settled(&master, &crew, &before).await?;
        let stats = master.stats().await;
        ensure!(stats.unresolved == 0 && stats.queued == 0, "tasks are left: {stats:?}");
        let told = crew.iter().map(|watched| watched.told).collect();
        let slopes = series.slopes();
        Ok(Report { seed: self.seed, took, done, told, stats, spread, before, after, slopes })
    }

    /// The slave of that number, when it is linked.
    fn slave(&self, master: &Master, index: usize) -> Result<LinkedSlave> {
        linked(master, &Self::name(index))
    }

    /// Has every slave do a task of each kind. Gives by how many seconds the wall clocks that
    /// they have seen differ.
    async fn warm_up(&self, master: &Master) -> Result<u64> {
        let mut seen = Vec::new();
        for index in 0..self.slaves {
            let what = format!("{} to be linked", Self::name(index));
            until(&what, async || Ok(self.slave(master, index).is_ok())).await?;
            let slave = self.slave(master, index)?;
            for _ in 0..6 {
                let clocks = master.dispatch(clocks::call().on(&slave));
                seen.push(within("a look at the clock", clocks).await??.0);
            }
            load::each_kind(master, &slave).await?;
            // Each slot has run something then, if they are quick enough.
            let naps = (0..SLOTS as u64).map(|n| master.dispatch(nap::call(50, n).on(&slave)));
            for nap in naps.collect::<Vec<_>>() {
                within("a nap", nap).await??;
            }
        }
        let (least, most) = (seen.iter().min(), seen.iter().max());
        Ok(most.zip(least).map_or(0, |(most, least)| most - least))
    }

    /// Every process when nothing is to be done: this one behind the slaves.
    async fn idle(&self, master: &Master, crew: &[Watched]) -> Result<Vec<Sample>> {
        let mut samples = Vec::new();
        for (index, watched) in crew.iter().enumerate() {
            let slave = self.slave(master, index)?;
            let mut tasks = u64::MAX;
            until(&format!("{slave} to be idle"), async || {
                let now = slave.describe().await?;
                tasks = u64::from(now.running + now.queued + now.waiting + now.sandboxes);
                Ok(tasks == 0)
            })
            .await?;
            samples.push(Sample::of(watched.process.id(), tasks)?);
        }
        until("all tasks to resolve", async || Ok(master.stats().await.unresolved == 0)).await?;
        samples.push(Sample::of(std::process::id(), 0)?);
        Ok(samples)
    }

    /// The same when all is over: what was opened is closed, and memory is where it was. A
    /// slot of a slave opens a descriptor when it first runs something, perhaps only now.
    async fn settled(
        &self,
        master: &Master,
        crew: &[Watched],
        before: &[Sample],
    ) -> Result<Vec<Sample>> {
        let mut after = Vec::new();
        let settled = until("descriptors to be what they were", async || {
            after = self.idle(master, crew).await?;
            let grown =
                |(now, then): (&Sample, &Sample)| now.descriptors.saturating_sub(then.descriptors);
            let grown: Vec<_> = after.iter().zip(before).map(grown).collect();
            let (master, slaves) = grown.split_last().context("the master is the last")?;
            Ok(*master == 0 && slaves.iter().all(|slave| *slave <= SLOTS as u64))
        });
        if let Err(error) = settled.await {
            return Err(error.context(format!("before {before:?}, after {after:?}")));
        }
        for (now, then) in after.iter().zip(before) {
            let most = then.memory + MARGIN;
            ensure!(now.memory <= most, "memory: {then:?} before, {now:?} after");
        }
        Ok(after)
    }

    /// Looks at this process and the first slave every second until it is over.
    async fn series(
        &self,
        master: &Master,
        slave: u32,
        mut over: watch::Receiver<()>,
    ) -> Result<Series> {
        let (mut series, mut tasks) = (Series::default(), 0);
        let mut seconds = tokio::time::interval(Duration::from_secs(1));
        loop {
            tokio::select! {
                _ = over.changed() => return Ok(series),
                _ = seconds.tick() => {}
            }
            let unresolved = master.stats().await.unresolved as u64;
            // One that is stopped does not answer, and does nothing either.
            if let Ok(first) = self.slave(master, 0)
                && let Ok(Ok(now)) = tokio::time::timeout(ANSWER, first.describe()).await
            {
                tasks = u64::from(now.running + now.queued + now.waiting + now.sandboxes);
            }
            series.push(Sample::of(std::process::id(), unresolved)?, Sample::of(slave, tasks)?);
        }
    }
}
