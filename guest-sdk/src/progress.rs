//! How far a task is.

/// Tells the master how far the task is: `done` of `total` of whatever it counts.
///
/// May be called as often as wanted; the slave passes on the latest. On the host it is a
/// log line at level `Trace`.
///
/// ```
/// let files = ["a", "b"];
/// for (done, file) in files.iter().enumerate() {
///     dpfw_guest::progress(done as u64, files.len() as u64);
///     println!("{file}");
/// }
/// ```
pub fn progress(done: u64, total: u64) {
    #[cfg(target_family = "wasm")]
    crate::abi::progress(done, total);
    #[cfg(not(target_family = "wasm"))]
    log::trace!("progress: {done} of {total}");
}
