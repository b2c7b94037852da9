//! What comes out only when a module runs.
//!
//! Invariant: nothing runs for longer than [`PATIENCE`], and each try has a sandbox of its own.

use super::Problem;
use crate::limits::Limits;
use crate::local::Local;
use crate::module::facts::Kind;
use crate::module::warm::Bell;
use crate::sandbox::prepared::Prepared;
use crate::sandbox::run::put::Args;
use crate::sandbox::run::{Ended, Sandbox};
use dpfw_protocol::error::Cause;
use std::sync::Arc;
use std::time::Duration;

/// How long a guest may think about what is no arguments.
const PATIENCE: Duration = Duration::from_secs(1);

/// Tasks that are called; a module with more has them from the same macro.
const MOST: usize = 64;

/// Lengths that arguments have: the least, odd ones, one beyond a page, and a large one.
const LENGTHS: [usize; 5] = [1, 3, 1000, 65_537, 1 << 20];

/// A byte that MessagePack never uses: nothing that reads arguments takes it for one.
const NO_ARGUMENTS: [u8; 1] = [0xc1];

/// Loads a module as a slave does, and tries it.
pub(super) fn of(wasm: &[u8], limits: Limits, kind: Kind) -> Vec<Problem> {
    if kind == Kind::Program {
        return Vec::new();
    }
    let loaded = Local::new(wasm, limits).and_then(|mut local| Ok((local.prepare()?, local)));
    match loaded {
        Ok((prepared, local)) if kind == Kind::Task => match room(&local, &prepared) {
            // What has no room for arguments cannot be called.
            Some(problem) => vec![problem],
            None => tasks(&local, &prepared),
        },
        Ok(_) => Vec::new(),
        Err(cause) => {
            vec![Problem::new(cause.to_string(), "a slave refuses it with the same words")]
        }
    }
}

/// Asks for room, as for arguments of several lengths.
fn room(local: &Local, prepared: &Arc<Prepared>) -> Option<Problem> {
    // The larger ones would fail as well.
    LENGTHS.into_iter().find_map(|len| {
        let room = |sandbox: &mut Sandbox| match sandbox.put(Args::Part(&vec![0; len])) {
            Ok(_) => Ok(()),
            Err(error) => Err(sandbox.cause(&error, None)),
        };
        let cause = within(local, prepared, room).err()?;
        Some(Problem::new(
            format!("`dpfw_alloc` has no room for arguments of {len} bytes: {}", told(&cause)),
            "give the address of so many bytes within the memory; grow the memory if need be",
        ))
    })
}

/// Calls the tasks with what is no arguments: all that a task may do with them is refuse them.
fn tasks(local: &Local, prepared: &Arc<Prepared>) -> Vec<Problem> {
    let call = |index: usize| {
        move |sandbox: &mut Sandbox| match sandbox.call(index, Args::Part(&NO_ARGUMENTS)) {
            Ended::Returned(returned) => sandbox.result(&returned).map(drop),
            Ended::Broken(error) => Err(sandbox.cause(&error, None)),
            Ended::Refused(cause) => Err(cause),
        }
    };
    let one = |(index, name): (usize, &String)| match within(local, prepared, call(index)) {
        // One that takes no arguments need not look at them.
        Ok(()) | Err(Cause::BadArguments { .. } | Cause::Failed { .. }) => None,
        Err(cause) => Some(Problem::new(
            format!("the task `{name}`, called with what is no arguments: {}", told(&cause)),
            "answer with the tag 2 and the reason as text; arguments come from other machines, \
             and have to be checked before they are used",
        )),
    };
    local.functions().iter().enumerate().take(MOST).filter_map(one).collect()
}

/// Does something in a fresh sandbox, and interrupts it if that takes too long.
fn within(
    local: &Local,
    prepared: &Arc<Prepared>,
    what: impl FnOnce(&mut Sandbox) -> Result<(), Cause>,
) -> Result<(), Cause> {
    let bell = {
        let engine = prepared.engine.clone();
        Bell::ring_after(PATIENCE, move || engine.increment_epoch())
    };
    let outcome = local.sandbox(prepared).and_then(|mut sandbox| what(&mut sandbox));
    drop(bell);
    outcome
}

/// A cause, for somebody who sees no slave and cancelled nothing.
fn told(cause: &Cause) -> String {
    match cause {
        Cause::Cancelled => format!("it did not return within {PATIENCE:?}"),
        cause => cause.to_string(),
    }
}
