//! One process that compiles, as the slave sees it.
//!
//! Owns: its start, its end, and what its end says. Invariants: it is gone when this is dropped; it
//! is killed when its clock is stopped, wherever the slave waits for it meanwhile; whatever it sends
//! costs the slave no more memory than it may have itself.

use super::bounds::Bounds;
use super::child::ARGUMENT;
use super::make::Compiled;
use super::message::{self, Answer, Order};
use crate::module::compile::Clock;
use crate::scarce;
use dpfw_protocol::error::{Cause, Limit};
use dpfw_protocol::text::printable;
use rustix::process::{Pid, PidfdFlags, Signal, kill_process_group, pidfd_open, pidfd_send_signal};
use std::io::{self, BufWriter, Read};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};

/// A process that compiles one thing.
pub(super) struct Process<'a> {
    child: Child,
    order: &'a Order,
    bounds: Bounds,
    clock: &'a Clock,
}

/// Bytes of its last words that are looked at.
const MOST_WORDS: u64 = 4096;

/// Bytes of them that are told.
const MOST_TOLD: usize = 256;

impl<'a> Process<'a> {
    /// Starts it, for wasm of so many bytes.
    ///
    /// # Errors
    /// [`Cause::Busy`] if there can be none here: another slave may have one.
    pub(super) fn start(
        program: &Path,
        order: &'a Order,
        wasm: usize,
        clock: &'a Clock,
    ) -> Result<Self, Cause> {
        let bounds = Bounds::of(&order.limits, order.make, wasm);
        let mut command = Command::new(program);
        // What it gets of the slave are these numbers and three pipes. A signal of a terminal's
        // is for the slave, which knows what to do.
        command.arg0("dpfw").arg(ARGUMENT).args(bounds.args());
        command.env_clear().current_dir("/").process_group(0);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let child = command.spawn().map_err(|error| not_started(program, &error))?;
        let this = Self { child, order, bounds, clock };
        // It is not waited for before this is dropped, so the number is its own.
        let handle = pidfd_open(Pid::from_child(&this.child), PidfdFlags::empty());
        let handle = handle.map_err(|error| not_started(program, &error.into()))?;
        let group = Pid::from_child(&this.child);
        clock.on_stop(move || {
            // While it is not waited for its group's number is its own: whatever it has started
            // goes with it.
            if pidfd_send_signal(&handle, Signal::KILL).is_ok() {
                let _ = kill_process_group(group, Signal::KILL);
            }
        });
        Ok(this)
    }

    /// Has it compile.
    ///
    /// # Errors
    /// The [`Cause`] with which the wasm is refused, or what its process died of.
    pub(super) fn make(mut self, wasm: &[u8]) -> Result<Compiled, Cause> {
        let no_pipe = || Cause::Internal { message: "a process has no pipes".into() };
        let stdin = self.child.stdin.take().ok_or_else(no_pipe)?;
        let mut stdout = self.child.stdout.take().ok_or_else(no_pipe)?;
        let mut to = BufWriter::new(&stdin);
        // If it does not read to the end it has died, and how says more than this error.
        let _ = message::write(&mut to, self.order, wasm);
        drop(to);
        let answer = message::read(&mut stdout, self.bounds.most_code());
        // Its input ends when it was heard, and not before: it ends with it.
        drop(stdin);
        match answer {
            Ok((Answer::Made { cold }, code)) => Ok(Compiled { code, cold }),
            Ok((Answer::Refused(failure), _)) => Err(failure.into()),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Err(self.died()),
            // It may have more to say, and is not heard: it goes with this.
            Err(error) => {
                tracing::warn!(%error, "a process that compiles does not answer as it should");
                let reason = format!("the process that compiled it gave no answer: {error}");
                Err(Cause::Rejected { reason })
            }
        }
    }

    /// What it died of, that did not answer.
    fn died(&mut self) -> Cause {
        let mut words = Vec::new();
        let words = match self.child.stderr.take() {
            // Whoever has it still open keeps no one for longer than the clock.
            Some(stderr) => stderr.take(MOST_WORDS).read_to_end(&mut words).map(|_| words),
            None => Ok(words),
        };
        let words = String::from_utf8_lossy(&words.unwrap_or_default()).into_owned();
        match self.child.wait() {
            _ if self.clock.is_stopped() => {
                let what = "nobody waited for the module while it was compiled";
                Cause::Busy { what: what.into() }
            }
            Ok(status) => self.explained(status, &words),
            Err(error) => scarce::cause_of_io("a process that compiles is lost", &error),
        }
    }

    fn explained(&self, status: ExitStatus, words: &str) -> Cause {
        let limits = &self.order.limits;
        let told = printable(words.trim(), MOST_TOLD);
        tracing::warn!(%status, words = told, "a process that compiles has died");
        match status.signal().map(Signal::from_named_raw) {
            Some(Some(Signal::XCPU)) => {
                let allowed = u64::try_from(limits.compile.as_millis()).unwrap_or(u64::MAX);
                Cause::Limit { limit: Limit::CompileTime, allowed }
            }
            // What Rust says before it ends a process that gets no memory.
            Some(Some(Signal::ABORT)) if words.contains("memory allocation of") => {
                Cause::Limit { limit: Limit::CompileMemory, allowed: limits.compile_memory }
            }
            // Not by this slave: by the system, which has no memory left, or by a person.
            Some(Some(Signal::KILL)) => Cause::Busy {
                what: "the process that compiled the module was killed; its machine may have had \
                       no memory left"
                    .into(),
            },
            _ => {
                let reason = format!("the process that compiled it died: {status}: {told}");
                Cause::Rejected { reason: reason.trim_end_matches([':', ' ']).into() }
            }
        }
    }
}

fn not_started(program: &Path, error: &io::Error) -> Cause {
    let program = program.display();
    tracing::error!(%program, %error, "no process to compile in");
    Cause::Busy { what: format!("no process to compile in, of {program}: {error}") }
}

impl Drop for Process<'_> {
    fn drop(&mut self) {
        // It may have ended, and left something in its group.
        let _ = kill_process_group(Pid::from_child(&self.child), Signal::KILL);
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::Limits;
    use crate::module::confine::make::Make;
    use std::os::unix::fs::PermissionsExt;
    use std::sync::Arc;
    use std::time::Duration;

    /// What comes of a compiler that is this script.
    fn made(script: &str, clock: &Clock) -> Result<Compiled, Cause> {
        let home = tempfile::tempdir().expect("a directory");
        let program = home.path().join("compiler");
        std::fs::write(&program, format!("#!/bin/sh\n{script}\n")).expect("a script");
        let executable = std::fs::Permissions::from_mode(0o700);
        std::fs::set_permissions(&program, executable).expect("it is ours");
        let limits = Limits { compile_memory: 1 << 20, ..Limits::default() };
        let order = Order { configuration: 1, limits, make: Make::Image };
        // More than a pipe holds, of which a script reads nothing.
        let wasm = vec![0; 1 << 20];
        Process::start(&program, &order, wasm.len(), clock)?.make(&wasm)
    }

    fn refused(script: &str) -> Cause {
        made(script, &Clock::new(Duration::MAX)).expect_err(script)
    }

    #[test]
    fn f36_what_a_compiler_dies_of_is_told() {
        let memory = Cause::Limit { limit: Limit::CompileMemory, allowed: 1 << 20 };
        let time = Cause::Limit { limit: Limit::CompileTime, allowed: 120_000 };
        let out_of_memory = "echo memory allocation of 9 bytes failed >&2; kill -ABRT $$";
        assert_eq!(refused(out_of_memory), memory);
        assert_eq!(refused("kill -XCPU $$"), time);
        // What the system kills for want of memory may be compiled elsewhere.
        assert!(matches!(refused("kill -KILL $$"), Cause::Busy { .. }));
        for (script, told) in [
            ("kill -SEGV $$", "(SIGSEGV)"),
            ("kill -ABRT $$", "(SIGABRT)"),
            ("printf 'a\\033[2Jb' >&2; exit 3", "exit status: 3: a\\u{1b}[2Jb"),
            ("exit 0", "exit status: 0"),
        ] {
            let cause = refused(script);
            let is_told = matches!(&cause, Cause::Rejected { reason } if reason.contains(told));
            assert!(is_told, "{script}: {cause}");
        }
    }

    #[test]
    fn f36_what_a_compiler_sends_that_is_no_answer_is_refused() {
        for script in [
            // A head of 4 GiB; a head that is none; an answer, and a body of more than there may be.
            "printf '\\377\\377\\377\\377'",
            "printf '\\004\\000\\000\\000abcd'",
            "cat /dev/zero",
            "printf '\\004\\000\\000\\000abcd'; cat /dev/zero >&2",
        ] {
            // It is sent the module first: who does not take it is killed when its time is over.
            let script = format!("head -c 1048576 >/dev/null; {script}");
            assert!(matches!(refused(&script), Cause::Rejected { .. }), "{script}");
        }
    }

    #[test]
    fn f36_a_compiler_that_does_not_end_is_killed_when_nobody_waits() {
        let clock = Arc::new(Clock::new(Duration::MAX));
        std::thread::scope(|scope| {
            // It has closed its output, and goes on; or it says nothing.
            for script in [
                "exec >&- 2>&-; exec sleep 1000",
                "exec sleep 1000",
                "kill -STOP $$",
                // What it has started has its output open.
                "sleep 1000 & exec sleep 1000",
            ] {
                let clock = Arc::new(Clock::new(Duration::MAX));
                let its = Arc::clone(&clock);
                let made = scope.spawn(move || made(script, &its));
                clock.stop();
                let made = made.join().expect("no panic");
                assert!(matches!(made, Err(Cause::Busy { .. })), "{script}: {made:?}");
            }
        });
        clock.stop();
        assert!(matches!(made("exec sleep 1000", &clock), Err(Cause::Busy { .. })));
    }

    #[test]
    fn where_no_program_can_be_started_another_slave_may_do_it() {
        let (limits, clock) = (Limits::default(), Clock::new(Duration::MAX));
        let order = Order { configuration: 1, limits, make: Make::Image };
        let started = Process::start(Path::new("/nowhere/dpfw"), &order, 0, &clock);
        assert!(matches!(started.err(), Some(Cause::Busy { .. })));
    }
}
