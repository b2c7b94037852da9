//! Listings, a page at a time.
//!
//! Invariant: a listing ends, whatever is put meanwhile: every page begins behind the one
//! before it.

use super::{StoreError, Version, backend, refused};
use crate::wire;
use serde::Deserialize;
use std::collections::VecDeque;
use std::time::Duration;

/// Entries asked for at a time: some hundred bytes each.
const PAGE: u32 = 256;

/// What an entry is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum EntryKind {
    /// Bytes.
    Value,
    /// The memory of a module after its init.
    Image,
    /// A live instance.
    Resident,
    /// A kind that this version does not know.
    #[serde(other)]
    Unknown,
}

/// An entry as a listing shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Entry {
    /// Its name.
    pub key: String,
    /// What it is.
    pub kind: EntryKind,
    /// Its size in bytes.
    pub bytes: u64,
    /// Its version.
    pub version: Version,
    /// How long ago it was last read or written, in whole seconds.
    pub idle: Duration,
    /// Who put it there.
    pub owner: String,
    /// Whether it is kept from being evicted.
    pub pinned: bool,
    /// Whether it may be evicted, once it is not pinned.
    pub evictable: bool,
    /// How long it lives on, if its time is limited.
    pub ttl: Option<Duration>,
}

/// An entry as the slave tells it.
type Row = (String, EntryKind, u64, Version, u64, String, bool, bool, Option<u64>);

impl From<Row> for Entry {
    fn from((key, kind, bytes, version, idle_s, owner, pinned, evictable, ttl_ms): Row) -> Self {
        let (idle, ttl) = (Duration::from_secs(idle_s), ttl_ms.map(Duration::from_millis));
        Self { key, kind, bytes, version, idle, owner, pinned, evictable, ttl }
    }
}

/// Lists the entries whose keys begin with `prefix`, in the order of their keys. They are
/// fetched as the iterator goes.
///
/// ```
/// use dpfw_guest::store;
///
/// for city in ["oslo", "rome"] {
///     store::put(&format!("city/{city}"), &city.len())?;
/// }
/// store::put("country/norway", &1)?;
/// let keys: Vec<_> =
///     store::list("city/").map(|entry| Ok(entry?.key)).collect::<Result<_, store::StoreError>>()?;
/// assert_eq!(keys, ["city/oslo", "city/rome"]);
/// # Ok::<(), store::StoreError>(())
/// ```
pub fn list(prefix: &str) -> List {
    List { prefix: prefix.to_owned(), after: String::new(), page: VecDeque::new(), last: false }
}

/// The iterator of [`list`]. It ends after an error.
#[derive(Debug)]
#[must_use = "nothing is listed until it is iterated over"]
pub struct List {
    prefix: String,
    after: String,
    page: VecDeque<Row>,
    last: bool,
}

impl List {
    fn fetch(&mut self) -> Result<(), StoreError> {
        let answer = backend::list(&self.prefix, &self.after, PAGE).map_err(refused)?;
        if answer.there {
            self.page = wire::decode(answer.bytes)
                .map_err(|reason| StoreError::Decode { key: self.prefix.clone(), reason })?;
        }
        // A page may be shorter than asked for, when its keys are long: only an empty one is
        // the last.
        self.last = self.page.is_empty();
        if let Some((key, ..)) = self.page.back() {
            self.after.clone_from(key);
        }
        Ok(())
    }
}

impl Iterator for List {
    type Item = Result<Entry, StoreError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.page.is_empty()
            && !self.last
            && let Err(error) = self.fetch()
        {
            self.last = true;
            return Some(Err(error));
        }
        self.page.pop_front().map(|row| Ok(row.into()))
    }
}
