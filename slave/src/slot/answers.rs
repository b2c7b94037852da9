//! Answers that were queued by a slot, and are not written yet.
//!
//! Invariant: none waits for another longer than a batch may take.

use crate::session::Session;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Results of short tasks wait for one another this long, to leave in one system call.
const BATCH: Duration = Duration::from_micros(100);

/// See the module's page.
#[derive(Debug)]
pub(crate) struct Answers {
    /// Sessions with answers. Bounded by the links there are: whoever adds one soon flushes.
    dirty: Vec<Arc<Session>>,
    since: Instant,
}

impl Answers {
    pub(super) fn new(now: Instant) -> Self {
        Self { dirty: Vec::new(), since: now }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.dirty.is_empty()
    }

    /// An answer was queued for this session. Whether it is to be written at once is for whoever
    /// knows whether more is to come; it is if others have waited for long.
    pub(crate) fn add(&mut self, session: &Arc<Session>, now: Instant, more: bool) {
        if self.dirty.is_empty() {
            self.since = now;
        }
        if !self.dirty.last().is_some_and(|last| Arc::ptr_eq(last, session)) {
            self.dirty.push(Arc::clone(session));
        }
        if !more || now.duration_since(self.since) > BATCH {
            self.flush();
        }
    }

    /// Writes them.
    pub(crate) fn flush(&mut self) {
        self.dirty.drain(..).for_each(|session| session.outbox.flush());
    }
}
