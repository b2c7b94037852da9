//! Entries that are built once, and waiting for changes and for the disk, as the slave offers
//! them.
//!
//! Apart from the rest of the store, because a module that imports what waits has all its
//! tasks run where they can wait, which costs each of them a little.
//! Invariant: as in [`store`](super::store).

use super::store::answer;
use crate::store::{Answer, Terms};

#[link(wasm_import_module = "dpfw_1")]
unsafe extern "C" {
    fn store_claim(key: *const u8, key_len: usize) -> i32;
    fn store_settle(key: *const u8, key_len: usize, value: *const u8, value_len: usize) -> i32;
    fn store_settle_on(
        key: *const u8,
        key_len: usize,
        value: *const u8,
        value_len: usize,
        evictable: i32,
        ttl_ms: i64,
    ) -> i32;
    fn store_forgo(key: *const u8, key_len: usize, why: *const u8, why_len: usize) -> i32;
    fn store_wait(key: *const u8, key_len: usize, version: i64) -> i32;
    safe fn store_sync(waits: i32) -> i32;
}

/// The entry, once it is there; or nothing, and this task is the one that builds it.
pub(crate) fn claim(key: &str) -> Result<Answer, String> {
    // SAFETY: the pointer comes with the length of the key it was taken from, and the slave
    // reads it before it waits or returns. The same holds for keys, values and texts below.
    answer::<true>(unsafe { store_claim(key.as_ptr(), key.len()) })
}

/// The entry was built. If it is not taken, another was put meanwhile, which the answer has.
pub(crate) fn settle(key: &str, value: &[u8]) -> Result<Answer, String> {
    let (at, len) = (value.as_ptr(), value.len());
    // SAFETY: as in `claim`.
    settled(unsafe { store_settle(key.as_ptr(), key.len(), at, len) })
}

/// The same on terms; without them it may be evicted.
pub(crate) fn settle_on(terms: Terms, key: &str, value: &[u8]) -> Result<Answer, String> {
    let ((evictable, ttl), (at, len)) = (terms.raw(), (value.as_ptr(), value.len()));
    // SAFETY: as in `claim`.
    settled(unsafe { store_settle_on(key.as_ptr(), key.len(), at, len, evictable, ttl) })
}

fn settled(outcome: i32) -> Result<Answer, String> {
    if outcome == 0 {
        // The reply is the other value, as if it had been read.
        return answer::<true>(1).map(|other| Answer { there: false, ..other });
    }
    answer::<false>(outcome)
}

/// The entry will not be built by this task.
pub(crate) fn forgo(key: &str, why: &str) -> Result<Answer, String> {
    // SAFETY: as in `claim`.
    answer::<false>(unsafe { store_forgo(key.as_ptr(), key.len(), why.as_ptr(), why.len()) })
}

/// Waits until the entry has another version; 0 stands for none.
pub(crate) fn wait(key: &str, version: u64) -> Result<Answer, String> {
    // SAFETY: as in `claim`.
    answer::<false>(unsafe { store_wait(key.as_ptr(), key.len(), version.cast_signed()) })
}

/// Waits until what was written is on disk, or only asks whether that could be waited for.
pub(crate) fn sync(waits: bool) -> Result<Answer, String> {
    answer::<false>(store_sync(waits.into()))
}
