//! What one run measured: this one, or an earlier one whose lines are in a file.
//!
//! Owns: which lines belong together, when and where they were measured. Invariant: lines that
//! were not understood are counted.

use super::line::{Failure, Head, Line, Repetition, Summary};
use super::machine;
use anyhow::{Context, Result, ensure};
use std::path::Path;

/// The lines of a run.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Record {
    /// `this run`, or the file's name.
    pub(super) name: String,
    pub(super) head: Option<Head>,
    /// When, if no head says so.
    date: String,
    pub(super) repetitions: Vec<Repetition>,
    pub(super) summaries: Vec<Summary>,
    pub(super) failures: Vec<Failure>,
    /// How many lines were not understood, and the first.
    pub(super) unreadable: Option<(usize, String)>,
}

impl Record {
    pub(super) fn new(name: impl Into<String>, date: impl Into<String>) -> Self {
        Self { name: name.into(), date: date.into(), ..Self::default() }
    }

    /// Reads the lines of a file.
    ///
    /// # Errors
    /// It cannot be read, or nothing in it is a figure.
    pub(super) fn of_file(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path)
            .with_context(|| format!("the lines in {} cannot be read", path.display()))?;
        let name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy();
        let date = date_in(&name).map_or_else(|| machine::date_of(path), str::to_owned);
        let mut record = Self::new(name, date);
        text.lines().for_each(|line| record.add(line));
        ensure!(
            !(record.repetitions.is_empty() && record.summaries.is_empty()),
            "no line in {} is a figure; it takes what `cargo xtask bench` or a peer's run.sh has \
             printed",
            path.display()
        );
        Ok(record)
    }

    /// Adds a line. Later figures of dpfw take the place of earlier ones of the same metric.
    pub(super) fn add(&mut self, line: &str) {
        match Line::read(line) {
            Some(Line::Head(head)) => self.head = Some(head),
            Some(Line::Repetition(it)) => self.repetitions.push(it),
            Some(Line::Failure(it)) => self.failures.push(it),
            Some(Line::Summary(it)) => {
                self.summaries.retain(|earlier| earlier.metric != it.metric);
                self.summaries.push(it);
            }
            None if line.trim().is_empty() => {}
            None => self.unreadable.get_or_insert_with(|| (0, line.to_owned())).0 += 1,
        }
    }

    /// The day.
    pub(super) fn date(&self) -> &str {
        let date = self.head.as_ref().map_or(&self.date, |head| &head.date);
        date.split('T').next().unwrap_or(date)
    }

    /// The machine and versions, as far as they were recorded.
    pub(super) fn whereabouts(&self) -> String {
        match &self.head {
            Some(Head { machine, dpfw, rustc, .. }) => {
                format!("{machine}; dpfw {dpfw}, rustc {rustc}")
            }
            None => "machine not recorded".to_owned(),
        }
    }

    /// Whether it has anything of a peer that can be compared.
    pub(super) fn has(&self, peer: &str) -> bool {
        self.failures.iter().any(|failure| failure.peer == peer)
            || self.plain().any(|it| it.peer == peer)
    }

    /// Repetitions in the setting that all peers have.
    pub(super) fn plain(&self) -> impl Iterator<Item = &Repetition> {
        self.repetitions.iter().filter(|it| it.mode.is_none())
    }
}

/// A day in a file's name: `results-2026-11-20.jsonl`.
fn date_in(name: &str) -> Option<&str> {
    let is_day = |day: &[u8]| {
        day.iter().enumerate().all(|(at, byte)| match at {
            4 | 7 => *byte == b'-',
            _ => byte.is_ascii_digit(),
        })
    };
    let at = name.as_bytes().windows("2026-11-20".len()).position(is_day)?;
    name.get(at..at + "2026-11-20".len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_sorted_and_those_not_understood_are_counted() {
        let mut record = Record::new("this run", "2026-01-01");
        for line in [
            r#"{"run":"2026-11-20T10:00:00Z","machine":"2 cores","dpfw":"0.1.0","rustc":"1.97.0"}"#,
            r#"{"peer":"ray","metric":"x","value":1,"unit":"us"}"#,
            r#"{"peer":"ray","metric":"x","value":1,"unit":"us","mode":"awake"}"#,
            r#"{"metric":"y","unit":"us","min":1,"median":2,"max":3}"#,
            r#"{"metric":"y","unit":"us","min":4,"median":5,"max":6}"#,
            r#"{"peer":"dask","failed":"exit code 3"}"#,
            "",
            "warming up",
            "{}",
        ] {
            record.add(line);
        }
        assert_eq!((record.repetitions.len(), record.plain().count()), (2, 1));
        assert_eq!(record.summaries.iter().map(|it| it.median).collect::<Vec<_>>(), [5.0]);
        assert_eq!(record.unreadable, Some((2, "warming up".to_owned())));
        assert_eq!(["ray", "dask", "nats"].map(|peer| record.has(peer)), [true, true, false]);
        assert_eq!(record.date(), "2026-11-20");
        assert_eq!(record.whereabouts(), "2 cores; dpfw 0.1.0, rustc 1.97.0");
    }

    #[test]
    fn a_day_is_found_in_a_name() {
        assert_eq!(date_in("results-2026-11-20.jsonl"), Some("2026-11-20"));
        assert_eq!(date_in("results-20261120é.jsonl"), None);
    }

    #[test]
    fn a_file_without_figures_is_refused() {
        let error = Record::of_file(Path::new("/nowhere/x.jsonl")).expect_err("not there");
        assert!(error.to_string().contains("/nowhere/x.jsonl cannot be read"), "{error}");
        let this = Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml");
        let error = Record::of_file(&this).expect_err("no lines");
        assert!(error.to_string().contains("is a figure; it takes what"), "{error}");
    }
}
