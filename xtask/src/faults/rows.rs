//! The rows of `docs/faults.md`.
//!
//! Owns: reading them. Invariant: the rows are numbered from 1 without a gap, so that none
//! can be lost by a slip of the pen.

use crate::page::{Standing, cells};
use anyhow::{Result, ensure};

/// One fault.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Row {
    pub(super) number: u32,
    /// The heading above it.
    pub(super) part: String,
    /// What happens.
    pub(super) what: String,
    /// What comes of it.
    pub(super) outcome: String,
    pub(super) standing: Standing,
}

/// Reads the rows of the page's tables.
///
/// # Errors
/// A row that is not as the page says, or a number that is missing.
pub(super) fn parse(page: &str) -> Result<Vec<Row>> {
    let (mut rows, mut part) = (Vec::new(), String::new());
    for text in page.lines() {
        if let Some(heading) = text.strip_prefix("## ") {
            part = heading.trim().to_owned();
        }
        let Some(cells) = cells(text) else { continue };
        let Some(number) = cells.first().and_then(|first| first.parse().ok()) else {
            continue; // A table's head.
        };
        ensure!(cells.len() == 4, "row {number} has {} cells, not 4", cells.len());
        let (what, outcome) = (cells[1].to_owned(), cells[2].to_owned());
        let standing = Standing::read(cells[0], cells[3])?;
        rows.push(Row { number, part: part.clone(), what, outcome, standing });
    }
    ensure!(!rows.is_empty(), "the page has no row");
    for (expected, row) in (1..).zip(&rows) {
        ensure!(row.number == expected, "row {} stands where {expected} belongs", row.number);
    }
    Ok(rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str = "## Network\n\n| row | what | outcome | not yet |\n|---|---|---|---|\n";

    fn of(rows: &str) -> Result<Vec<Row>> {
        parse(&format!("{HEAD}{rows}"))
    }

    #[test]
    fn the_page_has_all_rows() {
        let rows = parse(include_str!("../../../docs/faults.md")).expect("well-formed");
        assert_eq!(rows.len(), 62);
        let later: Vec<_> = rows
            .iter()
            .filter(|row| matches!(row.standing, Standing::Later(_)))
            .map(|row| row.number)
            .collect();
        assert_eq!(later, [40]);
        assert_eq!((rows[22].part.as_str(), rows[22].what.as_str()), ("Guests", "an endless loop"));
    }

    #[test]
    fn a_row_says_how_it_stands() {
        let rows =
            of("| 1 | a | b | |\n| 2 | c | d | later: no TLS |\n| 3 | e | f | in part: g |\n");
        let standings: Vec<_> =
            rows.expect("well-formed").into_iter().map(|r| r.standing).collect();
        let (later, part) = ("no TLS".to_owned(), "g".to_owned());
        assert_eq!(standings, [Standing::Now, Standing::Later(later), Standing::InPart(part)]);
    }

    #[test]
    fn slips_of_the_pen_are_found() {
        for (rows, words) in [
            ("", "no row"),
            ("| 2 | a | b | |\n", "row 2 stands where 1 belongs"),
            ("| 1 | a | b | |\n| 1 | a | b | |\n", "row 1 stands where 2 belongs"),
            ("| 1 | a | b |\n", "3 cells"),
            ("| 1 | a | b | someday |\n", "neither"),
            ("| 1 | a | b | later: |\n", "neither"),
        ] {
            let error = of(rows).expect_err(rows).to_string();
            assert!(error.contains(words), "{rows:?}: {error}");
        }
    }
}
