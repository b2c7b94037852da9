//! Loading modules: each once, away from the slots and the links.
//!
//! Owns: which modules are known, being fetched, being compiled, ready or refused, and the
//! jobs that wait for them. Invariants: a module is asked for once and compiled once,
//! however many need it; a refusal is remembered; a waiting job is handed on exactly once.

use super::cache::{Artifact, Cache};
use super::facts::{Facts, Kind};
use super::warm::{Warmed, warm};
use crate::engine::Engines;
use crate::job::Job;
use crate::limits::Limits;
use crate::sandbox;
use crate::session::Session;
use dpfw_protocol::Bytes;
use dpfw_protocol::error::Cause;
use dpfw_protocol::ids::{ConversationId, ModuleHash};
use dpfw_protocol::message::NeedModule;
use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use wasmtime::Engine;

/// A module that tasks can run.
#[derive(Debug)]
pub(crate) struct Loaded {
    /// Counted from 0, so that slots find their own part of it by index.
    pub(crate) number: usize,
    pub(crate) artifact: Artifact,
}

impl Loaded {
    /// What was found in it.
    pub(crate) fn facts(&self) -> &Facts {
        &self.artifact.facts
    }
}

/// All modules of a slave.
#[derive(Debug)]
pub(crate) struct Modules {
    cells: Mutex<HashMap<ModuleHash, State>>,
    loader: Mutex<Option<SyncSender<Work>>>,
    ready: AtomicUsize,
    limits: Limits,
}

#[derive(Debug)]
enum State {
    /// The cache is being asked.
    Looking(Vec<Job>),
    /// A master is being asked for the bytes.
    Asked {
        whom: Arc<Session>,
        waiting: Vec<Job>,
    },
    /// It is being compiled.
    Loading(Vec<Job>),
    Ready(Arc<Loaded>),
    Refused(Cause),
}

/// What the loader is to do.
#[derive(Debug)]
enum Work {
    Look(ModuleHash),
    Load(ModuleHash, Bytes),
}

/// Work that may wait for the loader: one for each module at most.
const QUEUE: usize = 2048;

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
        release: Release,
    ) -> std::io::Result<(Arc<Self>, std::thread::JoinHandle<()>)> {
        let (sender, receiver) = sync_channel(QUEUE);
        let modules = Arc::new(Self {
            cells: Mutex::default(),
            loader: Mutex::new(Some(sender)),
            ready: AtomicUsize::new(0),
            limits,
        });
        let loader = Loader { modules: Arc::clone(&modules), engines, limits, cache, release };
        let thread = std::thread::Builder::new()
            .name("dpfw-loader".into())
            .spawn(move || loader.run(&receiver))?;
        Ok((modules, thread))
    }

    /// Lets the loader end when it has done what it was given.
    pub(crate) fn stop(&self) {
        self.loader.lock().unwrap_or_else(PoisonError::into_inner).take();
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<ModuleHash, State>> {
        self.cells.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many are ready.
    pub(crate) fn ready(&self) -> usize {
        self.ready.load(Ordering::Relaxed)
    }

    fn give(&self, work: Work) -> Result<(), Cause> {
        let loader = self.loader.lock().unwrap_or_else(PoisonError::into_inner);
        let busy = || Cause::Busy { what: "the loader has too many modules to load".into() };
        loader.as_ref().ok_or(Cause::Draining)?.try_send(work).map_err(|_| busy())
    }

    /// The module if it is ready. Otherwise the job waits, or fails.
    pub(crate) fn find(&self, job: Job, release: &Release) {
        let mut cells = self.lock();
        let hash = job.bound.module;
        let is_full = cells.len() >= self.limits.modules;
        let decided = match cells.get_mut(&hash) {
            Some(State::Ready(loaded)) => Ok(Arc::clone(loaded)),
            Some(State::Refused(cause)) => Err(cause.clone()),
            Some(State::Looking(waiting) | State::Loading(waiting)) => {
                waiting.push(job);
                return;
            }
            Some(State::Asked { whom, waiting }) => {
                if !whom.is_open() {
                    *whom = Arc::clone(&job.session);
                    ask(whom, hash);
                }
                waiting.push(job);
                return;
            }
            None if is_full => {
                Err(Cause::Busy { what: format!("{} modules are loaded", self.limits.modules) })
            }
            None => match self.give(Work::Look(hash)) {
                Ok(()) => {
                    cells.insert(hash, State::Looking(vec![job]));
                    return;
                }
                Err(cause) => Err(cause),
            },
        };
        drop(cells);
        release(job, decided);
    }

    /// A master sent the bytes, or says that it has none; or it cannot send them.
    pub(crate) fn offered(
        &self,
        from: &Arc<Session>,
        hash: ModuleHash,
        bytes: Result<Bytes, Cause>,
        release: &Release,
    ) {
        let mut cells = self.lock();
        // Bytes that were asked of nobody, or of somebody else, are not looked at.
        let asked =
            |state: &State| matches!(state, State::Asked { whom, .. } if Arc::ptr_eq(whom, from));
        if !cells.get(&hash).is_some_and(asked) {
            return;
        }
        let Some(State::Asked { waiting, .. }) = cells.remove(&hash) else {
            return;
        };
        let outcome = bytes.and_then(|bytes| genuine(bytes, hash));
        let cause = match outcome.and_then(|bytes| self.give(Work::Load(hash, bytes))) {
            Ok(()) => {
                cells.insert(hash, State::Loading(waiting));
                return;
            }
            Err(cause) => cause,
        };
        // Only what was found out of the module itself is remembered.
        drop(cells);
        waiting.into_iter().for_each(|job| release(job, Err(cause.clone())));
    }

    /// A session is gone: its waiting jobs with it; others ask on.
    pub(crate) fn session_gone(&self, gone: &Arc<Session>) -> Vec<Job> {
        let mut dropped = Vec::new();
        let mut cells = self.lock();
        cells.retain(|hash, state| {
            let is_gone = |job: &mut Job| Arc::ptr_eq(&job.session, gone);
            match state {
                State::Looking(waiting) | State::Loading(waiting) => {
                    dropped.extend(waiting.extract_if(.., is_gone));
                    true
                }
                State::Asked { whom, waiting } => {
                    dropped.extend(waiting.extract_if(.., is_gone));
                    if !Arc::ptr_eq(whom, gone) {
                        return true;
                    }
                    match waiting.first() {
                        Some(next) => {
                            *whom = Arc::clone(&next.session);
                            ask(whom, *hash);
                            true
                        }
                        None => false,
                    }
                }
                State::Ready(_) | State::Refused(_) => true,
            }
        });
        dropped
    }

    /// Takes waiting jobs out for which `is_meant` holds.
    pub(crate) fn take(&self, mut is_meant: impl FnMut(&Job) -> bool) -> Vec<Job> {
        let mut taken = Vec::new();
        for state in self.lock().values_mut() {
            if let State::Looking(waiting)
            | State::Loading(waiting)
            | State::Asked { waiting, .. } = state
            {
                taken.extend(waiting.extract_if(.., |job| is_meant(job)));
            }
        }
        taken
    }

    /// The loader looked in the cache and found nothing.
    fn not_cached(&self, hash: ModuleHash) {
        let mut cells = self.lock();
        let Some(State::Looking(waiting)) = cells.remove(&hash) else {
            return;
        };
        let Some(job) = waiting.iter().find(|job| job.session.is_open()) else {
            return;
        };
        let whom = Arc::clone(&job.session);
        ask(&whom, hash);
        cells.insert(hash, State::Asked { whom, waiting });
    }

    /// The loader is done with a module.
    fn decided(&self, hash: ModuleHash, outcome: Result<Artifact, Cause>, release: &Release) {
        let outcome = outcome.map(|artifact| {
            let number = self.ready.fetch_add(1, Ordering::Relaxed);
            Arc::new(Loaded { number, artifact })
        });
        let mut cells = self.lock();
        let state = match &outcome {
            Ok(loaded) => State::Ready(Arc::clone(loaded)),
            Err(cause) => State::Refused(cause.clone()),
        };
        let waiting = match cells.insert(hash, state) {
            Some(State::Looking(waiting) | State::Loading(waiting)) => waiting,
            _ => Vec::new(),
        };
        // What does not follow from the module itself may go better next time.
        if matches!(&outcome, Err(cause) if !is_lasting(cause)) {
            cells.remove(&hash);
        }
        drop(cells);
        waiting.into_iter().for_each(|job| release(job, outcome.clone()));
    }
}

fn is_lasting(cause: &Cause) -> bool {
    !cause.is_recoverable() && !matches!(cause, Cause::Internal { .. })
}

/// The bytes, if they are the module's.
fn genuine(bytes: Bytes, hash: ModuleHash) -> Result<Bytes, Cause> {
    let reason = match () {
        () if bytes.is_empty() => {
            format!("neither this slave nor the master has the bytes of module {hash}")
        }
        () if ModuleHash::of(&bytes) != hash => "its bytes do not have its hash".into(),
        () => return Ok(bytes),
    };
    Err(Cause::Rejected { reason })
}

fn ask(session: &Session, module: ModuleHash) {
    // It always fits a frame.
    let _ = session.outbox.message(ConversationId::LINK, &NeedModule { module });
    session.outbox.flush();
}

/// The loader's thread.
struct Loader {
    modules: Arc<Modules>,
    engines: Engines,
    limits: Limits,
    cache: Cache,
    release: Release,
}

impl Loader {
    fn run(&self, work: &Receiver<Work>) {
        let compiler = self.engines.pooled();
        while let Ok(work) = work.recv() {
            let (hash, outcome) = match work {
                Work::Look(hash) => match self.cache.get(hash) {
                    Some(artifact) => (hash, Ok(artifact)),
                    None => {
                        self.modules.not_cached(hash);
                        continue;
                    }
                },
                Work::Load(hash, bytes) => {
                    let compiler = compiler.as_ref().map_err(Clone::clone);
                    let built = compiler.and_then(|compiler| {
                        build(&self.engines, &self.limits, &self.cache, compiler, hash, &bytes)
                    });
                    (hash, built)
                }
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
    let started = std::time::Instant::now();
    let facts = Facts::of(wasm, limits)?;
    if facts.kind == Kind::Program {
        let reason = "it is a WASI program (it exports `_start`); this version runs task \
                      modules and plain modules";
        return Err(Cause::Rejected { reason: reason.into() });
    }
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
    stored.map_err(|e| Cause::Internal { message: format!("compiled code cannot be kept: {e}") })
}

fn compile(engine: &Engine, wasm: &[u8]) -> Result<Vec<u8>, Cause> {
    engine
        .precompile_module(wasm)
        .map_err(|e| Cause::Rejected { reason: format!("it does not compile: {e:#}") })
}
