//! Operations of several callers at once on one entry of the keyed store: what each was answered
//! has to be what it would have been one after the other, in an order in which none comes before
//! one that had ended when it began.
//!
//! Owns: the sequential model of an entry, and the search for such an order: Wing and Gong's,
//! which remembers where it has been (a set of operations that are done and the state that they
//! led to). Does not: run anything; the slave's own tests and those of the whole system do.
//! Evictions are not asked for by who suffers them, so those that a watcher heard of are operations
//! of their own, which may have been at any time.

#![forbid(unsafe_code)]

use std::collections::HashSet;

/// Operations in a history at most: a set of them is 128 bits.
pub const MOST: usize = 128;

/// An operation on an entry, and what it was answered.
#[derive(Clone, Debug)]
pub struct Done {
    /// What was asked for.
    pub what: What,
    /// Whether the entry was there, or the change was made.
    pub hit: bool,
    /// The version in the answer, if that was told: the new one, or the present.
    pub version: Option<u64>,
    /// The value that was written or read: each that is written is another one.
    pub value: u64,
    /// When it was asked for, and when it was answered, by one clock.
    pub began: u64,
    /// See there.
    pub ended: u64,
    /// Where in the history the one is that the same caller waited for before it, if the times do
    /// not say so.
    pub behind: Option<usize>,
}

/// What was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// A write, whatever is there.
    Write,
    /// A write, if the version is this one; 0 stands for no entry.
    WriteIf {
        /// This one.
        expected: u64,
    },
    /// A read.
    Get,
    /// A removal.
    Remove,
    /// It was refused: nothing has happened.
    Refused,
    /// The entry was evicted.
    Evicted,
}

/// An entry: the last version that any change of it had, and what is there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
struct State {
    last: u64,
    present: Option<(u64, u64)>,
}

impl Done {
    /// The state behind it, if it can have been answered so in this one.
    fn apply(&self, state: State) -> Option<State> {
        let present = state.present.map_or(0, |(version, _)| version);
        let new = self.version.filter(|version| *version > state.last);
        let written =
            new.map(|version| State { last: version, present: Some((version, self.value)) });
        let is_told = |version| self.version.is_none_or(|told| told == version);
        let gone = State { present: None, ..state };
        match (self.what, self.hit) {
            (What::Write, true) => written,
            (What::WriteIf { expected }, true) => written.filter(|_| present == expected),
            (What::WriteIf { expected }, false) => {
                (present != expected && is_told(present)).then_some(state)
            }
            (What::Get, true) => {
                let is_it = |(version, value)| is_told(version) && value == self.value;
                state.present.is_some_and(is_it).then_some(state)
            }
            (What::Get | What::Remove, false) => state.present.is_none().then_some(state),
            (What::Remove, true) => state.present.map(|_| gone),
            (What::Evicted, _) => {
                let last = new.filter(|_| state.present.is_some());
                last.map(|last| State { last, ..gone })
            }
            (What::Refused, _) => Some(state),
            (What::Write, false) => None,
        }
    }
}

/// Whether there is such an order.
///
/// # Panics
/// If the history is of more than [`MOST`] operations.
pub fn is_linear(history: &[Done]) -> bool {
    assert!(history.len() <= MOST, "a set is 128 bits");
    let all = u128::MAX.checked_shr(128 - history.len() as u32).unwrap_or(0);
    let (mut seen, mut open) = (HashSet::new(), vec![(0u128, State::default())]);
    while let Some((done, state)) = open.pop() {
        if done == all {
            return true;
        }
        let is_done = |i: usize| done & (1 << i) != 0;
        let left = || (0..history.len()).filter(|i| !is_done(*i));
        // What began after another had ended comes behind it.
        let first_end = left().map(|i| history[i].ended).min().unwrap_or(u64::MAX);
        let may_be_next =
            |i: &usize| history[*i].began <= first_end && history[*i].behind.is_none_or(is_done);
        for i in left().filter(may_be_next) {
            let next = history[i].apply(state).map(|state| (done | 1 << i, state));
            open.extend(next.filter(|next| seen.insert(*next)));
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    fn done(what: What, hit: bool, version: u64, (began, ended): (u64, u64)) -> Done {
        let (version, value) = (Some(version), version);
        Done { what, hit, version, value, began, ended, behind: None }
    }

    fn put(version: u64, at: (u64, u64)) -> Done {
        done(What::Write, true, version, at)
    }

    fn get(version: u64, at: (u64, u64)) -> Done {
        done(What::Get, version > 0, version, at)
    }

    fn create(version: u64, at: (u64, u64)) -> Done {
        done(What::WriteIf { expected: 0 }, version > 0, version, at)
    }

    #[test]
    fn the_search_finds_what_has_no_order() {
        assert!(is_linear(&[]));
        // Two reads at once with a write, one of which came before it.
        assert!(is_linear(&[put(1, (1, 6)), get(0, (2, 4)), get(1, (3, 5))]));
        // The second began when the first had seen the write.
        assert!(!is_linear(&[put(1, (1, 6)), get(1, (2, 3)), get(0, (4, 5))]));
        // Both created it.
        assert!(!is_linear(&[create(1, (1, 3)), create(2, (2, 4))]));
        let removed = done(What::Remove, true, 0, (1, 5));
        assert!(is_linear(&[create(1, (1, 3)), create(2, (2, 4)), removed]));
        // The versions go back.
        assert!(!is_linear(&[put(2, (1, 2)), put(1, (3, 4))]));
    }

    #[test]
    fn a_callers_own_order_is_kept_where_the_times_do_not_say_it() {
        let behind = |first, it: Done| Done { behind: Some(first), ..it };
        // All in one task, beside a write of another's.
        assert!(is_linear(&[put(1, (1, 9)), get(0, (2, 8)), behind(1, get(1, (2, 8)))]));
        assert!(is_linear(&[put(1, (1, 9)), get(1, (2, 8)), get(0, (2, 8))]));
        assert!(!is_linear(&[put(1, (1, 9)), get(1, (2, 8)), behind(1, get(0, (2, 8)))]));
    }

    #[test]
    fn what_was_not_told_may_be_anything() {
        let untold =
            |expected, at| Done { version: None, ..done(What::WriteIf { expected }, false, 0, at) };
        assert!(is_linear(&[put(1, (1, 2)), untold(0, (3, 4))]));
        assert!(!is_linear(&[put(1, (1, 2)), untold(1, (3, 4))]));
        // It was told that the entry is not there.
        assert!(!is_linear(&[put(1, (1, 2)), create(0, (3, 4))]));
    }
}
