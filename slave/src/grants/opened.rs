//! Grants that a running slave has open, and what one guest has of them.
//!
//! Owns: the granted directories, opened when the slave starts; which rules apply to whom. Does
//! not: know sandboxes. Invariant: a guest has what applies to its module and its session's
//! master; where nothing does it has no [`Grant`], and costs nothing.

use super::{Budget, Clock, Clocks, Destination, Directory, Grants, GrantsError, Randomness, Rule};
use crate::module::facts::Facts;
use crate::module::load::Loaded;
use crate::sandbox::imports;
use crate::scarce;
use dpfw_protocol::error::Cause;
use dpfw_protocol::ids::{ModuleHash, PeerId};
use dpfw_protocol::message::Origin;
use rustix::fs::{Mode, OFlags};
use std::collections::BTreeMap;
use std::env::VarError;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use wasmtime_wasi::filesystem::WasiFilesystemCtx;
use wasmtime_wasi::{FsPerms, WasiCtxBuilder};

/// See the module's page.
#[derive(Debug, Default)]
pub(crate) struct Opened {
    rules: Vec<OpenRule>,
    /// Connections of all guests.
    connections: Arc<AtomicUsize>,
    /// Files of all guests.
    files: Arc<Budget>,
}

#[derive(Debug)]
struct OpenRule {
    /// As it was written; its variables have their values in `env`.
    rule: Rule,
    env: Vec<(String, String)>,
    /// In the order of the rule's directories.
    directories: Vec<OwnedFd>,
}

/// What one guest was granted.
pub(crate) struct Grant {
    /// Whose guest it is, for whoever is told that it is used.
    pub(crate) module: Option<ModuleHash>,
    pub(crate) env: BTreeMap<String, String>,
    pub(crate) directories: Option<WasiFilesystemCtx>,
    pub(crate) clock: Option<Clock>,
    pub(crate) seed: Option<u64>,
    pub(crate) connect: Vec<Destination>,
    /// Connections of all guests of the slave.
    pub(crate) connections: Arc<AtomicUsize>,
    /// Files of all guests of the slave.
    pub(crate) files: Arc<Budget>,
}

impl Opened {
    /// Opens what is granted.
    ///
    /// # Errors
    /// [`GrantsError`] with the first that cannot be.
    pub(crate) fn new(grants: Grants) -> Result<Self, GrantsError> {
        let rules = grants.rules.into_iter().map(OpenRule::new).collect::<Result<_, _>>()?;
        Ok(Self { rules, connections: Arc::default(), files: Arc::default() })
    }

    /// What tasks of a module or an image have that were sent by this master.
    ///
    /// # Errors
    /// [`Cause::Rejected`] with the name of what the module imports and was not granted;
    /// [`Cause::Busy`] if the system has no room for what was.
    pub(crate) fn of(
        &self,
        loaded: &Loaded,
        module: ModuleHash,
        master: &PeerId,
    ) -> Result<Option<Arc<Grant>>, Cause> {
        let grant = self.grant(Some(master), vouched(loaded, module))?;
        check(loaded.facts(), grant.as_ref())?;
        Ok(grant.map(|grant| Arc::new(Grant { module: Some(module), ..grant })))
    }

    /// What is there while an image of a module is made, which may become many masters'.
    pub(crate) fn of_init(&self, module: ModuleHash) -> Option<Arc<Grant>> {
        let (clock, seed) = self.fixed(None, Some(module));
        (clock.is_some() || seed.is_some())
            .then(|| Arc::new(Grant { clock, seed, ..self.nothing() }))
    }

    fn applying(
        &self,
        master: Option<&PeerId>,
        module: Option<ModuleHash>,
    ) -> impl Iterator<Item = &OpenRule> {
        self.rules.iter().filter(move |open| open.rule.applies(module, master))
    }

    fn fixed(
        &self,
        master: Option<&PeerId>,
        module: Option<ModuleHash>,
    ) -> (Option<Clock>, Option<u64>) {
        let clock = |open: &OpenRule| match open.rule.clocks {
            Clocks::Real => None,
            Clocks::Fixed(seconds) => Some(Clock::at(seconds)),
        };
        let seed = |open: &OpenRule| match open.rule.randomness {
            Randomness::Real => None,
            Randomness::Seed(seed) => Some(seed),
        };
        let rules = || self.applying(master, module);
        (rules().find_map(clock), rules().find_map(seed))
    }

    fn nothing(&self) -> Grant {
        Grant::nothing(Arc::clone(&self.connections), Arc::clone(&self.files))
    }

    fn grant(
        &self,
        master: Option<&PeerId>,
        module: Option<ModuleHash>,
    ) -> Result<Option<Grant>, Cause> {
        if self.applying(master, module).next().is_none() {
            return Ok(None);
        }
        let (clock, seed) = self.fixed(master, module);
        let mut grant = Grant { clock, seed, ..self.nothing() };
        // In this order: the last that is put into the map is that of the first rule.
        for open in self.applying(master, module).collect::<Vec<_>>().into_iter().rev() {
            grant.env.extend(open.env.iter().rev().cloned());
        }
        for open in self.applying(master, module) {
            grant.connect.extend_from_slice(&open.rule.connect);
        }
        let rules = self.applying(master, module);
        let all: Vec<_> =
            rules.flat_map(|it| it.rule.directories.iter().zip(&it.directories)).collect();
        grant.directories = directories(&all)?;
        Ok(Some(grant))
    }
}

/// The module whose code this is for certain: that of an image which a master sent is his word.
fn vouched(loaded: &Loaded, module: ModuleHash) -> Option<ModuleHash> {
    match &loaded.artifact.image {
        None => Some(module),
        Some(image) => (image.origin != Origin::Sent).then_some(image.module),
    }
}

/// Refuses a module that imports what is there only where it is granted.
fn check(facts: &Facts, grant: Option<&Grant>) -> Result<(), Cause> {
    let may_connect = grant.is_some_and(|grant| !grant.connect.is_empty());
    match facts.imports.iter().find(|(module, name)| imports::is_connecting(module, name)) {
        Some((module, name)) if !may_connect => Err(imports::not_granted(module, name)),
        _ => Ok(()),
    }
}

/// The directories, as `wasmtime-wasi` has them: each name once, as it came first, and writable
/// if the same one is granted so by another rule.
fn directories(all: &[(&Directory, &OwnedFd)]) -> Result<Option<WasiFilesystemCtx>, Cause> {
    if all.is_empty() {
        return Ok(None);
    }
    let mut wasi = WasiCtxBuilder::new();
    for (at, (directory, open)) in all.iter().enumerate() {
        if all[..at].iter().any(|(earlier, _)| earlier.guest == directory.guest) {
            continue;
        }
        let same =
            |other: &Directory| (&other.host, &other.guest) == (&directory.host, &directory.guest);
        let is_writable = all.iter().any(|(other, _)| same(other) && other.writable);
        let permissions = if is_writable { FsPerms::ReadWrite } else { FsPerms::ReadOnly };
        // The one that was opened at the start, whatever has its name by now.
        let path = format!("/proc/self/fd/{}", open.as_raw_fd());
        wasi.preopened_dir(path, &directory.guest, permissions)
            .map_err(|error| scarce::cause("a granted directory cannot be opened", &error))?;
    }
    Ok(Some(wasi.build().filesystem().clone()))
}

impl OpenRule {
    fn new(rule: Rule) -> Result<Self, GrantsError> {
        let mut env = Vec::new();
        for variable in &rule.env {
            let own = || match std::env::var(&variable.name) {
                Ok(value) => Ok(Some(value)),
                Err(VarError::NotPresent) => Ok(None),
                Err(VarError::NotUnicode(_)) => Err(variable.name.clone()),
            };
            let value = match &variable.value {
                Some(value) => Some(value.clone()),
                None => own().map_err(|name| GrantsError::Variable { name })?,
            };
            match value {
                Some(value) => env.push((variable.name.clone(), value)),
                None => tracing::warn!(name = variable.name, "a granted variable is not set"),
            }
        }
        let directories = rule.directories.iter().map(open).collect::<Result<_, _>>()?;
        Ok(Self { rule, env, directories })
    }
}

fn open(directory: &Directory) -> Result<OwnedFd, GrantsError> {
    let Directory { host, guest, .. } = directory;
    if !host.is_absolute() || guest.is_empty() || guest.contains('\0') {
        return Err(GrantsError::Path { path: host.clone(), guest: guest.clone() });
    }
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let failed =
        |error| GrantsError::Directory { path: host.clone(), source: io::Error::from(error) };
    rustix::fs::open(host, flags, Mode::empty()).map_err(failed)
}

impl Grant {
    fn nothing(connections: Arc<AtomicUsize>, files: Arc<Budget>) -> Self {
        Self {
            module: None,
            env: BTreeMap::new(),
            directories: None,
            clock: None,
            seed: None,
            connect: Vec::new(),
            connections,
            files,
        }
    }

    /// Whether a guest may connect there.
    pub(crate) fn may_connect(&self, host: &str, port: u16) -> bool {
        self.connect.iter().any(|granted| granted.covers(host, port))
    }
}

impl std::fmt::Debug for Grant {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Values may be secrets.
        let names: Vec<_> = self.env.keys().collect();
        let Self { clock, seed, connect, .. } = self;
        write!(f, "Grant({names:?}, {clock:?}, {seed:?}, {connect:?})")
    }
}
