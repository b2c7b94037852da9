//! Putting sandboxes back after tasks that read a large memory.
//!
//! Owns: when a sandbox is thrown away instead, and its pages with it. Does not: put it back. A page
//! that a task has read stays mapped for the next one, and the scan for pages that were written walks
//! all that are mapped: of an image that tasks read here and there, in the end the whole of it, each
//! time. Invariant: what is thrown away costs the next task faults on what it touches, so it is done
//! only where the scan has become slower than that.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Below it a scan is quick, whatever is mapped: it takes some 15 ns a page.
const LARGE: u64 = 8 << 20;

/// What the faults cost of a task that touches little: some tens of pages.
const SLOW: Duration = Duration::from_micros(50);

/// How it was the last time; of one module in one slot.
#[derive(Debug, Default)]
pub(crate) struct Clearing {
    was_slow: AtomicBool,
}

impl Clearing {
    /// Whether a sandbox with so many bytes of memory is to be thrown away.
    pub(crate) fn is_due(&self, memory: u64) -> bool {
        memory >= LARGE && self.was_slow.load(Ordering::Relaxed)
    }

    /// Puts one with so many bytes of memory back, and looks how long that takes if it matters.
    pub(crate) fn time<T>(&self, memory: u64, put_back: impl FnOnce() -> T) -> T {
        if memory < LARGE {
            return put_back();
        }
        let begun = Instant::now();
        let done = put_back();
        self.took(begun.elapsed());
        done
    }

    /// One was thrown away: the next is looked at again.
    pub(crate) fn threw_away(&self) {
        self.was_slow.store(false, Ordering::Relaxed);
    }

    fn took(&self, time: Duration) {
        self.was_slow.store(time > SLOW, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn they_are_thrown_away_once_it_was_slow_and_not_with_small_memories() {
        let clearing = Clearing::default();
        clearing.took(SLOW);
        assert!(!clearing.is_due(LARGE));
        clearing.took(SLOW * 2);
        assert!(clearing.is_due(LARGE) && !clearing.is_due(LARGE - 1));
        // A small one is not looked at.
        assert_eq!(clearing.time(LARGE - 1, || 7), 7);
        assert!(clearing.is_due(LARGE));
        clearing.threw_away();
        assert!(!clearing.is_due(LARGE));
        clearing.took(SLOW * 2);
        clearing.time(LARGE, || ());
        assert!(!clearing.is_due(LARGE), "it was quick this time");
    }
}
