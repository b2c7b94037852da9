//! Tasks that slaves may have died of.
//!
//! Owns: the record of a task's tries, the rule that ends it, and that a suspect runs
//! alone. Invariant: a suspect is sent only to a slave with nothing else outstanding, and
//! nothing else is sent there until it ends.

use crate::config::Config;
use crate::core::{Core, Turn};
use crate::event::{Loss, SlaveId};
use crate::slave::Hold;
use crate::slaves::Rank;
use crate::task::{Home, Ref};
use dpfw_protocol::error::Cause;

/// What happened to a task so far. Small: millions of tasks wait at once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Record {
    /// Times that it was started and its slave was lost.
    pub(crate) tries: u16,
    /// Of these, times that the slave's process died.
    deaths: u8,
    /// Of these, times that it ran alone.
    alone: u8,
    /// Times that a slave died while this was there, not started as far as was known.
    near: u8,
    /// Times that a slave was busy.
    pub(crate) busy: u8,
}

/// Whether an attempt had begun, as far as is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Began {
    Started,
    Unstarted,
}

/// A slave's reports can be lost with it. A task that was there, unstarted, at so many
/// deaths is taken for started, so that none can hide behind reports that never come.
const NEAR_DEATHS: u8 = 8;

/// Suspects looked at: more than a few only if as many are bound to keys.
pub(crate) const CANDIDATES: usize = 32;

impl Record {
    /// The last of two attempts is over, and a slave has died at which the other one was: together
    /// they count as one try and one death. Which of them was to blame would be found out alone.
    pub(crate) fn mourn(&mut self) {
        self.tries = self.tries.saturating_add(1);
        self.deaths = self.deaths.saturating_add(1);
    }

    /// Whether slaves may have died of it.
    pub(crate) fn is_suspect(&self) -> bool {
        self.deaths > 0 && !mutated!(NobodySuspect)
    }

    /// Whether an attempt counts as begun at this loss.
    pub(crate) fn began(&mut self, began: Began, loss: Loss) -> Began {
        if began == Began::Unstarted && loss == Loss::Died {
            self.near = self.near.saturating_add(1);
            if self.near >= NEAR_DEATHS {
                return Began::Started;
            }
        }
        began
    }

    /// Counts a loss of the slave while the task was started there. The cause, if that
    /// ends it.
    pub(crate) fn lose(&mut self, config: &Config, loss: Loss, alone: bool) -> Option<Cause> {
        self.tries = self.tries.saturating_add(1);
        if loss == Loss::Died {
            self.deaths = self.deaths.saturating_add(1);
            self.alone = self.alone.saturating_add(u8::from(alone));
            let deaths = u32::from(self.deaths);
            let enough = config.poison_deaths.clamp(1, u8::MAX.into());
            if mutated!(PoisonNeverDeclared) {
                return None;
            }
            if deaths >= enough && u32::from(self.alone) >= enough - 1 {
                return Some(Cause::Poison { deaths });
            }
        }
        let attempts = u32::from(self.tries);
        (attempts >= config.max_attempts.min(u16::MAX.into()))
            .then_some(Cause::AttemptsExhausted { attempts })
    }
}

impl Core {
    /// Sends suspects to empty slaves, and has some emptied if there are none: up to a
    /// quarter of them, so that the others' tasks go on.
    pub(crate) fn place_suspects(&mut self, turn: &mut Turn<'_>) {
        if self.suspects.is_empty() {
            return self.trim_emptying();
        }
        let waiting: Vec<_> = self.suspects.iter(&self.tasks).take(CANDIDATES).collect();
        for task in waiting {
            // One that is bound to keys may have to wait for another slave than the next.
            let Some(rank) = self.rank_for(task) else { continue };
            if rank.is_empty() || mutated!(SuspectInCompany) {
                self.send_alone(turn, rank.slave, task);
            } else if self.may_empty() {
                self.set_hold(rank.slave, Hold::Emptying { since: turn.now });
            }
        }
        self.trim_emptying();
    }

    /// Gives up emptying slaves for suspects that are no more.
    fn trim_emptying(&mut self) {
        while self.emptying.len() > self.suspects.len()
            && let Some(slave) = self.emptying.last().copied()
        {
            self.set_hold(slave, Hold::Open);
        }
    }

    /// The place of the slave where a suspect goes first.
    fn rank_for(&self, task: Ref) -> Option<Rank> {
        match &self.tasks[task].home {
            Home::At(keys) => {
                self.keys.with_all(keys).filter_map(|slave| self.slaves.rank(slave)).min()
            }
            _ => self.slaves.first(),
        }
    }

    /// The first suspect that may run at a slave.
    pub(crate) fn suspect_for(&self, id: SlaveId) -> Option<Ref> {
        let slave = self.slaves.find(id)?;
        let may_run = |task: &Ref| match &self.tasks[*task].home {
            Home::At(keys) => keys.iter().all(|key| slave.keys.contains(key)),
            _ => true,
        };
        self.suspects.iter(&self.tasks).take(CANDIDATES).find(may_run)
    }

    /// Whether one more slave may be emptied for the suspects that wait.
    pub(crate) fn may_empty(&self) -> bool {
        let share = (self.slaves.len() / 4).max(1);
        self.emptying.len() < self.suspects.len() && self.emptying.len() + self.alone < share
    }

    /// Sends the first suspect to an empty slave and closes that to everything else.
    pub(crate) fn send_alone(&mut self, turn: &mut Turn<'_>, slave: SlaveId, task: Ref) {
        self.suspects.unlink(&mut self.tasks, task);
        if let Some(attempt) = self.send(turn, slave, task) {
            self.set_hold(slave, Hold::Alone(attempt));
        }
    }
}

#[cfg(test)]
mod tests;
