//! The table of rows, for people and for programs.
//!
//! Owns: how it looks. Does not: judge.

use super::{Shown, Verdict};
use serde_json::json;
use std::fmt::Write;

/// Whether it is a person at a terminal who reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Style {
    Coloured,
    Plain,
}

/// The columns before the results.
const WIDTH: usize = 88;

impl Verdict {
    fn word(self) -> &'static str {
        match self {
            Self::Passed => "passed",
            Self::Failed => "FAILED",
            Self::Listed => "listed",
            Self::Missing => "MISSING",
            Self::Later => "later",
        }
    }

    /// The colour's number for a terminal.
    fn colour(self) -> u8 {
        match self {
            Self::Passed => 32,
            Self::Failed | Self::Missing => 31,
            Self::Listed => 36,
            Self::Later => 33,
        }
    }
}

impl Style {
    fn paint(self, code: u8, text: &str) -> String {
        match self {
            Self::Coloured => format!("\x1b[{code}m{text}\x1b[0m"),
            Self::Plain => text.to_owned(),
        }
    }
}

/// The table, with what it comes to in its last line.
pub(super) fn render(shown: &[Shown], style: Style) -> String {
    let mut out = String::new();
    let mut part = "";
    for one in shown {
        if one.row.part != part {
            part = &one.row.part;
            let _ = writeln!(out, "\n{}", style.paint(1, part));
        }
        row(&mut out, one, style);
    }
    let count = |verdict| shown.iter().filter(|one| one.verdict() == verdict).count();
    let all = [Verdict::Passed, Verdict::Listed, Verdict::Failed, Verdict::Missing, Verdict::Later];
    let counts = all.into_iter().filter(|verdict| count(*verdict) > 0);
    let counts: Vec<_> = counts
        .map(|verdict| {
            style.paint(verdict.colour(), &format!("{} {}", count(verdict), verdict.word()))
        })
        .collect();
    let _ = writeln!(out, "\n{} rows: {}", shown.len(), counts.join(", "));
    out
}

fn row(out: &mut String, one: &Shown, style: Style) {
    let verdict = one.verdict();
    let word = style.paint(verdict.colour(), &format!("{:7}", verdict.word()));
    let time = match verdict {
        Verdict::Passed | Verdict::Failed => format!("{:7.2} s", one.seconds()),
        _ => String::new(),
    };
    let what = cut(&one.row.what, WIDTH - 4);
    let line = format!("{:>3} {what:<width$} {word} {time}", one.row.number, width = WIDTH - 4);
    let _ = writeln!(out, "{}", line.trim_end());
    if let Some(remark) = one.row.standing.remark() {
        let _ = writeln!(out, "      {}", style.paint(33, remark));
    }
    for (test, outcome) in &one.tests {
        let name = cut(test.short(), WIDTH - 6);
        let came = outcome.as_ref().map_or_else(String::new, |outcome| {
            let verdict = if outcome.passed { Verdict::Passed } else { Verdict::Failed };
            format!("{:7} {:7.2} s", verdict.word(), outcome.elapsed.as_secs_f64())
        });
        let line = format!("      {name:<width$} {came}", width = WIDTH - 6);
        let _ = writeln!(out, "{}", style.paint(2, line.trim_end()));
    }
}

/// Cuts a text to so many characters.
fn cut(text: &str, most: usize) -> String {
    match text.chars().count() > most {
        true => text.chars().take(most - 1).chain(['…']).collect(),
        false => text.to_owned(),
    }
}

/// A row for programs.
pub(super) fn line(one: &Shown) -> String {
    let tests = one.tests.iter().map(|(test, outcome)| {
        json!({
            "name": test.name,
            "passed": outcome.as_ref().map(|outcome| outcome.passed),
            "seconds": outcome.as_ref().map(|outcome| outcome.elapsed.as_secs_f64()),
        })
    });
    let tests: Vec<_> = tests.collect();
    json!({
        "row": one.row.number,
        "part": one.row.part,
        "what": one.row.what,
        "outcome": one.row.outcome,
        "remark": one.row.standing.remark(),
        "result": one.verdict().word().to_lowercase(),
        "seconds": one.seconds(),
        "tests": tests,
    })
    .to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::faults::tests::shown;
    use crate::page::Standing;

    #[test]
    fn the_table_shows_rows_tests_results_and_times() {
        let rows = [
            shown(1, Standing::Now, &[Some(true), Some(false)]),
            shown(2, Standing::Later("not there yet".into()), &[]),
            shown(3, Standing::Now, &[]),
            shown(4, Standing::Now, &[None]),
        ];
        let table = render(&rows, Style::Plain);
        let lines: Vec<_> = table.lines().collect();
        assert_eq!(lines[1], "Network");
        assert_eq!(lines[2], format!("  1 {:<84} FAILED     3.00 s", "a partition"));
        assert_eq!(lines[3], format!("      {:<82} passed     1.50 s", "f01_test_0"));
        assert_eq!(lines[5], format!("  2 {:<84} later", "a partition"));
        assert_eq!(lines[6], "      not there yet");
        assert_eq!(lines[7], format!("  3 {:<84} MISSING", "a partition"));
        assert_eq!(lines[9], "      f04_test_0");
        assert_eq!(lines[11], "4 rows: 1 listed, 1 FAILED, 1 MISSING, 1 later");
        assert!(!table.contains('\x1b'));
        assert!(render(&rows, Style::Coloured).contains("\x1b[31mFAILED"));
    }

    #[test]
    fn programs_get_a_row_a_line() {
        let text = line(&shown(7, Standing::InPart("half".into()), &[Some(true)]));
        let value: serde_json::Value = serde_json::from_str(&text).expect("JSON");
        assert_eq!(value["row"], 7);
        assert_eq!((&value["result"], &value["remark"]), (&json!("passed"), &json!("half")));
        assert_eq!(value["tests"][0]["seconds"], 1.5);
        assert!(!text.contains('\n'));
    }

    #[test]
    fn long_texts_are_cut_by_characters() {
        assert_eq!(cut("ääää", 3), "ää…");
        assert_eq!(cut("äää", 3), "äää");
    }
}
