//! Entries that are built once: of many tasks that need one, one builds it and the others wait
//! for it.
//!
//! Owns: that who is to build an entry does, or says that it will not. Does not: choose who
//! builds; the slave does. Invariant: nothing here is called by the rest of the SDK, so that a
//! module asks for what waits only if its tasks wait.

#[cfg(not(target_family = "wasm"))]
pub(super) mod memory;

#[cfg(target_family = "wasm")]
use crate::abi::wait as backend;
#[cfg(not(target_family = "wasm"))]
use memory as backend;

use super::{Answer, StoreError, Terms, Version, encode, refused};
use crate::wire;
use serde::{Serialize, de::DeserializeOwned};
use std::fmt::Display;

/// Reads a value; makes and keeps it if there is none.
///
/// Of all tasks of all masters that need the same entry on a slave, one calls `build`. The
/// others wait, and hold no slot meanwhile. If the one that builds fails, is cancelled or lost,
/// the next of those that wait calls its own. What was built may be evicted; then it is built
/// again. [`Terms::get_or_init`] keeps it on other terms.
///
/// ```
/// use dpfw_guest::store::{self, StoreError};
///
/// fn primes_below(limit: u64) -> Result<Vec<u64>, StoreError> {
///     store::get_or_init(&format!("primes/{limit}"), || {
///         (2..limit).filter(|n| (2..*n).all(|d| n % d != 0)).collect()
///     })
/// }
///
/// assert_eq!(primes_below(10)?, [2, 3, 5, 7]);
/// assert_eq!(store::get::<Vec<u64>>("primes/10")?, Some(vec![2, 3, 5, 7]));
/// # Ok::<(), StoreError>(())
/// ```
///
/// A module that calls this has all its tasks run where they can wait, which costs each some
/// microseconds; keep tasks that are shorter in a crate of their own.
///
/// # Errors
/// [`StoreError::Decode`] if the entry is no `T`, [`StoreError::Encode`],
/// [`StoreError::Refused`].
///
/// # Panics
/// On the host, if `build` itself needs the entry that it builds. On a slave the task ends with
/// `Cause::Ring` then, also where two tasks build what the other one needs.
pub fn get_or_init<T: Serialize + DeserializeOwned>(
    key: &str,
    build: impl FnOnce() -> T,
) -> Result<T, StoreError> {
    let build = || Ok::<T, Never>(build());
    get_or_try_init(key, build).map_err(|Never(error)| error)
}

/// The same with a `build` that can fail: its error is this task's alone, and the next of those
/// that wait calls its own.
///
/// ```
/// use dpfw_guest::store::{self, StoreError};
///
/// #[derive(Debug, PartialEq)]
/// enum Error {
///     Store(StoreError),
///     NoNumber(String),
/// }
///
/// impl From<StoreError> for Error {
///     fn from(error: StoreError) -> Self {
///         Self::Store(error)
///     }
/// }
///
/// impl std::fmt::Display for Error {
///     fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
///         write!(f, "{self:?}")
///     }
/// }
///
/// fn number(text: &str) -> Result<u64, Error> {
///     let parse = || text.parse().map_err(|_| Error::NoNumber(text.to_owned()));
///     store::get_or_try_init("number", parse)
/// }
///
/// assert_eq!(number("x"), Err(Error::NoNumber("x".to_owned())));
/// assert_eq!(number("7"), Ok(7));
/// assert_eq!(number("x"), Ok(7), "it is there");
/// ```
///
/// # Errors
/// What `build` failed with; as [`get_or_init`].
///
/// # Panics
/// As [`get_or_init`].
pub fn get_or_try_init<T, E>(key: &str, build: impl FnOnce() -> Result<T, E>) -> Result<T, E>
where
    T: Serialize + DeserializeOwned,
    E: From<StoreError> + Display,
{
    found_or_built(key, build, backend::settle)
}

impl Terms {
    /// As [`get_or_init`]; what is built is kept on these terms. With `Terms::default()` it stays
    /// until it is removed.
    ///
    /// ```
    /// use dpfw_guest::store;
    /// use std::time::Duration;
    ///
    /// let hour = store::ttl(Duration::from_secs(3600));
    /// assert_eq!(hour.get_or_init("rate", || 7)?, 7);
    /// assert_eq!(hour.get_or_init("rate", || 8)?, 7, "the hour is not over");
    /// # Ok::<(), store::StoreError>(())
    /// ```
    ///
    /// # Errors
    /// As [`get_or_init`].
    ///
    /// # Panics
    /// As [`get_or_init`].
    pub fn get_or_init<T: Serialize + DeserializeOwned>(
        self,
        key: &str,
        build: impl FnOnce() -> T,
    ) -> Result<T, StoreError> {
        let build = || Ok::<T, Never>(build());
        self.get_or_try_init(key, build).map_err(|Never(error)| error)
    }

    /// As [`get_or_try_init`]; what is built is kept on these terms.
    ///
    /// # Errors
    /// As [`get_or_try_init`].
    ///
    /// # Panics
    /// As [`get_or_init`].
    pub fn get_or_try_init<T, E>(
        self,
        key: &str,
        build: impl FnOnce() -> Result<T, E>,
    ) -> Result<T, E>
    where
        T: Serialize + DeserializeOwned,
        E: From<StoreError> + Display,
    {
        found_or_built(key, build, |key, value| backend::settle_on(self, key, value))
    }
}

/// Finds an entry, or builds it and has it settled.
fn found_or_built<T, E>(
    key: &str,
    build: impl FnOnce() -> Result<T, E>,
    settle: impl FnOnce(&str, &[u8]) -> Result<Answer, String>,
) -> Result<T, E>
where
    T: Serialize + DeserializeOwned,
    E: From<StoreError> + Display,
{
    let found = backend::claim(key).map_err(refused)?;
    if found.there {
        return Ok(decode(key, found)?);
    }
    let claim = Claim(key);
    let value = match build() {
        Ok(value) => value,
        Err(error) => {
            claim.forgo(&error.to_string());
            return Err(error);
        }
    };
    let bytes = match encode(&value) {
        Ok(bytes) => bytes,
        Err(error) => {
            claim.forgo(&error.to_string());
            return Err(error.into());
        }
    };
    let settled = claim.settle(&bytes, settle)?;
    match settled.there {
        true => Ok(value),
        false => Ok(decode(key, settled)?),
    }
}

/// Waits until an entry has another version than `version`, where 0 stands for no entry; gives
/// the one that it has then. The task holds no slot meanwhile.
///
/// ```
/// use dpfw_guest::store;
///
/// let first = store::put("news", &"rain")?;
/// assert_eq!(store::wait("news", 0)?, first, "it is another already");
/// # Ok::<(), store::StoreError>(())
/// ```
///
/// Only a deadline ends a wait for what nobody changes. On the host, where nobody else can, it
/// is refused.
///
/// # Errors
/// [`StoreError::Refused`].
pub fn wait(key: &str, version: Version) -> Result<Version, StoreError> {
    Ok(backend::wait(key, version).map_err(refused)?.version)
}

fn decode<T: DeserializeOwned>(key: &str, answer: Answer) -> Result<T, StoreError> {
    let wrong = |reason| StoreError::Decode { key: key.to_owned(), reason };
    wire::decode(answer.bytes).map_err(wrong)
}

/// The error of what cannot fail but for the store.
struct Never(StoreError);

impl From<StoreError> for Never {
    fn from(error: StoreError) -> Self {
        Self(error)
    }
}

impl Display for Never {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

/// The duty to build an entry. Where panics unwind, one that is dropped has failed.
struct Claim<'a>(&'a str);

impl Claim<'_> {
    fn settle(
        self,
        value: &[u8],
        settle: impl FnOnce(&str, &[u8]) -> Result<Answer, String>,
    ) -> Result<Answer, StoreError> {
        let key = self.0;
        std::mem::forget(self);
        settle(key, value).map_err(refused)
    }

    fn forgo(self, why: &str) {
        let key = self.0;
        std::mem::forget(self);
        // There is nothing to be done about it: the claim ends with the task.
        let _ = backend::forgo(key, why);
    }
}

impl Drop for Claim<'_> {
    fn drop(&mut self) {
        let _ = backend::forgo(self.0, "it panicked");
    }
}
