//! Watching the store, as the slave offers it.
//!
//! Apart from the rest, as all that waits is (see [`wait`](super::wait)).
//! Invariant: as in [`store`](super::store).

use super::store::answer;
use crate::store::Answer;

#[link(wasm_import_module = "dpfw_1")]
unsafe extern "C" {
    fn store_watch(prefix: *const u8, prefix_len: usize, present: i32) -> i32;
    safe fn store_watch_next(number: i32, waits: i32) -> i32;
    safe fn store_watch_end(number: i32) -> i32;
}

/// Begins a watch: its number is the answer's version.
pub(crate) fn begin(prefix: &str, present: bool) -> Result<Answer, String> {
    // SAFETY: the pointer comes with the length of the prefix it was taken from, and the slave
    // reads it before it returns.
    answer::<false>(unsafe { store_watch(prefix.as_ptr(), prefix.len(), present.into()) })
}

/// What it has to tell: changes, and as the version how many were lost before them. `waits` says
/// whether there may be none.
pub(crate) fn next(number: u32, waits: bool) -> Result<Answer, String> {
    answer::<true>(store_watch_next(number.cast_signed(), waits.into()))
}

/// Ends it.
pub(crate) fn end(number: u32) -> Result<Answer, String> {
    answer::<false>(store_watch_end(number.cast_signed()))
}
