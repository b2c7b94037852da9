//! Refusals, links and modules that come again and again.
//!
//! Owns: which of them are lines of their own. Does not: write, or read clocks. Invariant: however
//! many there are, of each kind and peer the first (of links and modules the first few) are told at
//! once, and the others of ten seconds are one line with their number; kinds and peers are bounded
//! as well.

use super::event::Event;
use std::collections::HashMap;
use std::time::{Duration, Instant};

/// How long events that are alike are counted before they are told.
pub(super) const WINDOW: Duration = Duration::from_secs(10);

/// Kinds and peers that are counted apart; what is beyond is counted together.
const MOST: usize = 256;

/// What is counted.
#[derive(Debug, Default)]
pub(super) struct Floods(HashMap<String, Flood>);

#[derive(Debug)]
struct Flood {
    since: Instant,
    last: Event,
    /// How many are lines of their own.
    most: u32,
    told: u32,
    more: u64,
}

impl Floods {
    /// Whether an event is a line of its own. Otherwise it is counted.
    pub(super) fn passes(&mut self, now: Instant, event: &Event) -> bool {
        let Some((mut alike, most)) = event.alike() else { return true };
        // Those of which each peer has more lines are apart: who is not let in, from however many
        // addresses, hides nothing of whoever is.
        if !self.0.contains_key(&alike)
            && self.0.values().filter(|flood| flood.most == most).count() >= MOST
        {
            alike = format!("others {most}");
        }
        let first = || Flood { since: now, last: event.clone(), most, told: 0, more: 0 };
        let flood = self.0.entry(alike).or_insert_with(first);
        if flood.told < most {
            flood.told += 1;
            return true;
        }
        flood.last.clone_from(event);
        flood.more += 1;
        false
    }

    /// Whether nothing is counted.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Those whose time is over: the last of each, and how many there were besides those that were
    /// told.
    pub(super) fn due(&mut self, now: Instant) -> Vec<(Event, u64)> {
        self.take(|flood| now.duration_since(flood.since) >= WINDOW)
    }

    /// All of them.
    pub(super) fn all(&mut self) -> Vec<(Event, u64)> {
        self.take(|_| true)
    }

    fn take(&mut self, is_over: impl Fn(&Flood) -> bool) -> Vec<(Event, u64)> {
        let over = self.0.extract_if(|_, flood| is_over(flood)).map(|(_, flood)| flood);
        over.filter(|flood| flood.more > 0).map(|flood| (flood.last, flood.more)).collect()
    }
}
