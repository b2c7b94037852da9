//! The policy and the codec against whole worlds that do not exist: masters that share
//! slaves, over links that fail, with a virtual clock.
//!
//! `cargo xtask simulate --seeds 10000` runs more worlds than the tests do; a failure prints
//! its seed, and `cargo xtask simulate --seed N` runs that one again, exactly.

mod callers;
mod faults;
mod future;
mod master;
mod mutants;
mod net;
mod nonsense;
mod plan;
mod random;
mod seeds;
mod slave;
mod wire;
mod world;

use crate::simulation::plan::Plan;
use crate::simulation::seeds::{each_seed, is_replay};
use crate::simulation::world::World;
use dpfw_protocol::error::Cause;
use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::Duration;

/// What a few hundred worlds must have met.
const EXPECTED: &[&str] = &[
    "AskReserve",
    "Cancel",
    "Locate",
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
    "Resolve KeyGone",
    "Resolve Poison",
    "Resolve SlaveLost",
    "Retried Busy",
    "Retried Forgotten",
    "Retried KeyGone",
    "Retried Lost(Died)",
    "Retried Lost(Unreachable)",
    "Retried LostUnstarted(Died)",
    "Retried LostUnstarted(Unreachable)",
    "Retried Returned",
    "Send, a second time",
    "Stale",
];

/// Runs a world in which anything may go wrong.
fn anything(seed: u64) -> World {
    let world = World::run(seed, Plan::anything(seed));
    for master in &world.masters {
        master.audit.assert_all_resolved();
    }
    for (task, job) in &world.shared.plan.tasks {
        let runs = world.shared.runs.get(task).copied().unwrap_or(0);
        assert!(!job.once || runs <= 1, "task {task} ran {runs} times");
    }
    world
}

/// Runs a world with tasks that slaves die of.
fn poison(seed: u64) {
    let world = World::run(seed, Plan::poison(seed));
    for (task, job) in &world.shared.plan.tasks {
        let cause = world.masters[job.master].failure(*task);
        match job.poison {
            true => assert_eq!(cause, Some(&Cause::Poison { deaths: 3 }), "task {task}"),
            false => assert_eq!(cause, None, "task {task} is a bystander"),
        }
    }
}

/// Runs a world without faults.
fn calm(seed: u64) {
    let world = World::run(seed, Plan::calm(seed));
    let plan = &world.shared.plan;
    all_is_done_once(&world, "a task failed without a fault");
    // Greedy placement ends within the work divided evenly plus one task; besides that,
    // a few round trips, and what was queued ahead before the costs were known.
    let ideal = plan.ideal();
    let bound = ideal.mul_f64(1.1) + plan.longest() + Duration::from_millis(20);
    assert!(world.makespan() <= bound, "{:?} for an ideal {ideal:?}", world.makespan());
}

/// Runs a world in which slaves drain, and nothing else goes wrong.
fn drains(seed: u64) {
    all_is_done_once(&World::run(seed, Plan::drains(seed)), "a drain cost a task");
}

/// Runs a world in which slaves lie to one master.
fn lies(seed: u64) {
    let world = World::run(seed, Plan::lies(seed));
    world.masters.iter().for_each(|master| master.audit.assert_all_resolved());
    for (task, job) in world.shared.plan.tasks.iter().filter(|(_, job)| job.master > 0) {
        assert_eq!(world.masters[job.master].failure(*task), None, "task {task} of another");
        assert_eq!(world.shared.runs.get(task), Some(&1), "task {task} of another");
    }
}

/// Runs a world in which one slave is slow.
fn slow(seed: u64) {
    let world = World::run(seed, Plan::slow(seed));
    let plan = &world.shared.plan;
    for (task, job) in &plan.tasks {
        assert_eq!(world.masters[job.master].failure(*task), None, "task {task}");
        let runs = world.shared.runs.get(task).copied().unwrap_or(0);
        assert!((1..=2).contains(&runs), "task {task} ran {runs} times");
    }
    // What all of them together would take, and of a straggler: until it is one, and once more;
    // besides that a few round trips, and what was sent before the costs were known.
    let ideal = plan.ideal_of_unequal();
    let bound = ideal + plan.longest() * 3 + 8 * Duration::from_nanos(plan.latency);
    let bound = bound + Duration::from_millis(20);
    assert!(world.makespan() <= bound, "{:?} for an ideal {ideal:?}", world.makespan());
}

/// Runs a world in which slaves have no room for long.
fn busy(seed: u64) {
    let world = World::run(seed, Plan::busy(seed));
    for task in world.shared.plan.tasks.keys() {
        let cause = world.masters[0].failure(*task);
        let gave_up = matches!(cause, Some(Cause::Busy { .. }));
        assert!(cause.is_none() || gave_up, "task {task}: {cause:?}");
        let never = world.shared.plan.faults.busy == 1;
        assert!(gave_up || !never, "task {task} found room where there is none");
    }
}

fn all_is_done_once(world: &World, otherwise: &str) {
    for (task, job) in &world.shared.plan.tasks {
        assert_eq!(world.masters[job.master].failure(*task), None, "{otherwise}: task {task}");
        assert_eq!(world.shared.runs.get(task), Some(&1), "task {task}");
    }
}

#[test]
fn whatever_happens_every_task_resolves_once() {
    let seen = Mutex::new(BTreeMap::<String, u64>::new());
    each_seed("whatever_happens", 1, |seed| {
        let world = anything(seed);
        let mut seen = seen.lock().expect("nobody panicked");
        for (what, count) in &world.shared.seen {
            *seen.entry(what.clone()).or_default() += count;
        }
    });
    // What never happened was not tested.
    let seen = seen.into_inner().expect("nobody panicked");
    println!("{seen:#?}");
    for what in EXPECTED {
        assert!(is_replay() || seen.contains_key(*what), "{what} never happened");
    }
}

#[test]
fn poison_is_found_and_bystanders_are_done() {
    each_seed("poison", 6, poison);
}

#[test]
fn without_faults_all_is_done_once_and_the_work_is_balanced() {
    each_seed("without_faults", 20, calm);
}

#[test]
fn a_slow_slave_costs_no_more_than_its_share() {
    each_seed("a_slow_slave", 5, slow);
}

#[test]
fn a_drained_slave_runs_nothing_twice() {
    each_seed("a_drained_slave", 6, drains);
}

#[test]
fn slaves_without_room_are_left_alone_and_given_up_in_the_end() {
    each_seed("slaves_without_room", 40, busy);
}

#[test]
fn a_slave_that_lies_to_one_master_costs_no_other_anything() {
    each_seed("a_slave_that_lies", 6, lies);
}
