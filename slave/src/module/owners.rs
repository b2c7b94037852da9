//! Whose modules and images are in memory.
//!
//! Owns: for whom each was looked for first, and which is forgotten when there is no room for
//! another. Does not: hold any. Invariants: one principal's modules push out its own, once it has
//! its share; nothing is forgotten that a session has declared, or that anybody waits for; all that
//! is in memory has an owner, or it would be in the way of everybody for ever.

use super::cell::State;
use super::code::CodeId;
use crate::principals::Holdings;
use crate::shares::may_take;
use dpfw_protocol::error::Cause;
use std::collections::HashMap;
use std::sync::Arc;

/// See the module's page. Bounded like what it is of.
#[derive(Debug, Default)]
pub(super) struct Owners(HashMap<CodeId, Arc<Holdings>>);

impl Owners {
    /// Finds room for one more of a principal's among `most`; what has to go for it is forgotten.
    /// Its code stays in the cache.
    ///
    /// # Errors
    /// [`Cause::Busy`] if all that might go is needed.
    pub(super) fn add(
        &mut self,
        cells: &mut HashMap<CodeId, State>,
        code: CodeId,
        owner: &Arc<Holdings>,
        most: usize,
    ) -> Result<(), Cause> {
        // What was let go is made anew for whoever comes next: it would only keep its file open.
        cells.retain(|_, state| !is_gone(state));
        self.0.retain(|code, _| cells.contains_key(code));
        let own = self.count(owner);
        if !may_take(own as u64, 1, cells.len() as u64, most as u64) {
            let goes = self.goes(cells, |code| self.is_of(code, owner));
            // Where there is none left for anybody, whoever has most gives one up.
            let goes = goes.or_else(|| {
                let rest = (cells.len() >= most).then(|| self.largest(cells))??;
                (self.count(&rest) > own).then(|| self.goes(cells, |it| self.is_of(it, &rest)))?
            });
            let Some(goes) = goes else {
                let what = format!(
                    "the slave may have {most} modules and images, the limit on modules; {own} of \
                     this master are in use, and what is left is for others"
                );
                return Err(Cause::Busy { what });
            };
            cells.remove(&goes);
            self.0.remove(&goes);
        }
        self.0.insert(code, Arc::clone(owner));
        Ok(())
    }

    fn is_of(&self, code: &CodeId, owner: &Arc<Holdings>) -> bool {
        self.0.get(code).is_some_and(|of| Arc::ptr_eq(of, owner))
    }

    fn count(&self, owner: &Arc<Holdings>) -> usize {
        self.0.values().filter(|of| Arc::ptr_eq(of, owner)).count()
    }

    /// Who has most, of those who have one that nobody needs.
    fn largest(&self, cells: &HashMap<CodeId, State>) -> Option<Arc<Holdings>> {
        let mut counts: HashMap<*const Holdings, (usize, bool, &Arc<Holdings>)> = HashMap::new();
        for (code, of) in &self.0 {
            let (count, gives, _) = counts.entry(Arc::as_ptr(of)).or_insert((0, false, of));
            *count += 1;
            *gives |= cells.get(code).is_some_and(|state| is_refused(state) || is_unused(state));
        }
        let givers = counts.into_values().filter(|(_, gives, _)| *gives);
        givers.max_by_key(|(count, ..)| *count).map(|(_, _, of)| Arc::clone(of))
    }

    /// One that nobody needs: a refusal, or one that no session has declared.
    fn goes(
        &self,
        cells: &HashMap<CodeId, State>,
        is_meant: impl Fn(&CodeId) -> bool,
    ) -> Option<CodeId> {
        let find = |may_go: fn(&State) -> bool| {
            let mut all = cells.iter().filter(|(code, state)| may_go(state) && is_meant(code));
            all.next().map(|(code, _)| *code)
        };
        find(is_refused).or_else(|| find(is_unused))
    }
}

fn is_gone(state: &State) -> bool {
    matches!(state, State::Ready(it) if it.is_gone())
}

fn is_refused(state: &State) -> bool {
    matches!(state, State::Refused(_))
}

fn is_unused(state: &State) -> bool {
    matches!(state, State::Ready(it) if Arc::strong_count(it) == 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use dpfw_protocol::ids::ModuleHash;

    /// A slave's modules, each refused or awaited.
    struct Modules {
        owners: Owners,
        cells: HashMap<CodeId, State>,
        most: usize,
        next: u64,
    }

    impl Modules {
        fn new(most: usize) -> Self {
            Self { owners: Owners::default(), cells: HashMap::new(), most, next: 0 }
        }

        /// One more; whether there was room. One that is refused may go, one that is awaited not.
        fn add(&mut self, owner: &Arc<Holdings>, is_needed: bool) -> bool {
            self.next += 1;
            let code = CodeId::Module(ModuleHash::of(&self.next.to_le_bytes()));
            let state = match is_needed {
                true => State::Looking(Vec::new()),
                false => State::Refused(Cause::Draining),
            };
            let added = self.owners.add(&mut self.cells, code, owner, self.most).is_ok();
            if added {
                self.cells.insert(code, state);
            }
            added
        }

        fn of(&self, owner: &Arc<Holdings>) -> usize {
            self.cells.keys().filter(|code| self.owners.is_of(code, owner)).count()
        }
    }

    #[test]
    fn ten_thousand_modules_of_one_master_push_out_its_own() {
        let mut modules = Modules::new(90);
        let (greedy, modest) = (Arc::<Holdings>::default(), Arc::<Holdings>::default());
        (0..5).for_each(|_| assert!(modules.add(&modest, false)));
        (0..10_000).for_each(|_| assert!(modules.add(&greedy, false)));
        assert_eq!(modules.of(&modest), 5);
        assert!((70..=80).contains(&modules.of(&greedy)), "{}", modules.of(&greedy));
    }

    #[test]
    fn one_that_needs_all_of_its_own_is_refused_and_others_are_not() {
        let mut modules = Modules::new(90);
        let (greedy, modest) = (Arc::<Holdings>::default(), Arc::<Holdings>::default());
        let had = (0..1000).filter(|_| modules.add(&greedy, true)).count();
        assert_eq!(had, 80);
        assert!((0..8).all(|_| modules.add(&modest, true)));
    }

    #[test]
    fn where_there_is_none_left_whoever_has_most_gives_one_up() {
        let mut modules = Modules::new(8);
        let all: Vec<_> = (0..9).map(|_| Arc::<Holdings>::default()).collect();
        assert!((0..3).all(|_| modules.add(&all[0], false)));
        assert!(all[1..6].iter().all(|owner| modules.add(owner, true)));
        assert!(modules.add(&all[6], true) && modules.add(&all[7], true));
        assert_eq!((modules.of(&all[0]), modules.of(&all[7])), (1, 1));
        assert!(!modules.add(&all[8], true) || modules.of(&all[0]) == 0);
    }
}
