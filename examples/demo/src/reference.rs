//! The same job in this process, without dpfw, and the comparison.
//!
//! Owns: a plain loop over the files and what differs from it. Invariant: every count is
//! compared, not a sum of them.

use anyhow::{Context, Result};
use examples_kit::{Report, grouped};
use std::collections::HashMap;
use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};
use wordcount_tasks::Counts;

/// What a plain loop counts.
#[derive(Debug)]
pub(crate) struct Reference {
    counts: Counts,
    elapsed: Duration,
}

/// Counts the files one after the other.
pub(crate) fn count(paths: &[PathBuf]) -> Result<Reference> {
    let begun = Instant::now();
    let mut counts = Counts::default();
    for path in paths {
        let text = fs::read(path);
        counts.add(&text.with_context(|| format!("{} cannot be read", path.display()))?);
    }
    Ok(Reference { counts, elapsed: begun.elapsed() })
}

impl Reference {
    /// The first difference, if there is any.
    pub(crate) fn compare(&self, other: &Counts) -> Result<(), String> {
        let (ours, theirs) = (&self.counts, other);
        if (ours.texts, ours.bytes) != (theirs.texts, theirs.bytes) {
            return Err(format!(
                "{} files of {} bytes with dpfw, {} files of {} bytes without",
                theirs.texts, theirs.bytes, ours.texts, ours.bytes
            ));
        }
        compare("word", &theirs.words, &ours.words)?;
        compare("identifier", &theirs.identifiers, &ours.identifiers)
    }

    pub(crate) fn tell(&self, verdict: Result<&(), &String>, report: &mut Report) {
        report.row("time", format!("{:.2} s on one core", self.elapsed.as_secs_f64()));
        let compared = |counts: &HashMap<_, _>| grouped(counts.len() as u64);
        report.row("different words", compared(&self.counts.words));
        report.row("different identifiers", compared(&self.counts.identifiers));
        match verdict {
            Ok(()) => report.row("comparison", "equal, to the last count"),
            Err(difference) => report.row("comparison", format!("DIFFERENT: {difference}")),
        }
    }
}

fn compare(
    what: &str,
    with: &HashMap<String, u64>,
    without: &HashMap<String, u64>,
) -> Result<(), String> {
    let names = with.keys().chain(without.keys());
    let times = |counts: &HashMap<String, u64>, name| counts.get(name).copied().unwrap_or(0);
    for name in names {
        let (with, without) = (times(with, name), times(without, name));
        if with != without {
            return Err(format!("the {what} `{name}` {with} times with dpfw, {without} without"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_smallest_difference_is_found() {
        let mut counts = Counts::default();
        counts.add(b"let a = b; // c");
        let reference = Reference { counts: counts.clone(), elapsed: Duration::ZERO };
        assert_eq!(reference.compare(&counts), Ok(()));

        let mut other = counts.clone();
        other.identifiers.remove("b");
        let difference = reference.compare(&other).expect_err("they differ");
        assert_eq!(difference, "the identifier `b` 0 times with dpfw, 1 without");

        let mut other = counts.clone();
        other.words.insert("d".into(), 1);
        let difference = reference.compare(&other).expect_err("they differ");
        assert_eq!(difference, "the word `d` 1 times with dpfw, 0 without");

        counts.texts += 1;
        assert!(reference.compare(&counts).is_err());
    }
}
