//! What is written of a line, and which lines failed.
//!
//! Invariant: of failures as many are held as [`MOST`], each of twice [`LONGEST`] bytes; the
//! others are counted.

use super::Outcome;
use crate::exec::lines::Line;
use crate::exit::{Exit, Failure};
use crate::json;
use crate::screen::Screen;
use base64::prelude::{BASE64_STANDARD, Engine};
use serde::Serialize;

/// How results are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// What the programs wrote, one after the other.
    Plain,
    /// An object a line.
    Json,
}

/// Failures that are listed: more are read by nobody.
const MOST: usize = 1000;

/// Bytes of a line, and of why it failed, in the list.
const LONGEST: usize = 200;

/// The failures so far.
#[derive(Debug)]
pub(super) struct Report {
    form: Form,
    listed: Vec<(u64, Failure)>,
    failed: u64,
}

impl Report {
    pub(super) fn new(form: Form) -> Self {
        Self { form, listed: Vec::new(), failed: 0 }
    }

    /// What stands in the place of a line.
    ///
    /// # Errors
    /// An internal failure: everything has a form in JSON.
    pub(super) fn result(&self, line: &Line, outcome: &Outcome) -> Result<Vec<u8>, Failure> {
        match (self.form, outcome) {
            (Form::Json, outcome) => json::line(&Told::new(line, outcome)),
            (Form::Plain, Outcome::Ended(output)) => Ok(output.stdout.to_vec()),
            (Form::Plain, _) => Ok(Vec::new()),
        }
    }

    /// Counts a line, and notes it if it failed; says whether it did.
    pub(super) fn note(&mut self, line: &Line, outcome: &Outcome) -> bool {
        let Some(mut why) = why(outcome) else {
            return false;
        };
        self.failed += 1;
        if self.listed.len() < MOST {
            if let Ok(text) = &line.text {
                let text = &text[..text.floor_char_boundary(LONGEST)];
                why.text = format!("{text}: {}", why.text);
            }
            why.text.truncate(why.text.floor_char_boundary(2 * LONGEST));
            self.listed.push((line.number, Failure { frames: Vec::new(), ..why }));
        }
        true
    }

    /// Lists the failures.
    pub(super) fn list(&self, screen: &Screen) {
        self.listed.iter().for_each(|(number, failure)| screen.line_failure(*number, failure));
        let more = self.failed - self.listed.len() as u64;
        if more > 0 {
            screen.error(format_args!("{more} more lines failed"));
        }
    }

    /// How the program ends once all lines are done.
    pub(super) fn exit(&self, done: u64) -> Result<Exit, Failure> {
        match self.failed {
            0 => Ok(Exit::Ok),
            failed => Err(Failure::new(Exit::Lines, format!("{failed} of {done} lines failed"))),
        }
    }
}

/// Why a line failed, if it did.
fn why(outcome: &Outcome) -> Option<Failure> {
    match outcome {
        Outcome::Ended(output) if output.status.is_success() => None,
        Outcome::Ended(output) => {
            let last = output.status.stderr().last();
            let said = last.map(|line| format!(": {line}")).unwrap_or_default();
            let code = output.status.code();
            Some(Failure::new(Exit::Task, format!("the program exited with status {code}{said}")))
        }
        Outcome::Failed(error) => Some(Failure::of_task(error)),
        Outcome::Refused(why) => Some(Failure::usage(why)),
    }
}

/// A line as JSON.
#[derive(Serialize)]
struct Told<'a> {
    line: u64,
    /// Left out where it is no text.
    #[serde(skip_serializing_if = "Option::is_none")]
    input: Option<&'a str>,
    /// The exit status; null if the program did not end by itself.
    status: Option<u32>,
    /// What it wrote, if that is UTF-8.
    #[serde(skip_serializing_if = "Option::is_none")]
    stdout: Option<&'a str>,
    /// What it wrote otherwise.
    #[serde(skip_serializing_if = "Option::is_none")]
    stdout_base64: Option<String>,
    /// The last lines that it wrote to stderr, if it failed.
    stderr: &'a [String],
    /// Why there is no status.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

impl<'a> Told<'a> {
    fn new(line: &'a Line, outcome: &'a Outcome) -> Self {
        let input = line.text.as_deref().ok();
        let mut told = Self {
            line: line.number,
            input,
            status: None,
            stdout: None,
            stdout_base64: None,
            stderr: &[],
            error: None,
        };
        match outcome {
            Outcome::Ended(output) => {
                told.status = Some(output.status.code());
                told.stderr = output.status.stderr();
                told.stdout = std::str::from_utf8(&output.stdout).ok();
                told.stdout_base64 =
                    told.stdout.is_none().then(|| BASE64_STANDARD.encode(&output.stdout));
            }
            Outcome::Failed(error) => told.error = Some(error.to_string()),
            Outcome::Refused(why) => told.error = Some(why.clone()),
        }
        told
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_held_of_failures_is_bounded() {
        let mut report = Report::new(Form::Plain);
        let text = Ok("ä".repeat(1000));
        let line = |number| Line { number, bytes: 1, text: text.clone() };
        for number in 1..=2 * MOST as u64 {
            assert!(report.note(&line(number), &Outcome::Refused("it is bad".into())));
        }
        assert_eq!((report.listed.len(), report.failed), (MOST, 2 * MOST as u64));
        assert!(report.listed.iter().all(|(_, failure)| failure.text.len() <= 2 * LONGEST));
        assert_eq!(report.exit(5000).expect_err("failed").text, "2000 of 5000 lines failed");
    }
}
