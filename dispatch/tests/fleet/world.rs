//! A simulated world: a virtual clock, slaves behind links with latency, faults, and a
//! driver that carries out what the policy says.

use crate::audit::Audit;
use crate::link::{Fault, Future, Happening, ToSlave};
use crate::plan::Plan;
use crate::random::Random;
use crate::slave::{Around, Slave};
use dpfw_dispatch::{
    Config, Core, Effect, Event, KindId, Loss, Outcome, Placement, ReservationId, SlaveId, TaskId,
    TaskSpec, Time, Wait,
};
use dpfw_protocol::message::TaskFlags;
use std::collections::BTreeMap;
use std::time::Duration;

const MS: u64 = 1_000_000;
/// Silence is noticed, a closed connection even sooner.
const SILENCE: u64 = 50 * MS;
/// A world that is not quiet by then never will be.
const MAX_STEPS: u64 = 1_000_000;

pub(crate) struct World {
    pub(crate) plan: Plan,
    pub(crate) audit: Audit,
    pub(crate) runs: BTreeMap<TaskId, u32>,
    /// What was met, by name.
    pub(crate) seen: BTreeMap<String, u64>,
    now: u64,
    last_accepted: u64,
    core: Core,
    random: Random,
    future: Future,
    slaves: BTreeMap<SlaveId, Slave>,
    next_slave: u64,
    next_reservation: u64,
    next_task: u64,
    awake: Option<Time>,
    plans: u64,
}

impl World {
    /// Runs a world until it is quiet.
    pub(crate) fn run(seed: u64, plan: Plan) -> Self {
        let mut world = Self {
            audit: Audit::default(),
            runs: BTreeMap::new(),
            seen: BTreeMap::new(),
            now: 0,
            last_accepted: 0,
            core: Core::new(Config::default()),
            random: Random::new(!seed),
            future: Future::default(),
            slaves: BTreeMap::new(),
            next_slave: 1,
            next_reservation: 1,
            next_task: 1_000_000,
            awake: None,
            plans: 0,
            plan,
        };
        world.begin();
        let mut steps = 0;
        while !(world.plans == 0 && world.audit.is_done())
            && let Some((at, what)) = world.future.next()
        {
            world.now = at;
            world.happen(what);
            steps += 1;
            assert!(steps < MAX_STEPS, "never quiet: {:?}", world.core);
        }
        world
    }

    pub(crate) fn makespan(&self) -> Duration {
        Duration::from_nanos(self.last_accepted)
    }

    fn begin(&mut self) {
        for (slots, speed) in self.plan.slaves.clone() {
            self.future.add(0, Happening::Joins(slots, speed));
        }
        let jobs: Vec<_> =
            self.plan.tasks.iter().map(|(id, job)| (*id, job.at, job.cancel)).collect();
        for (id, at, cancel) in jobs {
            self.expect(at, Happening::Submits(id));
            if let Some(cancel) = cancel {
                self.expect(cancel, Happening::Cancels(id));
            }
        }
        let faults = self.plan.faults;
        self.spread(faults.deaths, || Happening::Fault(Fault::Death));
        self.spread(faults.cuts, || Happening::Fault(Fault::Cut));
        self.spread(faults.drains, || Happening::Fault(Fault::Drain));
        self.spread(faults.reservations, || Happening::Reserves);
    }

    /// Once in so many milliseconds, until faults end.
    fn spread(&mut self, mean: u64, what: impl Fn() -> Happening) {
        let end = if mean > 0 { self.plan.faults.until_ms * MS } else { 0 };
        let mut at = 0;
        while at < end {
            at += self.random.within(1..mean * 2) * MS;
            self.expect(at, what());
        }
    }

    /// Plans something that must have happened before the world is quiet.
    fn expect(&mut self, at: u64, what: Happening) {
        self.plans += 1;
        self.future.add(at, what);
    }

    fn happen(&mut self, what: Happening) {
        match what {
            Happening::Told(from, event) => self.hear(from, event),
            Happening::Arrives(id, message) => {
                self.at_slave(id, |slave, around| slave.handle(around, message))
            }
            Happening::Ends(id, attempt) => {
                self.at_slave(id, |slave, around| slave.end(around, attempt))
            }
            Happening::Reports(id, attempt) => {
                self.at_slave(id, |slave, around| slave.report(around, attempt))
            }
            Happening::Dies(id) => self.die(id),
            Happening::Joins(slots, speed) => self.join(slots, speed),
            Happening::Tick => self.tick(),
            Happening::Fault(fault) => {
                self.plans -= 1;
                self.strike(fault);
            }
            Happening::Submits(task) => {
                self.plans -= 1;
                self.submit(task);
            }
            Happening::Cancels(task) => {
                self.plans -= 1;
                self.tell(Event::Cancel { task });
            }
            Happening::Reserves => {
                self.plans -= 1;
                self.reserve();
            }
            Happening::Uses(reservation) => {
                self.plans -= 1;
                self.use_reservation(reservation);
            }
            Happening::Releases(reservation) => {
                self.plans -= 1;
                self.tell(Event::Release { reservation });
            }
        }
    }

    fn at_slave(&mut self, id: SlaveId, act: impl FnOnce(&mut Slave, &mut Around<'_>)) {
        let Some(slave) = self.slaves.get_mut(&id) else { return };
        let mut around = Around {
            now: self.now,
            plan: &self.plan,
            random: &mut self.random,
            future: &mut self.future,
            runs: &mut self.runs,
        };
        act(slave, &mut around);
    }

    fn join(&mut self, slots: u32, speed: u64) {
        let id = SlaveId(self.next_slave);
        self.next_slave += 1;
        self.slaves.insert(id, Slave::new(id, slots, speed));
        self.tell(Event::SlaveJoined { slave: id, slots, attempts: 1024 });
    }

    /// The process ends: what it was running is gone, what it said last perhaps too.
    fn die(&mut self, id: SlaveId) {
        let Some(slave) = self.slaves.remove(&id) else { return };
        if slave.linked {
            let event = Event::SlaveLost { slave: id, loss: Loss::Died };
            let lossy = self.random.one_in(2);
            let at = self.now + if lossy { 0 } else { self.plan.latency };
            self.future.add(at, Happening::Told(Some(id), event));
            self.future.add(at + 5 * MS, Happening::Joins(slave.slots, slave.speed));
        }
    }

    fn strike(&mut self, fault: Fault) {
        let linked: Vec<_> =
            self.slaves.values().filter(|s| s.linked && !s.draining).map(|s| s.id).collect();
        if linked.is_empty() {
            return;
        }
        let id = linked[self.random.within(0..linked.len() as u64) as usize];
        match fault {
            Fault::Death => self.die(id),
            Fault::Cut => {
                let mut back = (1, 100);
                self.at_slave(id, |slave, _| {
                    slave.linked = false;
                    back = (slave.slots, slave.speed);
                });
                let event = Event::SlaveLost { slave: id, loss: Loss::Unreachable };
                self.future.add(self.now + SILENCE, Happening::Told(Some(id), event));
                self.future.add(self.now + 2 * SILENCE, Happening::Joins(back.0, back.1));
            }
            Fault::Drain => {
                let mut back = (1, 100);
                self.at_slave(id, |slave, around| {
                    slave.drain(around);
                    back = (slave.slots, slave.speed);
                });
                self.future.add(self.now + 10 * MS, Happening::Joins(back.0, back.1));
            }
        }
    }

    fn submit(&mut self, task: TaskId) {
        let job = &self.plan.tasks[&task];
        let placement = match job.pinned {
            true => Placement::On(SlaveId(self.random.within(1..self.next_slave.max(2)))),
            false => Placement::Anywhere,
        };
        let flags = if job.once { TaskFlags::ONCE } else { TaskFlags::default() };
        let deadline = job.deadline.map(Time::from_nanos);
        let spec = TaskSpec { kind: KindId(job.kind), flags, deadline, placement, calls: 1 };
        self.tell(Event::Submit { task, spec });
    }

    fn reserve(&mut self) {
        let reservation = ReservationId(self.next_reservation);
        self.next_reservation += 1;
        let wait = if self.random.one_in(3) { Wait::No } else { Wait::Yes };
        let any = self.random.within(1..self.next_slave.max(2));
        let slave = self.random.one_in(4).then_some(SlaveId(any));
        if self.random.one_in(4) {
            let at = self.now + self.random.within(0..30 * MS);
            self.expect(at, Happening::Releases(reservation));
        }
        self.tell(Event::Reserve { reservation, slave, wait });
    }

    fn use_reservation(&mut self, reservation: ReservationId) {
        for _ in 0..self.random.within(0..12) {
            let task = TaskId(self.next_task);
            self.next_task += 1;
            let like = TaskId(self.random.within(1..100));
            let mut job = self.plan.tasks[&like].clone();
            job.poison = false;
            self.plan.tasks.insert(task, job);
            let placement = Placement::Reserved(reservation);
            let flags = TaskFlags::default();
            let spec = TaskSpec { kind: KindId(0), flags, deadline: None, placement, calls: 1 };
            self.tell(Event::Submit { task, spec });
        }
        let at = self.now + self.random.within(0..60 * MS);
        self.expect(at, Happening::Releases(reservation));
    }

    /// What comes from a lost slave is not heard.
    fn hear(&mut self, from: Option<SlaveId>, event: Event) {
        let left = matches!(event, Event::SlaveLost { loss: Loss::Left, .. });
        self.tell(event);
        if let Some(slave) = from.filter(|_| left) {
            self.slaves.remove(&slave);
        }
    }

    fn tick(&mut self) {
        self.awake = None;
        self.tell(Event::Tick);
    }

    fn tell(&mut self, event: Event) {
        let (now, mut out) = (Time::from_nanos(self.now), Vec::new());
        self.core.handle(now, event.clone(), &mut out);
        self.core.check_invariants();
        self.audit.follow(now, &event, &out);
        for effect in out {
            *self.seen.entry(name(&effect)).or_default() += 1;
            self.carry_out(effect);
        }
        if let Some(wake) = self.core.next_wake()
            && self.awake.is_none_or(|awake| wake < awake)
        {
            assert!(wake > now, "the policy wants to be woken at once");
            self.awake = Some(wake);
            self.future.add(wake.as_nanos(), Happening::Tick);
        }
    }

    fn carry_out(&mut self, effect: Effect) {
        let (slave, message) = match effect {
            Effect::Send { slave, task, attempt, budget } => {
                let budget = budget.map(|budget| budget.as_nanos() as u64);
                (slave, ToSlave::Dispatch { attempt, task, budget })
            }
            Effect::Cancel { slave, attempt } => (slave, ToSlave::Cancel { attempt }),
            Effect::Recall { slave, attempts } => (slave, ToSlave::Recall { attempts }),
            Effect::AskReserve { slave, reservation: wish, wait } => {
                (slave, ToSlave::Reserve { wish, wait: wait == Wait::Yes })
            }
            Effect::ReleaseSlave { slave, .. } => (slave, ToSlave::Release),
            Effect::ReserveResolved { reservation, outcome } => {
                if outcome.is_ok() {
                    self.expect(self.now + MS, Happening::Uses(reservation));
                }
                return;
            }
            Effect::Resolve { .. } => {
                self.last_accepted = self.now;
                return;
            }
            Effect::Retried { .. } | Effect::Stale { .. } => return,
        };
        let linked = self.slaves.get(&slave).is_some_and(|slave| slave.linked);
        if linked {
            self.future.add(self.now + self.plan.latency, Happening::Arrives(slave, message));
        }
    }
}

/// The name of an effect, with why.
fn name(effect: &Effect) -> String {
    let word = |debug: String| {
        let end = debug.find([' ', '{']).unwrap_or(debug.len());
        debug[..end].to_owned()
    };
    match effect {
        Effect::Resolve { outcome: Outcome::Failed { cause, .. }, .. } => {
            format!("Resolve {}", word(format!("{cause:?}")))
        }
        Effect::Resolve { .. } => "Resolve Accepted".into(),
        Effect::Retried { why, .. } => format!("Retried {why:?}"),
        Effect::ReserveResolved { outcome: Err(error), .. } => {
            format!("ReserveResolved Err({error:?})")
        }
        Effect::ReserveResolved { .. } => "ReserveResolved Ok".into(),
        other => word(format!("{other:?}")),
    }
}
