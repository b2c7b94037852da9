//! Who waits for an entry to change.
//!
//! Invariants: a writer waits for nobody, and pays nothing where nobody waits; the keys are
//! those that somebody waits for, as many as sandboxes that wait at most.

use dpfw_protocol::store::FullKey;
use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering, fence};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::Notify;
use tokio::sync::futures::Notified;

/// See the module's page.
#[derive(Debug, Default)]
pub(super) struct Changes {
    waited_for: Mutex<HashMap<FullKey, Arc<Notify>>>,
    /// Keys in there.
    count: AtomicUsize,
}

/// The changes of one entry, for as long as it lives.
#[derive(Debug)]
pub(crate) struct ChangesOf<'a> {
    changes: &'a Changes,
    key: FullKey,
    notify: Arc<Notify>,
}

impl Changes {
    fn lock(&self) -> MutexGuard<'_, HashMap<FullKey, Arc<Notify>>> {
        self.waited_for.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn of(&self, key: &FullKey) -> ChangesOf<'_> {
        let mut waited_for = self.lock();
        let notify = Arc::clone(waited_for.entry(key.clone()).or_default());
        self.count.store(waited_for.len(), Ordering::Release);
        drop(waited_for);
        // Who looks at the entry from here on sees a change, or is seen by whoever makes it.
        fence(Ordering::SeqCst);
        ChangesOf { changes: self, key: key.clone(), notify }
    }

    /// The entry has changed.
    pub(super) fn tell(&self, key: &FullKey) {
        fence(Ordering::SeqCst);
        if self.count.load(Ordering::Acquire) == 0 {
            return;
        }
        let notify = self.lock().get(key).cloned();
        if let Some(notify) = notify {
            notify.notify_waiters();
        }
    }
}

impl ChangesOf<'_> {
    /// The next one.
    pub(crate) fn next(&self) -> Notified<'_> {
        self.notify.notified()
    }
}

impl Drop for ChangesOf<'_> {
    fn drop(&mut self) {
        let mut waited_for = self.changes.lock();
        // The map's and this one's: those that come take theirs under the lock.
        if Arc::strong_count(&self.notify) <= 2 {
            waited_for.remove(&self.key);
        }
        self.changes.count.store(waited_for.len(), Ordering::Release);
    }
}
