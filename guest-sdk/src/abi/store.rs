//! The keyed store, as the slave offers it.
//!
//! Owns: the calls and their replies. Invariant: each function calls one import, so that a
//! module asks for what it uses; a reply is fetched before anything else is asked for.

use crate::store::{Answer, Terms};
use bytes::Bytes;

#[link(wasm_import_module = "dpfw_1")]
unsafe extern "C" {
    fn store_get(key: *const u8, key_len: usize) -> i32;
    fn store_put(key: *const u8, key_len: usize, value: *const u8, value_len: usize) -> i32;
    fn store_put_if_absent(
        key: *const u8,
        key_len: usize,
        value: *const u8,
        value_len: usize,
    ) -> i32;
    fn store_compare_and_swap(
        key: *const u8,
        key_len: usize,
        value: *const u8,
        value_len: usize,
        expected: i64,
    ) -> i32;
    fn store_update(
        key: *const u8,
        key_len: usize,
        value: *const u8,
        value_len: usize,
        expected: i64,
    ) -> i32;
    fn store_remove(key: *const u8, key_len: usize) -> i32;
    fn store_list(
        prefix: *const u8,
        prefix_len: usize,
        after: *const u8,
        after_len: usize,
        limit: i32,
    ) -> i32;
    fn store_put_on(
        key: *const u8,
        key_len: usize,
        value: *const u8,
        value_len: usize,
        expected: i64,
        evictable: i32,
        ttl_ms: i64,
    ) -> i32;
    fn store_get_range(key: *const u8, key_len: usize, offset: i64, len: i64) -> i32;
    fn store_pin(key: *const u8, key_len: usize, pinned: i32) -> i32;
    fn store_write_begin(key: *const u8, key_len: usize, evictable: i32, ttl_ms: i64) -> i32;
    fn store_write_append(number: i32, piece: *const u8, piece_len: usize) -> i32;
    safe fn store_write_end(number: i32) -> i32;
    safe fn store_write_drop(number: i32) -> i32;
    safe fn reply_len() -> i32;
    fn reply_take(to: *mut u8);
    safe fn reply_version() -> i64;
}

/// The answer to an operation that replies with `READ`, bytes or nothing.
pub(super) fn answer<const READ: bool>(outcome: i32) -> Result<Answer, String> {
    match outcome {
        0 | 1 => {
            let there = outcome == 1;
            let bytes = if READ && there { reply() } else { Bytes::new() };
            Ok(Answer { there, bytes, version: reply_version().cast_unsigned() })
        }
        _ => Err(String::from_utf8_lossy(&reply()).into_owned()),
    }
}

/// Why a call of another part failed: a number, and a text.
pub(super) fn failure() -> (u64, String) {
    let number = reply_version().cast_unsigned();
    (number, String::from_utf8_lossy(&reply()).into_owned())
}

/// The bytes of the reply.
fn reply() -> Bytes {
    let len = reply_len().cast_unsigned() as usize;
    let mut bytes = Vec::with_capacity(len);
    // SAFETY: `bytes` has room for `len` bytes. The slave writes as many as it said, to
    // memory that was just allocated and that nothing else refers to.
    unsafe {
        reply_take(bytes.as_mut_ptr());
        bytes.set_len(len);
    }
    bytes.into()
}

pub(crate) fn get(key: &str) -> Result<Answer, String> {
    // SAFETY: the pointer comes with the length of the key it was taken from, and the
    // slave reads it before it returns. The same holds for keys, values and prefixes below.
    answer::<true>(unsafe { store_get(key.as_ptr(), key.len()) })
}

pub(crate) fn put(key: &str, value: &[u8]) -> Result<Answer, String> {
    // SAFETY: as in `get`.
    answer::<false>(unsafe { store_put(key.as_ptr(), key.len(), value.as_ptr(), value.len()) })
}

pub(crate) fn put_if_absent(key: &str, value: &[u8]) -> Result<Answer, String> {
    let (at, len) = (value.as_ptr(), value.len());
    // SAFETY: as in `get`.
    answer::<false>(unsafe { store_put_if_absent(key.as_ptr(), key.len(), at, len) })
}

pub(crate) fn compare_and_swap(key: &str, value: &[u8], expected: u64) -> Result<Answer, String> {
    let (at, len, expected) = (value.as_ptr(), value.len(), expected.cast_signed());
    // SAFETY: as in `get`.
    answer::<false>(unsafe { store_compare_and_swap(key.as_ptr(), key.len(), at, len, expected) })
}

pub(crate) fn update(key: &str, value: &[u8], expected: u64) -> Result<Answer, String> {
    let (at, len, expected) = (value.as_ptr(), value.len(), expected.cast_signed());
    // SAFETY: as in `get`.
    answer::<false>(unsafe { store_update(key.as_ptr(), key.len(), at, len, expected) })
}

pub(crate) fn remove(key: &str) -> Result<Answer, String> {
    // SAFETY: as in `get`.
    answer::<false>(unsafe { store_remove(key.as_ptr(), key.len()) })
}

pub(crate) fn list(prefix: &str, after: &str, limit: u32) -> Result<Answer, String> {
    let (at, len, limit) = (after.as_ptr(), after.len(), limit.cast_signed());
    // SAFETY: as in `get`.
    answer::<true>(unsafe { store_list(prefix.as_ptr(), prefix.len(), at, len, limit) })
}

pub(crate) fn put_on(
    terms: Terms,
    key: &str,
    value: &[u8],
    expected: Option<u64>,
) -> Result<Answer, String> {
    let ((evictable, ttl), (at, len)) = (terms.raw(), (value.as_ptr(), value.len()));
    let expected = expected.map_or(-1, u64::cast_signed);
    // SAFETY: as in `get`.
    answer::<false>(unsafe {
        store_put_on(key.as_ptr(), key.len(), at, len, expected, evictable, ttl)
    })
}

pub(crate) fn get_range(key: &str, offset: u64, len: u64) -> Result<Answer, String> {
    let (offset, len) = (offset.cast_signed(), len.cast_signed());
    // SAFETY: as in `get`.
    answer::<true>(unsafe { store_get_range(key.as_ptr(), key.len(), offset, len) })
}

pub(crate) fn pin(key: &str, pinned: bool) -> Result<Answer, String> {
    // SAFETY: as in `get`.
    answer::<false>(unsafe { store_pin(key.as_ptr(), key.len(), pinned.into()) })
}

pub(crate) fn write_begin(terms: Terms, key: &str) -> Result<Answer, String> {
    let (evictable, ttl) = terms.raw();
    // SAFETY: as in `get`.
    answer::<false>(unsafe { store_write_begin(key.as_ptr(), key.len(), evictable, ttl) })
}

pub(crate) fn write_append(number: u32, piece: &[u8]) -> Result<Answer, String> {
    // SAFETY: as in `get`.
    answer::<false>(unsafe {
        store_write_append(number.cast_signed(), piece.as_ptr(), piece.len())
    })
}

pub(crate) fn write_end(number: u32) -> Result<Answer, String> {
    answer::<false>(store_write_end(number.cast_signed()))
}

pub(crate) fn write_drop(number: u32) -> Result<Answer, String> {
    answer::<false>(store_write_drop(number.cast_signed()))
}
