//! On what terms a value is kept.
//!
//! Owns: how they are said. Does not: keep to them; the slave does.

use super::{StoreError, Version, backend, done, encode, refused};
use serde::Serialize;
use std::time::Duration;

/// On what terms a value is kept that is written by its methods: from [`evictable`] or [`ttl`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[must_use = "nothing is written yet"]
pub struct Terms {
    pub(super) evictable: bool,
    pub(super) ttl: Option<Duration>,
}

/// For values that the slave may evict to make room, those first that were not used for longest.
///
/// ```
/// use dpfw_guest::store;
///
/// store::evictable().put("tiles/7", &"what can be made again")?;
/// assert!(store::get::<String>("tiles/7")?.is_some());
/// # Ok::<(), store::StoreError>(())
/// ```
pub fn evictable() -> Terms {
    Terms::default().evictable()
}

/// For values that are gone after a while, in whole milliseconds; until then they may be evicted.
///
/// ```
/// use dpfw_guest::store;
/// use std::time::Duration;
///
/// store::ttl(Duration::from_secs(60)).put("weather", &"sunny")?;
/// assert_eq!(store::get("weather")?, Some("sunny".to_owned()));
/// # Ok::<(), store::StoreError>(())
/// ```
pub fn ttl(ttl: Duration) -> Terms {
    Terms::default().ttl(ttl)
}

impl Terms {
    /// The value may be evicted.
    pub fn evictable(self) -> Self {
        Self { evictable: true, ..self }
    }

    /// The value is gone after this long.
    pub fn ttl(self, ttl: Duration) -> Self {
        Self { ttl: Some(ttl), ..self }
    }

    /// As [`put`](super::put).
    ///
    /// # Errors
    /// As [`put`](super::put).
    pub fn put<T: Serialize + ?Sized>(self, key: &str, value: &T) -> Result<Version, StoreError> {
        self.put_bytes(key, &encode(value)?)
    }

    /// As [`put_bytes`](super::put_bytes).
    ///
    /// # Errors
    /// As [`put_bytes`](super::put_bytes).
    pub fn put_bytes(self, key: &str, value: &[u8]) -> Result<Version, StoreError> {
        Ok(backend::put_on(self, key, value, None).map_err(refused)?.version)
    }

    /// As [`put_if_absent`](super::put_if_absent).
    ///
    /// # Errors
    /// As [`put_if_absent`](super::put_if_absent).
    pub fn put_if_absent<T: Serialize + ?Sized>(
        self,
        key: &str,
        value: &T,
    ) -> Result<Option<Version>, StoreError> {
        self.put_bytes_if_absent(key, &encode(value)?)
    }

    /// As [`put_bytes_if_absent`](super::put_bytes_if_absent).
    ///
    /// # Errors
    /// As [`put_bytes_if_absent`](super::put_bytes_if_absent).
    pub fn put_bytes_if_absent(
        self,
        key: &str,
        value: &[u8],
    ) -> Result<Option<Version>, StoreError> {
        self.compare_and_swap_bytes(key, value, 0)
    }

    /// As [`compare_and_swap`](super::compare_and_swap).
    ///
    /// # Errors
    /// As [`compare_and_swap`](super::compare_and_swap).
    pub fn compare_and_swap<T: Serialize + ?Sized>(
        self,
        key: &str,
        value: &T,
        expected: Version,
    ) -> Result<Option<Version>, StoreError> {
        self.compare_and_swap_bytes(key, &encode(value)?, expected)
    }

    /// As [`compare_and_swap_bytes`](super::compare_and_swap_bytes).
    ///
    /// # Errors
    /// As [`compare_and_swap_bytes`](super::compare_and_swap_bytes).
    pub fn compare_and_swap_bytes(
        self,
        key: &str,
        value: &[u8],
        expected: Version,
    ) -> Result<Option<Version>, StoreError> {
        backend::put_on(self, key, value, Some(expected)).map(done).map_err(refused)
    }

    /// As [`write`](super::write).
    ///
    /// # Errors
    /// As [`write`](super::write).
    pub fn write(self, key: &str) -> Result<super::Writer, StoreError> {
        super::Writer::begin(key, self)
    }

    /// In milliseconds, none being -1, as the slave takes it.
    #[cfg(target_family = "wasm")]
    pub(crate) fn raw(self) -> (i32, i64) {
        let millis = |ttl: Duration| i64::try_from(ttl.as_millis()).unwrap_or(i64::MAX);
        (self.evictable.into(), self.ttl.map_or(-1, millis))
    }
}
