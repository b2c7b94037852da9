//! `cargo xtask faults`: every fault that dpfw survives, and the tests that show it.
//!
//! Owns: which rows fail the whole. Does not: say what the rows are (`docs/faults.md` does),
//! or which tests there are (the test binaries do, so that one that is not compiled does not
//! count). Invariant: it ends with success only if each row that is not for later has a test,
//! and every test of a row passed.

mod listing;
mod rows;
mod run;
mod table;

use crate::command::{cargo_with, run as run_command};
use crate::page::Standing;
use crate::{guests, targets};
use anyhow::{Context, Result, ensure};
use clap::Args;
use listing::Test;
use rows::Row;
use run::Outcome;
use std::io::IsTerminal;
use std::num::NonZeroUsize;
use table::{Style, line, render};

/// The page that says what is survived.
const PAGE: &str = "docs/faults.md";

/// What is shown and how.
#[derive(Args, Debug)]
pub(crate) struct Options {
    /// Only looks whether each row has a test; runs none.
    #[arg(long)]
    list: bool,
    /// One JSON object a row in place of the table.
    #[arg(long)]
    json: bool,
    /// Only these rows.
    #[arg(long, value_delimiter = ',')]
    rows: Vec<u32>,
    /// Tests that run at once, each in a process of its own.
    #[arg(long, default_value = "2")]
    jobs: NonZeroUsize,
}

impl Options {
    /// That each row has a test, as CI looks at it.
    pub(crate) fn listing() -> Self {
        Self { list: true, json: false, rows: Vec::new(), jobs: NonZeroUsize::MIN }
    }
}

/// A row with its tests, and what came of them; nothing if they were not run.
#[derive(Debug)]
struct Shown {
    row: Row,
    tests: Vec<(Test, Option<Outcome>)>,
}

/// What a row's tests say together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Passed,
    Failed,
    /// There are tests, which were not run.
    Listed,
    /// There is no test, and there has to be.
    Missing,
    /// There is no test yet, and a reason.
    Later,
}

impl Shown {
    fn verdict(&self) -> Verdict {
        let outcomes: Vec<_> = self.tests.iter().filter_map(|(_, it)| it.as_ref()).collect();
        match (&self.row.standing, self.tests.len()) {
            (Standing::Later(_), 0) => Verdict::Later,
            (_, 0) => Verdict::Missing,
            _ if outcomes.iter().any(|outcome| !outcome.passed) => Verdict::Failed,
            (_, tests) if outcomes.len() == tests => Verdict::Passed,
            _ => Verdict::Listed,
        }
    }

    /// Of all its tests, one after the other.
    fn seconds(&self) -> f64 {
        let outcomes = self.tests.iter().filter_map(|(_, outcome)| outcome.as_ref());
        outcomes.map(|outcome| outcome.elapsed.as_secs_f64()).sum()
    }
}

/// Lists the rows with their tests, and runs these.
pub(crate) fn run(options: &Options) -> Result<()> {
    let page = std::fs::read_to_string(PAGE).with_context(|| format!("{PAGE} is unreadable"))?;
    let mut rows = rows::parse(&page)?;
    if !options.rows.is_empty() {
        rows.retain(|row| options.rows.contains(&row.number));
    }
    targets::ensure()?;
    if !options.list {
        if let Err(error) = guests::ensure() {
            eprintln!("warning: {error:#}");
        }
        // The programs that tests start, with the features that they have everywhere else.
        run_command(&mut cargo_with(&["build", "--workspace", "--all-targets"]))?;
    }
    let tests = listing::of_workspace()?;
    listing::check(&page, &tests)?;
    let mut shown: Vec<Shown> = rows
        .into_iter()
        .map(|row| {
            let of_row = tests.iter().filter(|test| test.rows().contains(&row.number));
            let tests = of_row.map(|test| (test.clone(), None)).collect();
            Shown { row, tests }
        })
        .collect();
    if !options.list {
        run::all(&mut shown, options.jobs)?;
    }
    print(&shown, options.json);
    judge(&shown)
}

fn print(shown: &[Shown], json: bool) {
    if json {
        return shown.iter().for_each(|one| println!("{}", line(one)));
    }
    let is_plain = std::env::var_os("NO_COLOR").is_some_and(|it| !it.is_empty());
    let style = match std::io::stdout().is_terminal() && !is_plain {
        true => Style::Coloured,
        false => Style::Plain,
    };
    print!("{}", render(shown, style));
}

/// Whether all is as it has to be.
fn judge(shown: &[Shown]) -> Result<()> {
    let with = |wanted| {
        let rows = shown.iter().filter(|one| one.verdict() == wanted);
        rows.map(|one| one.row.number.to_string()).collect::<Vec<_>>().join(", ")
    };
    let (missing, failed) = (with(Verdict::Missing), with(Verdict::Failed));
    ensure!(
        failed.is_empty(),
        "rows whose tests failed: {failed}; what they said is above. Repeat one with: \
         cargo xtask faults --rows N"
    );
    ensure!(
        missing.is_empty(),
        "rows of {PAGE} without a test: {missing}. Name a test after its row, fNN_…, or say in \
         the last column why it is for later"
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    pub(super) fn shown(number: u32, standing: Standing, passed: &[Option<bool>]) -> Shown {
        let row = Row {
            number,
            part: "Network".into(),
            what: "a partition".into(),
            outcome: "it is lost".into(),
            standing,
        };
        let tests = passed.iter().enumerate().map(|(index, passed)| {
            let name = format!("system::x::f{number:02}_test_{index}");
            let test = Test { name, program: "system".into(), directory: ".".into() };
            let outcome = passed.map(|passed| Outcome {
                passed,
                elapsed: Duration::from_millis(1500),
                log: "log".into(),
            });
            (test, outcome)
        });
        Shown { row, tests: tests.collect() }
    }

    #[test]
    fn a_row_is_as_good_as_its_worst_test() {
        let later = || Standing::Later("not there".into());
        for (standing, passed, expected) in [
            (Standing::Now, &[][..], Verdict::Missing),
            (Standing::InPart("half".into()), &[], Verdict::Missing),
            (later(), &[], Verdict::Later),
            (later(), &[Some(false)], Verdict::Failed),
            (later(), &[Some(true)], Verdict::Passed),
            (Standing::Now, &[Some(true), Some(false)], Verdict::Failed),
            (Standing::Now, &[Some(true), Some(true)], Verdict::Passed),
            (Standing::Now, &[None, None], Verdict::Listed),
        ] {
            assert_eq!(shown(1, standing, passed).verdict(), expected, "{passed:?}");
        }
    }

    #[test]
    fn what_is_missing_or_failed_fails_the_whole_and_is_named() {
        let passes = || shown(1, Standing::Now, &[Some(true)]);
        assert!(judge(&[passes(), shown(40, Standing::Later("no".into()), &[])]).is_ok());
        let missing = judge(&[passes(), shown(2, Standing::Now, &[])]).expect_err("no test");
        assert!(missing.to_string().contains("without a test: 2."), "{missing}");
        let failed = judge(&[passes(), shown(3, Standing::Now, &[Some(false)])]);
        let failed = failed.expect_err("it failed").to_string();
        assert!(failed.contains("failed: 3;"), "{failed}");
    }
}
