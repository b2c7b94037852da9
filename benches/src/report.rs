//! Figures as lines of JSON.

use serde::Serialize;

/// The figures of one metric.
#[derive(Serialize)]
struct Line<'a> {
    metric: &'a str,
    unit: &'a str,
    min: f64,
    median: f64,
    max: f64,
    limit: Option<f64>,
    ratio: Option<f64>,
}

/// Prints a metric, with the limit measured beside it if there is one.
pub(crate) fn print(metric: &str, unit: &str, values: &[f64], limits: &[f64]) {
    let (min, median, max) = spread(values);
    let limit = (!limits.is_empty()).then(|| spread(limits).1);
    let ratio = limit.map(|limit| round(median / limit));
    let line = Line {
        metric,
        unit,
        min: round(min),
        median: round(median),
        max: round(max),
        limit: limit.map(round),
        ratio,
    };
    match serde_json::to_string(&line) {
        Ok(line) => println!("{line}"),
        Err(error) => eprintln!("{metric} cannot be printed: {error}"),
    }
}

/// Minimum, median and maximum.
fn spread(values: &[f64]) -> (f64, f64, f64) {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let at = |i: usize| sorted.get(i).copied().unwrap_or(f64::NAN);
    (at(0), at(sorted.len() / 2), at(sorted.len().saturating_sub(1)))
}

/// A share of sorted values lies below this.
pub(crate) fn percentile(values: &mut [f64], share: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    let at = (values.len() as f64 * share) as usize;
    values.get(at.min(values.len().saturating_sub(1))).copied().unwrap_or(f64::NAN)
}

fn round(value: f64) -> f64 {
    let digits = if value.abs() < 10.0 { 1000.0 } else { 10.0 };
    (value * digits).round() / digits
}
