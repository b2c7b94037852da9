//! Jobs that wait for modules and images.
//!
//! Owns: where each waits until its code is decided, and who is asked for that. Invariants: code
//! is looked for once and asked for once, however many need it; a waiting job is found here until
//! it is handed on, which is exactly once.

use super::cell::{Asked, PATIENCE, State, its};
use super::code::CodeId;
use super::image;
use super::load::{Decided, Modules, Release, Work};
use crate::job::Job;
use crate::principals::Holdings;
use crate::queue;
use crate::session::{Session, tell_of};
use dpfw_protocol::error::Cause;
use dpfw_protocol::ids::AttemptId;
use dpfw_protocol::message::{Loading, Origin};
use std::collections::HashMap;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

impl Modules {
    /// Whether an attempt waits for this load.
    pub(super) fn is_wanted(&self, code: CodeId, load: u64) -> bool {
        let is_wanted = |state: &State| match state {
            State::Loading(number, waiting) => *number == load && !waiting.is_empty(),
            _ => false,
        };
        self.lock().get(&code).is_some_and(is_wanted)
    }

    /// The code if it is ready. Otherwise the job waits, or fails.
    pub(crate) fn find(&self, job: Job, release: &Release) {
        let mut cells = self.lock();
        let decided = self.find_in(&mut cells, job);
        drop(cells);
        if let Some((job, decided)) = decided {
            release(job, decided);
        }
    }

    /// A job back, with what it runs on or why it does not run; nothing if it waits.
    pub(super) fn find_in(&self, cells: &mut HashMap<CodeId, State>, job: Job) -> Option<Decided> {
        let code = choose(cells, &job);
        let decided = match cells.get(&code) {
            Some(State::Ready(loaded)) => {
                if let Some(core) = self.core() {
                    core.used(&job, loaded);
                }
                image::tell_ready(loaded, [&job.session], Origin::There, Duration::ZERO);
                Ok(Arc::clone(loaded))
            }
            Some(State::Refused(cause)) => Err(cause.clone()),
            Some(_) | None => match self.wait(cells, code, &job.session) {
                Ok(waiting) => {
                    waiting.push(job);
                    if let Some(state) = cells.get(&code) {
                        state.tell_of_last();
                    }
                    return None;
                }
                Err(cause) => Err(cause),
            },
        };
        Some((job, decided))
    }

    /// Forgets that what this job needs was refused.
    pub(crate) fn forgive(&self, job: &Job) {
        let mut cells = self.lock();
        let code = choose(&mut cells, job);
        if matches!(cells.get(&code), Some(State::Refused(_))) {
            cells.remove(&code);
        }
    }

    /// Where a job waits for code that is not decided.
    fn wait<'a>(
        &self,
        cells: &'a mut HashMap<CodeId, State>,
        code: CodeId,
        session: &Arc<Session>,
    ) -> Result<&'a mut Vec<Job>, Cause> {
        let busy = |what: String| Cause::Busy { what };
        let waiting: usize = cells.values().filter_map(|c| c.waiting().map(Vec::len)).sum();
        if queue::is_full(waiting, self.limits.queued, || waiting_of(cells, session)) {
            return Err(busy(format!("{waiting} attempts wait for modules")));
        }
        if !cells.contains_key(&code) {
            if undecided(cells, session) >= MOST_UNDECIDED {
                return Err(busy(format!("{MOST_UNDECIDED} modules of this master are awaited")));
            }
            self.own(cells, code, &session.holdings)?;
            self.give(Work::Look(code))?;
        }
        let cell = cells.entry(code).or_insert_with(|| State::Looking(Vec::new()));
        cell.waiting_mut().ok_or_else(|| busy("the module is being decided".into()))
    }

    /// Finds room for code that is new, which is a principal's from now on.
    pub(super) fn own(
        &self,
        cells: &mut HashMap<CodeId, State>,
        code: CodeId,
        owner: &Arc<Holdings>,
    ) -> Result<(), Cause> {
        let mut owners = self.owners.lock().unwrap_or_else(PoisonError::into_inner);
        owners.add(cells, code, owner, self.limits.modules)
    }

    /// A session is gone: its waiting jobs with it; others are asked.
    pub(crate) fn session_gone(&self, gone: &Arc<Session>) -> Vec<Job> {
        let mut dropped = Vec::new();
        self.lock().retain(|_, state| match state {
            State::Asked(asked) => {
                dropped.extend(asked.without(gone));
                !asked.whom.is_empty() || asked.ask()
            }
            other => {
                let is_gone = |job: &mut Job| Arc::ptr_eq(&job.session, gone);
                let waiting = other.waiting_mut().into_iter();
                dropped.extend(waiting.flat_map(|w| w.extract_if(.., is_gone)));
                true
            }
        });
        dropped
    }

    /// The session's attempts that wait for a module.
    pub(crate) fn attempts(&self, session: &Arc<Session>) -> Vec<AttemptId> {
        let cells = self.lock();
        let waiting = cells.values().filter_map(State::waiting).flatten();
        let its = waiting.filter(|job| Arc::ptr_eq(&job.session, session));
        its.map(|job| job.attempt).collect()
    }

    /// Takes waiting jobs out for which `is_meant` holds.
    pub(crate) fn take(&self, mut is_meant: impl FnMut(&Job) -> bool) -> Vec<Job> {
        let mut taken = Vec::new();
        for waiting in self.lock().values_mut().filter_map(State::waiting_mut) {
            taken.extend(waiting.extract_if(.., |job| is_meant(job)));
        }
        taken
    }

    /// The loader looked in the cache and found nothing.
    pub(super) fn not_cached(&self, code: CodeId) {
        if let Some(core) = self.core() {
            self.asleep.lost(&core, code);
        }
        let mut cells = self.lock();
        let Some(State::Looking(waiting)) = cells.remove(&code) else {
            return;
        };
        let mut asked = Asked::new(waiting);
        if asked.ask() {
            tell_of(asked.waiting.iter().map(its), |attempts| Loading { attempts });
            cells.insert(code, State::Asked(asked));
        }
    }

    /// Asks others where a master has not answered for long. When to look again, if any
    /// answer is awaited.
    pub(super) fn ask_others(&self) -> Option<Duration> {
        let mut cells = self.lock();
        let mut next = None;
        for state in cells.values_mut() {
            let State::Asked(asked) = state else {
                continue;
            };
            if asked.since.elapsed() >= PATIENCE {
                asked.ask();
            }
            let left = PATIENCE.saturating_sub(asked.since.elapsed());
            next = Some(next.map_or(left, |next: Duration| next.min(left)));
        }
        next
    }
}

/// What a job needs: an image that its own master sent goes before one that was built here.
/// What was let go is forgotten.
fn choose(cells: &mut HashMap<CodeId, State>, job: &Job) -> CodeId {
    let Some(wanted) = &job.bound.image else {
        return CodeId::Module(job.bound.module);
    };
    let both = [CodeId::Image(wanted.sent), CodeId::Image(wanted.built)];
    for code in both {
        if matches!(cells.get(&code), Some(State::Ready(loaded)) if loaded.is_gone()) {
            cells.remove(&code);
        }
    }
    let [sent, built] = both;
    if cells.contains_key(&sent) { sent } else { built }
}

/// Modules of one principal that are not decided: one that names modules and does not send
/// them must not keep others from having theirs.
const MOST_UNDECIDED: usize = 64;

/// Attempts of a session's principal that wait for code.
fn waiting_of(cells: &HashMap<CodeId, State>, session: &Session) -> usize {
    let waiting = cells.values().filter_map(State::waiting).flatten();
    waiting.filter(|job| job.session.is_of_same(session)).count()
}

/// What is looked for or loaded on behalf of a session's principal.
fn undecided(cells: &HashMap<CodeId, State>, session: &Session) -> usize {
    let is_its =
        |waiting: &&Vec<Job>| waiting.first().is_some_and(|job| job.session.is_of_same(session));
    cells.values().filter_map(State::waiting).filter(is_its).count()
}
