//! Loading modules and images: each once, away from the slots and the links.
//!
//! Owns: which are known, being fetched, being made, ready or refused, and the jobs that wait
//! for them. Invariants: a module or an image is asked for once and made once, however many
//! need it; a refusal is remembered; a waiting job is handed on exactly once.

use super::cache::{Artifact, Cache};
use super::cell::{Asked, PATIENCE, Room, State, its};
use super::code::{CodeId, Wanted};
use super::facts::Facts;
use super::image::turn::Turns;
use super::image::{self, ImageFacts, Source, Standing};
use super::loader::{Loader, Maker};
use crate::core::Core;
use crate::engine::{Engines, HOST_STACK};
use crate::job::Job;
use crate::limits::Limits;
use crate::session::{Session, tell_of};
use dpfw_protocol::error::Cause;
use dpfw_protocol::ids::AttemptId;
use dpfw_protocol::message::{Loading, Origin, Queued};
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
    pub(crate) artifact: Artifact,
    /// Whether it was let go: who has it may go on with it, who comes next may not.
    gone: AtomicBool,
    /// Of an image.
    pub(super) standing: Standing,
}

impl Loaded {
    pub(crate) fn new(number: usize, artifact: Artifact) -> Self {
        Self { number, artifact, gone: AtomicBool::new(false), standing: Standing::default() }
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
    loader: Mutex<Option<SyncSender<Work>>>,
    ready: AtomicUsize,
    /// Counts what was given to be made.
    loads: AtomicU64,
    /// Bytes of what is being made, or waits for it.
    held: Arc<AtomicU64>,
    limits: Limits,
    /// What has the store, and what inits see of a slave.
    core: OnceLock<Weak<Core>>,
    pub(super) cache: Arc<Cache>,
}

/// What the loader is to do.
#[derive(Debug)]
pub(super) enum Work {
    Look(CodeId),
    Load(Box<Load>),
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
    pub(super) _room: Room,
}

/// Work that may wait for the loader: few for each module.
const QUEUE: usize = 2048;

/// Stack for the compiler: what threads have by default.
const COMPILER_STACK: usize = 2 << 20;

/// A job whose module is decided.
type Decided = (Job, Result<Arc<Loaded>, Cause>);

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
            core: OnceLock::new(),
            cache: Arc::new(cache),
        });
        let mut loader = Loader {
            maker: Maker {
                engines,
                limits,
                cache: Arc::clone(&modules.cache),
                turns: Turns::new(limits.image_building),
                done: sender,
            },
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

    /// Learns what has the store, and what inits see of a slave.
    pub(crate) fn set_core(&self, core: Weak<Core>) {
        // Once, by the builder.
        let _ = self.core.set(core);
    }

    pub(super) fn core(&self) -> Option<Arc<Core>> {
        self.core.get()?.upgrade()
    }

    /// An image becomes an entry of the store, in the name of the first that waits for it.
    fn keep(
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
        match (first, self.core()) {
            (Some((session, bound)), Some(core)) => {
                image::names::keep(&core, &session, &bound, loaded, origin)
            }
            _ => Ok(loaded),
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

    /// The snapshot of an image that was built here.
    ///
    /// # Errors
    /// [`Cause::Busy`] if it is not on the disk any more.
    pub(crate) fn snapshot(&self, code: CodeId, image: &ImageFacts) -> Result<Vec<u8>, Cause> {
        self.cache.snapshot(code, image).map_err(|error| Cause::Busy {
            what: format!("the snapshot of the image is not at hand: {error}"),
        })
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

    fn lock(&self) -> MutexGuard<'_, HashMap<CodeId, State>> {
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

    /// Has code made of what a session sent; gives the number of the load.
    fn load(
        &self,
        code: CodeId,
        source: Source,
        from: &Arc<Session>,
        attempt: AttemptId,
    ) -> Result<u64, Cause> {
        let busy = || Cause::Busy { what: "too many bytes of modules wait to be loaded".into() };
        let bytes = source.len();
        let room = Room::take(&self.held, bytes).ok_or_else(busy)?;
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

    /// Whether an attempt waits for this load.
    pub(super) fn is_wanted(&self, code: CodeId, load: u64) -> bool {
        let is_wanted = |state: &State| match state {
            State::Loading(number, waiting) => *number == load && !waiting.is_empty(),
            _ => false,
        };
        self.lock().get(&code).is_some_and(is_wanted)
    }

    /// The code if it is ready. Otherwise the job waits, or fails.
    pub(crate) fn find(&self, job: Job, release: &Release) {
        let mut cells = self.lock();
        let decided = self.find_in(&mut cells, job);
        drop(cells);
        if let Some((job, decided)) = decided {
            release(job, decided);
        }
    }

    /// A job back, with what it runs on or why it does not run; nothing if it waits.
    fn find_in(&self, cells: &mut HashMap<CodeId, State>, job: Job) -> Option<Decided> {
        let code = choose(cells, &job);
        let decided = match cells.get(&code) {
            Some(State::Ready(loaded)) => {
                image::tell_ready(loaded, [&job.session], Origin::There, Duration::ZERO);
                Ok(Arc::clone(loaded))
            }
            Some(State::Refused(cause)) => Err(cause.clone()),
            Some(_) | None => match self.wait(cells, code, &job.session) {
                Ok(waiting) => {
                    waiting.push(job);
                    if let Some(state) = cells.get(&code) {
                        state.tell_of_last();
                    }
                    return None;
                }
                Err(cause) => Err(cause),
            },
        };
        Some((job, decided))
    }

    /// Forgets that what this job needs was refused.
    pub(crate) fn forgive(&self, job: &Job) {
        let mut cells = self.lock();
        let code = choose(&mut cells, job);
        if matches!(cells.get(&code), Some(State::Refused(_))) {
            cells.remove(&code);
        }
    }

    /// Where a job waits for code that is not decided.
    fn wait<'a>(
        &self,
        cells: &'a mut HashMap<CodeId, State>,
        code: CodeId,
        session: &Arc<Session>,
    ) -> Result<&'a mut Vec<Job>, Cause> {
        let busy = |what: String| Cause::Busy { what };
        let waiting: usize = cells.values().filter_map(|c| c.waiting().map(Vec::len)).sum();
        if waiting >= self.limits.queued {
            return Err(busy(format!("{waiting} attempts wait for modules")));
        }
        if !cells.contains_key(&code) {
            if undecided(cells, session) >= MOST_UNDECIDED {
                return Err(busy(format!("{MOST_UNDECIDED} modules of this master are awaited")));
            }
            if cells.len() >= self.limits.modules && !make_room(cells) {
                return Err(busy(format!("{} modules are in use", self.limits.modules)));
            }
            self.give(Work::Look(code))?;
        }
        let cell = cells.entry(code).or_insert_with(|| State::Looking(Vec::new()));
        cell.waiting_mut().ok_or_else(|| busy("the module is being decided".into()))
    }

    /// A master sent what was asked for, or says that it has none; or it cannot send it. What
    /// is wrong with the answer is told to that master's attempts alone; others are asked next.
    pub(crate) fn offered(
        &self,
        from: &Arc<Session>,
        code: CodeId,
        source: Result<Source, Cause>,
        release: &Release,
    ) {
        let mut cells = self.lock();
        // What was asked of nobody, or of somebody else, is not looked at.
        let Some(State::Asked(asked)) = cells.get_mut(&code) else {
            return;
        };
        if !asked.has_asked(from) {
            return;
        }
        let first = asked.waiting.iter().find(|job| Arc::ptr_eq(&job.session, from));
        let first = first.map_or(AttemptId(0), |job| job.attempt);
        let cause = match source {
            Ok(source) if source.is_sent() => return self.sent(cells, from, code, source, release),
            Ok(source) => match self.load(code, source, from, first) {
                Ok(number) => {
                    let waiting = std::mem::take(&mut asked.waiting);
                    cells.insert(code, State::Loading(number, waiting));
                    return;
                }
                Err(cause) => cause,
            },
            Err(cause) => cause,
        };
        // Only what was found out of the module itself is remembered.
        let failed = asked.without(from);
        if asked.whom.is_empty() && !asked.ask() {
            cells.remove(&code);
        }
        let failed = failed.into_iter().map(|job| {
            // What was wrong with a snapshot says more than that there is nothing else.
            let cause = job.refused.as_deref().unwrap_or(&cause).clone();
            if job.refused.is_some() {
                refuse_sent(&mut cells, &job, &cause);
            }
            (job, cause)
        });
        let failed: Vec<_> = failed.collect();
        drop(cells);
        failed.into_iter().for_each(|(job, cause)| release(job, Err(cause)));
    }

    /// A master sent an image whole that this slave does not take as it is: too large, for
    /// instance. What it is made of is asked for instead.
    pub(crate) fn snapshot_refused(
        &self,
        from: &Arc<Session>,
        code: CodeId,
        cause: &Cause,
        release: &Release,
    ) {
        let mut cells = self.lock();
        let Some(State::Asked(asked)) = cells.get_mut(&code) else {
            return;
        };
        if !asked.has_asked(from) {
            return;
        }
        let jobs = asked.without(from);
        if asked.whom.is_empty() && !asked.ask() {
            cells.remove(&code);
        }
        let decided = self.want_recipe(&mut cells, jobs, cause);
        drop(cells);
        decided.into_iter().for_each(|(job, outcome)| release(job, outcome));
    }

    /// Jobs that were sent an image which was refused wait for what it is made of: once, or two
    /// sides that differ would go on for ever. Those that do not wait.
    fn want_recipe(
        &self,
        cells: &mut HashMap<CodeId, State>,
        jobs: Vec<Job>,
        cause: &Cause,
    ) -> Vec<Decided> {
        let mut decided = Vec::new();
        for mut job in jobs {
            if job.refused.is_some() {
                refuse_sent(cells, &job, cause);
                decided.push((job, Err(cause.clone())));
                continue;
            }
            job.refused = Some(Box::new(cause.clone()));
            decided.extend(self.find_in(cells, job));
        }
        decided
    }

    /// A master sent an image whole: it is for its own tasks alone. Others go on waiting for
    /// what it is made of.
    fn sent(
        &self,
        mut cells: MutexGuard<'_, HashMap<CodeId, State>>,
        from: &Arc<Session>,
        code: CodeId,
        source: Source,
        release: &Release,
    ) {
        let Some(State::Asked(asked)) = cells.get_mut(&code) else {
            return;
        };
        let jobs = asked.take_of(from);
        if asked.waiting.is_empty() || (asked.whom.is_empty() && !asked.ask()) {
            cells.remove(&code);
        }
        let wanted = jobs.iter().find_map(|job| job.bound.image.as_ref().map(|w| (w, job)));
        let Some((code, attempt)) = wanted.map(|(w, job)| (CodeId::Image(w.sent), job.attempt))
        else {
            return;
        };
        match self.load(code, source, from, attempt) {
            Ok(number) => {
                cells.insert(code, State::Loading(number, jobs));
            }
            Err(cause) => {
                drop(cells);
                jobs.into_iter().for_each(|job| release(job, Err(cause.clone())));
            }
        }
    }

    /// A session is gone: its waiting jobs with it; others are asked.
    pub(crate) fn session_gone(&self, gone: &Arc<Session>) -> Vec<Job> {
        let mut dropped = Vec::new();
        self.lock().retain(|_, state| match state {
            State::Asked(asked) => {
                dropped.extend(asked.without(gone));
                !asked.whom.is_empty() || asked.ask()
            }
            other => {
                let is_gone = |job: &mut Job| Arc::ptr_eq(&job.session, gone);
                let waiting = other.waiting_mut().into_iter();
                dropped.extend(waiting.flat_map(|w| w.extract_if(.., is_gone)));
                true
            }
        });
        dropped
    }

    /// The session's attempts that wait for a module.
    pub(crate) fn attempts(&self, session: &Arc<Session>) -> Vec<AttemptId> {
        let cells = self.lock();
        let waiting = cells.values().filter_map(State::waiting).flatten();
        let its = waiting.filter(|job| Arc::ptr_eq(&job.session, session));
        its.map(|job| job.attempt).collect()
    }

    /// Takes waiting jobs out for which `is_meant` holds.
    pub(crate) fn take(&self, mut is_meant: impl FnMut(&Job) -> bool) -> Vec<Job> {
        let mut taken = Vec::new();
        for waiting in self.lock().values_mut().filter_map(State::waiting_mut) {
            taken.extend(waiting.extract_if(.., |job| is_meant(job)));
        }
        taken
    }

    /// The loader looked in the cache and found nothing.
    pub(super) fn not_cached(&self, code: CodeId) {
        let mut cells = self.lock();
        let Some(State::Looking(waiting)) = cells.remove(&code) else {
            return;
        };
        let mut asked = Asked::new(waiting);
        if asked.ask() {
            tell_of(asked.waiting.iter().map(its), |attempts| Loading { attempts });
            cells.insert(code, State::Asked(asked));
        }
    }

    /// Asks others where a master has not answered for long. When to look again, if any
    /// answer is awaited.
    pub(super) fn ask_others(&self) -> Option<Duration> {
        let mut cells = self.lock();
        let mut next = None;
        for state in cells.values_mut() {
            let State::Asked(asked) = state else {
                continue;
            };
            if asked.since.elapsed() >= PATIENCE {
                asked.ask();
            }
            let left = PATIENCE.saturating_sub(asked.since.elapsed());
            next = Some(next.map_or(left, |next: Duration| next.min(left)));
        }
        next
    }

    /// The loader is done: code was looked for, or the load of this number has come to its
    /// end. What was decided before stays as it is.
    pub(super) fn decided(
        self: &Arc<Self>,
        code: CodeId,
        load: Option<u64>,
        outcome: Result<Artifact, Cause>,
        release: &Release,
    ) {
        let loaded = outcome.map(|artifact| {
            let number = self.ready.fetch_add(1, Ordering::Relaxed);
            Arc::new(Loaded::new(number, artifact))
        });
        let origin = match (load, &loaded) {
            (Some(_), Ok(it)) => it.artifact.image.as_ref().map_or(Origin::Built, |i| i.origin),
            _ => Origin::Kept,
        };
        // Not under the lock: the store may let others go for it.
        let kept = loaded.map(|loaded| self.keep(code, loaded, origin));
        // What the store says of it does not follow from the module.
        let lasts = matches!(&kept, Err(cause) if is_lasting(cause));
        let refused = kept.as_ref().err().filter(|cause| !cause.is_recoverable()).cloned();
        let outcome = kept.flatten();
        let mut cells = self.lock();
        let waiting = match (cells.get_mut(&code), load) {
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
        if let (Some(cause), true) = (refused, was_sent(code, &waiting)) {
            cells.remove(&code);
            tracing::warn!(%code, %cause, "a snapshot is refused; what it is made of is asked for");
            let decided = self.want_recipe(&mut cells, waiting, &cause);
            decided.into_iter().for_each(|(job, outcome)| release(job, outcome));
            return;
        }
        if let Ok(loaded) = &outcome {
            let since = waiting.iter().map(|job| job.arrived).min();
            let took = since.map_or(Duration::ZERO, |since| since.elapsed());
            image::tell_ready(loaded, waiting.iter().map(|job| &job.session), origin, took);
        }
        let state = match &outcome {
            Ok(loaded) => State::Ready(Arc::clone(loaded)),
            Err(cause) => State::Refused(cause.clone()),
        };
        cells.insert(code, state);
        // What does not follow from the module itself may go better next time; and of an image
        // that nobody waits for it is not known whether it was sent.
        let is_nobodys = waiting.is_empty() && matches!(code, CodeId::Image(_));
        if outcome.is_err() && (!lasts || is_nobodys) {
            cells.remove(&code);
        }
        // Under the lock: an attempt is here until it is in the queue, so that whoever looks
        // for it here and then there finds it.
        waiting.into_iter().for_each(|job| release(job, outcome.clone()));
        drop(cells);
    }
}

/// What a job needs: an image that its own master sent goes before one that was built here.
/// What was let go is forgotten.
fn choose(cells: &mut HashMap<CodeId, State>, job: &Job) -> CodeId {
    let Some(wanted) = &job.bound.image else {
        return CodeId::Module(job.bound.module);
    };
    let both = [CodeId::Image(wanted.sent), CodeId::Image(wanted.built)];
    for code in both {
        if matches!(cells.get(&code), Some(State::Ready(loaded)) if loaded.is_gone()) {
            cells.remove(&code);
        }
    }
    let [sent, built] = both;
    if cells.contains_key(&sent) { sent } else { built }
}

/// Modules of one session that are not decided: one that names modules and does not send
/// them must not keep others from having theirs.
const MOST_UNDECIDED: usize = 64;

/// What is looked for or loaded on behalf of a session.
fn undecided(cells: &HashMap<CodeId, State>, session: &Arc<Session>) -> usize {
    let is_its =
        |waiting: &&Vec<Job>| waiting.first().is_some_and(|job| Arc::ptr_eq(&job.session, session));
    cells.values().filter_map(State::waiting).filter(is_its).count()
}

/// Forgets a module that nobody needs: a refusal, or one that no session has declared. Its
/// code stays in the cache. Whether there was one.
fn make_room(cells: &mut HashMap<CodeId, State>) -> bool {
    let refused = |state: &State| matches!(state, State::Refused(_));
    let unused = |state: &State| matches!(state, State::Ready(it) if Arc::strong_count(it) == 1);
    let find = |is_meant: &dyn Fn(&State) -> bool| {
        cells.iter().find(|(_, state)| is_meant(state)).map(|(code, _)| *code)
    };
    let Some(code) = find(&refused).or_else(|| find(&unused)) else {
        return false;
    };
    cells.remove(&code).is_some()
}

/// Remembers that an image is not taken as its master sends it, when there is nothing else to
/// make it of.
fn refuse_sent(cells: &mut HashMap<CodeId, State>, job: &Job, cause: &Cause) {
    if let Some(wanted) = &job.bound.image {
        cells.entry(CodeId::Image(wanted.sent)).or_insert(State::Refused(cause.clone()));
    }
}

/// Whether this code was sent by the master of those who wait for it.
fn was_sent(code: CodeId, waiting: &[Job]) -> bool {
    let wanted = waiting.first().and_then(|job| job.bound.image.as_ref());
    wanted.is_some_and(|wanted| CodeId::Image(wanted.sent) == code)
}

fn is_lasting(cause: &Cause) -> bool {
    !cause.is_recoverable() && !matches!(cause, Cause::Internal { .. })
}
