//! Counts as they are kept, and what is said of those that differ.
//!
//! Owns: the file's format, and comparison. Invariant: a path that is counted and not kept, or
//! kept and not counted, is beyond any tolerance.

use anyhow::{Context, Result, ensure};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;

/// Instructions by path.
pub(crate) type Counts = BTreeMap<String, u64>;

/// Versions by what has them.
pub(crate) type Versions = BTreeMap<String, String>;

/// What is kept.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Kept {
    /// By how many percent a count may differ.
    pub(crate) tolerance: f64,
    /// With what it was counted.
    pub(crate) versions: Versions,
    pub(crate) counts: Counts,
}

/// A path's counts, kept and new.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Compared {
    pub(crate) path: String,
    kept: Option<u64>,
    counted: Option<u64>,
}

/// Five runs on one machine were the same to the instruction, whatever their environment and
/// wherever their memory; with the `memcpy` of a processor without AVX2 they differed by up to 0.9 %.
const TOLERANCE: f64 = 2.0;

impl Default for Kept {
    fn default() -> Self {
        Self { tolerance: TOLERANCE, versions: Versions::new(), counts: Counts::new() }
    }
}

impl Kept {
    /// What is in a file; nothing is kept if there is none.
    pub(crate) fn read(file: &Path) -> Result<Self> {
        if !file.exists() {
            return Ok(Self::default());
        }
        let text = std::fs::read_to_string(file)
            .with_context(|| format!("{} is unreadable", file.display()))?;
        Self::parse(&text).with_context(|| format!("{} is not as it is written", file.display()))
    }

    pub(crate) fn write(&self, file: &Path) -> Result<()> {
        std::fs::write(file, self.text()?)
            .with_context(|| format!("{} cannot be written", file.display()))
    }

    fn parse(text: &str) -> Result<Self> {
        let value: Value = serde_json::from_str(text)?;
        let tolerance = value["tolerance_percent"].as_f64().context("there is no tolerance")?;
        ensure!((0.0..100.0).contains(&tolerance), "the tolerance is {tolerance} percent");
        let versions = entries(&value, "versions", |it| it.as_str().map(str::to_owned))?;
        let counts = entries(&value, "instructions", Value::as_u64)?;
        Ok(Self { tolerance, versions, counts })
    }

    fn text(&self) -> Result<String> {
        let Self { tolerance, versions, counts } = self;
        let value = json!({
            "tolerance_percent": tolerance, "versions": versions, "instructions": counts,
        });
        Ok(serde_json::to_string_pretty(&value)? + "\n")
    }

    /// Each path with both of its counts.
    pub(crate) fn compare(&self, counted: &Counts) -> Vec<Compared> {
        let mut paths: Vec<&String> = self.counts.keys().chain(counted.keys()).collect();
        paths.sort();
        paths.dedup();
        let count = |counts: &Counts, path: &String| counts.get(path).copied();
        let compare = |path: &String| Compared {
            path: path.clone(),
            kept: count(&self.counts, path),
            counted: count(counted, path),
        };
        paths.into_iter().map(compare).collect()
    }

    /// What has another version now: its name, the version then, and that now.
    pub(crate) fn changed<'a>(
        &'a self,
        now: &'a Versions,
    ) -> impl Iterator<Item = (&'a str, &'a str, &'a str)> {
        self.versions.iter().filter_map(|(what, then)| {
            let now = now.get(what).filter(|now| *now != then)?;
            Some((&what[..], &then[..], &now[..]))
        })
    }
}

/// The members of one of a value's objects.
fn entries<T>(
    value: &Value,
    name: &str,
    read: impl Fn(&Value) -> Option<T>,
) -> Result<BTreeMap<String, T>> {
    let object: &Map<_, _> = value[name].as_object().with_context(|| format!("no {name}"))?;
    let entry = |(key, value): (&String, &Value)| {
        let value = read(value).with_context(|| format!("{name}: {key} cannot be {value}"))?;
        Ok((key.clone(), value))
    };
    object.iter().map(entry).collect()
}

impl Compared {
    /// By how many percent the new one is more; nothing if one of them is missing.
    fn difference(&self) -> Option<f64> {
        let (kept, counted) = (self.kept? as f64, self.counted? as f64);
        Some(100.0 * (counted - kept) / kept.max(1.0))
    }

    /// Whether they differ by no more than so many percent.
    pub(crate) fn is_within(&self, tolerance: f64) -> bool {
        self.difference().is_some_and(|difference| difference.abs() <= tolerance)
    }

    /// What is wrong with one that is beyond that, as a line.
    pub(crate) fn told(&self, tolerance: f64) -> String {
        let path = &self.path;
        match self.difference() {
            Some(more) if more > 0.0 => {
                format!("{path} takes {more:.1} % more than kept; {tolerance} % are tolerated\n")
            }
            Some(more) => {
                let less = -more;
                format!("{path} takes {less:.1} % less than kept: keep it, so that it stays so\n")
            }
            None if self.kept.is_none() => format!("{path} is not kept\n"),
            None => format!("{path} is kept, and there is no such path\n"),
        }
    }
}

/// All of them, one a line.
pub(crate) fn table(compared: &[Compared]) -> String {
    let mut out = format!("{:<16} {:>10} {:>10} {:>10}\n", "path", "kept", "counted", "difference");
    let shown = |count: Option<u64>| count.map_or_else(|| "-".to_owned(), |it| it.to_string());
    for it in compared {
        let difference =
            it.difference().map_or_else(|| "-".to_owned(), |percent| format!("{percent:+.1} %"));
        let (kept, counted) = (shown(it.kept), shown(it.counted));
        let _ = writeln!(out, "{:<16} {kept:>10} {counted:>10} {difference:>10}", it.path);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(counts: &[(&str, u64)]) -> Counts {
        counts.iter().map(|(path, count)| ((*path).to_owned(), *count)).collect()
    }

    fn kept(of: &[(&str, u64)]) -> Kept {
        let versions = [("rustc", "1.99.1"), ("wasmtime", "50.0.1")];
        let versions = versions.map(|(what, version)| (what.to_owned(), version.to_owned()));
        Kept { tolerance: 3.0, versions: versions.into(), counts: counts(of) }
    }

    #[test]
    fn what_is_written_is_read_again() {
        let kept = kept(&[("encode", 312), ("decode", 410)]);
        let text = kept.text().expect("it is plain");
        assert_eq!(Kept::parse(&text).expect("as it was written"), kept);
        assert!(text.contains("\"encode\": 312") && text.ends_with("}\n"), "{text}");
        for (from, to) in [("3.0", "\"3\""), ("3.0", "100.0"), ("312", "-1"), ("versions", "v")] {
            let broken = text.replacen(from, to, 1);
            assert!(Kept::parse(&broken).is_err(), "{broken}");
        }
    }

    #[test]
    fn beyond_the_tolerance_either_way_is_told() {
        let kept = kept(&[("a", 1000), ("b", 1000), ("c", 1000), ("d", 1000), ("gone", 5)]);
        let counted = counts(&[("a", 1030), ("b", 1031), ("c", 969), ("d", 970), ("new", 5)]);
        let compared = kept.compare(&counted);
        let told = compared.iter().filter(|it| !it.is_within(kept.tolerance));
        let told: String = told.map(|it| it.told(kept.tolerance)).collect();
        assert_eq!(
            told,
            "b takes 3.1 % more than kept; 3 % are tolerated\n\
             c takes 3.1 % less than kept: keep it, so that it stays so\n\
             gone is kept, and there is no such path\n\
             new is not kept\n"
        );
        let nothing = super::Kept { counts: counts(&[("a", 0)]), ..kept };
        assert!(!nothing.compare(&counts(&[("a", 1)]))[0].is_within(3.0));
    }

    #[test]
    fn the_table_has_both_counts_of_each() {
        let table = table(&kept(&[("a", 1000), ("gone", 5)]).compare(&counts(&[("a", 990)])));
        let lines: Vec<Vec<&str>> =
            table.lines().map(|line| line.split_whitespace().collect()).collect();
        assert_eq!(lines[1], ["a", "1000", "990", "-1.0", "%"]);
        assert_eq!(lines[2], ["gone", "5", "-", "-"]);
    }

    #[test]
    fn other_versions_are_named() {
        let now = [("rustc", "2.0.0"), ("wasmtime", "50.0.1")];
        let now = now.map(|(what, version)| (what.to_owned(), version.to_owned())).into();
        let kept = kept(&[]);
        assert_eq!(kept.changed(&now).collect::<Vec<_>>(), [("rustc", "1.99.1", "2.0.0")]);
    }
}
