//! The policy's state and its one entrance.
//!
//! Owns: which handler an event goes to, how a task is sent and how it resolves. Does
//! not: decide where tasks go (`place`), what happens when a slave goes (`lost`), when an
//! attempt ends (`ends`) or when a task is out twice (`hedge`, `pair`). Invariant: effects are appended in the order in which they
//! must be carried out.

use crate::alarm::{Alarm, Alarms};
use crate::config::Config;
use crate::cost::Costs;
use crate::effect::{Effect, Outcome};
use crate::event::{Event, KindId, Placement, ReservationId, SlaveId, TaskId, TaskSpec};
use crate::hash::IdMap;
use crate::keys::Keys;
use crate::lanes::Lanes;
use crate::loading::Waits;
use crate::reserve::Reservation;
use crate::slave::{Company, Hold, Moves, Sent, Slave, Stage, Standing};
use crate::slaves::Slaves;
use crate::stats::Stats;
use crate::task::{At, List, Ref, Tasks};
use crate::time::Time;
use dpfw_protocol::error::Cause;
use dpfw_protocol::ids::AttemptId;
use std::collections::{BTreeMap, BTreeSet};

/// The master's policy.
///
/// The driver feeds it every event with the time at which it happened, carries out the
/// effects in order, and sends [`Event::Tick`] at [`Core::next_wake`]. It holds no
/// arguments and no results, only who runs what.
///
/// Bounded by what the driver submits: about 110 bytes for each task that waits.
#[derive(Debug, Default)]
pub struct Core {
    pub(crate) config: Config,
    pub(crate) now: Time,
    pub(crate) tasks: Tasks,
    /// Tasks for any slave, first come, first served.
    pub(crate) queue: List,
    /// Tasks of kinds whose module is being made ready. None of the lists is empty.
    pub(crate) aside: BTreeMap<KindId, List>,
    /// Suspects that wait for an empty slave.
    pub(crate) suspects: List,
    /// How many tasks are out.
    pub(crate) out: usize,
    /// The second attempts of those that are out in two. No more than there are slots.
    pub(crate) pairs: BTreeMap<Ref, (SlaveId, AttemptId)>,
    /// How many attempts are out beside which a second one may be sent.
    pub(crate) hedgeable: usize,
    pub(crate) hedge_at: Option<Time>,
    pub(crate) slaves: Slaves,
    pub(crate) keys: Keys,
    /// Tasks that wait for slaves that have their keys.
    pub(crate) lanes: Lanes,
    /// Suspects that are bound to keys may have no slave any more.
    pub(crate) stranded: bool,
    pub(crate) costs: Costs,
    pub(crate) alarms: Alarms,
    pub(crate) recall_at: Option<Time>,
    /// Slaves that are being emptied for suspects.
    pub(crate) emptying: BTreeSet<SlaveId>,
    /// How many run a suspect.
    pub(crate) alone: usize,
    pub(crate) reservations: IdMap<ReservationId, Reservation>,
    /// Reservations of any slave that wait and have none in prospect.
    pub(crate) unassigned: BTreeSet<ReservationId>,
    /// Reservations of any slave for which one is being emptied.
    pub(crate) wanting: BTreeMap<ReservationId, SlaveId>,
    /// Slaves to look at before the event is done.
    pub(crate) touched: Vec<SlaveId>,
    pub(crate) outlook: Outlook,
    pub(crate) counted: Stats,
}

/// Whether there is anything to wait for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Outlook {
    /// Slaves may come.
    #[default]
    Expected,
    /// None will beyond those linked.
    NoMore,
    /// The master ends.
    Shutdown,
}

/// One event's time and effects.
#[derive(Debug)]
pub(crate) struct Turn<'a> {
    pub(crate) now: Time,
    pub(crate) out: &'a mut Vec<Effect>,
}

impl Core {
    /// A policy without slaves or tasks.
    pub fn new(config: Config) -> Self {
        Self { config, ..Self::default() }
    }

    /// Takes an event in and appends what is to be done. A time before the last one is
    /// taken for the last one.
    pub fn handle(&mut self, now: Time, event: Event, out: &mut Vec<Effect>) {
        self.now = self.now.max(now);
        let turn = &mut Turn { now: self.now, out };
        match event {
            Event::Submit { task, spec } => self.handle_submit(turn, task, spec),
            Event::Cancel { task } => self.handle_cancel(turn, task),
            Event::SlaveJoined { slave, slots, attempts } => {
                self.handle_joined(turn, slave, slots, attempts);
            }
            Event::SlaveStatus { slave, slots, taken, running } => {
                self.handle_status(turn, slave, slots, taken, &running);
            }
            Event::Holds { slave, upto, attempts } => {
                self.handle_holds(turn, slave, upto, attempts);
            }
            Event::SlaveDraining { slave } => self.handle_draining(turn, slave),
            Event::SlaveLost { slave, loss } => self.handle_lost(turn, slave, loss),
            Event::Started { slave, attempts } => {
                self.handle_stage(slave, &attempts, Stage::Started);
            }
            Event::Waiting { slave, attempts } => {
                self.handle_stage(slave, &attempts, Stage::Waiting);
            }
            Event::Loading { slave, attempts } => {
                self.handle_waits(slave, &attempts, Waits::ForModule);
            }
            Event::Queued { slave, attempts } => {
                self.handle_waits(slave, &attempts, Waits::ForSlot);
            }
            Event::Finished { slave, attempt, end } => {
                self.handle_finished(turn, slave, attempt, end);
            }
            Event::Returned { slave, attempts } => self.handle_returned(turn, slave, &attempts),
            Event::KeyAt { slave, key } => self.handle_key(slave, key),
            Event::KeyGone { slave, key } => self.handle_key_gone(slave, key),
            Event::Located { slave, keys, held } => self.handle_located(slave, &keys, &held),
            Event::KeyCost { key, cost } => self.handle_key_cost(key, cost),
            Event::KeyForgotten { key } => self.handle_key_forgotten(key),
            Event::KindForgotten { kind } => self.forget_costs(kind),
            Event::Reserve { reservation, slave, wait } => {
                self.handle_reserve(turn, reservation, slave, wait);
            }
            Event::Release { reservation } => self.handle_release(turn, reservation),
            Event::ReserveAnswered { slave, reservation, granted } => {
                self.handle_answer(turn, slave, reservation, granted);
            }
            Event::NoMoreSlaves => self.change_outlook(Outlook::NoMore),
            Event::SlavesExpected => self.change_outlook(Outlook::Expected),
            Event::Shutdown => self.handle_shutdown(turn),
            Event::Tick => {}
        }
        // After the event: a result that comes with the deadline's end is still a result. And
        // before anything is sent: what is sent has time left.
        while let Some((at, alarm)) = self.alarms.due(turn.now) {
            self.handle_alarm(turn, at, alarm);
        }
        self.pump(turn);
    }

    /// The task that an attempt is of, while it is out and its task has not resolved.
    pub fn task_of(&self, slave: SlaveId, attempt: AttemptId) -> Option<TaskId> {
        let sent = self.slaves.find(slave)?.outs.get(&attempt)?;
        sent.task.map(|task| self.tasks[task].id)
    }

    /// When an attempt was sent, while its slave has not said that it ended.
    pub fn sent_at(&self, slave: SlaveId, attempt: AttemptId) -> Option<Time> {
        self.slaves.find(slave)?.outs.get(&attempt).map(|sent| sent.at)
    }

    /// The slave that has a task now, if any has; of two the first.
    pub fn slave_of(&self, task: TaskId) -> Option<SlaveId> {
        match self.tasks[self.tasks.find(task)?].at {
            At::Out { slave, .. } => Some(slave),
            _ => None,
        }
    }

    /// When [`Event::Tick`] is wanted, if nothing else happens before.
    pub fn next_wake(&self) -> Option<Time> {
        self.alarms.next()
    }

    /// Counters, and how things stand.
    pub fn stats(&self) -> Stats {
        let unresolved = self.tasks.len();
        let queued = unresolved - self.out;
        Stats { slaves: self.slaves.len(), unresolved, queued, ..self.counted }
    }

    fn change_outlook(&mut self, outlook: Outlook) {
        if self.outlook != Outlook::Shutdown {
            self.outlook = outlook;
        }
    }

    fn handle_joined(&mut self, turn: &mut Turn<'_>, id: SlaveId, slots: u32, attempts: u32) {
        if self.slaves.find(id).is_none() && self.outlook != Outlook::Shutdown {
            self.slaves.insert(id, Slave::new(slots, attempts, self.now));
            self.touched.push(id);
            self.ask_newcomer(turn, id);
        }
    }

    fn handle_submit(&mut self, turn: &mut Turn<'_>, id: TaskId, spec: TaskSpec) {
        if self.tasks.find(id).is_some() {
            return;
        }
        self.counted.submitted += 1;
        let refusal = self.refusal(turn.now, &spec);
        let Some(task) = self.tasks.insert(id, spec) else {
            let cause = Cause::Busy { what: "the master holds too many tasks".into() };
            self.counted.failed += 1;
            let outcome = Outcome::Failed { cause, slave: None };
            turn.out.push(Effect::Resolve { task: id, outcome, attempts: 0 });
            return;
        };
        let deadline = self.tasks[task].deadline;
        if deadline != Time::NEVER && !mutated!(DeadlineForgotten) {
            self.alarms.set(deadline, Alarm::Deadline(task));
        }
        match refusal {
            Some(cause) => self.fail(turn, task, cause, None),
            None => self.enqueue(task, End::Back),
        }
    }

    /// Why a new task cannot even wait.
    fn refusal(&self, now: Time, spec: &TaskSpec) -> Option<Cause> {
        if self.outlook == Outlook::Shutdown {
            return Some(Cause::Shutdown);
        }
        if spec.deadline.is_some_and(|deadline| deadline <= now) {
            return Some(Cause::DeadlineExceeded);
        }
        match spec.placement {
            Placement::On(slave) => self.refusal_of_slave(slave),
            Placement::Reserved(reservation) => self.refusal_of_reservation(reservation),
            Placement::Anywhere | Placement::At(_) | Placement::Near(_) => None,
        }
    }

    /// Why a task cannot wait for that slave.
    pub(crate) fn refusal_of_slave(&self, slave: SlaveId) -> Option<Cause> {
        match self.slaves.find(slave).map(|slave| slave.standing) {
            None => Some(Cause::SlaveLost { may_have_run: false }),
            Some(Standing::Draining) => Some(Cause::Draining),
            Some(Standing::Working) => None,
        }
    }

    fn handle_cancel(&mut self, turn: &mut Turn<'_>, id: TaskId) {
        if let Some(task) = self.tasks.find(id) {
            self.withdraw(turn, task, Cause::Cancelled);
        }
    }

    /// Ends a task wherever it is.
    pub(crate) fn withdraw(&mut self, turn: &mut Turn<'_>, task: Ref, cause: Cause) {
        match self.tasks[task].at {
            At::Out { slave, .. } => self.fail(turn, task, cause, Some(slave)),
            At::Queued { .. } => {
                self.dequeue(task);
                self.fail(turn, task, cause, None);
            }
            At::Free { .. } => {}
        }
    }

    fn handle_alarm(&mut self, turn: &mut Turn<'_>, at: Time, alarm: Alarm) {
        match alarm {
            Alarm::Deadline(task) => {
                let grace = self.tasks[task].deadline + self.config.deadline_grace;
                if self.has_started(task) && at < grace && turn.now < grace {
                    if !mutated!(DeadlineForgottenWhenOut) {
                        self.alarms.set(grace, alarm);
                    }
                } else {
                    self.withdraw(turn, task, Cause::DeadlineExceeded);
                }
            }
            Alarm::Unpause(id) => {
                let slave = self.slaves.find_mut(id);
                if let Some(slave) = slave.filter(|slave| slave.paused == Some(at)) {
                    slave.paused = None;
                }
                self.touched.push(id);
            }
            Alarm::Askable(id) => {
                let slave = self.slaves.find_mut(id);
                if let Some(slave) = slave.filter(|slave| slave.refused == Some(at)) {
                    slave.refused = None;
                }
                self.touched.push(id);
            }
            Alarm::Patience(id) => self.touched.push(id),
            Alarm::Lane(lane) => self.release_lane(lane),
            Alarm::Recall => self.recall_at = None,
            Alarm::Hedge => self.hedge_at = None,
        }
    }

    /// Sends a task, which is in no queue, to a slave that takes it.
    pub(crate) fn send(
        &mut self,
        turn: &mut Turn<'_>,
        id: SlaveId,
        task: Ref,
    ) -> Option<AttemptId> {
        let moves = if self.may_move(task) { Moves::Yes } else { Moves::No };
        let company = self.company_for(task);
        let attempt = self.begin(turn, id, task, moves, company)?;
        self.tasks[task].at = At::Out { slave: id, attempt };
        self.out += 1;
        self.hedgeable += usize::from(company == Company::May);
        Some(attempt)
    }

    /// Makes an attempt of a task, and tells it to the driver. Within `send` it is on the way of
    /// every task, where a call of its own would be felt.
    #[inline(always)]
    pub(crate) fn begin(
        &mut self,
        turn: &mut Turn<'_>,
        id: SlaveId,
        task: Ref,
        moves: Moves,
        company: Company,
    ) -> Option<AttemptId> {
        let cost = self.cost_at(id, task);
        let slave = self.slaves.find_mut(id)?;
        let (it, now) = (&self.tasks[task], turn.now);
        let sent = Sent { moves, company, ..Sent::new(task, it.kind, cost, now) };
        let attempt = slave.begin(sent, &self.config, now);
        let budget = (it.deadline != Time::NEVER).then(|| it.deadline.since(now));
        turn.out.push(Effect::Send { slave: id, task: it.id, attempt, budget });
        self.counted.sent += 1;
        self.slaves.choose(id);
        self.slaves.settle(id, &self.config);
        Some(attempt)
    }

    /// Ends a task, which is in no queue, without a result.
    pub(crate) fn fail(
        &mut self,
        turn: &mut Turn<'_>,
        task: Ref,
        cause: Cause,
        slave: Option<SlaveId>,
    ) {
        self.counted.failed += 1;
        self.resolve(turn, task, Outcome::Failed { cause, slave }, 0);
    }

    /// Ends a task, which is in no queue; `more` attempts were started besides those that were
    /// lost. What is out of it is cancelled.
    pub(crate) fn resolve(&mut self, turn: &mut Turn<'_>, task: Ref, outcome: Outcome, more: u32) {
        self.call_off(turn, task);
        let it = &self.tasks[task];
        if it.deadline != Time::NEVER {
            let grace = it.deadline + self.config.deadline_grace;
            self.alarms.clear(it.deadline, Alarm::Deadline(task));
            self.alarms.clear(grace, Alarm::Deadline(task));
        }
        let attempts = u32::from(it.record.tries) + more;
        turn.out.push(Effect::Resolve { task: it.id, outcome, attempts });
        self.tasks.remove(task);
    }

    fn handle_shutdown(&mut self, turn: &mut Turn<'_>) {
        self.outlook = Outlook::Shutdown;
        let mut all: Vec<_> = self.tasks.iter().map(|(task, it)| (it.id, task)).collect();
        all.sort_unstable();
        all.into_iter().for_each(|(_, task)| self.withdraw(turn, task, Cause::Shutdown));
        self.end_reservations(turn);
        let holds: Vec<_> = self.emptying.iter().copied().collect();
        holds.into_iter().for_each(|slave| self.set_hold(slave, Hold::Open));
    }
}

/// Which end of a queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    Front,
    Back,
}

#[cfg(test)]
mod tests;
