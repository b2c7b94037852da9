//! Counts words and identifiers of files with dpfw.
//!
//! Owns: the way from files to counts. Does not: count; the tasks do. Invariant: what is in
//! memory does not grow with the number of files, only with that of different words.

#![forbid(unsafe_code)]

mod files;

pub use files::{Batches, Files};
pub use wordcount_tasks::Counts;

use anyhow::{Context, Result};
use dpfw::Master;
use futures_util::StreamExt;
use std::path::PathBuf;
use wordcount_tasks::count;

/// Bytes of a batch: some tens of milliseconds of work, against which a task costs nothing.
pub const BATCH: usize = 1 << 20;

/// Counts the words and identifiers of files on the master's slaves.
///
/// # Errors
/// The first file that cannot be read, or the first task that failed.
pub async fn count_files(master: &Master, files: Vec<PathBuf>) -> Result<Counts> {
    let mut unread = None;
    // Batches are read as results come back: `map` takes no more than it has under way.
    let batches = Batches::new(files, BATCH)
        .map_while(|batch| batch.map_err(|error| unread = Some(error)).ok());
    let mut parts = master.map(batches, count::call).chunk(1).unordered();
    let mut all = Counts::default();
    while let Some(part) = parts.next().await {
        all.merge(part.context("a batch was not counted")?);
    }
    drop(parts);
    match unread {
        Some(error) => Err(error),
        None => Ok(all),
    }
}
