//! How a slave is to be.

use crate::audit::{Audit, AuditError};
use crate::core::Core;
use crate::describe::AGENT;
use crate::engine::{Engines, Scan};
use crate::grants::{Grants, GrantsError, Opened};
use crate::limits::{Limits, LimitsError};
use crate::module::cache::Cache;
use crate::module::confine::{Confine, Confinement, NO_PROGRAM, child};
use crate::module::load::{Modules, Release};
use crate::slave::Slave;
use crate::store::DirectoryError;
use dpfw_link::security::{Security, SecurityError, Tls};
use dpfw_link::{identity, user_directory};
use dpfw_protocol::error::Cause;
use dpfw_protocol::hello::{Features, Hello, Identity, Namespace, PeerLimits, Role};
use dpfw_protocol::ids::PeerId;
use dpfw_protocol::limits::{MAX_SLOTS, PROTOCOL};
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

/// How a slave is to be.
#[derive(Clone, Debug, Default)]
pub struct Builder {
    slots: Option<usize>,
    limits: Limits,
    name: Option<PeerId>,
    cache: Kept,
    cache_bytes: Option<u64>,
    image_names: Option<bool>,
    store: Option<PathBuf>,
    security: Security,
    grants: Grants,
    drain: Option<Duration>,
    trusted: Vec<PeerId>,
    audit: Option<Audit>,
    scan: Scan,
    confine: Confine,
    compiler: Option<PathBuf>,
}

/// Where compiled modules are kept.
#[derive(Clone, Debug, Default)]
enum Kept {
    /// In [`cache_directory`].
    #[default]
    Usual,
    In(PathBuf),
    /// Not beyond the slave's end.
    Nowhere,
}

/// A slave cannot be.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The system lacks something: descriptors, threads, a place for compiled code.
    #[error("the slave cannot start: {0}")]
    Io(#[from] io::Error),
    /// There is no wasm engine.
    #[error("the slave cannot start: {0}")]
    Engine(Cause),
    /// Nothing could run within its limits.
    #[error("the slave cannot start: {0}")]
    Limits(#[from] LimitsError),
    /// Compiling is to be confined, and there is no program for it.
    #[error("the slave cannot start: {NO_PROGRAM}")]
    NoCompiler,
    /// Its store's directory cannot be used.
    #[error("the slave cannot start: {0}")]
    Store(#[from] DirectoryError),
    /// Its certificate is not a slave's.
    #[error("the slave cannot start: {0}")]
    Security(#[from] SecurityError),
    /// Its guests cannot be granted what they were to be.
    #[error("the slave cannot start: {0}")]
    Grants(#[from] GrantsError),
    /// Its audit log cannot be kept.
    #[error("the slave cannot start: {0}")]
    Audit(#[from] AuditError),
    /// It was to have no slot, or more than it can have.
    #[error("a slave has 1 to {MAX_SLOTS} slots, not {0}")]
    Slots(usize),
}

/// Where compiled modules are kept unless told otherwise: `dpfw` in the user's cache
/// directory (`$XDG_CACHE_HOME`, or `.cache` at home).
pub fn cache_directory() -> Option<PathBuf> {
    Some(user_directory("XDG_CACHE_HOME", ".cache")?.join("dpfw"))
}

impl Builder {
    /// How many tasks run at once: as many as there are cores unless told otherwise.
    pub fn slots(mut self, slots: usize) -> Self {
        self.slots = Some(slots);
        self
    }

    /// What guests and masters may use.
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// The slave's name in logs and errors; one is made up unless told otherwise. With a
    /// certificate it is the one in it.
    pub fn name(mut self, name: PeerId) -> Self {
        self.name = Some(name);
        self
    }

    /// Where compiled modules are kept; see [`cache_directory`].
    pub fn cache(mut self, directory: impl Into<PathBuf>) -> Self {
        self.cache = Kept::In(directory.into());
        self
    }

    /// How many bytes of compiled modules and images are kept, of all slaves that keep them in the
    /// same directory: 4 GiB unless told otherwise. What was not used for longest goes first; what
    /// is in use stays whole in memory.
    pub fn cache_bytes(mut self, bytes: u64) -> Self {
        self.cache_bytes = Some(bytes);
        self
    }

    /// Compiled modules are not kept beyond the slave's end.
    pub fn no_cache(mut self) -> Self {
        self.cache = Kept::Nowhere;
        self
    }

    /// Whether images have their names again after a restart, where what they are compiled to is
    /// kept: unless told otherwise those of a slave that has a name of its own have. Slaves that
    /// share a cache, and a name, or have none, share these as well.
    pub fn keep_image_names(mut self, keep: bool) -> Self {
        self.image_names = Some(keep);
        self
    }

    /// Where the values of the keyed store are kept, and are there again after a restart: a
    /// directory of this user's own, made if there is none. Unless told otherwise all is in
    /// memory, and ends with the slave.
    ///
    /// A change is on disk within a second, and a durable one before it is answered. Another slave
    /// cannot have the directory meanwhile.
    pub fn store(mut self, directory: impl Into<PathBuf>) -> Self {
        self.store = Some(directory.into());
        self
    }

    /// How links that are listened for and dialled are secured: by the user's token, on this
    /// machine alone, unless told otherwise.
    pub fn security(mut self, security: Security) -> Self {
        self.security = security;
        self
    }

    /// What guests are granted of the world outside: nothing unless told. Its directories are
    /// opened, and its variables read, when the slave starts.
    pub fn grants(mut self, grants: Grants) -> Self {
        self.grants = grants;
        self
    }

    /// How long a drain that a master asks for waits for what runs, which is interrupted
    /// then: 30 seconds unless told otherwise.
    pub fn drain_limit(mut self, limit: Duration) -> Self {
        self.drain = Some(limit);
        self
    }

    /// Masters that may drain the slave and reserve all of its slots, by the names in their
    /// certificates: none unless told. On links without certificates every master may.
    pub fn trust(mut self, masters: impl IntoIterator<Item = PeerId>) -> Self {
        self.trusted = masters.into_iter().collect();
        self
    }

    /// Keeps an audit log: a line of JSON for each connection, module load, grant used and
    /// refusal. There is none unless told.
    ///
    /// Refusals that are alike are one line with their number, for ten seconds each. What cannot
    /// be written, because the disk is full or does not keep up, is counted, and the count is
    /// written: no link waits for it.
    pub fn audit(mut self, audit: Audit) -> Self {
        self.audit = Some(audit);
        self
    }

    /// Whether sandboxes are put back to their beginning, by what `PAGEMAP_SCAN` says, and used
    /// again, where the kernel has it: so it is unless told otherwise. Without, one is made for each
    /// task, which takes several times as long.
    pub fn pagemap_scan(mut self, scan: bool) -> Self {
        self.scan = if scan { Scan::WherePossible } else { Scan::Never };
        self
    }

    /// When modules are compiled in processes of their own: unless told otherwise, from when the
    /// slave first listens or dials beyond loopback.
    pub fn confine_compiling(mut self, when: Confine) -> Self {
        self.confine = when;
        self
    }

    /// The program that is started for each module whose compiling is confined: one that calls
    /// [`compile_child`](crate::compile_child) first in its `main`, and is of the same version.
    /// Unless told otherwise it is this program, if it has called that.
    pub fn compiler(mut self, program: impl Into<PathBuf>) -> Self {
        self.compiler = Some(program.into());
        self
    }

    /// Starts the slave's threads.
    ///
    /// # Errors
    /// [`StartError`].
    pub fn build(self) -> Result<Slave, StartError> {
        let cores = || std::thread::available_parallelism().map_or(1, usize::from);
        let slots = self.slots.unwrap_or_else(cores);
        if !(1..=MAX_SLOTS as usize).contains(&slots) {
            return Err(StartError::Slots(slots));
        }
        self.limits.check()?;
        if let Some(tls) = self.security.as_tls() {
            tls.check(Role::Slave)?;
        }
        self.grants.check(self.security.is_insecure())?;
        let grants = Opened::new(self.grants)?;
        let engines = Engines::new(self.limits, self.scan);
        let core = Arc::new(Core::granting(self.limits, engines, slots, grants)?);
        if let Some(audit) = &self.audit {
            core.audit.open(audit)?;
        }
        if let Some(directory) = &self.store {
            core.keep_store_in(directory)?;
        }
        if let Some(limit) = self.drain {
            core.drain.set_limit(limit);
        }
        core.trusted.set(self.trusted);
        let configuration = engines.fingerprint().map_err(StartError::Engine)?;
        let cache = match self.cache {
            Kept::Usual => Cache::open(cache_directory().as_deref(), configuration),
            Kept::In(directory) => Cache::open(Some(&directory), configuration),
            Kept::Nowhere => Cache::temporary(),
        }?;
        let cache = match self.cache_bytes {
            Some(bytes) => cache.bounded(bytes),
            None => cache,
        };
        let proved = self.security.as_tls().map(Tls::subject).map(|subject| subject.name);
        let name = proved.or(self.name);
        let cache = match self.image_names.unwrap_or(name.is_some()) {
            true => cache.keep_names_of(name.as_ref().map(PeerId::to_string).unwrap_or_default()),
            false => cache,
        };
        let compiler = self.compiler.or_else(child::program);
        let confinement = Arc::new(Confinement::new(self.confine, compiler, configuration));
        if !confinement.is_possible() {
            return Err(StartError::NoCompiler);
        }
        let release = release(Arc::downgrade(&core));
        let (modules, loader) =
            Modules::start(engines, self.limits, cache, confinement, Arc::clone(&release))?;
        modules.set_core(Arc::downgrade(&core));
        core.set_modules(modules, release);
        core.keep_image_names();
        let mut identity = identity("slave");
        if let Some(name) = name {
            identity.peer = name;
        }
        let hello = Arc::new(hello(identity, &self.limits, slots));
        let threads = Mutex::new(vec![loader]);
        let slave = Slave { core, hello, security: self.security, threads };
        slave.start_threads()?;
        Ok(slave)
    }
}

/// Hands jobs on whose module is decided. The core is not kept alive by it.
fn release(core: Weak<Core>) -> Release {
    Arc::new(move |job, module| {
        if let Some(core) = core.upgrade() {
            core.released(job, module);
        }
    })
}

fn hello(identity: Identity, limits: &Limits, slots: usize) -> Hello {
    let Identity { peer, incarnation, serial } = identity;
    Hello {
        protocol: PROTOCOL,
        role: Role::Slave,
        peer,
        incarnation,
        serial,
        session: None,
        features: Features::default(),
        namespace: Namespace::default(),
        limits: PeerLimits { payload: limits.arguments, ..PeerLimits::default() },
        slots: slots as u32,
        agent: AGENT.into(),
    }
}
