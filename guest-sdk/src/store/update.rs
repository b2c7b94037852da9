//! Changing a value to what it says itself.
//!
//! Invariant: the number of tries is bounded, so that a task ends.

use super::{StoreError, Versioned, compare_and_swap, get_versioned};
use serde::{Serialize, de::DeserializeOwned};

/// How often an update is tried. Whenever it fails another task's update was done, so only a
/// crowd at one key brings so many failures in a row.
pub(super) const TRIES: u32 = 1000;

/// Writes what `change` makes of the value that is there (`None` if there is none), and gives
/// it. If another task changes the entry meanwhile, `change` is called again with what is there
/// then, so it should have no effect but its result.
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
/// [`compare_and_swap`].
pub fn update<T: Serialize + DeserializeOwned>(
    key: &str,
    mut change: impl FnMut(Option<T>) -> T,
) -> Result<T, StoreError> {
    for _ in 0..TRIES {
        let before = get_versioned(key)?;
        let (before, version) = match before {
            Some(Versioned { value, version }) => (Some(value), version),
            None => (None, 0),
        };
        let after = change(before);
        if compare_and_swap(key, &after, version)?.is_some() {
            return Ok(after);
        }
    }
    Err(StoreError::Contended { key: key.to_owned(), tries: TRIES })
}
