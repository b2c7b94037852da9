//! Whose turn it is to spawn under a key, and who waits for that.
//!
//! Invariants: under a key one spawns at a time; whoever waits holds no slot, is found by whoever
//! takes its session's attempts back, and spawns in its turn if the one before fails, however
//! that ends.

use super::Residents;
use super::call::key as session_key;
use super::resident::Resident;
use crate::core::Core;
use crate::job::Job;
use crate::session::Session;
use dpfw_protocol::error::Cause;
use dpfw_protocol::ids::AttemptId;
use dpfw_protocol::store::FullKey;
use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::sync::{Arc, Weak};

/// Who spawns under a key, and who waits for it. Bounded by what sessions may hold.
#[derive(Debug, Default)]
pub(super) struct Row {
    /// The attempt, once its guest runs.
    pub(super) under_way: Option<Arc<Resident>>,
    /// Those that wait for it; and itself, once its resident is there and its answer waits for the
    /// disk.
    pub(super) waiting: VecDeque<Job>,
}

impl Row {
    pub(super) fn into_waiting(self) -> VecDeque<Job> {
        self.waiting
    }

    /// Takes those out that wait and are meant.
    fn take(&mut self, is_meant: impl Fn(&Job) -> bool) -> VecDeque<Job> {
        if !self.waiting.iter().any(&is_meant) {
            return VecDeque::new();
        }
        let (out, stay) = std::mem::take(&mut self.waiting).into_iter().partition(is_meant);
        self.waiting = stay;
        out
    }
}

/// The right to spawn under a key. Whoever lets it go without a resident gives it to the next.
pub(super) struct Turn {
    core: Weak<Core>,
    pub(super) key: FullKey,
    pub(super) is_over: bool,
}

impl Drop for Turn {
    fn drop(&mut self) {
        if !self.is_over
            && let Some(core) = self.core.upgrade()
        {
            pass(&core, &self.key);
        }
    }
}

impl fmt::Debug for Turn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Turn").field(&self.key).finish()
    }
}

/// The next that waits spawns.
pub(super) fn pass(core: &Arc<Core>, key: &FullKey) {
    loop {
        let mut rows = core.residents.rows();
        let Some(row) = rows.get_mut(key) else {
            return;
        };
        row.under_way = None;
        let Some(mut job) = row.waiting.pop_front() else {
            rows.remove(key);
            return;
        };
        drop(rows);
        if let Some(spawning) = &mut job.spawn {
            spawning.turn = Some(turn(core, key));
        }
        match core.queue.push(job) {
            Ok(()) => return,
            Err(mut job) => {
                // It is passed on here, not within what is dropped.
                if let Some(turn) = job.spawn.as_mut().and_then(|spawning| spawning.turn.as_mut()) {
                    turn.is_over = true;
                }
                core.refuse(
                    &job,
                    Cause::Busy { what: "too many attempts wait at the slave".into() },
                );
            }
        }
    }
}

/// The right to spawn under a key that nobody else has.
pub(super) fn turn(core: &Arc<Core>, key: &FullKey) -> Turn {
    Turn { core: Arc::downgrade(core), key: key.clone(), is_over: false }
}

impl Residents {
    /// The session's attempts that spawn or wait to.
    pub(crate) fn attempts(&self, session: &Arc<Session>) -> Vec<AttemptId> {
        let mut attempts = Vec::new();
        for row in self.rows().values() {
            let its = row.waiting.iter().filter(|job| Arc::ptr_eq(&job.session, session));
            attempts.extend(its.map(|job| job.attempt));
            let current = row.under_way.as_ref().and_then(|it| it.lock().current);
            let current = current.filter(|(of, _)| *of == session_key(session));
            attempts.extend(current.map(|(_, attempt)| AttemptId(attempt)));
        }
        attempts
    }

    /// Takes the session's attempts out that wait to spawn and are meant.
    pub(crate) fn take(
        &self,
        session: &Arc<Session>,
        is_meant: impl Fn(AttemptId) -> bool,
    ) -> Vec<Job> {
        let is_it = |job: &Job| Arc::ptr_eq(&job.session, session) && is_meant(job.attempt);
        self.rows().values_mut().flat_map(|row| row.take(is_it)).collect()
    }

    /// Takes the attempts out that wait under a key and are meant.
    pub(super) fn take_from(
        &self,
        key: &FullKey,
        is_meant: impl Fn(&Job) -> bool,
    ) -> VecDeque<Job> {
        self.rows().get_mut(key).map_or_else(VecDeque::new, |row| row.take(is_meant))
    }

    /// Stops an attempt whose constructor waits.
    pub(crate) fn stop_spawning(
        &self,
        core: &Arc<Core>,
        session: &Arc<Session>,
        attempt: Option<AttemptId>,
    ) {
        let under_way: Vec<_> =
            self.rows().values().filter_map(|row| row.under_way.clone()).collect();
        for resident in under_way {
            let is_meant = |(of, number): (usize, u64)| {
                of == session_key(session) && attempt.is_none_or(|attempt| attempt.0 == number)
            };
            resident.stop_if(core, Cause::Cancelled, is_meant);
        }
    }
}

/// Rows by their keys.
pub(super) type Rows = HashMap<FullKey, Row>;
