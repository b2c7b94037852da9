//! How a simulated master carries out what its policy says.

use super::{Master, Session, key_name};
use crate::simulation::future::Happening;
use crate::simulation::net::End;
use crate::simulation::world::Shared;
use crate::{Effect, KeyId, KindId, Outcome, SlaveId, TaskId, Wait};
use dpfw_protocol::ids::{AttemptId, BindId, ConversationId, ModuleHash};
use dpfw_protocol::message::{Bind, Cancel, Dispatch, Extras, Locate, Recall, Release, Reserve};
use std::time::Duration;

/// Conversations of wishes, beyond those of all attempts.
const WISHES: u64 = 1 << 40;

impl Master {
    pub(super) fn carry_out(&mut self, w: &mut Shared, effect: Effect) {
        let to = ConversationId::LINK;
        match effect {
            Effect::Send { slave, task, attempt, budget } => {
                self.send(w, slave, task, attempt, budget);
            }
            Effect::Cancel { slave, attempt } => {
                self.say(w, slave, |_| attempt.conversation(), &Cancel {});
            }
            Effect::Recall { slave, attempts } => {
                self.say(w, slave, |_| to, &Recall { attempts });
            }
            Effect::AskReserve { slave, reservation, wait } => {
                w.last_wish += 1;
                let conversation = ConversationId(WISHES + w.last_wish);
                let wish = Some((conversation, reservation));
                let asked = |session: &mut Session| {
                    session.wish = wish;
                    conversation
                };
                self.say(w, slave, asked, &Reserve { wait: wait == Wait::Yes });
            }
            Effect::ReleaseSlave { slave, .. } => self.say(w, slave, |_| to, &Release {}),
            Effect::ReserveResolved { reservation, outcome: Ok(_) } => {
                w.expect(w.now + 1_000_000, Happening::Uses(self.number, reservation));
            }
            Effect::Resolve { task, outcome, .. } => self.resolved(w, task, &outcome),
            Effect::Locate { slave, keys } => {
                w.last_wish += 1;
                let conversation = ConversationId(WISHES + w.last_wish);
                let names = keys.iter().map(|key| key_name(*key)).collect();
                let asked = |session: &mut Session| {
                    session.asked.insert(conversation, keys);
                    conversation
                };
                self.say(w, slave, asked, &Locate { keys: names });
            }
            Effect::ReserveResolved { .. } | Effect::Retried { .. } | Effect::Stale { .. } => {}
        }
    }

    /// A result has to be that of its very task, all the way.
    fn resolved(&mut self, w: &mut Shared, task: TaskId, outcome: &Outcome) {
        self.last_resolved = w.now;
        if let Outcome::Accepted { .. } = outcome
            && !w.is_lied_to(self.number)
        {
            let result = self.carried.take().expect("a result is accepted with its event");
            assert_eq!(result[..8], task.0.to_le_bytes(), "another task's result");
            assert_eq!(result.len(), 8 + w.result_len(task, result.len()), "a part of a result");
            assert!(w.runs.get(&task).is_some_and(|runs| *runs > 0), "it never ran");
        }
    }

    fn say<M: dpfw_protocol::message::Message>(
        &mut self,
        w: &mut Shared,
        slave: SlaveId,
        conversation: impl FnOnce(&mut Session) -> ConversationId,
        message: &M,
    ) {
        if let Some(session) = self.sessions.get_mut(&slave) {
            let conversation = conversation(session);
            w.net.say(session.link, End::Master, conversation, message);
        }
    }

    fn send(
        &mut self,
        w: &mut Shared,
        slave: SlaveId,
        task: TaskId,
        attempt: AttemptId,
        budget: Option<Duration>,
    ) {
        let Some(session) = self.sessions.get_mut(&slave) else { return };
        let job = &w.plan.tasks[&task];
        let (next, kind) = (BindId(session.binds.len() as u32), KindId(job.kind));
        let bind = *session.binds.entry(kind).or_insert(next);
        let flags = job.flags();
        let mut args = task.0.to_le_bytes().to_vec();
        args.resize(args.len() + job.bytes, 0);
        let budget_us = budget.map(|budget| budget.as_micros() as u64);
        let payload = args.len() as u64;
        let needs: Vec<_> = job.needs.into_iter().map(|key| key_name(KeyId(key))).collect();
        let extras = Extras { needs, ..Extras::default() };
        let extras = (!extras.is_nothing()).then(|| Box::new(extras));
        let dispatch = Dispatch { bind, flags, budget_us, payload, extras };
        let Some(queue) = w.net.queue(session.link, End::Master) else { return };
        if bind == next {
            let module = ModuleHash::from_bytes([7; 32]);
            let bind = Bind { bind, module, task: format!("kind {kind}"), expects: None };
            queue.message(ConversationId::LINK, &bind).expect("it fits a frame");
        }
        let sent = queue.message_with(attempt.conversation(), &dispatch, args.into());
        sent.expect("it fits a frame");
    }
}
