//! Putting a memory back to what it was when it was mapped.
//!
//! Owns: what pages were, as far as it was needed before. Does not: find out which were written; the
//! kernel tells. Invariant: whatever the kernel tells of is put back, by what was learnt of the page
//! or by giving it back to the kernel, which then has the original; where it does not tell, or tells
//! of too much, nothing is put back and the memory is thrown away.

use crate::raw::give_back;
use crate::raw::pages::{Faults, MOST, Pages, Region};

/// What is put back at most. More is dropped by the kernel at once more cheaply than page by page.
const MOST_BYTES: usize = 8 << 20;

/// Bytes that are kept of what pages were, of those that were not zero. Of all others the kernel is
/// asked each time.
const KEPT: usize = 2 << 20;

/// How often the kernel is asked for one memory. It takes as long as making a sandbox anew.
const ASKED: usize = 16;

/// What pages of a sandbox's memory were, by where they begin; sorted. No more than are put back at
/// once.
#[derive(Debug, Default)]
pub(crate) struct Pristine {
    pages: Vec<(usize, Page)>,
    kept: usize,
    /// The faults of this thread when it was last back, or before: until there is another one, no
    /// page was written but those that are known.
    back_at: Option<Faults>,
}

/// Pages that are put back together rather than asked which of them were written.
const FEW: usize = 48;

/// What a page was.
#[derive(Debug)]
enum Page {
    Zero,
    Bytes(Box<[u8]>),
}

impl Page {
    fn restore(&self, page: &mut [u8]) {
        match self {
            Self::Zero => page.fill(0),
            Self::Bytes(bytes) => page.copy_from_slice(bytes),
        }
    }
}

/// Whether it was known what a page was.
struct Known(bool);

impl Pristine {
    /// Puts a memory back, which keeps small pages; whether that was done.
    pub(crate) fn reset(&mut self, pages: &Pages, memory: &mut [u8]) -> bool {
        let (back_at, now) = (self.back_at.take(), Faults::so_far());
        let is_known = back_at.is_some() && self.pages.len() <= FEW && back_at == now;
        // What is put back where nothing is new was there. Should it take a fault after all, that
        // is one more than now, and the kernel is asked the next time.
        let (is_back, back_at) = match is_known {
            true => (self.put_all_back(memory), now),
            false => (self.put_written_back(pages, memory), Faults::so_far()),
        };
        self.back_at = back_at.filter(|_| is_back);
        is_back
    }

    /// Puts back all pages that were ever written.
    fn put_all_back(&self, memory: &mut [u8]) -> bool {
        let size = rustix::param::page_size();
        for (at, was) in &self.pages {
            let Some(page) = memory.get_mut(*at..*at + size) else { return false };
            was.restore(page);
        }
        true
    }

    /// Puts back what the kernel tells of.
    fn put_written_back(&mut self, pages: &Pages, memory: &mut [u8]) -> bool {
        let size = rustix::param::page_size();
        let (mut from, mut bytes, mut asked) = (0, 0, 0);
        while from < memory.len() {
            let mut found = [Region::default(); MOST];
            let Ok((count, looked)) = pages.written(&memory[from..], &mut found) else {
                return false;
            };
            for region in &found[..count] {
                let range = region.within(&memory[from..]);
                bytes += range.len();
                if bytes > MOST_BYTES || !range.start.is_multiple_of(size) {
                    return false;
                }
                let start = from + range.start;
                for (at, page) in
                    (start..).step_by(size).zip(memory[start..from + range.end].chunks_mut(size))
                {
                    match self.put_back(at, page) {
                        Some(Known(known)) => asked += usize::from(!known),
                        None => return false,
                    }
                    if asked > ASKED && self.is_full() {
                        return false;
                    }
                }
            }
            if looked == 0 {
                return false;
            }
            from += looked;
        }
        true
    }

    /// Puts a page back; `None` if that cannot be done.
    fn put_back(&mut self, at: usize, page: &mut [u8]) -> Option<Known> {
        let found = self.pages.binary_search_by_key(&at, |(at, _)| *at);
        match found.map(|index| &self.pages[index].1) {
            Ok(was) => was.restore(page),
            Err(index) => {
                // Nothing is learnt of a page that the kernel did not take.
                give_back(page).then_some(())?;
                if !self.is_full() {
                    self.learn(index, at, page);
                }
            }
        }
        Some(Known(found.is_ok()))
    }

    fn is_full(&self) -> bool {
        self.kept >= KEPT || self.pages.len() * rustix::param::page_size() >= MOST_BYTES
    }

    fn learn(&mut self, index: usize, at: usize, page: &[u8]) {
        let was = match page.iter().all(|byte| *byte == 0) {
            true => Page::Zero,
            false => {
                self.kept += page.len();
                Page::Bytes(page.into())
            }
        };
        self.pages.insert(index, (at, was));
    }
}

/// Whether nothing of a memory was written since it was mapped.
pub(crate) fn is_untouched(pages: &Pages, memory: &[u8]) -> bool {
    let mut found = [Region::default(); MOST];
    matches!(pages.written(memory, &mut found), Ok((0, looked)) if looked == memory.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Pages, whole ones, that are zeros until they are written.
    fn with_pages(count: usize, test: impl FnOnce(&Pages, &mut [u8])) {
        let Some(pages) = Pages::open() else { return };
        let size = rustix::param::page_size();
        let mut memory = vec![0u8; (count + 1) * size];
        let first = memory.as_ptr().addr().next_multiple_of(size) - memory.as_ptr().addr();
        let memory = &mut memory[first..first + count * size];
        assert!(give_back(memory) && crate::raw::pages::keep_small(memory));
        test(&pages, memory);
    }

    #[test]
    fn what_was_written_is_put_back_however_scattered_it_is() {
        with_pages(400, |pages, memory| {
            let size = rustix::param::page_size();
            let mut pristine = Pristine::default();
            for round in 1..4u8 {
                memory.iter_mut().step_by(2 * size).for_each(|byte| *byte = round);
                assert!(!is_untouched(pages, memory));
                assert!(pristine.reset(pages, memory));
                assert!(memory.iter().all(|byte| *byte == 0), "in round {round}");
            }
            assert_eq!((pristine.pages.len(), pristine.kept), (200, 0));
        });
    }

    #[test]
    fn a_page_that_is_written_for_the_first_time_is_put_back_as_well() {
        with_pages(40, |pages, memory| {
            let size = rustix::param::page_size();
            let mut pristine = Pristine::default();
            for last in 1..40 {
                // The first ones are known and take no fault any more, the last one is new.
                for page in 0..last {
                    memory[page * size] = 1;
                    if page % 7 == 0 {
                        assert!(pristine.reset(pages, memory));
                    }
                }
                assert!(pristine.reset(pages, memory));
                assert!(memory.iter().all(|byte| *byte == 0), "with {last} pages");
            }
        });
    }

    #[test]
    fn too_much_is_not_put_back() {
        let size = rustix::param::page_size();
        with_pages(MOST_BYTES / size + 1, |pages, memory| {
            memory.iter_mut().step_by(size).for_each(|byte| *byte = 1);
            assert!(!Pristine::default().reset(pages, memory));
        });
    }
}
