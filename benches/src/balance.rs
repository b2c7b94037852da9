//! Balance: how far from the ideal a job ends, when its tasks are of unequal length or its slaves
//! of unequal speed.
//!
//! Owns: the jobs, and the bounds that they are held against. The ideal of each is computed from
//! the same lengths that its tasks have. But for equal tasks the slaves are stand-ins: a machine
//! with two processors has no room for the guests of four slaves at once, and what is measured is
//! the master's placement, not its slaves. The rounds of the mixed job run side by side, each with
//! a master and stand-ins of its own: they hardly use a processor, all of them take the 36 seconds
//! of one, and each has the full number of tasks in their full length. Others follow one another:
//! tasks of one length end at the same moment in all rounds that begin together.

use crate::placed::Placement;
use crate::process::Process;
use crate::report::print;
use crate::standins::{Crowd, Kind, SLOWNESS};
use crate::within::within;
use anyhow::{Result, ensure};
use dpfw::{Call, Master, TaskHandle};
use dpfw_bench_tasks::{hold, hold_freely};
use futures_util::future::try_join_all;
use std::path::Path;
use std::time::{Duration, Instant};

/// A job is given up when it has taken so many times what it takes ideally.
const PATIENCE: u32 = 10;

/// Equal tasks: so many, of this length.
const EQUAL: usize = 16;
const EQUAL_LENGTH: Duration = Duration::from_millis(250);

/// Mixed tasks: so many, between these lengths; each factor between them is as likely.
const MIXED: usize = 10_000;
const SHORTEST: Duration = Duration::from_micros(100);
const LONGEST: Duration = Duration::from_millis(100);

/// Slaves of one slot, for mixed tasks and where one is slow.
const SLAVES: usize = 4;

/// Tasks where one slave is slow: many short ones, and few long ones, of which the last decide.
const LONG_JOB: (u32, Duration) = (2_000, Duration::from_millis(10));
const SHORT_JOB: (u32, Duration) = (40, Duration::from_millis(50));

/// What a job took, and what it takes ideally.
struct Span {
    took: Duration,
    ideal: Duration,
}

/// Dispatches tasks of these lengths all at once; how long until the last has its result.
async fn makespan(
    master: &Master,
    lengths: &[Duration],
    ideal: Duration,
    call: fn(u64, u64) -> Call<u64>,
) -> Result<Span> {
    let begun = Instant::now();
    let dispatched = lengths.iter().zip(0..).map(|(length, number)| {
        Ok((number, master.dispatch(call(number, u64::try_from(length.as_micros())?))))
    });
    let handles: Vec<(u64, TaskHandle<u64>)> = dispatched.collect::<Result<_>>()?;
    let done = async {
        for (number, handle) in handles {
            let said = handle.await?;
            ensure!(said == number, "task {number} has the result of {said}");
        }
        Ok(begun.elapsed())
    };
    Ok(Span { took: within(ideal * PATIENCE, "the last result", done).await?, ideal })
}

/// Prints how many times its ideal a job took, and what it took beside the ideal.
fn told(metric: &str, spans: &[Span]) {
    let ms = |span: Duration| span.as_secs_f64() * 1e3;
    let took: Vec<_> = spans.iter().map(|span| ms(span.took)).collect();
    let ideal: Vec<_> = spans.iter().map(|span| ms(span.ideal)).collect();
    let ratios: Vec<_> = took.iter().zip(&ideal).map(|(took, ideal)| took / ideal).collect();
    print(metric, "x", &ratios, &[]);
    print(&format!("{metric}_ms"), "ms", &took, &ideal);
}

/// Tasks of one length on a slave of two slots, real ones: guests that hold their slot by the
/// clock, so that another program on the machine does not make them longer. The ideal: both
/// slots always busy, nothing between two tasks.
pub(crate) async fn equal(cache: &Path, rounds: usize) -> Result<()> {
    const SLOTS: u32 = 2;
    let slave = Process::slave_of(cache, SLOTS)?;
    let master = Master::builder().slave(&slave.address).build().await?;
    // The module is there then, and has run in both slots.
    let short = [Duration::from_millis(1); 64];
    makespan(&master, &short, Duration::from_secs(1), hold::call).await?;
    let ideal = EQUAL_LENGTH * EQUAL as u32 / SLOTS;
    let mut spans = Vec::new();
    for _ in 0..rounds {
        spans.push(makespan(&master, &[EQUAL_LENGTH; EQUAL], ideal, hold::call).await?);
    }
    told("balance_equal", &spans);
    Ok(())
}

/// Tasks of very unequal lengths, of which the master knows nothing beforehand, on four stand-ins.
/// The ideal is the list schedule: each task, in the order in which they were dispatched, on the
/// slot that is free first, without anything between two tasks. Each round has lengths of its own,
/// the same in every run.
pub(crate) async fn mixed(rounds: usize) -> Result<()> {
    let spans = (1..=rounds as u64).map(|seed| async move {
        let crowd =
            Crowd::start(&Kind { count: SLAVES, slots: 1, slow: 0 }, Placement::Anywhere).await?;
        let lengths = mixed_lengths(seed);
        let ideal = list_schedule(&lengths, SLAVES);
        let span = makespan(&crowd.master, &lengths, ideal, hold::call).await?;
        crowd.end().await?;
        anyhow::Ok(span)
    });
    told("balance_mixed", &try_join_all(spans).await?);
    Ok(())
}

/// Tasks of one length, free of effects, on four stand-ins of which one is ten times slower. The
/// ideal is the least time in which all four together can end so many whole tasks, see
/// [`least_time`]: no schedule is quicker, whether or not it tries a task twice, since the result
/// of each comes from one attempt that ran from beginning to end on one slave. There is no
/// allowance for a task that the slow one still holds when the others are done.
///
/// In the job of many tasks the slow slave's last one is a hundredth of the whole, so placement
/// alone decides. In the short job it shows whether a straggler is hedged: the slow slave begins
/// its second task after 500 ms, the others fall idle after 650, and it would be done after 1000.
pub(crate) async fn slow(rounds: usize) -> Result<()> {
    for (metric, (tasks, length)) in [("balance_slow", LONG_JOB), ("balance_slow_short", SHORT_JOB)]
    {
        let paces = [1, 1, 1, SLOWNESS].map(|slowness| length * slowness);
        let (ideal, lengths) = (least_time(tasks, &paces), vec![length; tasks as usize]);
        let mut spans = Vec::new();
        for _ in 0..rounds {
            let crowd =
                Crowd::start(&Kind { count: SLAVES, slots: 1, slow: 1 }, Placement::Anywhere)
                    .await?;
            spans.push(makespan(&crowd.master, &lengths, ideal, hold_freely::call).await?);
            crowd.end().await?;
        }
        told(metric, &spans);
    }
    Ok(())
}

/// Lengths whose logarithms are spread evenly, in whole microseconds.
fn mixed_lengths(seed: u64) -> Vec<Duration> {
    let factor = LONGEST.as_secs_f64() / SHORTEST.as_secs_f64();
    let mut state = seed;
    let length = |_| {
        // SplitMix64, by Steele, Lea and Flood: its upper 53 bits make a number below 1.
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        let share = ((bits ^ (bits >> 31)) >> 11) as f64 / (1u64 << 53) as f64;
        let micros = SHORTEST.as_secs_f64() * 1e6 * factor.powf(share);
        Duration::from_micros(micros.round() as u64)
    };
    (0..MIXED).map(length).collect()
}

/// When the last task ends if each, in its order, goes to the slot that is free first.
fn list_schedule(lengths: &[Duration], slots: usize) -> Duration {
    let mut free = vec![Duration::ZERO; slots];
    for length in lengths {
        if let Some(first) = free.iter_mut().min() {
            *first += *length;
        }
    }
    free.into_iter().max().unwrap_or_default()
}

/// The least time in which slots that take so long for a task have ended so many: the first at
/// which the tasks that each can have ended by then are enough. One ends when a slot has done a
/// whole number of them, so that is when another ends at one of the slots.
fn least_time(tasks: u32, paces: &[Duration]) -> Duration {
    let mut ended = vec![0u32; paces.len()];
    let mut last = Duration::ZERO;
    for _ in 0..tasks {
        let nexts = ended.iter_mut().zip(paces).map(|(ended, pace)| (*pace * (*ended + 1), ended));
        if let Some((next, ended)) = nexts.min_by_key(|(next, _)| *next) {
            *ended += 1;
            last = next;
        }
    }
    last
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn a_list_is_scheduled_in_its_order() {
        let lengths = [3, 3, 2, 6].map(|length| MS * length);
        // One slot ends the first and the third at 5, the other the second at 3 and the last at 9.
        assert_eq!(list_schedule(&lengths, 2), MS * 9);
        assert_eq!(list_schedule(&lengths, 1), MS * 14);
    }

    #[test]
    fn a_slow_slot_counts_for_the_whole_tasks_that_it_ends() {
        let paces = [MS, MS, MS, MS * 10];
        assert_eq!(least_time(30, &paces), MS * 10);
        assert_eq!(least_time(31, &paces), MS * 10);
        assert_eq!(least_time(32, &paces), MS * 11);
        // By capacity alone, 6451.6 ms.
        assert_eq!(least_time(2000, &paces.map(|pace| pace * 10)), MS * 6460);
    }

    #[test]
    fn mixed_lengths_are_the_same_each_time_and_spread_evenly() {
        let lengths = mixed_lengths(1);
        assert_eq!(lengths, mixed_lengths(1));
        assert_ne!(lengths, mixed_lengths(2));
        assert!(lengths.iter().all(|length| (SHORTEST..=LONGEST).contains(length)));
        let below = |ms| lengths.iter().filter(|length| **length < MS * ms).count();
        assert!((3_150..3_550).contains(&below(1)), "{}", below(1));
        assert!((6_500..6_850).contains(&below(10)), "{}", below(10));
    }
}
