//! What happens in a simulated world: tasks, slaves and faults, from a seed.

use crate::random::Random;
use dpfw_dispatch::TaskId;
use std::collections::BTreeMap;
use std::time::Duration;

#[derive(Clone, Debug)]
pub(crate) struct Job {
    pub(crate) at: u64,
    pub(crate) cost: u64,
    pub(crate) kind: u32,
    pub(crate) once: bool,
    pub(crate) poison: bool,
    pub(crate) deadline: Option<u64>,
    pub(crate) cancel: Option<u64>,
    pub(crate) pinned: bool,
}

impl Job {
    pub(crate) fn is_once(&self) -> bool {
        self.once
    }
}

/// What goes wrong, once in so many milliseconds for the whole fleet; 0 for never.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Faults {
    pub(crate) deaths: u64,
    pub(crate) cuts: u64,
    pub(crate) drains: u64,
    /// Once in so many dispatches.
    pub(crate) busy: u64,
    /// Reservations, once in so many milliseconds.
    pub(crate) reservations: u64,
    /// When the faults end, so that the world becomes quiet.
    pub(crate) until_ms: u64,
}

#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) tasks: BTreeMap<TaskId, Job>,
    /// Slots and speed in percent of each slave.
    pub(crate) slaves: Vec<(u32, u64)>,
    /// One way, in nanoseconds.
    pub(crate) latency: u64,
    pub(crate) faults: Faults,
}

const US: u64 = 1_000;
const MS: u64 = 1_000_000;

impl Plan {
    fn new(random: &mut Random, tasks: u64, costs: &[u64]) -> Self {
        let slaves = (0..random.within(1..9)).map(|_| (random.within(1..9) as u32, 100)).collect();
        let costs: Vec<_> = costs.iter().map(|cost| random.within(cost / 2..cost * 2)).collect();
        let job = |random: &mut Random, id: u64| {
            let kind = random.within(0..costs.len() as u64);
            let mean = costs[kind as usize];
            let at = if id.is_multiple_of(4) { random.within(0..100 * MS) } else { 0 };
            let cost = random.within(mean * 3 / 4..mean * 5 / 4);
            let kind = kind as u32;
            Job {
                at,
                cost,
                kind,
                once: false,
                poison: false,
                deadline: None,
                cancel: None,
                pinned: false,
            }
        };
        let tasks = (1..=tasks).map(|id| (TaskId(id), job(random, id))).collect();
        Self { tasks, slaves, latency: random.within(20 * US..2 * MS), faults: Faults::default() }
    }

    pub(crate) fn calm(seed: u64) -> Self {
        let random = &mut Random::new(seed);
        let costs: &[u64] = match seed % 3 {
            0 => &[50 * US],
            1 => &[500 * US, 20 * MS],
            _ => &[10 * MS],
        };
        let count = random.within(100..1500);
        let mut plan = Self::new(random, count, costs);
        plan.tasks.values_mut().for_each(|job| job.at = 0);
        plan.latency /= 2;
        plan
    }

    pub(crate) fn poison(seed: u64) -> Self {
        let random = &mut Random::new(seed);
        let mut plan = Self::new(random, 150, &[100 * US, 3 * MS, 30 * MS]);
        let poisoned = random.within(1..4);
        for _ in 0..poisoned {
            let task = TaskId(random.within(1..151));
            plan.tasks.entry(task).and_modify(|job| job.poison = true);
        }
        plan
    }

    pub(crate) fn drains(seed: u64) -> Self {
        let random = &mut Random::new(seed);
        let mut plan = Self::new(random, 300, &[200 * US, 5 * MS, 25 * MS]);
        plan.faults = Faults { drains: 30, until_ms: 400, ..Faults::default() };
        plan
    }

    pub(crate) fn anything(seed: u64) -> Self {
        let random = &mut Random::new(seed);
        let mut plan = Self::new(random, 300, &[20 * US, 500 * US, 4 * MS, 40 * MS]);
        plan.slaves.iter_mut().for_each(|(_, speed)| *speed = random.within(30..200));
        for job in plan.tasks.values_mut() {
            job.once = random.one_in(5);
            job.poison = random.one_in(100);
            job.pinned = random.one_in(8);
            let soon = job.at + random.within(0..150 * MS);
            job.deadline = random.one_in(6).then_some(soon);
            job.cancel = random.one_in(8).then(|| job.at + random.within(0..150 * MS));
        }
        let mut rate =
            |mean: u64| if random.one_in(3) { 0 } else { random.within(mean / 2..mean * 2) };
        plan.faults = Faults {
            deaths: rate(80),
            cuts: rate(80),
            drains: rate(80),
            busy: rate(20),
            reservations: rate(30),
            until_ms: 600,
        };
        plan
    }

    /// The work divided evenly among all slots. A task longer than what is queued ahead
    /// comes a round trip after the one before it.
    pub(crate) fn ideal(&self) -> Duration {
        let trip = |cost| if cost > 2 * MS { 2 * self.latency } else { 0 };
        let work: u64 = self.tasks.values().map(|job| job.cost + trip(job.cost)).sum();
        let slots: u64 = self.slaves.iter().map(|(slots, _)| u64::from(*slots)).sum();
        Duration::from_nanos(work / slots + 4 * self.latency)
    }

    pub(crate) fn longest(&self) -> Duration {
        Duration::from_nanos(self.tasks.values().map(|job| job.cost).max().unwrap_or(0))
    }
}
