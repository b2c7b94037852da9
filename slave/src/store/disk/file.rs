//! The directory of a store: who has it, and the files in it.
//!
//! Owns: the lock, opening the database, which fault of it is which. Invariants: of all processes
//! one has the directory open, from before it looks into it until it has closed the database; an
//! fsync that failed is remembered, for what the system says of the file afterwards is not to be
//! trusted.

use crate::private::make_private;
use dpfw_protocol::error::Limit;
use redb::backends::FileBackend;
use redb::{Database, StorageBackend};
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// What the database may keep in memory: pages that it writes, and the inner ones of its trees.
/// Values are read from the store's own memory.
const CACHE: usize = 32 << 20;

/// A directory cannot be used for a store.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DirectoryError {
    /// Another slave has it.
    #[error(
        "{} is the store of another slave{}: end that one, or give this one a directory of its own",
        directory.display(), Process(*process)
    )]
    Used {
        /// The directory.
        directory: PathBuf,
        /// The other's process, if it is known.
        process: Option<u32>,
    },
    /// It cannot be made, read, locked or written.
    #[error("the store in {} cannot be opened: {source}", directory.display())]
    Io {
        /// The directory.
        directory: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// What is there is no store, or is damaged.
    #[error(
        "the store in {} cannot be read: {what}; put a copy of it back, or move it away to begin \
         with an empty one",
        directory.display()
    )]
    Damaged {
        /// The directory.
        directory: PathBuf,
        /// What is wrong.
        what: String,
    },
    /// It was written by a later version.
    #[error("the store in {} has the format {found}, which this version does not know", directory.display())]
    Format {
        /// The directory.
        directory: PathBuf,
        /// The number of its format.
        found: u64,
    },
    /// What is there and may not be evicted is more than the slave's limit allows.
    #[error(
        "the store in {} has {} that may not be evicted, and the limit on {limit} is {}: raise it, \
         or start the slave as before and remove some",
        directory.display(), limit.amount(*needed), limit.amount(*allowed)
    )]
    Quota {
        /// The directory.
        directory: PathBuf,
        /// Which limit.
        limit: Limit,
        /// What there is.
        needed: u64,
        /// What is allowed.
        allowed: u64,
    },
    /// The system has no thread for writing.
    #[error("the store cannot be written: {0}")]
    Thread(io::Error),
}

struct Process(Option<u32>);

impl std::fmt::Display for Process {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.map_or(Ok(()), |process| write!(f, " (process {process})"))
    }
}

/// Why something was not written.
#[derive(Debug)]
pub(super) enum Fault {
    /// There is no room.
    Full(redb::Error),
    /// Anything else.
    Failed(redb::Error),
}

/// What the database is opened over.
type Open = Box<dyn Fn() -> io::Result<Box<dyn StorageBackend>> + Send>;

/// A directory that this process has.
pub(super) struct Files {
    pub(super) directory: PathBuf,
    open: Open,
    sync_failed: Arc<AtomicBool>,
    /// Given back when it is closed.
    _lock: Option<File>,
}

impl Files {
    /// Takes a directory, which is made if there is none.
    ///
    /// # Errors
    /// [`DirectoryError::Used`] if another process has it, [`DirectoryError::Io`].
    pub(super) fn open(directory: &Path) -> Result<Self, DirectoryError> {
        let failed = |source| DirectoryError::Io { directory: directory.to_path_buf(), source };
        make_private(directory).map_err(failed)?;
        let options = OpenOptions::new().read(true).write(true).create(true).clone();
        let mut lock = options.open(directory.join("lock")).map_err(failed)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut holder = String::new();
                // Who it is helps, and is not needed.
                let _ = lock.read_to_string(&mut holder);
                let process = holder.trim().parse().ok();
                return Err(DirectoryError::Used { directory: directory.to_path_buf(), process });
            }
            Err(TryLockError::Error(error)) => return Err(failed(error)),
        }
        let written = lock.set_len(0).and_then(|()| lock.rewind());
        // On a disk that is full nobody is told who it is.
        let _ = written.and_then(|()| writeln!(lock, "{}", std::process::id()));
        let path = directory.join("store.redb");
        let open = move || -> io::Result<Box<dyn StorageBackend>> {
            let file = options.open(&path)?;
            Ok(Box::new(FileBackend::new(file).map_err(io::Error::other)?))
        };
        Ok(Self::over(directory, Box::new(open), Some(lock)))
    }

    /// A directory whose database is opened by this.
    pub(super) fn over(directory: &Path, open: Open, lock: Option<File>) -> Self {
        let directory = directory.to_path_buf();
        Self { directory, open, sync_failed: Arc::default(), _lock: lock }
    }

    /// Opens the database; whether it was not closed in order, so that its last whole commit was
    /// looked for.
    pub(super) fn database(&self) -> Result<(Database, bool), redb::Error> {
        let inner = (self.open)()?;
        let backend = Watched { inner, sync_failed: Arc::clone(&self.sync_failed) };
        let repaired = Arc::new(AtomicBool::new(false));
        let mut builder = Database::builder();
        builder.set_cache_size(CACHE).set_repair_callback({
            let repaired = Arc::clone(&repaired);
            move |_| repaired.store(true, Ordering::Relaxed)
        });
        let database = builder.create_with_backend(backend)?;
        Ok((database, repaired.load(Ordering::Relaxed)))
    }

    /// What an error of the database comes to.
    pub(super) fn fault(&self, error: redb::Error) -> Fault {
        use io::ErrorKind::{FileTooLarge, QuotaExceeded, StorageFull};
        let is_full = match &error {
            redb::Error::Io(io) => matches!(io.kind(), StorageFull | QuotaExceeded | FileTooLarge),
            _ => false,
        };
        // What a failed fsync did not write may be gone, whatever its reason.
        match is_full && !self.sync_failed.load(Ordering::Relaxed) {
            true => Fault::Full(error),
            false => Fault::Failed(error),
        }
    }
}

/// A file that remembers a failed fsync. It has no locks of its own: the directory's is enough.
#[derive(Debug)]
struct Watched {
    inner: Box<dyn StorageBackend>,
    sync_failed: Arc<AtomicBool>,
}

impl StorageBackend for Watched {
    fn len(&self) -> io::Result<u64> {
        self.inner.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.inner.read(offset, out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.inner.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        let synced = self.inner.sync_data();
        if synced.is_err() {
            self.sync_failed.store(true, Ordering::Relaxed);
        }
        synced
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.inner.write(offset, data)
    }

    fn close(&self) -> io::Result<()> {
        self.inner.close()
    }
}
