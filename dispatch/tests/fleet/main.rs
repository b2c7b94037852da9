//! The policy against whole fleets that do not exist, and against nonsense.
//!
//! `DPFW_SEEDS=10000 cargo test -p dpfw-dispatch --test fleet` runs more fleets than the
//! default 300; a failure prints its seed, and `DPFW_SEED=<seed>` runs that one alone.

mod audit;
mod link;
mod nonsense;
mod plan;
mod random;
mod slave;
mod world;

use crate::plan::Plan;
use crate::world::World;
use dpfw_protocol::error::Cause;
use std::time::Duration;

/// Prints how to repeat a run that panics.
struct Replay(&'static str, u64);

impl Drop for Replay {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!(
                "seed {}: DPFW_SEED={} cargo test -p dpfw-dispatch --test fleet {}",
                self.1, self.1, self.0
            );
        }
    }
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// Runs every seed, or the one asked for.
fn each_seed(name: &'static str, share: u64, run: impl Fn(u64)) {
    let seeds = match number("DPFW_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..(number("DPFW_SEEDS").unwrap_or(300) / share).max(1),
    };
    for seed in seeds {
        let _replay = Replay(name, seed);
        run(seed);
    }
}

/// What a few hundred fleets must have met.
const EXPECTED: &[&str] = &[
    "AskReserve",
    "Cancel",
    "Recall",
    "ReleaseSlave",
    "ReserveResolved Err(NoneIdle)",
    "ReserveResolved Err(SlaveLost)",
    "ReserveResolved Ok",
    "Resolve Accepted",
    "Resolve AttemptsExhausted",
    "Resolve Busy",
    "Resolve Cancelled",
    "Resolve DeadlineExceeded",
    "Resolve Draining",
    "Resolve Poison",
    "Resolve SlaveLost",
    "Retried Busy",
    "Retried Lost(Died)",
    "Retried Lost(Unreachable)",
    "Retried LostUnstarted(Died)",
    "Retried LostUnstarted(Unreachable)",
    "Retried Returned",
    "Stale",
];

#[test]
fn whatever_happens_every_task_resolves_once() {
    let seen = std::cell::RefCell::new(std::collections::BTreeMap::<String, u64>::new());
    each_seed("whatever_happens", 1, |seed| {
        let world = World::run(seed, Plan::anything(seed));
        for (what, count) in &world.seen {
            *seen.borrow_mut().entry(what.clone()).or_default() += count;
        }
        world.audit.assert_all_resolved();
        for (task, plan) in &world.plan.tasks {
            let runs = world.runs.get(task).copied().unwrap_or(0);
            assert!(!plan.is_once() || runs <= 1, "task {task} ran {runs} times");
        }
    });
    // What never happened was not tested.
    let seen = seen.into_inner();
    println!("{seen:#?}");
    for what in EXPECTED {
        let enough = number("DPFW_SEED").is_some() || seen.contains_key(*what);
        assert!(enough, "{what} never happened");
    }
}

#[test]
fn poison_is_found_and_bystanders_are_done() {
    each_seed("poison", 3, |seed| {
        let world = World::run(seed, Plan::poison(seed));
        world.audit.assert_all_resolved();
        for (task, plan) in &world.plan.tasks {
            let cause = world.audit.failure(*task);
            match plan.poison {
                true => assert_eq!(cause, Some(&Cause::Poison { deaths: 3 }), "task {task}"),
                false => assert_eq!(cause, None, "task {task} is a bystander"),
            }
        }
    });
}

#[test]
fn without_faults_all_is_done_once_and_the_work_is_balanced() {
    each_seed("without_faults", 3, |seed| {
        let world = World::run(seed, Plan::calm(seed));
        world.audit.assert_all_resolved();
        let accepted = world.plan.tasks.keys().all(|task| world.audit.failure(*task).is_none());
        assert!(accepted, "a task failed without a fault");
        assert!(world.runs.values().all(|runs| *runs == 1), "a task ran twice without a fault");
        // Greedy placement ends within the work divided evenly plus one task; besides that,
        // a few round trips, and what was queued ahead before the costs were known.
        let ideal = world.plan.ideal();
        let bound = ideal.mul_f64(1.1) + world.plan.longest() + Duration::from_millis(20);
        assert!(world.makespan() <= bound, "{:?} for an ideal {ideal:?}", world.makespan());
    });
}

#[test]
fn a_drained_fleet_runs_nothing_twice() {
    each_seed("a_drained_fleet", 3, |seed| {
        let world = World::run(seed, Plan::drains(seed));
        world.audit.assert_all_resolved();
        for task in world.plan.tasks.keys() {
            assert_eq!(world.audit.failure(*task), None, "task {task}");
            assert_eq!(world.runs.get(task), Some(&1), "task {task}");
        }
    });
}
