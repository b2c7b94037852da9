//! Places for sandboxes that may wait.
//!
//! Owns: how many are taken. Does not: hold back who finds none; the queue does. Invariants: no
//! more are taken than the limit; one that is given back is said to the queue.

use super::Fibers;
use crate::core::Core;
use crate::session::Session;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// The last part of the places is for sessions that have less than such a part of all.
const SHARE: usize = 4;

/// A place, from before an attempt begins until its end was told.
pub(crate) struct Place(Arc<Core>);

impl Place {
    /// A place for an attempt of that session, if there is one.
    pub(crate) fn take(core: &Arc<Core>, session: &Arc<Session>) -> Option<Self> {
        let (fibers, most) = (&core.fibers, core.limits.sandboxes);
        let more = |taken: usize| may_take(fibers, session, taken, most).then_some(taken + 1);
        fibers.taken.fetch_update(Ordering::AcqRel, Ordering::Acquire, more).ok()?;
        Some(Self(Arc::clone(core)))
    }
}

fn may_take(fibers: &Fibers, session: &Arc<Session>, taken: usize, most: usize) -> bool {
    let share = most / SHARE;
    taken < most - share || (taken < most && fibers.of(session) < share)
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fibers.taken.fetch_sub(1, Ordering::AcqRel);
        // Behind it: whoever was asked before has found none, and is asked again.
        self.0.queue.vacated();
    }
}

impl std::fmt::Debug for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Place")
    }
}
