//! `cargo xtask seeds`: what other systems offer, and the tests that show it here.
//!
//! Owns: which rows fail the whole, and how they are printed. Does not: say what the rows are
//! (`docs/seeds.md` does), or run a test. Invariant: it ends with success only if each row that
//! is not for later has a test, every test that is named is there, and every test that is named
//! after a row has one.

mod rows;
mod sources;

use crate::page::Standing;
use anyhow::{Context, Result, ensure};
use clap::Args;
use rows::{Id, Row};
use std::collections::BTreeSet;
use std::fmt::Write;
use std::path::Path;

/// The page that says what is offered.
const PAGE: &str = "docs/seeds.md";

/// What is shown.
#[derive(Args, Debug, Default)]
pub(crate) struct Options {
    /// Only these rows: `D12,R9`.
    #[arg(long, value_delimiter = ',')]
    rows: Vec<Id>,
}

/// Lists the rows with their tests.
pub(crate) fn run(options: &Options) -> Result<()> {
    let page = std::fs::read_to_string(PAGE).with_context(|| format!("{PAGE} is unreadable"))?;
    let rows = rows::parse(&page)?;
    let tests = sources::tests(Path::new("."))?;
    let is_wanted = |row: &&Row| options.rows.is_empty() || options.rows.contains(&row.id);
    print!("{}", render(rows.iter().filter(is_wanted), &tests));
    judge(&rows, &tests)
}

/// The tests of a row: those that are named after it, and those that it names.
fn tests_of<'a>(row: &'a Row, tests: &'a BTreeSet<String>) -> BTreeSet<&'a str> {
    let after = tests.iter().filter(|test| rows::named_after(test) == Some(row.id));
    let named = row.named.iter().filter(|name| tests.contains(*name));
    after.chain(named).map(String::as_str).collect()
}

/// Whether it is there, as far as tests show it.
fn is_shown(row: &Row, tests: &BTreeSet<String>) -> bool {
    !matches!(row.standing, Standing::Later(_)) && !tests_of(row, tests).is_empty()
}

/// The table, with what it comes to in its last line.
fn render<'a>(rows: impl Iterator<Item = &'a Row> + Clone, tests: &BTreeSet<String>) -> String {
    let (mut out, mut part) = (String::new(), "");
    for row in rows.clone() {
        if row.part != part {
            part = &row.part;
            let _ = writeln!(out, "\n{part}");
        }
        let _ = writeln!(out, "{:>4} {}", row.id.to_string(), row.here);
        match &row.standing {
            Standing::Now => {}
            Standing::InPart(why) => drop(writeln!(out, "       in part: {why}")),
            Standing::Later(why) => drop(writeln!(out, "       not yet: {why}")),
        }
        for test in tests_of(row, tests) {
            let _ = writeln!(out, "       {test}");
        }
    }
    let shown = rows.clone().filter(|row| is_shown(row, tests));
    let in_part = shown.clone().filter(|row| matches!(row.standing, Standing::InPart(_))).count();
    let (all, shown) = (rows.count(), shown.count());
    let _ = writeln!(
        out,
        "\n{all} rows: {} shown, {in_part} in part, {} not yet",
        shown - in_part,
        all - shown
    );
    out
}

/// Whether all is as it has to be.
fn judge(rows: &[Row], tests: &BTreeSet<String>) -> Result<()> {
    for row in rows {
        let gone: Vec<_> = row.named.iter().filter(|name| !tests.contains(*name)).collect();
        ensure!(
            gone.is_empty(),
            "row {} of {PAGE} names tests that are not there: {gone:?}",
            row.id
        );
        ensure!(
            matches!(row.standing, Standing::Later(_)) || is_shown(row, tests),
            "row {} of {PAGE} has no test: name one after it, {}_…, name one in the fourth column, or \
             say in the last why it is for later",
            row.id,
            row.id.to_string().to_lowercase()
        );
    }
    for test in tests {
        if let Some(id) = rows::named_after(test) {
            let is_there = rows.iter().any(|row| row.id == id);
            ensure!(is_there, "{test} names row {id}, which {PAGE} does not have");
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(id: &str, named: &[&str], standing: Standing) -> Row {
        Row {
            id: id.parse().expect("an id"),
            part: "D: dpfw".into(),
            here: format!("what {id} is"),
            named: named.iter().map(|name| (*name).to_owned()).collect(),
            standing,
        }
    }

    fn tests(names: &[&str]) -> BTreeSet<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn rows_are_printed_with_their_tests_or_not_yet() {
        let rows = [
            row("D1", &[], Standing::Now),
            row("D10", &["other"], Standing::InPart("half".into())),
            row("D13", &[], Standing::Later("no Scheme".into())),
        ];
        let tests = tests(&["d1_listens", "d10_adds", "other", "f13_another_page_s"]);
        let table = render(rows.iter(), &tests);
        let lines: Vec<_> = table.lines().collect();
        let expected = [
            "",
            "D: dpfw",
            "  D1 what D1 is",
            "       d1_listens",
            " D10 what D10 is",
            "       in part: half",
            "       d10_adds",
            "       other",
            " D13 what D13 is",
            "       not yet: no Scheme",
            "",
            "3 rows: 1 shown, 1 in part, 1 not yet",
        ];
        assert_eq!(lines, expected);
        judge(&rows, &tests).expect("all is as it has to be");
    }

    #[test]
    fn what_is_not_there_fails_the_whole_and_is_named() {
        let later = || Standing::Later("no".into());
        for (rows, names, words) in [
            (vec![row("D1", &["gone"], later())], &[][..], "row D1 of docs/seeds.md names tests"),
            (vec![row("D1", &["gone"], Standing::Now)], &["d1_x"], "not there: [\"gone\"]"),
            (vec![row("R9", &[], Standing::Now)], &[], "row R9 of docs/seeds.md has no test"),
            (vec![row("D1", &[], later())], &["d2_x"], "d2_x names row D2, which docs/seeds.md"),
        ] {
            let error = judge(&rows, &tests(names)).expect_err(words).to_string();
            assert!(error.contains(words), "{error}");
        }
    }

    #[test]
    fn the_page_and_the_sources_agree() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("a workspace");
        let page = std::fs::read_to_string(root.join(PAGE)).expect("the page");
        let rows = rows::parse(&page).expect("well-formed");
        assert_eq!(rows.len(), 46);
        judge(&rows, &sources::tests(root).expect("readable")).expect("as it has to be");
    }
}
