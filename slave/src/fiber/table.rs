//! The attempts of a slave that may wait, and are under way.
//!
//! Owns: which there are, by session and attempt. Invariant: there are no more than the
//! limit; one is here from its start until its end was told.

use super::engine::FiberEngines;
use super::{Fiber, Stopped};
use crate::core::Core;
use crate::job::{Job, Target};
use crate::session::{Session, tell_of};
use dpfw_protocol::error::Cause;
use dpfw_protocol::ids::AttemptId;
use dpfw_protocol::message::Waiting;
use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// See the module's page.
#[derive(Debug, Default)]
pub(crate) struct Fibers {
    engines: FiberEngines,
    alive: Mutex<HashMap<Key, Arc<Fiber>>>,
    /// Those that are alive, or about to be.
    count: AtomicUsize,
}

/// The last part of the places is for sessions that have less than such a part of all.
const SHARE: usize = 4;

/// A session is known by where it is: it stays there while one of its attempts is here.
type Key = (usize, AttemptId);

fn key(session: &Arc<Session>, attempt: AttemptId) -> Key {
    (Arc::as_ptr(session).addr(), attempt)
}

impl Fibers {
    fn lock(&self) -> MutexGuard<'_, HashMap<Key, Arc<Fiber>>> {
        self.alive.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes a future of an attempt that may wait.
    ///
    /// # Errors
    /// The job and the [`Cause`] that it fails with: [`Cause::Busy`] if there are too many.
    pub(crate) fn start(
        &self,
        core: &Arc<Core>,
        job: Job,
        target: &Target,
        started: Instant,
    ) -> Result<Arc<Fiber>, Box<(Job, Cause)>> {
        let ready = match self.engines.prepare(&core.engines, &target.module) {
            Ok(ready) => ready,
            Err(cause) => return Err(Box::new((job, cause))),
        };
        let most = core.limits.sandboxes;
        let count = self.count.fetch_add(1, Ordering::AcqRel);
        let is_full = count >= most - most / SHARE
            && (count >= most || self.of(&job.session) >= most / SHARE);
        if is_full {
            self.count.fetch_sub(1, Ordering::AcqRel);
            let what = format!("{count} sandboxes that may wait are in use at the slave");
            return Err(Box::new((job, Cause::Busy { what })));
        }
        // Not under the lock, which the links want: this takes time.
        let fiber = match Fiber::new(core, job, target, ready, started) {
            Ok(fiber) => Arc::new(fiber),
            Err(refused) => {
                self.count.fetch_sub(1, Ordering::AcqRel);
                return Err(refused);
            }
        };
        let key = key(&fiber.job.session, fiber.job.attempt);
        self.lock().insert(key, Arc::clone(&fiber));
        Ok(fiber)
    }

    /// How many of a session there are.
    fn of(&self, session: &Arc<Session>) -> usize {
        self.attempts(session).len()
    }

    /// The session's attempts that are under way.
    pub(crate) fn attempts(&self, session: &Arc<Session>) -> Vec<AttemptId> {
        let session = Arc::as_ptr(session).addr();
        let alive = self.lock();
        let its = alive.keys().filter(|(of, _)| *of == session);
        its.map(|(_, attempt)| *attempt).collect()
    }

    pub(super) fn remove(&self, fiber: &Fiber) {
        if self.lock().remove(&key(&fiber.job.session, fiber.job.attempt)).is_some() {
            self.count.fetch_sub(1, Ordering::AcqRel);
        }
    }

    /// Forgets all: the slave has ended.
    pub(crate) fn clear(&self) {
        let all = std::mem::take(&mut *self.lock());
        drop(all);
    }

    /// The attempt, if it is one of these.
    pub(crate) fn find(&self, session: &Arc<Session>, attempt: AttemptId) -> Option<Arc<Fiber>> {
        self.lock().get(&key(session, attempt)).cloned()
    }

    /// Stops all; how many of them waited.
    pub(crate) fn stop(&self, cause: &Cause) -> usize {
        let all: Vec<_> = self.lock().values().cloned().collect();
        let stopped = all.iter().map(|fiber| fiber.stop(cause.clone()));
        stopped.filter(|stopped| *stopped == Stopped::Here).count()
    }

    /// Stops those of a session that is over.
    pub(crate) fn abandon(&self, session: &Arc<Session>) {
        let is_its = |fiber: &&Arc<Fiber>| Arc::ptr_eq(session, &fiber.job.session);
        let its: Vec<_> = self.lock().values().filter(is_its).cloned().collect();
        its.into_iter().for_each(|fiber| fiber.stop_aside(Cause::Cancelled));
    }

    /// How many are under way, and how many of them wait.
    pub(crate) fn counts(&self) -> (usize, usize) {
        let alive: Vec<_> = self.lock().values().cloned().collect();
        (alive.len(), alive.iter().filter(|fiber| fiber.is_waiting()).count())
    }

    /// Whether none is under way.
    pub(crate) fn is_empty(&self) -> bool {
        self.lock().is_empty()
    }

    /// Tells masters of those that have waited for `patience`. Whether others may have to be
    /// told at the next tick.
    pub(crate) fn tick(&self, now: Instant, patience: Duration) -> bool {
        let alive: Vec<_> = self.lock().values().cloned().collect();
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
