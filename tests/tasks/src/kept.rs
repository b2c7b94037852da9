//! Tasks on the keyed store: values on terms, in pieces and in parts, and updates.

use dpfw_guest::store::{self, StoreError, Terms};
use dpfw_guest::{Bytes, task};
use std::time::Duration;

fn terms(evictable: bool, ttl_ms: Option<u64>) -> Terms {
    let terms = if evictable { store::evictable() } else { Terms::default() };
    ttl_ms.map_or(terms, |ttl| terms.ttl(Duration::from_millis(ttl)))
}

/// Puts so many bytes under a key, on terms.
///
/// # Errors
/// [`StoreError`].
#[task]
pub fn keep_on(
    key: String,
    len: usize,
    evictable: bool,
    ttl_ms: Option<u64>,
) -> Result<u64, StoreError> {
    terms(evictable, ttl_ms).put_bytes(&key, &vec![1; len])
}

/// Adds one to a number so many times, by updates.
///
/// # Errors
/// [`StoreError`].
#[task]
pub fn count_up(key: String, times: u32) -> Result<u64, StoreError> {
    let mut last = 0;
    for _ in 0..times {
        last = store::update(&key, |before: Option<u64>| before.unwrap_or(0) + 1)?;
    }
    Ok(last)
}

/// Writes a value in so many pieces, each filled with its number, and finishes it or not.
///
/// # Errors
/// [`StoreError`].
#[task]
pub fn write_pieces(key: String, len: usize, pieces: u8, finish: bool) -> Result<(), StoreError> {
    let mut value = store::write(&key)?;
    let mut piece = vec![0; len];
    for number in 0..pieces {
        piece.fill(number);
        value.append(&piece)?;
    }
    if finish {
        value.finish()?;
    }
    Ok(())
}

/// Writes the beginning of a value, says so by writing `arrived`, and never ends.
///
/// # Errors
/// [`StoreError`].
#[task]
pub fn begin_and_spin(key: String, len: usize, arrived: String) -> Result<(), StoreError> {
    let mut value = store::write(&key)?;
    value.append(&vec![1; len])?;
    store::put(&arrived, &1)?;
    loop {
        std::hint::black_box(&mut value);
    }
}

/// Reads a part of a value.
///
/// # Errors
/// [`StoreError`].
#[task]
pub fn read_part(key: String, from: u64, to: u64) -> Result<Option<Bytes>, StoreError> {
    Ok(store::get_range(&key, from..to)?.map(|part| part.value))
}

/// Pins or unpins an entry.
///
/// # Errors
/// [`StoreError`].
#[task]
pub fn pin(key: String, pinned: bool) -> Result<bool, StoreError> {
    if pinned { store::pin(&key) } else { store::unpin(&key) }
}
