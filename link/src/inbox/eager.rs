//! Looking again before sleeping, while a payload comes.

use std::time::{Duration, Instant};

/// What of a payload is still to come on a quick link is there within a few microseconds. A master
/// that sleeps until then is woken by its sender, hundreds of times for 64 MiB, and more often than
/// not on the sender's own processor. So it looks again and again for a little while, as long as
/// that is to the point. (A slave's thread has other links, and tasks.)
#[derive(Default)]
pub(super) struct Eager {
    /// Since when it looks, before it sleeps.
    since: Option<Instant>,
    /// How often it is to sleep at once, after it has looked in vain.
    passes: u32,
}

impl Eager {
    /// The longest that it looks before it sleeps: some times what being woken takes.
    const WHILE: Duration = Duration::from_micros(100);

    /// Of a slow link each wait but one of so many is a sleep.
    const PASSES: u32 = 16;

    /// Nothing is there. Whether to look again at once, when others have had their turn.
    pub(super) fn looks_again(&mut self) -> bool {
        if self.passes > 0 {
            return false;
        }
        // The processor's clock, not the runtime's: in tests that may stand still until all sleep.
        let now = Instant::now();
        let looks = now.duration_since(*self.since.get_or_insert(now)) < Self::WHILE;
        if !looks {
            self.passes = Self::PASSES;
        }
        looks
    }

    /// Something is there.
    pub(super) fn found(&mut self) {
        if self.since.take().is_none() {
            self.passes = self.passes.saturating_sub(1);
        }
    }
}
