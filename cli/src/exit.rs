//! How the program ends: exit codes, and failures with what a person reads of them.
//!
//! Owns: the codes, and which cause has which. Does not: print. Invariant: the codes are
//! those that `docs/cli.md` and `help` list.

use crate::advice;
use dpfw::security::SecurityError;
use dpfw::{
    AddressError, BuildError, Cause, DialError, FirstError, Limit, LinkBuildError, ListenError,
    StartError, TaskError,
};
use std::error::Error;
use std::fmt;

/// How the program ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// Everything that was asked for was done.
    Ok = 0,
    /// The task failed: trap, panic, error value, limit.
    Task = 1,
    /// The command line or the input cannot be used.
    Usage = 2,
    /// The module cannot be used.
    Module = 3,
    /// No such function, or arguments that do not fit it.
    Call = 4,
    /// No slave: unreachable, lost, busy; or a port that cannot be listened on.
    Link = 5,
    /// Some lines of a map, or of `exec --each`, failed.
    Lines = 6,
    /// The deadline passed.
    Deadline = 7,
    /// The drain's time was over and tasks still ran.
    Drain = 8,
    /// The store has no such entry; there is no such resident.
    Absent = 9,
    /// The store's entry is there already, or has another version; a resident's key is taken.
    Conflict = 10,
    /// A crate of tasks does not compile.
    Build = 11,
    /// A fault of dpfw itself, or of the system.
    Internal = 70,
    /// Standard output cannot be written.
    Output = 74,
    /// `exec`: the deadline passed; as `timeout` tells it. The ordinary codes may be those
    /// of the program.
    ExecDeadline = 124,
    /// `exec`: the program could not be run, or not to its end.
    Exec = 125,
    /// SIGINT; as a shell tells it.
    Interrupted = 130,
    /// `exec`: the program trapped or met a limit; as a shell tells SIGABRT.
    ExecTrap = 134,
    /// Whoever read standard output is gone; as a shell tells SIGPIPE.
    BrokenPipe = 141,
    /// SIGTERM; as a shell tells it.
    Terminated = 143,
}

impl Exit {
    /// The number that the system gets.
    pub(crate) fn code(self) -> u8 {
        self as u8
    }

    /// The code for a task that ended without a result.
    pub(crate) fn of(cause: &Cause) -> Self {
        match cause {
            Cause::Limit { limit: Limit::Module | Limit::Functions | Limit::Data, .. }
            | Cause::Limit { limit: Limit::Imports | Limit::Exports | Limit::Names, .. }
            | Cause::Limit { limit: Limit::Section, .. }
            | Cause::Rejected { .. } => Self::Module,
            Cause::MissingTask { .. } | Cause::BadArguments { .. } | Cause::Mismatch { .. } => {
                Self::Call
            }
            Cause::Busy { .. }
            | Cause::Draining
            | Cause::NoSlaves
            | Cause::SlaveLost { .. }
            | Cause::AttemptsExhausted { .. } => Self::Link,
            Cause::ResidentLost { .. } | Cause::ResidentMoved { .. } => Self::Link,
            Cause::NoResident { .. } | Cause::ResidentEnded { .. } => Self::Absent,
            Cause::KeyTaken { .. } => Self::Conflict,
            Cause::ResidentTwice { .. } => Self::Usage,
            Cause::DeadlineExceeded => Self::Deadline,
            Cause::Cancelled => Self::Interrupted,
            Cause::Internal { .. } | Cause::Shutdown | Cause::Unknown { .. } => Self::Internal,
            _ => Self::Task,
        }
    }
}

/// What went wrong, and how the program ends of it. The texts may quote guests and peers;
/// whoever prints them escapes them.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) exit: Exit,
    /// What failed, and where.
    pub(crate) text: String,
    /// What to try, in one line.
    pub(crate) hint: Option<String>,
    /// What it came of, as far as the text does not say it; the nearest first.
    pub(crate) causes: Vec<String>,
    /// The guest's backtrace, innermost first.
    pub(crate) frames: Vec<String>,
}

impl Failure {
    pub(crate) fn new(exit: Exit, text: impl fmt::Display) -> Self {
        let text = text.to_string();
        Self { exit, text, hint: None, causes: Vec::new(), frames: Vec::new() }
    }

    /// Of an error, with all that it came of.
    pub(crate) fn of(exit: Exit, error: &dyn Error) -> Self {
        let mut failure = Self::new(exit, error);
        let mut source = error.source();
        while let Some(error) = source {
            let (text, known) = (error.to_string(), failure.causes.last().unwrap_or(&failure.text));
            if !known.contains(&text) {
                failure.causes.push(text);
            }
            source = error.source();
        }
        failure
    }

    /// Of a task that ended without a result.
    pub(crate) fn of_task(error: &TaskError) -> Self {
        let cause = error.cause();
        let mut failure = Self::of(Exit::of(cause), error);
        failure.hint = advice::on(cause);
        if let Cause::Trap { backtrace, .. } | Cause::Panic { backtrace, .. } = cause {
            failure.frames.clone_from(backtrace);
        }
        failure
    }

    /// With what to try.
    pub(crate) fn hint(self, hint: impl Into<String>) -> Self {
        Self { hint: Some(hint.into()), ..self }
    }

    pub(crate) fn usage(text: impl fmt::Display) -> Self {
        Self::new(Exit::Usage, text)
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        Self::of(Exit::Internal, &error)
    }
}

impl From<BuildError> for Failure {
    fn from(error: BuildError) -> Self {
        let exit = match &error {
            BuildError::Slave(error) => start(error),
            BuildError::Master(LinkBuildError::Slave(FirstError::Dial(error))) => dial(error),
            BuildError::Master(LinkBuildError::Slave(_)) => Exit::Link,
            BuildError::Master(LinkBuildError::Security(_)) => Exit::Usage,
            BuildError::Master(LinkBuildError::Listen(error)) => listen(error),
            _ => Exit::Internal,
        };
        let failure = Self::of(exit, &error);
        match error {
            BuildError::Master(LinkBuildError::Slave(FirstError::Dial(error))) => {
                Self { hint: advice::on_dial(&error), ..failure }
            }
            _ => failure,
        }
    }
}

impl From<SecurityError> for Failure {
    fn from(error: SecurityError) -> Self {
        Self::of(Exit::Usage, &error)
    }
}

impl From<StartError> for Failure {
    fn from(error: StartError) -> Self {
        Self::of(start(&error), &error)
    }
}

impl From<ListenError> for Failure {
    fn from(error: ListenError) -> Self {
        Self::of(listen(&error), &error)
    }
}

impl From<DialError> for Failure {
    fn from(error: DialError) -> Self {
        Self::of(dial(&error), &error)
    }
}

fn start(error: &StartError) -> Exit {
    match error {
        StartError::Slots(_)
        | StartError::Limits(_)
        | StartError::Store(_)
        | StartError::Grants(_)
        | StartError::Audit(_)
        | StartError::Security(_) => Exit::Usage,
        _ => Exit::Internal,
    }
}

fn listen(error: &ListenError) -> Exit {
    match error {
        ListenError::Address(error) => address(error),
        ListenError::Security(_) => Exit::Usage,
        _ => Exit::Link,
    }
}

fn dial(error: &DialError) -> Exit {
    match error {
        DialError::Address(error) => address(error),
        DialError::Security(_) => Exit::Usage,
        _ => Exit::Link,
    }
}

fn address(error: &AddressError) -> Exit {
    match error {
        AddressError::BeyondLoopback { .. } | AddressError::Unknown { .. } => Exit::Usage,
        _ => Exit::Link,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn help_lists_every_code() {
        let all = [
            Exit::Ok,
            Exit::Task,
            Exit::Usage,
            Exit::Module,
            Exit::Call,
            Exit::Link,
            Exit::Lines,
            Exit::Deadline,
            Exit::Drain,
            Exit::Absent,
            Exit::Conflict,
            Exit::Build,
            Exit::Internal,
            Exit::Output,
            Exit::ExecDeadline,
            Exit::Exec,
            Exit::Interrupted,
            Exit::ExecTrap,
            Exit::BrokenPipe,
            Exit::Terminated,
        ];
        let listed: Vec<u8> = crate::help::CODES
            .lines()
            .skip(1)
            .filter_map(|line| line.split_whitespace().next()?.parse().ok())
            .collect();
        assert_eq!(listed, all.map(Exit::code));
        let page = include_str!("../../docs/cli.md");
        for exit in all {
            let row = format!("| {} |", exit.code());
            assert!(page.contains(&row), "docs/cli.md does not list {exit:?}");
        }
    }

    #[test]
    fn causes_have_the_codes_of_the_page() {
        let text = || String::from("why");
        let of = |cause| Exit::of(&cause);
        assert_eq!(of(Cause::Failed { message: text() }), Exit::Task);
        assert_eq!(of(Cause::Limit { limit: Limit::Memory, allowed: 1 }), Exit::Task);
        assert_eq!(of(Cause::Limit { limit: Limit::Functions, allowed: 1 }), Exit::Module);
        assert_eq!(of(Cause::Rejected { reason: text() }), Exit::Module);
        assert_eq!(of(Cause::BadArguments { message: text() }), Exit::Call);
        assert_eq!(of(Cause::SlaveLost { may_have_run: true }), Exit::Link);
        assert_eq!(of(Cause::NoResident { key: text() }), Exit::Absent);
        assert_eq!(of(Cause::ResidentLost { key: text(), may_have_run: true }), Exit::Link);
        let slaves = vec![text(), text()];
        assert_eq!(of(Cause::ResidentTwice { key: text(), slaves }), Exit::Usage);
        assert_eq!(of(Cause::DeadlineExceeded), Exit::Deadline);
        assert_eq!(of(Cause::Internal { message: text() }), Exit::Internal);
    }
}
