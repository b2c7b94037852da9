//! Who may take how much of what a slave has little of.
//!
//! A supply is what there is of one thing: bytes of arguments, sandboxes that may wait, residents. A
//! principal may have [`TIMES`] times of it what would be left. So one that is alone has nearly
//! all; whoever comes beside it finds something; and as what is taken is given back, all that want
//! more come to have the same. No list of who wants what is kept for it. (Switches share their
//! buffers among ports like this: Choudhury and Hahne, "Dynamic queue length thresholds for
//! shared-memory packet switches", 1998.)
//!
//! Owns: the rule, and the sums. Does not: know what is counted. Invariants: no more is taken than
//! there is; what is taken is given back by dropping [`Taken`], or by whoever took it without one.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::AcqRel, Ordering::Acquire};

/// How many times what would be left a principal may have: one that is alone has eight ninths of
/// everything.
const TIMES: u64 = 8;

/// What there is of one thing, and how much of it is taken.
#[derive(Debug)]
pub(crate) struct Supply {
    used: AtomicU64,
    most: u64,
}

/// What one principal has of a supply.
#[derive(Debug, Default)]
pub(crate) struct Part(AtomicU64);

/// What was taken, until it is dropped.
#[derive(Debug)]
#[must_use = "dropping it gives it back"]
pub(crate) struct Taken {
    supply: Arc<Supply>,
    part: Arc<Part>,
    amount: u64,
}

/// Whether one who has `own` may have `new` more, where `used` of `most` are taken. Who has
/// nothing may have whatever fits.
pub(crate) fn may_take(own: u64, new: u64, used: u64, most: u64) -> bool {
    let Some(left) = most.checked_sub(used.saturating_add(new)) else {
        return false;
    };
    if new == 0 {
        return true;
    }
    // One more: of a thing of which there are few, none is kept back for nobody.
    own == 0 || own.saturating_add(new) <= TIMES.saturating_mul(left.saturating_add(1))
}

impl Supply {
    pub(crate) fn new(most: u64) -> Arc<Self> {
        Arc::new(Self { used: AtomicU64::new(0), most })
    }

    /// How much is taken.
    pub(crate) fn used(&self) -> u64 {
        self.used.load(Acquire)
    }

    /// Takes so much for a principal, if it may have it; it is to be given back.
    pub(crate) fn take(&self, part: &Part, new: u64) -> bool {
        let own = part.get();
        let taken = |used| may_take(own, new, used, self.most).then(|| used + new);
        let is_taken = self.used.try_update(AcqRel, Acquire, taken).is_ok();
        if is_taken {
            part.0.fetch_add(new, AcqRel);
        }
        is_taken
    }

    /// Gives back what was taken.
    pub(crate) fn give(&self, part: &Part, amount: u64) {
        part.0.fetch_sub(amount, AcqRel);
        self.used.fetch_sub(amount, AcqRel);
    }

    /// The same as [`take`](Self::take), and given back by itself.
    pub(crate) fn lend(self: &Arc<Self>, part: &Arc<Part>, amount: u64) -> Option<Taken> {
        let taken = || Taken { supply: Arc::clone(self), part: Arc::clone(part), amount };
        self.take(part, amount).then(taken)
    }
}

impl Part {
    /// How much it is.
    pub(crate) fn get(&self) -> u64 {
        self.0.load(Acquire)
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        self.supply.give(&self.part, self.amount);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Takes one at a time until there is no more to be had; how many.
    fn fill(supply: &Supply, part: &Part) -> usize {
        std::iter::repeat_with(|| supply.take(part, 1)).take_while(|taken| *taken).count()
    }

    #[test]
    fn who_is_alone_has_nearly_all_and_whoever_comes_finds_something() {
        let supply = Supply::new(900);
        let (greedy, late, later) = (Part::default(), Part::default(), Part::default());
        assert_eq!(fill(&supply, &greedy), 800);
        assert!(fill(&supply, &late) >= 88, "{}", late.get());
        assert!(fill(&supply, &later) >= 9, "{}", later.get());
        // As what the first had comes to its end, the others come to have as much.
        for _ in 0..2000 {
            if greedy.get() > 0 {
                supply.give(&greedy, 1);
            }
            for part in [&late, &later, &greedy] {
                supply.take(part, 1);
            }
        }
        let parts = [&greedy, &late, &later].map(Part::get);
        assert!(parts.iter().all(|part| (280..=300).contains(part)), "{parts:?}");
    }

    #[test]
    fn few_of_a_thing_are_not_kept_back_and_one_large_thing_fits() {
        for most in 1..=8 {
            let supply = Supply::new(most);
            assert_eq!(fill(&supply, &Part::default()), most as usize);
        }
        let (supply, part) = (Supply::new(100), Part::default());
        assert!(!supply.take(&part, 101) && supply.take(&part, 100) && !supply.take(&part, 1));
        assert!(!supply.take(&part, u64::MAX));
        supply.give(&part, 100);
        assert_eq!((supply.used(), part.get()), (0, 0));
    }

    #[test]
    fn what_is_lent_is_given_back() {
        let (supply, part) = (Supply::new(10), Arc::new(Part::default()));
        let taken = supply.lend(&part, 7).expect("room");
        assert!(supply.lend(&part, 4).is_none());
        assert_eq!((supply.used(), part.get()), (7, 7));
        drop(taken);
        assert_eq!((supply.used(), part.get()), (0, 0));
    }
}
