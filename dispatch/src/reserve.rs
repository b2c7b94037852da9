//! Reservations: all slots of a slave for one holder.
//!
//! Owns: who waits for a slave, who holds which, the tasks that wait for a reservation.
//! Does not: judge whether a slave is empty; the slave itself has the last word, since
//! other masters may use it. Invariants: a slave is kept for at most one reservation;
//! a reservation resolves once; first come, first served among those for any slave.

use crate::alarm::Alarm;
use crate::core::{Core, Outlook, Turn};
use crate::effect::{Effect, ReserveError};
use crate::event::{ReservationId, SlaveId, Wait};
use crate::slave::{Hold, Slave, Standing};
use crate::slaves::Rank;
use crate::task::List;
use dpfw_protocol::error::Cause;

/// Slaves looked at for a reservation: more than a few only if as many refused just now.
const CANDIDATES: usize = 32;

/// A reservation that has not been released.
#[derive(Debug)]
pub(crate) struct Reservation {
    /// The slave asked for, if not any.
    pub(crate) target: Option<SlaveId>,
    wait: Wait,
    pub(crate) state: State,
    /// Tasks that run only under it.
    pub(crate) lane: List,
}

/// How far a reservation is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// It waits, unassigned or at the slave asked for.
    Waiting,
    /// That slave is being emptied for it.
    Wanted(SlaveId),
    /// That slave was asked.
    Asked(SlaveId),
    /// It holds that slave.
    Held(SlaveId),
    /// The slave it held is gone.
    Lost,
}

impl Core {
    pub(crate) fn handle_reserve(
        &mut self,
        turn: &mut Turn<'_>,
        id: ReservationId,
        target: Option<SlaveId>,
        wait: Wait,
    ) {
        if self.reservations.contains_key(&id) {
            return;
        }
        let reservation =
            Reservation { target, wait, state: State::Waiting, lane: List::default() };
        self.reservations.insert(id, reservation);
        match self.outlook {
            Outlook::Shutdown => self.fail_reservation(turn, id, ReserveError::Shutdown),
            _ => self.seek(turn, id),
        }
    }

    /// Finds a slave for a reservation that has none, or has it wait, or ends it.
    fn seek(&mut self, turn: &mut Turn<'_>, id: ReservationId) {
        let Some(it) = self.reservations.get_mut(&id) else { return };
        it.state = State::Waiting;
        let (target, wait) = (it.target, it.wait);
        let idle = match target {
            Some(slave) => Some(slave).filter(|slave| self.is_idle(*slave)),
            None => self.idle_slave(),
        };
        let standing = target.map(|slave| self.slaves.find(slave).map(|slave| slave.standing));
        let hopeless = self.slaves.is_empty() && self.outlook == Outlook::NoMore;
        match (idle, standing, wait) {
            (Some(slave), ..) => self.ask(turn, id, slave),
            (None, Some(None | Some(Standing::Draining)), _) => {
                self.fail_reservation(turn, id, ReserveError::SlaveLost);
            }
            (None, None, _) if hopeless => {
                self.fail_reservation(turn, id, ReserveError::NoSlaves);
            }
            (None, _, Wait::No) => self.fail_reservation(turn, id, ReserveError::NoneIdle),
            (None, Some(_), Wait::Yes) => self.wait_at(target, id),
            (None, None, Wait::Yes) => {
                self.unassigned.insert(id);
            }
        }
    }

    fn wait_at(&mut self, target: Option<SlaveId>, id: ReservationId) {
        let Some(slave) = target else { return };
        if let Some(slave) = self.slaves.find_mut(slave) {
            slave.waiting.push_back(id);
        }
        self.touched.push(slave);
        self.slaves.settle(slave, &self.config);
    }

    fn is_idle(&self, slave: SlaveId) -> bool {
        self.slaves.rank(slave).is_some_and(|rank| rank.is_empty()) && self.is_askable(slave)
    }

    fn is_askable(&self, slave: SlaveId) -> bool {
        self.slaves.find(slave).is_some_and(|slave| slave.refused.is_none())
    }

    /// Of the idle slaves that did not refuse just now, the one unused for longest.
    fn idle_slave(&self) -> Option<SlaveId> {
        let idle = self.slaves.ranks().take(CANDIDATES).take_while(|rank| rank.is_empty());
        idle.map(|rank| rank.slave).find(|slave| self.is_askable(*slave))
    }

    /// Of the slaves that did not refuse just now, the one with the least to do.
    fn askable_rank(&self) -> Option<Rank> {
        let mut ranks = self.slaves.ranks().take(CANDIDATES).copied();
        ranks.find(|rank| self.is_askable(rank.slave))
    }

    /// Serves reservations of any slave that wait: with an idle slave, or by emptying the
    /// one with the least to do. An idle one is better than one that is still emptied.
    pub(crate) fn place_reservations(&mut self, turn: &mut Turn<'_>) {
        while let Some((id, emptied)) = self.wanting.first_key_value().map(|(r, s)| (*r, *s))
            && let Some(idle) = self.idle_slave()
        {
            self.set_hold(emptied, Hold::Open);
            self.ask(turn, id, idle);
        }
        while let Some(id) = self.unassigned.first().copied()
            && let Some(rank) = self.askable_rank()
        {
            let slave = rank.slave;
            self.unassigned.remove(&id);
            match rank.is_empty() {
                true => self.ask(turn, id, slave),
                false => self.set_hold(slave, Hold::Wanted { by: id, since: turn.now }),
            }
        }
    }

    /// Records that a slave is being emptied for a reservation.
    pub(crate) fn mark_wanted(&mut self, id: ReservationId, slave: SlaveId) {
        let Some(it) = self.reservations.get_mut(&id) else { return };
        it.state = State::Wanted(slave);
        if it.target.is_none() {
            self.wanting.insert(id, slave);
        }
    }

    /// Asks a slave for all its slots.
    pub(crate) fn ask(&mut self, turn: &mut Turn<'_>, id: ReservationId, slave: SlaveId) {
        self.set_hold(slave, Hold::Asked(id));
        let Some(it) = self.reservations.get_mut(&id) else { return };
        it.state = State::Asked(slave);
        turn.out.push(Effect::AskReserve { slave, reservation: id, wait: it.wait });
    }

    pub(crate) fn handle_answer(
        &mut self,
        turn: &mut Turn<'_>,
        id: SlaveId,
        by: ReservationId,
        granted: bool,
    ) {
        let Some(slave) = self.slaves.find_mut(id).filter(|slave| slave.hold == Hold::Asked(by))
        else {
            return;
        };
        if granted {
            self.set_hold(id, Hold::Held(by));
            if let Some(it) = self.reservations.get_mut(&by) {
                it.state = State::Held(id);
            }
            turn.out.push(Effect::ReserveResolved { reservation: by, outcome: Ok(id) });
            return;
        }
        let until = turn.now + self.config.refusal_pause;
        slave.refused = Some(until);
        self.alarms.set(until, Alarm::Askable(id));
        self.set_hold(id, Hold::Open);
        self.seek(turn, by);
    }

    /// The slave that a reservation holds.
    pub(crate) fn holder(&self, id: ReservationId) -> Option<SlaveId> {
        match self.reservations.get(&id)?.state {
            State::Held(slave) => Some(slave),
            _ => None,
        }
    }

    /// Why a task cannot wait for that reservation.
    pub(crate) fn refusal_of_reservation(&self, id: ReservationId) -> Option<Cause> {
        match self.reservations.get(&id).map(|it| it.state) {
            None => Some(released()),
            Some(State::Lost) => Some(Cause::SlaveLost { may_have_run: false }),
            Some(State::Held(slave)) => self.refusal_of_slave(slave),
            Some(State::Waiting | State::Wanted(_) | State::Asked(_)) => None,
        }
    }

    /// Ends the tasks that wait for a reservation.
    pub(crate) fn fail_lane(&mut self, turn: &mut Turn<'_>, id: ReservationId, cause: &Cause) {
        while let Some(it) = self.reservations.get_mut(&id)
            && let Some(task) = it.lane.pop(&mut self.tasks)
        {
            self.fail(turn, task, cause.clone(), None);
        }
    }

    /// Ends a reservation that waits.
    pub(crate) fn fail_reservation(
        &mut self,
        turn: &mut Turn<'_>,
        id: ReservationId,
        error: ReserveError,
    ) {
        self.fail_lane(turn, id, &released());
        self.unassigned.remove(&id);
        if self.reservations.remove(&id).is_some() {
            turn.out.push(Effect::ReserveResolved { reservation: id, outcome: Err(error) });
        }
    }

    pub(crate) fn handle_release(&mut self, turn: &mut Turn<'_>, id: ReservationId) {
        self.fail_lane(turn, id, &released());
        let Some(it) = self.reservations.remove(&id) else { return };
        match it.state {
            State::Waiting => {
                self.unassigned.remove(&id);
                if let Some(slave) = it.target.and_then(|target| self.slaves.find_mut(target)) {
                    slave.waiting.retain(|waiting| *waiting != id);
                }
                self.touched.extend(it.target);
            }
            State::Wanted(slave) => self.set_hold(slave, Hold::Open),
            State::Asked(slave) | State::Held(slave) => self.give_back(turn, slave, id),
            State::Lost => {}
        }
    }

    fn give_back(&mut self, turn: &mut Turn<'_>, slave: SlaveId, reservation: ReservationId) {
        if !mutated!(ReservationNotReleased) {
            turn.out.push(Effect::ReleaseSlave { slave, reservation });
        }
        self.set_hold(slave, Hold::Open);
    }

    /// A slave is no longer to be emptied: it drains, or another session took it.
    pub(crate) fn free_of_claims(&mut self, turn: &mut Turn<'_>, id: SlaveId) {
        match self.slaves.find(id).map(|slave| slave.hold) {
            Some(Hold::Emptying { .. }) => self.set_hold(id, Hold::Open),
            Some(Hold::Wanted { by, .. }) => {
                self.set_hold(id, Hold::Open);
                self.seek(turn, by);
            }
            _ => {}
        }
    }

    /// Ends the reservations that wait for that very slave.
    pub(crate) fn fail_targeted(&mut self, turn: &mut Turn<'_>, id: SlaveId) {
        while let Some(slave) = self.slaves.find_mut(id)
            && let Some(waiting) = slave.waiting.pop_front()
        {
            self.fail_reservation(turn, waiting, ReserveError::SlaveLost);
        }
    }

    /// A slave is gone, with that hold on it.
    pub(crate) fn lose_reservations(&mut self, turn: &mut Turn<'_>, hold: Hold, slave: &Slave) {
        for waiting in &slave.waiting {
            self.fail_reservation(turn, *waiting, ReserveError::SlaveLost);
        }
        match hold {
            Hold::Wanted { by, .. } | Hold::Asked(by) => self.seek(turn, by),
            Hold::Held(by) => {
                if let Some(it) = self.reservations.get_mut(&by) {
                    it.state = State::Lost;
                }
                self.fail_lane(turn, by, &Cause::SlaveLost { may_have_run: false });
            }
            Hold::Open | Hold::Emptying { .. } | Hold::Alone(_) => {}
        }
    }

    /// The master ends: those that wait fail, those that hold give back.
    pub(crate) fn end_reservations(&mut self, turn: &mut Turn<'_>) {
        let mut all: Vec<_> = self.reservations.keys().copied().collect();
        all.sort_unstable();
        for id in all {
            let state = self.reservations.get(&id).map(|it| it.state);
            self.handle_release(turn, id);
            if !matches!(state, Some(State::Held(_) | State::Lost)) {
                let outcome = Err(ReserveError::Shutdown);
                turn.out.push(Effect::ReserveResolved { reservation: id, outcome });
            }
        }
    }
}

/// Why the tasks of a reservation end with it.
fn released() -> Cause {
    Cause::Busy { what: "the reservation was released".into() }
}

#[cfg(test)]
mod tests;
