//! Changes that are on disk before the task goes on.
//!
//! Owns: that a change is refused before it is made where nothing is kept on disk, and that its
//! end is waited for. Invariant: as in [`once`](super::once), nothing here is called by the rest
//! of the SDK, so that a module asks for what waits only if its tasks wait.

#[cfg(not(target_family = "wasm"))]
use super::once::memory as backend;
#[cfg(target_family = "wasm")]
use crate::abi::wait as backend;

use super::{StoreError, Terms, Version, encode, refused};
use serde::Serialize;

/// Waits until everything that this task has changed in the store so far is on disk. It holds no
/// slot meanwhile.
///
/// ```
/// use dpfw_guest::store;
///
/// for n in 0..100u32 {
///     store::put(&format!("squares/{n}"), &(n * n))?;
/// }
/// store::sync()?; // once for all of them
/// # Ok::<(), store::StoreError>(())
/// ```
///
/// A module that calls this has all its tasks run where they can wait, which costs each some
/// microseconds.
///
/// # Errors
/// [`StoreError::Refused`] if the slave keeps nothing on disk, or its disk is full or failed.
/// What was changed is so in the slave's memory then, and is gone with its process.
pub fn sync() -> Result<(), StoreError> {
    backend::sync(true).map(drop).map_err(refused)
}

/// For changes that are on disk when they are done. A module that makes one has all its tasks run
/// where they can wait; see [`sync`].
///
/// ```
/// use dpfw_guest::store;
///
/// let version = store::durable().put("account/7", &100)?;
/// assert!(store::durable().compare_and_swap("account/7", &90, version)?.is_some());
/// assert!(store::durable().remove("account/7")?);
/// # Ok::<(), store::StoreError>(())
/// ```
pub fn durable() -> Durable {
    Terms::default().durable()
}

/// Changes that are on disk when they are done: from [`durable`], or [`Terms::durable`]. Where
/// the slave keeps nothing on disk they are refused before anything is changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "nothing is written yet"]
pub struct Durable {
    terms: Terms,
}

impl Terms {
    /// The change is on disk when it is done.
    pub fn durable(self) -> Durable {
        Durable { terms: self }
    }
}

impl Durable {
    /// As [`put`](super::put).
    ///
    /// # Errors
    /// As [`put`](super::put), and as [`sync`].
    pub fn put<T: Serialize + ?Sized>(self, key: &str, value: &T) -> Result<Version, StoreError> {
        self.put_bytes(key, &encode(value)?)
    }

    /// As [`put_bytes`](super::put_bytes).
    ///
    /// # Errors
    /// As [`put_bytes`](super::put_bytes), and as [`sync`].
    pub fn put_bytes(self, key: &str, value: &[u8]) -> Result<Version, StoreError> {
        kept(|| self.terms.put_bytes(key, value))
    }

    /// As [`put_if_absent`](super::put_if_absent).
    ///
    /// # Errors
    /// As [`put_if_absent`](super::put_if_absent), and as [`sync`].
    pub fn put_if_absent<T: Serialize + ?Sized>(
        self,
        key: &str,
        value: &T,
    ) -> Result<Option<Version>, StoreError> {
        kept(|| self.terms.put_if_absent(key, value))
    }

    /// As [`compare_and_swap`](super::compare_and_swap).
    ///
    /// # Errors
    /// As [`compare_and_swap`](super::compare_and_swap), and as [`sync`].
    pub fn compare_and_swap<T: Serialize + ?Sized>(
        self,
        key: &str,
        value: &T,
        expected: Version,
    ) -> Result<Option<Version>, StoreError> {
        kept(|| self.terms.compare_and_swap(key, value, expected))
    }

    /// As [`remove`](super::remove).
    ///
    /// # Errors
    /// As [`remove`](super::remove), and as [`sync`].
    pub fn remove(self, key: &str) -> Result<bool, StoreError> {
        kept(|| super::remove(key))
    }
}

/// Makes a change, if it can be kept, and waits until it is.
fn kept<T>(change: impl FnOnce() -> Result<T, StoreError>) -> Result<T, StoreError> {
    backend::sync(false).map_err(refused)?;
    let changed = change()?;
    sync()?;
    Ok(changed)
}
