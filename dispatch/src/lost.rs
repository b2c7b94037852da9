//! What happens when a slave goes.
//!
//! Owns: which of its attempts count as started, and what becomes of each task. Does not:
//! judge whether a session is over; the driver does. Invariant: nothing refers to the
//! slave afterwards.

use crate::core::{Core, Turn};
use crate::effect::Again;
use crate::event::{Loss, SlaveId};
use crate::slave::{Company, Hold, Sent, Slave, Stage};
use crate::suspect::Began;
use crate::task::{Ref, Tasks};
use dpfw_protocol::error::Cause;
use dpfw_protocol::ids::AttemptId;
use dpfw_protocol::message::TaskFlags;

impl Core {
    pub(crate) fn handle_lost(&mut self, turn: &mut Turn<'_>, id: SlaveId, loss: Loss) {
        let Some(hold) = self.slaves.find(id).map(|slave| slave.hold) else { return };
        self.set_hold(id, Hold::Open);
        let Some(mut slave) = self.slaves.remove(id) else { return };
        for key in &slave.keys {
            self.keys.remove(*key, id);
        }
        self.lose_all_lanes(id);
        while let Some(task) = slave.pinned.pop(&mut self.tasks) {
            self.fail(turn, task, Cause::SlaveLost { may_have_run: false }, Some(id));
        }
        let alone = matches!(hold, Hold::Alone(_));
        self.lose_attempts(turn, id, &slave, loss, alone);
        self.lose_reservations(turn, hold, &slave);
    }

    /// Ends every attempt; the last is put back first, so that they wait in order.
    fn lose_attempts(
        &mut self,
        turn: &mut Turn<'_>,
        id: SlaveId,
        slave: &Slave,
        loss: Loss,
        alone: bool,
    ) {
        let slots = slave.slots as usize;
        let begun = |n: usize, sent: &Sent| match (sent.stage, loss) {
            _ if mutated!(UnstartedCounted) => Began::Started,
            _ if mutated!(StartedNotCounted) => Began::Unstarted,
            (stage, _) if stage.has_started() => Began::Started,
            // It had no module to begin with.
            (Stage::Loading, _) => Began::Unstarted,
            // It ended what it ran before it said goodbye, or had long reported it.
            (_, Loss::Left) => Began::Unstarted,
            _ if n < slots => Began::Started,
            _ => Began::Unstarted,
        };
        let mut ahead = 0;
        let mut lost: Vec<(Ref, Began, AttemptId, Sent)> = Vec::new();
        for (attempt, sent) in &slave.outs {
            lost.extend(sent.task.map(|task| (task, begun(ahead, sent), *attempt, *sent)));
            // Those that waited had no slot.
            ahead += usize::from(!sent.stage.is_idle());
        }
        if mutated!(LostTaskForgotten) {
            lost.pop();
        }
        for (task, began, attempt, sent) in lost.into_iter().rev() {
            self.part((id, attempt), &sent);
            if is_bound(&self.tasks, task) {
                if began == Began::Started {
                    let record = &mut self.tasks[task].record;
                    record.tries = record.tries.saturating_add(1);
                }
                self.fail(turn, task, Cause::SlaveLost { may_have_run: true }, Some(id));
                continue;
            }
            let (is_out, is_bereft) = (self.is_out(task), sent.company == Company::Bereft);
            let record = &mut self.tasks[task].record;
            match record.began(began, loss) {
                // The two of them count once, and have been counted.
                _ if is_bereft => self.again(turn, task, id, Again::Lost(loss)),
                Began::Unstarted => self.again(turn, task, id, Again::LostUnstarted(loss)),
                Began::Started if is_out && mutated!(DeathOfOneFailsTask) => {
                    self.fail(turn, task, Cause::SlaveLost { may_have_run: true }, Some(id));
                }
                Began::Started if is_out && loss == Loss::Died => {
                    self.go_on(turn, task, Company::Bereft);
                }
                Began::Started => match record.lose(&self.config, loss, alone) {
                    Some(cause) => self.fail(turn, task, cause, Some(id)),
                    None => self.again(turn, task, id, Again::Lost(loss)),
                },
            }
        }
    }
}

/// Whether a task that was sent may be tried nowhere else. Whether it was begun cannot be
/// known: what the slave said last may be lost with it.
pub(crate) fn is_bound(tasks: &Tasks, task: Ref) -> bool {
    let once = tasks[task].flags.has(TaskFlags::ONCE) && !mutated!(OnceTriedAgain);
    once || tasks[task].home.is_bound()
}

#[cfg(test)]
mod tests;
