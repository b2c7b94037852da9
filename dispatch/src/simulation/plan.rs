//! What happens in a simulated world: tasks, slaves and faults, from a seed.

use crate::TaskId;
use crate::simulation::random::Random;
use dpfw_protocol::message::TaskFlags;
use std::collections::BTreeMap;
use std::time::Duration;

pub(crate) const US: u64 = 1_000;
pub(crate) const MS: u64 = 1_000_000;
/// Entries that there may be.
pub(crate) const KEYS: u64 = 3;
/// A task that takes so long ends only when it is stopped.
pub(crate) const ENDLESS: u64 = 1_000_000 * MS;

#[derive(Clone, Debug, Default)]
pub(crate) struct Job {
    /// Whose it is.
    pub(crate) master: usize,
    pub(crate) at: u64,
    pub(crate) cost: u64,
    pub(crate) kind: u32,
    pub(crate) once: bool,
    /// It may be tried twice at once.
    pub(crate) free: bool,
    pub(crate) poison: bool,
    pub(crate) deadline: Option<u64>,
    pub(crate) cancel: Option<u64>,
    pub(crate) pinned: bool,
    /// The entry that it needs.
    pub(crate) needs: Option<u64>,
    /// How long it waits half-way, without a slot.
    pub(crate) pause: u64,
    /// The length of its arguments and of its result.
    pub(crate) bytes: usize,
}

/// What goes wrong, once in so many milliseconds for the whole world; 0 for never.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Faults {
    pub(crate) deaths: u64,
    pub(crate) cuts: u64,
    pub(crate) drains: u64,
    /// A path is blocked for a while, in one direction or both.
    pub(crate) partitions: u64,
    /// A path is slow for a while, in one direction.
    pub(crate) slow: u64,
    /// A process does nothing for a while.
    pub(crate) stalls: u64,
    pub(crate) master_deaths: u64,
    /// A new link is made while the old one looks alive.
    pub(crate) reconnects: u64,
    /// Reservations, once in so many milliseconds.
    pub(crate) reservations: u64,
    /// Once in so many dispatches a slave has no room.
    pub(crate) busy: u64,
    /// Once in so many times a slave loses within itself what it was to say or to do.
    pub(crate) forgets: u64,
    /// Once in so many ends a slave says it twice.
    pub(crate) doubles: u64,
    /// When the faults end, so that the world becomes quiet.
    pub(crate) until_ms: u64,
}

/// A slave's process.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Host {
    pub(crate) slots: u32,
    /// In percent.
    pub(crate) speed: u64,
    /// Attempts of one session that it holds at most.
    pub(crate) limit: u32,
    /// It says nonsense to the first master.
    pub(crate) lies: bool,
}

#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) masters: usize,
    pub(crate) tasks: BTreeMap<TaskId, Job>,
    pub(crate) slaves: Vec<Host>,
    /// One way, in nanoseconds.
    pub(crate) latency: u64,
    /// Whether writes are cut at any byte.
    pub(crate) rough: bool,
    pub(crate) faults: Faults,
}

impl Plan {
    fn new(random: &mut Random, tasks: u64, costs: &[u64]) -> Self {
        let host = |random: &mut Random| Host {
            slots: random.within(1..9) as u32,
            speed: 100,
            limit: 1024,
            lies: false,
        };
        let slaves = (0..random.within(1..9)).map(|_| host(random)).collect();
        let costs: Vec<_> = costs.iter().map(|cost| random.within(cost / 2..cost * 2)).collect();
        let job = |random: &mut Random, id: u64| {
            let kind = random.within(0..costs.len() as u64);
            let mean = costs[kind as usize];
            let at = if id.is_multiple_of(4) { random.within(0..100 * MS) } else { 0 };
            let cost = random.within(mean * 3 / 4..mean * 5 / 4);
            Job { at, cost, kind: kind as u32, ..Job::default() }
        };
        let tasks = (1..=tasks).map(|id| (TaskId(id), job(random, id))).collect();
        let latency = random.within(20 * US..2 * MS);
        let faults = Faults::default();
        Self { masters: 1, tasks, slaves, latency, rough: false, faults }
    }

    pub(crate) fn calm(seed: u64) -> Self {
        let random = &mut Random::new(seed);
        let costs: &[u64] = match seed % 3 {
            0 => &[50 * US],
            1 => &[500 * US, 20 * MS],
            _ => &[10 * MS],
        };
        let count = random.within(100..500);
        let mut plan = Self::new(random, count, costs);
        plan.tasks.values_mut().for_each(|job| job.at = 0);
        plan.latency /= 2;
        plan
    }

    pub(crate) fn poison(seed: u64) -> Self {
        let random = &mut Random::new(seed);
        let mut plan = Self::new(random, 100, &[100 * US, 3 * MS, 30 * MS]);
        // Half of the worlds have slaves that are so unequal that tasks are tried twice at once.
        if random.one_in(2) {
            plan.slaves.iter_mut().for_each(|host| host.speed = random.within(10..200));
            plan.tasks.values_mut().for_each(|job| job.free = true);
        }
        let poisoned = random.within(1..4);
        for _ in 0..poisoned {
            let task = TaskId(random.within(1..101));
            plan.tasks.entry(task).and_modify(|job| job.poison = true);
        }
        plan
    }

    pub(crate) fn drains(seed: u64) -> Self {
        let random = &mut Random::new(seed);
        let mut plan = Self::new(random, 200, &[200 * US, 5 * MS, 25 * MS]);
        plan.share(random);
        plan.faults = Faults { drains: 30, until_ms: 400, ..Faults::default() };
        plan
    }

    /// Nothing goes wrong but that some slaves lie to the first of several masters.
    pub(crate) fn lies(seed: u64) -> Self {
        let random = &mut Random::new(seed);
        let mut plan = Self::new(random, 150, &[200 * US, 5 * MS, 25 * MS]);
        plan.masters = random.within(2..5) as usize;
        plan.rough = random.one_in(2);
        for job in plan.tasks.values_mut() {
            job.master = random.within(0..plan.masters as u64) as usize;
            job.once = random.one_in(5);
            // Those of the others are begun once, whatever the liars say.
            job.free = job.master == 0 && random.one_in(2);
        }
        plan.slaves.iter_mut().for_each(|host| host.lies = random.one_in(2));
        plan.slaves[0].lies = true;
        plan.faults.until_ms = 300;
        plan
    }

    /// One slave is ten times slower than the others, and nothing else goes wrong.
    pub(crate) fn slow(seed: u64) -> Self {
        let random = &mut Random::new(seed);
        let cost = random.within(2 * MS..40 * MS);
        let count = random.within(30..200);
        let mut plan = Self::new(random, count, &[cost]);
        for job in plan.tasks.values_mut() {
            (job.at, job.cost, job.free) = (0, cost, true);
        }
        plan.slaves.truncate(4);
        let like = plan.slaves[0];
        plan.slaves.resize(random.within(2..5) as usize, like);
        plan.slaves.iter_mut().for_each(|host| host.slots = 1);
        plan.slaves[0].speed = 10;
        plan.latency /= 4;
        plan
    }

    /// Slaves that have no room, most of the time or ever.
    pub(crate) fn busy(seed: u64) -> Self {
        let random = &mut Random::new(seed);
        let mut plan = Self::new(random, 3, &[MS]);
        plan.slaves.truncate(random.within(1..4) as usize);
        plan.faults = Faults { busy: random.within(1..4), until_ms: 60_000, ..Faults::default() };
        plan
    }

    pub(crate) fn anything(seed: u64) -> Self {
        let random = &mut Random::new(seed);
        let count = random.within(40..240);
        let mut plan = Self::new(random, count, &[20 * US, 500 * US, 4 * MS, 40 * MS]);
        plan.slaves.truncate(6);
        for host in &mut plan.slaves {
            host.speed = random.within(30..200);
            host.limit = match random.within(0..4) {
                0 => host.slots,
                1 => host.slots + 2,
                _ => 1024,
            };
        }
        plan.share(random);
        plan.rough = random.one_in(2);
        for job in plan.tasks.values_mut() {
            job.vary(random);
        }
        let mut rate = |mean: u64, often: u64| match random.one_in(often) {
            true => random.within(mean / 2..mean * 2),
            false => 0,
        };
        plan.faults = Faults {
            deaths: rate(80, 2),
            cuts: rate(80, 2),
            drains: rate(80, 2),
            partitions: rate(80, 2),
            slow: rate(80, 3),
            stalls: rate(80, 2),
            master_deaths: rate(200, 4),
            reconnects: rate(80, 3),
            reservations: rate(30, 2),
            busy: rate(20, 2),
            forgets: rate(30, 2),
            doubles: rate(20, 3),
            until_ms: 400,
        };
        plan
    }

    /// Several masters, each with some of the tasks.
    fn share(&mut self, random: &mut Random) {
        self.masters = random.within(1..4) as usize;
        for job in self.tasks.values_mut() {
            job.master = random.within(0..self.masters as u64) as usize;
        }
    }

    /// The work divided evenly among all slots. A task longer than what is queued ahead
    /// comes a round trip after the one before it.
    pub(crate) fn ideal(&self) -> Duration {
        let trip = |cost| if cost > 2 * MS { 2 * self.latency } else { 0 };
        let work: u64 = self.tasks.values().map(|job| job.cost + trip(job.cost)).sum();
        let slots: u64 = self.slaves.iter().map(|host| u64::from(host.slots)).sum();
        Duration::from_nanos(work / slots + 4 * self.latency)
    }

    /// The least time in which slaves of one slot each, of unequal speed, have ended so many tasks
    /// of one length; each comes a round trip after the one before it.
    pub(crate) fn ideal_of_unequal(&self) -> Duration {
        let (cost, trip) = (self.longest().as_nanos() as u64, 2 * self.latency);
        let pace = |host: &Host| cost * 100 / host.speed + trip;
        let mut ends: Vec<_> = self.slaves.iter().map(|host| (pace(host), pace(host))).collect();
        let mut last = 0;
        for _ in &self.tasks {
            if let Some((end, pace)) = ends.iter_mut().min() {
                last = *end;
                *end += *pace;
            }
        }
        Duration::from_nanos(last + 4 * self.latency)
    }

    pub(crate) fn longest(&self) -> Duration {
        Duration::from_nanos(self.tasks.values().map(|job| job.cost).max().unwrap_or(0))
    }
}

impl Job {
    /// How it may be tried.
    pub(crate) fn flags(&self) -> TaskFlags {
        let flag = |is: bool, flag| if is { flag } else { TaskFlags::default() };
        flag(self.once, TaskFlags::ONCE).with(flag(self.free, TaskFlags::EFFECT_FREE))
    }

    fn vary(&mut self, random: &mut Random) {
        self.once = random.one_in(5);
        self.free = random.one_in(2);
        self.poison = random.one_in(100);
        self.pinned = random.one_in(8);
        self.needs = random.one_in(6).then(|| random.within(1..KEYS + 1));
        let soon = self.at + random.within(0..150 * MS);
        self.deadline = random.one_in(6).then_some(soon);
        self.cancel = random.one_in(8).then(|| self.at + random.within(0..150 * MS));
        if random.one_in(10) {
            self.pause = random.within(MS..60 * MS);
        }
        let ends = self.deadline.is_some() || self.cancel.is_some();
        if ends && !self.poison && random.one_in(3) {
            self.cost = ENDLESS;
        }
        self.bytes = match random.within(0..20) {
            0 => random.within(0..400_000) as usize,
            1 => random.within(0..20_000) as usize,
            _ => random.within(0..64) as usize,
        };
    }
}
