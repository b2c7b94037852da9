//! The audit log: one line of JSON for each connection, module load, grant used and refusal.
//!
//! Owns: the way from whoever tells of something to the file, and its thread. `event` is what a
//! line has, `flood` which of them become one line, `file` the file and those before it. Does not:
//! decide anything; the log of the process is `tracing`'s. Invariants: whoever tells of something
//! never waits: what finds the queue full is counted and dropped, and the count is a line as soon
//! as there is room again, for a disk that hangs is not to hold up every link; when a slave was
//! ended, what was told is in the file.

pub(crate) mod event;
mod file;
mod flood;

pub(crate) use event::{Event, Origin, Outcome, Proof, role, short};
pub use file::AuditError;

use event::Line;
use file::Log;
use flood::{Floods, WINDOW};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Instant;

/// An audit log that a slave keeps.
///
/// The file has mode 0600 and is appended to. When it is full it becomes `FILE.1`, that one
/// `FILE.2` and so on; so the disk has `keep + 1` files of `most_bytes` at most.
///
/// ```no_run
/// use dpfw_slave::{Audit, Slave};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let audit = Audit { keep: 30, ..Audit::new("/var/log/dpfw/audit.jsonl") };
/// let slave = Slave::builder().audit(audit).build()?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Audit {
    /// The file that is written.
    pub file: PathBuf,
    /// How large it becomes.
    pub most_bytes: u64,
    /// How many full ones are kept.
    pub keep: u32,
}

impl Audit {
    /// In this file, of 64 MiB, with eight full ones.
    pub fn new(file: impl Into<PathBuf>) -> Self {
        Self { file: file.into(), most_bytes: 64 << 20, keep: 8 }
    }
}

/// Lines that may wait for the disk: of some 300 bytes each, up to 2 KiB.
const QUEUE: usize = 4_096;

/// Where a slave's events go; nowhere unless it was [opened](Self::open).
#[derive(Debug, Default)]
pub(crate) struct AuditLog(Mutex<Option<Way>>);

#[derive(Debug)]
struct Way {
    lines: SyncSender<Vec<u8>>,
    shared: Arc<Shared>,
    writer: JoinHandle<()>,
}

/// What those who tell and the writer both know.
#[derive(Debug, Default)]
struct Shared {
    /// Lines that are not in the file since that was last written there.
    lost: AtomicU64,
    floods: Mutex<Floods>,
}

impl AuditLog {
    /// Opens the file and starts the writer. Once, by the builder.
    ///
    /// # Errors
    /// [`AuditError`] if the file cannot be written, or another slave writes it.
    pub(crate) fn open(&self, audit: &Audit) -> Result<(), AuditError> {
        let log = Log::open(audit)?;
        let (lines, queue) = sync_channel(QUEUE);
        let shared = Arc::new(Shared::default());
        let its = Arc::clone(&shared);
        let thread = std::thread::Builder::new().name("dpfw-audit".into());
        let writer = thread
            .spawn(move || Writer { log, shared: its }.run(&queue))
            .map_err(|source| AuditError::Io { file: audit.file.clone(), source })?;
        *self.way() = Some(Way { lines, shared, writer });
        Ok(())
    }

    fn way(&self) -> MutexGuard<'_, Option<Way>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells of an event. What it is made of is not looked at if nobody keeps a log.
    pub(crate) fn tell(&self, event: impl FnOnce() -> Event) {
        let way = self.way();
        let Some(Way { lines, shared, .. }) = &*way else { return };
        let event = event();
        let is_line = shared.floods().passes(Instant::now(), &event);
        if is_line
            && let Err(TrySendError::Full(_)) = lines.try_send(Line::of(&event, 1).to_bytes())
        {
            shared.lost.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Waits until everything that was told is in the file. Nothing is told any more.
    pub(crate) fn close(&self) {
        let Some(Way { lines, writer, .. }) = self.way().take() else { return };
        drop(lines);
        if writer.join().is_err() {
            tracing::error!("the thread of the audit log panicked");
        }
    }
}

impl Drop for AuditLog {
    fn drop(&mut self) {
        self.close();
    }
}

impl Shared {
    fn floods(&self) -> MutexGuard<'_, Floods> {
        self.floods.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The thread that writes.
struct Writer {
    log: Log,
    shared: Arc<Shared>,
}

impl Writer {
    fn run(mut self, queue: &Receiver<Vec<u8>>) {
        loop {
            // Counted refusals become lines in time; while there are none nothing wakes this.
            // Looked at before the waiting: whoever tells of something needs the same lock.
            let is_quiet = self.shared.floods().is_empty();
            let next = match is_quiet {
                true => queue.recv().map_err(|_| RecvTimeoutError::Disconnected),
                false => queue.recv_timeout(WINDOW),
            };
            match next {
                Ok(line) => self.write(&line),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
            let counted = self.shared.floods().due(Instant::now());
            self.sum_up(counted);
        }
        let counted = self.shared.floods().all();
        self.sum_up(counted);
        self.own_up();
    }

    fn sum_up(&mut self, counted: Vec<(Event, u64)>) {
        for (event, times) in counted {
            self.write(&Line::of(&event, times).to_bytes());
        }
    }

    fn write(&mut self, line: &[u8]) {
        self.own_up();
        if !self.log.append(line) {
            self.shared.lost.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Writes how many lines are missing here, if there are any.
    fn own_up(&mut self) {
        let lines = self.shared.lost.swap(0, Ordering::Relaxed);
        let event = Event::Lost { lines };
        if lines > 0 && !self.log.append(&Line::of(&event, 1).to_bytes()) {
            self.shared.lost.fetch_add(lines, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests;
