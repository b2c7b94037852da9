//! Slaves that make a module ready, and the tasks that wait for no other reason.
//!
//! Owns: which kinds are put aside. Does not: know modules; a slave says of attempts that they
//! wait for theirs, or, which comes to the same here, for a sandbox that may wait. Such an
//! attempt holds no slot, and nothing more of its kind is sent to that slave meanwhile: it would
//! only lie there. A task at the head of the queue that is held back by this alone steps aside,
//! so that others are not held back by it. Invariant: what is aside is older than what is in the
//! queue, and goes first.

use crate::core::{Core, Turn};
use crate::event::{KindId, SlaveId};
use crate::place::CANDIDATES;
use crate::slave::Stage;
use crate::task::{Aside, Ref};
use dpfw_protocol::ids::AttemptId;
use std::ops::Bound::{Excluded, Unbounded};

/// What a slave says of attempts that have not begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Waits {
    ForModule,
    ForSlot,
}

impl Core {
    /// Attempts that have not begun wait for their module, or no longer.
    pub(crate) fn handle_waits(&mut self, id: SlaveId, attempts: &[AttemptId], waits: Waits) {
        let Some(slave) = self.slaves.find_mut(id) else { return };
        let (from, to) = match waits {
            Waits::ForModule => (Stage::Sent, Stage::Loading),
            Waits::ForSlot => (Stage::Loading, Stage::Sent),
        };
        for attempt in attempts {
            slave.change(*attempt, &self.config, |sent| {
                if sent.stage == from {
                    sent.stage = to;
                    sent.begin(self.now);
                }
            });
        }
        self.touched.push(id);
    }

    /// Sends what is aside to whoever takes it now.
    pub(crate) fn place_aside(&mut self, turn: &mut Turn<'_>) {
        let mut from = None;
        while let Some((kind, head)) = self.next_aside(from) {
            from = Some(kind);
            let mut head = Some(head);
            while let Some(task) = head
                && let Some(slave) = self.choose(task)
            {
                self.unlink(task);
                self.send(turn, slave, task);
                head = self.aside.get(&kind).and_then(|list| list.head());
            }
        }
    }

    /// The first task of the next kind that is aside.
    fn next_aside(&self, after: Option<KindId>) -> Option<(KindId, Ref)> {
        let range = (after.map_or(Unbounded, Excluded), Unbounded);
        self.aside.range(range).find_map(|(kind, list)| list.head().map(|head| (*kind, head)))
    }

    /// Lets the head of the queue step aside, if a slave would take it but for its module.
    /// Whether it did. A task does so once for each time that its module is made ready, at the
    /// cost of being moved from one list to another.
    pub(crate) fn step_aside(&mut self, task: Ref) -> bool {
        let kind = self.tasks[task].kind;
        let is_held_back = self.slaves.ranks().take(CANDIDATES).any(|rank| {
            self.fits_room(rank.room, rank.slave, task)
                && self.slaves.find(rank.slave).is_some_and(|slave| slave.loads(kind))
        });
        if !is_held_back {
            return false;
        }
        self.queue.unlink(&mut self.tasks, task);
        self.tasks[task].aside = Aside::Module;
        self.aside.entry(kind).or_default().push_back(&mut self.tasks, task);
        true
    }
}

#[cfg(test)]
mod tests;
