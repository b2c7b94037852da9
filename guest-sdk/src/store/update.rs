//! Changing a value to what it says itself.
//!
//! Invariants: the number of tries is bounded, so that a task ends; a value keeps the terms that it
//! has unless others are given.

use super::{
    Answer, StoreError, Terms, Version, Versioned, backend, done, encode, get_versioned, refused,
};
use serde::{Serialize, de::DeserializeOwned};

/// How often an update is tried. Whenever it fails another task's update was done, so only a
/// crowd at one key brings so many failures in a row.
pub(super) const TRIES: u32 = 1000;

/// Writes what `change` makes of the value that is there (`None` if there is none), and gives
/// it. If another task changes the entry meanwhile, `change` is called again with what is there
/// then, so it should have no effect but its result.
///
/// The entry stays as it was put: if it may be evicted it still may, and its time to live goes on;
/// it does not begin again. A value that was not there stays until it is removed. To give it other
/// terms say them: `ttl(..).update(..)`.
///
/// ```
/// use dpfw_guest::store::{self, StoreError};
///
/// fn count() -> Result<u64, StoreError> {
///     store::update("count", |before| before.unwrap_or(0) + 1)
/// }
///
/// assert_eq!((count()?, count()?), (1, 2));
/// # Ok::<(), StoreError>(())
/// ```
///
/// # Errors
/// [`StoreError::Contended`] if others were faster a thousand times; else as
/// [`compare_and_swap`](super::compare_and_swap).
pub fn update<T: Serialize + DeserializeOwned>(
    key: &str,
    change: impl FnMut(Option<T>) -> T,
) -> Result<T, StoreError> {
    swap(key, change, |value, expected| backend::update(key, value, expected))
}

impl Terms {
    /// As [`update`], but the value is kept on these terms from now on; its time to live begins.
    ///
    /// ```
    /// use dpfw_guest::store;
    /// use std::time::Duration;
    ///
    /// let minute = store::ttl(Duration::from_secs(60));
    /// assert_eq!(minute.update("seen", |before| before.unwrap_or(0) + 1)?, 1);
    /// # Ok::<(), store::StoreError>(())
    /// ```
    ///
    /// # Errors
    /// As [`update`].
    pub fn update<T: Serialize + DeserializeOwned>(
        self,
        key: &str,
        change: impl FnMut(Option<T>) -> T,
    ) -> Result<T, StoreError> {
        swap(key, change, |value, expected| backend::put_on(self, key, value, Some(expected)))
    }
}

/// Writes what `change` makes of what is there, with `write`, until nobody was faster.
fn swap<T: Serialize + DeserializeOwned>(
    key: &str,
    mut change: impl FnMut(Option<T>) -> T,
    write: impl Fn(&[u8], Version) -> Result<Answer, String>,
) -> Result<T, StoreError> {
    for _ in 0..TRIES {
        let before = get_versioned(key)?;
        let (before, version) = match before {
            Some(Versioned { value, version }) => (Some(value), version),
            None => (None, 0),
        };
        let after = change(before);
        if done(write(&encode(&after)?, version).map_err(refused)?).is_some() {
            return Ok(after);
        }
    }
    Err(StoreError::Contended { key: key.to_owned(), tries: TRIES })
}
