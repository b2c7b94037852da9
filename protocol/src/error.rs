//! Why a task ended without a result, with numbers for the wire.
//!
//! [`Cause`] is what a caller meets; [`Failure`] is the same on the wire, flat and small.
//! A number that this version does not know becomes [`Cause::Unknown`] and keeps its text.

use crate::store::EntryKind;
use std::fmt;

mod failure;
mod words;

pub(crate) use failure::quoted;
pub use failure::{Failure, cut};
pub use words::{Limit, Storage, Trap};

/// Why a task ended without a result.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Cause {
    /// The task returned an error; this is its text.
    #[error("the task failed: {message}")]
    Failed {
        /// The error's `Display`.
        message: String,
    },
    /// The guest panicked.
    #[error("the task panicked{}: {message}", At(location))]
    Panic {
        /// The panic's message.
        message: String,
        /// Where in the guest's source.
        location: Option<Location>,
        /// The guest's frames, innermost first.
        backtrace: Vec<String>,
    },
    /// The guest did what WebAssembly forbids.
    #[error("the task trapped: {kind}")]
    Trap {
        /// What it did.
        kind: Trap,
        /// The guest's frames, innermost first.
        backtrace: Vec<String>,
    },
    /// The program ended with another status than 0.
    #[error("the program exited with status {code}{}", Said(stderr))]
    Exit {
        /// The status.
        code: u32,
        /// The last lines that it wrote to stderr.
        stderr: Vec<String>,
    },
    /// The guest asked for more than it may have.
    #[error("the limit on {limit} was exceeded (allowed: {})", limit.amount(*allowed))]
    Limit {
        /// Which limit.
        limit: Limit,
        /// How much is allowed, in the limit's unit.
        allowed: u64,
    },
    /// The task's deadline passed, at the slave or while it still waited.
    #[error("the deadline passed")]
    DeadlineExceeded,
    /// The caller cancelled the task.
    #[error("the task was cancelled")]
    Cancelled,
    /// There is no room. Trying later, or elsewhere, can help.
    #[error("busy: {what}")]
    Busy {
        /// What is full.
        what: String,
    },
    /// The slave is gone and the task may not be repeated.
    #[error("the slave was lost and the task {}", if *may_have_run { "may have run" } else { "did not run" })]
    SlaveLost {
        /// Whether the slave may have begun the task.
        may_have_run: bool,
    },
    /// The slave admits nothing new.
    #[error("the slave is draining")]
    Draining,
    /// Slaves died of this task.
    #[error("the task is poison: {deaths} slaves died while they ran it")]
    Poison {
        /// How many.
        deaths: u32,
    },
    /// The task was started as often as the limit allows, and every slave was lost.
    #[error("the task was started {attempts} times and its slave was lost each time")]
    AttemptsExhausted {
        /// How often it was started.
        attempts: u32,
    },
    /// No slave is linked and none is being dialled or listened for.
    #[error("there is no slave to run the task")]
    NoSlaves,
    /// The module cannot be run by this slave.
    #[error("the module was rejected: {reason}")]
    Rejected {
        /// Why.
        reason: String,
    },
    /// The module exports no such task.
    #[error("the module has no task `{name}`{}", Hint(known))]
    MissingTask {
        /// The name asked for.
        name: String,
        /// The names there are, the first few.
        known: Vec<String>,
    },
    /// The guest cannot decode its arguments.
    #[error("the arguments do not fit the task: {message}")]
    BadArguments {
        /// What does not fit.
        message: String,
    },
    /// Caller and module describe the task differently.
    #[error("the caller's task differs from the module's: {difference}")]
    Mismatch {
        /// What differs.
        difference: String,
    },
    /// The caller cannot decode the result.
    #[error("the result does not decode: {message}")]
    BadResult {
        /// What does not decode.
        message: String,
    },
    /// The guest broke the rules of the ABI.
    #[error("the guest broke the ABI: {message}")]
    GuestAbi {
        /// Which rule.
        message: String,
    },
    /// The init of the task's image failed. It is not run again for these arguments until a
    /// master asks for it.
    #[error("the image was not built: its init `{init}` failed: {message}")]
    InitFailed {
        /// The name of the init.
        init: String,
        /// How it failed.
        message: String,
    },
    /// The task runs on an image of another init, or the call named none.
    #[error("the task needs an image of `{init}`: {message}")]
    NeedsImage {
        /// The init that the task needs.
        init: String,
        /// What it was given instead.
        message: String,
    },
    /// The key holds something else than what was asked for.
    #[error("`{key}` {}", Instead(*kind))]
    WrongKind {
        /// The key.
        key: String,
        /// What its entry is.
        kind: EntryKind,
    },
    /// The task would wait for itself: for an entry of the store whose builder waits for one
    /// that the task builds.
    #[error("the task waits for itself: {}", Ring(keys))]
    Ring {
        /// The entries, from the one that it asked for to one that it builds, the first few.
        keys: Vec<String>,
    },
    /// An entry of the keyed store that the task needs is not where it may run. The task did
    /// not run.
    #[error("the entry `{key}` is gone, and the task needs it")]
    KeyGone {
        /// The entry's key.
        key: String,
    },
    /// The image that the task starts from is on no slave any more that could give it away, and
    /// the task's master does not know what it is made of. The task did not run.
    #[error("the image `{image}` is gone: no slave that is linked has it to give away")]
    ImageGone {
        /// The key by which the master looked it up, or what it is called.
        image: String,
    },
    /// There is an entry under the key of a resident that was to be spawned.
    #[error("`{key}` is taken: there is a {kind} under it")]
    KeyTaken {
        /// The key.
        key: String,
        /// What its entry is.
        kind: EntryKind,
    },
    /// There is no resident under the key.
    #[error("there is no resident under `{key}`")]
    NoResident {
        /// The key.
        key: String,
    },
    /// The resident is gone with its slave, or its slave is: what it had in memory is lost.
    #[error("the resident `{key}` was lost, and the call {}", if *may_have_run { "may have run" } else { "did not run" })]
    ResidentLost {
        /// Its key.
        key: String,
        /// Whether the call may have begun.
        may_have_run: bool,
    },
    /// The resident ended before the call was begun.
    #[error("the resident `{key}` has ended: {why}")]
    ResidentEnded {
        /// Its key.
        key: String,
        /// How it ended.
        why: String,
    },
    /// The resident failed and is begun again; the call was in its mailbox, and has not run.
    #[error("the resident `{key}` was begun again before the call was")]
    ResidentRestarted {
        /// Its key.
        key: String,
    },
    /// The resident is on another slave now; the call has not run.
    #[error("the resident `{key}` has moved to {to}")]
    ResidentMoved {
        /// Its key.
        key: String,
        /// The slave that has it.
        to: String,
    },
    /// There are residents under the key on more than one slave.
    #[error("the resident `{key}` is on more than one slave: {}", slaves.join(", "))]
    ResidentTwice {
        /// The key.
        key: String,
        /// The slaves, in the order of their names.
        slaves: Vec<String>,
    },
    /// What was to be on disk is not: it was refused, or changed in memory alone.
    #[error("nothing is written to disk: {}", what.reason())]
    Storage {
        /// What is the matter with the slave's disk.
        what: Storage,
    },
    /// Whoever asked may not: it may look, for instance, and not dispatch.
    #[error("not allowed: {what}")]
    NotAllowed {
        /// What may not be done, and by whom it may.
        what: String,
    },
    /// The master was shut down.
    #[error("the master was shut down")]
    Shutdown,
    /// A fault of dpfw itself.
    #[error("internal error: {message}")]
    Internal {
        /// What happened.
        message: String,
    },
    /// A cause that this version does not know.
    #[error("{message} (error {code})")]
    Unknown {
        /// Its number.
        code: u16,
        /// The sender's text.
        message: String,
    },
}

/// A place in a guest's source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Location {
    /// The file as the compiler saw it.
    pub file: String,
    /// Counted from 1.
    pub line: u32,
    /// Counted from 1.
    pub column: u32,
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.file, self.line, self.column)
    }
}

struct At<'a>(&'a Option<Location>);

impl fmt::Display for At<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.as_ref().map_or(Ok(()), |location| write!(f, " at {location}"))
    }
}

struct Hint<'a>(&'a [String]);

impl fmt::Display for Hint<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return Ok(());
        }
        write!(f, "; it has {}", self.0.join(", "))
    }
}

/// What a key holds that was asked for as something else.
struct Instead(EntryKind);

impl fmt::Display for Instead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            EntryKind::Value => f.write_str("holds a value, and something else was asked for"),
            kind => write!(f, "holds no value: its entry is of the kind `{kind}`"),
        }
    }
}

/// The last that a program said.
struct Said<'a>(&'a [String]);

impl fmt::Display for Said<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.last().map_or(Ok(()), |line| write!(f, ": {line}"))
    }
}

/// Who waits for whom.
struct Ring<'a>(&'a [String]);

impl fmt::Display for Ring<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            [] => f.write_str("for an entry that it builds"),
            [one] => write!(f, "it builds the entry `{one}` that it asks for"),
            [asked, through @ .., built] => {
                write!(f, "it asks for the entry `{asked}`, whose builder waits for ")?;
                for key in through {
                    write!(f, "`{key}`, whose builder waits for ")?;
                }
                write!(f, "`{built}`, which it builds")
            }
        }
    }
}

impl Cause {
    /// Whether another slave, or this one later, may do better.
    pub fn is_recoverable(&self) -> bool {
        matches!(self, Self::Busy { .. } | Self::Draining | Self::SlaveLost { .. })
    }

    /// The number on the wire.
    pub fn code(&self) -> u16 {
        match self {
            Self::Failed { .. } => 1,
            Self::Panic { .. } => 2,
            Self::Trap { .. } => 3,
            Self::Limit { .. } => 4,
            Self::DeadlineExceeded => 5,
            Self::Cancelled => 6,
            Self::Busy { .. } => 7,
            Self::SlaveLost { .. } => 8,
            Self::Draining => 9,
            Self::Poison { .. } => 10,
            Self::NoSlaves => 11,
            Self::Rejected { .. } => 12,
            Self::MissingTask { .. } => 13,
            Self::BadArguments { .. } => 14,
            Self::Mismatch { .. } => 15,
            Self::BadResult { .. } => 16,
            Self::GuestAbi { .. } => 17,
            Self::Internal { .. } => 18,
            Self::Shutdown => 19,
            Self::AttemptsExhausted { .. } => 20,
            Self::Exit { .. } => 21,
            Self::InitFailed { .. } => 22,
            Self::NeedsImage { .. } => 23,
            Self::WrongKind { .. } => 24,
            Self::Ring { .. } => 26,
            Self::KeyGone { .. } => 25,
            Self::ImageGone { .. } => 28,
            Self::KeyTaken { .. } => 40,
            Self::NoResident { .. } => 41,
            Self::ResidentLost { .. } => 42,
            Self::ResidentEnded { .. } => 43,
            Self::ResidentRestarted { .. } => 44,
            Self::ResidentMoved { .. } => 45,
            Self::ResidentTwice { .. } => 46,
            Self::Storage { .. } => 47,
            Self::NotAllowed { .. } => 48,
            Self::Unknown { code, .. } => *code,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_say_what_is_allowed() {
        let cause = Cause::Limit { limit: Limit::Memory, allowed: 65536 };
        assert_eq!(cause.to_string(), "the limit on memory was exceeded (allowed: 65536 bytes)");
        let cause = Cause::MissingTask { name: "ad".into(), known: vec!["add".into()] };
        assert_eq!(cause.to_string(), "the module has no task `ad`; it has add");
        let wrong = |kind| Cause::WrongKind { key: "k".into(), kind }.to_string();
        assert_eq!(wrong(EntryKind::Image), "`k` holds no value: its entry is of the kind `image`");
        assert_eq!(wrong(EntryKind::Value), "`k` holds a value, and something else was asked for");
        let ring = |keys: &[&str]| {
            Cause::Ring { keys: keys.iter().map(|&key| key.to_owned()).collect() }.to_string()
        };
        assert_eq!(
            ring(&["x"]),
            "the task waits for itself: it builds the entry `x` that it asks for"
        );
        assert_eq!(
            ring(&["x", "y", "z"]),
            "the task waits for itself: it asks for the entry `x`, whose builder waits for `y`, \
             whose builder waits for `z`, which it builds"
        );
    }
}
