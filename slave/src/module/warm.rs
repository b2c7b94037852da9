//! Warming a module: what it does before its first task is done once, and baked into it.
//!
//! `_initialize` and the guest's warm-up run under limits, the memory is taken as a
//! snapshot, and the result is a module whose sandboxes start where the warm-up ended.
//! Invariant: nothing that has to differ from task to task is baked in; a module that
//! draws randomness, reads a clock or calls anything else while it is warmed is not warmed.

use crate::engine::Engines;
use crate::limits::Limits;
use crate::module::snapshot::{Takeable, contained};
use crate::sandbox::limiter::Limiter;
use dpfw_protocol::error::Cause;
use serde::{Deserialize, Serialize};
use std::time::Duration;
use wasmtime::{Extern, ExternType, Func, Instance, Module, Store};

/// What runs before the first call, in this order, where a module exports it.
pub(crate) const RUN_ONCE: [&str; 2] = ["_initialize", "dpfw_warm"];

/// What of a module runs before its tasks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct First {
    /// `_initialize` or a start function.
    pub(crate) initialize: bool,
    /// A warm-up of its own.
    pub(crate) warm: bool,
}

impl First {
    pub(crate) fn is_any(self) -> bool {
        self.initialize || self.warm
    }
}

/// A module as its tasks start from it.
pub(crate) enum Warmed {
    /// Its memory is initialised.
    Snapshot(Vec<u8>),
    /// There was nothing to run ahead.
    Nothing,
    /// It cannot be warmed, and why; it is initialised for each task.
    Not(String),
}

/// Warms a module.
///
/// # Errors
/// [`Cause`] if its start or warm-up traps or exceeds a limit: so would every task.
pub(crate) fn warm(
    engines: &Engines,
    wasm: &[u8],
    first: First,
    limits: &Limits,
) -> Result<Warmed, Cause> {
    if !first.is_any() {
        return Ok(Warmed::Nothing);
    }
    match contained("the snapshot", || Ok(snapshot(engines, wasm, first, limits))) {
        Ok(Ok(snapshot)) => Ok(Warmed::Snapshot(snapshot)),
        Ok(Err(Failed::Unfit(why))) | Err(why) => Ok(Warmed::Not(why)),
        Ok(Err(Failed::Guest(cause))) => Err(cause),
    }
}

enum Failed {
    /// It cannot be warmed.
    Unfit(String),
    /// It cannot run at all.
    Guest(Cause),
}

fn unfit(error: wasmtime::Error) -> Failed {
    Failed::Unfit(format!("{error:#}"))
}

fn snapshot(
    engines: &Engines,
    wasm: &[u8],
    first: First,
    limits: &Limits,
) -> Result<Vec<u8>, Failed> {
    let takeable = Takeable::new(wasm).map_err(unfit)?;
    let engine = engines.warming().map_err(Failed::Guest)?;
    let module = Module::new(&engine, &takeable.wasm).map_err(unfit)?;
    let mut store = Store::new(&engine, Limiter::new(limits.memory, limits.table));
    store.limiter(|limiter| limiter);
    store.set_epoch_deadline(1);
    let bell = {
        let engine = engine.clone();
        Bell::ring_after(limits.warm, move || engine.increment_epoch())
    };
    let imports = refuse_all(&mut store, &module);
    let run = |store: &mut Store<Limiter>| -> wasmtime::Result<Instance> {
        let instance = Instance::new(&mut *store, &module, &imports)?;
        for name in RUN_ONCE {
            if let Some(function) = instance.get_func(&mut *store, name) {
                function.typed::<(), ()>(&*store)?.call(&mut *store, ())?;
            }
        }
        Ok(instance)
    };
    let outcome = run(&mut store);
    drop(bell);
    let instance = outcome.map_err(|error| guest_failed(&error, first, limits))?;
    takeable.take(store, instance).map_err(unfit)
}

/// A guest that calls the host may do better in a task; one that fails by itself will not.
fn guest_failed(error: &wasmtime::Error, first: First, limits: &Limits) -> Failed {
    if let Some(Refused(import)) = error.downcast_ref() {
        return Failed::Unfit(format!("it calls {import} while it is warmed"));
    }
    match error.downcast_ref::<wasmtime::Trap>() {
        Some(wasmtime::Trap::Interrupt) => {
            let allowed = limits.warm.as_millis() as u64;
            let limit = dpfw_protocol::error::Limit::Time;
            Failed::Guest(Cause::Limit { limit, allowed })
        }
        _ => {
            let what = if first.warm { "start and warm-up" } else { "start" };
            let reason = format!("its {what} failed: {:#}", error.root_cause());
            Failed::Guest(Cause::Rejected { reason })
        }
    }
}

/// An import was called that does not answer while a module is warmed.
#[derive(Debug, thiserror::Error)]
#[error("{0} is not answered while a module is warmed")]
struct Refused(String);

/// All imports, none of which answers. Others than functions make wizer refuse before.
fn refuse_all(store: &mut Store<Limiter>, module: &Module) -> Vec<Extern> {
    let functions = module.imports().filter_map(|import| match import.ty() {
        ExternType::Func(ty) => Some((format!("{}.{}", import.module(), import.name()), ty)),
        _ => None,
    });
    functions
        .map(|(name, ty)| {
            Func::new(&mut *store, ty, move |_, _, _| Err(Refused(name.clone()).into())).into()
        })
        .collect()
}

/// Does something after a time, unless it is dropped before.
pub(crate) struct Bell {
    quiet: Option<std::sync::mpsc::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Bell {
    pub(crate) fn ring_after(time: Duration, ring: impl FnOnce() + Send + 'static) -> Self {
        // Nothing is ever sent: the sender's end is the message.
        let (quiet, wait) = std::sync::mpsc::channel::<()>();
        let thread = std::thread::Builder::new().name("dpfw-bell".into()).spawn(move || {
            let ended = wait.recv_timeout(time);
            if ended == Err(std::sync::mpsc::RecvTimeoutError::Timeout) {
                ring();
            }
        });
        Self { quiet: Some(quiet), thread: thread.ok() }
    }
}

impl Drop for Bell {
    fn drop(&mut self) {
        self.quiet.take();
        if let Some(thread) = self.thread.take() {
            // It ends as soon as the sender is gone.
            let _ = thread.join();
        }
    }
}
