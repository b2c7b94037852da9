//! How many items of a `map` go into one task.
//!
//! Owns: the measured cost of an item. Does not: hold items, or know where they run.
//! A chunk is one task, whose items share a sandbox: large enough that dispatching costs
//! little beside the work, small enough that the end is balanced and that little is
//! repeated when a slave is lost.

use crate::cost::Mean;
use crate::time::nanos;
use std::time::Duration;

/// Work that a chunk aims at. A task's own cost, some 10 us with its share of the link, is
/// half a percent of it; a person notices nothing of it at the end.
pub const TARGET: Duration = Duration::from_millis(2);

/// The most items in a chunk: 4,096 of 0.5 us are the target; shorter ones than that cost
/// less than their encoding.
pub const MAX_ITEMS: u32 = 4096;

/// The arguments of a chunk of several items are no longer than this: more would stand in
/// the way of other tasks on the link.
pub const MAX_BYTES: usize = 1 << 20;

/// Each step of growth, until the target is reached: 1, 8, 64, 512 items. A first item
/// that is much cheaper than the rest costs eight of the others, not thousands.
const GROWTH: u32 = 8;

/// Chunks that are still to come for each slot when the length is known: with two the
/// last ones end at about the same time.
const LAST_PER_SLOT: u64 = 2;

/// Sizes the chunks of one `map`.
#[derive(Clone, Debug)]
pub struct Chunker {
    per_item: Option<Mean>,
    /// The most items that growth allows so far.
    reach: u32,
}

impl Default for Chunker {
    fn default() -> Self {
        Self::new()
    }
}

impl Chunker {
    /// A chunker that has measured nothing: its first chunks have one item.
    pub fn new() -> Self {
        Self { per_item: None, reach: 1 }
    }

    /// Learns that a chunk of so many items ran so long.
    pub fn observe(&mut self, items: u32, run: Duration) {
        if items == 0 {
            return;
        }
        let sample = nanos(run) / u64::from(items);
        match &mut self.per_item {
            Some(mean) => mean.learn(sample),
            none => *none = Some(Mean::first(sample)),
        }
        self.reach = self.reach.max(items.saturating_mul(GROWTH)).min(MAX_ITEMS);
    }

    /// How many items the next chunk gets: at least 1, at most [`MAX_ITEMS`]. `remaining`
    /// items are not in a chunk yet, if that is known; `slots` run them. The caller also
    /// ends a chunk before [`MAX_BYTES`].
    pub fn next(&self, remaining: Option<u64>, slots: u32) -> u32 {
        let Some(mean) = self.per_item else { return 1 };
        let wanted = nanos(TARGET) / mean.nanos().max(1);
        let fair = remaining
            .map_or(u64::MAX, |items| items.div_ceil(LAST_PER_SLOT * u64::from(slots.max(1))));
        let items = wanted.min(fair).min(u64::from(self.reach)).max(1);
        u32::try_from(items).unwrap_or(MAX_ITEMS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(items: u32, nanos: u64) -> Duration {
        Duration::from_nanos(nanos * u64::from(items))
    }

    #[test]
    fn it_begins_with_one_item_and_grows_eightfold_to_the_target() {
        let mut chunker = Chunker::new();
        let mut sizes = Vec::new();
        for _ in 0..6 {
            let items = chunker.next(None, 4);
            sizes.push(items);
            chunker.observe(items, run(items, 1000));
        }
        assert_eq!(sizes, [1, 8, 64, 512, 2000, 2000]);
    }

    #[test]
    fn long_items_go_alone() {
        let mut chunker = Chunker::new();
        chunker.observe(1, Duration::from_secs(1));
        assert_eq!(chunker.next(None, 1), 1);
    }

    #[test]
    fn a_chunk_never_has_more_items_than_the_limit_nor_none() {
        let mut chunker = Chunker::new();
        for _ in 0..10 {
            chunker.observe(chunker.next(None, 1), Duration::ZERO);
        }
        assert_eq!(chunker.next(None, 1), MAX_ITEMS);
        assert_eq!(chunker.next(Some(0), 0), 1);
        chunker.observe(0, Duration::MAX);
        assert_eq!(chunker.next(None, 1), MAX_ITEMS);
    }

    #[test]
    fn the_end_is_shared_among_the_slots() {
        let mut chunker = Chunker::new();
        (0..8).for_each(|_| chunker.observe(512, run(512, 1000)));
        assert_eq!(chunker.next(Some(1_000_000), 4), 2000);
        assert_eq!(chunker.next(Some(800), 4), 100);
        assert_eq!(chunker.next(Some(3), 4), 1);
    }

    #[test]
    fn a_change_of_cost_is_followed() {
        let mut chunker = Chunker::new();
        (0..8).for_each(|_| chunker.observe(512, run(512, 1000)));
        (0..40).for_each(|_| chunker.observe(512, run(512, 100_000)));
        assert!((20..=21).contains(&chunker.next(None, 4)), "{}", chunker.next(None, 4));
    }
}
