//! The store's values on disk: what changes in memory is written behind it, by one thread.
//!
//! Owns: what waits to be written, who waits for that, how the disk is. Does not: answer reads;
//! memory does, so a reader may see a value that is not on disk yet. Invariants: a change is
//! noted while its entry's shard is locked, and of each key the latest alone waits, so that the
//! order on disk is that of the versions; who waits is told once, when everything that was noted
//! before is on disk, or that it is not; what waits is bounded (`pending`, [`MOST_WAITING`]), and
//! nobody who writes waits for the disk under a lock.

use super::ledger::Account;
use dpfw_protocol::Bytes;
use dpfw_protocol::error::{Cause, Limit, Storage};
use dpfw_protocol::store::{FullKey, Version};
use file::Files;
use pending::Pending;
use std::fmt;
use std::path::Path;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

pub use file::DirectoryError;
pub(super) use format::Stored;
pub(super) use load::Loaded;

mod commit;
mod file;
mod format;
mod load;
mod pending;
mod writer;

#[cfg(test)]
mod tests;

/// How long a change waits for others when nobody waits for it. It is on disk within a second, also
/// if it is a state of a resident, which is taken half a second after what changed it.
const HOLD: Duration = Duration::from_millis(500);

/// Who may wait for the disk at once.
const MOST_WAITING: usize = 64 << 10;

/// What the database takes as one value, less what stands before it.
const MOST_VALUE: u64 = (3 << 30) - 4096;

/// Called once, on the writer's thread or on the caller's.
pub(super) type Done = Box<dyn FnOnce(Result<(), Cause>) + Send>;

/// What is written under a key.
#[derive(Clone, Debug)]
pub(super) struct Record {
    pub(super) version: Version,
    pub(super) owner: Arc<Account>,
    pub(super) evictable: bool,
    pub(super) pinned: bool,
    pub(super) time: Option<Time>,
    /// Shared with the entry.
    pub(super) content: Bytes,
}

/// How long an entry had to live, and when that was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Time {
    pub(super) left_ms: u64,
    /// Of the wall clock, since 1970: the only one that goes on while there is no process.
    pub(super) at_ms: u64,
}

impl Time {
    /// What is left of it. A wall clock that was put back takes nothing away.
    pub(super) fn left_at(self, now_ms: u64) -> u64 {
        self.left_ms.saturating_sub(now_ms.saturating_sub(self.at_ms))
    }
}

/// Milliseconds since 1970.
pub(super) fn wall_ms() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.map_or(0, |since| since.as_millis() as u64)
}

/// What a key is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Part {
    Values,
    /// The saved states of residents.
    Saved,
}

/// What is to be under a key; nothing if it is gone.
type Change = Option<Record>;

/// How the disk is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum State {
    Well = 0,
    Full = 1,
    Failed = 2,
    /// The slave has ended.
    Closed = 3,
}

/// Shared with the writer.
struct Shared {
    pending: Mutex<Pending>,
    work: Condvar,
    state: AtomicU8,
    /// Versions below this may be given out: what is written down of them on disk.
    upto: AtomicU64,
    /// Called when those who waited were told.
    told: OnceLock<Box<dyn Fn() + Send + Sync>>,
}

impl Shared {
    fn pending(&self) -> MutexGuard<'_, Pending> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn state(&self) -> State {
        match self.state.load(Ordering::Acquire) {
            0 => State::Well,
            1 => State::Full,
            2 => State::Failed,
            _ => State::Closed,
        }
    }

    /// Why nothing is written, if nothing is.
    fn refusal(&self) -> Result<(), Cause> {
        match self.state() {
            State::Well => Ok(()),
            State::Full => Err(Cause::Storage { what: Storage::Full }),
            State::Failed => Err(Cause::Storage { what: Storage::Failed }),
            State::Closed => Err(Cause::Draining),
        }
    }
}

/// A store's disk; see the module's page.
pub(super) struct Disk {
    shared: Arc<Shared>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Disk {
    /// Opens a directory, which no other process may have open; gives what is there.
    ///
    /// # Errors
    /// [`DirectoryError`].
    pub(super) fn open(
        directory: &Path,
        versions: &Arc<AtomicU64>,
        take: impl FnOnce(load::Loaded) -> Result<Gone, DirectoryError>,
    ) -> Result<Self, DirectoryError> {
        Self::start(Files::open(directory)?, versions, take)
    }

    fn start(
        files: Files,
        versions: &Arc<AtomicU64>,
        take: impl FnOnce(load::Loaded) -> Result<Gone, DirectoryError>,
    ) -> Result<Self, DirectoryError> {
        let shared = Arc::new(Shared {
            pending: Mutex::default(),
            work: Condvar::new(),
            state: AtomicU8::new(State::Well as u8),
            upto: AtomicU64::new(0),
            told: OnceLock::new(),
        });
        let (database, loaded) = files.load()?;
        versions.fetch_max(loaded.version, Ordering::Relaxed);
        for key in take(loaded)? {
            shared.pending().note(key, None);
        }
        let mut writer = writer::Writer::new(files, database, &shared, versions);
        // Before any is given out.
        writer.reserve_versions()?;
        let thread = std::thread::Builder::new().name("dpfw-disk".into());
        let thread = thread.spawn(move || writer.work()).map_err(DirectoryError::Thread)?;
        Ok(Self { shared, thread: Mutex::new(Some(thread)) })
    }

    /// How it is.
    pub(super) fn state(&self) -> State {
        self.shared.state()
    }

    /// What is called whenever some of those who waited were told: once, by the slave.
    pub(super) fn on_told(&self, call: Box<dyn Fn() + Send + Sync>) {
        let _ = self.shared.told.set(call);
    }

    /// Whether a value of this length may be written now.
    ///
    /// # Errors
    /// [`Cause::Storage`] if the disk is full or failed, [`Cause::Busy`] if too much waits for it.
    pub(super) fn admits(&self, len: u64, version: Version) -> Result<(), Cause> {
        self.shared.refusal()?;
        if len > MOST_VALUE {
            return Err(Cause::Limit { limit: Limit::Quota, allowed: MOST_VALUE });
        }
        if self.shared.pending().is_full() || version >= self.shared.upto.load(Ordering::Acquire) {
            return Err(behind());
        }
        Ok(())
    }

    /// Whether something may be removed now: a full disk takes that, for it makes room.
    ///
    /// # Errors
    /// [`Cause::Storage`] if the disk failed.
    pub(super) fn admits_removal(&self) -> Result<(), Cause> {
        match self.state() {
            State::Full => Ok(()),
            _ => self.shared.refusal(),
        }
    }

    /// Whether another one may wait for the disk.
    ///
    /// # Errors
    /// [`Cause::Busy`] if too many do.
    pub(super) fn admits_waiting(&self) -> Result<(), Cause> {
        match self.shared.pending().waiting.len() < MOST_WAITING {
            true => Ok(()),
            false => Err(behind()),
        }
    }

    /// Whether so much waits that whoever writes is to wait for the disk.
    pub(super) fn is_behind(&self) -> bool {
        self.shared.pending().is_many()
    }

    /// An entry is so from now on. Called while nobody else can change it.
    pub(super) fn note(&self, part: Part, key: &FullKey, change: Change) {
        // What a failed disk does not take is not kept for it.
        if matches!(self.state(), State::Failed | State::Closed) {
            return;
        }
        let mut pending = self.shared.pending();
        let (was_empty, was_many) = (pending.changes.is_empty(), pending.is_many());
        pending.note((part, key.clone()), change);
        if was_empty {
            pending.since = Some(Instant::now());
        }
        if was_empty || was_many != pending.is_many() {
            self.shared.work.notify_one();
        }
    }

    /// Calls back once all is on disk that was noted before, or is not. Whether it was called back
    /// already.
    pub(super) fn when_kept(&self, done: Done) -> bool {
        let mut pending = self.shared.pending();
        // Looked at under the lock: the writer takes those who wait under it when that changes.
        // A full disk is tried again soon, and what is removed may make it.
        match self.admits_removal() {
            Ok(()) => {
                pending.waiting.push(done);
                let waiting = pending.waiting.len();
                if waiting == 1 || waiting == pending.enough {
                    self.shared.work.notify_one();
                }
                false
            }
            Err(cause) => {
                drop(pending);
                done(Err(cause));
                true
            }
        }
    }

    /// Writes what waits, closes the files and lets the directory go.
    pub(super) fn close(&self) {
        self.shared.pending().closing = true;
        self.shared.work.notify_one();
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if thread.is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the thread that writes the store panicked");
        }
    }
}

/// Keys of what there was no room for any more.
pub(super) type Gone = Vec<(Part, FullKey)>;

fn behind() -> Cause {
    Cause::Busy { what: "more is changed in the store than its disk can take".into() }
}

impl Drop for Disk {
    fn drop(&mut self) {
        self.close();
    }
}

impl fmt::Debug for Disk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Disk({:?})", self.state())
    }
}
