//! What a handle and the driver share of one task.
//!
//! Invariant: a ticket is completed once; whoever waits then is woken.

use crate::error::TaskError;
use crate::receipt::{Progress, Receipt};
use dpfw_protocol::Bytes;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Instant;

/// A task's result still encoded, or why there is none.
pub(crate) type Outcome = Result<Bytes, TaskError>;

/// One task's meeting point.
#[derive(Debug)]
pub(crate) struct Ticket {
    state: Mutex<State>,
    done: AtomicU64,
    total: AtomicU64,
    pub(crate) dispatched: Instant,
}

#[derive(Debug)]
enum State {
    Pending(Option<Waker>),
    Complete(Option<Outcome>, Option<Box<Receipt>>),
}

impl Ticket {
    pub(crate) fn new() -> Self {
        Self {
            state: Mutex::new(State::Pending(None)),
            done: AtomicU64::new(0),
            total: AtomicU64::new(0),
            dispatched: Instant::now(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The task has ended.
    pub(crate) fn complete(&self, outcome: Outcome, receipt: Option<Box<Receipt>>) {
        let mut state = self.lock();
        let State::Pending(waker) = &mut *state else {
            return;
        };
        let waker = waker.take();
        *state = State::Complete(Some(outcome), receipt);
        drop(state);
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// The outcome; given once.
    pub(crate) fn poll(&self, cx: &mut Context<'_>) -> Poll<Option<Outcome>> {
        match &mut *self.lock() {
            State::Complete(outcome, _) => Poll::Ready(outcome.take()),
            State::Pending(waker) => {
                match waker {
                    Some(waker) => waker.clone_from(cx.waker()),
                    None => *waker = Some(cx.waker().clone()),
                }
                Poll::Pending
            }
        }
    }

    pub(crate) fn is_complete(&self) -> bool {
        matches!(&*self.lock(), State::Complete(..))
    }

    pub(crate) fn receipt(&self) -> Option<Receipt> {
        match &*self.lock() {
            State::Complete(_, receipt) => receipt.as_deref().cloned(),
            State::Pending(_) => None,
        }
    }

    /// The task says how far it is.
    pub(crate) fn set_progress(&self, progress: Progress) {
        self.done.store(progress.done, Ordering::Relaxed);
        self.total.store(progress.total, Ordering::Relaxed);
    }

    pub(crate) fn progress(&self) -> Progress {
        let load = |part: &AtomicU64| part.load(Ordering::Relaxed);
        Progress { done: load(&self.done), total: load(&self.total) }
    }
}
