//! What becomes of code that masters send, or that was in the cache.
//!
//! Owns: how those hear of it who wait. Invariants: what is wrong with an answer is told to the
//! attempts of that master alone; only what was found out of the code itself is remembered as a
//! refusal; an image that a master sent whole is for its own tasks, and one that is refused is
//! made of its recipe instead, once.

use super::cache::Artifact;
use super::cell::{Asked, State, its};
use super::code::CodeId;
use super::image::{self, Source};
use super::load::{Decided, Loaded, Modules, Release};
use crate::job::Job;
use crate::session::{Session, tell_of};
use dpfw_protocol::error::Cause;
use dpfw_protocol::ids::AttemptId;
use dpfw_protocol::message::{Origin, Queued};
use std::collections::HashMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, MutexGuard};
use std::time::Duration;

impl Modules {
    /// A master sent what was asked for, or says that it has none; or it cannot send it. What
    /// is wrong with the answer is told to that master's attempts alone; others are asked next.
    pub(crate) fn offered(
        &self,
        from: &Arc<Session>,
        code: CodeId,
        source: Result<Source, Cause>,
        release: &Release,
    ) {
        let mut cells = self.lock();
        let Some(asked) = asked_of(&mut cells, code, from) else {
            return;
        };
        let first = asked.waiting.iter().find(|job| Arc::ptr_eq(&job.session, from));
        let first = first.map_or(AttemptId(0), |job| job.attempt);
        let cause = match source {
            Ok(source) if source.is_sent() => return self.sent(cells, from, code, source, release),
            Ok(source) => match self.load(code, source, from, first) {
                Ok(number) => {
                    let waiting = std::mem::take(&mut asked.waiting);
                    cells.insert(code, State::Loading(number, waiting));
                    return;
                }
                Err(cause) => cause,
            },
            Err(cause) => cause,
        };
        // Only what was found out of the module itself is remembered.
        let failed = asked.without(from);
        if asked.whom.is_empty() && !asked.ask() {
            cells.remove(&code);
        }
        let failed = failed.into_iter().map(|job| {
            // What was wrong with a snapshot says more than that there is nothing else.
            let cause = job.refused.as_deref().unwrap_or(&cause).clone();
            if job.refused.is_some() {
                self.refuse_sent(&mut cells, &job, &cause);
            }
            (job, cause)
        });
        let failed: Vec<_> = failed.collect();
        drop(cells);
        failed.into_iter().for_each(|(job, cause)| release(job, Err(cause)));
    }

    /// A master sent an image whole that this slave does not take as it is: too large, for
    /// instance. What it is made of is asked for instead.
    pub(crate) fn snapshot_refused(
        &self,
        from: &Arc<Session>,
        code: CodeId,
        cause: &Cause,
        release: &Release,
    ) {
        let mut cells = self.lock();
        let Some(asked) = asked_of(&mut cells, code, from) else {
            return;
        };
        let jobs = asked.without(from);
        if asked.whom.is_empty() && !asked.ask() {
            cells.remove(&code);
        }
        let decided = self.want_recipe(&mut cells, jobs, cause);
        drop(cells);
        decided.into_iter().for_each(|(job, outcome)| release(job, outcome));
    }

    /// Jobs that were sent an image which was refused wait for what it is made of: once, or two
    /// sides that differ would go on for ever. Those that do not wait.
    fn want_recipe(
        &self,
        cells: &mut HashMap<CodeId, State>,
        jobs: Vec<Job>,
        cause: &Cause,
    ) -> Vec<Decided> {
        let mut decided = Vec::new();
        for mut job in jobs {
            if job.refused.is_some() {
                self.refuse_sent(cells, &job, cause);
                decided.push((job, Err(cause.clone())));
                continue;
            }
            job.refused = Some(Box::new(cause.clone()));
            decided.extend(self.find_in(cells, job));
        }
        decided
    }

    /// Remembers that an image is not taken as its master sends it, when there is nothing else to
    /// make it of; if its master may have one more. What is not remembered is sent again.
    fn refuse_sent(&self, cells: &mut HashMap<CodeId, State>, job: &Job, cause: &Cause) {
        let Some(wanted) = &job.bound.image else {
            return;
        };
        let code = CodeId::Image(wanted.sent);
        if !cells.contains_key(&code) && self.own(cells, code, &job.session.holdings).is_ok() {
            cells.insert(code, State::Refused(cause.clone()));
        }
    }

    /// A master sent an image whole: it is for its own tasks alone, and its own among the modules.
    /// Others go on waiting for what it is made of.
    fn sent(
        &self,
        mut cells: MutexGuard<'_, HashMap<CodeId, State>>,
        from: &Arc<Session>,
        code: CodeId,
        source: Source,
        release: &Release,
    ) {
        let Some(State::Asked(asked)) = cells.get_mut(&code) else {
            return;
        };
        let jobs = asked.take_of(from);
        if asked.waiting.is_empty() || (asked.whom.is_empty() && !asked.ask()) {
            cells.remove(&code);
        }
        let wanted = jobs.iter().find_map(|job| job.bound.image.as_ref().map(|w| (w, job)));
        let Some((code, attempt)) = wanted.map(|(w, job)| (CodeId::Image(w.sent), job.attempt))
        else {
            return;
        };
        let number = self
            .own(&mut cells, code, &from.holdings)
            .and_then(|()| self.load(code, source, from, attempt));
        match number {
            Ok(number) => {
                cells.insert(code, State::Loading(number, jobs));
            }
            Err(cause) => {
                drop(cells);
                jobs.into_iter().for_each(|job| release(job, Err(cause.clone())));
            }
        }
    }

    /// The loader is done: code was looked for, or the load of this number has come to its
    /// end. What was decided before stays as it is.
    pub(super) fn decided(
        self: &Arc<Self>,
        code: CodeId,
        load: Option<u64>,
        outcome: Result<Artifact, Cause>,
        release: &Release,
    ) {
        let loaded = outcome.map(|artifact| {
            let number = self.ready.fetch_add(1, Ordering::Relaxed);
            Arc::new(Loaded::new(number, code, artifact))
        });
        let origin = match (load, &loaded) {
            (Some(_), Ok(it)) => it.artifact.image.as_ref().map_or(Origin::Built, |i| i.origin),
            _ => Origin::Kept,
        };
        // Not under the lock: the store may let others go for it.
        let kept = loaded.map(|loaded| self.keep(code, loaded, origin));
        // What the store says of it does not follow from the module.
        let lasts = matches!(&kept, Err(cause) if is_lasting(cause));
        let refused = kept.as_ref().err().filter(|cause| !cause.is_recoverable()).cloned();
        let outcome = kept.flatten();
        let mut cells = self.lock();
        let waiting = match (cells.get_mut(&code), load) {
            (Some(State::Looking(waiting)), None) => std::mem::take(waiting),
            (Some(State::Loading(number, waiting)), Some(load)) if *number == load => {
                let waiting = std::mem::take(waiting);
                if outcome.is_ok() {
                    tell_of(waiting.iter().map(its), |attempts| Queued { attempts });
                }
                waiting
            }
            _ => return,
        };
        self.tell_audit(code, load.is_some(), &outcome, &waiting);
        if let (Some(cause), true) = (refused, was_sent(code, &waiting)) {
            cells.remove(&code);
            tracing::warn!(%code, %cause, "a snapshot is refused; what it is made of is asked for");
            let decided = self.want_recipe(&mut cells, waiting, &cause);
            decided.into_iter().for_each(|(job, outcome)| release(job, outcome));
            return;
        }
        if let Ok(loaded) = &outcome {
            let since = waiting.iter().map(|job| job.arrived).min();
            let took = since.map_or(Duration::ZERO, |since| since.elapsed());
            image::tell_ready(loaded, waiting.iter().map(|job| &job.session), origin, took);
        }
        let state = match &outcome {
            Ok(loaded) => State::Ready(Arc::clone(loaded)),
            Err(cause) => State::Refused(cause.clone()),
        };
        cells.insert(code, state);
        // What does not follow from the module itself may go better next time; and of an image
        // that nobody waits for it is not known whether it was sent, or what it is to be called.
        let is_nobodys = waiting.is_empty() && matches!(code, CodeId::Image(_));
        let is_kept = |loaded: &Arc<Loaded>| loaded.standing.kept().is_some();
        if outcome.as_ref().map_or(!lasts || is_nobodys, |it| is_nobodys && !is_kept(it)) {
            cells.remove(&code);
        }
        // Under the lock: an attempt is here until it is in the queue, so that whoever looks
        // for it here and then there finds it.
        waiting.into_iter().for_each(|job| release(job, outcome.clone()));
        drop(cells);
    }
}

/// What this session was asked for. What was asked of nobody, or of somebody else, is not looked
/// at.
fn asked_of<'a>(
    cells: &'a mut HashMap<CodeId, State>,
    code: CodeId,
    from: &Arc<Session>,
) -> Option<&'a mut Asked> {
    match cells.get_mut(&code) {
        Some(State::Asked(asked)) if asked.has_asked(from) => Some(asked),
        _ => None,
    }
}

/// Whether this code was sent by the master of those who wait for it.
fn was_sent(code: CodeId, waiting: &[Job]) -> bool {
    let wanted = waiting.first().and_then(|job| job.bound.image.as_ref());
    wanted.is_some_and(|wanted| CodeId::Image(wanted.sent) == code)
}

fn is_lasting(cause: &Cause) -> bool {
    !cause.is_recoverable() && !matches!(cause, Cause::Internal { .. })
}
