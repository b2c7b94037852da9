//! A cause on the wire: flat and small.
//!
//! Owns: how each cause is put into numbers and texts, and taken out of them. Does not: give causes
//! their numbers. Invariant: what is made of a cause fits a frame; its texts and lists are cut.

use super::{Cause, Location};
use crate::limits::{MAX_BACKTRACE, MAX_TEXT};
use crate::store::EntryKind;
use crate::text::printable;
use serde::{Deserialize, Serialize};
use std::fmt;

/// A [`Cause`] on the wire.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// [`Cause::code`].
    pub code: u16,
    /// The cause's text, if it has one of its own.
    pub message: String,
    /// A limit's or a trap's word, or a file.
    pub name: String,
    /// An amount, a count, or a line and a column in halves.
    pub number: u64,
    /// Frames of a backtrace, or names that are known.
    pub list: Vec<String>,
}

/// The longest frame of a backtrace or known name, in bytes.
const MAX_LINE: usize = 256;

impl Failure {
    /// Whether its texts and its list are within their limits.
    pub(crate) fn is_bounded(&self) -> bool {
        self.message.len() <= MAX_TEXT
            && self.name.len() <= MAX_TEXT
            && self.list.len() <= MAX_BACKTRACE
            && self.list.iter().all(|line| line.len() <= MAX_LINE)
    }
}

/// What a decoder says of a peer's bytes, which may quote them.
pub(crate) fn quoted(error: &impl fmt::Display) -> String {
    printable(&error.to_string(), MAX_LINE)
}

/// Cuts a text to [`MAX_TEXT`] bytes at a character's edge.
pub fn cut(mut text: String) -> String {
    if text.len() > MAX_TEXT {
        let edge = text.floor_char_boundary(MAX_TEXT - 3);
        text.truncate(edge);
        text.push_str("...");
    }
    text
}

impl From<Cause> for Failure {
    /// Cuts texts and backtraces to what a frame may hold.
    fn from(cause: Cause) -> Self {
        let code = cause.code();
        let mut failure = match cause {
            Cause::Panic { message, location, backtrace } => {
                let (name, number) = location.map_or((String::new(), 0), |l| {
                    (l.file, u64::from(l.line) << 32 | u64::from(l.column))
                });
                Self { message, name, number, list: backtrace, ..Self::default() }
            }
            Cause::Trap { kind, backtrace } => {
                Self { name: kind.as_str().into(), list: backtrace, ..Self::default() }
            }
            Cause::Limit { limit, allowed } => {
                Self { name: limit.as_str().into(), number: allowed, ..Self::default() }
            }
            Cause::Exit { code, stderr } => {
                Self { number: u64::from(code), list: stderr, ..Self::default() }
            }
            Cause::InitFailed { init: name, message }
            | Cause::NeedsImage { init: name, message } => {
                Self { name, message, ..Self::default() }
            }
            Cause::WrongKind { key, kind } | Cause::KeyTaken { key, kind } => {
                Self { message: key, name: kind.as_str().into(), ..Self::default() }
            }
            Cause::KeyGone { key: name }
            | Cause::ImageGone { image: name }
            | Cause::NoResident { key: name }
            | Cause::ResidentRestarted { key: name } => Self { name, ..Self::default() },
            Cause::ResidentLost { key: name, may_have_run } => {
                Self { name, number: u64::from(may_have_run), ..Self::default() }
            }
            Cause::ResidentEnded { key: name, why: message }
            | Cause::ResidentMoved { key: name, to: message } => {
                Self { name, message, ..Self::default() }
            }
            Cause::Storage { what } => Self { name: what.as_str().into(), ..Self::default() },
            Cause::MissingTask { name, known: list }
            | Cause::ResidentTwice { key: name, slaves: list } => {
                Self { name, list, ..Self::default() }
            }
            Cause::Ring { keys } => Self { list: keys, ..Self::default() },
            Cause::SlaveLost { may_have_run } => {
                Self { number: u64::from(may_have_run), ..Self::default() }
            }
            Cause::Poison { deaths: count } | Cause::AttemptsExhausted { attempts: count } => {
                Self { number: u64::from(count), ..Self::default() }
            }
            Cause::Failed { message }
            | Cause::Busy { what: message }
            | Cause::Rejected { reason: message }
            | Cause::BadArguments { message }
            | Cause::Mismatch { difference: message }
            | Cause::BadResult { message }
            | Cause::GuestAbi { message }
            | Cause::Internal { message }
            | Cause::NotAllowed { what: message }
            | Cause::Unknown { message, .. } => Self { message, ..Self::default() },
            Cause::DeadlineExceeded
            | Cause::Cancelled
            | Cause::Draining
            | Cause::NoSlaves
            | Cause::Shutdown => Self::default(),
        };
        failure.code = code;
        failure.message = cut(failure.message);
        failure.name = cut(failure.name);
        failure.list.truncate(MAX_BACKTRACE);
        for line in &mut failure.list {
            let edge = line.floor_char_boundary(MAX_LINE);
            line.truncate(edge);
        }
        failure
    }
}

impl From<Failure> for Cause {
    fn from(failure: Failure) -> Self {
        let Failure { code, message, name, number, list } = failure;
        let count = u32::try_from(number).unwrap_or(u32::MAX);
        match code {
            1 => Self::Failed { message },
            2 => {
                let (line, column) = ((number >> 32) as u32, number as u32);
                let location = (!name.is_empty()).then_some(Location { file: name, line, column });
                Self::Panic { message, location, backtrace: list }
            }
            3 => Self::Trap { kind: name.as_str().into(), backtrace: list },
            4 => Self::Limit { limit: name.as_str().into(), allowed: number },
            5 => Self::DeadlineExceeded,
            6 => Self::Cancelled,
            7 => Self::Busy { what: message },
            8 => Self::SlaveLost { may_have_run: number != 0 },
            9 => Self::Draining,
            10 => Self::Poison { deaths: count },
            11 => Self::NoSlaves,
            12 => Self::Rejected { reason: message },
            13 => Self::MissingTask { name, known: list },
            14 => Self::BadArguments { message },
            15 => Self::Mismatch { difference: message },
            16 => Self::BadResult { message },
            17 => Self::GuestAbi { message },
            18 => Self::Internal { message },
            19 => Self::Shutdown,
            20 => Self::AttemptsExhausted { attempts: count },
            21 => Self::Exit { code: count, stderr: list },
            22 => Self::InitFailed { init: name, message },
            23 => Self::NeedsImage { init: name, message },
            24 => match EntryKind::of(&name) {
                Some(kind) => Self::WrongKind { key: message, kind },
                None => Self::Unknown { code, message },
            },
            26 => Self::Ring { keys: list },
            25 => Self::KeyGone { key: name },
            28 => Self::ImageGone { image: name },
            40 => match EntryKind::of(&name) {
                Some(kind) => Self::KeyTaken { key: message, kind },
                None => Self::Unknown { code, message },
            },
            41 => Self::NoResident { key: name },
            42 => Self::ResidentLost { key: name, may_have_run: number != 0 },
            43 => Self::ResidentEnded { key: name, why: message },
            44 => Self::ResidentRestarted { key: name },
            45 => Self::ResidentMoved { key: name, to: message },
            46 => Self::ResidentTwice { key: name, slaves: list },
            47 => Self::Storage { what: name.as_str().into() },
            48 => Self::NotAllowed { what: message },
            code => Self::Unknown { code, message },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::{Limit, Trap};

    fn every_cause() -> Vec<Cause> {
        let text = || "why".to_owned();
        let location = Location { file: "src/lib.rs".into(), line: 7, column: 13 };
        let backtrace = vec!["inner".to_owned(), "outer".to_owned()];
        vec![
            Cause::Failed { message: text() },
            Cause::Panic {
                message: text(),
                location: Some(location),
                backtrace: backtrace.clone(),
            },
            Cause::Trap { kind: Trap::StackOverflow, backtrace },
            Cause::Limit { limit: Limit::Memory, allowed: 1 << 20 },
            Cause::DeadlineExceeded,
            Cause::Cancelled,
            Cause::Busy { what: text() },
            Cause::SlaveLost { may_have_run: true },
            Cause::Draining,
            Cause::Poison { deaths: 3 },
            Cause::NoSlaves,
            Cause::Rejected { reason: text() },
            Cause::MissingTask { name: "ad".into(), known: vec!["add".into()] },
            Cause::BadArguments { message: text() },
            Cause::Mismatch { difference: text() },
            Cause::BadResult { message: text() },
            Cause::GuestAbi { message: text() },
            Cause::Internal { message: text() },
            Cause::Shutdown,
            Cause::AttemptsExhausted { attempts: 3 },
            Cause::Exit { code: 2, stderr: vec!["no such file".into()] },
            Cause::InitFailed { init: "build".into(), message: text() },
            Cause::NeedsImage { init: "build".into(), message: text() },
            Cause::WrongKind { key: "k".into(), kind: EntryKind::Image },
            Cause::Ring { keys: vec!["x".into(), "y".into()] },
            Cause::KeyGone { key: "part/1".into() },
            Cause::ImageGone { image: "index".into() },
            Cause::KeyTaken { key: "k".into(), kind: EntryKind::Value },
            Cause::Storage { what: crate::error::Storage::Full },
            Cause::NotAllowed { what: text() },
            Cause::NoResident { key: "k".into() },
            Cause::ResidentLost { key: "k".into(), may_have_run: true },
            Cause::ResidentEnded { key: "k".into(), why: text() },
            Cause::ResidentRestarted { key: "k".into() },
            Cause::ResidentMoved { key: "k".into(), to: "slave-2".into() },
            Cause::ResidentTwice { key: "k".into(), slaves: vec!["a".into(), "b".into()] },
            Cause::Unknown { code: 999, message: text() },
        ]
    }

    #[test]
    fn every_cause_survives_the_wire() {
        let mut codes = std::collections::BTreeSet::new();
        for cause in every_cause() {
            assert!(codes.insert(cause.code()), "{cause:?} shares its number");
            assert_eq!(Cause::from(Failure::from(cause.clone())), cause);
        }
        assert!((1..=23).all(|code| codes.contains(&code)));
    }

    #[test]
    fn long_texts_are_cut_at_a_characters_edge() {
        let failure = Failure::from(Cause::Failed { message: "ä".repeat(MAX_TEXT) });
        assert!(failure.message.len() <= MAX_TEXT);
        assert!(failure.message.ends_with("..."));
    }
}
