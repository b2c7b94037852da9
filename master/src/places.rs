//! How many links each certificate has at the ports that a master listens on.
//!
//! Owns: the counts. Does not: count links that were proved by no certificate; they are all the same
//! user's. Invariant: one name has [`MOST`] at most, so that it keeps no other out.

use dpfw_protocol::ids::PeerId;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Links of one name at once. A certificate is to be one slave's; there are fleets that share one,
/// and all of the links that there may be are 64 times as many.
pub(crate) const MOST: usize = 256;

/// See the module's page. Cloning shares it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Places(Arc<Mutex<HashMap<PeerId, usize>>>);

/// A link's place, until it is dropped.
#[derive(Debug)]
#[must_use = "dropping it gives it back"]
pub(crate) struct Place {
    places: Places,
    name: PeerId,
}

impl Places {
    fn lock(&self) -> MutexGuard<'_, HashMap<PeerId, usize>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A place for one more of this name, if it may have one.
    pub(crate) fn take(&self, name: &PeerId) -> Option<Place> {
        let mut counts = self.lock();
        let count = counts.entry(name.clone()).or_default();
        let has_room = *count < MOST;
        *count += usize::from(has_room);
        has_room.then(|| Place { places: self.clone(), name: name.clone() })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut counts = self.places.lock();
        if let Some(count) = counts.get_mut(&self.name) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.name);
            }
        }
    }
}
