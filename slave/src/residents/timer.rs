//! When residents are to be looked at that nobody calls: begun again, or saved.
//!
//! Owns: one time for each, at most. Invariant: a future on the links' runtime sleeps until the
//! first of them, however many there are; no resident has a thread or a task of its own.

use super::resident::Resident;
use crate::core::Core;
use dpfw_protocol::ids::ResidentId;
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Instant;
use tokio::sync::Notify;

/// See the module's page.
#[derive(Debug, Default)]
pub(super) struct Timer {
    due: Mutex<Due>,
    changed: Arc<Notify>,
}

#[derive(Debug, Default)]
struct Due {
    /// Bounded by the residents there are.
    times: BTreeMap<(Instant, ResidentId), Weak<Resident>>,
    of: HashMap<ResidentId, Instant>,
    is_running: bool,
}

impl Due {
    fn remove(&mut self, resident: ResidentId) {
        if let Some(at) = self.of.remove(&resident) {
            self.times.remove(&(at, resident));
        }
    }

    /// Those whose time has come, and the time of the next.
    fn take(&mut self, now: Instant) -> (Vec<Arc<Resident>>, Option<Instant>) {
        let mut taken = Vec::new();
        while let Some(first) = self.times.first_entry() {
            let (at, id) = *first.key();
            if at > now {
                return (taken, Some(at));
            }
            taken.extend(first.remove().upgrade());
            self.of.remove(&id);
        }
        (taken, None)
    }
}

impl Timer {
    fn lock(&self) -> MutexGuard<'_, Due> {
        self.due.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A resident is to be looked at then, and not when it was to be before.
    pub(super) fn set(&self, resident: &Arc<Resident>, at: Instant) {
        let mut due = self.lock();
        due.remove(resident.id);
        due.of.insert(resident.id, at);
        due.times.insert((at, resident.id), Arc::downgrade(resident));
        drop(due);
        self.changed.notify_one();
    }

    /// A resident is not to be looked at any more.
    pub(super) fn forget(&self, resident: ResidentId) {
        self.lock().remove(resident);
    }

    /// Runs the timer on the links' runtime, unless it runs.
    pub(super) fn run(&self, core: &Arc<Core>) {
        if std::mem::replace(&mut self.lock().is_running, true) {
            return;
        }
        let (weak, changed) = (Arc::downgrade(core), Arc::clone(&self.changed));
        // It ends with the runtime of the links, which is the slave's.
        drop(core.helm.handle().spawn(async move {
            while let Some(core) = weak.upgrade() {
                let (due, next) = core.residents.timer().lock().take(Instant::now());
                due.into_iter().for_each(|resident| resident.due(&core));
                drop(core);
                match next {
                    Some(next) => {
                        let sleep = tokio::time::sleep_until(next.into());
                        // Whatever comes first: another may be the next by now.
                        tokio::select! { () = sleep => (), () = changed.notified() => () }
                    }
                    None => changed.notified().await,
                }
            }
        }));
        core.queue.rouse();
    }
}
