//! Hearing of changes, in order.
//!
//! Owns: what was told and not taken yet. Does not: keep what was not fetched; the slave does, and
//! no more than a few thousand changes. Invariant: as in [`once`](super::once), nothing here is
//! called by the rest of the SDK, so that a module asks for what waits only if its tasks wait.

#[cfg(not(target_family = "wasm"))]
use super::memory::watchers as backend;
#[cfg(target_family = "wasm")]
use crate::abi::watch as backend;

use super::{EntryKind, StoreError, Version, refused};
use crate::wire;
use serde::Deserialize;
use std::collections::VecDeque;
use std::fmt;

/// What happened to an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum What {
    /// Nothing: it was there when the watch began.
    Present,
    /// It was written.
    Put,
    /// Somebody removed it.
    Removed,
    /// Its time was over.
    Expired,
    /// It was removed to make room.
    Evicted,
    /// Something that this version does not know.
    #[serde(other)]
    Unknown,
}

impl What {
    /// Whether the entry is there now.
    pub fn is_there(self) -> bool {
        matches!(self, Self::Present | Self::Put)
    }
}

impl fmt::Display for What {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Present => "present",
            Self::Put => "put",
            Self::Removed => "removed",
            Self::Expired => "expired",
            Self::Evicted => "evicted",
            Self::Unknown => "unknown",
        })
    }
}

/// One change of an entry.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Change {
    /// Its key.
    pub key: String,
    /// What it is, or was.
    pub kind: EntryKind,
    /// The version that the change made; the end of an entry has one of its own.
    pub version: Version,
    /// What happened.
    pub what: What,
}

/// What a watch tells.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// An entry changed. Changes of one key come in the order of their versions.
    Changed(Change),
    /// So many changes were lost here, because they were not taken quickly enough.
    Missed(u64),
}

/// A change as the slave tells it.
type Row = (String, EntryKind, Version, What);

/// Watches the entries whose keys begin with `prefix`: what changes from now on is told, by
/// whomever it is changed.
///
/// ```
/// use dpfw_guest::store::{self, Event, What};
///
/// let mut changes = store::watch("jobs/")?;
/// store::put("jobs/1", &"new")?;
/// let Some(Event::Changed(change)) = changes.next().transpose()? else { panic!("missed") };
/// assert_eq!((change.key.as_str(), change.what), ("jobs/1", What::Put));
/// # Ok::<(), store::StoreError>(())
/// ```
///
/// A module that calls [`next`](Iterator::next) or [`try_next`](Watch::try_next) has all its tasks
/// run where they can wait; see [`get_or_init`](super::get_or_init).
///
/// # Errors
/// [`StoreError::Refused`] if the prefix is too long, or too much is watched: a task has at most 16
/// watches at once.
pub fn watch(prefix: &str) -> Result<Watch, StoreError> {
    Watch::begin(prefix, false)
}

/// The same; tells the entries first that are there, in the order of their keys, without a gap to
/// what changes meanwhile.
///
/// ```
/// use dpfw_guest::store::{self, Event, What};
///
/// store::put("jobs/1", &"old")?;
/// let mut changes = store::watch_with_present("jobs/")?;
/// let Some(Event::Changed(change)) = changes.next().transpose()? else { panic!("missed") };
/// assert_eq!((change.key.as_str(), change.what), ("jobs/1", What::Present));
/// # Ok::<(), store::StoreError>(())
/// ```
///
/// # Errors
/// As [`watch`].
pub fn watch_with_present(prefix: &str) -> Result<Watch, StoreError> {
    Watch::begin(prefix, true)
}

/// A watch, from [`watch`]: an iterator that waits for what happens next, and holds no slot
/// meanwhile. It ends after an error; else only the task's deadline ends a wait for what nobody
/// changes. On the host, where nobody else can, that is refused.
///
/// Dropping it ends the watch, as the end of the task does, or of a resident's call: what a
/// resident keeps of it tells nothing more.
#[derive(Debug)]
#[must_use = "dropping it ends the watch"]
pub struct Watch {
    number: u32,
    prefix: String,
    events: VecDeque<Event>,
    failed: bool,
}

impl Watch {
    fn begin(prefix: &str, present: bool) -> Result<Self, StoreError> {
        let begun = backend::begin(prefix, present).map_err(refused)?;
        let (number, prefix) = (begun.version as u32, prefix.to_owned());
        Ok(Self { number, prefix, events: VecDeque::new(), failed: false })
    }

    /// What has happened by now, if anything has; does not wait.
    ///
    /// # Errors
    /// [`StoreError::Refused`] if the watch is over.
    pub fn try_next(&mut self) -> Result<Option<Event>, StoreError> {
        if self.events.is_empty() {
            self.fetch(false)?;
        }
        Ok(self.events.pop_front())
    }

    fn fetch(&mut self, waits: bool) -> Result<(), StoreError> {
        let told = backend::next(self.number, waits).map_err(refused)?;
        if !told.there {
            return Ok(());
        }
        if told.version > 0 {
            self.events.push_back(Event::Missed(told.version));
        }
        let wrong = |reason| StoreError::Decode { key: self.prefix.clone(), reason };
        let rows: Vec<Row> = wire::decode(told.bytes).map_err(wrong)?;
        let change = |(key, kind, version, what)| Change { key, kind, version, what };
        self.events.extend(rows.into_iter().map(|row| Event::Changed(change(row))));
        Ok(())
    }
}

impl Iterator for Watch {
    type Item = Result<Event, StoreError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.events.is_empty() {
            if self.failed {
                return None;
            }
            if let Err(error) = self.fetch(true) {
                self.failed = true;
                return Some(Err(error));
            }
        }
        self.events.pop_front().map(Ok)
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        // One that is over already needs nothing.
        let _ = backend::end(self.number);
    }
}
