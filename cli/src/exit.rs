//! How the program ends: exit codes, and failures with what a person reads of them.
//!
//! Owns: the codes, and which cause has which. Does not: print. Invariant: the codes are
//! those that `docs/cli.md` and `--help` list.

use dpfw::{
    AddressError, BuildError, Cause, DialError, FirstError, Limit, LinkBuildError, ListenError,
    StartError, TaskError,
};
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

/// The codes for `--help`.
pub(crate) const HELP: &str = "\
Exit codes:
  0    done
  1    the task failed: trap, panic, error value, limit
  2    the command line or the input cannot be used
  3    the module cannot be used: not wasm, rejected, an import that is not granted
  4    no such function, or arguments that do not fit it
  5    no slave: unreachable, lost or busy; or a port that cannot be listened on
  6    some lines of a map, or of `exec --each`, failed
  7    the deadline passed
  8    the drain's time was over and tasks still ran
  70   a fault of dpfw itself or of the system
  74   standard output cannot be written
  124  exec: the deadline passed
  125  exec: the program could not be run, or not to its end
  130  ended by SIGINT
  134  exec: the program trapped or met a limit
  141  whoever read standard output is gone
  143  ended by SIGTERM";

impl Exit {
    /// The number that the system gets.
    pub(crate) fn code(self) -> u8 {
        self as u8
    }

    /// The code for a task that ended without a result.
    pub(crate) fn of(cause: &Cause) -> Self {
        match cause {
            Cause::Limit { limit: Limit::Module | Limit::Functions | Limit::Data, .. }
            | Cause::Rejected { .. } => Self::Module,
            Cause::MissingTask { .. } | Cause::BadArguments { .. } | Cause::Mismatch { .. } => {
                Self::Call
            }
            Cause::Busy { .. }
            | Cause::Draining
            | Cause::NoSlaves
            | Cause::SlaveLost { .. }
            | Cause::AttemptsExhausted { .. } => Self::Link,
            Cause::DeadlineExceeded => Self::Deadline,
            Cause::Cancelled => Self::Interrupted,
            Cause::Internal { .. } | Cause::Shutdown | Cause::Unknown { .. } => Self::Internal,
            _ => Self::Task,
        }
    }
}

/// What went wrong, and how the program ends of it. The text may quote guests and peers;
/// whoever prints it escapes it.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) exit: Exit,
    pub(crate) text: String,
}

impl Failure {
    pub(crate) fn new(exit: Exit, text: impl fmt::Display) -> Self {
        Self { exit, text: text.to_string() }
    }

    pub(crate) fn usage(text: impl fmt::Display) -> Self {
        Self::new(Exit::Usage, text)
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        Self::new(Exit::Internal, error)
    }
}

impl From<BuildError> for Failure {
    fn from(error: BuildError) -> Self {
        let exit = match &error {
            BuildError::Slave(error) => start(error),
            BuildError::Master(LinkBuildError::Slave(FirstError::Dial(error))) => dial(error),
            BuildError::Master(LinkBuildError::Slave(_)) => Exit::Link,
            BuildError::Master(LinkBuildError::Listen(error)) => listen(error),
            _ => Exit::Internal,
        };
        Self::new(exit, error)
    }
}

impl From<StartError> for Failure {
    fn from(error: StartError) -> Self {
        Self::new(start(&error), error)
    }
}

impl From<ListenError> for Failure {
    fn from(error: ListenError) -> Self {
        Self::new(listen(&error), error)
    }
}

impl From<DialError> for Failure {
    fn from(error: DialError) -> Self {
        Self::new(dial(&error), error)
    }
}

fn start(error: &StartError) -> Exit {
    match error {
        StartError::Slots(_) => Exit::Usage,
        _ => Exit::Internal,
    }
}

fn listen(error: &ListenError) -> Exit {
    match error {
        ListenError::Address(error) => address(error),
        _ => Exit::Link,
    }
}

fn dial(error: &DialError) -> Exit {
    match error {
        DialError::Address(error) => address(error),
        _ => Exit::Link,
    }
}

fn address(error: &AddressError) -> Exit {
    match error {
        AddressError::BeyondLoopback { .. } | AddressError::Unknown { .. } => Exit::Usage,
        _ => Exit::Link,
    }
}

/// A task's error for a person: the guest's frames below it.
pub(crate) fn describe(error: &TaskError) -> String {
    let mut text = error.to_string();
    if let Cause::Trap { backtrace, .. } | Cause::Panic { backtrace, .. } = error.cause() {
        backtrace.iter().for_each(|frame| {
            text.push_str("\nat ");
            text.push_str(frame);
        });
    }
    text
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
            Exit::Internal,
            Exit::Output,
            Exit::ExecDeadline,
            Exit::Exec,
            Exit::Interrupted,
            Exit::ExecTrap,
            Exit::BrokenPipe,
            Exit::Terminated,
        ];
        let listed: Vec<u8> = HELP
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
        assert_eq!(of(Cause::DeadlineExceeded), Exit::Deadline);
        assert_eq!(of(Cause::Internal { message: text() }), Exit::Internal);
    }
}
