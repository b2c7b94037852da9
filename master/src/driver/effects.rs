//! What the driver does that the policy has decided: what slaves are told, and what callers get.
//!
//! Owns: nothing; a slave that was told something is marked, and what it was told leaves with the
//! batch. Invariant: a task resolves once, and its caller finds room for the next when it does.

use super::Driver;
use super::keys::cause_of;
use crate::error::TaskError;
use crate::image::Plan;
use crate::inbox::Command;
use crate::receipt::Receipt;
use crate::slave::Slave;
use crate::told::unsendable;
use dpfw_dispatch::{Effect, Outcome, ReservationId, ReserveError, SlaveId, TaskId, Wait};
use dpfw_protocol::error::Cause;
use dpfw_protocol::ids::{AttemptId, ConversationId, ModuleHash};
use dpfw_protocol::message::{
    Cancel, Dispatch, Message, ModuleBytes, Recall, Release, Reserve, TaskFlags,
};
use std::sync::Arc;
use std::time::{Duration, Instant};

impl Driver {
    pub(super) fn carry_out(&mut self, effect: Effect) {
        match effect {
            Effect::Send { slave, task, attempt, budget } => {
                self.send(slave, task, attempt, budget)
            }
            Effect::Cancel { slave, attempt } => {
                self.tell(slave, attempt.conversation(), &Cancel {});
            }
            Effect::Recall { slave, attempts } => {
                self.tell(slave, ConversationId::LINK, &Recall { attempts });
            }
            Effect::Resolve { task, outcome, attempts } => self.resolve(task, outcome, attempts),
            Effect::AskReserve { slave, reservation, wait } => {
                if let Some(told) = self.slaves.get_mut(&slave) {
                    let conversation = told.wish(reservation);
                    self.tell(slave, conversation, &Reserve { wait: wait == Wait::Yes });
                }
            }
            Effect::ReleaseSlave { slave, .. } => {
                self.tell(slave, ConversationId::LINK, &Release {});
            }
            Effect::ReserveResolved { reservation, outcome } => {
                self.reserved(reservation, outcome);
            }
            Effect::Locate { slave, keys } => self.locate(slave, keys),
            Effect::Retried { task, slave, why } => {
                tracing::info!(%task, %slave, ?why, "dispatched again");
            }
            Effect::Stale { slave, attempt } => {
                tracing::debug!(%slave, %attempt, "a late answer is dropped");
            }
        }
    }

    /// Appends a message to a slave's outbox, to be flushed with the batch.
    pub(super) fn tell<M: Message>(
        &mut self,
        slave: SlaveId,
        conversation: ConversationId,
        message: &M,
    ) {
        let Some(told) = self.slaves.get_mut(&slave) else {
            return;
        };
        if let Err(error) = told.linked.outbox.message(conversation, message) {
            tracing::error!(%error, "a message cannot be sent");
        }
        told.mark(slave, &mut self.dirty);
    }

    fn send(&mut self, slave: SlaveId, task: TaskId, attempt: AttemptId, budget: Option<Duration>) {
        let (Some(told), Some(entry)) = (self.slaves.get_mut(&slave), self.tasks.get(&task)) else {
            return;
        };
        let budget_us = budget.map(|b| u64::try_from(b.as_micros()).unwrap_or(u64::MAX));
        let payload = entry.args.len() as u64;
        let afresh = |plan: &Plan| plan.begins_afresh(slave) || self.images.relents(plan, slave);
        let flags = match entry.image.as_deref().is_some_and(afresh) {
            true => entry.flags.with(TaskFlags::AFRESH),
            false => entry.flags,
        };
        let sent = told.bind(entry.kind, &self.kinds).and_then(|bind| {
            let extras = entry.extras.clone();
            let dispatch = Dispatch { bind, flags, budget_us, payload, extras };
            let (conversation, args) = (attempt.conversation(), entry.args.clone());
            if let Some(ports) = &entry.ports {
                ports.attach(&told.linked, attempt);
            }
            told.linked.outbox.message_with(conversation, &dispatch, args).map_err(unsendable)
        });
        if let Err(cause) = sent {
            self.unsent.push((slave, attempt, cause));
        }
        told.mark(slave, &mut self.dirty);
    }

    /// A slave lacks a module that it was told of.
    pub(super) fn send_module(&mut self, slave: SlaveId, hash: ModuleHash) {
        let Some(told) = self.slaves.get_mut(&slave) else {
            return;
        };
        let found = self.kinds.module(hash);
        if found.is_some() && !told.may_ask(*hash.as_bytes()) {
            return tracing::warn!(slave = %told.linked.hello.peer, module = %hash, "asked again");
        }
        let bytes = found.and_then(|module| module.bytes().cloned()).unwrap_or_default();
        let offer = ModuleBytes { module: hash, payload: bytes.len() as u64 };
        let conversation = told.linked.conversation();
        let told_of = told.linked.outbox.message_with(conversation, &offer, bytes.into());
        if let Err(error) = told_of {
            tracing::error!(%error, "a module cannot be sent");
        }
        told.mark(slave, &mut self.dirty);
    }

    fn resolve(&mut self, task: TaskId, outcome: Outcome, attempts: u32) {
        let Some(entry) = self.tasks.remove(&task) else {
            return;
        };
        self.leave(entry.extras.as_deref(), entry.image.as_deref());
        let carried = self.carried.take_if(|carried| carried.task == task);
        let name = self.name_of(&entry);
        let peer = |slave: SlaveId| self.slaves.get(&slave).map(|t| t.linked.hello.peer.clone());
        let at = match &outcome {
            Outcome::Accepted { slave, .. } => Some(*slave),
            Outcome::Failed { slave, .. } | Outcome::KeyGone { slave, .. } => *slave,
        };
        let slave = at.and_then(peer);
        let has_failed = !matches!(outcome, Outcome::Accepted { .. });
        let kept = self.kept_at(&outcome, &entry, carried.as_ref());
        let failed_at = has_failed.then(|| slave.clone()).flatten();
        let sent = carried.as_ref().map(|carried| carried.sent);
        let image = at.zip(sent).and_then(|(at, sent)| self.image_use(&entry, at, sent));
        let spawned_at = entry.spawns().then(|| self.slaves.get(&at?)).flatten();
        let spawned_at = spawned_at.map(|told| Slave(Arc::clone(&told.linked)));
        let receipt = carried.as_ref().zip(slave).map(|(carried, slave)| {
            let dispatched = entry.ticket.dispatched;
            let times = (dispatched, carried.sent, Instant::now());
            let mut receipt = Receipt::new(slave, attempts.max(1), times, &carried.timing);
            (receipt.image, receipt.kept, receipt.at) = (image, kept, spawned_at);
            Box::new(receipt)
        });
        let result = match (outcome, carried) {
            (Outcome::Accepted { .. }, Some(carried)) => Ok(carried.result),
            (Outcome::Accepted { .. }, None) => {
                let message = "a result was accepted that is not there".into();
                Err(Cause::Internal { message })
            }
            (Outcome::Failed { cause, .. }, _) => Err(cause_of(&entry, cause)),
            (Outcome::KeyGone { key, .. }, _) => Err(self.gone(key)),
        };
        let result = result.map_err(|cause| TaskError::new(name, failed_at, attempts, cause));
        if let Some(ports) = &entry.ports {
            ports.end(result.as_ref().err());
        }
        self.kinds.give(entry.kind);
        // Before the handle resolves: who then dispatches the next task finds room.
        drop(entry.room);
        entry.ticket.complete(result, receipt);
    }

    fn reserved(&mut self, reservation: ReservationId, outcome: Result<SlaveId, ReserveError>) {
        let Some(answer) = self.reserving.remove(&reservation) else {
            return;
        };
        let lost = ReserveError::SlaveLost;
        let linked = outcome.and_then(|slave| {
            self.slaves.get(&slave).map(|told| Arc::clone(&told.linked)).ok_or(lost)
        });
        if answer.send(linked).is_err() {
            // Nobody waits any more: what was granted goes back.
            self.inbox.tell(Command::Release(reservation));
        }
    }
}
