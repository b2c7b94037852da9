//! Large pieces of guests' memory, used again.
//!
//! A sandbox whose memory grows by 64 MiB takes 16,384 page faults to use it, as much time as a
//! fast link takes to fill it, and the kernel as many steps to take it back. So the pages of large
//! growths that guests have used are kept, filled with zeros, and moved to where a memory grows
//! next. Bounds: [`KEPT`] bytes in a process; those that nobody has wanted for [`PATIENCE`] are
//! given back to the system when the next is kept.

use crate::raw::moving::{Lent, Place, Spare};
use crate::raw::pages::Pages;
use std::collections::VecDeque;
use std::ops::Range;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Growth by less is the kernel's business.
pub(crate) const LARGE: usize = 4 << 20;

/// Bytes that are kept.
const KEPT: usize = 128 << 20;

/// How long they are kept for nobody.
const PATIENCE: Duration = Duration::from_secs(10);

/// What is kept, in the order in which it came.
#[derive(Debug, Default)]
struct Shelf(VecDeque<(Spare, Instant)>);

static SHELF: Mutex<Shelf> = Mutex::new(Shelf(VecDeque::new()));

impl Shelf {
    /// Takes the smallest that is large enough, or else the largest.
    fn take(&mut self, len: usize) -> Option<Spare> {
        let sizes = || self.0.iter().map(|(spare, _)| spare.len()).enumerate();
        let fits = sizes().filter(|(_, there)| *there >= len).min_by_key(|(_, there)| *there);
        let (at, _) = fits.or_else(|| sizes().max_by_key(|(_, there)| *there))?;
        self.0.remove(at).map(|(spare, _)| spare)
    }

    /// Keeps one. Gives what is too much, and what was kept for nobody.
    fn put(&mut self, spare: Spare, now: Instant) -> Vec<Spare> {
        self.0.push_back((spare, now));
        let mut kept: usize = self.0.iter().map(|(spare, _)| spare.len()).sum();
        let mut over = Vec::new();
        while let Some((first, since)) = self.0.front()
            && (kept > KEPT || now.saturating_duration_since(*since) > PATIENCE)
        {
            kept -= first.len();
            over.extend(self.0.pop_front().map(|(spare, _)| spare));
        }
        over
    }
}

fn take(len: usize) -> Option<Spare> {
    SHELF.lock().unwrap_or_else(PoisonError::into_inner).take(len)
}

fn put(spare: Spare) {
    let over = SHELF.lock().unwrap_or_else(PoisonError::into_inner).put(spare, Instant::now());
    // Unlocked: the kernel takes its time.
    drop(over);
}

/// A large growth of a guest's memory, until its sandbox is put back or thrown away. It is a part
/// of the host's state, which goes before the memory does.
#[derive(Debug)]
pub(crate) struct Growth {
    place: Place,
    lent: Option<Lent>,
}

impl Growth {
    /// Memory is about to grow to these addresses, and has nothing there yet.
    pub(crate) fn to(range: Range<usize>) -> Option<Self> {
        let place = Place::within(range).filter(|place| place.len() >= LARGE)?;
        let lent = take(place.len()).and_then(|spare| match spare.lend(&place) {
            Ok(lent) => Some(lent),
            Err(spare) => {
                put(spare);
                None
            }
        });
        Some(Self { place, lent })
    }

    /// Memory did not grow to there after all.
    pub(crate) fn undo(mut self) {
        if let Some(lent) = self.lent.take() {
            lent.undo();
        }
    }
}

impl Drop for Growth {
    fn drop(&mut self) {
        let spare = match self.lent.take() {
            Some(lent) => lent.take_back(),
            // Not what memory did not grow to: there is nothing.
            None if is_used(&self.place) => Spare::from_guest(&self.place),
            None => None,
        };
        if let Some(spare) = spare {
            put(spare);
        }
    }
}

/// Whether most of it was written to: to fill what was not with zeros would cost its pages.
fn is_used(place: &Place) -> bool {
    let written = Pages::of_process().and_then(|pages| pages.count_written(place));
    written.is_some_and(|written| written >= place.len() / 4 * 3)
}

#[cfg(test)]
mod tests;
