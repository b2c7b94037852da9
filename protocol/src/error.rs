//! Why a task ended without a result, with numbers for the wire.
//!
//! [`Cause`] is what a caller meets; [`Failure`] is the same on the wire, flat and small.
//! A number that this version does not know becomes [`Cause::Unknown`] and keeps its text.

use crate::limits::{MAX_BACKTRACE, MAX_TEXT};
use crate::store::EntryKind;
use crate::text::printable;
use serde::{Deserialize, Serialize};
use std::fmt;

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
    #[error("`{key}` holds no value: its entry is of the kind `{kind}`")]
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
    /// What was to be on disk is not: it was refused, or changed in memory alone.
    #[error("nothing is written to disk: {}", what.reason())]
    Storage {
        /// What is the matter with the slave's disk.
        what: Storage,
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

macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $variant:ident = $word:literal),* $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum $name {
            $($(#[$vdoc])* $variant,)*
            /// One that this version does not know.
            Other(String),
        }

        impl $name {
            /// The word on the wire and in messages.
            pub fn as_str(&self) -> &str {
                match self {
                    $(Self::$variant => $word,)*
                    Self::Other(word) => word,
                }
            }
        }

        impl From<&str> for $name {
            fn from(word: &str) -> Self {
                match word {
                    $($word => Self::$variant,)*
                    other => Self::Other(other.into()),
                }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }
    };
}

words! {
    /// What a guest did that WebAssembly forbids.
    Trap {
        /// Recursion without end.
        StackOverflow = "stack overflow",
        /// An `unreachable` instruction: most often an abort.
        Unreachable = "unreachable executed",
        /// A load or store outside memory.
        MemoryOutOfBounds = "memory access out of bounds",
        /// An access outside a table.
        TableOutOfBounds = "table access out of bounds",
        /// A call through an empty table element.
        NullCall = "call of a null table element",
        /// A call through a table with another signature.
        BadSignature = "indirect call with another signature",
        /// An integer division by zero.
        DivisionByZero = "integer division by zero",
        /// An integer operation without a result.
        IntegerOverflow = "integer overflow",
        /// A float that is no integer.
        BadConversion = "invalid conversion to integer",
        /// The guest ended itself with an exit code instead of returning.
        Exit = "the guest called exit",
    }
}

words! {
    /// What is limited.
    Limit {
        /// Bytes of linear memory.
        Memory = "memory",
        /// Elements of a table.
        Table = "table",
        /// Bytes of a result.
        Result = "result",
        /// Bytes of arguments.
        Arguments = "arguments",
        /// Milliseconds that a task may run at this slave.
        Time = "time",
        /// Calls of the host by a task's guest.
        HostCalls = "host calls",
        /// Bytes of a module.
        Module = "module size",
        /// Functions of a module.
        Functions = "functions",
        /// Bytes of the body of one of a module's functions.
        FunctionSize = "function size",
        /// Locals of one of a module's functions.
        Locals = "locals",
        /// Milliseconds that loading a module may take.
        CompileTime = "compile time",
        /// Milliseconds that an init may run.
        ImageTime = "image time",
        /// Bytes of memory that an image may have.
        ImageMemory = "image memory",
        /// Bytes of data segments of a module.
        Data = "data segments",
        /// Bytes of log lines of a task.
        Log = "log bytes",
        /// Bytes of the keyed store.
        Quota = "quota",
        /// Entries of the keyed store.
        Entries = "entries of the store",
        /// Bytes of a key.
        Key = "key",
        /// Entries that a task builds at a time.
        Claims = "entries being built",
    }
}

words! {
    /// What is the matter with the disk of a store.
    Storage {
        /// There is no room. Writing goes on when there is.
        Full = "full",
        /// It failed, and is not trusted until the slave starts again.
        Failed = "failed",
        /// The slave has no directory: all is in memory.
        Absent = "absent",
    }
}

impl Storage {
    fn reason(&self) -> &str {
        match self {
            Self::Full => "the slave's disk is full",
            Self::Failed => "the slave's disk failed; its log says how",
            Self::Absent => "the slave has no directory for its store",
            Self::Other(word) => word,
        }
    }
}

impl Limit {
    /// An amount of what is limited, in words.
    pub fn amount(&self, allowed: u64) -> String {
        match self {
            Self::Time | Self::CompileTime | Self::ImageTime => format!("{allowed} ms"),
            Self::Table => format!("{allowed} elements"),
            Self::Locals => format!("{allowed} locals"),
            Self::HostCalls => format!("{allowed} calls"),
            Self::Functions => format!("{allowed} functions"),
            Self::Entries | Self::Claims => format!("{allowed} entries"),
            Self::Other(_) => allowed.to_string(),
            _ => format!("{allowed} bytes"),
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
            Self::KeyTaken { .. } => 40,
            Self::NoResident { .. } => 41,
            Self::ResidentLost { .. } => 42,
            Self::ResidentEnded { .. } => 43,
            Self::ResidentRestarted { .. } => 44,
            Self::ResidentMoved { .. } => 45,
            Self::Storage { .. } => 46,
            Self::Unknown { code, .. } => *code,
        }
    }
}

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
            Cause::MissingTask { name, known } => Self { name, list: known, ..Self::default() },
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
            40 => match EntryKind::of(&name) {
                Some(kind) => Self::KeyTaken { key: message, kind },
                None => Self::Unknown { code, message },
            },
            41 => Self::NoResident { key: name },
            42 => Self::ResidentLost { key: name, may_have_run: number != 0 },
            43 => Self::ResidentEnded { key: name, why: message },
            44 => Self::ResidentRestarted { key: name },
            45 => Self::ResidentMoved { key: name, to: message },
            46 => Self::Storage { what: name.as_str().into() },
            code => Self::Unknown { code, message },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
            Cause::KeyTaken { key: "k".into(), kind: EntryKind::Value },
            Cause::NoResident { key: "k".into() },
            Cause::ResidentLost { key: "k".into(), may_have_run: true },
            Cause::ResidentEnded { key: "k".into(), why: text() },
            Cause::ResidentRestarted { key: "k".into() },
            Cause::ResidentMoved { key: "k".into(), to: "slave-2".into() },
            Cause::Storage { what: Storage::Full },
            Cause::Ring { keys: vec!["x".into(), "y".into()] },
            Cause::KeyGone { key: "part/1".into() },
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

    #[test]
    fn messages_say_what_is_allowed() {
        let cause = Cause::Limit { limit: Limit::Memory, allowed: 65536 };
        assert_eq!(cause.to_string(), "the limit on memory was exceeded (allowed: 65536 bytes)");
        let cause = Cause::MissingTask { name: "ad".into(), known: vec!["add".into()] };
        assert_eq!(cause.to_string(), "the module has no task `ad`; it has add");
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
