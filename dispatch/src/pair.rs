//! Tasks that are out in two attempts at once, at two slaves.
//!
//! Owns: what becomes of the one when the other ends. Does not: decide that a second one is sent
//! (`hedge`), or how an attempt ends (`ends`, `lost`, `reconcile`). Invariants: the first accepted
//! end of either resolves the task, and what is out of a task that resolves is cancelled; an
//! attempt that ends for a reason of its slave's drops out, and the other one goes on as the
//! task's only one.
//!
//! *How they count.* One that drops out because its slave was lost, or has forgotten it, counts as
//! a try as it would alone. A death of its slave does not count at once: a suspect would have to
//! run alone, and the other attempt is where it is. That one is marked instead; if its task has to
//! be tried again after all, both together count as one try and one death, and from then on the
//! task is suspect. Until then no second attempt is sent beside it. So of a task that slaves die
//! of four have died when it is found to be poison, not three, and no bystander is blamed.

mod check;

use crate::core::{Core, Turn};
use crate::effect::Effect;
use crate::event::SlaveId;
use crate::slave::{Company, Moves, Sent};
use crate::task::{At, Ref};
use dpfw_protocol::error::Cause;
use dpfw_protocol::ids::AttemptId;
use dpfw_protocol::message::TaskFlags;

/// An attempt; ids are those of its slave.
type Name = (SlaveId, AttemptId);

impl Company {
    /// How many attempts had been started when one ended that had this company, with it.
    pub(crate) fn started(self) -> u32 {
        1 + u32::from(self == Self::Has)
    }
}

/// Whether a failure says something of the slave alone. Of one of two it ends nothing.
pub(crate) fn is_of_slave(cause: &Cause) -> bool {
    matches!(
        cause,
        Cause::Rejected { .. }
            | Cause::ImageGone { .. }
            | Cause::KeyGone { .. }
            | Cause::Internal { .. }
    )
}

impl Core {
    /// The attempts that a task is out in.
    pub(crate) fn attempts_of(&self, task: Ref) -> impl Iterator<Item = Name> + '_ {
        let first = match self.tasks[task].at {
            At::Out { slave, attempt } => Some((slave, attempt)),
            _ => None,
        };
        first.into_iter().chain(self.pairs.get(&task).copied())
    }

    /// Whether a task is out.
    pub(crate) fn is_out(&self, task: Ref) -> bool {
        matches!(self.tasks[task].at, At::Out { .. })
    }

    /// Whether a task is out and is known to have been started.
    pub(crate) fn has_started(&self, task: Ref) -> bool {
        self.attempts_of(task).any(|(slave, attempt)| {
            let sent = self.slaves.find(slave).and_then(|slave| slave.outs.get(&attempt));
            sent.is_some_and(|sent| sent.stage.has_started())
        })
    }

    /// Whether a second attempt may be sent beside one of a task that is sent now. Both may be
    /// lost, and count then: a task that this would end has one only.
    pub(crate) fn company_for(&self, task: Ref) -> Company {
        let it = &self.tasks[task];
        let is_free = it.flags.has(TaskFlags::EFFECT_FREE) || mutated!(HedgedWithEffects);
        if !is_free || it.flags.has(TaskFlags::ONCE) || it.home.is_bound() {
            return Company::Never;
        }
        let may_lose_both = u32::from(it.record.tries) + 2 <= self.config.max_attempts;
        let is_suspect = it.record.is_suspect() && !mutated!(SuspectHedged);
        match may_lose_both && !is_suspect {
            true => Company::May,
            false => Company::Never,
        }
    }

    /// An attempt is over, and is in no account any more. Its task, if it has not resolved, is out
    /// in the other one, or in none and in no queue yet. Of most there could be no other, and
    /// this is on the way of all.
    #[inline(always)]
    pub(crate) fn part(&mut self, name: Name, sent: &Sent) {
        let Some(task) = sent.task else { return };
        if sent.company != Company::Never && self.part_from(name, task, sent.company) {
            return;
        }
        self.out -= 1;
        self.tasks.rest(task);
    }

    /// Whether the task is out in another attempt.
    fn part_from(&mut self, name: Name, task: Ref, company: Company) -> bool {
        match company {
            Company::Has => self.leave_pair(name, task),
            Company::May => self.hedgeable -= 1,
            Company::Bereft if mutated!(DeathOfOneForgotten) => {}
            Company::Bereft => self.tasks[task].record.mourn(),
            Company::Never => {}
        }
        company == Company::Has
    }

    fn leave_pair(&mut self, name: Name, task: Ref) {
        let rest = self.attempts_of(task).find(|other| *other != name);
        let Some((slave, attempt)) = rest else { return };
        self.pairs.remove(&task);
        self.tasks[task].at = At::Out { slave, attempt };
        self.change((slave, attempt), |sent| sent.company = Company::Never);
    }

    /// Changes an attempt; its slave is looked at before the event is done.
    fn change(&mut self, (slave, attempt): Name, change: impl FnOnce(&mut Sent)) {
        if let Some(there) = self.slaves.find_mut(slave) {
            there.change(attempt, &self.config, change);
            self.touched.push(slave);
        }
    }

    /// One of two attempts has dropped out, and may be followed by another one or not. The other
    /// one is given the time only that it would have been given alone.
    pub(crate) fn go_on(&mut self, turn: &mut Turn<'_>, task: Ref, company: Company) {
        let At::Out { slave, attempt } = self.tasks[task].at else { return };
        self.hedgeable += usize::from(company == Company::May);
        self.change((slave, attempt), |sent| sent.company = company);
        if self.tasks[task].deadline <= turn.now && !self.has_started(task) {
            self.withdraw(turn, task, Cause::DeadlineExceeded);
        }
    }

    /// Cancels what is out of a task. It stays in the accounts of its slaves until they say that
    /// it ended.
    pub(crate) fn call_off(&mut self, turn: &mut Turn<'_>, task: Ref) {
        let At::Out { slave, attempt } = self.tasks[task].at else { return };
        let second = self.pairs.remove(&task);
        self.cancel(turn, (slave, attempt));
        let second = second.filter(|_| !mutated!(LoserKept));
        second.into_iter().for_each(|second| self.cancel(turn, second));
        self.out -= 1;
        self.tasks.rest(task);
    }

    fn cancel(&mut self, turn: &mut Turn<'_>, (slave, attempt): Name) {
        if !mutated!(CancelLost) {
            turn.out.push(Effect::Cancel { slave, attempt });
        }
        let mut was = Company::Never;
        self.change((slave, attempt), |sent| {
            sent.moves = Moves::No;
            was = std::mem::replace(&mut sent.company, Company::Never);
            sent.task.take_if(|_| !mutated!(LateResultAccepted));
        });
        self.hedgeable -= usize::from(was == Company::May);
        if mutated!(SlotFreedEarly)
            && let Some(there) = self.slaves.find_mut(slave)
        {
            there.end(attempt, &self.config);
        }
    }
}

#[cfg(test)]
mod tests;
