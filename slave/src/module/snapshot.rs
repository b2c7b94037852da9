//! Taking the memory of an instance, as a module that starts from it.
//!
//! Owns: wizer's part. Invariant: what wizer does not support, and asserts, is an error here.

use super::compile::has_expired;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use wasmtime::{Instance, Store, Val};
use wasmtime_wizer::{InstanceState, ModuleContext, SnapshotVal, ValType, Wizer};

/// A module whose instances can be taken.
pub(crate) struct Takeable<'a> {
    wizer: Wizer,
    context: ModuleContext<'a>,
    /// What is to be instantiated instead of the module.
    pub(crate) wasm: Vec<u8>,
}

/// Does what may assert; why not, if it did.
pub(super) fn contained<T>(
    what: &str,
    work: impl FnOnce() -> wasmtime::Result<T>,
) -> Result<T, String> {
    match catch_unwind(AssertUnwindSafe(work)) {
        Ok(outcome) => outcome.map_err(|error| format!("{error:#}")),
        // Whoever makes the module knows that its time is over.
        Err(panic) if has_expired(&*panic) => resume_unwind(panic),
        Err(_) => Err(format!("{what} failed")),
    }
}

impl<'a> Takeable<'a> {
    /// Prepares a module.
    ///
    /// # Errors
    /// Why its instances cannot be taken.
    pub(super) fn new(wasm: &'a [u8]) -> wasmtime::Result<Self> {
        let mut wizer = Wizer::new();
        wizer.init_func("dpfw_warm");
        let (context, wasm) = wizer.instrument(wasm)?;
        Ok(Self { wizer, context, wasm })
    }

    /// The module as it is when it starts from this instance.
    ///
    /// # Errors
    /// Why it cannot be taken.
    pub(crate) fn take<T: Send>(
        &self,
        store: &mut Store<T>,
        instance: Instance,
    ) -> wasmtime::Result<Vec<u8>> {
        let mut state = State { store, instance };
        let mut taking = pin!(self.wizer.snapshot(&self.context, &mut state));
        // Nothing in it waits: the state is at hand.
        match taking.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(snapshot) => snapshot,
            Poll::Pending => Err(wasmtime::Error::msg("the snapshot waited for something")),
        }
    }
}

/// What wizer reads of the instance.
struct State<'a, T: 'static> {
    store: &'a mut Store<T>,
    instance: Instance,
}

impl<T: Send> InstanceState for State<'_, T> {
    async fn global_get(&mut self, name: &str, _: ValType) -> SnapshotVal {
        let global = self.instance.get_global(&mut *self.store, name);
        match global.map(|g| g.get(&mut *self.store)) {
            Some(Val::I32(x)) => SnapshotVal::I32(x),
            Some(Val::I64(x)) => SnapshotVal::I64(x),
            Some(Val::F32(x)) => SnapshotVal::F32(x),
            Some(Val::F64(x)) => SnapshotVal::F64(x),
            Some(Val::V128(x)) => SnapshotVal::V128(x.as_u128()),
            // Contained where the snapshot is taken; wizer's contract leaves no other way.
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
