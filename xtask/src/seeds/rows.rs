//! The rows of `docs/seeds.md`.
//!
//! Owns: reading them, and the names that mean them. Invariant: the rows of a part are numbered
//! from 1 without a gap, so that none can be lost by a slip of the pen.

use crate::page::{Standing, cells};
use anyhow::{Result, bail, ensure};
use std::fmt;
use std::str::FromStr;

/// What a row is called: `D12`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Id {
    letter: char,
    number: u32,
}

/// The first letters of rows.
const LETTERS: [char; 4] = ['D', 'R', 'G', 'F'];

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.letter, self.number)
    }
}

impl FromStr for Id {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        let mut letters = text.chars();
        match letters.next().map(|letter| (letter, letters.as_str())) {
            Some((letter, digits)) if LETTERS.contains(&letter) && is_number(digits) => {
                Ok(Self { letter, number: digits.parse()? })
            }
            _ => bail!("{text:?} is no row: write one as D12"),
        }
    }
}

/// Without zeros in front: `f05` means a row of the page of faults.
fn is_number(digits: &str) -> bool {
    !digits.is_empty() && !digits.starts_with('0') && digits.bytes().all(|b| b.is_ascii_digit())
}

/// One thing that is offered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Row {
    pub(super) id: Id,
    /// The heading above it.
    pub(super) part: String,
    /// What it is here.
    pub(super) here: String,
    /// The tests that show it and are not named after it.
    pub(super) named: Vec<String>,
    pub(super) standing: Standing,
}

/// The row that a test's name begins with: `d12_a_generator` means D12. With an f and two digits
/// it is one of the page of faults.
pub(super) fn named_after(test: &str) -> Option<Id> {
    let (first, _) = test.split_once('_')?;
    let id: Id = first.to_uppercase().parse().ok()?;
    let is_fault = id.letter == 'F' && id.number > 9;
    (first.starts_with(|c: char| c.is_lowercase()) && !is_fault).then_some(id)
}

/// Reads the rows of the page's tables.
///
/// # Errors
/// A row that is not as the page says, or a number that is missing.
pub(super) fn parse(page: &str) -> Result<Vec<Row>> {
    let (mut rows, mut part) = (Vec::<Row>::new(), String::new());
    for text in page.lines() {
        if let Some(heading) = text.strip_prefix("## ") {
            part = heading.trim().to_owned();
        }
        let Some(cells) = cells(text) else { continue };
        let Some(Ok(id)) = cells.first().map(|first| first.parse::<Id>()) else {
            continue; // A table's head.
        };
        let [_, _, here, named, standing] = cells[..] else {
            bail!("row {id} has {} cells, not 5", cells.len());
        };
        let last = rows.last().filter(|row| row.id.letter == id.letter);
        let expected = last.map_or(1, |row| row.id.number + 1);
        ensure!(id.number == expected, "row {id} stands where number {expected} belongs");
        rows.push(Row {
            id,
            part: part.clone(),
            here: here.to_owned(),
            named: names(named),
            standing: Standing::read(&id.to_string(), standing)?,
        });
    }
    ensure!(!rows.is_empty(), "the page has no row");
    Ok(rows)
}

/// What stands in code quotes.
fn names(cell: &str) -> Vec<String> {
    cell.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tests_name_means_a_row() {
        let row = |name| named_after(name).map(|id| id.to_string());
        assert_eq!(row("d12_a_generator").as_deref(), Some("D12"));
        assert_eq!(row("f2_spawned").as_deref(), Some("F2"));
        for other in ["f13_a_fault", "f05_a_fault", "d_x", "dx1_y", "D1_x", "d12", "x1_y", ""] {
            assert_eq!(row(other), None, "{other}");
        }
    }

    #[test]
    fn a_row_says_what_shows_it_and_what_is_missing() {
        let rows = parse(
            "## D: dpfw\n| row | there | here | also | not yet |\n|---|---|---|---|---|\n\
             | D1 | a | b | `c_d`, `e` | |\n| D2 | a | b | | later: g |\n",
        );
        let rows = rows.expect("well-formed");
        assert_eq!((rows[0].id.to_string().as_str(), rows[0].part.as_str()), ("D1", "D: dpfw"));
        assert_eq!(
            (&rows[0].named[..], rows[0].here.as_str()),
            (&["c_d".into(), "e".into()][..], "b")
        );
        assert_eq!(rows[1].standing, Standing::Later("g".into()));
    }

    #[test]
    fn slips_of_the_pen_are_found() {
        for (rows, words) in [
            ("", "no row"),
            ("| D2 | a | b | | |\n", "row D2 stands where number 1 belongs"),
            ("| D1 | a | b | | |\n| D1 | a | b | | |\n", "row D1 stands where number 2 belongs"),
            ("| D1 | a | b | |\n", "4 cells"),
            ("| D1 | a | b | | someday |\n", "neither"),
        ] {
            let error = parse(rows).expect_err(rows).to_string();
            assert!(error.contains(words), "{rows:?}: {error}");
        }
    }
}
