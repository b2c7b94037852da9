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
use crate::program::ports::Ports;
use crate::slave::Linked;
use crate::ticket::Ticket;
use crate::told::Told;
use dpfw_dispatch::hash::IdMap;
use dpfw_dispatch::{
    Config, Core, Effect, End, Event, KeyId, KindId, Loss, Placement, ReservationId, SlaveId,
    TaskId, TaskSpec, Time,
};
use dpfw_protocol::Bytes;
use dpfw_protocol::error::Cause;
use dpfw_protocol::ids::{AttemptId, ConversationId, ImageId};
use dpfw_protocol::message::{Extras, KeptAs, TaskFlags, Timing};
use dpfw_protocol::payload::Payload;
use std::collections::HashMap;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::{oneshot, watch};
use tokio::time::Sleep;

mod effects;
mod heard;
mod images;
mod keys;

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
        if let Some(told) = self.slaves.get(&slave).filter(|_| loss != Loss::Left) {
            told.linked.home.has_lost(&told.linked.hello.peer);
        }
        self.registry.send_modify(|all| all.retain(|linked| linked.id != slave));
        self.handle(Event::SlaveLost { slave, loss });
        self.slaves.remove(&slave);
        self.fetches.retain(|(from, _), _| *from != slave);
        let told = self.images.lost(slave);
        self.give_images(told);
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
