//! The kill in the middle of the job.
//!
//! Owns: when it happens and what was running then. Invariant: it happens while every slave
//! runs a count that has begun, as the counts' own progress says; each slave has one slot,
//! so one of these counts is lost whichever slave is killed.

use crate::job::Flight;
use anyhow::Result;
use examples_kit::Slaves;
use std::time::Duration;

/// How often the counts' progress is looked at once it is time: much less than one takes.
pub(crate) const LOOK: Duration = Duration::from_millis(1);

/// What the killed slave was and what was begun when it was killed.
#[derive(Debug)]
pub(crate) struct Killed {
    pub(crate) address: String,
    /// The counts that had begun, one on each slave, with bytes done and in all.
    pub(crate) begun: Vec<(usize, u64, u64)>,
}

/// Kills a slave if every slave is in the midst of a count, with a quarter of its bytes still
/// to do: time enough to kill it before it ends, though what it says of that is a little old.
pub(crate) fn try_kill<'a>(
    flights: impl Iterator<Item = &'a Flight>,
    slaves: &mut Slaves,
) -> Result<Option<Killed>> {
    let begun = flights.filter_map(|flight| {
        let progress = flight.progress();
        let is_midst = progress.done > 0 && progress.done * 4 <= progress.total * 3;
        is_midst.then_some((flight.number, progress.done, progress.total))
    });
    let begun: Vec<_> = begun.collect();
    if begun.len() < slaves.len() {
        return Ok(None);
    }
    Ok(Some(Killed { address: slaves.kill_one()?, begun }))
}
