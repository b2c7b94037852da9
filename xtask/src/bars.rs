//! The bars that figures have to clear.
//!
//! Owns: the bars and reading the benchmark's lines. Invariant: a bar whose figure is
//! missing is not cleared.

use serde_json::Value;
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

/// What has to be cleared.
pub(crate) const BARS: [Bar; 39] = [
    bar("fresh_tasks_per_s", "median", Bound::AtLeast(150_000.0)),
    bar("fresh_tasks_by_plain_loop", "median", Bound::AtLeast(0.7)),
    bar("rtt_one_core_us_p50", "ratio", Bound::AtMost(3.0)),
    bar("rtt_cross_core_us_p50", "ratio", Bound::AtMost(1.25)),
    bar("sandbox_scaling", "median", Bound::AtLeast(1.8)),
    bar("payload_in_mb_per_s", "ratio", Bound::AtLeast(0.5)),
    bar("payload_out_mb_per_s", "ratio", Bound::AtLeast(0.5)),
    bar("beside_1gib_in_rtt_us_p50", "ratio", Bound::AtMost(2.0)),
    bar("beside_1gib_out_rtt_us_p50", "ratio", Bound::AtMost(2.0)),
    bar("beside_1gib_arguments_rtt_us_p50", "ratio", Bound::AtMost(2.0)),
    bar("beside_1gib_results_rtt_us_p50", "ratio", Bound::AtMost(2.0)),
    bar("first_result_ms", "median", Bound::AtMost(60.0)),
    bar("first_result_new_ms", "median", Bound::AtMost(300.0)),
    bar("compile_cache_hit_ms", "median", Bound::AtMost(5.0)),
    bar("idle_rss_mib", "median", Bound::AtMost(25.0)),
    bar("queued_task_bytes", "median", Bound::AtMost(512.0)),
    bar("queued_rate_ratio", "median", Bound::AtLeast(0.9)),
    bar("balance_equal", "median", Bound::AtMost(1.03)),
    bar("balance_mixed", "median", Bound::AtMost(1.05)),
    bar("balance_slow", "median", Bound::AtMost(1.1)),
    bar("balance_slow_short", "median", Bound::AtMost(1.1)),
    bar("churn_stall_ms", "median", Bound::AtMost(50.0)),
    bar("image_64mib_extra_us", "median", Bound::AtMost(2.0)),
    bar("image_build_ms", "median", Bound::AtMost(800.0)),
    bar("image_kept_ms", "median", Bound::AtMost(50.0)),
    bar("image_send_ratio", "median", Bound::AtLeast(0.6)),
    bar("image_512mib_ten_tasks_mib", "median", Bound::AtMost(600.0)),
    bar("program_start_us", "ratio", Bound::AtMost(1.5)),
    bar("program_stdin_mb_per_s", "ratio", Bound::AtLeast(0.5)),
    bar("pipeline_link_bytes", "median", Bound::AtMost(65_536.0)),
    bar("resident_calls_per_s", "median", Bound::AtLeast(450_000.0)),
    bar("resident_bytes", "median", Bound::AtMost(65_536.0)),
    bar("durable_puts_per_s", "ratio", Bound::AtLeast(0.5)),
    bar("recovery_ms", "median", Bound::AtMost(2_000.0)),
    bar("tls_fresh_tasks_ratio", "median", Bound::AtLeast(0.85)),
    bar("tls_payload_ratio", "median", Bound::AtLeast(0.75)),
    bar("tls_handshake_cpu_ms", "median", Bound::AtMost(3.0)),
    bar("tls_idle_link_kib", "median", Bound::AtMost(60.0)),
    bar("map_item_ns", "median", Bound::AtMost(100.0)),
];

impl Bar {
    /// The bar's figure among the benchmark's lines, the best if there are several.
    pub(crate) fn figure(&self, lines: &[String]) -> Option<f64> {
        let lines = lines.iter().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let of_metric = lines.filter(|line| line["metric"] == self.metric);
        let figures = of_metric.filter_map(|line| line[self.field].as_f64());
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

    fn bar_of(metric: &str) -> Bar {
        BARS.into_iter().find(|bar| bar.metric == metric).expect("there is such a bar")
    }

    #[test]
    fn figures_are_held_against_their_bars() {
        for (metric, median, ratio, is_cleared) in [
            ("fresh_tasks_per_s", "150000.0", "0.0", true),
            ("fresh_tasks_per_s", "149999.9", "9.0", false),
            ("idle_rss_mib", "25.0", "9.0", true),
            ("idle_rss_mib", "25.1", "0.0", false),
            ("payload_in_mb_per_s", "1.0", "0.5", true),
            ("payload_in_mb_per_s", "9e9", "0.499", false),
            ("rtt_cross_core_us_p50", "9e9", "1.25", true),
            ("rtt_cross_core_us_p50", "1.0", "1.26", false),
        ] {
            let bar = bar_of(metric);
            let figure = bar.figure(&lines(median, ratio));
            assert_eq!(bar.is_cleared(figure), is_cleared, "{bar}: {figure:?}");
        }
    }

    #[test]
    fn a_figure_that_is_missing_is_not_cleared() {
        for missing in [Vec::new(), lines("null", "null"), vec!["panicked".into()]] {
            assert!(BARS.iter().all(|bar| !bar.is_cleared(bar.figure(&missing))), "{missing:?}");
        }
    }

    #[test]
    fn the_best_of_several_measurements_counts() {
        let both = [lines("170000.0", "1.0"), lines("1.0", "1.0")].concat();
        let (rate, memory) = (bar_of("fresh_tasks_per_s"), bar_of("idle_rss_mib"));
        assert_eq!((rate.figure(&both), memory.figure(&both)), (Some(170_000.0), Some(1.0)));
        let told = rate.beside(rate.figure(&both));
        assert_eq!(told, "ok     fresh_tasks_per_s median at least 150000: 170000");
        let told = rate.beside(None);
        assert_eq!(told, "BEYOND fresh_tasks_per_s median at least 150000: not measured");
    }
}
