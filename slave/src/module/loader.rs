//! The loader's thread: looks modules up in the cache, and makes those of bytes that are
//! not there.
//!
//! Owns: nothing but its turn; what it finds out it tells [`Modules`]. Invariant: a panic
//! while a module is made is that module's error.

use super::cache::{Artifact, Cache};
use super::facts::Facts;
use super::load::{Modules, Release, Work};
use super::warm::{Warmed, warm};
use crate::engine::Engines;
use crate::limits::Limits;
use crate::slot::internal;
use crate::{sandbox, scarce};
use dpfw_protocol::error::Cause;
use dpfw_protocol::ids::ModuleHash;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Instant;
use wasmtime::Engine;

/// The loader's thread.
pub(super) struct Loader {
    pub(super) modules: Arc<Modules>,
    pub(super) engines: Engines,
    pub(super) limits: Limits,
    pub(super) cache: Cache,
    pub(super) release: Release,
}

impl Loader {
    /// The next work; meanwhile nobody waits for ever for a master that does not answer.
    fn next(&self, work: &Receiver<Work>) -> Option<Work> {
        loop {
            let next = match self.modules.ask_others() {
                None => return work.recv().ok(),
                Some(left) => work.recv_timeout(left),
            };
            match next {
                Ok(work) => return Some(work),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return None,
            }
        }
    }

    /// Does one piece of work; `None` if a module is not in the cache.
    fn work(
        &self,
        work: Work,
        compiler: Result<&Engine, &Cause>,
    ) -> Option<Result<Artifact, Cause>> {
        let (hash, bytes) = match work {
            Work::Look(hash) => return self.cache.get(hash).map(Ok),
            Work::Load(hash, bytes) => (hash, bytes),
        };
        Some(compiler.map_err(Clone::clone).and_then(|compiler| {
            build(&self.engines, &self.limits, &self.cache, compiler, hash, &bytes)
        }))
    }

    pub(super) fn run(&self, work: &Receiver<Work>) {
        let compiler = self.engines.pooled();
        while let Some(work) = self.next(work).filter(|_| !self.modules.has_stopped()) {
            let hash = match &work {
                Work::Look(hash) | Work::Load(hash, _) => *hash,
            };
            let done = catch_unwind(AssertUnwindSafe(|| self.work(work, compiler.as_ref())));
            let Some(outcome) = done.unwrap_or_else(|panic| Some(Err(internal(&*panic)))) else {
                self.modules.not_cached(hash);
                continue;
            };
            if let Err(cause) = &outcome {
                tracing::info!(module = %hash, %cause, "a module is refused");
            }
            self.modules.decided(hash, outcome, &self.release);
        }
    }
}

/// Makes a module of bytes what tasks can run: looked at, warmed, compiled, kept.
///
/// # Errors
/// The [`Cause`] with which it is refused.
pub(crate) fn build(
    engines: &Engines,
    limits: &Limits,
    cache: &Cache,
    compiler: &Engine,
    hash: ModuleHash,
    wasm: &[u8],
) -> Result<Artifact, Cause> {
    let started = Instant::now();
    let facts = Facts::of(wasm, limits)?;
    sandbox::imports::check(&facts)?;
    let (compiled, warmed) = match warm(engines, wasm, &facts, limits)? {
        Warmed::Snapshot(snapshot) => (compile(compiler, &snapshot)?, true),
        Warmed::Nothing => (compile(compiler, wasm)?, true),
        Warmed::Not(why) => {
            tracing::warn!(module = %hash, why, "a module is not warmed: its tasks start slower");
            (compile(compiler, wasm)?, false)
        }
    };
    let stored = cache.put(hash, facts, warmed, &compiled);
    let elapsed = started.elapsed();
    tracing::info!(module = %hash, bytes = wasm.len(), ?elapsed, warmed, "module loaded");
    stored.map_err(|error| scarce::cause_of_io("compiled code cannot be kept", &error))
}

fn compile(engine: &Engine, wasm: &[u8]) -> Result<Vec<u8>, Cause> {
    engine.precompile_module(wasm).map_err(|error| match scarce::is_scarce(&error) {
        true => scarce::cause("it does not compile", &error),
        false => Cause::Rejected { reason: format!("it does not compile: {error:#}") },
    })
}
