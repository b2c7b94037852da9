//! Loading modules: each once, away from the slots and the links.
//!
//! Owns: which modules are known, being fetched, being compiled, ready or refused, and the
//! jobs that wait for them. Invariants: a module is asked for once and compiled once,
//! however many need it; a refusal is remembered; a waiting job is handed on exactly once.

use super::cache::{Artifact, Cache};
use super::facts::Facts;
use super::loader::{Loader, Maker};
use crate::engine::{Engines, HOST_STACK};
use crate::job::Job;
use crate::limits::Limits;
use crate::session::{Session, tell_of};
use dpfw_protocol::Bytes;
use dpfw_protocol::error::Cause;
use dpfw_protocol::ids::{AttemptId, ConversationId, ModuleHash};
use dpfw_protocol::message::{Loading, NeedModule, Queued};
use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

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
    /// Counts what was given to be made.
    loads: AtomicU64,
    /// Bytes of modules that are being made, or wait for it.
    held: Arc<AtomicU64>,
    limits: Limits,
}

#[derive(Debug)]
enum State {
    /// The cache is being asked.
    Looking(Vec<Job>),
    /// Masters are being asked for the bytes, one after the other.
    Asked(Asked),
    /// It is being compiled, or waits for that, as the load of this number.
    Loading(u64, Vec<Job>),
    Ready(Arc<Loaded>),
    Refused(Cause),
}

/// Who was asked for a module's bytes, and who waits for them.
#[derive(Debug)]
struct Asked {
    /// Those who have not answered, the last asked last.
    whom: Vec<Arc<Session>>,
    since: Instant,
    waiting: Vec<Job>,
}

/// When a master has not sent a module in this time, another one is asked as well, so that
/// its silence holds up nobody's tasks but its own.
const PATIENCE: Duration = Duration::from_secs(5);

impl Asked {
    /// Asks the first of those whose attempts wait and who were not asked before. Whether
    /// anybody has been asked who may still answer.
    fn ask(&mut self, hash: ModuleHash) -> bool {
        let is_new = |session: &Arc<Session>| {
            session.is_open() && !self.whom.iter().any(|asked| Arc::ptr_eq(asked, session))
        };
        let next = self.waiting.iter().map(|job| &job.session).find(|s| is_new(s)).cloned();
        if let Some(session) = next {
            // It always fits a frame.
            let _ = session.outbox.message(ConversationId::LINK, &NeedModule { module: hash });
            session.outbox.flush();
            self.whom.push(session);
        }
        self.since = Instant::now();
        !self.whom.is_empty()
    }

    /// A session does not answer any more; its attempts.
    fn without(&mut self, session: &Arc<Session>) -> Vec<Job> {
        self.whom.retain(|asked| !Arc::ptr_eq(asked, session));
        self.waiting.extract_if(.., |job| Arc::ptr_eq(&job.session, session)).collect()
    }
}

impl State {
    /// Tells the master of the last attempt that waits, if the module will take its time: one
    /// that is in the cache is there in a moment.
    fn tell_of_last(&self) {
        let waiting = match self {
            Self::Asked(asked) => &asked.waiting,
            Self::Loading(_, waiting) => waiting,
            Self::Looking(_) | Self::Ready(_) | Self::Refused(_) => return,
        };
        tell_of(waiting.last().map(its).into_iter(), |attempts| Loading { attempts });
    }

    fn waiting(&mut self) -> Option<&mut Vec<Job>> {
        match self {
            Self::Looking(waiting) | Self::Loading(_, waiting) => Some(waiting),
            Self::Asked(asked) => Some(&mut asked.waiting),
            Self::Ready(_) | Self::Refused(_) => None,
        }
    }
}

/// What the loader is to do.
#[derive(Debug)]
pub(super) enum Work {
    Look(ModuleHash),
    Load(Load),
    /// A load has come to its end.
    Made(u64, Result<Artifact, Cause>),
    /// To look whether it has to end.
    Stop,
}

/// A module that is to be made of its bytes.
#[derive(Debug)]
pub(super) struct Load {
    pub(super) hash: ModuleHash,
    /// Tells it from an earlier one of the same module.
    pub(super) number: u64,
    pub(super) wasm: Bytes,
    /// Who sent the bytes.
    pub(super) whose: Arc<Session>,
    pub(super) held: Held,
}

/// The bytes of a module are counted for as long as this lives.
#[derive(Debug)]
pub(super) struct Held {
    total: Arc<AtomicU64>,
    bytes: u64,
}

impl Held {
    /// Counts them, if there is room: for any module if there is no other.
    fn take(total: &Arc<AtomicU64>, bytes: u64) -> Option<Self> {
        let held = Self { total: Arc::clone(total), bytes };
        let before = total.fetch_add(bytes, Ordering::Relaxed);
        (before == 0 || before.saturating_add(bytes) <= MOST_HELD).then_some(held)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.total.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// Bytes of modules that may wait to be made.
const MOST_HELD: u64 = 1 << 30;

/// Work that may wait for the loader: few for each module.
const QUEUE: usize = 2048;

/// Stack for the compiler: what threads have by default.
const COMPILER_STACK: usize = 2 << 20;

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
            loader: Mutex::new(Some(sender.clone())),
            ready: AtomicUsize::new(0),
            loads: AtomicU64::new(0),
            held: Arc::default(),
            limits,
        });
        let mut loader = Loader {
            maker: Maker { engines, limits, cache: Arc::new(cache), done: sender },
            modules: Arc::clone(&modules),
            release,
            // A guest's start runs on it, and the compiler.
            stack: limits.stack + HOST_STACK + COMPILER_STACK,
            waiting: VecDeque::new(),
            running: Vec::new(),
        };
        let thread = std::thread::Builder::new()
            .name("dpfw-loader".into())
            .spawn(move || loader.run(&receiver))?;
        Ok((modules, thread))
    }

    /// Modules that tasks can run. None is ever forgotten.
    pub(crate) fn ready(&self) -> usize {
        self.ready.load(Ordering::Relaxed)
    }

    /// Lets the loader end when it has done what it is at.
    pub(crate) fn stop(&self) {
        let loader = self.loader.lock().unwrap_or_else(PoisonError::into_inner).take();
        // If there is no room, it has work after which it looks.
        let _ = loader.map(|loader| loader.try_send(Work::Stop));
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<ModuleHash, State>> {
        self.cells.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn has_stopped(&self) -> bool {
        self.loader.lock().unwrap_or_else(PoisonError::into_inner).is_none()
    }

    fn give(&self, work: Work) -> Result<(), Cause> {
        let loader = self.loader.lock().unwrap_or_else(PoisonError::into_inner);
        let busy = || Cause::Busy { what: "the loader has too many modules to load".into() };
        loader.as_ref().ok_or(Cause::Draining)?.try_send(work).map_err(|_| busy())
    }

    /// Has a module made of its bytes; gives the number of the load.
    fn load(&self, hash: ModuleHash, wasm: Bytes, from: &Arc<Session>) -> Result<u64, Cause> {
        let busy = || Cause::Busy { what: "too many bytes of modules wait to be loaded".into() };
        let held = Held::take(&self.held, wasm.len() as u64).ok_or_else(busy)?;
        let number = self.loads.fetch_add(1, Ordering::Relaxed);
        let whose = Arc::clone(from);
        tracing::debug!(module = %hash, bytes = wasm.len(), "a module has come");
        self.give(Work::Load(Load { hash, number, wasm, whose, held }))?;
        Ok(number)
    }

    /// Whether an attempt waits for this load.
    pub(super) fn is_wanted(&self, hash: ModuleHash, load: u64) -> bool {
        let is_wanted = |state: &State| match state {
            State::Loading(number, waiting) => *number == load && !waiting.is_empty(),
            _ => false,
        };
        self.lock().get(&hash).is_some_and(is_wanted)
    }

    /// The module if it is ready. Otherwise the job waits, or fails.
    pub(crate) fn find(&self, job: Job, release: &Release) {
        let mut cells = self.lock();
        let hash = job.bound.module;
        let decided = match cells.get(&hash) {
            Some(State::Ready(loaded)) => Ok(Arc::clone(loaded)),
            Some(State::Refused(cause)) => Err(cause.clone()),
            Some(_) | None => match self.wait(&mut cells, hash, &job.session) {
                Ok(waiting) => {
                    waiting.push(job);
                    if let Some(state) = cells.get(&hash) {
                        state.tell_of_last();
                    }
                    return;
                }
                Err(cause) => Err(cause),
            },
        };
        drop(cells);
        release(job, decided);
    }

    /// Where a job waits for a module that is not decided.
    fn wait<'a>(
        &self,
        cells: &'a mut HashMap<ModuleHash, State>,
        hash: ModuleHash,
        session: &Arc<Session>,
    ) -> Result<&'a mut Vec<Job>, Cause> {
        let busy = |what: String| Cause::Busy { what };
        let waiting: usize = cells.values_mut().filter_map(|c| c.waiting().map(|w| w.len())).sum();
        if waiting >= self.limits.queued {
            return Err(busy(format!("{waiting} attempts wait for modules")));
        }
        if !cells.contains_key(&hash) {
            if undecided(cells, session) >= MOST_UNDECIDED {
                return Err(busy(format!("{MOST_UNDECIDED} modules of this master are awaited")));
            }
            if cells.len() >= self.limits.modules && !make_room(cells) {
                return Err(busy(format!("{} modules are in use", self.limits.modules)));
            }
            self.give(Work::Look(hash))?;
        }
        let cell = cells.entry(hash).or_insert_with(|| State::Looking(Vec::new()));
        cell.waiting().ok_or_else(|| busy("the module is being decided".into()))
    }

    /// A master sent the bytes, or says that it has none; or it cannot send them. What is
    /// wrong with the answer is told to that master's attempts alone; others are asked next.
    pub(crate) fn offered(
        &self,
        from: &Arc<Session>,
        hash: ModuleHash,
        bytes: Result<Bytes, Cause>,
        release: &Release,
    ) {
        let mut cells = self.lock();
        // Bytes that were asked of nobody, or of somebody else, are not looked at.
        let Some(State::Asked(asked)) = cells.get_mut(&hash) else {
            return;
        };
        if !asked.whom.iter().any(|whom| Arc::ptr_eq(whom, from)) {
            return;
        }
        let outcome = bytes.and_then(|bytes| genuine(bytes, hash));
        let cause = match outcome.and_then(|bytes| self.load(hash, bytes, from)) {
            Ok(number) => {
                let waiting = std::mem::take(&mut asked.waiting);
                cells.insert(hash, State::Loading(number, waiting));
                return;
            }
            Err(cause) => cause,
        };
        // Only what was found out of the module itself is remembered.
        let failed = asked.without(from);
        if asked.whom.is_empty() && !asked.ask(hash) {
            cells.remove(&hash);
        }
        drop(cells);
        failed.into_iter().for_each(|job| release(job, Err(cause.clone())));
    }

    /// A session is gone: its waiting jobs with it; others are asked.
    pub(crate) fn session_gone(&self, gone: &Arc<Session>) -> Vec<Job> {
        let mut dropped = Vec::new();
        self.lock().retain(|hash, state| match state {
            State::Asked(asked) => {
                dropped.extend(asked.without(gone));
                !asked.whom.is_empty() || asked.ask(*hash)
            }
            other => {
                let is_gone = |job: &mut Job| Arc::ptr_eq(&job.session, gone);
                dropped.extend(other.waiting().into_iter().flat_map(|w| w.extract_if(.., is_gone)));
                true
            }
        });
        dropped
    }

    /// The session's attempts that wait for a module.
    pub(crate) fn attempts(&self, session: &Arc<Session>) -> Vec<AttemptId> {
        let mut cells = self.lock();
        let waiting = cells.values_mut().filter_map(State::waiting).flat_map(|jobs| jobs.iter());
        let its = waiting.filter(|job| Arc::ptr_eq(&job.session, session));
        its.map(|job| job.attempt).collect()
    }

    /// Takes waiting jobs out for which `is_meant` holds.
    pub(crate) fn take(&self, mut is_meant: impl FnMut(&Job) -> bool) -> Vec<Job> {
        let mut taken = Vec::new();
        for waiting in self.lock().values_mut().filter_map(State::waiting) {
            taken.extend(waiting.extract_if(.., |job| is_meant(job)));
        }
        taken
    }

    /// The loader looked in the cache and found nothing.
    pub(super) fn not_cached(&self, hash: ModuleHash) {
        let mut cells = self.lock();
        let Some(State::Looking(waiting)) = cells.remove(&hash) else {
            return;
        };
        let mut asked = Asked { whom: Vec::new(), since: Instant::now(), waiting };
        if asked.ask(hash) {
            tell_of(asked.waiting.iter().map(its), |attempts| Loading { attempts });
            cells.insert(hash, State::Asked(asked));
        }
    }

    /// Asks others where a master has not answered for long. When to look again, if any
    /// answer is awaited.
    pub(super) fn ask_others(&self) -> Option<Duration> {
        let mut cells = self.lock();
        let mut next = None;
        for (hash, state) in cells.iter_mut() {
            let State::Asked(asked) = state else {
                continue;
            };
            if asked.since.elapsed() >= PATIENCE {
                asked.ask(*hash);
            }
            let left = PATIENCE.saturating_sub(asked.since.elapsed());
            next = Some(next.map_or(left, |next: Duration| next.min(left)));
        }
        next
    }

    /// The loader is done with a module: it was looked for, or the load of this number has
    /// come to its end. One that was decided before stays as it is.
    pub(super) fn decided(
        &self,
        hash: ModuleHash,
        load: Option<u64>,
        outcome: Result<Artifact, Cause>,
        release: &Release,
    ) {
        let mut cells = self.lock();
        let waiting = match (cells.get_mut(&hash), load) {
            (Some(State::Looking(waiting)), None) => std::mem::take(waiting),
            (Some(State::Loading(number, waiting)), Some(load)) if *number == load => {
                let waiting = std::mem::take(waiting);
                if outcome.is_ok() {
                    tell_of(waiting.iter().map(its), |attempts| Queued { attempts });
                }
                waiting
            }
            _ => return,
        };
        let outcome = outcome.map(|artifact| {
            let number = self.ready.fetch_add(1, Ordering::Relaxed);
            Arc::new(Loaded { number, artifact })
        });
        let state = match &outcome {
            Ok(loaded) => State::Ready(Arc::clone(loaded)),
            Err(cause) => State::Refused(cause.clone()),
        };
        cells.insert(hash, state);
        // What does not follow from the module itself may go better next time.
        if matches!(&outcome, Err(cause) if !is_lasting(cause)) {
            cells.remove(&hash);
        }
        // Under the lock: an attempt is here until it is in the queue, so that whoever looks
        // for it here and then there finds it.
        waiting.into_iter().for_each(|job| release(job, outcome.clone()));
        drop(cells);
    }
}

/// Whose attempt a job is, and which.
fn its(job: &Job) -> (&Arc<Session>, AttemptId) {
    (&job.session, job.attempt)
}

/// Modules of one session that are not decided: one that names modules and does not send
/// them must not keep others from having theirs.
const MOST_UNDECIDED: usize = 64;

/// Modules that are looked for or loaded on behalf of a session.
fn undecided(cells: &mut HashMap<ModuleHash, State>, session: &Arc<Session>) -> usize {
    let is_its = |waiting: &&mut Vec<Job>| {
        waiting.first().is_some_and(|job| Arc::ptr_eq(&job.session, session))
    };
    cells.values_mut().filter_map(State::waiting).filter(is_its).count()
}

/// Forgets a module that nobody needs: a refusal, or one that no session has declared. Its
/// code stays in the cache. Whether there was one.
fn make_room(cells: &mut HashMap<ModuleHash, State>) -> bool {
    let refused = |state: &State| matches!(state, State::Refused(_));
    let unused = |state: &State| matches!(state, State::Ready(it) if Arc::strong_count(it) == 1);
    let find = |is_meant: &dyn Fn(&State) -> bool| {
        cells.iter().find(|(_, state)| is_meant(state)).map(|(hash, _)| *hash)
    };
    let Some(hash) = find(&refused).or_else(|| find(&unused)) else {
        return false;
    };
    cells.remove(&hash).is_some()
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
