//! Two processors for two processes.
//!
//! Where the scheduler puts the ends of a connection decides what a round trip costs, by a
//! factor of ten: within one processor nobody has to be woken. So that a figure and its
//! limit have the same luck, round trips are measured between two processors.

use anyhow::Result;
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// While it lives, this thread keeps to one processor.
pub(crate) struct Apart {
    all: CpuSet,
}

impl Apart {
    /// Starts other processes on one processor, and stays on another. Where there is only
    /// one, everything stays as it is.
    pub(crate) fn start<T>(start: impl FnOnce() -> Result<T>) -> Result<(T, Self)> {
        let this = Self { all: sched_getaffinity(None)? };
        let mut allowed = (0..CpuSet::MAX_CPU).filter(|cpu| this.all.is_set(*cpu));
        let (Some(ours), Some(theirs)) = (allowed.next(), allowed.next()) else {
            return Ok((start()?, this));
        };
        // A process starts where the thread is that starts it.
        sched_setaffinity(None, &only(theirs))?;
        let started = start()?;
        sched_setaffinity(None, &only(ours))?;
        Ok((started, this))
    }
}

fn only(cpu: usize) -> CpuSet {
    let mut set = CpuSet::new();
    set.set(cpu);
    set
}

impl Drop for Apart {
    fn drop(&mut self) {
        // It was allowed before.
        let _ = sched_setaffinity(None, &self.all);
    }
}
