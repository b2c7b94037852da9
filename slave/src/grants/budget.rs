//! Descriptors that guests may have of the process's.
//!
//! Invariant: guests together have no more than half of what the process may; links, modules and
//! the store have the rest.

use rustix::process::{Resource, getrlimit};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Files that a sandbox may have open, if there is room.
const EACH: u64 = 64;

/// What there is for all guests of a slave.
#[derive(Debug)]
pub(crate) struct Budget {
    used: AtomicU64,
    most: u64,
}

/// What one sandbox has of it, until it is dropped.
#[derive(Debug)]
pub(crate) struct Files {
    of: Arc<Budget>,
    most: u64,
}

impl Default for Budget {
    fn default() -> Self {
        let most = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX) / 2;
        Self { used: AtomicU64::new(0), most }
    }
}

impl Budget {
    /// What a new sandbox may have: none if others have everything.
    pub(crate) fn lend(self: &Arc<Self>) -> Files {
        let fits = |used: u64| (self.most.saturating_sub(used) >= EACH).then(|| used + EACH);
        let is_lent = self.used.try_update(Ordering::AcqRel, Ordering::Acquire, fits).is_ok();
        Files { of: Arc::clone(self), most: if is_lent { EACH } else { 0 } }
    }
}

impl Files {
    /// How many it may have open, beside what it has from its beginning.
    pub(crate) fn most(&self) -> usize {
        self.most as usize
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        self.of.used.fetch_sub(self.most, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_of_the_processs_descriptors_are_for_guests_and_come_back() {
        let budget = Arc::new(Budget { used: AtomicU64::new(0), most: 2 * EACH + 1 });
        let (one, two) = (budget.lend(), budget.lend());
        assert_eq!((one.most(), two.most(), budget.lend().most()), (64, 64, 0));
        drop(one);
        assert_eq!(budget.lend().most(), 64);
    }
}
