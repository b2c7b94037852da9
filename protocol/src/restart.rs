//! When something that failed is begun again, and when it is given up.
//!
//! Owns: the policy and the count. Does not: read a clock, or begin anything; whoever asks says
//! how long the last one lived. The rules are those of `restart-every` in Racket's distributed
//! places: no two starts are closer than the interval, so many retries at most, and what lived
//! for twice the interval has its count forgotten. Invariant: a pause is never longer than the
//! policy's longest.

use serde::{Deserialize, Serialize};
use std::time::Duration;

/// When something that failed is begun again.
///
/// ```
/// use dpfw_protocol::restart::{Restart, Restarts};
/// use std::time::Duration;
///
/// let second = Duration::from_secs(1);
/// let mut restarts = Restarts::new(Restart::every(second).retries(1));
/// assert_eq!(restarts.ended(Duration::ZERO), Some(second));
/// assert_eq!(restarts.ended(Duration::ZERO), None, "once is enough");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Restart {
    /// Milliseconds between two starts, at least.
    every_ms: u64,
    /// How often, until it lived long enough; without end if it is not said.
    retries: Option<u32>,
    /// Milliseconds of the longest pause, if each is twice as long as the one before.
    backoff_ms: Option<u64>,
}

impl Restart {
    /// Without end, with starts this far apart, and a millisecond at least.
    pub fn every(interval: Duration) -> Self {
        let every_ms = u64::try_from(interval.as_millis()).unwrap_or(u64::MAX);
        Self { every_ms, retries: None, backoff_ms: None }
    }

    /// At most so often in a row; what then fails has failed for good.
    #[must_use]
    pub fn retries(self, retries: u32) -> Self {
        Self { retries: Some(retries), ..self }
    }

    /// Each pause is twice as long as the one before, up to this.
    #[must_use]
    pub fn backoff(self, most: Duration) -> Self {
        Self { backoff_ms: Some(u64::try_from(most.as_millis()).unwrap_or(u64::MAX)), ..self }
    }

    /// Whatever a peer says, nothing is begun again without a pause.
    fn every_ms(self) -> u64 {
        self.every_ms.max(1)
    }

    fn interval(self) -> Duration {
        Duration::from_millis(self.every_ms())
    }

    /// The distance of the next start from the last, after so many in a row.
    fn distance(self, count: u32) -> Duration {
        match self.backoff_ms {
            None => self.interval(),
            Some(most) => {
                let factor = 1u64.checked_shl(count).unwrap_or(u64::MAX);
                let distance = self.every_ms().saturating_mul(factor);
                Duration::from_millis(distance.min(most.max(self.every_ms())))
            }
        }
    }
}

/// How often something was begun again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Restarts {
    policy: Restart,
    count: u32,
}

impl Restarts {
    /// Not yet.
    pub fn new(policy: Restart) -> Self {
        Self { policy, count: 0 }
    }

    /// It has failed after it lived this long: the pause until it is begun again, or nothing if
    /// it is not.
    pub fn ended(&mut self, lived: Duration) -> Option<Duration> {
        if lived >= self.policy.interval().saturating_mul(2) {
            self.count = 0;
        }
        if self.policy.retries.is_some_and(|retries| self.count >= retries) {
            return None;
        }
        let distance = self.policy.distance(self.count);
        self.count = self.count.saturating_add(1);
        Some(distance.saturating_sub(lived))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn r5_starts_are_an_interval_apart() {
        let mut restarts = Restarts::new(Restart::every(10 * SECOND));
        assert_eq!(restarts.ended(Duration::ZERO), Some(10 * SECOND));
        assert_eq!(restarts.ended(4 * SECOND), Some(6 * SECOND));
        assert_eq!(restarts.ended(11 * SECOND), Some(Duration::ZERO));
    }

    #[test]
    fn r5_the_count_is_forgotten_after_twice_the_interval() {
        let mut restarts = Restarts::new(Restart::every(SECOND).retries(2));
        assert!(restarts.ended(SECOND).is_some());
        assert!(restarts.ended(SECOND).is_some());
        assert!(restarts.ended(2 * SECOND).is_some(), "it lived long enough");
        assert!(restarts.ended(SECOND).is_some());
        assert_eq!(restarts.ended(SECOND), None);
    }

    #[test]
    fn r5_no_retry_is_none() {
        assert_eq!(Restarts::new(Restart::every(SECOND).retries(0)).ended(SECOND), None);
    }

    #[test]
    fn pauses_double_up_to_the_longest() {
        let mut restarts = Restarts::new(Restart::every(SECOND).backoff(5 * SECOND));
        let pauses: Vec<_> = (0..5).map(|_| restarts.ended(Duration::ZERO)).collect();
        assert_eq!(pauses, [1, 2, 4, 5, 5].map(|n| Some(n * SECOND)));
    }

    proptest! {
        #[test]
        fn no_more_retries_in_a_row_than_allowed_and_no_pause_too_long(
            every in 0u64..100,
            retries in 0u32..8,
            most in 0u64..1000,
            lives in prop::collection::vec(0u64..400, 0..60),
        ) {
            let policy = Restart::every(Duration::from_millis(every)).retries(retries);
            let policy = policy.backoff(Duration::from_millis(most));
            let mut restarts = Restarts::new(policy);
            let (mut row, every) = (0, every.max(1));
            for lived in lives {
                if lived >= 2 * every {
                    row = 0;
                }
                match restarts.ended(Duration::from_millis(lived)) {
                    Some(pause) => {
                        row += 1;
                        prop_assert!(row <= retries);
                        prop_assert!(pause <= Duration::from_millis(most.max(every)));
                    }
                    None => prop_assert_eq!(row, retries),
                }
            }
        }
    }
}
