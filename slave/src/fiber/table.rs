//! The attempts of a slave that may wait, and are under way.
//!
//! Owns: which there are, by session and attempt. Invariant: there are no more than the
//! limit; one is here from its start until its end was told.

use super::engine::FiberEngines;
use super::place::Place;
use super::{Fiber, Stopped};
use crate::core::Core;
use crate::job::{Job, Target};
use crate::limits::Limits;
use crate::session::{Session, tell_of};
use crate::shares::Supply;
use dpfw_protocol::error::Cause;
use dpfw_protocol::ids::AttemptId;
use dpfw_protocol::message::Waiting;
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// See the module's page.
#[derive(Debug)]
pub(crate) struct Fibers {
    engines: FiberEngines,
    alive: Mutex<HashMap<Key, (Arc<Fiber>, Place)>>,
    /// Of those that are alive, or about to be.
    pub(super) places: Arc<Supply>,
    /// Turns that they had in slots.
    turns: AtomicU64,
}

/// A session is known by where it is: it stays there while one of its attempts is here.
type Key = (usize, AttemptId);

fn key(session: &Arc<Session>, attempt: AttemptId) -> Key {
    (Arc::as_ptr(session).addr(), attempt)
}

impl Fibers {
    pub(crate) fn new(limits: &Limits) -> Self {
        Self {
            engines: FiberEngines::default(),
            alive: Mutex::default(),
            places: Supply::new(limits.sandboxes as u64),
            turns: AtomicU64::new(0),
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Key, (Arc<Fiber>, Place)>> {
        self.alive.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes a future of an attempt that may wait, and has a place.
    ///
    /// # Errors
    /// The job and the [`Cause`] that it fails with.
    pub(crate) fn start(
        &self,
        core: &Arc<Core>,
        job: Job,
        target: &Target,
        place: Place,
        started: Instant,
    ) -> Result<Arc<Fiber>, Box<(Job, Cause)>> {
        let ready = match self.engines.prepare(&core.engines, target) {
            Ok(ready) => ready,
            Err(cause) => return Err(Box::new((job, cause))),
        };
        // Not under the lock, which the links want: this takes time.
        let fiber = Arc::new(Fiber::new(core, job, target, ready, started)?);
        let key = key(&fiber.job.session, fiber.job.attempt);
        self.lock().insert(key, (Arc::clone(&fiber), place));
        Ok(fiber)
    }

    /// One of them has a turn in a slot.
    pub(super) fn count_turn(&self) {
        self.turns.fetch_add(1, Ordering::AcqRel);
    }

    /// How many turns they have had.
    pub(crate) fn turns(&self) -> u64 {
        self.turns.load(Ordering::Acquire)
    }

    /// Whether any of them comes nearer to its end, or will by itself.
    pub(crate) fn any_goes_on(&self) -> bool {
        self.all().iter().any(|fiber| fiber.goes_on())
    }

    fn all(&self) -> Vec<Arc<Fiber>> {
        self.lock().values().map(|(fiber, _)| Arc::clone(fiber)).collect()
    }

    /// The session's attempts that are under way.
    pub(crate) fn attempts(&self, session: &Arc<Session>) -> Vec<AttemptId> {
        let session = Arc::as_ptr(session).addr();
        let alive = self.lock();
        let its = alive.keys().filter(|(of, _)| *of == session);
        its.map(|(_, attempt)| *attempt).collect()
    }

    pub(super) fn remove(&self, fiber: &Fiber) {
        let removed = self.lock().remove(&key(&fiber.job.session, fiber.job.attempt));
        // Its place is given back when nothing is locked: the queue is told.
        drop(removed);
    }

    /// Forgets all: the slave has ended.
    pub(crate) fn clear(&self) {
        let all = std::mem::take(&mut *self.lock());
        drop(all);
    }

    /// The attempt, if it is one of these.
    pub(crate) fn find(&self, session: &Arc<Session>, attempt: AttemptId) -> Option<Arc<Fiber>> {
        self.lock().get(&key(session, attempt)).map(|(fiber, _)| Arc::clone(fiber))
    }

    /// Stops all; how many of them waited.
    pub(crate) fn stop(&self, cause: &Cause) -> usize {
        let all = self.all();
        let stopped = all.iter().map(|fiber| fiber.stop(cause.clone()));
        stopped.filter(|stopped| *stopped == Stopped::Here).count()
    }

    /// Stops those of a session that is over.
    pub(crate) fn abandon(&self, session: &Arc<Session>) {
        let is_its = |fiber: &Arc<Fiber>| Arc::ptr_eq(session, &fiber.job.session);
        let its: Vec<_> = self.all().into_iter().filter(is_its).collect();
        its.into_iter().for_each(|fiber| fiber.stop_aside(Cause::Cancelled));
    }

    /// How many are under way, and how many of them wait.
    pub(crate) fn counts(&self) -> (usize, usize) {
        let alive = self.all();
        (alive.len(), alive.iter().filter(|fiber| fiber.is_waiting()).count())
    }

    /// Whether none is under way.
    pub(crate) fn is_empty(&self) -> bool {
        self.lock().is_empty()
    }

    /// Tells masters of those that have waited for `patience`. Whether others may have to be
    /// told at the next tick.
    pub(crate) fn tick(&self, now: Instant, patience: Duration) -> bool {
        let alive = self.all();
        let mut more = false;
        let waiting = alive.iter().filter(|fiber| {
            let (is_news, will_be) = fiber.look(now, patience);
            more |= will_be;
            is_news
        });
        let waiting = waiting.map(|fiber| (&fiber.job.session, fiber.job.attempt));
        tell_of(waiting, |attempts| Waiting { attempts });
        more
    }
}
