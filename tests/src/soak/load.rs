//! Tasks of all kinds, and what has to come of each.
//!
//! Invariant: what a task is, and its result, follow from the seed and its number.

use super::Plan;
use super::random::Random;
use crate::wait::within;
use anyhow::{Context, Result, ensure};
use dpfw::{CallExt, Cause, LinkedSlave, Master, Placed, TaskError};
use dpfw_test_tasks::{Bytes, add, checked, echo, forever, nap, put};
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::Instant;

/// Tasks under way at once.
const WINDOW: usize = 256;

/// What was done.
#[derive(Clone, Copy, Debug, Default, serde::Serialize)]
pub struct Done {
    /// Tasks dispatched, the inputs of a map counted as one.
    pub tasks: u64,
    /// Of these, those that had to fail.
    pub failed: u64,
    /// And those whose handle was dropped, perhaps in time.
    pub dropped: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// The shortest there is.
    Sum,
    /// Holds its slot for so many milliseconds.
    Nap(u64),
    /// Sends so many bytes there and back.
    Echo(u64),
    /// Its handle is dropped after so many milliseconds.
    Dropped(u64),
    /// Fails with a text.
    Fails,
    /// Loops until its deadline.
    Endless,
    /// Writes an entry of the store.
    Store,
    /// So many sums in chunks.
    Map(u64),
}

impl Kind {
    /// That of a task. Most are short, a few take long or send much.
    fn of(seed: u64, number: u64) -> Self {
        let mut random = Random::new(seed ^ number.rotate_left(32));
        match random.within(0..1000) {
            0..600 => Self::Sum,
            600..800 => Self::Nap(random.within(1..20)),
            800..810 => Self::Nap(random.within(100..300)),
            810..890 => Self::Echo(random.within(1..32 << 10)),
            890..894 => Self::Echo(random.within(1 << 20..2 << 20)),
            894..934 => Self::Dropped(random.within(0..10)),
            934..964 => Self::Fails,
            964..974 => Self::Endless,
            974..998 => Self::Store,
            _ => Self::Map(random.within(100..500)),
        }
    }
}

/// Dispatches all tasks of the plan, evenly over its time, and joins them.
pub(super) async fn run(master: &Master, plan: &Plan) -> Result<Done> {
    let (begun, mut running, mut done) = (Instant::now(), JoinSet::new(), Done::default());
    for number in 0..plan.tasks {
        let due = plan.time.mul_f64(number as f64 / plan.tasks as f64);
        tokio::time::sleep_until(begun + due).await;
        while running.len() >= WINDOW {
            count(&mut done, running.join_next().await)?;
        }
        let (master, kind) = (master.clone(), Kind::of(plan.seed, number));
        running.spawn(async move {
            let outcome = one(&master, kind, number, None).await;
            outcome.with_context(|| format!("task {number}, {kind:?}")).map(|()| kind)
        });
    }
    while let Some(ended) = running.join_next().await {
        count(&mut done, Some(ended))?;
    }
    Ok(done)
}

type Ended = Option<Result<Result<Kind>, tokio::task::JoinError>>;

fn count(done: &mut Done, ended: Ended) -> Result<()> {
    let kind = ended.context("none is under way")???;
    done.tasks += 1;
    done.failed += u64::from(matches!(kind, Kind::Fails | Kind::Endless));
    done.dropped += u64::from(matches!(kind, Kind::Dropped(_)));
    Ok(())
}

/// One of each kind that is short, at this slave.
pub(super) async fn each_kind(master: &Master, slave: &LinkedSlave) -> Result<()> {
    let kinds = [Kind::Nap(1), Kind::Echo(2 << 20), Kind::Echo(9), Kind::Fails, Kind::Endless];
    for kind in kinds.into_iter().chain([Kind::Store, Kind::Sum]) {
        let outcome = one(master, kind, 0, Some(slave)).await;
        outcome.with_context(|| format!("{kind:?} on {slave}"))?;
    }
    Ok(())
}

/// Where a call is to run.
fn place<T>(call: impl Into<Placed<T>>, at: Option<&LinkedSlave>) -> Placed<T> {
    match at {
        Some(slave) => call.into().on(slave),
        None => call.into(),
    }
}

/// How long an endless task may take: a few ticks.
const DEADLINE: Duration = Duration::from_millis(20);

/// A deadline that is not met, whatever happens to slaves and to wall clocks.
const FAR: Duration = Duration::from_secs(600);

/// Entries of the store that are written to.
const ENTRIES: u64 = 64;

/// Dispatches a task and holds what comes of it against what has to.
async fn one(master: &Master, kind: Kind, number: u64, at: Option<&LinkedSlave>) -> Result<()> {
    match kind {
        Kind::Sum => {
            let a = number.cast_signed();
            let call = place(add::call(a, 1), at).timeout(FAR);
            let sum = within("a sum", master.dispatch(call)).await??;
            ensure!(sum == a + 1, "{a} + 1 is not {sum}");
        }
        Kind::Nap(millis) => {
            let call = place(nap::call(millis, number), at).timeout(FAR);
            let back = within("a nap", master.dispatch(call)).await??;
            ensure!(back == number, "{number} came back as {back}");
        }
        Kind::Echo(len) => {
            let bytes: Bytes = (0..len).map(|at| (at ^ number) as u8).collect();
            let call = place(echo::call(bytes.clone()), at);
            let back = within("an echo", master.dispatch(call)).await??;
            ensure!(back == bytes, "{len} bytes came back as other {}", back.len());
        }
        Kind::Dropped(millis) => {
            let handle = master.dispatch(place(nap::call(10_000, number), at));
            // The test is of what a drop does, and it comes at any time.
            tokio::time::sleep(Duration::from_millis(millis)).await;
            drop(handle);
        }
        Kind::Fails => {
            let call = place(checked::call("no".into()), at);
            let cause = cause(within("a failure", master.dispatch(call)).await?)?;
            ensure!(matches!(cause, Cause::Failed { .. }), "it failed otherwise: {cause}");
        }
        Kind::Endless => {
            let call = place(forever::call(), at).timeout(DEADLINE);
            let cause = cause(within("a deadline", master.dispatch(call)).await?)?;
            ensure!(cause == Cause::DeadlineExceeded, "it ended otherwise: {cause}");
        }
        Kind::Store => {
            let call = put::call(format!("k{}", number % ENTRIES), number.to_string());
            within("a write", master.dispatch(place(call, at))).await??;
        }
        Kind::Map(inputs) => {
            let sums = master.map(0..inputs.cast_signed(), |n| add::call(n, 1)).all();
            let sums = within("a map", sums).await??;
            ensure!(sums.iter().copied().eq(1..=inputs.cast_signed()), "other sums: {sums:?}");
        }
    }
    Ok(())
}

/// Why a task failed that had to.
fn cause<T>(outcome: Result<T, TaskError>) -> Result<Cause> {
    let error = outcome.err().context("it has a result, which it cannot have")?;
    Ok(error.cause().clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_task_is_follows_from_the_seed() {
        let kinds = |seed| (0..1000).map(|n| Kind::of(seed, n)).collect::<Vec<_>>();
        assert_eq!(kinds(1), kinds(1));
        assert_ne!(kinds(1), kinds(2));
        let sums = kinds(1).iter().filter(|kind| **kind == Kind::Sum).count();
        assert!((500..700).contains(&sums), "{sums}");
    }
}
