//! Numbers from a seed: splitmix64.

use std::ops::Range;
use std::time::Duration;

#[derive(Clone, Debug)]
pub(super) struct Random(u64);

impl Random {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(super) fn within(&mut self, range: Range<u64>) -> u64 {
        range.start + self.next() % (range.end - range.start).max(1)
    }

    /// Another one, which is independent of what is taken of this one later.
    pub(super) fn fork(&mut self) -> Self {
        Self::new(self.next())
    }

    /// A time between two events that come at random, so far apart in the mean.
    pub(super) fn pause(&mut self, mean: Duration) -> Duration {
        let share = (self.within(0..1 << 20) as f64 + 1.0) / (1 << 20) as f64;
        mean.mul_f64(-share.ln())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_have_their_mean() {
        let mut random = Random::new(7);
        let mean = Duration::from_secs(2);
        let total: Duration = (0..10_000).map(|_| random.pause(mean)).sum();
        assert!((1.9..2.1).contains(&(total.as_secs_f64() / 10_000.0)), "{total:?}");
    }
}
