//! What a master has seen itself of where keys are: what stores answered it, and what watches told.
//!
//! Owns: the last word of each slave on a key with which no task waits, and which keys tasks wait
//! with. Does not: believe that it stays so, or tell the policy; the driver asks when the first
//! task comes that waits with a key. Invariant: a word on a key that a task waits with is for the
//! driver at once, and is not kept here; of the others the last [`MOST`] keys are remembered. What
//! is forgotten, or was overtaken by what somebody else did, is found out by asking the slave.

use dpfw_dispatch::SlaveId;
use dpfw_protocol::store::Key;
use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Keys that are remembered at most: as many as the policy's numbers that no task waits with.
const MOST: usize = 16 * 1024;

/// Slaves whose last word on one key is remembered: the last that said something.
const MOST_SLAVES: usize = 64;

/// A slave, and whether it has the key.
pub(crate) type Word = (SlaveId, bool);

/// See the module's page.
#[derive(Debug, Default)]
pub(crate) struct Noted(Mutex<Inner>);

#[derive(Debug, Default)]
struct Inner {
    awaited: HashSet<Key>,
    fresh: HashMap<Key, Words>,
    /// Those that were fresh until half of [`MOST`] others were.
    older: HashMap<Key, Words>,
}

/// What slaves said of a key, each its last word. Most keys are one slave's.
#[derive(Debug, Default)]
struct Words {
    last: Option<Word>,
    others: Vec<Word>,
}

impl Words {
    fn note(&mut self, word: Word) {
        let Some(last) = self.last.replace(word).filter(|(slave, _)| *slave != word.0) else {
            return;
        };
        self.others.retain(|(slave, _)| *slave != word.0);
        if self.others.len() + 1 >= MOST_SLAVES {
            self.others.remove(0);
        }
        self.others.push(last);
    }

    /// In the order in which they were said.
    fn into_vec(self) -> Vec<Word> {
        self.others.into_iter().chain(self.last).collect()
    }
}

impl Noted {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes whether a slave has a key. Whether a task waits with it: then it is not noted, and
    /// the driver is to be told.
    pub(crate) fn note(&self, key: &Key, word: Word) -> bool {
        let mut inner = self.lock();
        if inner.awaited.contains(key) {
            return true;
        }
        inner.words(key).note(word);
        false
    }

    /// A task waits with a key: gives what was noted of it.
    pub(crate) fn begin(&self, key: &Key) -> Vec<Word> {
        let mut inner = self.lock();
        if !inner.awaited.insert(key.clone()) {
            return Vec::new();
        }
        let fresh = inner.fresh.remove(key);
        fresh.or_else(|| inner.older.remove(key)).unwrap_or_default().into_vec()
    }

    /// No task waits with a key any more.
    pub(crate) fn end(&self, key: &Key) {
        self.lock().awaited.remove(key);
    }
}

impl Inner {
    /// What is noted of a key, which is among the fresh ones from now on.
    fn words(&mut self, key: &Key) -> &mut Words {
        if self.fresh.len() >= MOST / 2 && !self.fresh.contains_key(key) {
            // The memory of those that are forgotten is used again.
            std::mem::swap(&mut self.fresh, &mut self.older);
            self.fresh.clear();
        }
        let older = &mut self.older;
        let slot = self.fresh.entry(key.clone());
        slot.or_insert_with(|| older.remove(key).unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(n: usize) -> Key {
        Key::new(format!("key {n}")).expect("short")
    }

    const ONE: SlaveId = SlaveId(1);
    const TWO: SlaveId = SlaveId(2);

    #[test]
    fn each_slaves_last_word_is_given_once() {
        let noted = Noted::default();
        for word in [(ONE, true), (TWO, true), (ONE, false)] {
            assert!(!noted.note(&key(1), word));
        }
        assert_eq!(noted.begin(&key(1)), [(TWO, true), (ONE, false)]);
        assert_eq!(noted.begin(&key(1)), []);
        noted.end(&key(1));
        assert_eq!(noted.begin(&key(1)), []);
    }

    #[test]
    fn a_word_on_what_a_task_waits_with_is_for_the_driver() {
        let noted = Noted::default();
        assert_eq!(noted.begin(&key(1)), []);
        assert!(noted.note(&key(1), (ONE, true)) && !noted.note(&key(2), (ONE, true)));
        noted.end(&key(1));
        assert!(!noted.note(&key(1), (ONE, false)));
        assert_eq!(noted.begin(&key(1)), [(ONE, false)]);
    }

    #[test]
    fn of_too_many_those_that_were_noted_last_are_remembered() {
        let noted = Noted::default();
        (0..2 * MOST).for_each(|n| assert!(!noted.note(&key(n), (ONE, true))));
        let kept = |noted: &Noted| {
            let inner = noted.lock();
            inner.fresh.len() + inner.older.len()
        };
        assert!(kept(&noted) <= MOST);
        // One that is noted again and again pushes none out.
        (0..MOST).for_each(|_| assert!(!noted.note(&key(2 * MOST), (ONE, true))));
        assert_eq!(noted.begin(&key(0)), []);
        let last = 2 * MOST - MOST / 2..=2 * MOST;
        last.for_each(|n| assert_eq!(noted.begin(&key(n)), [(ONE, true)], "{n}"));
        // Of one key no more slaves than so many.
        let slaves = 0..3 * MOST_SLAVES as u64;
        slaves.clone().for_each(|n| assert!(!noted.note(&key(1), (SlaveId(n), true))));
        let last: Vec<_> = slaves.skip(2 * MOST_SLAVES).map(|n| (SlaveId(n), true)).collect();
        assert_eq!(noted.begin(&key(1)), last);
    }
}
