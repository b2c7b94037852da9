//! The keyed store of the slave that runs the task.
//!
//! What is expensive to make is put here once and found by later tasks. Values are
//! MessagePack of any serde type; the functions with `bytes` in their names take them as
//! they are. What is put stays until it is removed, unless it was put as [`evictable`] or
//! with a time to live ([`ttl`]); and another slave has a store of its own: a task finds a
//! value or makes it. [`get_or_init`] does so once where many tasks need it; [`watch`] tells what
//! others do.
//!
//! ```
//! use dpfw_guest::store::{self, StoreError};
//!
//! fn primes_below(limit: u64) -> Result<Vec<u64>, StoreError> {
//!     let key = format!("primes/{limit}");
//!     if let Some(primes) = store::get(&key)? {
//!         return Ok(primes);
//!     }
//!     let primes: Vec<u64> = (2..limit).filter(|n| (2..*n).all(|d| n % d != 0)).collect();
//!     store::put(&key, &primes)?;
//!     Ok(primes)
//! }
//!
//! assert_eq!(primes_below(10)?, [2, 3, 5, 7]);
//! assert_eq!(store::get::<Vec<u64>>("primes/10")?, Some(vec![2, 3, 5, 7]));
//! # Ok::<(), StoreError>(())
//! ```
//!
//! On the host, where tasks are only tested, each thread has a store of its own in memory,
//! empty at first: Rust's test runner gives each test a thread.
//!
//! Owns: typed values and pages of listings. Does not: keep anything in a module.
//! Invariant: a version is never used again for a key.

mod durable;
mod list;
#[cfg(not(target_family = "wasm"))]
mod memory;
mod once;
mod terms;
mod update;
mod watch;
mod writer;

#[cfg(target_family = "wasm")]
use crate::abi::store as backend;
#[cfg(not(target_family = "wasm"))]
use memory as backend;

pub use durable::{Durable, durable, sync};
pub use list::{Entry, EntryKind, List, list};
pub use once::{get_or_init, get_or_try_init, wait};
pub use terms::{Terms, evictable, ttl};
pub use update::update;
pub use watch::{Change, Event, Watch, What, watch, watch_with_present};
pub use writer::{Writer, write};

use crate::{Bytes, wire};
use serde::{Serialize, de::DeserializeOwned};
use std::fmt;
use std::ops::Range;

/// How often an entry has changed; 0 stands for an entry that is not there.
pub type Version = u64;

/// A value with its entry's version, for [`compare_and_swap`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Versioned<T> {
    /// The value.
    pub value: T,
    /// The version that it has.
    pub version: Version,
}

/// Why an operation on the store failed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum StoreError {
    /// The slave refused: a key that is empty or too long, a quota.
    Refused {
        /// The slave's word.
        reason: String,
    },
    /// Others changed the entry whenever it was to be updated.
    Contended {
        /// The entry's key.
        key: String,
        /// How often it was tried.
        tries: u32,
    },
    /// The value cannot be encoded.
    Encode {
        /// What its `Serialize` said.
        reason: String,
    },
    /// What is stored there is no such value.
    Decode {
        /// The entry's key.
        key: String,
        /// What its `Deserialize` said.
        reason: String,
    },
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused { reason } => write!(f, "the store refused: {reason}"),
            Self::Contended { key, tries } => {
                write!(
                    f,
                    "others changed `{key}` each of the {tries} times that it was to be updated"
                )
            }
            Self::Encode { reason } => write!(f, "the value cannot be encoded: {reason}"),
            Self::Decode { key, reason } => {
                write!(f, "the value of `{key}` has another type: {reason}")
            }
        }
    }
}

impl std::error::Error for StoreError {}

/// What the store answers.
pub(crate) struct Answer {
    /// Whether the entry is there, or the operation was done.
    pub(crate) there: bool,
    /// What was read.
    pub(crate) bytes: bytes::Bytes,
    /// The entry's version afterwards.
    pub(crate) version: Version,
}

fn refused(reason: String) -> StoreError {
    StoreError::Refused { reason }
}

/// Reads a value.
///
/// # Errors
/// [`StoreError::Decode`] if the entry is no `T`; [`StoreError::Refused`].
pub fn get<T: DeserializeOwned>(key: &str) -> Result<Option<T>, StoreError> {
    Ok(get_versioned(key)?.map(|entry| entry.value))
}

/// Reads a value with its version.
///
/// # Errors
/// As [`get`].
pub fn get_versioned<T: DeserializeOwned>(key: &str) -> Result<Option<Versioned<T>>, StoreError> {
    let Some(Versioned { value, version }) = get_bytes_versioned(key)? else {
        return Ok(None);
    };
    let value = wire::decode(value.into())
        .map_err(|reason| StoreError::Decode { key: key.to_owned(), reason })?;
    Ok(Some(Versioned { value, version }))
}

/// Reads an entry's bytes as they are.
///
/// # Errors
/// [`StoreError::Refused`].
pub fn get_bytes(key: &str) -> Result<Option<Bytes>, StoreError> {
    Ok(get_bytes_versioned(key)?.map(|entry| entry.value))
}

/// Reads an entry's bytes as they are, with its version.
///
/// # Errors
/// [`StoreError::Refused`].
pub fn get_bytes_versioned(key: &str) -> Result<Option<Versioned<Bytes>>, StoreError> {
    let Answer { there, bytes, version } = backend::get(key).map_err(refused)?;
    Ok(there.then(|| Versioned { value: bytes.into(), version }))
}

/// Reads a part of an entry's bytes, with its version: those from `range.start` on, up to
/// its end or the value's.
///
/// ```
/// use dpfw_guest::store;
///
/// store::put_bytes("log", b"first second")?;
/// let part = store::get_range("log", 6..8)?.expect("it was put");
/// assert_eq!(part.value.as_ref(), b"se");
/// let rest = store::get_range("log", 6..u64::MAX)?.expect("it was put");
/// assert_eq!(rest.value.as_ref(), b"second");
/// # Ok::<(), store::StoreError>(())
/// ```
///
/// # Errors
/// [`StoreError::Refused`].
pub fn get_range(key: &str, range: Range<u64>) -> Result<Option<Versioned<Bytes>>, StoreError> {
    let len = range.end.saturating_sub(range.start);
    let answer = backend::get_range(key, range.start, len).map_err(refused)?;
    let Answer { there, bytes, version } = answer;
    Ok(there.then(|| Versioned { value: bytes.into(), version }))
}

/// Writes a value, whatever was there; gives its version.
///
/// # Errors
/// [`StoreError::Encode`], [`StoreError::Refused`].
pub fn put<T: Serialize + ?Sized>(key: &str, value: &T) -> Result<Version, StoreError> {
    put_bytes(key, &encode(value)?)
}

/// Writes bytes as they are, whatever was there; gives their version.
///
/// # Errors
/// [`StoreError::Refused`].
pub fn put_bytes(key: &str, value: &[u8]) -> Result<Version, StoreError> {
    Ok(backend::put(key, value).map_err(refused)?.version)
}

/// Writes a value unless there is one; gives its version if it was written.
///
/// ```
/// use dpfw_guest::store;
///
/// assert!(store::put_if_absent("first", &"me")?.is_some());
/// assert!(store::put_if_absent("first", &"you")?.is_none());
/// assert_eq!(store::get("first")?, Some("me".to_owned()));
/// # Ok::<(), store::StoreError>(())
/// ```
///
/// # Errors
/// As [`put`].
pub fn put_if_absent<T: Serialize + ?Sized>(
    key: &str,
    value: &T,
) -> Result<Option<Version>, StoreError> {
    put_bytes_if_absent(key, &encode(value)?)
}

/// Writes bytes as they are unless there is an entry; gives their version if they were
/// written.
///
/// # Errors
/// As [`put_bytes`].
pub fn put_bytes_if_absent(key: &str, value: &[u8]) -> Result<Option<Version>, StoreError> {
    backend::put_if_absent(key, value).map(done).map_err(refused)
}

/// Writes a value if the entry's version is the expected one (0: if there is none); gives
/// the new version if it was written.
///
/// As with [`put`], what is written stays, whatever terms the value was on before; but a pin stays as
/// well. To leave a value on the terms that it has, [`update`] it.
///
/// ```
/// use dpfw_guest::store::{self, StoreError, Versioned};
///
/// fn count() -> Result<u64, StoreError> {
///     loop {
///         let before = store::get_versioned::<u64>("count")?;
///         let Versioned { value, version } = before.unwrap_or(Versioned { value: 0, version: 0 });
///         if store::compare_and_swap("count", &(value + 1), version)?.is_some() {
///             return Ok(value + 1);
///         } // another task was faster
///     }
/// }
///
/// assert_eq!((count()?, count()?), (1, 2));
/// # Ok::<(), StoreError>(())
/// ```
///
/// # Errors
/// As [`put`].
pub fn compare_and_swap<T: Serialize + ?Sized>(
    key: &str,
    value: &T,
    expected: Version,
) -> Result<Option<Version>, StoreError> {
    compare_and_swap_bytes(key, &encode(value)?, expected)
}

/// Writes bytes as they are if the entry's version is the expected one.
///
/// # Errors
/// As [`put_bytes`].
pub fn compare_and_swap_bytes(
    key: &str,
    value: &[u8],
    expected: Version,
) -> Result<Option<Version>, StoreError> {
    backend::compare_and_swap(key, value, expected).map(done).map_err(refused)
}

/// Removes an entry; gives whether there was one.
///
/// # Errors
/// [`StoreError::Refused`].
pub fn remove(key: &str) -> Result<bool, StoreError> {
    Ok(backend::remove(key).map_err(refused)?.there)
}

/// Keeps an entry from being evicted; gives whether there is one. It stays so when it is
/// written again, until it is removed, or [unpinned](unpin).
///
/// # Errors
/// [`StoreError::Refused`].
pub fn pin(key: &str) -> Result<bool, StoreError> {
    Ok(backend::pin(key, true).map_err(refused)?.there)
}

/// Lets an entry be evicted again, if it was put to be; gives whether there is one.
///
/// # Errors
/// [`StoreError::Refused`].
pub fn unpin(key: &str) -> Result<bool, StoreError> {
    Ok(backend::pin(key, false).map_err(refused)?.there)
}

fn done(answer: Answer) -> Option<Version> {
    answer.there.then_some(answer.version)
}

fn encode<T: Serialize + ?Sized>(value: &T) -> Result<Vec<u8>, StoreError> {
    wire::encode(value).map_err(|reason| StoreError::Encode { reason })
}

#[cfg(test)]
mod tests;
