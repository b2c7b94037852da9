//! A process that compiles, as it sees itself.
//!
//! Owns: what such a process does from its first instruction to its last. Invariants: it is held to
//! its bounds before it reads a byte; it reads one order, gives one answer, and ends; it ends when
//! its slave does.

use super::bounds::Bounds;
use super::make::Compiled;
use super::message::{self, Answer, Order};
use crate::engine::{Engines, Scan};
use crate::module::compile::{self, Clock};
use crate::module::load::compiler_stack;
use crate::slot::internal;
use dpfw_protocol::error::{Cause, Limit, cut};
use rustix::process::{Signal, set_parent_process_death_signal};
use std::ffi::OsString;
use std::io::{self, Read};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// With what a program is started that is to compile; its bounds follow.
pub(super) const ARGUMENT: &str = "dpfw-compile-child";

/// Whether this program can be started to compile.
static IS_READY: AtomicBool = AtomicBool::new(false);

/// Lets this program be started again to compile modules, confined.
///
/// To be called first in `main`, before there is a thread, a runtime or a parser of arguments. If
/// the process was started by a slave to compile (its first argument then is
/// `dpfw-compile-child`), this compiles and ends the process; otherwise it returns at once, and
/// slaves of this process use its own program for [`Confine`](super::Confine) from now on.
///
/// ```
/// fn main() -> Result<(), Box<dyn std::error::Error>> {
///     dpfw_slave::compile_child();
///     let slave = dpfw_slave::Slave::builder().slots(1).build()?;
///     println!("{} has {} slot", slave.name(), slave.slots());
///     Ok(())
/// }
/// ```
pub fn compile_child() {
    let mut args = std::env::args_os().skip(1);
    if args.next().is_some_and(|first| first == ARGUMENT) {
        // What is wrong is told on its standard error, which its slave reads.
        let code = match run(&args.collect::<Vec<_>>()) {
            Ok(()) => 0,
            Err(error) => {
                eprintln!("{error}");
                1
            }
        };
        std::process::exit(code);
    }
    IS_READY.store(true, Ordering::Relaxed);
}

/// This program, if it can be started to compile: the very file that runs, whatever then has its
/// name.
pub(crate) fn program() -> Option<PathBuf> {
    IS_READY.load(Ordering::Relaxed).then(|| "/proc/self/exe".into())
}

fn run(args: &[OsString]) -> io::Result<()> {
    let wrong = || io::Error::other("slaves start this by themselves: it compiles for one");
    let bounds = Bounds::parse(args).ok_or_else(wrong)?;
    confine(&bounds)?;
    let mut stdin = io::stdin().lock();
    let (order, wasm): (Order, Vec<u8>) = message::read(&mut stdin, bounds.most_code())?;
    drop(stdin);
    // Its slave keeps the pipe open until it was answered. Where the signal was too early, or
    // late, this ends the process as well.
    let end = std::thread::Builder::new().name("dpfw-parent".into()).spawn(|| {
        let _ = io::stdin().lock().read(&mut [0]);
        std::process::exit(1);
    });
    end?;
    let (answer, code) = match contained(|| work(&order, &wasm)) {
        Ok(Compiled { code, cold }) => (Answer::Made { cold: cold.map(cut) }, code),
        Err(cause) => (Answer::Refused(cause.into()), Vec::new()),
    };
    message::write(&mut io::stdout().lock(), &answer, &code)
}

/// Takes from this process what it does not need.
fn confine(bounds: &Bounds) -> io::Result<()> {
    set_parent_process_death_signal(Some(Signal::KILL))?;
    rustix::thread::set_no_new_privs(true)?;
    // Where memory runs out this goes before its slave does. It may be forbidden, and is only good
    // manners.
    let _ = std::fs::write("/proc/self/oom_score_adj", "1000");
    bounds.impose()?;
    // A panic is told to the slave, and to nobody else.
    std::panic::set_hook(Box::new(|_| ()));
    Ok(())
}

/// Compiles, on threads that have the stack for it.
fn work(order: &Order, wasm: &[u8]) -> Result<Compiled, Cause> {
    let limits = &order.limits;
    let engines = Engines::new(*limits, Scan::Never);
    if engines.fingerprint_of_compiler()? != order.configuration {
        let what = "the program that compiles is of another version than the slave";
        return Err(Cause::Busy { what: what.into() });
    }
    // The slave has a clock, and kills.
    let clock = Arc::new(Clock::new(Duration::MAX));
    let no_threads = |e| Cause::Busy { what: format!("there are no threads to compile with: {e}") };
    let pool = compile::threads(&clock, wasm.len(), compiler_stack(limits)).map_err(no_threads)?;
    let made = pool.install(|| {
        order.make.here(&engines, limits, wasm, |len| {
            // If it cannot be lowered it stays what it is.
            let _ = Bounds::without_guest(limits, len).impose_data();
        })
    });
    match made {
        // There is enough here for whatever is within the limits.
        Err(Cause::Busy { .. }) => {
            let (limit, allowed) = (Limit::CompileMemory, limits.compile_memory);
            Err(Cause::Limit { limit, allowed })
        }
        made => made,
    }
}

/// Does what may panic. It is the module that made it panic: nothing else is here.
fn contained(work: impl FnOnce() -> Result<Compiled, Cause>) -> Result<Compiled, Cause> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| {
        let what = match internal(&*panic) {
            Cause::Internal { message } => message,
            other => other.to_string(),
        };
        Err(Cause::Rejected { reason: format!("the compiler panicked on it: {what}") })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn f36_a_panic_of_the_compiler_is_the_modules_refusal() {
        let refused = contained(|| panic!("no such register"));
        let reason = "the compiler panicked on it: no such register".into();
        assert_eq!(refused, Err(Cause::Rejected { reason }));
    }
}
