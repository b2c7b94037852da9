//! A second opinion: follows events and effects, knows nothing of how the policy works,
//! and panics when it breaks a promise.
//!
//! Owns: what every task and every slave may expect, from what was said alone. Invariants:
//! it believes slaves as much as the policy may; its counts and the policy's are the same.
//! For tests and the fuzzer: it is there with the feature `audit`.

mod life;
mod seat;

use crate::audit::life::{Life, Out};
use crate::audit::seat::{Closed, Seat, Why};
use crate::{
    Again, Config, Effect, End, Event, KeyId, Loss, Outcome, Placement, ReservationId, SlaveId,
    Stats, TaskId, Time,
};
use dpfw_protocol::error::Cause;
use dpfw_protocol::ids::AttemptId;
use dpfw_protocol::message::TaskFlags;
use std::collections::{BTreeMap, BTreeSet};

/// See the module's page.
#[derive(Debug, Default)]
pub struct Audit {
    seats: BTreeMap<SlaveId, Seat>,
    lives: BTreeMap<TaskId, Life>,
    due: BTreeSet<(Time, TaskId)>,
    reservations: BTreeMap<ReservationId, bool>,
    counts: Stats,
    out: usize,
    over: usize,
    /// Attempts of unresolved tasks that the event being followed has ended.
    closed: BTreeMap<TaskId, Closed>,
    /// Attempts whose tasks it resolved, and those it cancelled.
    orphans: BTreeSet<(SlaveId, AttemptId)>,
    cancelled: BTreeSet<(SlaveId, AttemptId)>,
    /// Slaves that were asked for keys and have not answered.
    asked: BTreeSet<(SlaveId, Box<[KeyId]>)>,
    /// Those that it has to cancel once more.
    lingering: BTreeSet<(SlaveId, AttemptId)>,
}

impl Audit {
    /// Follows one event and what the policy made of it.
    ///
    /// # Panics
    /// If a promise is broken.
    pub fn follow(&mut self, now: Time, event: &Event, effects: &[Effect]) {
        self.closed.clear();
        self.orphans.clear();
        self.cancelled.clear();
        self.lingering.clear();
        self.before(event);
        for effect in effects {
            self.after(now, event, effect);
        }
        for (task, closed) in &self.closed {
            let gone = self.lives.get(task).is_none_or(|life| life.end.is_some()) || closed.beside;
            assert!(gone, "task {task} is neither tried again nor resolved");
        }
        for (slave, attempt) in &self.cancelled {
            let open = self.seats.get(slave).and_then(|seat| seat.open.get(attempt));
            let life = open.and_then(|open| self.lives.get(&open.task));
            let is_wanted = life.is_some_and(|life| life.waits_for(*slave, *attempt));
            assert!(!is_wanted, "cancelled what is wanted");
        }
        let told = self.orphans.is_subset(&self.cancelled);
        assert!(told, "an attempt is not wanted any more and not cancelled");
        let told = self.lingering.is_subset(&self.cancelled);
        assert!(told, "what a slave still holds is not cancelled again");
        self.check_deadlines(now);
    }

    /// Every task ends by its deadline; one that is out a grace later.
    fn check_deadlines(&mut self, now: Time) {
        let grace = Config::default().deadline_grace;
        let lives = &self.lives;
        while let Some((_, first)) = self.due.first()
            && lives[first].end.is_some()
        {
            self.due.pop_first();
        }
        for (deadline, task) in self.due.iter().take_while(|(deadline, _)| *deadline <= now) {
            let life = &lives[task];
            let in_grace = !life.out.is_empty() && now < *deadline + grace;
            assert!(life.end.is_some() || in_grace, "task {task} is overdue");
        }
    }

    /// The policy counts as it acts.
    ///
    /// # Panics
    /// If it does not.
    pub fn compare(&self, stats: &Stats) {
        let unresolved = self.lives.len() - self.over;
        let queued = unresolved - self.out;
        let own = Stats { slaves: self.seats.len(), unresolved, queued, ..self.counts };
        assert_eq!(*stats, own, "the policy's counts, and what it did");
    }

    /// # Panics
    /// If any task has not resolved.
    pub fn assert_all_resolved(&self) {
        for (task, life) in &self.lives {
            assert!(life.end.is_some(), "task {task} never resolved: {life:?}");
        }
    }

    /// Why a task failed, if it did.
    pub fn failure(&self, task: TaskId) -> Option<&Cause> {
        match self.lives.get(&task)?.end.as_ref()? {
            Outcome::Accepted { .. } | Outcome::KeyGone { .. } => None,
            Outcome::Failed { cause, .. } => Some(cause),
        }
    }

    fn before(&mut self, event: &Event) {
        match event {
            Event::Submit { task, spec } if !self.lives.contains_key(task) => {
                self.counts.submitted += 1;
                self.due.extend(spec.deadline.map(|deadline| (deadline, *task)));
                self.lives.insert(*task, Life::new(spec.clone()));
            }
            Event::SlaveJoined { slave, slots, attempts } => {
                self.seats.entry(*slave).or_insert_with(|| Seat::new(*slots, *attempts));
            }
            Event::SlaveStatus { slave, slots, taken, running } => {
                if let Some(seat) = self.seats.get_mut(slave) {
                    (seat.slots, seat.taken) = (*slots, *taken);
                    seat.stage(running, false);
                }
            }
            Event::Started { slave, attempts } => {
                self.seats.entry(*slave).and_modify(|seat| seat.stage(attempts, false));
            }
            Event::Waiting { slave, attempts } => {
                self.seats.entry(*slave).and_modify(|seat| seat.stage(attempts, true));
            }
            Event::Loading { slave, attempts } => {
                self.seats.entry(*slave).and_modify(|seat| seat.load(attempts, true));
            }
            Event::Queued { slave, attempts } => {
                self.seats.entry(*slave).and_modify(|seat| seat.load(attempts, false));
            }
            Event::Holds { slave, upto, attempts } => {
                self.linger(*slave, *upto, attempts);
                let seat = self.seats.get_mut(slave);
                for attempt in seat.map_or_else(Vec::new, |seat| seat.hold(*upto, attempts)) {
                    self.counts.forgotten += 1;
                    self.close(*slave, attempt, Why::Forgotten);
                }
            }
            Event::SlaveDraining { slave } => self.drain(*slave),
            Event::SlaveLost { slave, loss } => self.lose(*slave, *loss),
            Event::Finished { slave, attempt, end } => {
                self.close(*slave, *attempt, Why::Said);
                let refused = matches!(end, End::Failed { cause: Cause::Draining });
                if refused && !self.closed.is_empty() {
                    self.drain(*slave);
                }
                if let End::KeyGone { key } = end
                    && !self.closed.is_empty()
                {
                    self.seats.entry(*slave).and_modify(|seat| seat.set_key(*key, false));
                }
            }
            Event::Returned { slave, attempts } => {
                attempts.iter().for_each(|attempt| self.close(*slave, *attempt, Why::Said));
            }
            Event::KeyAt { slave, key } => {
                self.seats.entry(*slave).and_modify(|seat| seat.set_key(*key, true));
            }
            Event::KeyGone { slave, key } => {
                self.seats.entry(*slave).and_modify(|seat| seat.set_key(*key, false));
            }
            Event::KeyForgotten { key } => {
                self.seats.values_mut().for_each(|seat| seat.set_key(*key, false));
            }
            Event::Located { slave, keys, held } => {
                self.asked.remove(&(*slave, keys.clone()));
                self.seats.entry(*slave).and_modify(|seat| seat.locate(keys, held));
            }
            Event::Reserve { reservation, .. } => {
                self.reservations.entry(*reservation).or_insert(false);
            }
            Event::ReserveAnswered { slave, reservation, granted } => {
                let Some(seat) = self.seats.get_mut(slave) else { return };
                if let Some(asked) = seat.asked.take_if(|asked| asked == reservation) {
                    seat.held = granted.then_some(asked);
                }
            }
            _ => {}
        }
    }

    fn linger(&mut self, slave: SlaveId, upto: AttemptId, held: &[AttemptId]) {
        let Some(seat) = self.seats.get_mut(&slave) else { return };
        let tasks: BTreeMap<_, _> = seat.open.iter().map(|(id, open)| (*id, open.task)).collect();
        let lives = &self.lives;
        let is_wanted = |attempt: AttemptId| {
            let task = tasks.get(&attempt);
            task.is_some_and(|task| lives[task].waits_for(slave, attempt))
        };
        let twice = seat.linger(upto, held, is_wanted);
        self.lingering.extend(twice.into_iter().map(|attempt| (slave, attempt)));
    }

    fn drain(&mut self, slave: SlaveId) {
        self.seats.entry(slave).and_modify(|seat| seat.draining = true);
        self.asked.retain(|(asked, _)| *asked != slave);
    }

    fn lose(&mut self, slave: SlaveId, loss: Loss) {
        let Some(seat) = self.seats.get(&slave) else { return };
        for (attempt, began) in seat.begun_at(loss) {
            self.close(slave, attempt, Why::Lost { began, loss });
        }
        self.seats.remove(&slave);
        self.asked.retain(|(asked, _)| *asked != slave);
    }

    /// An attempt has ended.
    fn close(&mut self, slave: SlaveId, attempt: AttemptId, why: Why) {
        let Some(seat) = self.seats.get_mut(&slave) else { return };
        let Some(open) = seat.end(attempt) else { return };
        let Some(life) = self.lives.get_mut(&open.task) else { return };
        if life.waits_for(slave, attempt) {
            let (beside, counted) = life.close(slave, attempt, why);
            self.out -= usize::from(!beside);
            self.closed.insert(open.task, Closed { slave, attempt, why, beside, counted });
        }
    }

    fn after(&mut self, now: Time, event: &Event, effect: &Effect) {
        match effect {
            Effect::Send { slave, task, attempt, budget } => {
                self.counts.sent += 1;
                self.send(now, *slave, *task, *attempt);
                let deadline = self.lives[task].spec.deadline;
                assert_eq!(*budget, deadline.map(|deadline| deadline.since(now)));
                assert!(deadline.is_none_or(|deadline| deadline > now), "sent too late");
            }
            Effect::Cancel { slave, attempt } => {
                self.cancelled.insert((*slave, *attempt));
                let seat = &self.seats[slave];
                let open = seat.open.get(attempt).and_then(|open| self.lives.get(&open.task));
                let wanted = open.filter(|life| life.waits_for(*slave, *attempt));
                // One whose time is over may be held at that moment, as any other.
                let is_late = |life: &Life| life.spec.deadline.is_some_and(|at| at <= now);
                let is_late = wanted.is_some_and(is_late);
                let is_held = !is_late
                    && matches!(event, Event::Holds { attempts, .. } if attempts.contains(attempt));
                self.counts.recancelled += u64::from(is_held);
                // Or it is over and the slave says that it holds it still.
                assert!(seat.open.contains_key(attempt) || is_held, "cancelled what is not out");
                assert!(wanted.is_none() || !is_held, "cancelled what is wanted");
            }
            Effect::Recall { slave, attempts } => {
                self.counts.recalled += attempts.len() as u64;
                let Some(seat) = self.seats.get_mut(slave) else { panic!("recall from {slave}") };
                assert!(!attempts.is_empty() && !seat.draining);
                for attempt in attempts {
                    let open = seat.open.get(attempt);
                    let Some(open) = open else { panic!("recalled what is not out") };
                    assert!(self.lives[&open.task].out.len() < 2, "recalled one of two");
                    assert!(seat.recalled.insert(*attempt), "recalled twice");
                }
            }
            Effect::Resolve { task, outcome, attempts } => {
                self.resolve(event, *task, outcome, *attempts);
            }
            Effect::AskReserve { slave, reservation, .. } => {
                let Some(seat) = self.seats.get_mut(slave) else { panic!("asked {slave}") };
                assert!(!seat.draining && seat.asked.is_none() && seat.held.is_none());
                assert!(seat.open.is_empty(), "asked for slots that are in use");
                seat.asked = Some(*reservation);
            }
            Effect::ReleaseSlave { slave, reservation } => {
                let Some(seat) = self.seats.get_mut(slave) else { panic!("released {slave}") };
                let was = seat.asked.take();
                assert_eq!(was.or(seat.held.take()), Some(*reservation));
            }
            Effect::ReserveResolved { reservation, outcome } => {
                assert_eq!(self.reservations.insert(*reservation, true), Some(false));
                if let Ok(slave) = outcome {
                    assert_eq!(self.seats[slave].held, Some(*reservation));
                }
            }
            Effect::Locate { slave, keys } => {
                assert!(!self.seats[slave].draining, "asked a slave that drains");
                self.asked.insert((*slave, keys.clone()));
            }
            Effect::Retried { task, why, .. } => self.retried(*task, *why),
            Effect::Stale { .. } => self.counts.stale += 1,
        }
    }

    /// A task waits again: for a reason that this event has given, and as often as it may.
    fn retried(&mut self, task: TaskId, why: Again) {
        self.counts.retried += 1;
        let closed = self.closed.remove(&task);
        let Some(life) = self.lives.get_mut(&task) else { panic!("retried {task}") };
        assert!(life.end.is_none(), "task {task} is over and tried again");
        assert!(life.out.is_empty(), "task {task} is out, and waits again");
        let counted = closed.is_some_and(|closed| closed.counted);
        let began = match (why, closed.map(|closed| closed.why)) {
            (Again::Lost(_), Some(Why::Lost { began, loss })) if counted => {
                life.counts(began, loss);
                false
            }
            (Again::Forgotten, Some(Why::Forgotten)) if counted => false,
            (Again::Lost(_), Some(Why::Lost { began, loss })) => {
                assert!(life.counts(began, loss), "what had not begun is counted as a try");
                life.suspect |= loss == Loss::Died;
                life.deaths += u32::from(loss == Loss::Died);
                true
            }
            (Again::LostUnstarted(_), Some(Why::Lost { began, loss })) => {
                assert!(!life.counts(began, loss), "what had begun is not counted as a try");
                false
            }
            (Again::Forgotten, Some(Why::Forgotten)) => true,
            (Again::Returned | Again::Busy | Again::KeyGone, Some(Why::Said)) => false,
            (why, closed) => panic!("task {task} is tried again for {why:?} after {closed:?}"),
        };
        life.tries += u32::from(began);
        life.busy += u32::from(matches!(why, Again::Busy | Again::KeyGone));
        let Config { max_attempts, busy_retries, .. } = Config::default();
        assert!(
            life.tries < max_attempts && life.busy <= busy_retries,
            "tried too often: {life:?}"
        );
        let lost = !matches!(why, Again::Returned | Again::Busy | Again::KeyGone);
        assert!(!(life.spec.flags.has(TaskFlags::ONCE) && lost), "a once task is tried again");
    }

    fn send(&mut self, now: Time, slave: SlaveId, task: TaskId, attempt: AttemptId) {
        let Some(seat) = self.seats.get_mut(&slave) else { panic!("sent to {slave}") };
        for open in seat.open.values() {
            assert!(!self.lives[&open.task].suspect, "sent beside a suspect");
        }
        let Some(life) = self.lives.get_mut(&task) else { panic!("sent {task}") };
        assert!(life.end.is_none(), "task {task} is over");
        match life.is_second(now, slave) {
            true => {
                assert!(seat.has_free_slot(), "tried a second time where there is no slot");
                self.counts.hedged += 1;
            }
            false => self.out += 1,
        }
        assert!(!life.suspect || seat.open.is_empty(), "a suspect sent in company");
        if let Placement::At(keys) = &life.spec.placement {
            assert!(seat.has_all(keys), "sent where its keys are not");
        }
        match &life.spec.placement {
            Placement::On(only) => assert_eq!(*only, slave),
            Placement::Reserved(reservation) => assert_eq!(seat.held, Some(*reservation)),
            _ => assert!(seat.asked.is_none() && seat.held.is_none(), "sent to a kept slave"),
        }
        seat.send(attempt, task);
        life.out.push(Out { slave, attempt, sent: now });
    }

    fn resolve(&mut self, event: &Event, task: TaskId, outcome: &Outcome, attempts: u32) {
        let closed = self.closed.remove(&task);
        let Some(life) = self.lives.get_mut(&task) else { panic!("resolved {task}") };
        assert!(life.end.is_none(), "task {task} resolved twice");
        match outcome {
            Outcome::Accepted { slave, attempt } => {
                self.counts.accepted += 1;
                let from = closed.map(|closed| (closed.slave, closed.attempt));
                assert_eq!(from, Some((*slave, *attempt)), "not this task's result");
                let started = life.tries + 1 + life.out.len() as u32;
                assert_eq!(attempts, started, "how often task {task} was started");
                assert!(matches!(event, Event::Finished { end: End::Done { .. }, .. }));
            }
            Outcome::Failed { cause, .. } => {
                self.counts.failed += 1;
                let wanted = *cause == Cause::Cancelled;
                let is_asked = matches!(event, Event::Cancel { task: asked } if *asked == task);
                assert!(!wanted || is_asked, "task {task} is cancelled and nobody asked for it");
                life.check_cause(cause, closed);
            }
            Outcome::KeyGone { .. } => {
                self.counts.failed += 1;
                let is_said = matches!(event, Event::Finished { end: End::KeyGone { .. }, .. });
                if !(is_said && closed.is_some()) {
                    let Placement::At(keys) = &life.spec.placement else { panic!("needs no key") };
                    let has = |seat: &Seat| !seat.draining && seat.has_all(keys);
                    assert!(!self.seats.values().any(has), "a slave has the keys of task {task}");
                    let keys: BTreeSet<_> = keys.iter().copied().collect();
                    let waits =
                        |asked: &[KeyId]| asked.iter().copied().collect::<BTreeSet<_>>() == keys;
                    let mut asked = self.asked.iter();
                    assert!(
                        life.suspect || !asked.any(|(_, asked)| waits(asked)),
                        "given up early"
                    );
                }
            }
        }
        life.end = Some(outcome.clone());
        self.over += 1;
        self.out -= usize::from(!life.out.is_empty());
        self.orphans.extend(life.out.drain(..).map(|out| (out.slave, out.attempt)));
    }
}
