//! The keyed store: values, images and residents under keys, in namespaces.
//!
//! Owns: the entries, their versions, the operations on them. The quota and whose share of it is
//! whose are the ledger's (`ledger`; `shared` is what an image costs under several keys), what goes
//! by itself is `evict`'s, who is told `changes`', what outlives the process `disk`'s.
//! Invariants: an operation on a key is atomic; a version is never used twice, not even after a
//! removal; what is stored stays within the quota, and a refused write leaves the old value;
//! what is to be evicted is what was made to be: a plain value never, a pinned entry never; an
//! entry whose time is over is gone for every operation, whether it was swept or not; the index
//! has exactly the keys of the entries, so that a listing looks at its own page and at nothing
//! else.

use crate::limits::Limits;
use changes::{Changes, Waiting, Watcher, Watching};
use clock::Clock;
use dashmap::DashMap;
use disk::Disk;
use dpfw_protocol::Bytes;
use dpfw_protocol::changes::{Change, What};
use dpfw_protocol::error::Cause;
use dpfw_protocol::hello::Namespace;
use dpfw_protocol::store::{
    EntryInfo, EntryKind, FullKey, ImageInfo, Principal, StoreOp, Terms, Version,
};
use entry::{Content, Entry};
use evict::Times;
use index::Index;
use ledger::Ledger;
use saved::SavedStates;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use write::Write;

pub(crate) use back::NotBack;
pub use disk::DirectoryError;
pub(crate) use draft::Drafts;
pub(crate) use entry::Held;
pub(crate) use shared::Shared;

mod back;
pub(crate) mod changes;
mod clock;
mod disk;
mod draft;
mod durable;
mod entry;
mod evict;
mod index;
mod ledger;
mod list;
mod saved;
mod shared;
mod write;

/// The entries of a slave.
#[derive(Debug)]
pub(crate) struct Store {
    entries: DashMap<FullKey, Entry>,
    /// These are changed only while the entry's shard is locked; never the other way round.
    index: Index,
    times: Times,
    ledger: Arc<Ledger>,
    changes: Arc<Changes>,
    versions: Arc<AtomicU64>,
    evicted: AtomicU64,
    clock: Clock,
    /// Where values are kept beyond the process, if they are.
    disk: OnceLock<Disk>,
    saved: SavedStates,
    image_left: ImageLeft,
}

/// Called with an image that is not under that key any more, and why, when nothing is locked. It
/// must not wait for anything.
type Left = Box<dyn Fn(Held, &FullKey, What) + Send + Sync>;

/// What is called for images that go.
#[derive(Default)]
struct ImageLeft(OnceLock<Left>);

impl fmt::Debug for ImageLeft {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.get().is_some() { "told" } else { "not told" })
    }
}

/// What an operation brought.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Answer {
    /// Whether the entry was there, or the change was made.
    pub(crate) hit: bool,
    /// The entry's version after the operation; 0 if there is none.
    pub(crate) version: Version,
    /// The value that was read.
    pub(crate) value: Bytes,
    /// Whether a listing was asked for.
    pub(crate) is_listing: bool,
    /// What it found.
    pub(crate) entries: Vec<EntryInfo>,
    /// Whether it goes on behind its last key.
    pub(crate) more: bool,
}

impl Store {
    /// An empty store.
    pub(crate) fn new(limits: &Limits) -> Self {
        Self::with_clock(limits, Clock::new())
    }

    fn with_clock(limits: &Limits, clock: Clock) -> Self {
        Self {
            entries: DashMap::new(),
            index: Index::default(),
            times: Times::default(),
            ledger: Arc::new(Ledger::new(
                limits.store_bytes,
                limits.store_entries,
                limits.store_share,
            )),
            changes: Arc::default(),
            versions: Arc::new(AtomicU64::new(1)),
            evicted: AtomicU64::new(0),
            clock,
            disk: OnceLock::new(),
            saved: SavedStates::default(),
            image_left: ImageLeft::default(),
        }
    }

    /// What is called for images that are not under a key any more: once, by the slave.
    pub(crate) fn on_image_left(&self, call: Left) {
        let _ = self.image_left.0.set(call);
    }

    /// What was under a key has gone, or something else was put there; nothing is locked.
    fn cleared(&self, key: &FullKey, content: Content, what: What) {
        if let (Content::Image(held, ..), Some(call)) = (content, self.image_left.0.get()) {
            call(held, key, what);
        }
    }

    /// Entries, and what they cost in bytes.
    pub(crate) fn size(&self) -> (u64, u64) {
        self.sweep();
        self.ledger.size()
    }

    /// Entries that were evicted.
    pub(crate) fn evicted(&self) -> u64 {
        self.evicted.load(Ordering::Relaxed)
    }

    /// Whether a value of this length could ever be stored: asked before one is built.
    ///
    /// # Errors
    /// [`Cause::Limit`] if not.
    pub(crate) fn check_value(&self, len: u64) -> Result<(), Cause> {
        match self.ledger.could_hold(len) {
            true => Ok(()),
            false => Err(self.ledger.quota()),
        }
    }

    /// Does what a task or a master asks for. What it writes stays.
    ///
    /// # Errors
    /// [`Cause::Limit`] if a write exceeds the quota, [`Cause::WrongKind`] if the key holds no
    /// value.
    pub(crate) fn apply(
        &self,
        namespace: &Namespace,
        owner: &Principal,
        op: StoreOp,
        value: Bytes,
    ) -> Result<Answer, Cause> {
        self.apply_on(Terms::default(), namespace, owner, op, value, &|| true)
    }

    /// The same; what it writes is kept on these terms. While room is made for it `go_on` is
    /// asked now and then whether to go on.
    ///
    /// # Errors
    /// As [`apply`](Self::apply); [`Cause::Cancelled`] if it did not go on; [`Cause::Storage`] if
    /// its disk does not take it.
    pub(crate) fn apply_on(
        &self,
        terms: Terms,
        namespace: &Namespace,
        writer: &Principal,
        op: StoreOp,
        value: Bytes,
        go_on: &dyn Fn() -> bool,
    ) -> Result<Answer, Cause> {
        self.check_disk(&op, terms)?;
        let full = |key| FullKey { namespace: namespace.clone(), key };
        let content = Content::Value(value);
        let keeps_terms = matches!(op, StoreOp::Update { .. });
        let write = |key| Write { key: full(key), writer, content, terms, keeps_terms, go_on };
        match op {
            StoreOp::Get { key } => self.get(&full(key), Bytes::clone),
            StoreOp::GetRange { key, offset, len } => {
                self.get(&full(key), |value| part(value, offset, len))
            }
            StoreOp::Put { key } => self.write(write(key), |_| true),
            StoreOp::PutIfAbsent { key } => self.write(write(key), |v| v == 0),
            StoreOp::CompareAndSwap { key, expected } | StoreOp::Update { key, expected } => {
                self.write(write(key), |v| v == expected)
            }
            StoreOp::Remove { key } => Ok(self.remove(&full(key))),
            StoreOp::Pin { key, pinned } => self.pin(&full(key), pinned),
            StoreOp::Look { key } => Ok(self.look(&full(key))),
            StoreOp::List { prefix, after, limit } => {
                Ok(self.list(namespace, &prefix, after.as_ref(), limit))
            }
        }
    }

    /// Puts an image under a key that has none or an older one. It may be evicted, which drops
    /// what is held, under all of its keys at once; those it has are not evicted for this one.
    ///
    /// # Errors
    /// As [`apply`](Self::apply).
    pub(crate) fn put_image(
        &self,
        key: &FullKey,
        owner: &Principal,
        info: ImageInfo,
        (held, shared): (Held, Arc<Shared>),
    ) -> Result<Version, Cause> {
        let terms = Terms { evictable: true, ..Terms::default() };
        let content = Content::Image(held, Box::new(info), shared);
        let (key, writer, keeps_terms, go_on) = (key.clone(), owner, false, &|| true);
        let write = Write { key, writer, content, terms, keeps_terms, go_on };
        self.write(write, |_| true).map(|answer| answer.version)
    }

    /// The image under a key, which counts as a use.
    pub(crate) fn image(&self, key: &FullKey) -> Option<Held> {
        let found = self.entries.get(key)?;
        let now = self.clock.now();
        let held = found.as_image(now)?;
        found.touch(now);
        Some(held)
    }

    /// The same, which does not.
    pub(crate) fn peek_image(&self, key: &FullKey) -> Option<Held> {
        self.entries.get(key)?.as_image(self.clock.now())
    }

    /// Puts a resident under a key that has nothing. Dropping what is held ends it, whoever
    /// removes the entry.
    ///
    /// # Errors
    /// [`Cause::KeyTaken`] if there is an entry; as [`apply`](Self::apply).
    pub(crate) fn put_resident(
        &self,
        key: &FullKey,
        owner: &Principal,
        bytes: u64,
        held: Held,
    ) -> Result<Version, Cause> {
        let put = self.write_resident(key, owner, bytes, held, 0);
        let taken = |kind| Cause::KeyTaken { key: key.key.to_string(), kind };
        match put {
            Ok(Answer { hit: true, version, .. }) => Ok(version),
            Ok(_) => Err(taken(EntryKind::Resident)),
            Err(Cause::WrongKind { kind, .. }) => Err(taken(kind)),
            Err(cause) => Err(cause),
        }
    }

    /// Charges the resident of this version for so many bytes; gives the entry's new version,
    /// or none if it is not there any more.
    ///
    /// # Errors
    /// As [`apply`](Self::apply).
    pub(crate) fn charge_resident(
        &self,
        key: &FullKey,
        owner: &Principal,
        bytes: u64,
        version: Version,
    ) -> Result<Option<Version>, Cause> {
        let held = self.entries.get(key).and_then(|entry| match &entry.content {
            Content::Resident(held, _) if entry.version == version => Some(Arc::clone(held)),
            _ => None,
        });
        let Some(held) = held else {
            return Ok(None);
        };
        let answer = self.write_resident(key, owner, bytes, held, version)?;
        Ok(answer.hit.then_some(answer.version))
    }

    fn write_resident(
        &self,
        key: &FullKey,
        writer: &Principal,
        bytes: u64,
        held: Held,
        expected: Version,
    ) -> Result<Answer, Cause> {
        let (content, terms) = (Content::Resident(held, bytes), Terms::default());
        let (key, keeps_terms, go_on) = (key.clone(), false, &|| true);
        let write = Write { key, writer, content, terms, keeps_terms, go_on };
        self.write(write, |version| version == expected)
    }

    /// The kind of what is under a key.
    pub(crate) fn kind_of(&self, key: &FullKey) -> Option<EntryKind> {
        let now = self.clock.now();
        let entry = self.entries.get(key).filter(|entry| !entry.is_gone(now))?;
        Some(entry.content.kind())
    }

    /// What is under a key is used.
    pub(crate) fn touch(&self, key: &FullKey) {
        if let Some(entry) = self.entries.get(key) {
            entry.touch(self.clock.now());
        }
    }

    /// Removes the resident of this version, if it is there.
    pub(crate) fn remove_resident(&self, key: &FullKey, version: Version) {
        let removed = self.entries.remove_if(key, |key, entry| {
            let is_it = entry.version == version;
            if is_it {
                self.forget(key, entry, What::Removed);
            }
            is_it
        });
        if let Some((key, entry)) = removed {
            drop(entry);
            self.changes.wake(&key);
        }
    }

    /// Calls back once when the key changes next; see [`Changes::on_change`].
    pub(crate) fn on_change(&self, key: FullKey, call: Box<dyn FnOnce() + Send>) -> Waiting {
        self.changes.on_change(key, call)
    }

    /// Watches the keys with a prefix, until what is returned is dropped. `wake` is called when
    /// there is something to take where there was nothing; it must not call the store.
    pub(crate) fn watch(
        &self,
        namespace: &Namespace,
        prefix: String,
        present: bool,
        wake: Box<dyn Fn() + Send + Sync>,
    ) -> Watching {
        self.changes.watch(Watcher::new(namespace.clone(), prefix, present, wake))
    }

    /// Takes what a watch has to tell, as long as there is room: changes, or how many were lost.
    /// Nothing if there is nothing now.
    pub(crate) fn watched(
        &self,
        watching: &Watching,
        mut has_room: impl FnMut(&Change) -> bool,
    ) -> (u64, Vec<Change>) {
        let watcher = &watching.watcher;
        loop {
            let (missed, changes) = watcher.take(&mut has_room);
            if missed > 0 || !changes.is_empty() {
                return (missed, changes);
            }
            let Some(keys) = watcher.next_step(&self.index) else {
                watcher.end_gathering();
                return watcher.take(has_room);
            };
            let now = self.clock.now();
            for key in keys {
                let full = FullKey { namespace: watcher.namespace.clone(), key };
                if let Some(entry) = self.entries.get(&full).filter(|e| !e.is_gone(now)) {
                    watcher.tell_present(&full.key, entry.content.kind(), entry.version);
                }
            }
        }
    }

    fn next_version(&self) -> Version {
        self.versions.fetch_add(1, Ordering::Relaxed)
    }

    fn get(&self, key: &FullKey, read: impl FnOnce(&Bytes) -> Bytes) -> Result<Answer, Cause> {
        let now = self.clock.now();
        match self.entries.get(key).filter(|entry| !entry.is_gone(now)) {
            None => Ok(Answer::default()),
            Some(entry) => {
                let value = read(entry.as_value(key)?);
                entry.touch(now);
                Ok(Answer { hit: true, version: entry.version, value, ..Answer::default() })
            }
        }
    }

    /// Removes an entry, whatever it is, and the state of a resident that is not begun.
    pub(crate) fn remove(&self, key: &FullKey) -> Answer {
        let is_resident = matches!(self.kind_of(key), None | Some(EntryKind::Resident));
        let had_state = is_resident && self.forget_saved(key);
        let now = self.clock.now();
        let removed = self.entries.remove_if(key, |key, entry| {
            let what = if entry.is_gone(now) { What::Expired } else { What::Removed };
            self.forget(key, entry, what);
            true
        });
        let hit = had_state || removed.as_ref().is_some_and(|(_, entry)| !entry.is_gone(now));
        if let Some((_, entry)) = removed {
            self.cleared(key, entry.content, What::Removed);
            self.changes.wake(key);
        }
        Answer { hit, ..Answer::default() }
    }

    /// Keeps an entry from being evicted, or lets it be.
    fn pin(&self, key: &FullKey, pinned: bool) -> Result<Answer, Cause> {
        let now = self.clock.now();
        let Some(mut entry) = self.entries.get_mut(key).filter(|entry| !entry.is_gone(now)) else {
            return Ok(Answer::default());
        };
        let was_lined = entry.is_lined();
        if pinned && was_lined && self.ledger.has_share() {
            let cost = entry.cost + entry.content.shared().map_or(0, |shared| shared.at_stake());
            self.ledger.within_share(&entry.owner.principal, cost, 0)?;
        }
        entry.pinned = pinned;
        match (was_lined, entry.is_lined()) {
            (true, false) => self.ledger.line_out(key, &entry),
            (false, true) => self.ledger.line_up(key, &entry),
            _ => {}
        }
        self.note(key, &entry);
        Ok(Answer { hit: true, version: entry.version, ..Answer::default() })
    }
}

/// A part of a value, which shares its memory.
fn part(value: &Bytes, offset: u64, len: u64) -> Bytes {
    let whole = value.len();
    let from = usize::try_from(offset).unwrap_or(whole).min(whole);
    let to = usize::try_from(len).map_or(whole, |len| from.saturating_add(len).min(whole));
    value.slice(from..to)
}

#[cfg(test)]
mod tests;
