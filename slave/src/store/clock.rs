//! The store's time: nanoseconds since it was made, of a clock that never goes back.
//!
//! Invariant: nothing of the store reads another clock, so that a test can set it.

#[cfg(test)]
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

/// Nanoseconds in a millisecond.
pub(super) const MILLISECOND: u64 = 1_000_000;

/// See the module's page.
#[derive(Debug)]
pub(super) struct Clock {
    start: Instant,
    #[cfg(test)]
    by_hand: Option<AtomicU64>,
}

impl Clock {
    pub(super) fn new() -> Self {
        Self {
            start: Instant::now(),
            #[cfg(test)]
            by_hand: None,
        }
    }

    /// One that stands still until it is set.
    #[cfg(test)]
    pub(super) fn by_hand() -> Self {
        Self { by_hand: Some(AtomicU64::new(0)), ..Self::new() }
    }

    #[cfg(test)]
    pub(super) fn pass(&self, millis: u64) {
        let by_hand = self.by_hand.as_ref().expect("a clock that is set by hand");
        by_hand.fetch_add(millis * MILLISECOND, Ordering::SeqCst);
    }

    pub(super) fn now(&self) -> u64 {
        #[cfg(test)]
        if let Some(by_hand) = &self.by_hand {
            return by_hand.load(Ordering::SeqCst);
        }
        // It does not fit after 584 years.
        self.start.elapsed().as_nanos() as u64
    }
}
