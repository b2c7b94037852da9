//! What is said to the driver: by callers, by links, by sources of links.
//!
//! Bounds: tasks by the queue's limit, which is held before they get here; cancellations
//! by the number of handles; messages of links by a share of bytes for each, which its reader
//! waits for; what stores answered by their callers, who wait for it; the rest by the number of
//! links.

use crate::drain::Unended;
use crate::image::{ImageAt, Plan};
use crate::link::FromSlave;
use crate::noted::{Noted, Word};
use crate::program::ports::Ports;
use crate::slave::Linked;
use crate::source::First;
use crate::ticket::Ticket;
use dpfw_dispatch::{Loss, Placement, ReservationId, SlaveId, TaskId, Wait};
use dpfw_protocol::ids::ImageId;
use dpfw_protocol::message::{Extras, ImageReady, TaskFlags};
use dpfw_protocol::module::Module;
use dpfw_protocol::payload::Payload;
use dpfw_protocol::signature::Signature;
use dpfw_protocol::store::Key;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Instant;
use tokio::sync::{Notify, OwnedSemaphorePermit, oneshot};

/// A task as it is submitted.
#[derive(Debug)]
pub(crate) struct Submission {
    pub(crate) room: Room,
    pub(crate) ticket: Arc<Ticket>,
    pub(crate) module: Module,
    pub(crate) name: Arc<str>,
    pub(crate) expects: Option<Signature>,
    pub(crate) flags: TaskFlags,
    pub(crate) args: Payload,
    pub(crate) calls: u32,
    pub(crate) deadline: Option<Instant>,
    pub(crate) extras: Option<Box<Extras>>,
    pub(crate) placement: Placement,
    /// Of a program.
    pub(crate) ports: Option<Arc<Ports>>,
    /// What it starts from.
    pub(crate) image: Option<Arc<Plan>>,
}

/// How a reservation was decided.
pub(crate) type ReserveOutcome = Result<Arc<Linked>, dpfw_dispatch::ReserveError>;

/// Something for the driver.
#[derive(Debug)]
pub(crate) enum Command {
    Submit(TaskId, Box<Submission>),
    Cancel(TaskId),
    Reserve {
        reservation: ReservationId,
        slave: Option<SlaveId>,
        wait: Wait,
        answer: oneshot::Sender<ReserveOutcome>,
    },
    Release(ReservationId),
    /// Whoever waits for it is told when it is registered.
    Joined(Arc<Linked>, Option<First>),
    /// With its share of what the driver may not have heard yet of that link.
    Said(SlaveId, Vec<FromSlave>, OwnedSemaphorePermit),
    Lost(SlaveId, Loss),
    /// A store has answered its caller; a task waits with the key.
    Key(Key, Word),
    /// Whoever waits for a slave is told when everything before it was heard: it is linked
    /// otherwise.
    Linked(First),
    /// An image was looked up, and is at these slaves.
    Found(Arc<Plan>, Vec<(SlaveId, ImageReady)>),
    /// Every slave that comes is to have an image.
    Everywhere(Arc<Plan>),
    /// Asks where an image is.
    Places(ImageId, oneshot::Sender<Vec<ImageAt>>),
    /// A source of links has come, or gone.
    Source(Change),
    Stats(oneshot::Sender<dpfw_dispatch::Stats>),
    /// To be answered when no task is unresolved.
    Drain(oneshot::Sender<()>),
    /// Asks for the tasks that are.
    Unended(oneshot::Sender<Unended>),
    Shutdown,
}

/// Of the number of sources.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Change {
    More,
    Fewer,
}

/// What becomes of a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Heard {
    Soon,
    /// The driver has ended.
    Never,
}

/// The driver's inbox, and the account of unresolved tasks.
#[derive(Debug)]
pub(crate) struct Inbox {
    inner: Mutex<Inner>,
    unresolved: AtomicUsize,
    waiting: AtomicUsize,
    room: Notify,
    /// The same for maps, all of which are woken: one that nobody polls then takes no wake-up
    /// from another.
    room_for_maps: Notify,
    most: usize,
    noted: Noted,
}

/// Room for a task in the queue; given back when dropped.
#[derive(Debug)]
pub(crate) struct Room(Arc<Inbox>);

impl Drop for Room {
    fn drop(&mut self) {
        self.0.unresolved.fetch_sub(1, Ordering::SeqCst);
        if self.0.waiting.load(Ordering::SeqCst) > 0 {
            self.0.room.notify_one();
            self.0.room_for_maps.notify_waiters();
        }
    }
}

#[derive(Debug, Default)]
struct Inner {
    commands: Vec<Command>,
    driver: Option<Waker>,
    next_task: u64,
    next_reservation: u64,
    /// Nothing new is taken on.
    refuses: bool,
    closed: bool,
}

impl Inbox {
    /// For at most so many unresolved tasks.
    pub(crate) fn new(most: usize) -> Self {
        Self {
            inner: Mutex::default(),
            unresolved: AtomicUsize::new(0),
            waiting: AtomicUsize::new(0),
            room: Notify::new(),
            room_for_maps: Notify::new(),
            most,
            noted: Noted::default(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many tasks may be unresolved.
    pub(crate) fn most(&self) -> usize {
        self.most
    }

    /// Takes room for a task, if there is any.
    pub(crate) fn take_room(self: &Arc<Self>) -> Option<Room> {
        let more = |tasks| (tasks < self.most).then_some(tasks + 1);
        self.unresolved.try_update(Ordering::SeqCst, Ordering::SeqCst, more).ok()?;
        Some(Room(Arc::clone(self)))
    }

    /// Waits until there is room for a task. It is not taken: of many who wait, one may
    /// be quicker.
    pub(crate) async fn room(&self) {
        self.roomy(&self.room).await;
    }

    /// The same for a map, which may be woken and not come.
    pub(crate) async fn room_for_map(self: Arc<Self>) {
        self.roomy(&self.room_for_maps).await;
    }

    async fn roomy(&self, room: &Notify) {
        struct Waits<'a>(&'a AtomicUsize);
        impl Drop for Waits<'_> {
            fn drop(&mut self) {
                self.0.fetch_sub(1, Ordering::SeqCst);
            }
        }
        self.waiting.fetch_add(1, Ordering::SeqCst);
        let _waits = Waits(&self.waiting);
        loop {
            let notified = room.notified();
            if self.unresolved.load(Ordering::SeqCst) < self.most {
                return;
            }
            notified.await;
        }
    }

    /// From now on no task is submitted.
    pub(crate) fn refuse(&self) {
        self.lock().refuses = true;
    }

    /// Submits a task; gives it back if the master drains or has ended.
    pub(crate) fn submit(&self, submission: Box<Submission>) -> Result<TaskId, Box<Submission>> {
        let mut inner = self.lock();
        if inner.closed || inner.refuses {
            return Err(submission);
        }
        inner.next_task += 1;
        let task = TaskId(inner.next_task);
        inner.commands.push(Command::Submit(task, submission));
        wake(inner);
        Ok(task)
    }

    /// A new reservation's id.
    pub(crate) fn reservation(&self) -> ReservationId {
        let mut inner = self.lock();
        inner.next_reservation += 1;
        ReservationId(inner.next_reservation)
    }

    /// Tells the driver. After its end nobody listens: what a command carried is dropped.
    pub(crate) fn tell(&self, command: Command) -> Heard {
        let mut inner = self.lock();
        if inner.closed {
            return Heard::Never;
        }
        inner.commands.push(command);
        wake(inner);
        Heard::Soon
    }

    /// What was seen of keys with which no task waits.
    pub(crate) fn noted(&self) -> &Noted {
        &self.noted
    }

    /// A store has answered: its slave has a key, or has it not. The driver hears of it now only
    /// if a task waits with the key.
    pub(crate) fn key(&self, key: &Key, word: Word) {
        if self.noted.note(key, word) {
            self.tell(Command::Key(key.clone(), word));
        }
    }

    /// Takes what was said; for the driver.
    pub(crate) fn poll_take(&self, cx: &mut Context<'_>, into: &mut Vec<Command>) -> Poll<()> {
        let mut inner = self.lock();
        if inner.commands.is_empty() {
            inner.driver = Some(cx.waker().clone());
            return Poll::Pending;
        }
        std::mem::swap(&mut inner.commands, into);
        Poll::Ready(())
    }

    /// Takes nothing more; gives what was said last.
    pub(crate) fn close(&self) -> Vec<Command> {
        let mut inner = self.lock();
        inner.closed = true;
        std::mem::take(&mut inner.commands)
    }
}

fn wake(mut inner: MutexGuard<'_, Inner>) {
    let driver = inner.driver.take();
    drop(inner);
    if let Some(driver) = driver {
        driver.wake();
    }
}
