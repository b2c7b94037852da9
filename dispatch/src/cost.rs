//! What runs have cost, to guess what the next ones will.
//!
//! Owns: a weighted mean for each kind of task, over all slaves; the type of the means
//! that each slave keeps for itself. Does not: decide. All times are per call.

use crate::core::Core;
use crate::event::KindId;
use crate::time::nanos;
use std::time::Duration;

/// An exponentially weighted mean, in nanoseconds. Each new run weighs an eighth: a change
/// shows after a handful of runs, one outlier does not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Mean(u64);

impl Mean {
    const WEIGHT: u64 = 8;

    pub(crate) fn first(sample: u64) -> Self {
        Self(sample)
    }

    pub(crate) fn learn(&mut self, sample: u64) {
        self.0 = self.0 - self.0 / Self::WEIGHT + sample / Self::WEIGHT;
    }

    pub(crate) fn nanos(self) -> u64 {
        self.0
    }
}

/// The run of one call of a batch.
pub(crate) fn per_call(run: Duration, calls: u32) -> u64 {
    nanos(run) / u64::from(calls.max(1))
}

/// Means over all slaves, by kind. Kinds are dense, so this is as long as there are kinds.
#[derive(Debug, Default)]
pub(crate) struct Costs {
    kinds: Vec<Option<Mean>>,
}

/// Kinds beyond this share no mean over slaves, so that a wild number costs no memory; it
/// is the number of tasks that a session may bind, many times over.
const MAX_KINDS: usize = 1 << 20;

impl Costs {
    pub(crate) fn learn(&mut self, kind: KindId, sample: u64) {
        let index = kind.0 as usize;
        if index >= MAX_KINDS {
            return;
        }
        if index >= self.kinds.len() {
            self.kinds.resize(index + 1, None);
        }
        match &mut self.kinds[index] {
            Some(mean) => mean.learn(sample),
            none => *none = Some(Mean::first(sample)),
        }
    }

    fn forget(&mut self, kind: KindId) {
        if let Some(mean) = self.kinds.get_mut(kind.0 as usize) {
            *mean = None;
        }
    }

    pub(crate) fn expect(&self, kind: KindId) -> Option<Mean> {
        self.kinds.get(kind.0 as usize).copied().flatten()
    }
}

impl Core {
    /// What a kind has cost is not known any more, anywhere.
    pub(crate) fn forget_costs(&mut self, kind: KindId) {
        self.costs.forget(kind);
        for slave in self.slaves.iter_mut() {
            slave.costs.remove(&kind);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mean_follows_without_jumping() {
        let mut mean = Mean::first(1000);
        mean.learn(9000);
        assert_eq!(mean.nanos(), 2000);
        (0..60).for_each(|_| mean.learn(9000));
        assert!((8900..=9000).contains(&mean.nanos()), "{mean:?}");
        mean.learn(u64::MAX);
        (0..400).for_each(|_| mean.learn(u64::MAX));
    }

    #[test]
    fn a_batch_is_measured_per_call() {
        assert_eq!(per_call(Duration::from_micros(10), 10), 1000);
        assert_eq!(per_call(Duration::MAX, 0), u64::MAX);
    }

    #[test]
    fn what_was_forgotten_is_not_expected_and_learnt_afresh() {
        let (mut costs, kind) = (Costs::default(), KindId(3));
        costs.learn(kind, 5000);
        costs.forget(kind);
        costs.forget(KindId(u32::MAX));
        assert_eq!(costs.expect(kind), None);
        costs.learn(kind, 7);
        assert_eq!(costs.expect(kind), Some(Mean::first(7)));
    }

    #[test]
    fn a_wild_kind_costs_no_memory() {
        let mut costs = Costs::default();
        costs.learn(KindId(u32::MAX), 1);
        assert_eq!(costs.kinds.capacity(), 0);
        assert_eq!(costs.expect(KindId(u32::MAX)), None);
    }
}
