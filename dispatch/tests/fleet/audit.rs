//! A second opinion: follows events and effects, knows nothing of how the policy works,
//! and panics when it breaks a promise.

use dpfw_dispatch::{
    Again, Effect, End, Event, Loss, Outcome, Placement, ReservationId, SlaveId, TaskId, TaskSpec,
    Time,
};
use dpfw_protocol::error::Cause;
use dpfw_protocol::ids::AttemptId;
use dpfw_protocol::message::TaskFlags;
use std::collections::{BTreeMap, BTreeSet};

#[derive(Debug, Default)]
struct Seat {
    limit: u32,
    draining: bool,
    taken: bool,
    last: u64,
    open: BTreeMap<AttemptId, TaskId>,
    recalled: BTreeSet<AttemptId>,
    /// Absent from what the slave last said it holds.
    missed: BTreeSet<AttemptId>,
    asked: Option<ReservationId>,
    held: Option<ReservationId>,
}

#[derive(Debug)]
struct Life {
    spec: TaskSpec,
    out: Option<(SlaveId, AttemptId)>,
    was_sent: bool,
    suspect: bool,
    end: Option<Outcome>,
}

#[derive(Debug, Default)]
pub(crate) struct Audit {
    seats: BTreeMap<SlaveId, Seat>,
    lives: BTreeMap<TaskId, Life>,
    reservations: BTreeMap<ReservationId, bool>,
    ending: Option<(SlaveId, AttemptId, TaskId)>,
}

impl Audit {
    /// Follows one event and what the policy made of it.
    pub(crate) fn follow(&mut self, now: Time, event: &Event, effects: &[Effect]) {
        self.before(event);
        for effect in effects {
            self.after(now, event, effect);
        }
    }

    pub(crate) fn assert_all_resolved(&self) {
        for (task, life) in &self.lives {
            assert!(life.end.is_some(), "task {task} never resolved: {life:?}");
        }
    }

    pub(crate) fn is_done(&self) -> bool {
        self.lives.values().all(|life| life.end.is_some())
    }

    pub(crate) fn failure(&self, task: TaskId) -> Option<&Cause> {
        match self.lives.get(&task)?.end.as_ref()? {
            Outcome::Accepted { .. } => None,
            Outcome::Failed { cause, .. } => Some(cause),
        }
    }

    fn before(&mut self, event: &Event) {
        self.ending = None;
        match event {
            Event::Submit { task, spec } => {
                let spec = spec.clone();
                let life = Life { spec, out: None, was_sent: false, suspect: false, end: None };
                self.lives.entry(*task).or_insert(life);
            }
            Event::SlaveJoined { slave, attempts, .. } => {
                self.seats.entry(*slave).or_insert(Seat { limit: *attempts, ..Seat::default() });
            }
            Event::SlaveStatus { slave, taken, .. } => {
                if let Some(seat) = self.seats.get_mut(slave) {
                    seat.taken = *taken;
                }
            }
            Event::Holds { slave, upto, attempts } => self.hold(*slave, *upto, attempts),
            Event::SlaveDraining { slave } => self.drain(*slave),
            Event::SlaveLost { slave, .. } => self.lose(*slave),
            Event::Finished { slave, attempt, end } => {
                self.ending = self.close(*slave, *attempt);
                if matches!(end, End::Failed { cause: Cause::Draining }) && self.ending.is_some() {
                    self.drain(*slave);
                }
            }
            Event::Returned { slave, attempts } => {
                for attempt in attempts {
                    self.close(*slave, *attempt);
                }
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

    fn drain(&mut self, slave: SlaveId) {
        if let Some(seat) = self.seats.get_mut(&slave) {
            seat.draining = true;
        }
    }

    /// What is absent for the second time is not there any more.
    fn hold(&mut self, slave: SlaveId, upto: AttemptId, held: &[AttemptId]) {
        let Some(seat) = self.seats.get_mut(&slave) else { return };
        let is_absent = |attempt: &AttemptId| *attempt <= upto && !held.contains(attempt);
        let absent: BTreeSet<_> = seat.open.keys().copied().filter(is_absent).collect();
        // What lies beyond has not been spoken of.
        let beyond: Vec<_> = seat.missed.iter().copied().filter(|a| *a > upto).collect();
        let gone: Vec<_> = seat.missed.intersection(&absent).copied().collect();
        seat.missed = absent;
        seat.missed.extend(beyond);
        gone.into_iter().for_each(|attempt| drop(self.close(slave, attempt)));
    }

    fn lose(&mut self, slave: SlaveId) {
        let Some(seat) = self.seats.remove(&slave) else { return };
        for (attempt, task) in seat.open {
            if let Some(life) = self.lives.get_mut(&task)
                && life.out == Some((slave, attempt))
            {
                life.out = None;
            }
        }
    }

    fn close(
        &mut self,
        slave: SlaveId,
        attempt: AttemptId,
    ) -> Option<(SlaveId, AttemptId, TaskId)> {
        let task = self.seats.get_mut(&slave)?.open.remove(&attempt)?;
        let life = self.lives.get_mut(&task)?;
        if life.out != Some((slave, attempt)) {
            return None;
        }
        life.out = None;
        Some((slave, attempt, task))
    }

    fn after(&mut self, now: Time, event: &Event, effect: &Effect) {
        match effect {
            Effect::Send { slave, task, attempt, budget } => {
                self.send(*slave, *task, *attempt);
                let deadline = self.lives[task].spec.deadline;
                assert_eq!(*budget, deadline.map(|deadline| deadline.since(now)));
                assert!(deadline.is_none_or(|deadline| deadline > now), "sent too late");
            }
            Effect::Cancel { slave, attempt } => {
                // Or it is over and the slave says that it holds it still.
                let is_held =
                    matches!(event, Event::Holds { attempts, .. } if attempts.contains(attempt));
                let is_out = self.seats[slave].open.contains_key(attempt);
                assert!(is_out || is_held, "cancelled what is not out");
            }
            Effect::Recall { slave, attempts } => {
                let Some(seat) = self.seats.get_mut(slave) else { panic!("recall from {slave}") };
                assert!(!attempts.is_empty() && !seat.draining);
                for attempt in attempts {
                    assert!(seat.open.contains_key(attempt), "recalled what is not out");
                    assert!(seat.recalled.insert(*attempt), "recalled twice");
                }
            }
            Effect::Resolve { task, outcome, .. } => self.resolve(event, *task, outcome),
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
            Effect::Retried { task, why, .. } => {
                let Some(life) = self.lives.get_mut(task) else { panic!("retried {task}") };
                assert!(life.out.is_none() && life.end.is_none());
                life.suspect |= *why == Again::Lost(Loss::Died);
                let once = life.spec.flags.has(TaskFlags::ONCE);
                let lost =
                    matches!(why, Again::Lost(_) | Again::LostUnstarted(_) | Again::Forgotten);
                assert!((*why == Again::Forgotten) == matches!(event, Event::Holds { .. }));
                assert!(!(once && lost), "a once task is tried again");
            }
            Effect::Stale { .. } => {}
        }
    }

    fn send(&mut self, slave: SlaveId, task: TaskId, attempt: AttemptId) {
        let Some(seat) = self.seats.get_mut(&slave) else { panic!("sent to {slave}") };
        assert!(!seat.draining && !seat.taken, "sent to a slave that drains or is taken");
        assert!((seat.open.len() as u64) < u64::from(seat.limit), "sent too many");
        assert!(attempt.0 > seat.last, "attempt ids must grow");
        seat.last = attempt.0;
        for open in seat.open.values() {
            assert!(!self.lives[open].suspect, "sent beside a suspect");
        }
        let Some(life) = self.lives.get_mut(&task) else { panic!("sent {task}") };
        assert!(life.end.is_none() && life.out.is_none(), "task {task} is elsewhere or over");
        assert!(!life.suspect || seat.open.is_empty(), "a suspect sent in company");
        match &life.spec.placement {
            Placement::On(only) => assert_eq!(*only, slave),
            Placement::Reserved(reservation) => assert_eq!(seat.held, Some(*reservation)),
            _ => assert!(seat.asked.is_none() && seat.held.is_none(), "sent to a kept slave"),
        }
        life.out = Some((slave, attempt));
        life.was_sent = true;
        seat.open.insert(attempt, task);
    }

    fn resolve(&mut self, event: &Event, task: TaskId, outcome: &Outcome) {
        let Some(life) = self.lives.get_mut(&task) else { panic!("resolved {task}") };
        assert!(life.end.is_none(), "task {task} resolved twice");
        match outcome {
            Outcome::Accepted { slave, attempt } => {
                assert_eq!(self.ending, Some((*slave, *attempt, task)), "not this task's result");
                assert!(matches!(event, Event::Finished { end: End::Done { .. }, .. }));
            }
            Outcome::Failed { cause: Cause::SlaveLost { may_have_run: false }, .. } => {
                assert!(life.out.is_none());
            }
            Outcome::Failed { .. } => {}
        }
        life.end = Some(outcome.clone());
        life.out = None;
    }
}
