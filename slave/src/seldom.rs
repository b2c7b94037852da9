//! What is told now and then, and not each time.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// When something was told last, in milliseconds of the slave's life; 0 if it was not.
#[derive(Debug, Default)]
pub(crate) struct Seldom(AtomicU64);

impl Seldom {
    /// Whether it is to be told at this time of the slave's life, as it is this often at most. Then
    /// it counts as told.
    pub(crate) fn is_due(&self, now: Duration, often: Duration) -> bool {
        let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        let (now, last) = (millis(now).max(1), self.0.load(Ordering::Relaxed));
        let is_due = last == 0 || now.saturating_sub(last) >= millis(often);
        if is_due {
            self.0.store(now, Ordering::Relaxed);
        }
        is_due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_due_at_first_and_then_no_more_often_than_that() {
        let (seldom, often) = (Seldom::default(), Duration::from_millis(10));
        let due = [0, 5, 9, 11, 12, 21, 40].map(Duration::from_millis);
        let due = due.map(|now| seldom.is_due(now, often));
        assert_eq!(due, [true, false, false, true, false, true, true]);
    }
}
