//! The thread that writes what waits: all of it in one transaction, with one fsync.
//!
//! While it writes the next ones gather, so that a thousand who wait cost a few commits and not a
//! thousand. Owns: the database. Invariants: nobody is told that something is on disk before the
//! commit that has it is; what a full disk did not take waits on, unless it was changed since, and
//! is tried again; once the disk failed nothing is written any more.

use super::commit::transact;
use super::file::{DirectoryError, Fault, Files};
use super::format;
use super::{Change, Done, HOLD, Part, Shared, State};
use dpfw_protocol::error::{Cause, Storage};
use dpfw_protocol::store::{FullKey, Version};
use redb::Database;
use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

/// How soon a full disk is tried again, at least.
const RETRY: Duration = Duration::from_millis(500);

/// A try opens the database anew, which takes the longer the larger it is: at most this part of
/// the time.
const RETRY_SHARE: u32 = 10;

/// Versions that are reserved at once. Those that were not used when a process is killed never
/// are, and no run of writes gets through so many between two commits.
const VERSION_STEP: u64 = 1 << 32;

/// Changes whose memory is used again, at most.
const SPARE: usize = 16 << 10;

/// How long others are waited for at most, when somebody waits.
const GATHER: Duration = Duration::from_millis(10);

/// So many are told before what they are told leaves: others go on while the rest is told.
const TOLD: usize = 128;

/// What is written together.
struct Batch {
    changes: HashMap<(Part, FullKey), Change>,
    bytes: u64,
    waiting: Vec<Done>,
    closing: bool,
}

pub(super) struct Writer {
    files: Files,
    /// Not there while the disk is full, or after it failed.
    database: Option<Database>,
    shared: Arc<Shared>,
    versions: Arc<AtomicU64>,
    retry: Duration,
    /// How many waited for the last commit, and what it took.
    last: (usize, Duration),
    /// What held the last changes: its memory is used again.
    spare: HashMap<(Part, FullKey), Change>,
}

impl Writer {
    pub(super) fn new(
        files: Files,
        database: Database,
        shared: &Arc<Shared>,
        versions: &Arc<AtomicU64>,
    ) -> Self {
        let (shared, versions) = (Arc::clone(shared), Arc::clone(versions));
        let (last, spare) = Default::default();
        Self { files, database: Some(database), shared, versions, retry: RETRY, last, spare }
    }

    /// Writes down how many versions may be given out, before one is.
    ///
    /// # Errors
    /// [`DirectoryError`] if it cannot be written.
    pub(super) fn reserve_versions(&mut self) -> Result<(), DirectoryError> {
        let upto = self.versions.load(Ordering::Relaxed).saturating_add(VERSION_STEP);
        let nothing = HashMap::new();
        let written = self.commit(&nothing, |_, _| true, Some(upto));
        written.map_err(|fault| self.files.unusable(fault))?;
        self.shared.upto.store(upto, Ordering::Release);
        Ok(())
    }

    /// Writes until it is to close.
    pub(super) fn work(mut self) {
        loop {
            let batch = self.next();
            let is_last = batch.closing;
            self.write(batch);
            if is_last {
                break;
            }
        }
        let lost = self.shared.pending().changes.len();
        if lost > 0 {
            tracing::warn!(lost, "the last changes of the store are not on disk, which is full");
        }
        let never = self.end(State::Closed);
        never.into_iter().for_each(|done| done(Err(Cause::Draining)));
    }

    /// Waits for something to do.
    fn next(&mut self) -> Batch {
        let begun = Instant::now();
        let mut pending = self.shared.pending();
        pending.enough = self.last.0 / 2;
        loop {
            let now = Instant::now();
            let pause = match self.shared.state() {
                State::Well
                    if pending.is_many() || pending.waiting.len() >= pending.enough.max(1) =>
                {
                    Some(Duration::ZERO)
                }
                // Those who waited for the last commit write again, most likely: half of them are
                // waited for, as long as it would take to commit what is there without them.
                State::Well if !pending.waiting.is_empty() => {
                    Some((begun + self.last.1.min(GATHER)).saturating_duration_since(now))
                }
                State::Well => {
                    pending.since.map(|since| (since + HOLD).saturating_duration_since(now))
                }
                // Whatever there is by then.
                State::Full => Some((begun + self.retry).saturating_duration_since(now)),
                State::Failed | State::Closed => None,
            };
            if pending.closing || pause.is_some_and(|pause| pause.is_zero()) {
                let changes =
                    std::mem::replace(&mut pending.changes, std::mem::take(&mut self.spare));
                let waiting = std::mem::take(&mut pending.waiting);
                let bytes = std::mem::take(&mut pending.bytes);
                pending.since = None;
                return Batch { changes, bytes, waiting, closing: pending.closing };
            }
            pending = match pause {
                Some(pause) => {
                    let waited = self.shared.work.wait_timeout(pending, pause);
                    waited.unwrap_or_else(PoisonError::into_inner).0
                }
                None => self.shared.work.wait(pending).unwrap_or_else(PoisonError::into_inner),
            };
        }
    }

    /// Writes a batch, and tells those who waited for it.
    fn write(&mut self, batch: Batch) {
        let Batch { changes, bytes, waiting, closing } = batch;
        let before = self.shared.state();
        if before == State::Failed {
            // It is to close.
            return self.tell(waiting, Some(Storage::Failed));
        }
        let (upto, begun) = (self.next_upto(closing), Instant::now());
        let is_nothing = changes.is_empty() && upto.is_none() && before == State::Well;
        let written = if is_nothing { Ok(()) } else { self.put(&changes, before, upto) };
        match written {
            Ok(()) => {
                if let Some(upto) = upto {
                    self.shared.upto.store(upto, Ordering::Release);
                }
                if before == State::Full {
                    tracing::info!(directory = %self.files.directory.display(),
                        "there is room on the disk again: the store is written");
                    self.shared.state.store(State::Well as u8, Ordering::Release);
                }
                self.last = (waiting.len(), begun.elapsed());
                self.keep_spare(changes);
                self.tell(waiting, None);
            }
            Err(fault) => self.failed(fault, changes, bytes, waiting),
        }
    }

    /// Uses the memory of what was written again, if it is not large.
    fn keep_spare(&mut self, mut changes: HashMap<(Part, FullKey), Change>) {
        if changes.capacity() <= SPARE {
            changes.clear();
            self.spare = changes;
        }
    }

    /// Up to which version is to be written down, if there are few left. The last thing that is
    /// written is what was used.
    fn next_upto(&self, closing: bool) -> Option<Version> {
        let used = self.versions.load(Ordering::Relaxed);
        let upto = self.shared.upto.load(Ordering::Acquire);
        match closing {
            true => Some(used),
            false => (used > upto - VERSION_STEP / 2).then(|| used.saturating_add(VERSION_STEP)),
        }
    }

    fn put(
        &mut self,
        changes: &HashMap<(Part, FullKey), Change>,
        before: State,
        upto: Option<Version>,
    ) -> Result<(), Fault> {
        if before == State::Full {
            self.reopen()?;
            // First what makes room.
            if changes.values().any(Option::is_none) {
                self.commit(changes, |_, change| change.is_none(), None)?;
            }
        }
        self.commit(changes, |_, _| true, upto)
    }

    /// Opens the database anew: after an error it takes nothing any more.
    fn reopen(&mut self) -> Result<(), Fault> {
        let begun = Instant::now();
        let opened = catch_unwind(AssertUnwindSafe(|| self.files.database()));
        self.retry = RETRY.max(begun.elapsed() * RETRY_SHARE);
        let opened = opened.unwrap_or_else(|_| Err(panicked()));
        self.database = Some(opened.map_err(|error| self.files.fault(error))?.0);
        Ok(())
    }

    fn commit(
        &self,
        changes: &HashMap<(Part, FullKey), Change>,
        which: impl Fn(&(Part, FullKey), &Change) -> bool,
        upto: Option<Version>,
    ) -> Result<(), Fault> {
        let Some(database) = &self.database else {
            return Err(Fault::Failed(redb::Error::DatabaseClosed));
        };
        // In the order of the tree, which is quicker.
        let chosen = changes.iter().filter(|(key, change)| which(key, change));
        let mut chosen: Vec<_> =
            chosen.map(|((part, key), change)| (*part, format::key_bytes(key), change)).collect();
        chosen.sort_unstable_by(|(p, a, _), (q, b, _)| (p, a).cmp(&(q, b)));
        let written = catch_unwind(AssertUnwindSafe(|| transact(database, &chosen, upto)));
        written.unwrap_or_else(|_| Err(panicked())).map_err(|error| self.files.fault(error))
    }

    /// The disk is full or failed.
    fn failed(
        &mut self,
        fault: Fault,
        changes: HashMap<(Part, FullKey), Change>,
        bytes: u64,
        waiting: Vec<Done>,
    ) {
        let directory = self.files.directory.display().to_string();
        self.close_database();
        match fault {
            Fault::Full(error) => {
                if self.shared.state() == State::Well {
                    tracing::warn!(%directory, %error, "the disk is full: the store takes nothing \
                        until there is room");
                }
                let mut late = self.again(changes, bytes);
                late.extend(waiting);
                self.tell(late, Some(Storage::Full));
            }
            Fault::Failed(error) => {
                tracing::error!(%directory, %error, "the disk failed: the store is not written any \
                    more, and takes nothing until the slave starts again");
                let mut late = self.end(State::Failed);
                late.extend(waiting);
                self.tell(late, Some(Storage::Failed));
            }
        }
    }

    /// What was not written waits again, but for what was changed since. Gives who waits.
    fn again(&self, changes: HashMap<(Part, FullKey), Change>, bytes: u64) -> Vec<Done> {
        let mut pending = self.shared.pending();
        self.shared.state.store(State::Full as u8, Ordering::Release);
        let newer = std::mem::replace(&mut pending.changes, changes);
        pending.bytes = bytes;
        newer.into_iter().for_each(|(key, change)| pending.note(key, change));
        std::mem::take(&mut pending.waiting)
    }

    /// Nothing is written any more. Gives who waits.
    fn end(&mut self, state: State) -> Vec<Done> {
        self.close_database();
        let mut pending = self.shared.pending();
        self.shared.state.store(state as u8, Ordering::Release);
        pending.bytes = 0;
        let (changes, waiting) =
            (std::mem::take(&mut pending.changes), std::mem::take(&mut pending.waiting));
        drop(pending);
        // Behind the lock: they may be large.
        drop(changes);
        waiting
    }

    fn close_database(&mut self) {
        let database = self.database.take();
        // It writes when it is closed, which may fail as anything else.
        if catch_unwind(AssertUnwindSafe(|| drop(database))).is_err() {
            tracing::error!("the store's database panicked when it was closed");
        }
    }

    fn tell(&self, waiting: Vec<Done>, why: Option<Storage>) {
        if waiting.is_empty() {
            return;
        }
        for (n, done) in waiting.into_iter().enumerate() {
            if n % TOLD == TOLD - 1 {
                self.flush();
            }
            let outcome = why.clone().map_or(Ok(()), |what| Err(Cause::Storage { what }));
            // A panic of one of them must not be the end of the others.
            if catch_unwind(AssertUnwindSafe(|| done(outcome))).is_err() {
                tracing::error!("who waited for the store panicked");
            }
        }
        self.flush();
    }

    fn flush(&self) {
        if let Some(told) = self.shared.told.get() {
            told();
        }
    }
}

fn panicked() -> redb::Error {
    redb::Error::Corrupted("its database panicked".into())
}
