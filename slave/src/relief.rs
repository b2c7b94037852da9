//! Attempts that wait for a sandbox, where waiting cannot help.
//!
//! Owns: for how long nothing has gone on. Does not: hold attempts back; the queue does.
//!
//! A sandbox that may wait is given back when its attempt ends, and an attempt that has one goes on
//! to its end unless it waits for somebody. If all of them do, and for nobody who has a sandbox or
//! needs none, they may be waiting for one of those that are held back. Invariant: attempts are
//! held back for no longer than [`PATIENCE`] and two heartbeats while nothing goes on; then they
//! fail as [`Cause::Busy`], and their masters try them elsewhere, or here again.

use crate::core::Core;
use crate::session::refuse;
use dpfw_protocol::error::Cause;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How long nothing goes on before those that wait for a sandbox are refused. A second: what one
/// master or the other is about to send is there by then.
const PATIENCE: Duration = Duration::from_secs(1);

/// How many turns attempts that may wait had had when nothing went on, and since when.
#[derive(Debug, Default)]
pub(crate) struct Relief(Mutex<Option<(u64, Instant)>>);

impl Relief {
    /// Nothing goes on now; whether it has not for long enough.
    fn is_due(&self, turns: u64, now: Instant) -> bool {
        let mut still = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match *still {
            Some((then, since)) if then == turns => {
                now.saturating_duration_since(since) >= PATIENCE
            }
            _ => {
                *still = Some((turns, now));
                false
            }
        }
    }

    /// Something goes on, or nobody waits.
    fn clear(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

impl Core {
    /// Refuses the attempts that wait for a sandbox if none will be given back. Called at each
    /// heartbeat.
    pub(crate) fn relieve(&self, now: Instant) {
        let turns = self.fibers.turns();
        if !self.queue.holds_back() || self.fibers.any_goes_on() {
            return self.relief.clear();
        }
        if !self.relief.is_due(turns, now) {
            return;
        }
        self.relief.clear();
        let most = self.limits.sandboxes;
        let what =
            format!("each of the {most} sandboxes that may wait is in use, and waits itself");
        for job in self.queue.take_held() {
            refuse(&job, Cause::Busy { what: what.clone() });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn f60_what_goes_on_within_the_time_begins_it_anew() {
        let (relief, start) = (Relief::default(), Instant::now());
        let at = |millis| start + Duration::from_millis(millis);
        assert!(!relief.is_due(1, at(0)) && !relief.is_due(1, at(999)));
        assert!(relief.is_due(1, at(1000)));
        assert!(!relief.is_due(2, at(2000)) && !relief.is_due(2, at(2999)));
        relief.clear();
        assert!(!relief.is_due(2, at(3500)) && relief.is_due(2, at(4500)));
    }
}
