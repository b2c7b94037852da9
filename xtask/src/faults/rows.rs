//! The rows of `docs/faults.md`.
//!
//! Owns: reading them. Invariant: the rows are numbered from 1 without a gap, so that none
//! can be lost by a slip of the pen.

use anyhow::{Result, bail, ensure};

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

/// Whether a row has to have tests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    Now,
    /// It has, of what there is of it.
    InPart(String),
    /// It need not, for this reason.
    Later(String),
}

impl Standing {
    /// What is said of it beside its result.
    pub(super) fn remark(&self) -> Option<&str> {
        match self {
            Self::Now => None,
            Self::InPart(why) | Self::Later(why) => Some(why),
        }
    }
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
        let Some(cells) = text.strip_prefix('|').and_then(|rest| rest.trim().strip_suffix('|'))
        else {
            continue;
        };
        let cells: Vec<_> = cells.split('|').map(str::trim).collect();
        let Some(number) = cells.first().and_then(|first| first.parse().ok()) else {
            continue; // A table's head.
        };
        ensure!(cells.len() == 4, "row {number} has {} cells, not 4", cells.len());
        let (what, outcome) = (cells[1].to_owned(), cells[2].to_owned());
        let standing = standing(number, cells[3])?;
        rows.push(Row { number, part: part.clone(), what, outcome, standing });
    }
    ensure!(!rows.is_empty(), "the page has no row");
    for (expected, row) in (1..).zip(&rows) {
        ensure!(row.number == expected, "row {} stands where {expected} belongs", row.number);
    }
    Ok(rows)
}

fn standing(number: u32, cell: &str) -> Result<Standing> {
    Ok(match cell.split_once(':').map(|(word, why)| (word, why.trim().to_owned())) {
        None if cell.is_empty() => Standing::Now,
        Some(("later", why)) if !why.is_empty() => Standing::Later(why),
        Some(("in part", why)) if !why.is_empty() => Standing::InPart(why),
        _ => bail!("row {number}: {cell:?} is neither `later: why` nor `in part: why`"),
    })
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
        assert_eq!(later, [40, 44, 46]);
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
