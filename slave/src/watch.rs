//! Watching guests run: who holds which slot, since when, until when, and stopping them.
//!
//! Each slot has an engine of its own, on which one guest runs at a time; raising that
//! engine's epoch by one interrupts this guest and no other. So epochs do not tick: the
//! pacer raises one only when a guest has to stop, and running guests pay nothing.
//! Invariant: an interruption is raised while the attempt that it is meant for holds the
//! slot, under the slot's lock; a successor never gets it.

use crate::session::Session;
use dpfw_protocol::error::{Cause, Limit};
use dpfw_protocol::ids::{AttemptId, ConversationId};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use wasmtime::Engine;

/// What runs in a slot.
#[derive(Debug, Default)]
pub(crate) struct Watch {
    current: Mutex<Option<Current>>,
    stopped: Condvar,
}

/// An attempt that holds a slot.
#[derive(Debug)]
struct Current {
    session: Arc<Session>,
    attempt: AttemptId,
    engine: Engine,
    started: Instant,
    deadline: Option<Instant>,
    time: Duration,
    announced: bool,
    /// Whether it is a resident's call: no attempt, and it goes on when its session ends.
    is_call: bool,
    stop: Option<Stop>,
}

/// Why a guest was interrupted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stop {
    /// Its caller's deadline passed.
    Deadline,
    /// It ran longer than the operator allows.
    Time(Duration),
    /// Its caller cancelled it, or is gone.
    Cancelled,
    /// The slave ends now.
    Shutdown,
}

impl From<Stop> for Cause {
    fn from(stop: Stop) -> Self {
        match stop {
            Stop::Deadline => Self::DeadlineExceeded,
            Stop::Time(allowed) => {
                Self::Limit { limit: Limit::Time, allowed: allowed.as_millis() as u64 }
            }
            Stop::Cancelled => Self::Cancelled,
            Stop::Shutdown => Self::Draining,
        }
    }
}

/// What is known of an attempt that has left its slot.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Left {
    /// Why it was stopped, if it was.
    pub(crate) stop: Option<Stop>,
    /// Whether its master was told that it holds a slot.
    pub(crate) announced: bool,
}

/// What the pacer learns of a slot.
pub(crate) enum Seen {
    /// Nothing runs.
    Free,
    /// Something runs.
    Busy,
    /// Something runs, and its master was not told yet.
    Unannounced(Arc<Session>, AttemptId),
}

impl Watch {
    fn lock(&self) -> MutexGuard<'_, Option<Current>> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// An attempt takes the slot.
    pub(crate) fn enter(
        &self,
        session: &Arc<Session>,
        attempt: AttemptId,
        engine: &Engine,
        started: Instant,
        deadline: Option<Instant>,
        time: Duration,
    ) {
        self.take(session, attempt, engine, started, deadline, time, false);
    }

    /// A resident's call takes the slot; its conversation is its number.
    pub(crate) fn enter_call(
        &self,
        session: &Arc<Session>,
        call: ConversationId,
        engine: &Engine,
        started: Instant,
        deadline: Option<Instant>,
        time: Duration,
    ) {
        self.take(session, call.attempt(), engine, started, deadline, time, true);
    }

    #[expect(clippy::too_many_arguments, reason = "a slot's whole state, set at one go")]
    fn take(
        &self,
        session: &Arc<Session>,
        attempt: AttemptId,
        engine: &Engine,
        started: Instant,
        deadline: Option<Instant>,
        time: Duration,
        is_call: bool,
    ) {
        *self.lock() = Some(Current {
            session: Arc::clone(session),
            attempt,
            engine: engine.clone(),
            started,
            deadline,
            time,
            // Nobody is told of a call but with its end.
            announced: is_call,
            is_call,
            stop: None,
        });
    }

    /// The guest goes on in another engine: its sandbox did not fit the pool.
    pub(crate) fn move_to(&self, engine: &Engine) {
        if let Some(current) = &mut *self.lock() {
            current.engine = engine.clone();
        }
    }

    /// The attempt leaves the slot.
    pub(crate) fn leave(&self) -> Left {
        let current = self.lock().take();
        current.map_or(Left::default(), |c| Left { stop: c.stop, announced: c.announced })
    }

    /// Why the attempt that runs now has to stop, if it has to.
    pub(crate) fn stop_of(&self) -> Option<Stop> {
        self.lock().as_ref().and_then(|current| current.stop)
    }

    /// Stops the attempt, if this slot runs it.
    pub(crate) fn cancel(&self, session: &Arc<Session>, attempt: AttemptId) -> bool {
        self.stop_if(Stop::Cancelled, |c| c.attempt == attempt && Arc::ptr_eq(&c.session, session))
    }

    /// Stops the session's attempt that runs here.
    pub(crate) fn cancel_session(&self, session: &Arc<Session>) -> bool {
        self.stop_if(Stop::Cancelled, |c| !c.is_call && Arc::ptr_eq(&c.session, session))
    }

    /// Stops whatever runs here: its time is over.
    pub(crate) fn expire(&self) {
        let mut current = self.lock();
        if let Some(current) = current.as_mut() {
            let stop = Stop::Time(current.time);
            self.stop(current, stop);
        }
    }

    /// Stops whatever runs here.
    pub(crate) fn shut_down(&self) -> bool {
        self.stop_if(Stop::Shutdown, |_| true)
    }

    fn stop_if(&self, stop: Stop, is_meant: impl FnOnce(&Current) -> bool) -> bool {
        let mut current = self.lock();
        let Some(current) = current.as_mut().filter(|c| is_meant(c)) else {
            return false;
        };
        self.stop(current, stop);
        true
    }

    fn stop(&self, current: &mut Current, stop: Stop) {
        if current.stop.is_none() {
            current.stop = Some(stop);
            current.engine.increment_epoch();
            self.stopped.notify_all();
        }
    }

    /// Looks after the slot: stops what has to stop. An attempt is announced once it has
    /// run for `announce`.
    pub(crate) fn look(&self, now: Instant, announce: Duration) -> Seen {
        let mut guard = self.lock();
        let Some(current) = guard.as_mut() else {
            return Seen::Free;
        };
        if current.deadline.is_some_and(|deadline| deadline <= now) {
            self.stop(current, Stop::Deadline);
        } else if now.saturating_duration_since(current.started) >= current.time {
            let time = current.time;
            self.stop(current, Stop::Time(time));
        }
        if current.announced || now.saturating_duration_since(current.started) < announce {
            return Seen::Busy;
        }
        current.announced = true;
        Seen::Unannounced(Arc::clone(&current.session), current.attempt)
    }

    /// Which attempt of the session runs here.
    pub(crate) fn running(&self, session: &Arc<Session>) -> Option<AttemptId> {
        let current = self.lock();
        let is_its = |c: &&Current| !c.is_call && Arc::ptr_eq(&c.session, session);
        Some(current.as_ref().filter(is_its)?.attempt)
    }

    /// What runs here: whose attempt, and for how long.
    pub(crate) fn current(&self) -> Option<(Arc<Session>, AttemptId, Duration)> {
        let current = self.lock();
        let current = current.as_ref()?;
        Some((Arc::clone(&current.session), current.attempt, current.started.elapsed()))
    }

    /// Whether anything runs here.
    pub(crate) fn is_busy(&self) -> bool {
        self.lock().is_some()
    }

    /// Stops the call that runs here, if it is this one: it may sleep.
    pub(crate) fn rouse(&self, call: AttemptId) {
        self.stop_if(Stop::Cancelled, |c| c.is_call && c.attempt == call);
    }

    /// Sleeps on behalf of the guest, until the time is over or the attempt has to stop.
    pub(crate) fn sleep(&self, time: Duration) {
        let until = Instant::now().checked_add(time);
        let mut current = self.lock();
        while current.as_ref().is_some_and(|c| c.stop.is_none()) {
            let left = until.map(|u| u.saturating_duration_since(Instant::now()));
            current = match left {
                Some(Duration::ZERO) => return,
                Some(left) => {
                    let waited = self.stopped.wait_timeout(current, left);
                    waited.unwrap_or_else(PoisonError::into_inner).0
                }
                None => self.stopped.wait(current).unwrap_or_else(PoisonError::into_inner),
            };
        }
    }
}
