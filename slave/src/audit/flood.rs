//! Refusals that come again and again.
//!
//! Owns: which of them are lines of their own. Does not: write, or read clocks. Invariant: however
//! many refusals there are, of each kind and peer the first is told at once, and the others of
//! the next ten seconds are one line with their number; kinds and peers are bounded as well.

use super::event::Event;
use std::collections::HashMap;
use std::time::{Duration, Instant};

/// How long refusals that are alike are counted before they are told.
pub(super) const WINDOW: Duration = Duration::from_secs(10);

/// Kinds and peers that are counted apart; what is beyond is counted together.
const MOST: usize = 256;

/// What is counted.
#[derive(Debug, Default)]
pub(super) struct Floods {
    counted: HashMap<String, Flood>,
    /// Of those beyond [`MOST`].
    others: Option<Flood>,
}

#[derive(Debug)]
struct Flood {
    since: Instant,
    last: Event,
    more: u64,
}

impl Floods {
    /// Whether an event is a line of its own. Otherwise it is counted.
    pub(super) fn passes(&mut self, now: Instant, event: &Event) -> bool {
        let Some(alike) = event.alike() else { return true };
        let is_full = self.counted.len() >= MOST;
        let flood = match self.counted.get_mut(&alike) {
            Some(flood) => flood,
            None if is_full => {
                let first = || Flood { since: now, last: event.clone(), more: 0 };
                self.others.get_or_insert_with(first)
            }
            None => {
                let first = Flood { since: now, last: event.clone(), more: 0 };
                self.counted.insert(alike, first);
                return true;
            }
        };
        flood.last.clone_from(event);
        flood.more += 1;
        false
    }

    /// Whether nothing is counted.
    pub(super) fn is_empty(&self) -> bool {
        self.counted.is_empty() && self.others.is_none()
    }

    /// Those whose time is over: the last of each, and how many there were besides the first.
    pub(super) fn due(&mut self, now: Instant) -> Vec<(Event, u64)> {
        self.take(|flood| now.duration_since(flood.since) >= WINDOW)
    }

    /// All of them.
    pub(super) fn all(&mut self) -> Vec<(Event, u64)> {
        self.take(|_| true)
    }

    fn take(&mut self, is_over: impl Fn(&Flood) -> bool) -> Vec<(Event, u64)> {
        let counted = self.counted.extract_if(|_, flood| is_over(flood)).map(|(_, flood)| flood);
        let floods: Vec<_> = counted.chain(self.others.take_if(|flood| is_over(flood))).collect();
        let counted = floods.into_iter().filter(|flood| flood.more > 0);
        counted.map(|flood| (flood.last, flood.more)).collect()
    }
}
