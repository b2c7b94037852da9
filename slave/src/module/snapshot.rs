//! Taking the memory of an instance, as a module that starts from it.
//!
//! Owns: wizer's part. Invariants: what wizer does not support, and asserts, is an error here; an
//! instance is gone as soon as its memory was read, before wizer makes its copies.

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

    /// The module as it is when it starts from this instance, which is the only one of the
    /// store, and is gone with it.
    ///
    /// # Errors
    /// Why it cannot be taken.
    pub(crate) fn take<T: Send>(
        &self,
        mut store: Store<T>,
        instance: Instance,
    ) -> wasmtime::Result<Vec<u8>> {
        let exports = instance.exports(&mut store);
        let memories = exports.filter(|export| export.name().starts_with(MEMORIES)).count();
        let reads = memories * PASSES;
        let mut state = State { live: Some((store, instance)), memories, reads };
        let mut taking = pin!(self.wizer.snapshot(&self.context, &mut state));
        // Nothing in it waits: the state is at hand.
        match taking.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(snapshot) => snapshot,
            Poll::Pending => Err(wasmtime::Error::msg("the snapshot waited for something")),
        }
    }
}

/// What wizer calls the memories that it reads.
const MEMORIES: &str = "__wizer_memory_";

/// How often wizer reads each memory: for where it is not zero, then for what is there.
const PASSES: usize = 2;

/// Bytes that are taken together if one of them is not zero. wizer looks at each byte, and notes
/// where zeros begin and end: of numbers of 8 bytes that are small it would note more than it
/// then takes, several times over.
const GRAIN: usize = 4096;

/// A memory as wizer is to see it when it looks for what is not zero.
fn grains(memory: &[u8]) -> Vec<u8> {
    // Of zeros only what is written to is ever backed.
    let mut seen = vec![0; memory.len()];
    for (seen, memory) in seen.chunks_mut(GRAIN).zip(memory.chunks(GRAIN)) {
        if memory.iter().any(|byte| *byte != 0) {
            seen.fill(1);
        }
    }
    seen
}

/// What wizer reads of the instance.
struct State<T: 'static> {
    /// Gone when its memories were read for the last time.
    live: Option<(Store<T>, Instance)>,
    /// How many there are, and how often they are read before that.
    memories: usize,
    reads: usize,
}

impl<T: Send> InstanceState for State<T> {
    async fn global_get(&mut self, name: &str, _: ValType) -> SnapshotVal {
        let global = self.live.as_mut().and_then(|(store, instance)| {
            let global = instance.get_global(&mut *store, name)?;
            Some(global.get(store))
        });
        match global {
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
        let Some((store, instance)) = self.live.as_mut() else {
            // Contained, too: taken for an empty memory it would be a false image.
            panic!("wizer reads a memory more often than it did");
        };
        match instance.get_memory(&mut *store, name) {
            Some(memory) if self.reads > self.memories => contents(&grains(memory.data(&*store))),
            Some(memory) => contents(memory.data(&*store)),
            None => contents(&[]),
        }
        self.reads = self.reads.saturating_sub(1);
        if self.reads == 0 {
            self.live = None;
        }
    }
}
