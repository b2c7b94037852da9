//! The rows as a table for people.
//!
//! Owns: how it looks. Does not: choose figures.

use super::columns::Column;
use super::number::number;
use super::record::Record;
use super::rows::{Figure, Kind, Row};
use std::fmt::Write;

/// Between two columns.
const GAP: &str = "  ";

/// What stands in a cell: the median, and the rest of it.
struct Text {
    median: String,
    rest: String,
}

/// The table, its legend and the runs; as wide as it has to be, or without spreads if there
/// are fewer columns on the terminal.
pub(super) fn render(
    rows: &[Row],
    runs: &[Record],
    remarks: &[String],
    width: Option<usize>,
) -> String {
    let full = grid(rows, Spread::Shown);
    let widest = full.lines().map(|line| line.chars().count()).max().unwrap_or_default();
    let (mut out, medians) = match width {
        Some(width) if widest > width => (grid(rows, Spread::Hidden), "Medians"),
        _ => (full, "Medians with min..max"),
    };
    let _ = writeln!(out, "\n{medians}; - is not measured or not to be had.");
    if rows.iter().flat_map(|row| row.cells.iter().flatten()).any(|figure| figure.is_noisy) {
        out.push_str("! Other processes were busy during a repetition.\n");
    }
    for (at, run) in runs.iter().enumerate() {
        let whereabouts = run.whereabouts();
        let _ = writeln!(out, "[{}] {}, {}: {whereabouts}", at + 1, run.name, run.date());
    }
    for remark in remarks {
        let _ = writeln!(out, "{remark}");
    }
    out
}

/// Whether minima and maxima are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Spread {
    Shown,
    Hidden,
}

fn grid(rows: &[Row], spread: Spread) -> String {
    let texts: Vec<_> =
        rows.iter().map(|row| row.cells.each_ref().map(|it| text(it, spread))).collect();
    let names: Vec<_> = rows.iter().map(name).collect();
    let wide = |of: &dyn Fn(&[Text; 5]) -> usize| texts.iter().map(of).max().unwrap_or_default();
    let widths = [0, 1, 2, 3, 4].map(|at| {
        let median = wide(&|row| row[at].median.chars().count());
        let rest = wide(&|row| row[at].rest.chars().count());
        let heading = Column::ALL[at].heading().chars().count();
        (median, rest.max(heading.saturating_sub(median)))
    });
    let label = names.iter().map(|name| name.chars().count()).max().unwrap_or_default();
    let isolation = rows.iter().map(|row| row.isolation.chars().count()).max().unwrap_or_default();
    let isolation = isolation.max(ISOLATION.len());

    let mut out = format!("{:label$}", "");
    for (column, (median, rest)) in Column::ALL.into_iter().zip(widths) {
        let _ = write!(out, "{GAP}{:width$}", column.heading(), width = median + rest);
    }
    let _ = writeln!(out, "{GAP}{ISOLATION:isolation$}{GAP}run");
    for ((row, name), texts) in rows.iter().zip(&names).zip(&texts) {
        let _ = write!(out, "{name:label$}");
        let mut figures = String::new();
        for (text, (median, rest)) in texts.iter().zip(widths) {
            let _ = write!(figures, "{GAP}{:>median$}{:rest$}", text.median, text.rest);
        }
        if let Some(why) = &row.failed {
            figures = format!("{GAP}{:1$}", not_measured(why), figures.chars().count() - GAP.len());
        }
        let _ = writeln!(out, "{figures}{GAP}{:isolation$}{GAP}[{}]", row.isolation, row.run + 1);
    }
    out
}

const ISOLATION: &str = "a task is isolated by";

/// What is said in the place of figures.
fn not_measured(why: &str) -> String {
    format!("not measured ({why})")
}

fn name(row: &Row) -> String {
    match &row.kind {
        Kind::Limit(by) => format!("{} ({by})", row.label),
        Kind::Dpfw | Kind::Peer => row.label.clone(),
    }
}

fn text(figure: &Option<Figure>, spread: Spread) -> Text {
    let Some(figure) = figure else {
        return Text { median: "-".into(), rest: String::new() };
    };
    let mut rest = if figure.is_noisy { "!" } else { "" }.to_owned();
    let (min, max) = (number(figure.min), number(figure.max));
    if spread == Spread::Shown && min != max {
        let _ = write!(rest, " {min}..{max}");
    }
    if !figure.note.is_empty() {
        let _ = write!(rest, " ({})", figure.note);
    }
    Text { median: number(figure.median), rest }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::rows::rows;
    use crate::bench::rows::tests::runs;

    #[test]
    fn the_table_is_laid_out() {
        let runs = runs();
        let (rows, remarks) = rows(&runs);
        let table = render(&rows, &runs, &remarks, None);
        let expected = include_str!("table/expected.txt");
        assert_eq!(table, expected, "\n{table}");
    }

    #[test]
    fn spreads_give_way_on_narrow_terminals() {
        let runs = runs();
        let (rows, _) = rows(&runs);
        let wide = render(&rows, &runs, &[], Some(500));
        let narrow = render(&rows, &runs, &[], Some(100));
        assert!(wide.contains("117..120") && !narrow.contains("117..120"), "{narrow}");
        assert!(narrow.contains("Medians;"), "{narrow}");
    }
}
