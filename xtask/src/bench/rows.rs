//! Rows of the table: limits, dpfw, peers.
//!
//! Owns: whose figures are shown, and out of which run. Does not: say how they look. Invariant:
//! all figures of a row are of one run, the last that has anything of it; what was left out is
//! told.

use super::columns::{Column, LIMITS, Names, SANDBOX};
use super::line::{Repetition, Summary};
use super::record::Record;

/// One row.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Row {
    pub(super) label: String,
    pub(super) kind: Kind,
    pub(super) isolation: String,
    pub(super) cells: [Option<Figure>; Column::ALL.len()],
    /// Why there are no figures.
    pub(super) failed: Option<String>,
    pub(super) version: Option<String>,
    /// Which of the runs it is out of.
    pub(super) run: usize,
}

impl Row {
    /// Whether it is of `dpfw-bench`, and not of a peer's script.
    pub(super) fn is_measured_by_bench(&self) -> bool {
        match &self.kind {
            Kind::Limit(by) => by == BENCH,
            Kind::Dpfw => true,
            Kind::Peer => false,
        }
    }
}

/// Who measures dpfw and what is beside it.
const BENCH: &str = "dpfw-bench";

/// Whose it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// What the platform allows, and who measured it.
    Limit(String),
    Dpfw,
    Peer,
}

/// A figure with its spread.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Figure {
    pub(super) min: f64,
    pub(super) median: f64,
    pub(super) max: f64,
    /// Whether other processes were busy during one of the repetitions.
    pub(super) is_noisy: bool,
    /// What it has to be read with, if it is not what the column says.
    pub(super) note: String,
}

/// The rows in their order, and remarks on what is not among them.
pub(super) fn rows(runs: &[Record]) -> (Vec<Row>, Vec<String>) {
    let mut remarks = Vec::new();
    let mut peers = Vec::new();
    for peer in names(runs) {
        if let Some(run) = latest(runs, &peer, |run| run.has(&peer), &mut remarks) {
            peers.extend(of_peer(&peer, &runs[run], run));
        }
    }
    peers.sort_by(|a, b| round_trip(a).total_cmp(&round_trip(b)));
    let (mut rows, peers): (Vec<_>, Vec<_>) =
        peers.into_iter().partition(|row| matches!(row.kind, Kind::Limit(_)));
    match latest(runs, "dpfw", |run| !run.summaries.is_empty(), &mut remarks) {
        Some(run) => {
            rows.splice(0..0, limits(&runs[run], run));
            rows.push(own(&runs[run], run));
        }
        None => remarks.push("dpfw was not measured in any of these runs".to_owned()),
    }
    rows.extend(peers);
    remarks.extend(runs.iter().flat_map(left_out));
    (rows, remarks)
}

/// The peers of all runs, in the order in which they appear.
fn names(runs: &[Record]) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for run in runs {
        let failed = run.failures.iter().map(|it| &it.peer);
        for peer in run.plain().map(|it| &it.peer).chain(failed) {
            if !names.contains(peer) {
                names.push(peer.clone());
            }
        }
    }
    names
}

/// The last run that has something; a remark for those before it.
fn latest(
    runs: &[Record],
    whose: &str,
    has: impl Fn(&Record) -> bool,
    remarks: &mut Vec<String>,
) -> Option<usize> {
    let last = runs.iter().rposition(&has)?;
    for earlier in runs[..last].iter().filter(|run| has(run)) {
        let (earlier, later) = (&earlier.name, &runs[last].name);
        remarks.push(format!("{whose} in {earlier} is not shown: {later}, named after it, has it"));
    }
    Some(last)
}

/// What was read and is in no row.
fn left_out(run: &Record) -> Vec<String> {
    let mut remarks = Vec::new();
    if let Some((count, first)) = &run.unreadable {
        let first: String = first.chars().take(80).collect();
        remarks
            .push(format!("{}: lines that are no figures: {count}, the first: {first}", run.name));
    }
    let of_modes = run.repetitions.len() - run.plain().count();
    if of_modes > 0 {
        remarks.push(format!(
            "{}: lines with a \"mode\" of their own, which are not compared: {of_modes}",
            run.name
        ));
    }
    remarks
}

/// The rows of a peer.
fn of_peer(peer: &str, run: &Record, at: usize) -> Vec<Row> {
    let lines: Vec<_> = run.plain().filter(|it| it.peer == peer).collect();
    let failure = run.failures.iter().find(|it| it.peer == peer).map(|it| it.why.clone());
    let row = |names: &Names| {
        let is_failed = failure.is_some();
        let cells = Column::ALL.map(|column| figure(names, column, &lines).filter(|_| !is_failed));
        let label = if names.label.is_empty() { peer } else { names.label };
        let said = lines.iter().find_map(|it| it.isolation.clone());
        let kind = if names.is_limit { Kind::Limit(peer.to_owned()) } else { Kind::Peer };
        Row {
            label: label.to_owned(),
            kind,
            isolation: said.unwrap_or_else(|| names.isolation.to_owned()),
            cells,
            failed: failure.clone(),
            version: lines.iter().find_map(|it| it.version.clone()),
            run: at,
        }
    };
    let mut rows: Vec<_> = Names::of(peer).iter().map(row).collect();
    if rows.iter().any(has_figures) {
        rows.retain(has_figures);
    } else {
        rows.truncate(1);
        for row in &mut rows {
            row.failed.get_or_insert_with(|| "none of its metrics is known here".to_owned());
        }
    }
    rows
}

fn has_figures(row: &Row) -> bool {
    row.cells.iter().any(Option::is_some)
}

/// A peer's figure in a column.
fn figure(names: &Names, column: Column, lines: &[&Repetition]) -> Option<Figure> {
    let of_unit: Vec<_> = lines.iter().filter(|it| it.unit == column.unit()).collect();
    let metrics: Vec<_> = of_unit.iter().map(|it| &*it.metric).collect();
    let (metric, note) = names.pick(column, &metrics)?;
    let picked: Vec<_> = of_unit.into_iter().filter(|it| it.metric == metric).collect();
    let mut values: Vec<_> = picked.iter().map(|it| it.value).collect();
    values.sort_by(f64::total_cmp);
    let (min, max) = (*values.first()?, *values.last()?);
    let middle = values.len() / 2;
    let median = match values.len() % 2 {
        0 => f64::midpoint(values[middle - 1], values[middle]),
        _ => values[middle],
    };
    let is_noisy = picked.iter().any(|it| it.noisy);
    Some(Figure { min, median, max, is_noisy, note })
}

fn own(run: &Record, at: usize) -> Row {
    let cells = Column::ALL.map(|column| {
        let metric = |it: &&Summary| it.metric == column.own() && it.unit == column.unit();
        let it = run.summaries.iter().find(metric)?;
        let (min, median, max) = (it.min, it.median, it.max);
        Some(Figure { min, median, max, is_noisy: false, note: String::new() })
    });
    let version = run.head.as_ref().map(|head| head.dpfw.clone());
    let failed = cells.iter().all(Option::is_none).then(|| "no metric of these columns".into());
    let (label, isolation) = ("dpfw".to_owned(), SANDBOX.to_owned());
    Row { label, kind: Kind::Dpfw, isolation, cells, failed, version, run: at }
}

/// What the benchmark measured beside dpfw. Of a limit it says the median only.
fn limits(run: &Record, at: usize) -> Vec<Row> {
    let of = |label: &str, columns: &[Column]| {
        let cells = Column::ALL.map(|column| {
            let is_it = columns.contains(&column);
            let mut lines = run.summaries.iter().filter(|it| is_it && it.metric == column.own());
            let median = lines.next()?.limit?;
            let (min, max, note) = (median, median, String::new());
            Some(Figure { min, median, max, is_noisy: false, note })
        });
        Row {
            label: label.to_owned(),
            kind: Kind::Limit(BENCH.to_owned()),
            isolation: if columns.contains(&Column::Tasks) { SANDBOX } else { "nothing" }.into(),
            cells,
            failed: None,
            version: None,
            run: at,
        }
    };
    LIMITS.iter().map(|(label, columns)| of(label, columns)).filter(has_figures).collect()
}

/// What peers are sorted by.
fn round_trip(row: &Row) -> f64 {
    row.cells[0].as_ref().map_or(f64::INFINITY, |figure| figure.median)
}

#[cfg(test)]
pub(super) mod tests;
