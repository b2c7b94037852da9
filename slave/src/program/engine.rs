//! The engine of programs, and the modules that are mapped into it.
//!
//! All slots share it, for a program that waits goes on in whichever slot is free. What
//! sharing costs is little beside what a program costs. Invariant: it is made when the first
//! program comes, so that slaves without programs do not pay for it.

use super::wasi::{State, link};
use crate::engine::Engines;
use crate::module::load::Loaded;
use crate::{raw, scarce};
use dpfw_protocol::error::Cause;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use wasmtime::{Engine, InstancePre, Linker};

/// A module whose imports are resolved.
pub(super) struct Prepared {
    pub(super) engine: Engine,
    pub(super) instances: InstancePre<State>,
}

/// The engines of programs, made when they are needed.
#[derive(Default)]
pub(super) struct ProgramEngines {
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    pooled: Option<(Engine, Linker<State>)>,
    /// For modules that do not fit the pool.
    on_demand: Option<(Engine, Linker<State>)>,
    /// By the module's number; those that the slave has let go are dropped when another one
    /// is prepared.
    prepared: HashMap<usize, (Weak<Loaded>, Arc<Prepared>)>,
}

fn internal(error: wasmtime::Error) -> Cause {
    scarce::cause("the program cannot be mapped", &error)
}

fn made(
    place: &mut Option<(Engine, Linker<State>)>,
    make: impl FnOnce() -> Result<Engine, Cause>,
) -> Result<&(Engine, Linker<State>), Cause> {
    if place.is_none() {
        let engine = make()?;
        let mut linker = Linker::new(&engine);
        link(&mut linker).map_err(internal)?;
        *place = Some((engine, linker));
    }
    place.as_ref().ok_or_else(|| Cause::Internal { message: "there is no engine".into() })
}

impl ProgramEngines {
    /// The module, mapped when it first comes.
    pub(super) fn prepare(
        &self,
        engines: &Engines,
        module: &Arc<Loaded>,
    ) -> Result<Arc<Prepared>, Cause> {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let inner = &mut *inner;
        if let Some((_, prepared)) = inner.prepared.get(&module.number) {
            return Ok(Arc::clone(prepared));
        }
        let (engine, linker) = match module.facts().pooled {
            true => made(&mut inner.pooled, || engines.programs())?,
            false => made(&mut inner.on_demand, || engines.on_demand())?,
        };
        let code = raw::map(engine, &module.artifact).map_err(internal)?;
        let rejected = |e: wasmtime::Error| Cause::Rejected { reason: format!("{e:#}") };
        let instances = linker.instantiate_pre(&code).map_err(rejected)?;
        let prepared = Arc::new(Prepared { engine: engine.clone(), instances });
        inner.prepared.retain(|_, (module, _)| module.strong_count() > 0);
        let kept = (Arc::downgrade(module), Arc::clone(&prepared));
        inner.prepared.insert(module.number, kept);
        Ok(prepared)
    }
}

impl std::fmt::Debug for ProgramEngines {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ProgramEngines")
    }
}
