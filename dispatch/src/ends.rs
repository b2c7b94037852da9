//! How attempts go on and end, as slaves tell it.
//!
//! Owns: accepting a result, trying again when a slave had no room, taking back what was
//! returned, learning what runs cost. Does not: believe a slave about attempts that it
//! does not have. Invariant: a result is accepted only for a task that waits for that very
//! attempt.

use crate::alarm::Alarm;
use crate::core::{Core, End as Side, Turn};
use crate::cost::{Mean, per_call};
use crate::effect::{Again, Effect, Outcome};
use crate::event::{End, KeyId, KindId, SlaveId};
use crate::lost::is_bound;
use crate::pair::is_of_slave;
use crate::slave::{Company, Hold, Moves, Sent, Stage, Standing};
use crate::task::{Home, Ref};
use crate::time::Time;
use dpfw_protocol::error::Cause;
use dpfw_protocol::ids::AttemptId;
use dpfw_protocol::message::TaskFlags;
use std::time::Duration;

impl Core {
    /// Takes an attempt out of its slave's account; what there is to send there now is
    /// looked at before the event is done.
    pub(crate) fn take_out(
        &mut self,
        turn: &mut Turn<'_>,
        id: SlaveId,
        attempt: AttemptId,
    ) -> Option<Sent> {
        let slave = self.slaves.find_mut(id);
        let ended = slave.and_then(|slave| {
            let sent = slave.end(attempt, &self.config)?;
            slave.progress = turn.now;
            Some((sent, slave.hold))
        });
        let Some((sent, hold)) = ended else {
            self.stale(turn, id, attempt);
            return None;
        };
        match hold {
            Hold::Alone(alone) if alone == attempt => self.set_hold(id, Hold::Open),
            _ => self.slaves.settle(id, &self.config),
        }
        self.touched.push(id);
        self.part((id, attempt), &sent);
        Some(sent)
    }

    fn stale(&mut self, turn: &mut Turn<'_>, slave: SlaveId, attempt: AttemptId) {
        self.counted.stale += 1;
        turn.out.push(Effect::Stale { slave, attempt });
    }

    pub(crate) fn handle_finished(
        &mut self,
        turn: &mut Turn<'_>,
        id: SlaveId,
        attempt: AttemptId,
        end: End,
    ) {
        let Some(sent) = self.take_out(turn, id, attempt) else { return };
        let Some(task) = sent.task else { return self.stale(turn, id, attempt) };
        match end {
            End::Done { run } => {
                let it = &self.tasks[task];
                self.learn(id, it.kind, per_call(run, it.calls));
                self.counted.accepted += 1;
                let outcome = Outcome::Accepted { slave: id, attempt };
                self.resolve(turn, task, outcome, sent.company.started());
            }
            End::Failed { cause: cause @ Cause::Busy { .. } }
                if !self.has_begun_once(&sent, task) =>
            {
                self.pause(turn.now, id);
                self.retry_busy(turn, id, task, cause);
            }
            End::KeyGone { key } => self.refused_for_key(turn, id, task, key, &sent),
            End::Failed { cause: Cause::Draining } => {
                self.handle_draining(turn, id);
                self.interrupted(turn, id, task);
            }
            End::Failed { cause } if self.is_out(task) && is_of_slave(&cause) => {
                self.go_on(turn, task, Company::Never);
            }
            End::Failed { cause } => {
                self.counted.failed += 1;
                let outcome = Outcome::Failed { cause, slave: Some(id) };
                self.resolve(turn, task, outcome, sent.company.started());
            }
        }
    }

    fn learn(&mut self, id: SlaveId, kind: KindId, sample: u64) {
        self.costs.learn(kind, sample);
        let Some(slave) = self.slaves.find_mut(id) else { return };
        slave.pause = Duration::ZERO;
        slave
            .costs
            .entry(kind)
            .and_modify(|mean| mean.learn(sample))
            .or_insert(Mean::first(sample));
    }

    /// Leaves a busy slave alone for a while, longer each time.
    fn pause(&mut self, now: Time, id: SlaveId) {
        let Some(slave) = self.slaves.find_mut(id).filter(|slave| slave.paused.is_none()) else {
            return;
        };
        let longer = (slave.pause * 2).max(self.config.busy_pause);
        slave.pause = longer.min(self.config.busy_pause_max);
        let until = now + slave.pause;
        slave.paused = Some(until);
        self.alarms.set(until, Alarm::Unpause(id));
        self.slaves.settle(id, &self.config);
    }

    fn retry_busy(&mut self, turn: &mut Turn<'_>, id: SlaveId, task: Ref, cause: Cause) {
        if self.is_out(task) {
            return self.go_on(turn, task, self.company_for(task));
        }
        let record = &mut self.tasks[task].record;
        record.busy = record.busy.saturating_add(u8::from(!mutated!(BusyForEver)));
        match u32::from(record.busy) > self.config.busy_retries.min(u32::from(u8::MAX) - 1) {
            true => self.fail(turn, task, cause, Some(id)),
            false => self.again(turn, task, id, Again::Busy),
        }
    }

    /// A slave has an entry no longer that a task needs. A task that is bound to its keys
    /// alone may find them elsewhere.
    fn refused_for_key(
        &mut self,
        turn: &mut Turn<'_>,
        id: SlaveId,
        task: Ref,
        key: KeyId,
        sent: &Sent,
    ) {
        if !mutated!(KeyGoneNotLearned) {
            self.handle_key_gone(id, key);
        }
        if self.is_out(task) {
            return self.go_on(turn, task, self.company_for(task));
        }
        let may_move = matches!(self.tasks[task].home, Home::At(_));
        let record = &mut self.tasks[task].record;
        record.busy = record.busy.saturating_add(1);
        // What a slave says it has, and then has not, it does not say for ever.
        let is_over = u32::from(record.busy) > self.config.busy_retries.min(u32::from(u8::MAX) - 1);
        if is_over || !may_move || self.has_begun_once(sent, task) {
            self.counted.failed += 1;
            return self.resolve(turn, task, Outcome::KeyGone { key, slave: Some(id) }, 0);
        }
        self.again(turn, task, id, Again::KeyGone);
    }

    /// Whether a task has begun that may do so only once.
    fn has_begun_once(&self, sent: &Sent, task: Ref) -> bool {
        sent.stage.has_started() && self.tasks[task].flags.has(TaskFlags::ONCE)
    }

    /// A slave that drains has interrupted a task, or refused it. What was not begun it
    /// would have given back.
    fn interrupted(&mut self, turn: &mut Turn<'_>, id: SlaveId, task: Ref) {
        if is_bound(&self.tasks, task) {
            let record = &mut self.tasks[task].record;
            record.tries = record.tries.saturating_add(1);
            return self.fail(turn, task, Cause::SlaveLost { may_have_run: true }, Some(id));
        }
        self.again(turn, task, id, Again::Returned);
    }

    /// Puts a task that was out back in front of its queue, or ends it if it cannot wait. One
    /// that is out in another attempt goes on there.
    pub(crate) fn again(&mut self, turn: &mut Turn<'_>, task: Ref, slave: SlaveId, why: Again) {
        if self.is_out(task) && !mutated!(DropoutQueued) {
            return self.go_on(turn, task, self.company_for(task));
        }
        let refusal = match self.tasks[task].home {
            _ if self.tasks[task].deadline <= turn.now => Some(Cause::DeadlineExceeded),
            Home::On(slave) => self.refusal_of_slave(slave),
            Home::Reserved(reservation) => self.refusal_of_reservation(reservation),
            Home::Anywhere | Home::At(_) | Home::Near(_) => None,
        };
        if let Some(cause) = refusal {
            return self.fail(turn, task, cause, Some(slave));
        }
        self.counted.retried += 1;
        turn.out.push(Effect::Retried { task: self.tasks[task].id, slave, why });
        self.enqueue(task, Side::Front);
    }

    /// Attempts come back unstarted: recalled, or from a slave that drains. A slave that
    /// returns what nobody asked for is taken for busy, or it would be sent at once again.
    pub(crate) fn handle_returned(
        &mut self,
        turn: &mut Turn<'_>,
        id: SlaveId,
        attempts: &[AttemptId],
    ) {
        let draining = self.slaves.find(id).is_some_and(|s| s.standing == Standing::Draining);
        let mut back = Vec::new();
        for attempt in attempts {
            let Some(sent) = self.take_out(turn, id, *attempt) else { continue };
            if let Some(task) = sent.task {
                back.push((task, sent.stage));
            }
        }
        if mutated!(ReturnedTaskForgotten) {
            back.pop();
        }
        for (task, stage) in back.into_iter().rev() {
            if draining || stage == Stage::Recalled {
                self.again(turn, task, id, Again::Returned);
            } else {
                self.pause(turn.now, id);
                let what = "the slave returned the task unasked".into();
                self.retry_busy(turn, id, task, Cause::Busy { what });
            }
        }
    }

    /// Attempts have begun to run, or wait for something and hold no slot meanwhile.
    pub(crate) fn handle_stage(&mut self, id: SlaveId, attempts: &[AttemptId], stage: Stage) {
        let Some(slave) = self.slaves.find_mut(id) else { return };
        for attempt in attempts {
            slave.change(*attempt, &self.config, |sent| {
                if stage == Stage::Started && sent.stage != stage {
                    sent.begin(self.now);
                }
                (sent.stage, sent.moves) = (stage, Moves::No);
            });
        }
        self.touched.push(id);
    }

    pub(crate) fn handle_status(
        &mut self,
        turn: &mut Turn<'_>,
        id: SlaveId,
        slots: u32,
        taken: bool,
        running: &[AttemptId],
    ) {
        let Some(slave) = self.slaves.find_mut(id) else { return };
        let newly_taken = taken && !slave.taken;
        (slave.slots, slave.taken) = (slots, taken);
        self.handle_stage(id, running, Stage::Started);
        if newly_taken {
            self.free_of_claims(turn, id);
        }
    }

    /// Nothing new goes there; what was to go only there ends.
    pub(crate) fn handle_draining(&mut self, turn: &mut Turn<'_>, id: SlaveId) {
        let Some(slave) = self.slaves.find_mut(id) else { return };
        slave.standing = Standing::Draining;
        self.touched.push(id);
        self.free_of_claims(turn, id);
        self.fail_targeted(turn, id);
        self.lose_all_lanes(id);
        self.fail_pinned(turn, id, &Cause::Draining);
        if let Some(Hold::Held(by)) = self.slaves.find(id).map(|slave| slave.hold) {
            self.fail_lane(turn, by, &Cause::Draining);
        }
    }

    /// Ends the tasks that wait for that slave.
    fn fail_pinned(&mut self, turn: &mut Turn<'_>, id: SlaveId, cause: &Cause) {
        while let Some(slave) = self.slaves.find_mut(id)
            && let Some(task) = slave.pinned.pop(&mut self.tasks)
        {
            self.fail(turn, task, cause.clone(), None);
        }
    }
}

#[cfg(test)]
mod tests;
