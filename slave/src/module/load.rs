//! Loading modules and images: each once, away from the slots and the links.
//!
//! Owns: which are known, being fetched, being made, ready or refused, and what is given to the
//! loader. Does not: know who waits (`waiting`), or what becomes of what masters send (`offers`).
//! Invariant: what is made is bounded in number and in bytes.

use super::cache::{Artifact, Cache};
use super::cell::State;
use super::code::{CodeId, Wanted};
use super::confine::Confinement;
use super::facts::Facts;
use super::image::again::Asleep;
use super::image::turn::Turns;
use super::image::{self, Source, Standing};
use super::loader::{Loader, Maker};
use super::owners::Owners;
use crate::core::Core;
use crate::engine::{Engines, HOST_STACK};
use crate::job::Job;
use crate::limits::Limits;
use crate::seldom::Seldom;
use crate::session::Session;
use crate::shares::{Supply, Taken};
use dpfw_protocol::error::Cause;
use dpfw_protocol::ids::{AttemptId, ModuleHash};
use dpfw_protocol::message::Origin;
use dpfw_protocol::store::FullKey;
use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::time::Duration;

/// A module or an image that tasks can run.
#[derive(Debug)]
pub(crate) struct Loaded {
    /// Counted from 0, so that slots find their own part of it by index.
    pub(crate) number: usize,
    code: CodeId,
    pub(crate) artifact: Artifact,
    /// Whether it was let go: who has it may go on with it, who comes next may not.
    gone: AtomicBool,
    /// Of the cache, that it is used since it was loaded.
    told: Seldom,
    /// Of an image.
    pub(super) standing: Standing,
}

/// The cache learns of uses this often: what was not used for longest goes first there.
const USED: Duration = Duration::from_secs(60);

impl Loaded {
    pub(crate) fn new(number: usize, code: CodeId, artifact: Artifact) -> Self {
        let (gone, told, standing) = Default::default();
        Self { number, code, artifact, gone, told, standing }
    }

    /// What was found in it.
    pub(crate) fn facts(&self) -> &Facts {
        &self.artifact.facts
    }

    /// Whether it was let go.
    pub(crate) fn is_gone(&self) -> bool {
        self.gone.load(Ordering::Relaxed)
    }

    pub(super) fn let_go(&self) {
        self.gone.store(true, Ordering::Relaxed);
    }
}

/// All modules and images of a slave.
#[derive(Debug)]
pub(crate) struct Modules {
    cells: Mutex<HashMap<CodeId, State>>,
    /// Locked behind the cells.
    pub(super) owners: Mutex<Owners>,
    loader: Mutex<Option<SyncSender<Work>>>,
    pub(super) ready: AtomicUsize,
    /// Counts what was given to be made.
    loads: AtomicU64,
    /// Bytes of what is being made, or waits for it.
    making: Arc<Supply>,
    pub(super) limits: Limits,
    /// What has the store, and what inits see of a slave.
    core: OnceLock<Weak<Core>>,
    pub(super) cache: Arc<Cache>,
    /// Images that are in the store and were not mapped yet.
    pub(super) asleep: Asleep,
    confinement: Arc<Confinement>,
}

/// What the loader is to do.
#[derive(Debug)]
pub(super) enum Work {
    Look(CodeId),
    Load(Box<Load>),
    /// Code is used that was loaded before.
    Touch(CodeId),
    /// An image has a name, or has one no more: it is written down.
    Rename(CodeId, FullKey),
    /// An image was removed: it is not to be found on disk.
    Discard(CodeId),
    /// A load has come to its end.
    Made(u64, Box<Result<Artifact, Cause>>),
    /// To look whether it has to end.
    Stop,
}

/// What is to be made of bytes.
#[derive(Debug)]
pub(super) struct Load {
    pub(super) code: CodeId,
    /// Tells it from an earlier one of the same name.
    pub(super) number: u64,
    pub(super) source: Source,
    /// Who sent the bytes.
    pub(super) whose: Arc<Session>,
    /// The attempt in whose name an init logs: the first that waits.
    pub(super) attempt: AttemptId,
    /// Held until it is made.
    pub(super) _room: Taken,
}

/// Work that may wait for the loader: few for each module.
const QUEUE: usize = 2048;

/// Stack for the compiler: what threads have by default.
const COMPILER_STACK: usize = 2 << 20;

/// The stack of a thread that compiles: a guest's start runs on it, too.
pub(super) fn compiler_stack(limits: &Limits) -> usize {
    limits.stack.saturating_add(HOST_STACK + COMPILER_STACK)
}

/// A job whose module is decided.
pub(super) type Decided = (Job, Result<Arc<Loaded>, Cause>);

/// Takes jobs whose module is decided.
pub(crate) type Release = Arc<dyn Fn(Job, Result<Arc<Loaded>, Cause>) + Send + Sync>;

impl Modules {
    /// Starts the loader's thread.
    ///
    /// # Errors
    /// An I/O error if there is no thread, or no place for compiled code.
    pub(crate) fn start(
        engines: Engines,
        limits: Limits,
        cache: Cache,
        confinement: Arc<Confinement>,
        release: Release,
    ) -> std::io::Result<(Arc<Self>, std::thread::JoinHandle<()>)> {
        let (sender, receiver) = sync_channel(QUEUE);
        let modules = Arc::new(Self {
            cells: Mutex::default(),
            owners: Mutex::default(),
            loader: Mutex::new(Some(sender.clone())),
            ready: AtomicUsize::new(0),
            loads: AtomicU64::new(0),
            making: Supply::new(limits.making()),
            limits,
            core: OnceLock::new(),
            cache: Arc::new(cache),
            asleep: Asleep::default(),
            confinement: Arc::clone(&confinement),
        });
        let mut loader = Loader {
            maker: Maker {
                engines,
                limits,
                cache: Arc::clone(&modules.cache),
                turns: Turns::new(limits.image_building),
                confinement,
                done: sender,
            },
            modules: Arc::clone(&modules),
            release,
            stack: compiler_stack(&limits),
            waiting: VecDeque::new(),
            running: Vec::new(),
        };
        let thread = std::thread::Builder::new()
            .name("dpfw-loader".into())
            .spawn(move || loader.run(&receiver))?;
        Ok((modules, thread))
    }

    /// Learns what has the store, and what inits see of a slave.
    pub(crate) fn set_core(&self, core: Weak<Core>) {
        // Once, by the builder.
        let _ = self.core.set(core);
    }

    pub(super) fn core(&self) -> Option<Arc<Core>> {
        self.core.get()?.upgrade()
    }

    /// An image becomes an entry of the store, in the name of the first that waits for it.
    pub(super) fn keep(
        &self,
        code: CodeId,
        loaded: Arc<Loaded>,
        origin: Origin,
    ) -> Result<Arc<Loaded>, Cause> {
        if loaded.artifact.image.is_none() {
            return Ok(loaded);
        }
        let first = self.lock().get(&code).and_then(|state| {
            let job = state.waiting()?.first()?;
            Some((Arc::clone(&job.session), Arc::clone(&job.bound)))
        });
        if let (Some((session, bound)), Some(core)) = (first, self.core()) {
            let whose = (&*session, &*bound);
            image::names::keep(&core, self, whose, (code, &loaded), origin)?;
        }
        Ok(loaded)
    }

    /// Tasks of what was loaded before have come, at this time of the slave's life: the cache
    /// learns of it now and then.
    pub(crate) fn used(&self, loaded: &Loaded, now: Duration) {
        if loaded.told.is_due(now, USED) {
            // What cannot be told now is told in a minute.
            let _ = self.give(Work::Touch(loaded.code));
        }
    }

    /// An image has a name, or has one no more. It is written down soon.
    pub(super) fn renamed(&self, code: CodeId, key: &FullKey) {
        if self.cache.keeps_names() && self.give(Work::Rename(code, key.clone())).is_err() {
            self.rename(code, key);
        }
    }

    /// The last name of an image was removed: it is gone from the disk before it is looked for
    /// again.
    pub(super) fn discarded(&self, code: CodeId) {
        if self.give(Work::Discard(code)).is_err() {
            self.discard(code);
        }
    }

    /// The same, now; unless it has a name again, or another slave that shares the cache has one
    /// for it.
    pub(super) fn discard(&self, code: CodeId) {
        let is_kept = |state: &State| match state {
            State::Ready(loaded) => loaded.standing.kept().is_some_and(|kept| kept.is_named()),
            _ => false,
        };
        let is_back = self.lock().get(&code).is_some_and(is_kept);
        if !is_back && self.asleep.get(code).is_none() && !self.cache.is_named(code) {
            tracing::debug!(%code, "an image is removed from the disk");
            self.cache.remove(code);
        }
    }

    /// Writes down what an image is called, now.
    pub(super) fn rename(&self, code: CodeId, key: &FullKey) {
        if let Some(core) = self.core() {
            image::names::write_down(&core, &self.cache, code, key);
        }
    }

    /// An image that a session's tasks may run on, if it is ready.
    pub(crate) fn image(&self, wanted: &Wanted) -> Option<(CodeId, Arc<Loaded>)> {
        let cells = self.lock();
        [wanted.sent, wanted.built].map(CodeId::Image).into_iter().find_map(|code| {
            match cells.get(&code) {
                Some(State::Ready(loaded)) if !loaded.is_gone() => Some((code, Arc::clone(loaded))),
                _ => None,
            }
        })
    }

    /// The snapshot of an image that was built here: which it is, its hash and its length.
    ///
    /// # Errors
    /// [`Cause::Busy`] if the image is not here any more.
    pub(crate) fn snapshot_of(&self, wanted: &Wanted) -> Result<(CodeId, ModuleHash, u64), Cause> {
        let ready = self.image(wanted).and_then(|(code, loaded)| {
            let image = loaded.artifact.image.as_ref()?;
            Some((code, image.hash, image.snapshot))
        });
        let asleep = || {
            let code = CodeId::Image(wanted.built);
            let (hash, len) = self.asleep.get(code)?.snapshot();
            Some((code, hash, len))
        };
        let what = || Cause::Busy { what: "the image is not here any more".into() };
        ready.or_else(asleep).ok_or_else(what)
    }

    /// Reads it from the disk.
    ///
    /// # Errors
    /// [`Cause::Busy`] if it is not there any more.
    pub(crate) fn read_snapshot(
        &self,
        (code, hash, len): (CodeId, ModuleHash, u64),
    ) -> Result<Vec<u8>, Cause> {
        self.cache.snapshot(code, hash, len).map_err(|error| Cause::Busy {
            what: format!("the snapshot of the image is not at hand: {error}"),
        })
    }

    /// Modules and images that are in memory, and that tasks can run.
    pub(crate) fn ready(&self) -> usize {
        let is_ready = |state: &&State| matches!(state, State::Ready(it) if !it.is_gone());
        self.lock().values().filter(is_ready).count()
    }

    /// What comes from now on may come from beyond this machine.
    pub(crate) fn set_beyond_loopback(&self) {
        self.confinement.set_beyond_loopback();
    }

    /// Lets the loader end when it has done what it is at.
    pub(crate) fn stop(&self) {
        let loader = self.loader.lock().unwrap_or_else(PoisonError::into_inner).take();
        // If there is no room, it has work after which it looks.
        let _ = loader.map(|loader| loader.try_send(Work::Stop));
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, HashMap<CodeId, State>> {
        self.cells.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn has_stopped(&self) -> bool {
        self.loader.lock().unwrap_or_else(PoisonError::into_inner).is_none()
    }

    pub(super) fn give(&self, work: Work) -> Result<(), Cause> {
        let loader = self.loader.lock().unwrap_or_else(PoisonError::into_inner);
        let busy = || Cause::Busy { what: "the loader has too many modules to load".into() };
        loader.as_ref().ok_or(Cause::Draining)?.try_send(work).map_err(|_| busy())
    }

    /// Has code made of what a session sent; gives the number of the load.
    pub(super) fn load(
        &self,
        code: CodeId,
        source: Source,
        from: &Arc<Session>,
        attempt: AttemptId,
    ) -> Result<u64, Cause> {
        let what = "too many bytes of modules wait to be loaded, of all masters or of this one";
        let busy = || Cause::Busy { what: what.into() };
        let bytes = source.len();
        let room = self.making.lend(&from.holdings.making, bytes).ok_or_else(busy)?;
        let number = self.loads.fetch_add(1, Ordering::Relaxed);
        let whose = Arc::clone(from);
        match code {
            CodeId::Module(_) => tracing::debug!(%code, bytes, "a module has come"),
            CodeId::Image(_) => tracing::debug!(%code, bytes, "an image has come"),
        }
        let load = Load { code, number, source, whose, attempt, _room: room };
        self.give(Work::Load(Box::new(load)))?;
        Ok(number)
    }
}
