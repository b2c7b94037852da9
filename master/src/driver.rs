//! The driver: one task that owns the policy and carries out what it decides.
//!
//! Owns: the policy, the tasks' arguments and tickets, what each slave was told of modules
//! and tasks. Invariant: nothing else touches these; everybody else sends a command. What
//! one wake-up brings is handled as a batch, and written with one system call a link.

use crate::drain::{Named, Unended};
use crate::entries::Entries;
use crate::error::TaskError;
use crate::image::Plan;
use crate::images::Images;
use crate::inbox::{Change, Command, Inbox, ReserveOutcome, Room, Submission};
use crate::keys::Keys;
use crate::kinds::{Kind, KindImage, KindOf, Kinds};
use crate::link::{FromSlave, Standing};
use crate::log::say;
use crate::program::ports::Ports;
use crate::receipt::Receipt;
use crate::slave::{Linked, Slave};
use crate::ticket::Ticket;
use crate::told::{Told, unsendable};
use dpfw_dispatch::hash::IdMap;
use dpfw_dispatch::{
    Config, Core, Effect, End, Event, KeyId, KindId, Loss, Outcome, Placement, ReservationId,
    ReserveError, SlaveId, TaskId, TaskSpec, Time, Wait,
};
use dpfw_protocol::Bytes;
use dpfw_protocol::error::Cause;
use dpfw_protocol::ids::{AttemptId, ConversationId, ImageId, ModuleHash};
use dpfw_protocol::message::{
    Cancel, Dispatch, Extras, KeptAs, Log, ModuleBytes, Recall, Release, Reserve, TaskFlags, Timing,
};
use dpfw_protocol::payload::Payload;
use std::collections::HashMap;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::{oneshot, watch};
use tokio::time::Sleep;

mod images;
mod keys;

use keys::cause_of;

/// The slaves that are linked now, for everybody to see.
pub(crate) type Registry = Arc<watch::Sender<Vec<Arc<Linked>>>>;

/// A task that has not resolved.
struct Entry {
    ticket: Arc<Ticket>,
    kind: KindId,
    flags: TaskFlags,
    args: Payload,
    extras: Option<Box<Extras>>,
    /// Of a program.
    ports: Option<Arc<Ports>>,
    /// What it starts from; held until it has resolved.
    image: Option<Arc<Plan>>,
    /// Whether it may run elsewhere than on one slave.
    may_move: bool,
    room: Room,
}

impl Entry {
    /// Whether it is at a constructor of a resident.
    fn spawns(&self) -> bool {
        spawns(self.extras.as_deref())
    }
}

fn spawns(extras: Option<&Extras>) -> bool {
    extras.is_some_and(|extras| extras.spawn.is_some())
}

/// How the policy may try a task: not twice at once where its result stays at a slave, it spawns a
/// resident, or something flows to or from it, whatever it declares.
fn tried(flags: TaskFlags, extras: Option<&Extras>, ports: Option<&Arc<Ports>>) -> TaskFlags {
    let keeps = extras.is_some_and(|extras| extras.keep.is_some());
    match keeps || spawns(extras) || ports.is_some() {
        true => flags.without(TaskFlags::EFFECT_FREE),
        false => flags,
    }
}

/// What the event being handled says of an attempt's end.
struct Carried {
    task: TaskId,
    /// When that attempt was sent.
    sent: Instant,
    timing: Timing,
    result: Bytes,
    /// What the result is, if it stays at its slave.
    kept: Option<KeptAs>,
}

/// See the module's page.
pub(crate) struct Driver {
    core: Core,
    inbox: Arc<Inbox>,
    registry: Registry,
    start: Instant,
    tasks: Entries<Entry>,
    kinds: Kinds,
    slaves: IdMap<SlaveId, Told>,
    keys: Keys,
    /// Slaves that do not answer what keys they have, to be reported like those below.
    unlocated: Vec<(SlaveId, Box<[KeyId]>)>,
    dirty: Vec<SlaveId>,
    reserving: IdMap<ReservationId, oneshot::Sender<ReserveOutcome>>,
    sources: usize,
    effects: Vec<Effect>,
    /// Attempts that could not be sent, to be reported when the effects are carried out.
    unsent: Vec<(SlaveId, AttemptId, Cause)>,
    carried: Option<Carried>,
    /// Who waits until no task is unresolved.
    draining: Vec<oneshot::Sender<()>>,
    images: Images,
    /// Snapshots that slaves were asked for, by conversation.
    fetches: HashMap<(SlaveId, ConversationId), ImageId>,
}

/// Whether the driver goes on.
#[derive(PartialEq, Eq)]
enum Flow {
    On,
    End,
}

impl Driver {
    pub(crate) fn new(policy: Config, inbox: Arc<Inbox>, registry: Registry) -> Self {
        Self {
            core: Core::new(policy),
            inbox,
            registry,
            start: Instant::now(),
            tasks: Entries::default(),
            kinds: Kinds::default(),
            slaves: IdMap::default(),
            keys: Keys::default(),
            unlocated: Vec::new(),
            dirty: Vec::new(),
            reserving: IdMap::default(),
            sources: 0,
            effects: Vec::new(),
            unsent: Vec::new(),
            carried: None,
            draining: Vec::new(),
            images: Images::default(),
            fetches: HashMap::new(),
        }
    }

    /// Handles commands until the master is shut down.
    pub(crate) async fn run(mut self) {
        let mut commands = Vec::new();
        let mut alarm: Option<(Time, Pin<Box<Sleep>>)> = None;
        loop {
            let wake = self.core.next_wake();
            if alarm.as_ref().map(|(at, _)| *at) != wake {
                alarm = wake.map(|at| (at, Box::pin(tokio::time::sleep_until(self.instant(at)))));
            }
            let rang = std::future::poll_fn(|cx| {
                if self.inbox.poll_take(cx, &mut commands).is_ready() {
                    return std::task::Poll::Ready(false);
                }
                match &mut alarm {
                    Some((_, sleep)) => sleep.as_mut().poll(cx).map(|()| true),
                    None => std::task::Poll::Pending,
                }
            })
            .await;
            if rang {
                alarm = None;
                self.handle(Event::Tick);
            }
            let mut batch = commands.drain(..);
            while let Some(command) = batch.next() {
                if self.obey(command) == Flow::End {
                    return self.end(batch.collect());
                }
            }
            drop(batch);
            self.forget();
            self.flush();
            if self.tasks.is_empty() {
                self.images.sweep();
                // Nobody may wait for it any more.
                for waits in self.draining.drain(..) {
                    let _ = waits.send(());
                }
            }
        }
    }

    fn now(&self) -> Time {
        Time::from(self.start.elapsed())
    }

    fn instant(&self, at: Time) -> tokio::time::Instant {
        let far = Duration::from_secs(86_400 * 365);
        (self.start + at.since(Time::ZERO).min(far)).into()
    }

    fn obey(&mut self, command: Command) -> Flow {
        match command {
            Command::Submit(task, submission) => self.submit(task, *submission),
            Command::Cancel(task) => self.handle(Event::Cancel { task }),
            Command::Said(slave, said, share) => {
                said.into_iter().for_each(|one| self.hear(slave, one));
                drop(share);
            }
            Command::Joined(linked, first) => {
                self.joined(linked);
                if let Some(first) = first {
                    // Nobody may wait for it any more.
                    let _ = first.send(Ok(()));
                }
            }
            Command::Lost(slave, loss) => self.lost(slave, loss),
            Command::Key(key, word) => self.seen(&key, word),
            Command::Linked(first) => {
                // Nobody may wait for it any more.
                let _ = first.send(Ok(()));
            }
            Command::Reserve { reservation, slave, wait, answer } => {
                self.reserving.insert(reservation, answer);
                self.handle(Event::Reserve { reservation, slave, wait });
            }
            Command::Release(reservation) => {
                self.reserving.remove(&reservation);
                self.handle(Event::Release { reservation });
            }
            Command::Found(plan, at) => self.found_image(&plan, at),
            Command::Everywhere(plan) => self.images.want_everywhere(&plan),
            Command::Places(image, answer) => {
                // Nobody may wait for it any more.
                let _ = answer.send(self.places(image));
            }
            Command::Source(change) => self.source(change),
            Command::Stats(answer) => {
                // Nobody may wait for it any more.
                let _ = answer.send(self.core.stats());
            }
            Command::Drain(answer) => self.draining.push(answer),
            Command::Unended(answer) => {
                // Nobody may wait for it any more.
                let _ = answer.send(self.unended());
            }
            Command::Shutdown => return Flow::End,
        }
        Flow::On
    }

    /// The tasks that have not ended.
    fn unended(&self) -> Unended {
        let named = |(task, entry): (&TaskId, &Entry)| {
            let told = self.core.slave_of(*task).and_then(|slave| self.slaves.get(&slave));
            let slave = told.map(|told| told.linked.hello.peer.clone());
            Named { task: self.name_of(entry).to_owned(), slave }
        };
        let is_out = |task: &TaskId| self.core.slave_of(*task).is_some();
        let (out, rest) = self.tasks.iter().partition::<Vec<_>, _>(|(task, _)| is_out(task));
        let named = out.into_iter().chain(rest).take(Unended::NAMED).map(named).collect();
        Unended { tasks: self.tasks.len(), named }
    }

    fn source(&mut self, change: Change) {
        match change {
            Change::More => self.sources += 1,
            Change::Fewer => self.sources = self.sources.saturating_sub(1),
        }
        let event = if self.sources == 0 { Event::NoMoreSlaves } else { Event::SlavesExpected };
        self.handle(event);
    }

    fn handle(&mut self, event: Event) {
        let mut effects = std::mem::take(&mut self.effects);
        self.core.handle(self.now(), event, &mut effects);
        for effect in effects.drain(..) {
            self.carry_out(effect);
        }
        self.effects = effects;
        while let Some((slave, attempt, cause)) = self.unsent.pop() {
            self.handle(Event::Finished { slave, attempt, end: End::Failed { cause } });
        }
        while let Some((slave, keys)) = self.unlocated.pop() {
            self.handle(Event::Located { slave, keys, held: Vec::new() });
        }
    }

    fn submit(&mut self, task: TaskId, submission: Submission) {
        let Submission { room, ticket, module, name, expects, flags, args, .. } = submission;
        let Submission { calls, deadline, extras, placement, ports, image, .. } = submission;
        let placement = self.place(placement, extras.as_deref(), image.as_deref());
        let of = match &image {
            None if spawns(extras.as_deref()) => KindOf::Constructor,
            None => KindOf::Plain,
            Some(plan) => {
                self.images.learn(plan);
                KindOf::Image(KindImage { id: plan.id, key: plan.key.clone() })
            }
        };
        let kind = self.kinds.take(Kind { module, name, expects, of });
        let may_move = !matches!(placement, Placement::On(_) | Placement::Reserved(_));
        let as_tried = tried(flags, extras.as_deref(), ports.as_ref());
        let entry = Entry { ticket, kind, flags, args, extras, ports, image, may_move, room };
        self.tasks.insert(task, entry);
        let since = |deadline: Instant| deadline.saturating_duration_since(self.start);
        let deadline = deadline.map(|deadline| Time::from(since(deadline)));
        let spec = TaskSpec { kind, flags: as_tried, deadline, placement, calls };
        self.handle(Event::Submit { task, spec });
    }

    fn joined(&mut self, linked: Arc<Linked>) {
        let (slave, hello) = (linked.id, &linked.hello);
        let (slots, attempts) = (hello.slots.max(1), hello.limits.attempts);
        self.registry.send_modify(|all| all.push(Arc::clone(&linked)));
        self.slaves.insert(slave, Told::new(linked));
        self.handle(Event::SlaveJoined { slave, slots, attempts });
        for plan in self.images.wanted() {
            self.have_built(slave, plan);
        }
    }

    fn lost(&mut self, slave: SlaveId, loss: Loss) {
        let lost = self.registry.borrow().iter().find(|linked| linked.id == slave).cloned();
        if let Some(lost) = lost.filter(|_| loss != Loss::Left) {
            lost.home.has_lost(&lost.hello.peer);
        }
        self.registry.send_modify(|all| all.retain(|linked| linked.id != slave));
        self.handle(Event::SlaveLost { slave, loss });
        self.slaves.remove(&slave);
        self.fetches.retain(|(from, _), _| *from != slave);
        let told = self.images.lost(slave);
        self.give_images(told);
    }

    fn hear(&mut self, slave: SlaveId, said: FromSlave) {
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
    fn carry(
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

    fn entry_of(&self, slave: SlaveId, attempt: AttemptId) -> Option<&Entry> {
        self.tasks.get(&self.core.task_of(slave, attempt)?)
    }

    /// What a task is called in errors and in the log.
    fn name_of<'a>(&'a self, entry: &'a Entry) -> &'a str {
        let of_kind = || self.kinds.get(entry.kind).map_or("?", |kind| &*kind.name);
        if let Some(plan) = entry.image.as_ref().filter(|_| of_kind().is_empty()) {
            return &plan.init;
        }
        entry.ports.as_ref().map_or_else(of_kind, |ports| &*ports.name)
    }

    /// A guest's log line becomes an event of the master's log.
    fn log(&self, slave: SlaveId, attempt: AttemptId, log: &Log) {
        let Some((entry, told)) = self.entry_of(slave, attempt).zip(self.slaves.get(&slave)) else {
            return;
        };
        let task = self.name_of(entry);
        say(&told.linked.hello.peer, task, log);
    }

    fn carry_out(&mut self, effect: Effect) {
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
    fn tell<M: dpfw_protocol::message::Message>(
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
    fn send_module(&mut self, slave: SlaveId, hash: ModuleHash) {
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
        let slave = match &outcome {
            Outcome::Accepted { slave, .. } => peer(*slave),
            Outcome::Failed { slave, .. } | Outcome::KeyGone { slave, .. } => slave.and_then(peer),
        };
        let has_failed = !matches!(outcome, Outcome::Accepted { .. });
        let kept = self.kept_at(&outcome, &entry, carried.as_ref());
        let failed_at = has_failed.then(|| slave.clone()).flatten();
        let at = match &outcome {
            Outcome::Accepted { slave, .. } => Some(*slave),
            Outcome::Failed { slave, .. } | Outcome::KeyGone { slave, .. } => *slave,
        };
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

    /// Writes what the batch brought, one system call a link.
    fn flush(&mut self) {
        for slave in self.dirty.drain(..) {
            if let Some(told) = self.slaves.get_mut(&slave) {
                told.is_dirty = false;
                told.linked.outbox.flush();
            }
        }
    }

    /// Resolves everything and says goodbye, also to what came too late: the rest of the
    /// batch, and what is in the inbox.
    fn end(mut self, rest: Vec<Command>) {
        self.handle(Event::Shutdown);
        for command in rest.into_iter().chain(self.inbox.close()) {
            match command {
                Command::Submit(_, submission) => {
                    let error = TaskError::new(&submission.name, None, 0, Cause::Shutdown);
                    if let Some(ports) = &submission.ports {
                        ports.end(Some(&error));
                    }
                    submission.ticket.complete(Err(error), None);
                }
                Command::Joined(linked, _) => linked.part(),
                // Who waits for an answer learns that none comes by its channel's end.
                _ => {}
            }
        }
        self.slaves.values().for_each(|told| told.linked.part());
    }
}
