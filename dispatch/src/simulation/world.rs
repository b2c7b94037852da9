//! A simulated world: a virtual clock, masters and slaves, the links between them.
//!
//! Owns: which process something happens to, and when all is over. Invariants: everything
//! follows from the seed; when the faults have ended, everything becomes quiet.

use crate::simulation::future::{Future, Happening, Process};
use crate::simulation::master::Master;
use crate::simulation::net::{Arrived, End, LinkId, Net, Pair};
use crate::simulation::plan::{MS, Plan};
use crate::simulation::random::Random;
use crate::simulation::slave::Slave;
use crate::{Effect, Loss, Outcome, TaskId};
use dpfw_protocol::message::close;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// How often a process looks after its sessions, and when silence is a loss: as far from
/// each other as the real ones, and closer to what happens here.
pub(crate) const BEAT: u64 = 20 * MS;
pub(crate) const SILENCE: u64 = 100 * MS;
/// A world that is not quiet so long after its faults never will be. Busy slaves are left
/// alone for up to a second each time, poison is tried three times.
const PATIENCE: u64 = 20_000 * MS;

/// What masters and slaves act upon.
pub(crate) struct Shared {
    pub(crate) now: u64,
    pub(crate) plan: Plan,
    pub(crate) random: Random,
    pub(crate) future: Future,
    pub(crate) net: Net,
    /// How often each task was begun.
    pub(crate) runs: BTreeMap<TaskId, u32>,
    /// What was met, by name.
    pub(crate) seen: BTreeMap<String, u64>,
    /// Whether every event is printed: `DPFW_TRACE`.
    pub(crate) trace: bool,
    pub(crate) last_slave: u64,
    pub(crate) last_wish: u64,
    pub(crate) last_reservation: u64,
    pub(crate) last_task: u64,
    /// Tasks whose callers have come, whether their master was up or not.
    pub(crate) submitted: BTreeSet<TaskId>,
    /// What must happen before the world can be quiet.
    pub(crate) plans: u64,
}

impl Shared {
    /// Plans something that must have happened before the world is quiet.
    pub(crate) fn expect(&mut self, at: u64, what: Happening) {
        self.plans += 1;
        self.future.add(at, what);
    }

    /// A link needs some round trips.
    pub(crate) fn dial_soon(&mut self, pair: Pair) {
        self.future.add(self.now + 3 * self.plan.latency, Happening::Dials(pair));
    }

    pub(crate) fn end_of_faults(&self) -> u64 {
        self.plan.faults.until_ms * MS
    }

    /// Whether a master hears nonsense.
    pub(crate) fn is_lied_to(&self, master: usize) -> bool {
        master == 0 && self.plan.slaves.iter().any(|host| host.lies)
    }

    /// How long a result is behind its number; one that is said twice is short.
    pub(crate) fn result_len(&self, task: TaskId, len: usize) -> usize {
        let doubles = self.plan.faults.doubles > 0 && len == 8;
        if doubles { 0 } else { self.plan.tasks[&task].bytes }
    }
}

pub(crate) struct World {
    pub(crate) shared: Shared,
    pub(crate) masters: Vec<Master>,
    pub(crate) slaves: Vec<Slave>,
}

impl World {
    /// Runs a world until it is quiet.
    ///
    /// # Panics
    /// If anything is not as it should be.
    pub(crate) fn run(seed: u64, plan: Plan) -> Self {
        let shared = Shared {
            now: 0,
            random: Random::new(!seed),
            future: Future::default(),
            net: Net::new(plan.latency, plan.rough),
            runs: BTreeMap::new(),
            seen: BTreeMap::new(),
            trace: std::env::var_os("DPFW_TRACE").is_some(),
            last_slave: 0,
            last_wish: 0,
            last_reservation: 0,
            submitted: BTreeSet::new(),
            last_task: 1_000_000,
            plans: 0,
            plan,
        };
        let masters = (0..shared.plan.masters).map(Master::new).collect();
        let slaves =
            shared.plan.slaves.iter().enumerate().map(|(n, host)| Slave::new(n, *host)).collect();
        let mut world = Self { shared, masters, slaves };
        world.begin();
        while !world.is_quiet()
            && let Some((at, what)) = world.shared.future.next()
        {
            world.shared.now = at;
            world.happen(what);
            let Shared { now, random, future, net, .. } = &mut world.shared;
            net.flush(*now, random, future);
        }
        world
    }

    pub(crate) fn makespan(&self) -> Duration {
        let last = self.masters.iter().map(|master| master.last_resolved).max();
        Duration::from_nanos(last.unwrap_or(0))
    }

    fn begin(&mut self) {
        let w = &mut self.shared;
        (0..self.masters.len()).for_each(|n| w.future.add(0, Happening::MasterComes(n)));
        (0..self.slaves.len()).for_each(|n| w.future.add(0, Happening::SlaveComes(n)));
        let jobs: Vec<_> = w.plan.tasks.iter().map(|(id, j)| (*id, j.at, j.cancel)).collect();
        for (id, at, cancel) in jobs {
            w.expect(at, Happening::Submits(id));
            if let Some(cancel) = cancel {
                w.expect(cancel, Happening::Cancels(id));
            }
        }
        self.spread_faults();
    }

    /// Whether all that was planned has happened and nothing is left of it anywhere.
    fn is_quiet(&self) -> bool {
        let w = &self.shared;
        if w.plans > 0 || w.now < w.end_of_faults() {
            return false;
        }
        let masters = self.masters.iter().find_map(Master::load);
        let left = masters.or_else(|| self.slaves.iter().find_map(Slave::load));
        let patience = w.end_of_faults() + PATIENCE;
        match left {
            Some(left) => assert!(w.now < patience, "never quiet: {left}"),
            None => return true,
        }
        false
    }

    fn is_stalled(&self, process: Process) -> Option<u64> {
        let until = match process.role {
            End::Master => self.masters[process.number].stalled_until,
            End::Slave => self.slaves[process.number].stalled_until,
        };
        Some(until).filter(|until| *until > self.shared.now)
    }

    /// Whom something happens to.
    fn process_of(&self, what: &Happening) -> Option<Process> {
        let master = |n: usize| self.masters[n].process();
        let slave = |n: usize| self.slaves[n].process();
        Some(match what {
            Happening::Arrives(link, from) => {
                let pair = self.shared.net.pair(*link)?;
                match from {
                    End::Master => slave(pair.1),
                    End::Slave => master(pair.0),
                }
            }
            Happening::Writes(link, end) => {
                let pair = self.shared.net.pair(*link)?;
                match end {
                    End::Master => master(pair.0),
                    End::Slave => slave(pair.1),
                }
            }
            Happening::Beats(process) => *process,
            Happening::Ends(n, _) | Happening::Reports(n, _) | Happening::Wakes(n, _) => slave(*n),
            Happening::Submits(task) | Happening::Cancels(task) => {
                master(self.shared.plan.tasks[task].master)
            }
            Happening::Uses(n, _) | Happening::Releases(n, _) | Happening::Tick(n) => master(*n),
            _ => return None,
        })
    }

    fn happen(&mut self, what: Happening) {
        // Who stands still does nothing until it goes on.
        if let Some(process) = self.process_of(&what)
            && let Some(until) = self.is_stalled(process)
        {
            return self.shared.future.add(until, what);
        }
        let (w, masters, slaves) = (&mut self.shared, &mut self.masters, &mut self.slaves);
        match what {
            Happening::Arrives(link, from) => self.arrive(link, from),
            Happening::Writes(link, end) => {
                w.net.write(link, end, w.now, &mut w.random, &mut w.future);
            }
            Happening::Beats(process) => self.beat(process),
            Happening::Continues(Process { role: End::Master, number, .. }) => {
                masters[number].go_on_after_stall(w.now);
            }
            Happening::Continues(process) => slaves[process.number].go_on_after_stall(w.now),
            Happening::Ends(n, name) => slaves[n].over(w, name),
            Happening::Reports(n, name) => slaves[n].report(w, name),
            Happening::Wakes(n, name) => slaves[n].wake(w, name),
            Happening::Dies(n, name) if slaves[n].runs(name) => slaves[n].die(w),
            Happening::Dies(..) => {}
            Happening::Dials(pair) => self.dial(pair),
            Happening::SlaveComes(n) => slaves[n].come(w),
            Happening::MasterComes(n) => masters[n].come(w),
            Happening::Tick(n) if masters[n].up => masters[n].wake(w),
            Happening::Tick(_) => {}
            planned => self.go_by_plan(planned),
        }
    }

    fn beat(&mut self, process: Process) {
        let w = &mut self.shared;
        match process.role {
            End::Master => {
                let master = &mut self.masters[process.number];
                if master.up && master.process() == process {
                    master.beat(w);
                }
            }
            End::Slave => {
                let slave = &mut self.slaves[process.number];
                if slave.up && slave.process() == process {
                    slave.beat(w);
                }
                w.net.sweep();
            }
        }
    }

    /// What was said arrives; an end of the link that makes no sense of it closes it.
    fn arrive(&mut self, link: LinkId, from: End) {
        let w = &mut self.shared;
        let Some((master, slave)) = w.net.pair(link) else { return };
        let (said, ended) = match w.net.arrive(link, from, w.now, &mut w.future) {
            Arrived::Nothing => return,
            Arrived::Said(said) => (said, None),
            Arrived::Broken(said) => (said, Some((Some(close::PROTOCOL), Loss::Unreachable))),
            Arrived::Ended => (Vec::new(), Some((None, Loss::Died))),
        };
        let (master, slave) = (&mut self.masters[master], &mut self.slaves[slave]);
        match from {
            End::Slave => {
                master.hear(w, link, said);
                if let Some((code, loss)) = ended {
                    master.hang_up(w, link, code, loss);
                }
            }
            End::Master => {
                slave.hear(w, link, said);
                if let Some((code, _)) = ended {
                    slave.hang_up(w, link, code);
                }
            }
        }
    }

    /// Makes a link if one is wanted and can be made; else it is tried again.
    fn dial(&mut self, pair: Pair) {
        let (master, slave) = (&self.masters[pair.0], &self.slaves[pair.1]);
        let is_linked = master.has(pair.1) && slave.has(pair.0);
        if is_linked || !master.up || !slave.up {
            // Who comes up dials all the others.
            return;
        }
        self.connect(pair);
    }

    /// Makes a link, whatever there was before.
    pub(crate) fn connect(&mut self, pair: Pair) {
        let processes = [self.masters[pair.0].process(), self.slaves[pair.1].process()];
        let is_stalled = processes.iter().any(|process| self.is_stalled(*process).is_some());
        let w = &mut self.shared;
        let draining = self.slaves[pair.1].draining;
        if is_stalled || draining || !w.net.is_passable(pair, w.now) {
            return w.future.add(w.now + BEAT, Happening::Dials(pair));
        }
        let link = w.net.link(pair);
        self.slaves[pair.1].join(w, link, pair.0);
        self.masters[pair.0].join(w, link, pair.1, processes[1].incarnation);
    }
}

/// The name of an effect, with why.
pub(crate) fn name(effect: &Effect) -> String {
    let word = |debug: String| {
        let end = debug.find([' ', '{']).unwrap_or(debug.len());
        debug[..end].to_owned()
    };
    match effect {
        Effect::Resolve { outcome: Outcome::Failed { cause, .. }, .. } => {
            format!("Resolve {}", word(format!("{cause:?}")))
        }
        Effect::Resolve { outcome: Outcome::KeyGone { .. }, .. } => "Resolve KeyGone".into(),
        Effect::Resolve { .. } => "Resolve Accepted".into(),
        Effect::Retried { why, .. } => format!("Retried {why:?}"),
        Effect::ReserveResolved { outcome: Err(error), .. } => {
            format!("ReserveResolved Err({error:?})")
        }
        Effect::ReserveResolved { .. } => "ReserveResolved Ok".into(),
        other => word(format!("{other:?}")),
    }
}
