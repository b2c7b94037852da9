//! The bars that figures have to clear.
//!
//! Owns: the bars and reading the benchmark's lines. Invariant: a bar whose figure is
//! missing is not cleared.

use std::fmt;

/// One figure and its bar.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Bar {
    /// The metric's name.
    pub(crate) metric: &'static str,
    /// Which of its figures: `median` or `ratio`.
    field: &'static str,
    bound: Bound,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Bound {
    AtLeast(f64),
    AtMost(f64),
}

const fn bar(metric: &'static str, field: &'static str, bound: Bound) -> Bar {
    Bar { metric, field, bound }
}

/// The first bars.
pub(crate) const BARS: [Bar; 21] = [
    bar("fresh_tasks_per_s", "median", Bound::AtLeast(60_000.0)),
    bar("payload_in_mb_per_s", "ratio", Bound::AtLeast(0.5)),
    bar("payload_out_mb_per_s", "ratio", Bound::AtLeast(0.5)),
    bar("first_result_ms", "median", Bound::AtMost(300.0)),
    bar("idle_rss_mib", "median", Bound::AtMost(40.0)),
    bar("queued_task_bytes", "median", Bound::AtMost(512.0)),
    bar("image_64mib_extra_us", "median", Bound::AtMost(2.0)),
    bar("image_build_ms", "median", Bound::AtMost(800.0)),
    bar("image_send_ratio", "median", Bound::AtLeast(0.6)),
    bar("image_512mib_ten_tasks_mib", "median", Bound::AtMost(600.0)),
    bar("program_start_us", "ratio", Bound::AtMost(1.5)),
    bar("program_stdin_mb_per_s", "ratio", Bound::AtLeast(0.5)),
    bar("pipeline_link_bytes", "median", Bound::AtMost(65_536.0)),
    bar("resident_calls_per_s", "median", Bound::AtLeast(300_000.0)),
    bar("resident_bytes", "median", Bound::AtMost(65_536.0)),
    bar("durable_puts_per_s", "ratio", Bound::AtLeast(0.5)),
    bar("recovery_ms", "median", Bound::AtMost(2_000.0)),
    bar("tls_fresh_tasks_ratio", "median", Bound::AtLeast(0.85)),
    bar("tls_payload_ratio", "median", Bound::AtLeast(0.75)),
    bar("tls_handshake_cpu_ms", "median", Bound::AtMost(3.0)),
    bar("tls_idle_link_kib", "median", Bound::AtMost(60.0)),
];

impl Bar {
    /// The bar's figure among the benchmark's lines, the best if there are several.
    pub(crate) fn figure(&self, lines: &[String]) -> Option<f64> {
        let of_metric = lines.iter().filter(|line| text(line, "metric") == Some(self.metric));
        let figures = of_metric.filter_map(|line| value(line, self.field)?.parse().ok());
        figures.reduce(match self.bound {
            Bound::AtLeast(_) => f64::max,
            Bound::AtMost(_) => f64::min,
        })
    }

    /// Whether a figure clears the bar.
    pub(crate) fn is_cleared(&self, figure: Option<f64>) -> bool {
        figure.is_some_and(|figure| match self.bound {
            Bound::AtLeast(least) => figure >= least,
            Bound::AtMost(most) => figure <= most,
        })
    }

    /// The bar beside its figure.
    pub(crate) fn beside(&self, figure: Option<f64>) -> String {
        let verdict = if self.is_cleared(figure) { "ok" } else { "BEYOND" };
        match figure {
            Some(figure) => format!("{verdict:6} {self}: {figure}"),
            None => format!("{verdict:6} {self}: not measured"),
        }
    }
}

impl fmt::Display for Bar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (bound, figure) = match self.bound {
            Bound::AtLeast(least) => ("at least", least),
            Bound::AtMost(most) => ("at most", most),
        };
        write!(f, "{} {} {bound} {figure}", self.metric, self.field)
    }
}

/// The value of a field in a flat JSON object, as it stands there. The benchmark writes
/// nothing that needs more of a parser.
fn value<'a>(line: &'a str, field: &str) -> Option<&'a str> {
    let (_, rest) = line.split_once(&format!("\"{field}\":"))?;
    let end = rest.find([',', '}']).unwrap_or(rest.len());
    Some(rest[..end].trim())
}

/// The same without quotes.
fn text<'a>(line: &'a str, field: &str) -> Option<&'a str> {
    value(line, field)?.strip_prefix('"')?.strip_suffix('"')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(median: &str, ratio: &str) -> Vec<String> {
        let line = |metric: &str| {
            format!(
                r#"{{"metric":"{metric}","unit":"x","min":1.0,"median":{median},"max":9e9,"limit":null,"ratio":{ratio}}}"#
            )
        };
        BARS.iter().map(|bar| line(bar.metric)).collect()
    }

    #[test]
    fn figures_are_held_against_their_bars() {
        let verdicts = |lines: &[String]| BARS.map(|bar| bar.is_cleared(bar.figure(lines)));
        assert_eq!(
            verdicts(&lines("60000.0", "0.5")),
            [
                true, true, true, false, false, false, false, false, true, false, true, true, true,
                false, true, true, false, true, true, false, false,
            ]
        );
        assert_eq!(
            verdicts(&lines("40.0", "0.499")),
            [
                false, false, false, true, true, true, false, true, true, true, true, false, true,
                false, true, false, true, true, true, false, true,
            ]
        );
    }

    #[test]
    fn a_figure_that_is_missing_is_not_cleared() {
        for missing in [Vec::new(), lines("null", "null"), vec!["panicked".into()]] {
            assert!(BARS.iter().all(|bar| !bar.is_cleared(bar.figure(&missing))), "{missing:?}");
        }
    }

    #[test]
    fn the_best_of_several_measurements_counts() {
        let both = [lines("70000.0", "1.0"), lines("1.0", "1.0")].concat();
        let [rate, _, _, _, memory, ..] = BARS;
        assert_eq!((rate.figure(&both), memory.figure(&both)), (Some(70_000.0), Some(1.0)));
        let told = rate.beside(rate.figure(&both));
        assert_eq!(told, "ok     fresh_tasks_per_s median at least 60000: 70000");
        let told = rate.beside(None);
        assert_eq!(told, "BEYOND fresh_tasks_per_s median at least 60000: not measured");
    }
}
