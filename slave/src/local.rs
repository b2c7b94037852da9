//! Tasks on the calling thread, without any link: to try a guest, and to measure what a
//! sandbox costs by itself.

use crate::core::Core;
use crate::engine::{Engines, Pools, Scan};
use crate::job::{Bound, Target};
use crate::limits::Limits;
use crate::module::cache::Cache;
use crate::module::code::CodeId;
use crate::module::confine::Place;
use crate::module::load::Loaded;
use crate::module::loader::build;
use crate::sandbox::host::{Allowance, Holder, Host, Lent};
use crate::sandbox::prepared::{Prepared, SlotEngines};
use crate::sandbox::run::put::Args;
use crate::sandbox::run::{Ended, Sandbox};
use crate::session::Session;
use crate::watch::Watch;
use dpfw_link::{Outbox, identity};
use dpfw_protocol::error::Cause;
use dpfw_protocol::ids::{AttemptId, BindId, ModuleHash};
use dpfw_protocol::message::Bind;
use std::sync::Arc;
use std::time::Instant;

mod resident;

pub use resident::LocalResident;

/// A module whose tasks run on the calling thread, each in a fresh sandbox.
///
/// There is no deadline and nobody to cancel: a guest that does not return does not return.
/// What it logs goes nowhere.
pub struct Local {
    alone: Alone,
    hash: ModuleHash,
    module: Arc<Loaded>,
    engines: SlotEngines,
    /// Keeps the compiled code on disk.
    _cache: Cache,
}

/// What a sandbox needs of a slave, without any.
pub(crate) struct Alone {
    pub(crate) engines: Engines,
    lent: Arc<Lent>,
    watch: Arc<Watch>,
    session: Arc<Session>,
}

impl Alone {
    /// # Errors
    /// The [`Cause`] if this machine has no engine, or these limits are none.
    pub(crate) fn new(limits: Limits) -> Result<Self, Cause> {
        limits.check().map_err(|e| Cause::Internal { message: e.to_string() })?;
        let engines = Engines::with_pools(limits, Scan::default(), Pools::ALONE);
        let core = Arc::new(Core::new(limits, engines, 1).map_err(internal)?);
        let watch = Arc::<Watch>::default();
        let lent = Arc::new(Lent { core, holder: Holder::Slot(Arc::clone(&watch)) });
        let session = Arc::new(Session::detached(identity("local").peer, Outbox::nowhere()));
        Ok(Self { engines, lent, watch, session })
    }

    /// The host's side of a sandbox.
    pub(crate) fn host(&self) -> Host {
        let left = Allowance::of(&self.lent.core.limits.granted(None));
        Host::new(&self.lent, &self.session, AttemptId(1), left)
    }
}

fn internal(error: std::io::Error) -> Cause {
    Cause::Internal { message: error.to_string() }
}

/// A task of a [`Local`] module, found.
pub struct LocalTask {
    target: Target,
    prepared: Arc<Prepared>,
}

impl Local {
    /// Loads a module as a slave does: checked, warmed, compiled.
    ///
    /// # Errors
    /// The [`Cause`] with which a slave would refuse it.
    pub fn new(wasm: &[u8], limits: Limits) -> Result<Self, Cause> {
        let alone = Alone::new(limits)?;
        let engines = alone.engines;
        let cache = Cache::temporary().map_err(internal)?;
        let hash = ModuleHash::of(wasm);
        let artifact = build(&engines, &limits, &cache, Place::Here, CodeId::Module(hash), wasm)?;
        let engines = SlotEngines::new(engines)?;
        let module = Arc::new(Loaded::new(0, CodeId::Module(hash), artifact));
        Ok(Self { alone, hash, module, engines, _cache: cache })
    }

    /// Finds a task, or a plain module's function.
    ///
    /// # Errors
    /// [`Cause::MissingTask`] if there is none of that name.
    pub fn task(&mut self, name: &str) -> Result<LocalTask, Cause> {
        let prepared = self.engines.prepare(&self.module)?;
        let bind = Bind { bind: BindId(0), module: self.hash, task: name.into(), expects: None };
        let target = Bound::new(bind).find(Arc::clone(&self.module), None).clone()?;
        Ok(LocalTask { target, prepared })
    }

    /// Runs a task with encoded arguments; gives the encoded result.
    ///
    /// # Errors
    /// The [`Cause`] that a caller would get.
    pub fn call(&self, task: &LocalTask, args: &[u8]) -> Result<Vec<u8>, Cause> {
        let Alone { lent, watch, session, .. } = &self.alone;
        let (engine, time) = (&task.prepared.engine, lent.core.limits.time);
        watch.enter(session, AttemptId(1), engine, Instant::now(), None, time);
        let mut sandbox = self.sandbox(&task.prepared)?;
        let result = match sandbox.call(task.target.function, Args::Part(args)) {
            Ended::Returned(returned) => {
                let mut out = Vec::new();
                sandbox.result(&returned)?.append_to(&mut out);
                Ok(out)
            }
            Ended::Broken(error) => Err(sandbox.cause(&error, None)),
            Ended::Refused(cause) => Err(cause),
        };
        watch.leave();
        if result.is_ok() {
            self.engines.keep(sandbox, self.alone.host());
        }
        result
    }

    /// How many sandboxes wait to be used again.
    #[cfg(test)]
    pub(crate) fn spares(&self) -> usize {
        self.engines.spares().len()
    }

    /// The module in this thread's engine.
    pub(crate) fn prepare(&mut self) -> Result<Arc<Prepared>, Cause> {
        self.engines.prepare(&self.module)
    }

    /// The names of what can be called, in the order of [`Prepared::functions`].
    pub(crate) fn functions(&self) -> &[String] {
        &self.module.facts().functions
    }

    /// A fresh sandbox.
    pub(crate) fn sandbox(&self, prepared: &Arc<Prepared>) -> Result<Sandbox, Cause> {
        self.engines.sandbox(prepared, self.alone.host(), || None)
    }
}

impl std::fmt::Debug for Local {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Local")
    }
}

impl std::fmt::Debug for LocalTask {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("LocalTask")
    }
}
