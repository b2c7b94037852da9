//! A call of a resident on its way, and who waits for it.
//!
//! Owns: what a handle, the reader of the link and the resident's window share of one call.
//! Does not: say when it is sent; the window does. Invariants: it ends once; who waits is woken
//! then; what is awaited of a cast is that it was sent.

use super::clock::Alarm;
use super::window::Window;
use crate::error::TaskError;
use crate::receipt::{Progress, Receipt};
use crate::slave::Linked;
use dpfw_link::Leaves;
use dpfw_protocol::Bytes;
use dpfw_protocol::call::Task;
use dpfw_protocol::error::Cause;
use dpfw_protocol::ids::ConversationId;
use dpfw_protocol::limits::INLINE;
use dpfw_protocol::message::{CallFlags, Cancel, Message, Timing, Withdraw};
use dpfw_protocol::payload::Payload;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Instant;

/// See the module's page.
#[derive(Debug)]
pub(crate) struct Asking {
    pub(crate) window: Arc<Window>,
    /// The method, as if it were a task.
    pub(crate) task: Task<()>,
    pub(crate) args: Payload,
    pub(crate) flags: CallFlags,
    pub(crate) deadline: Option<Instant>,
    made: Instant,
    /// Its place among the calls of the resident.
    number: AtomicU64,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    stage: Stage,
    waker: Option<Waker>,
    alarm: Option<Alarm>,
    progress: Progress,
    /// Whether it was ever sent.
    was_sent: bool,
}

#[derive(Debug)]
enum Stage {
    /// In the window's row.
    Waits,
    /// At the slave.
    Out(Out),
    /// The outcome is given once.
    Ended(Option<Outcome>, Option<At>),
}

/// Where it is.
#[derive(Debug)]
struct Out {
    linked: Arc<Linked>,
    conversation: ConversationId,
    sent: Instant,
}

/// Where it was when it ended.
#[derive(Debug)]
struct At {
    linked: Arc<Linked>,
    sent: Instant,
    ended: Instant,
    timing: Option<Timing>,
}

/// A result still encoded, or why there is none.
pub(crate) type Outcome = Result<Bytes, Cause>;

impl Asking {
    pub(crate) fn new(
        window: Arc<Window>,
        (task, args): (Task<()>, Payload),
        flags: CallFlags,
        deadline: Option<Instant>,
    ) -> Self {
        let (waker, alarm, progress) = (None, None, Progress::default());
        let state = State { stage: Stage::Waits, waker, alarm, progress, was_sent: false };
        let (made, number) = (Instant::now(), AtomicU64::new(0));
        Self { window, task, args, flags, deadline, made, number, state: Mutex::new(state) }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn is_cast(&self) -> bool {
        self.flags.has(CallFlags::CAST)
    }

    /// Whether its arguments do not leave with it, but behind it.
    pub(crate) fn is_long(&self) -> bool {
        self.args.len() > INLINE
    }

    pub(crate) fn number(&self) -> u64 {
        self.number.load(Ordering::Relaxed)
    }

    /// Said once, by the window, before anybody else knows of it.
    pub(crate) fn set_number(&self, number: u64) {
        self.number.store(number, Ordering::Relaxed);
    }

    /// Takes note of an alarm; not if it has ended already.
    pub(crate) fn has_alarm(&self, alarm: Alarm) -> bool {
        let mut state = self.lock();
        let is_on = !matches!(state.stage, Stage::Ended(..));
        state.alarm = is_on.then_some(alarm);
        is_on
    }

    /// It is about to be sent; not if it has ended meanwhile. Whoever awaits that of a cast is
    /// woken.
    pub(crate) fn send(
        &self,
        linked: &Arc<Linked>,
        conversation: ConversationId,
        sent: Option<Instant>,
    ) -> bool {
        let mut state = self.lock();
        if matches!(state.stage, Stage::Ended(..)) {
            return false;
        }
        let (linked, sent) = (Arc::clone(linked), sent.unwrap_or(self.made));
        state.stage = Stage::Out(Out { linked, conversation, sent });
        state.was_sent = true;
        let waker = if self.is_cast() { state.waker.take() } else { None };
        drop(state);
        if let Some(waker) = waker {
            waker.wake();
        }
        true
    }

    /// It came back unbegun, and waits to be sent again; not if it has ended meanwhile.
    pub(crate) fn came_back(&self) -> bool {
        let mut state = self.lock();
        if matches!(state.stage, Stage::Ended(..)) {
            return false;
        }
        state.stage = Stage::Waits;
        true
    }

    /// It has ended, at a slave if there is a timing.
    pub(crate) fn end(&self, outcome: Outcome, timing: Option<Timing>) {
        self.end_locked(self.lock(), outcome, timing);
    }

    fn end_locked(
        &self,
        mut state: MutexGuard<'_, State>,
        outcome: Outcome,
        timing: Option<Timing>,
    ) {
        let at = match std::mem::replace(&mut state.stage, Stage::Waits) {
            Stage::Waits => None,
            Stage::Out(Out { linked, sent, .. }) => {
                Some(At { linked, sent, ended: Instant::now(), timing })
            }
            ended @ Stage::Ended(..) => {
                state.stage = ended;
                return;
            }
        };
        if let Err(cause) = &outcome
            && self.is_cast()
            && state.was_sent
        {
            self.window.cast_failed(self.task.name(), cause);
        }
        state.stage = Stage::Ended(Some(outcome), at);
        let (waker, alarm) = (state.waker.take(), state.alarm.take());
        drop(state);
        if let Some(alarm) = alarm {
            self.window.home.clock.unset(&alarm);
        }
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// The outcome; given once.
    pub(crate) fn poll(&self, cx: &mut Context<'_>) -> Poll<Option<Outcome>> {
        let mut state = self.lock();
        match &mut state.stage {
            Stage::Ended(outcome, _) => Poll::Ready(outcome.take()),
            Stage::Waits | Stage::Out(_) => state.wait(cx),
        }
    }

    /// Whether a cast was sent, or why it was not.
    pub(crate) fn poll_sent(&self, cx: &mut Context<'_>) -> Poll<Result<(), Cause>> {
        let mut state = self.lock();
        if state.was_sent {
            return Poll::Ready(Ok(()));
        }
        match &mut state.stage {
            Stage::Ended(outcome, _) => {
                Poll::Ready(outcome.take().map_or(Ok(()), |outcome| outcome.map(drop)))
            }
            Stage::Waits | Stage::Out(_) => state.wait(cx),
        }
    }

    pub(crate) fn is_ended(&self) -> bool {
        matches!(self.lock().stage, Stage::Ended(..))
    }

    /// What it cost, once it has ended at a slave.
    pub(crate) fn receipt(&self) -> Option<Receipt> {
        let state = self.lock();
        let Stage::Ended(_, Some(at)) = &state.stage else { return None };
        let slave = at.linked.hello.peer.clone();
        Some(Receipt::new(slave, 1, (self.made, at.sent, at.ended), at.timing.as_ref()?))
    }

    pub(crate) fn progress(&self) -> Progress {
        self.lock().progress
    }

    pub(crate) fn set_progress(&self, progress: Progress) {
        self.lock().progress = progress;
    }

    /// Asks for its end. What runs is interrupted.
    pub(crate) fn cancel(&self) {
        let state = self.lock();
        match Place::of(&state.stage) {
            Some(at) => at.tell(state, &Cancel {}),
            None if matches!(state.stage, Stage::Ended(..)) => {}
            None => self.give_up(state, Cause::Cancelled),
        }
    }

    /// Nobody wants it any more. What runs goes on.
    pub(crate) fn withdraw(&self) {
        let state = self.lock();
        match Place::of(&state.stage) {
            Some(at) => at.tell(state, &Withdraw {}),
            None if matches!(state.stage, Stage::Ended(..)) => {}
            None => self.give_up(state, Cause::Cancelled),
        }
    }

    /// Its time is over.
    pub(crate) fn expire(&self) {
        let mut state = self.lock();
        state.alarm = None;
        let at = Place::of(&state.stage);
        self.give_up(state, Cause::DeadlineExceeded);
        if let Some(at) = at {
            at.tell(self.lock(), &Cancel {});
        }
    }

    /// It ends here, whatever becomes of it at a slave.
    fn give_up(&self, state: MutexGuard<'_, State>, cause: Cause) {
        self.end_locked(state, Err(cause), None);
        self.window.leave(self);
    }

    /// What its caller is told.
    pub(crate) fn error(&self, cause: Cause) -> TaskError {
        let slave = match &self.lock().stage {
            Stage::Ended(_, Some(at)) => Some(at.linked.hello.peer.clone()),
            _ => None,
        };
        TaskError::new(self.task.name(), slave, 1, cause)
    }
}

/// Where something of a call is said.
struct Place(Arc<Linked>, ConversationId);

impl Place {
    fn of(stage: &Stage) -> Option<Self> {
        match stage {
            Stage::Out(out) => Some(Self(Arc::clone(&out.linked), out.conversation)),
            _ => None,
        }
    }

    /// Says it when the call's lock is free again.
    fn tell<M: Message>(&self, state: MutexGuard<'_, State>, message: &M) {
        drop(state);
        // It always fits a frame.
        let _ = self.0.outbox.say(Leaves::Now, |queue| queue.message(self.1, message));
    }
}

impl State {
    fn wait<T>(&mut self, cx: &mut Context<'_>) -> Poll<T> {
        match &mut self.waker {
            Some(waker) => waker.clone_from(cx.waker()),
            None => self.waker = Some(cx.waker().clone()),
        }
        Poll::Pending
    }
}
