//! How those who stop an attempt reach its guest, wherever it is.
//!
//! Owns: whether it has to stop, and which slot polls it. Does not: end it; the attempt does.
//! Invariant: a stop that was said is seen at the next epoch of the guest's engine, and by
//! every function of the host that works for long.

use crate::watch::Watch;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use wasmtime::{Store, UpdateDeadline};

/// See the module's page.
#[derive(Debug, Default)]
pub(crate) struct Control {
    stopped: AtomicBool,
    /// Of the slot that polls it.
    watch: Mutex<Option<Arc<Watch>>>,
    /// Entries that it builds, for which others may wait.
    builds: AtomicUsize,
    /// It waits for time, and for nobody.
    sleeps: AtomicBool,
    /// Lines of its log that were not sent.
    dropped: AtomicU64,
}

impl Control {
    /// Whether the guest has to stop.
    pub(crate) fn must_stop(&self) -> bool {
        let watch = || self.watch.lock().unwrap_or_else(PoisonError::into_inner);
        self.stopped.load(Ordering::Acquire)
            || watch().as_ref().is_some_and(|watch| watch.stop_of().is_some())
    }

    /// The guest has to stop. Whoever says so raises the epoch then.
    pub(crate) fn stop(&self) {
        self.stopped.store(true, Ordering::Release);
    }

    /// The slot that has the guest, if one has.
    pub(crate) fn watch(&self) -> Option<Arc<Watch>> {
        self.watch.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What was to stop has: whatever the guest does next may run.
    pub(crate) fn reset(&self) {
        self.stopped.store(false, Ordering::Release);
    }

    pub(crate) fn set_watch(&self, watch: Option<&Arc<Watch>>) {
        *self.watch.lock().unwrap_or_else(PoisonError::into_inner) = watch.cloned();
    }

    /// It builds one entry more.
    pub(crate) fn begin_build(&self) {
        self.builds.fetch_add(1, Ordering::AcqRel);
    }

    /// It builds one entry less.
    pub(crate) fn end_build(&self) {
        self.builds.fetch_sub(1, Ordering::AcqRel);
    }

    /// Whether it builds an entry.
    pub(crate) fn is_building(&self) -> bool {
        self.builds.load(Ordering::Acquire) > 0
    }

    /// It sleeps for so long.
    pub(crate) async fn sleep(&self, time: Duration) {
        // One that is dropped in its sleep is over.
        self.sleeps.store(true, Ordering::Release);
        tokio::time::sleep(time).await;
        self.sleeps.store(false, Ordering::Release);
    }

    /// Whether it sleeps.
    pub(super) fn is_sleeping(&self) -> bool {
        self.sleeps.load(Ordering::Acquire)
    }

    /// So many lines of its log were not sent, those of its earlier sandboxes included.
    pub(crate) fn set_dropped(&self, lines: u64) {
        self.dropped.store(lines, Ordering::Release);
    }

    pub(crate) fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Acquire)
    }

    /// Has the guest of a sandbox stop at the next epoch, if it was this one that was meant.
    /// Whether it may start at all: a stop that came before has raised the epoch already.
    pub(crate) fn guard<T: 'static>(self: &Arc<Self>, store: &mut Store<T>) -> bool {
        store.set_epoch_deadline(1);
        let control = Arc::clone(self);
        store.epoch_deadline_callback(move |_| match control.must_stop() {
            true => Err(wasmtime::Trap::Interrupt.into()),
            // Another one was meant.
            false => Ok(UpdateDeadline::Continue(1)),
        });
        !self.must_stop()
    }
}
