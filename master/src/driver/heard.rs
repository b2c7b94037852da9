//! What the driver does about what slaves say.
//!
//! Owns: nothing; what was said becomes events of the policy, or goes to whom it is for. Invariant:
//! what an attempt's end brings is held only while the policy decides what becomes of it.

use super::{Carried, Driver};
use crate::link::{FromSlave, Standing};
use crate::log::say;
use dpfw_dispatch::{End, Event, SlaveId, Time};
use dpfw_protocol::Bytes;
use dpfw_protocol::ids::AttemptId;
use dpfw_protocol::message::{KeptAs, Log, Timing};
use std::time::{Duration, Instant};

impl Driver {
    pub(super) fn hear(&mut self, slave: SlaveId, said: FromSlave) {
        match said {
            FromSlave::Done(attempt, timing, result) => {
                let run = Duration::from_micros(timing.init_us.saturating_add(timing.run_us));
                self.finished(slave, attempt, timing, result, End::Done { run });
            }
            FromSlave::Failed(attempt, timing, cause) => {
                let end = self.end_of(slave, attempt, cause);
                self.finished(slave, attempt, timing, Bytes::new(), end);
            }
            FromSlave::Started(attempts) => self.handle(Event::Started { slave, attempts }),
            FromSlave::Loading(attempts) => self.handle(Event::Loading { slave, attempts }),
            FromSlave::Queued(attempts) => self.handle(Event::Queued { slave, attempts }),
            FromSlave::Waiting(attempts) => self.handle(Event::Waiting { slave, attempts }),
            FromSlave::Returned(attempts) => self.handle(Event::Returned { slave, attempts }),
            FromSlave::Reserved(conversation, granted) => {
                let told = self.slaves.get_mut(&slave);
                if let Some(reservation) = told.and_then(|told| told.wish_of(conversation)) {
                    self.handle(Event::ReserveAnswered { slave, reservation, granted });
                }
            }
            FromSlave::Kept(..) | FromSlave::Located(..) | FromSlave::Key(..) => {
                self.hear_of_keys(slave, said);
            }
            FromSlave::NeedModule(module) => self.send_module(slave, module),
            FromSlave::NeedImage(need) => self.need_image(slave, need),
            FromSlave::ImageReady(ready) => self.image_ready(slave, ready),
            FromSlave::ImageGone(image) => self.no_image(slave, image),
            FromSlave::Snapshot(conversation, said) => self.fetched(slave, conversation, said),
            FromSlave::Draining => self.handle(Event::SlaveDraining { slave }),
            FromSlave::Status(Standing { slots, taken, upto, running, held: attempts }) => {
                self.handle(Event::SlaveStatus { slave, slots, taken, running });
                // Two that are told at nearly the same moment tell no more than one.
                let told = self.slaves.get_mut(&slave);
                if told.is_some_and(|told| told.may_compare(Instant::now())) {
                    self.handle(Event::Holds { slave, upto, attempts });
                }
            }
            FromSlave::Log(attempt, log) => self.log(slave, attempt, &log),
            FromSlave::Progress(attempt, progress) => {
                let task = self.core.task_of(slave, attempt);
                // Of two attempts the first tells: what is done does not become less.
                let task = task.filter(|task| self.core.slave_of(*task) == Some(slave));
                if let Some(entry) = task.and_then(|task| self.tasks.get(&task)) {
                    entry.ticket.set_progress(progress);
                }
            }
        }
    }

    /// An attempt has ended at a slave, with what may be its task's result.
    fn finished(
        &mut self,
        slave: SlaveId,
        attempt: AttemptId,
        timing: Timing,
        result: Bytes,
        end: End,
    ) {
        let task = self.core.task_of(slave, attempt);
        if matches!(end, End::Failed { .. }) {
            self.not_built(slave, task);
        }
        self.carry(slave, attempt, timing, result, None);
        self.handle(Event::Finished { slave, attempt, end });
        self.carried = None;
    }

    /// Holds what an attempt's end brings while the policy decides what becomes of it.
    pub(super) fn carry(
        &mut self,
        slave: SlaveId,
        attempt: AttemptId,
        timing: Timing,
        result: Bytes,
        kept: Option<KeptAs>,
    ) {
        let task = self.core.task_of(slave, attempt);
        let sent = self.core.sent_at(slave, attempt);
        self.carried = task.zip(sent).map(|(task, sent)| {
            let sent = self.start + sent.since(Time::ZERO);
            Carried { task, sent, timing, result, kept }
        });
    }

    /// A guest's log line becomes an event of the master's log.
    fn log(&self, slave: SlaveId, attempt: AttemptId, log: &Log) {
        let Some((entry, told)) = self.entry_of(slave, attempt).zip(self.slaves.get(&slave)) else {
            return;
        };
        let task = self.name_of(entry);
        say(&told.linked.hello.peer, task, log);
    }
}
