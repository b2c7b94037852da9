//! The tasks of wordcount: map and reduce over text.
//!
//! Owns: what slaves run, as plain functions that a test or a program without dpfw calls
//! just as well. Does not: read files, or know masters. Invariant: what is counted does not
//! depend on how texts are put into batches, nor on the order in which counts are merged.

mod counts;
mod scan;

pub use counts::Counts;
pub use dpfw_guest::Bytes;

use dpfw_guest::task;

dpfw_guest::module!();

/// Counts the words and the identifiers of texts, telling how many bytes are done.
#[task(effect_free)]
pub fn count(texts: Vec<Bytes>) -> Counts {
    let mut counts = Counts::default();
    let all: u64 = texts.iter().map(|text| text.len() as u64).sum();
    let mut done = 0;
    for text in &texts {
        counts.add(text);
        done += text.len() as u64;
        dpfw_guest::progress(done, all);
    }
    counts
}

/// Makes one of several counts.
#[task(effect_free)]
pub fn merge(parts: Vec<Counts>) -> Counts {
    let mut all = Counts::default();
    for part in parts {
        all.merge(part);
    }
    all
}

#[cfg(test)]
mod tests;
