//! Places for sandboxes that may wait.
//!
//! Owns: how they are taken and given back. Does not: hold back who finds none; the queue does.
//! Invariants: no more are taken than the limit, and none by a principal beyond its share; one
//! that is given back is said to the queue.

use crate::core::Core;
use crate::session::Session;
use crate::shares::Taken;
use std::sync::Arc;

/// A place, from before an attempt begins until its end was told.
pub(crate) struct Place {
    core: Arc<Core>,
    taken: Option<Taken>,
}

impl Place {
    /// A place for an attempt of that session, if there is one that its principal may have.
    pub(crate) fn take(core: &Arc<Core>, session: &Session) -> Option<Self> {
        let taken = core.fibers.places.lend(&session.holdings.sandboxes, 1)?;
        Some(Self { core: Arc::clone(core), taken: Some(taken) })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        drop(self.taken.take());
        // Behind it: whoever was asked before has found none, and is asked again.
        self.core.queue.vacated();
    }
}

impl std::fmt::Debug for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Place")
    }
}
