//! Many slaves: what a task costs its master when a thousand are linked, and whether it goes on
//! while slaves join and leave.
//!
//! Owns: the loads. Does not: speak the wire; the slaves are [stand-ins](crate::standins) in
//! processes of their own. The master runs in this one.

use crate::placed::Placement;
use crate::process::own_cpu;
use crate::report::print;
use crate::standins::{Crowd, Kind, PRESENT, Pace, come_and_go};
use crate::within::within;
use anyhow::{Result, ensure};
use dpfw::Master;
use dpfw_bench_tasks::hold;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use std::time::{Duration, Instant};

/// Slaves, and the few that many are held against.
const MANY: usize = 1_000;
const FEW: usize = 2;

/// Slots of each slave of which nothing else is said.
const SLOTS: u32 = 2;

/// Tasks under way at once: one in each slot of a thousand.
const UNDER_WAY: usize = MANY * SLOTS as usize;

/// What slaves are given to do.
pub(crate) struct Load {
    placement: Placement,
    tasks: u64,
    under_way: usize,
    /// Before those that count: each slave has been told of the task then.
    before: u64,
    /// How long the task of a number holds its slot.
    micros: fn(u64) -> u64,
    /// Slots of each slave; if it is not said, all have [`UNDER_WAY`] together.
    slots: Option<usize>,
}

const AT_ONCE: Load = Load {
    placement: Placement::Apart,
    tasks: 200_000,
    under_way: UNDER_WAY,
    before: 20_000,
    micros: |_| 0,
    slots: Some(SLOTS as usize),
};

const QUEUED: Load = Load { tasks: 400_000, under_way: 100_000, before: 100_000, ..AT_ONCE };

/// From 100 to 300 ms, so that those that were dispatched together do not end together.
const PACED: Load = Load {
    placement: Placement::Apart,
    tasks: 30_000,
    under_way: UNDER_WAY,
    before: 5_000,
    micros: |number| 100_000 + number * 79_193 % 200_000,
    slots: None,
};

const ANYWHERE: Load = Load { placement: Placement::Anywhere, ..PACED };

/// The loads of [`fanout`], and how what they cost is called.
pub(crate) const FANOUT: [(&str, Load); 4] = [
    ("fanout_1000_cpu", AT_ONCE),
    ("fanout_1000_queued_cpu", QUEUED),
    ("fanout_1000_paced_cpu", PACED),
    ("fanout_1000_paced_anywhere_cpu", ANYWHERE),
];

/// Tasks one after the other before it is measured how long they take.
const SETTLED: u64 = 1_000;

/// Longer than a round takes.
const PATIENCE: Duration = Duration::from_secs(120);

/// Of slaves that come and go.
const PACE: Pace = Pace { per_s: 100, total: 500 };

/// Tasks one after the other that are to end in a second at least, or nothing was measured.
const LEAST_PER_S: f64 = 100.0;

/// Processor time of the master's process for a task, this driver's loop included, with a thousand
/// slaves linked by that with two. As many tasks are under way either way, as of a caller who has
/// so many to do and adds slaves. Two loads, since a task costs less the more of them cross a link
/// in one system call:
///
/// - `fanout_1000_cpu_ratio`: tasks that end at once, so that the master has no rest. Of two slaves
///   each has a thousand of them then, and a system call carries hundreds; of a thousand each has
///   two. That ratio is of the largest batches to the smallest.
/// - `fanout_1000_paced_cpu_ratio`: tasks of a fifth of a second, ten thousand of which end in a
///   second, and as many slots in all. Results come one by one whoever sends them, as they do
///   unless a master is at its limit.
pub(crate) async fn fanout(metric: &str, load: &Load, rounds: usize) -> Result<()> {
    let (mut many, mut few, mut ratios) = (vec![], vec![], vec![]);
    for _ in 0..rounds {
        let of_few = cost(FEW, load).await?;
        let of_many = cost(MANY, load).await?;
        ratios.push(of_many / of_few);
        few.push(of_few);
        many.push(of_many);
    }
    print(&format!("{metric}_ratio"), "x", &ratios, &[]);
    print(&format!("{metric}_us"), "us", &many, &few);
    print(&format!("{}_us", metric.replace("1000", "2")), "us", &few, &[]);
    Ok(())
}

/// Microseconds of processor time for a task, with so many slaves.
async fn cost(slaves: usize, load: &Load) -> Result<f64> {
    let slots = load.slots.unwrap_or(UNDER_WAY / slaves) as u32;
    let crowd = Crowd::start(&Kind { count: slaves, slots, slow: 0 }, load.placement).await?;
    run(&crowd.master, load.before, load.under_way, load.micros).await?;
    let before = own_cpu()?;
    run(&crowd.master, load.tasks, load.under_way, load.micros).await?;
    let micros = (own_cpu()? - before).as_secs_f64() * 1e6 / load.tasks as f64;
    crowd.end().await?;
    Ok(micros)
}

/// Runs tasks of these lengths, each followed by the next.
async fn run(master: &Master, tasks: u64, under_way: usize, micros: fn(u64) -> u64) -> Result<()> {
    let begin = |number| {
        let task = master.dispatch(hold::call(number, micros(number)));
        async move { anyhow::Ok((number, task.await?)) }
    };
    let all = async {
        let mut numbers = 0..tasks;
        let mut running: FuturesUnordered<_> =
            numbers.by_ref().take(under_way).map(begin).collect();
        while let Some(done) = running.next().await {
            let (number, said) = done?;
            ensure!(said == number, "task {number} has the result of {said}");
            running.extend(numbers.next().map(begin));
        }
        Ok(())
    };
    within(PATIENCE, "the last of many tasks", all).await
}

/// The longest time between two results of tasks that follow one another, while a hundred slaves a
/// second join and as many leave, every other one without a word; beside the same for as long
/// while none does. Two slaves stay; tasks go wherever the master sends them, also to those that
/// are about to leave, so that what is lost with a slave is noticed and repeated within that time.
/// None may fail.
pub(crate) async fn churn(rounds: usize) -> Result<()> {
    let (mut stalls, mut limits) = (Vec::new(), Vec::new());
    let kind = Kind { count: FEW, slots: SLOTS, slow: 0 };
    for _ in 0..rounds {
        let crowd = Crowd::start(&kind, Placement::Anywhere).await?;
        run(&crowd.master, SETTLED, 1, |_| 0).await?;
        let planned = Duration::from_secs(1) * (PACE.total + PRESENT) / PACE.per_s;
        let quiet = tokio::spawn(tokio::time::sleep(planned));
        limits.push(longest(&crowd.master, || quiet.is_finished()).await?);
        let address = crowd.address.clone();
        let visits = tokio::task::spawn_blocking(move || come_and_go(&address, PACE));
        let stall = longest(&crowd.master, || visits.is_finished()).await?;
        let took = visits.await??;
        ensure!(took < planned * 11 / 10, "slaves came and went for {took:?}, not {planned:?}");
        stalls.push(stall);
        gone(&crowd.master).await?;
        crowd.end().await?;
    }
    print("churn_stall_ms", "ms", &stalls, &limits);
    Ok(())
}

/// The most milliseconds between two results, until it is over.
async fn longest(master: &Master, is_over: impl Fn() -> bool) -> Result<f64> {
    let (begun, mut last, mut longest) = (Instant::now(), Instant::now(), Duration::ZERO);
    let mut number = 0u64;
    while !is_over() {
        let task = async { Ok(master.dispatch(hold::call(number, 0)).await?) };
        let said = within(PATIENCE, "a result while slaves come and go", task).await?;
        ensure!(said == number, "task {number} has the result of {said}");
        let now = Instant::now();
        longest = longest.max(now - last);
        last = now;
        number += 1;
    }
    let rate = number as f64 / begun.elapsed().as_secs_f64();
    ensure!(rate > LEAST_PER_S, "{number} tasks in {:?}", begun.elapsed());
    let stats = master.stats().await;
    ensure!(stats.failed == 0, "tasks failed: {stats:?}");
    Ok(longest.as_secs_f64() * 1e3)
}

/// Waits until the master has noticed that the last of those that left is gone.
async fn gone(master: &Master) -> Result<()> {
    let few = async || Ok(master.slaves().len() == FEW);
    dpfw_tests::wait::until("all but those that stay to be gone", few).await
}
