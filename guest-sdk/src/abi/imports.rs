//! What the slave offers, as safe functions.
//!
//! Invariant: an import is linked only if something calls it, so that a module asks for no
//! more than it uses.

#[link(wasm_import_module = "dpfw_1")]
unsafe extern "C" {
    #[link_name = "log"]
    fn host_log(level: i32, target: *const u8, target_len: usize, text: *const u8, text_len: usize);
    #[link_name = "progress"]
    safe fn host_progress(done: i64, total: i64);
    #[link_name = "panic"]
    fn host_panic(
        text: *const u8,
        text_len: usize,
        file: *const u8,
        file_len: usize,
        line: i32,
        column: i32,
    );
}

/// A log line; 1 is an error, 5 a trace.
pub(crate) fn log(level: i32, target: &str, text: &str) {
    // SAFETY: each pointer comes with the length of the text it was taken from, and the
    // slave reads both before it returns.
    unsafe { host_log(level, target.as_ptr(), target.len(), text.as_ptr(), text.len()) }
}

/// How far the task is.
pub(crate) fn progress(done: u64, total: u64) {
    host_progress(done.cast_signed(), total.cast_signed());
}

/// The guest is about to trap, and this is why.
pub(crate) fn panic(text: &str, file: &str, line: u32, column: u32) {
    let (line, column) = (line.cast_signed(), column.cast_signed());
    // SAFETY: as in `log`.
    unsafe { host_panic(text.as_ptr(), text.len(), file.as_ptr(), file.len(), line, column) }
}
