//! Whom a slave works for: principals, and what each has of it.
//!
//! Owns: one [`Holdings`] for each principal that has a session or a resident, so that all that it
//! has is counted in one place, however many links it has. Does not: say how much a principal may
//! have; `shares` does, and the slave's limits. Invariant: two sessions are of one principal if and
//! only if their holdings are the same; so that is asked by a comparison of two addresses.

use crate::shares::Part;
use dpfw_protocol::store::Principal;
use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

/// What one principal has of a slave, all its sessions together.
#[derive(Debug, Default)]
pub(crate) struct Holdings {
    /// Attempts, calls and requests that are not over.
    pub(crate) attempts: AtomicUsize,
    /// Bytes of arguments, and of payloads that arrive.
    pub(crate) bytes: Arc<Part>,
    /// Slots that it is in. The queue counts them.
    pub(crate) slots: AtomicUsize,
    /// Sandboxes that may wait.
    pub(crate) sandboxes: Arc<Part>,
    /// Residents, those that are being spawned among them.
    pub(crate) residents: Arc<Part>,
    /// Bytes that wait to be made into modules and images, or are.
    pub(crate) making: Arc<Part>,
    /// Bytes of the tasks and methods that it has declared.
    pub(crate) declared: Arc<Part>,
    /// Bytes of images that it fetches, until they are sent.
    pub(crate) fetched: Arc<Part>,
    /// Watches of the store.
    pub(crate) watches: Arc<Part>,
    /// Its sessions.
    links: AtomicUsize,
}

impl Holdings {
    /// How many sessions it has.
    pub(crate) fn links(&self) -> usize {
        self.links.load(Ordering::Acquire)
    }

    /// A session of it begins.
    pub(crate) fn link(&self) {
        self.links.fetch_add(1, Ordering::AcqRel);
    }

    /// A session of it has ended.
    pub(crate) fn unlink(&self) {
        self.links.fetch_sub(1, Ordering::AcqRel);
    }
}

/// All principals that have something of a slave.
#[derive(Debug, Default)]
pub(crate) struct Principals(Mutex<HashMap<Principal, Weak<Holdings>>>);

impl Principals {
    /// What a principal has: nothing yet, if it is new.
    pub(crate) fn of(&self, principal: &Principal) -> Arc<Holdings> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(there) = all.get(principal).and_then(Weak::upgrade) {
            return there;
        }
        // Those that are gone go with the next that comes.
        all.retain(|_, holdings| holdings.strong_count() > 0);
        let new = Arc::<Holdings>::default();
        all.insert(principal.clone(), Arc::downgrade(&new));
        new
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use dpfw_protocol::ids::PeerId;

    #[test]
    fn a_principal_is_one_however_often_it_comes_and_is_forgotten_when_it_is_gone() {
        let principal = |name: &str| Principal(PeerId::new(name).expect("a name"));
        let all = Principals::default();
        let (one, again) = (all.of(&principal("one")), all.of(&principal("one")));
        assert!(Arc::ptr_eq(&one, &again));
        let other = all.of(&principal("other"));
        assert!(!Arc::ptr_eq(&one, &other));
        one.link();
        drop((one, again));
        assert_eq!(all.of(&principal("one")).links(), 0, "it begins anew");
        all.of(&principal("third"));
        all.of(&principal("fourth"));
        assert_eq!(all.0.lock().expect("a table").len(), 2, "only those that are there");
    }
}
