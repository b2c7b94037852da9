//! A failure as it is told: what failed, where, and what to try.
//!
//! Owns: the text, its colours, and the same as JSON. Does not: write it, or know causes.
//! Invariants: without -v a failure is its message and one line of what to try; what
//! guests and peers said is escaped.

use crate::escape;
use crate::exit::Failure;
use crate::frames;
use serde::Serialize;

/// How a failure is shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Look {
    /// How many -v there were.
    pub(crate) verbose: u8,
    pub(crate) colours: bool,
}

const RED: &str = "\x1b[1;31m";
const YELLOW: &str = "\x1b[1;33m";
const CYAN: &str = "\x1b[1;36m";
const DIM: &str = "\x1b[2m";
const PLAIN: &str = "\x1b[0m";

impl Look {
    fn paint(self, colour: &str, text: &str) -> String {
        match self.colours {
            true => format!("{colour}{text}{PLAIN}"),
            false => text.to_owned(),
        }
    }
}

/// `error: ` or `warning: ` and a text, whose further lines are set in.
pub(crate) fn lines(kind: &str, text: &str, look: Look) -> String {
    let colour = if kind == "error" { RED } else { YELLOW };
    format!("{} {}\n", look.paint(colour, &format!("{kind}:")), escape::lines(text))
}

/// A failure for a person.
pub(crate) fn text(failure: &Failure, look: Look) -> String {
    let mut out = lines("error", &failure.text, look);
    if look.verbose > 0 {
        for cause in &failure.causes {
            out += &format!("  because: {}\n", escape::lines(cause));
        }
        let (shown, hidden) = frames::shown(&failure.frames, look.verbose > 1);
        for frame in shown {
            let line = format!("  at {}\n", escape::line(frame.text));
            out += &if frame.is_own { line } else { look.paint(DIM, &line) };
        }
        if hidden > 0 {
            let plural = if hidden == 1 { "" } else { "s" };
            let line = format!("  ({hidden} frame{plural} of the runtime; -vv shows all)\n");
            out += &look.paint(DIM, &line);
        }
    }
    if let Some(hint) = hint(failure, look) {
        out += &format!("{} {}\n", look.paint(CYAN, "hint:"), escape::line(&hint));
    }
    out
}

/// What to try; where there is a backtrace that is not shown, how to see it.
fn hint(failure: &Failure, look: Look) -> Option<String> {
    let frames = &failure.frames;
    match (&failure.hint, look.verbose) {
        (Some(hint), _) => Some(hint.clone()),
        (None, 0) if !frames.is_empty() => Some("-v shows the backtrace".into()),
        (None, 1..) if !frames.is_empty() && !frames::have_lines(frames) => {
            Some("`dpfw build --debug` keeps the files and lines of the backtrace".into())
        }
        _ => None,
    }
}

/// A failure for a program.
#[derive(Serialize)]
pub(crate) struct Told<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    line: Option<u64>,
    code: u8,
    message: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    hint: Option<&'a str>,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    causes: &'a [String],
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    backtrace: &'a [String],
}

impl<'a> Told<'a> {
    /// With the number of the line that it concerns, if it concerns one.
    pub(crate) fn of(failure: &'a Failure, line: Option<u64>) -> Self {
        Self {
            line,
            code: failure.exit.code(),
            message: &failure.text,
            hint: failure.hint.as_deref(),
            causes: &failure.causes,
            backtrace: &failure.frames,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exit::Exit;

    fn failure() -> Failure {
        let mut failure = Failure::new(Exit::Task, "`boom` on s1: it failed\n\u{1b}[2Jforged");
        failure.causes = vec!["the disk is full".into()];
        failure.frames = [
            "core::panicking::panic_fmt at /rustc/1/library/core/src/panicking.rs:80:5",
            "tasks::boom at src/lib.rs:12:5",
            "dpfw:boom",
        ]
        .map(String::from)
        .into();
        failure
    }

    fn look(verbose: u8) -> Look {
        Look { verbose, colours: false }
    }

    #[test]
    fn a_failure_is_its_message_and_what_to_try() {
        insta::assert_snapshot!(text(&failure(), look(0)), @r"
        error: `boom` on s1: it failed
          \u{1b}[2Jforged
        hint: -v shows the backtrace
        ");
        let failure = Failure::new(Exit::Link, "nobody is there").hint("go\nhome");
        insta::assert_snapshot!(text(&failure, look(0)), @r"
        error: nobody is there
        hint: go\nhome
        ");
    }

    #[test]
    fn verbose_failures_have_causes_and_frames() {
        insta::assert_snapshot!(text(&failure(), look(1)), @r"
        error: `boom` on s1: it failed
          \u{1b}[2Jforged
          because: the disk is full
          at tasks::boom at src/lib.rs:12:5
          (2 frames of the runtime; -vv shows all)
        ");
        insta::assert_snapshot!(text(&failure(), look(2)), @r"
        error: `boom` on s1: it failed
          \u{1b}[2Jforged
          because: the disk is full
          at tasks::boom at src/lib.rs:12:5
          at core::panicking::panic_fmt at /rustc/1/library/core/src/panicking.rs:80:5
          at dpfw:boom
        ");
    }

    #[test]
    fn colours_are_around_the_programs_own_words() {
        let failure = Failure::new(Exit::Link, "nobody").hint("call");
        let colours = text(&failure, Look { verbose: 0, colours: true });
        assert_eq!(colours, "\x1b[1;31merror:\x1b[0m nobody\n\x1b[1;36mhint:\x1b[0m call\n");
    }

    #[test]
    fn programs_are_told_all_at_once() {
        let told = serde_json::to_string(&Told::of(&failure(), Some(3))).expect("JSON");
        insta::assert_snapshot!(told, @r#"{"line":3,"code":1,"message":"`boom` on s1: it failed\n\u001b[2Jforged","causes":["the disk is full"],"backtrace":["core::panicking::panic_fmt at /rustc/1/library/core/src/panicking.rs:80:5","tasks::boom at src/lib.rs:12:5","dpfw:boom"]}"#);
    }
}
