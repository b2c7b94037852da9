//! Warming a module: what it does before its first task is done once, and baked into it.
//!
//! `_initialize` and the guest's warm-up run under limits, the memory is taken as a
//! snapshot, and the result is a module whose sandboxes start where the warm-up ended.
//! Invariant: nothing that has to differ from task to task is baked in; a module that
//! draws randomness, reads a clock or calls anything else while it is warmed is not warmed.

use crate::engine::Engines;
use crate::limits::Limits;
use crate::module::compile::has_expired;
use crate::module::facts::Facts;
use crate::sandbox::limiter::Limiter;
use dpfw_protocol::error::Cause;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;
use wasmtime::{Engine, Extern, ExternType, Func, Instance, Module, Store, Val};
use wasmtime_wizer::{InstanceState, SnapshotVal, ValType, Wizer};

/// What runs before the first call, in this order, where a module exports it.
pub(crate) const RUN_ONCE: [&str; 2] = ["_initialize", "dpfw_warm"];

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
    facts: &Facts,
    limits: &Limits,
) -> Result<Warmed, Cause> {
    if !facts.initialize && !facts.warm {
        return Ok(Warmed::Nothing);
    }
    // Wizer asserts what it does not support.
    let outcome = catch_unwind(AssertUnwindSafe(|| snapshot(engines, wasm, facts, limits)));
    match outcome {
        Ok(Ok(snapshot)) => Ok(Warmed::Snapshot(snapshot)),
        Ok(Err(Failed::Unfit(why))) => Ok(Warmed::Not(why)),
        Ok(Err(Failed::Guest(cause))) => Err(cause),
        // Whoever makes the module knows that its time is over.
        Err(panic) if has_expired(&*panic) => resume_unwind(panic),
        Err(_) => Ok(Warmed::Not("the snapshot failed".into())),
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
    facts: &Facts,
    limits: &Limits,
) -> Result<Vec<u8>, Failed> {
    let mut wizer = Wizer::new();
    wizer.init_func("dpfw_warm");
    let (context, instrumented) = wizer.instrument(wasm).map_err(unfit)?;
    let engine = engines.warming().map_err(Failed::Guest)?;
    let module = Module::new(&engine, &instrumented).map_err(unfit)?;
    let mut store = Store::new(&engine, Limiter::new(limits.memory, limits.table));
    store.limiter(|limiter| limiter);
    store.set_epoch_deadline(1);
    let bell = Bell::ring_after(&engine, limits.warm);
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
    let instance = outcome.map_err(|error| guest_failed(&error, facts, limits))?;
    let mut state = State { store: &mut store, instance };
    let mut taking = pin!(wizer.snapshot(&context, &mut state));
    // Nothing in it waits: the state is at hand.
    match taking.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(snapshot) => snapshot.map_err(unfit),
        Poll::Pending => Err(Failed::Unfit("the snapshot waited for something".into())),
    }
}

/// A guest that calls the host may do better in a task; one that fails by itself will not.
fn guest_failed(error: &wasmtime::Error, facts: &Facts, limits: &Limits) -> Failed {
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
            let what = if facts.warm { "start and warm-up" } else { "start" };
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

/// Interrupts an engine's guest after a time, unless it is dropped before.
pub(crate) struct Bell {
    quiet: Option<std::sync::mpsc::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Bell {
    pub(crate) fn ring_after(engine: &Engine, time: Duration) -> Self {
        // Nothing is ever sent: the sender's end is the message.
        let (quiet, wait) = std::sync::mpsc::channel::<()>();
        let engine = engine.clone();
        let thread = std::thread::Builder::new().name("dpfw-bell".into()).spawn(move || {
            let ended = wait.recv_timeout(time);
            if ended == Err(std::sync::mpsc::RecvTimeoutError::Timeout) {
                engine.increment_epoch();
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

/// What wizer reads of the instance.
struct State<'a> {
    store: &'a mut Store<Limiter>,
    instance: Instance,
}

impl InstanceState for State<'_> {
    async fn global_get(&mut self, name: &str, _: ValType) -> SnapshotVal {
        let global = self.instance.get_global(&mut *self.store, name);
        match global.map(|g| g.get(&mut *self.store)) {
            Some(Val::I32(x)) => SnapshotVal::I32(x),
            Some(Val::I64(x)) => SnapshotVal::I64(x),
            Some(Val::F32(x)) => SnapshotVal::F32(x),
            Some(Val::F64(x)) => SnapshotVal::F64(x),
            Some(Val::V128(x)) => SnapshotVal::V128(x.as_u128()),
            // Contained where the module is warmed; wizer's contract leaves no other way.
            _ => panic!("a global of a type that wizer had refused"),
        }
    }

    async fn memory_contents(&mut self, name: &str, contents: impl FnOnce(&[u8]) + Send) {
        match self.instance.get_memory(&mut *self.store, name) {
            Some(memory) => contents(memory.data(&*self.store)),
            None => contents(&[]),
        }
    }
}
