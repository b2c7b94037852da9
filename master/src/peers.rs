//! Which slaves are linked, whatever way their links came.
//!
//! Owns: the newest link to each slave. Does not: read or write links, or know of tasks.
//! Invariant: a slave has one link, the one whose handshake was begun last; the slave
//! decides by the same number, so both keep the same one.

use crate::slave::Linked;
use dpfw_protocol::hello::Identity;
use dpfw_protocol::limits::HANDSHAKE;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::Notify;

/// See the module's page.
#[derive(Debug, Default)]
pub(crate) struct Peers {
    /// Bounded by the number of links.
    linked: Mutex<HashMap<Identity, Arc<Linked>>>,
    /// Notified when a slave is linked, and when it is not any more.
    changed: Notify,
}

/// What becomes of a link that is new.
#[derive(Debug)]
pub(crate) enum Entered {
    /// It is the only one.
    Alone,
    /// It takes the place of this one.
    Instead(Arc<Linked>),
    /// A newer one is there already.
    TooLate,
}

impl Peers {
    fn lock(&self) -> MutexGuard<'_, HashMap<Identity, Arc<Linked>>> {
        self.linked.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A slave is linked. What follows from it is told by `tell`, in the order in which slaves
    /// are linked.
    pub(crate) fn enter(&self, new: &Arc<Linked>, tell: impl FnOnce(Entered)) {
        let mut linked = self.lock();
        tell(match linked.entry(new.hello.identity()) {
            Entry::Vacant(place) => {
                place.insert(Arc::clone(new));
                Entered::Alone
            }
            Entry::Occupied(place) if place.get().id > new.id => Entered::TooLate,
            Entry::Occupied(mut place) => Entered::Instead(place.insert(Arc::clone(new))),
        });
        drop(linked);
        self.changed.notify_waiters();
    }

    /// A link has ended.
    pub(crate) fn leave(&self, gone: &Linked) {
        let mut linked = self.lock();
        if let Entry::Occupied(place) = linked.entry(gone.hello.identity())
            && place.get().id == gone.id
        {
            place.remove();
        }
        drop(linked);
        self.changed.notify_waiters();
    }

    /// Waits until a slave is not linked. After a link of it was superseded, the newer one is
    /// waited for first, as long as its handshake may still take.
    pub(crate) async fn without(&self, slave: &Identity, was_superseded: bool) {
        if was_superseded {
            // If none comes after all, it is free to be dialled.
            let _ = tokio::time::timeout(HANDSHAKE, self.until(slave, true)).await;
        }
        self.until(slave, false).await;
    }

    async fn until(&self, slave: &Identity, is_linked: bool) {
        loop {
            let mut changed = pin!(self.changed.notified());
            changed.as_mut().enable();
            if self.lock().contains_key(slave) == is_linked {
                return;
            }
            changed.await;
        }
    }
}
