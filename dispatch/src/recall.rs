//! Taking back what has not started, when another slave has nothing to do.
//!
//! Owns: when, from whom, and which attempts. Does not: move them; they come back as
//! `Returned` and wait in front of the queue. Invariants: a recall is not repeated at
//! a slave before the last one is answered; an attempt is recalled at most once.

use crate::alarm::Alarm;
use crate::core::{Core, Turn};
use crate::effect::Effect;
use crate::event::SlaveId;
use crate::slave::{Moves, Room, Slave, Stage};
use crate::slaves::Rank;
use crate::time::{Time, nanos};
use dpfw_protocol::ids::AttemptId;
use dpfw_protocol::limits::MAX_LISTED;

/// Slaves looked at: the fullest may be working well while the next is stuck.
const CANDIDATES: usize = 4;

/// Attempts looked at in one slave, from the last. Pinned ones between them stay.
const LOOKED_AT: usize = 2 * MAX_LISTED;

impl Core {
    /// Recalls, if a slave has a free slot, nothing waits here, and another has more than
    /// it can begin soon.
    pub(crate) fn recall(&mut self, turn: &mut Turn<'_>) {
        let is_idle = |rank: Rank| rank.room == Room::Free;
        if !self.queue.is_empty() || !self.slaves.first().is_some_and(is_idle) {
            return;
        }
        let candidates = self.slaves.fullest().take(CANDIDATES);
        let dues = candidates.filter_map(|id| Some((self.worth_at(id)?, id)));
        let Some((at, id)) = dues.min() else { return };
        if at <= turn.now {
            self.recall_from(turn, id);
        } else if self.recall_at.is_none_or(|armed| at < armed) {
            if let Some(armed) = self.recall_at.replace(at) {
                self.alarms.clear(armed, Alarm::Recall);
            }
            self.alarms.set(at, Alarm::Recall);
        }
    }

    /// From when on it is worth a round trip to recall from a slave: at once if much work
    /// is expected there, else when it has ended nothing for a while, whatever was
    /// expected.
    fn worth_at(&self, id: SlaveId) -> Option<Time> {
        let slave = self.slaves.find(id)?;
        let expected = slave.all_nanos / u64::from(slave.slots.max(1));
        let worth = match expected >= nanos(self.config.recall_worth) {
            true => Time::ZERO,
            false => slave.progress + self.config.recall_worth,
        };
        Some(worth.max(slave.recall_after))
    }

    /// Recalls the last half of what lies beyond a slave's slots.
    fn recall_from(&mut self, turn: &mut Turn<'_>, id: SlaveId) {
        let Some(slave) = self.slaves.find_mut(id) else { return };
        let attempts = last_half(slave);
        for attempt in &attempts {
            slave.change(*attempt, &self.config, |sent| sent.stage = Stage::Recalled);
        }
        slave.recall_after = turn.now + self.config.recall_worth;
        self.slaves.settle(id, &self.config);
        if !attempts.is_empty() {
            self.counted.recalled += attempts.len() as u64;
            if !mutated!(RecallForgotten) {
                turn.out.push(Effect::Recall { slave: id, attempts });
            }
        }
    }
}

fn last_half(slave: &Slave) -> Vec<AttemptId> {
    let count = usize::try_from(slave.excess().div_ceil(2)).unwrap_or(MAX_LISTED).min(MAX_LISTED);
    // Those that idle are among them, and are passed over.
    let beyond = slave.outs.len().saturating_sub(slave.slots as usize);
    let last = slave.outs.iter().rev().take(beyond.min(LOOKED_AT));
    let unstarted = last.filter(|(_, sent)| sent.stage == Stage::Sent && sent.moves == Moves::Yes);
    let mut attempts: Vec<_> = unstarted.take(count).map(|(attempt, _)| *attempt).collect();
    attempts.reverse();
    attempts
}

#[cfg(test)]
mod tests;
