//! Lines of figures, as the benchmark and peers' scripts print them.
//!
//! Owns: what a line has to have. Does not: know which figure matters. Invariant: a line that
//! is not understood is told, never taken for a figure.
//!
//! A peer's line is a repetition:
//! `{"peer", "metric", "value", "unit"}`, and if they are known `"noisy"` (whether other
//! processes were busy meanwhile), `"mode"` (a setting that is compared with nothing else),
//! `"version"` and `"isolation"` (what keeps a task from others). The benchmark's line is of
//! all its rounds: `{"metric", "unit", "min", "median", "max", "limit"}`. Files of runs have two
//! more: `{"run", "machine", "dpfw", "rustc"}` at their head, and `{"peer", "failed"}` of a
//! script that did not end well.

use serde_json::{Value, json};

/// A line that is understood.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Line {
    Head(Head),
    Repetition(Repetition),
    Summary(Summary),
    Failure(Failure),
}

/// When and on what a run was.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Head {
    pub(super) date: String,
    pub(super) machine: String,
    pub(super) dpfw: String,
    pub(super) rustc: String,
}

/// A peer's figure.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Repetition {
    pub(super) peer: String,
    pub(super) metric: String,
    pub(super) unit: String,
    pub(super) value: f64,
    pub(super) noisy: bool,
    pub(super) mode: Option<String>,
    pub(super) version: Option<String>,
    pub(super) isolation: Option<String>,
}

/// A figure of dpfw, and the limit beside it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Summary {
    pub(super) metric: String,
    pub(super) unit: String,
    pub(super) min: f64,
    pub(super) median: f64,
    pub(super) max: f64,
    pub(super) limit: Option<f64>,
}

/// A peer that could not be measured.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Failure {
    pub(super) peer: String,
    pub(super) why: String,
}

impl Line {
    /// Reads a line; nothing if it is none of the four.
    pub(super) fn read(line: &str) -> Option<Self> {
        let value: Value = serde_json::from_str(line).ok()?;
        let text = |field: &str| value[field].as_str().map(str::to_owned);
        let number = |field: &str| value[field].as_f64();
        if let Some(date) = text("run") {
            let said = |field| text(field).unwrap_or_default();
            let (machine, dpfw, rustc) = (said("machine"), said("dpfw"), said("rustc"));
            return Some(Self::Head(Head { date, machine, dpfw, rustc }));
        }
        if let (Some(peer), Some(why)) = (text("peer"), text("failed")) {
            return Some(Self::Failure(Failure { peer, why }));
        }
        let (metric, unit) = (text("metric")?, text("unit")?);
        Some(match text("peer") {
            Some(peer) => Self::Repetition(Repetition {
                peer,
                metric,
                unit,
                value: number("value")?,
                noisy: value["noisy"].as_bool().unwrap_or_default(),
                mode: text("mode"),
                version: text("version"),
                isolation: text("isolation"),
            }),
            None => Self::Summary(Summary {
                metric,
                unit,
                min: number("min")?,
                median: number("median")?,
                max: number("max")?,
                limit: number("limit"),
            }),
        })
    }
}

impl Head {
    pub(super) fn line(&self) -> String {
        let Self { date, machine, dpfw, rustc } = self;
        json!({"run": date, "machine": machine, "dpfw": dpfw, "rustc": rustc}).to_string()
    }
}

impl Failure {
    pub(super) fn line(&self) -> String {
        json!({"peer": self.peer, "failed": self.why}).to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_peers_are_read() {
        let line = r#"{"peer": "ray", "metric": "rtt_us_p50", "value": 1977, "unit": "us", "rep": 2, "n": 9, "noisy": true, "mode": "awake", "version": "2.6"}"#;
        let Some(Line::Repetition(read)) = Line::read(line) else { panic!("another line") };
        let texts = (&*read.peer, &*read.metric, &*read.unit);
        assert_eq!(texts, ("ray", "rtt_us_p50", "us"));
        assert_eq!((read.value, read.noisy), (1977.0, true));
        let said = (read.mode.as_deref(), read.version.as_deref(), read.isolation);
        assert_eq!(said, (Some("awake"), Some("2.6"), None));
    }

    #[test]
    fn lines_of_the_benchmark_are_read() {
        let line = r#"{"metric":"x","unit":"us","min":1.5,"median":2.0,"max":9e3,"limit":null,"ratio":null}"#;
        let Some(Line::Summary(read)) = Line::read(line) else { panic!("another line") };
        assert_eq!((read.min, read.median, read.max, read.limit), (1.5, 2.0, 9000.0, None));
    }

    #[test]
    fn what_is_written_is_read_again() {
        let (machine, dpfw) = ("2 cores".into(), "0.1.0".into());
        let head = Head { date: "2026-11-20".into(), machine, dpfw, rustc: "1.97.0".into() };
        assert_eq!(Line::read(&head.line()), Some(Line::Head(head)));
        let failure = Failure { peer: "ray".into(), why: "exit code 3".into() };
        assert_eq!(Line::read(&failure.line()), Some(Line::Failure(failure)));
    }

    #[test]
    fn what_lacks_a_field_is_not_understood() {
        for line in [
            "",
            "panicked at",
            "[1]",
            r#"{"peer":"ray"}"#,
            r#"{"peer":"ray","metric":"x","value":null,"unit":"us"}"#,
            r#"{"peer":"ray","metric":"x","value":1"#,
            r#"{"metric":"x","unit":"us","min":1,"median":null,"max":2}"#,
        ] {
            assert_eq!(Line::read(line), None, "{line}");
        }
    }
}
