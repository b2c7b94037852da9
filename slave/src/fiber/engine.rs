//! The engine of those who wait, and the modules that are mapped into it.
//!
//! All slots share it, for one that waits goes on in whichever slot is free. What sharing
//! costs is little beside what waiting costs. Invariant: it is made when the first attempt of
//! its kind comes, so that slaves without any do not pay for it.

use crate::engine::Engines;
use crate::job::Target;
use crate::module::facts::Kind;
use crate::module::load::Loaded;
use crate::program::run::Prepared as Program;
use crate::program::wasi::{self, State};
use crate::sandbox::host::Host;
use crate::sandbox::imports;
use crate::sandbox::prepared::Prepared as Task;
use crate::{raw, scarce};
use dpfw_protocol::error::Cause;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};
use wasmtime::{Engine, Linker};

/// A module whose imports are resolved.
#[derive(Clone)]
pub(super) enum Ready {
    Program(Arc<Program>),
    Task(Arc<Task>),
}

impl Ready {
    /// The engine that it is mapped into.
    pub(super) fn engine(&self) -> &Engine {
        match self {
            Self::Program(program) => &program.engine,
            Self::Task(task) => &task.engine,
        }
    }
}

/// The engines of those who wait, made when they are needed.
#[derive(Default)]
pub(super) struct FiberEngines {
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    pooled: Option<Home>,
    /// For modules that do not fit the pool.
    on_demand: Option<Home>,
    /// By the module's number, and whether it has directories; those that the slave has let go are
    /// dropped when another one is prepared.
    ready: HashMap<(usize, bool), (Weak<Loaded>, Ready)>,
}

/// An engine, and what its guests may import.
struct Home {
    engine: Engine,
    programs: Linker<State>,
    tasks: Linker<Host>,
    /// The same for those that were granted directories; made when the first comes.
    with_directories: OnceLock<Linker<Host>>,
}

fn internal(error: wasmtime::Error) -> Cause {
    scarce::cause("the module cannot be mapped", &error)
}

impl Home {
    fn new(engine: Engine) -> Result<Self, Cause> {
        let (mut programs, mut tasks) = (Linker::new(&engine), Linker::new(&engine));
        wasi::link(&mut programs).map_err(internal)?;
        imports::link_waiting(&mut tasks).map_err(internal)?;
        Ok(Self { engine, programs, tasks, with_directories: OnceLock::new() })
    }

    fn tasks(&self, target: &Target) -> Result<&Linker<Host>, Cause> {
        match target.has_directories() {
            false => Ok(&self.tasks),
            true => imports::with_directories(&self.with_directories, &self.engine),
        }
    }

    fn prepare(&self, target: &Target) -> Result<Ready, Cause> {
        let module = &target.module;
        if module.facts().kind == Kind::Task {
            let task = Task::new(&self.engine, self.tasks(target)?, module, None)?;
            return Ok(Ready::Task(Arc::new(task)));
        }
        let code = raw::map(&self.engine, &module.artifact).map_err(internal)?;
        let rejected = |e: wasmtime::Error| Cause::Rejected { reason: format!("{e:#}") };
        let instances = self.programs.instantiate_pre(&code).map_err(rejected)?;
        Ok(Ready::Program(Arc::new(Program { engine: self.engine.clone(), instances })))
    }
}

fn made(
    place: &mut Option<Home>,
    make: impl FnOnce() -> Result<Engine, Cause>,
) -> Result<&Home, Cause> {
    if place.is_none() {
        *place = Some(Home::new(make()?)?);
    }
    place.as_ref().ok_or_else(|| Cause::Internal { message: "there is no engine".into() })
}

impl FiberEngines {
    /// The module, mapped when it first comes.
    pub(super) fn prepare(&self, engines: &Engines, target: &Target) -> Result<Ready, Cause> {
        let module = &target.module;
        let key = (module.number, target.has_directories());
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let inner = &mut *inner;
        if let Some((_, ready)) = inner.ready.get(&key) {
            return Ok(ready.clone());
        }
        let home = match module.facts().pooled {
            true => made(&mut inner.pooled, || engines.waiting())?,
            false => made(&mut inner.on_demand, || engines.on_demand())?,
        };
        let ready = home.prepare(target)?;
        inner.ready.retain(|_, (module, _)| module.strong_count() > 0);
        inner.ready.insert(key, (Arc::downgrade(module), ready.clone()));
        Ok(ready)
    }
}

impl std::fmt::Debug for FiberEngines {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("FiberEngines")
    }
}
