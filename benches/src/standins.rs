//! Stand-ins: slaves that speak the wire over TCP and run nothing, many of them in one process.
//!
//! Owns: that process, and starting it. Does not: know what is measured. A task's arguments are
//! its number and how long it holds a slot; its result is the number. So a thousand slaves, or
//! four that do not share two processors, fit one machine, and the processor time of a master
//! is not mixed with theirs. Invariant: the process fails when one of its links does, and ends
//! with the last of them.

mod link;
mod slots;
mod timer;

use crate::placed::{Placed, Placement};
use crate::process::{Process, raise_descriptors};
use crate::within::within;
use anyhow::{Context, Result, ensure};
use clap::Args;
use dpfw::{Master, Running};
use dpfw_tests::wait::until;
use futures_util::{StreamExt, stream};
use link::{Link, Manner};
use std::collections::VecDeque;
use std::io::Write;
use std::process::Command;
use std::time::{Duration, Instant};
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;

/// Handshakes at once: a port has 256 of them.
const AT_ONCE: usize = 64;

/// How long all links of a master may take to end.
const ENDING: Duration = Duration::from_secs(30);

/// How many times slower the slow ones are.
pub(crate) const SLOWNESS: u32 = 10;

/// Of those that come and go, how many are there at any time.
pub(crate) const PRESENT: u32 = 10;

/// Which stand-ins there are to be.
#[derive(Args, Clone, Debug)]
pub(crate) struct Kind {
    /// How many.
    #[arg(long)]
    pub(crate) count: usize,
    /// Slots of each.
    #[arg(long)]
    pub(crate) slots: u32,
    /// How many of them are ten times slower.
    #[arg(long)]
    pub(crate) slow: usize,
}

/// How stand-ins come and go.
#[derive(Args, Clone, Copy, Debug)]
pub(crate) struct Pace {
    /// How many join in a second, and how many leave.
    #[arg(long)]
    pub(crate) per_s: u32,
    /// How many join in all.
    #[arg(long)]
    pub(crate) total: u32,
}

/// A master in this process, and stand-ins in another, all linked.
pub(crate) struct Crowd {
    pub(crate) master: Master,
    /// Where the master listens.
    pub(crate) address: String,
    count: usize,
    /// Behind the master, whose links end first.
    _process: Process,
    _placed: Placed,
}

impl Crowd {
    /// Waits until all are linked.
    pub(crate) async fn start(kind: &Kind, placement: Placement) -> Result<Self> {
        raise_descriptors()?;
        let Running { master, listening } =
            Master::builder().listen("127.0.0.1:0").build_listening().await?;
        let address = listening.first().context("it does not listen")?.to_string();
        let [count, slots, slow] =
            [kind.count.to_string(), kind.slots.to_string(), kind.slow.to_string()];
        let args = ["--count", &count, "--slots", &slots, "--slow", &slow];
        let program = std::env::current_exe()?;
        let args = [&["standins", &address], &args[..]].concat();
        let (_process, _placed) = Placed::start(placement, || Process::start(&program, &args))?;
        let this = Self { master, address, count: kind.count, _process, _placed };
        until("all stand-ins to be linked", async || Ok(this.linked() == this.count)).await?;
        Ok(this)
    }

    fn linked(&self) -> usize {
        self.master.slaves().len()
    }

    /// Ends it, if all are still there.
    pub(crate) async fn end(self) -> Result<()> {
        let linked = self.linked();
        ensure!(linked == self.count, "of {} stand-ins {linked} are linked", self.count);
        within(ENDING, "the master to end", async {
            self.master.shutdown().await;
            Ok(())
        })
        .await
    }
}

/// The process of stand-ins that stay: serves until the last link has ended.
pub(crate) fn serve(master: &str, kind: &Kind) -> Result<()> {
    raise_descriptors()?;
    // Whoever started it is about to let the master listen.
    println!("dialling {master}");
    std::io::stdout().flush()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let dial = |n: usize| {
            let slowness = if n < kind.slow { SLOWNESS } else { 1 };
            async move { Link::dial(master, &format!("stand-in-{n}"), kind.slots, slowness).await }
        };
        let mut links = stream::iter(0..kind.count).map(dial).buffer_unordered(AT_ONCE);
        let mut serving = JoinSet::new();
        while let Some(link) = links.next().await {
            serving.spawn(link?.serve(std::future::pending()));
        }
        while let Some(ended) = serving.join_next().await {
            ended??;
        }
        Ok(())
    })
}

/// Lets stand-ins come and go at a master's, in a process of their own; blocks until the last
/// has left. How long that took.
pub(crate) fn come_and_go(address: &str, pace: Pace) -> Result<Duration> {
    let [per_s, total] = [pace.per_s.to_string(), pace.total.to_string()];
    let mut command = Command::new(std::env::current_exe()?);
    command.args(["churn", address, "--per-s", &per_s, "--total", &total]);
    let output = command.output()?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let said = String::from_utf8(output.stdout)?;
    let seconds = said.trim().parse().with_context(|| format!("no figure: {said}"))?;
    Ok(Duration::from_secs_f64(seconds))
}

/// The process of stand-ins that come and go. Every other one drains, the others vanish. Prints
/// how many seconds that took.
pub(crate) fn churn(master: &str, pace: Pace) -> Result<()> {
    raise_descriptors()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut due = tokio::time::interval(Duration::from_secs(1) / pace.per_s);
        due.set_missed_tick_behavior(MissedTickBehavior::Burst);
        let (mut present, mut serving) = (VecDeque::new(), JoinSet::new());
        let begun = Instant::now();
        let mut manners = [Manner::Polite, Manner::Abrupt].into_iter().cycle();
        // The last leave as the others did, one at a time.
        for n in 0..pace.total + PRESENT {
            due.tick().await;
            while let Some(ended) = serving.try_join_next() {
                ended??;
            }
            if n < pace.total {
                let (told, leave) = oneshot::channel();
                present.push_back(told);
                serving.spawn(visit(master.to_owned(), n, leave));
            }
            if n >= PRESENT {
                let leaving = present.pop_front().zip(manners.next());
                let told = leaving.map(|(told, manner)| told.send(manner));
                ensure!(told.is_some_and(|told| told.is_ok()), "a stand-in left unasked");
            }
        }
        println!("{}", begun.elapsed().as_secs_f64());
        while let Some(ended) = serving.join_next().await {
            ended??;
        }
        Ok(())
    })
}

/// One that comes, and stays until it is told to leave.
async fn visit(master: String, n: u32, leave: oneshot::Receiver<Manner>) -> Result<()> {
    let link = Link::dial(&master, &format!("visitor-{n}"), 1, 1).await?;
    link.serve(async move {
        match leave.await {
            Ok(manner) => manner,
            // The process is about to fail.
            Err(_) => std::future::pending().await,
        }
    })
    .await
}
