//! What of the store is on disk, and what is there again after a start.
//!
//! Owns: which changes are written behind, and who waits for them. Does not: write; `disk` does.
//! Invariants: values are on disk, images are not; what is there again was charged, and stays
//! within the quota; of what may be evicted goes what was written first, if the quota is lower
//! than it was; what may not is never dropped: the slave does not start then.

use super::clock::MILLISECOND;
use super::disk::{Disk, Done, Gone, Loaded, Part, Record, State, Stored, Time, wall_ms};
use super::entry::{self, Content, Entry, Life, New};
use super::{DirectoryError, Store};
use dpfw_protocol::error::{Cause, Limit, Storage};
use dpfw_protocol::store::{self, FullKey, StoreOp, Terms};
use std::path::Path;
use std::sync::atomic::Ordering;
use std::time::Instant;

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
    /// why they are not.
    pub(crate) fn when_kept(&self, done: Done) {
        match self.disk.get() {
            Some(disk) => disk.when_kept(done),
            None => done(Err(Cause::Storage { what: Storage::Absent })),
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

    /// Takes what was on disk; gives the keys of what has gone.
    pub(super) fn take_back(
        &self,
        directory: &Path,
        loaded: Loaded,
    ) -> Result<Gone, DirectoryError> {
        let begun = Instant::now();
        // The same for all, so that those are evicted first that were written first.
        let now = self.clock.now();
        let now_ms = wall_ms();
        let Loaded { values, saved, was_cut_off, .. } = loaded;
        let found = values.len();
        let mut gone = Gone::new();
        let mut back = Vec::with_capacity(found);
        let (mut needed, mut entries) = (0, 0);
        for (key, stored) in values {
            let ttl_ms = stored.time.map(|time| time.left_at(now_ms));
            if ttl_ms == Some(0) {
                gone.push((Part::Values, key));
                continue;
            }
            let terms = Terms { evictable: stored.evictable, ttl_ms, durable: false };
            let content = Content::Value(stored.content.clone());
            let life = Life::new(terms, now);
            let cost = entry::cost(&key, &content, life);
            if stored.pinned || !life.evictable {
                needed += cost;
                entries += 1;
            }
            back.push((key, stored, life, cost));
        }
        for (key, stored) in &saved {
            needed += entry::cost(key, &Content::Value(stored.content.clone()), Life::ENDLESS);
            entries += 1;
        }
        self.check_needed(directory, needed, entries)?;
        for (key, stored) in saved {
            self.take_saved_back(key, stored);
        }
        // Those first that may not go, then those that were written last.
        if !self.ledger.could_hold(back.iter().map(|(.., cost)| cost).sum())
            || back.len() as u64 > self.ledger.most_entries()
        {
            back.sort_by_key(|(_, stored, life, _)| {
                (!stored.pinned && life.evictable, std::cmp::Reverse(stored.version))
            });
        }
        for (key, stored, life, cost) in back {
            if let Err(key) = self.take_one_back(key, stored, life, cost, now) {
                self.evicted.fetch_add(1, Ordering::Relaxed);
                gone.push((Part::Values, key));
            }
        }
        let (entries, bytes) = self.ledger.size();
        let ms = begun.elapsed().as_millis() as u64;
        let directory = directory.display();
        if was_cut_off {
            tracing::warn!(%directory, "the store was not closed: its last whole commit is there");
        }
        if found > 0 {
            let dropped = gone.len();
            tracing::info!(%directory, entries, bytes, dropped, ms, "the store is there again");
        }
        Ok(gone)
    }

    fn check_needed(
        &self,
        directory: &Path,
        bytes: u64,
        entries: u64,
    ) -> Result<(), DirectoryError> {
        let refuse = |limit, needed, allowed| {
            let directory = directory.to_path_buf();
            Err(DirectoryError::Quota { directory, limit, needed, allowed })
        };
        if !self.ledger.could_hold(bytes) {
            return refuse(Limit::Quota, bytes, self.ledger.most_bytes());
        }
        match entries > self.ledger.most_entries() {
            true => refuse(Limit::Entries, entries, self.ledger.most_entries()),
            false => Ok(()),
        }
    }

    /// Gives the key back if there is no room.
    fn take_one_back(
        &self,
        key: FullKey,
        stored: Stored,
        life: Life,
        cost: u64,
        now: u64,
    ) -> Result<(), FullKey> {
        let Some(owner) = self.ledger.take(&stored.owner, cost) else {
            return Err(key);
        };
        let content = Content::Value(stored.content);
        let new = New { content, cost, life, now };
        let mut entry = Entry::new(new, owner, stored.version);
        entry.pinned = stored.pinned;
        self.index.insert(&key);
        self.enlist(&key, &entry);
        self.entries.insert(key, entry);
        Ok(())
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
