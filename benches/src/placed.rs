//! Which processors the ends of a connection have.
//!
//! Where the scheduler puts them decides what a round trip costs, by a factor of ten: within one
//! processor nobody has to be woken, and between two a processor that sleeps takes its time. So
//! that a figure and its limit have the same luck, both are measured in the same setting.

use anyhow::Result;
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// Where both ends are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Placement {
    /// Where the scheduler puts them.
    Anywhere,
    /// On the same processor.
    Together,
    /// On two processors.
    Apart,
}

/// While it lives, this thread keeps to where it was put.
pub(crate) struct Placed {
    all: CpuSet,
}

impl Placed {
    /// Starts other processes in their place, and stays in this one's. Where there is only one
    /// processor everything is on that one.
    pub(crate) fn start<T>(
        placement: Placement,
        start: impl FnOnce() -> Result<T>,
    ) -> Result<(T, Self)> {
        let this = Self { all: sched_getaffinity(None)? };
        let mut allowed = (0..CpuSet::MAX_CPU).filter(|cpu| this.all.is_set(*cpu));
        let (ours, theirs) = match (placement, allowed.next(), allowed.next()) {
            (Placement::Anywhere, ..) | (_, None, _) => return Ok((start()?, this)),
            (Placement::Together, Some(cpu), _) | (Placement::Apart, Some(cpu), None) => (cpu, cpu),
            (Placement::Apart, Some(ours), Some(theirs)) => (ours, theirs),
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

impl Drop for Placed {
    fn drop(&mut self) {
        // It was allowed before.
        let _ = sched_setaffinity(None, &self.all);
    }
}
