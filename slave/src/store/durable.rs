//! What of the store is on disk.
//!
//! Owns: which changes are written behind, and who waits for them. Does not: write; `disk` does.
//! Invariant: values are on disk, and saved states; images are not.

use super::clock::MILLISECOND;
use super::disk::{Disk, Done, Part, Record, State, Time, wall_ms};
use super::entry::{Content, Entry};
use super::{DirectoryError, Store};
use dpfw_protocol::error::{Cause, Storage};
use dpfw_protocol::store::{self, FullKey, StoreOp, Terms};
use std::path::Path;
use std::sync::atomic::Ordering;

impl Store {
    /// Keeps values in this directory from now on; those that are there are in the store again.
    /// Once, before anything is put.
    ///
    /// # Errors
    /// [`DirectoryError`].
    pub(crate) fn keep_in(&self, directory: &Path) -> Result<(), DirectoryError> {
        let disk =
            Disk::open(directory, &self.versions, |loaded| self.take_back(directory, loaded))?;
        let _ = self.disk.set(disk);
        Ok(())
    }

    /// How the disk is, for people.
    pub(crate) fn disk(&self) -> store::Disk {
        match self.disk.get().map(Disk::state) {
            None => store::Disk::Memory,
            Some(State::Well | State::Closed) => store::Disk::Durable,
            Some(State::Full) => store::Disk::Full,
            Some(State::Failed) => store::Disk::Failed,
        }
    }

    /// What is called whenever [`when_kept`](Self::when_kept) has called some of those who wait.
    pub(crate) fn on_told(&self, call: Box<dyn Fn() + Send + Sync>) {
        if let Some(disk) = self.disk.get() {
            disk.on_told(call);
        }
    }

    /// Calls back, on another thread or at once, when all changes so far are on disk, or with
    /// why they are not; whether it was at once.
    pub(crate) fn when_kept(&self, done: Done) -> bool {
        match self.disk.get() {
            Some(disk) => disk.when_kept(done),
            None => {
                done(Err(Cause::Storage { what: Storage::Absent }));
                true
            }
        }
    }

    /// Whether a change may wait for the disk.
    ///
    /// # Errors
    /// [`Cause::Storage`] if there is none, or it is full or failed; [`Cause::Busy`] if too many
    /// wait for it.
    pub(crate) fn check_durable(&self) -> Result<(), Cause> {
        let disk = self.disk.get().ok_or(Cause::Storage { what: Storage::Absent })?;
        disk.admits_removal()?;
        disk.admits_waiting()
    }

    /// Whether a change is to be answered only when it is on disk: because it was asked for, or
    /// because so much waits to be written that whoever changes more is to be slowed down.
    pub(crate) fn is_awaited(&self, op: &StoreOp, terms: Terms) -> bool {
        is_change(op) && (terms.durable || self.disk.get().is_some_and(Disk::is_behind))
    }

    /// Writes what waits and closes the directory. Nothing is put any more.
    pub(crate) fn close(&self) {
        if let Some(disk) = self.disk.get() {
            disk.close();
        }
    }

    /// Whether an operation may be tried, as far as the disk is concerned.
    pub(super) fn check_disk(&self, op: &StoreOp, terms: Terms) -> Result<(), Cause> {
        if !is_change(op) {
            return Ok(());
        }
        if terms.durable {
            self.check_durable()?;
        }
        match (self.disk.get(), op) {
            (Some(disk), StoreOp::Remove { .. }) => disk.admits_removal(),
            (Some(_), StoreOp::Pin { .. }) => self.admits(0),
            // Others are asked when they write.
            _ => Ok(()),
        }
    }

    /// Whether the disk takes a value of this length.
    pub(super) fn admits(&self, len: u64) -> Result<(), Cause> {
        match self.disk.get() {
            Some(disk) => disk.admits(len, self.versions.load(Ordering::Relaxed)),
            None => Ok(()),
        }
    }

    /// An entry is as it is now. Its shard is locked for writing.
    pub(super) fn note(&self, key: &FullKey, entry: &Entry) {
        let (Some(disk), Content::Value(value)) = (self.disk.get(), &entry.content) else {
            return;
        };
        let now = self.clock.now();
        let time = entry.gone_at.map(|at| Time {
            left_ms: at.saturating_sub(now).div_ceil(MILLISECOND),
            at_ms: wall_ms(),
        });
        let record = Record {
            version: entry.version,
            owner: entry.owner.clone(),
            evictable: entry.evictable,
            pinned: entry.pinned,
            time,
            content: value.clone(),
        };
        disk.note(Part::Values, key, Some(record));
    }

    /// An entry is gone. Its shard is locked for writing.
    pub(super) fn note_gone(&self, key: &FullKey, entry: &Entry) {
        if let (Some(disk), Content::Value(_)) = (self.disk.get(), &entry.content) {
            disk.note(Part::Values, key, None);
        }
    }
}

/// Whether an operation changes something.
fn is_change(op: &StoreOp) -> bool {
    match op {
        StoreOp::Get { .. }
        | StoreOp::GetRange { .. }
        | StoreOp::List { .. }
        | StoreOp::Look { .. } => false,
        StoreOp::Put { .. }
        | StoreOp::PutIfAbsent { .. }
        | StoreOp::CompareAndSwap { .. }
        | StoreOp::Update { .. }
        | StoreOp::Remove { .. }
        | StoreOp::Pin { .. } => true,
    }
}
