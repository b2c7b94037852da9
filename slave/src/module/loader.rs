//! The loader's thread: looks modules up in the cache, and sees to it that those which are not
//! there are made of their bytes.
//!
//! Owns: what waits to be made, and what is being made. What it finds out it tells
//! [`Modules`]. Invariants: it compiles nothing itself, so that it is never long away; a panic
//! while a module is made is that module's error.

use super::cache::{Artifact, Cache, Label};
use super::code::CodeId;
use super::compile::{self, Clock};
use super::confine::make::Make;
use super::confine::{Confinement, Place};
use super::facts::Facts;
use super::globals;
use super::image::Source;
use super::image::build::Builder;
use super::image::turn::Turns;
use super::load::{Load, Modules, Release, Work};
use crate::core::Core;
use crate::engine::Engines;
use crate::limits::Limits;
use crate::session::Session;
use crate::slot::internal;
use crate::{sandbox, scarce};
use dpfw_protocol::error::{Cause, Limit};
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender};
use std::time::{Duration, Instant};

/// The loader's thread.
pub(super) struct Loader {
    pub(super) maker: Maker,
    pub(super) modules: Arc<Modules>,
    pub(super) release: Release,
    /// Of the compilers' threads.
    pub(super) stack: usize,
    /// One for each module at most.
    pub(super) waiting: VecDeque<Box<Load>>,
    pub(super) running: Vec<Running>,
}

/// What it takes to make modules.
#[derive(Clone)]
pub(super) struct Maker {
    pub(super) engines: Engines,
    pub(super) limits: Limits,
    pub(super) cache: Arc<Cache>,
    pub(super) turns: Arc<Turns>,
    pub(super) confinement: Arc<Confinement>,
    /// Where it is told what was made.
    pub(super) done: SyncSender<Work>,
}

/// A module that is being made.
pub(super) struct Running {
    code: CodeId,
    number: u64,
    whose: Arc<Session>,
    clock: Arc<Clock>,
    /// Whether a guest runs meanwhile.
    has_init: bool,
    /// Whether its tasks were refused, though its threads have not ended.
    is_late: bool,
    /// Its threads; they end when they are done.
    _pool: rayon::ThreadPool,
}

/// How often the loader looks whether anybody wants what an init makes.
const LOOK: Duration = Duration::from_secs(1);

/// How long the end of a slave waits for compilers, which look up at every pass.
const FAREWELL: Duration = Duration::from_secs(2);

impl Loader {
    /// The next work; meanwhile nobody waits for ever for a master that does not answer, or
    /// for a module that takes too long.
    fn next(&mut self, work: &Receiver<Work>) -> Option<Work> {
        loop {
            let asked = self.modules.ask_others();
            let compiled = self.refuse_late();
            let next = match asked.into_iter().chain(compiled).min() {
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

    pub(super) fn run(&mut self, work: &Receiver<Work>) {
        while let Some(next) = self.next(work) {
            match next {
                Work::Rename(..) | Work::Discard(_) => self.settle(next),
                _ if self.modules.has_stopped() => break,
                Work::Look(code) => self.look(code),
                Work::Touch(code) => self.maker.cache.touch(code),
                Work::Load(load) => self.waiting.push_back(load),
                Work::Made(number, outcome) => self.made(number, *outcome),
                Work::Stop => {}
            }
            while self.begin() {}
        }
        self.end(work);
    }

    /// Brings what is on disk to where the store is. Nothing else of what is left is done at the end.
    fn settle(&self, work: Work) {
        match work {
            Work::Rename(code, key) => self.modules.rename(code, &key),
            Work::Discard(code) => self.modules.discard(code),
            _ => {}
        }
    }

    fn look(&self, code: CodeId) {
        match catch_unwind(AssertUnwindSafe(|| self.maker.cache.get(code))) {
            Ok(None) => self.modules.not_cached(code),
            Ok(Some(artifact)) => self.modules.decided(code, None, Ok(artifact), &self.release),
            Err(panic) => self.decide(code, None, Err(internal(&*panic))),
        }
    }

    fn decide(&self, code: CodeId, number: Option<u64>, outcome: Result<Artifact, Cause>) {
        if let Err(cause) = &outcome {
            match code {
                CodeId::Module(_) => tracing::info!(%code, %cause, "a module is refused"),
                CodeId::Image(_) => tracing::info!(%code, %cause, "an image is refused"),
            }
        }
        self.modules.decided(code, number, outcome, &self.release);
    }

    /// Begins to make the next module that waits; whether there was one that may be begun.
    fn begin(&mut self) -> bool {
        let running: Vec<_> = self.running.iter().map(|r| Arc::as_ptr(&r.whose.holdings)).collect();
        let waiting = self.waiting.iter().map(|load| Arc::as_ptr(&load.whose.holdings));
        let Some(load) = compile::next(waiting, &running).and_then(|at| self.waiting.remove(at))
        else {
            if !self.waiting.is_empty() {
                self.let_unwanted_give_way();
            }
            return false;
        };
        if !self.modules.is_wanted(load.code, load.number) {
            let what = "nobody waited for the module any more".into();
            self.modules.decided(load.code, Some(load.number), Err(busy(what)), &self.release);
            return true;
        }
        let (code, number) = (load.code, load.number);
        if let Err(cause) = self.start(load) {
            self.decide(code, Some(number), Err(cause));
        }
        true
    }

    fn start(&mut self, load: Box<Load>) -> Result<(), Cause> {
        let clock = Arc::new(Clock::new(self.maker.time(&load.source)));
        // Whoever has it done waits for it on one thread.
        let is_confined = self.maker.confinement.is_due();
        let wasm = if is_confined { 0 } else { load.source.wasm_len() };
        let pool = compile::threads(&clock, wasm, self.stack)
            .map_err(|e| busy(format!("there are no threads to compile with: {e}")))?;
        let (code, number, whose) = (load.code, load.number, Arc::clone(&load.whose));
        let has_init = matches!(load.source, Source::Recipe { .. });
        let core = self.modules.core();
        let (maker, its_clock) = (self.maker.clone(), Arc::clone(&clock));
        pool.spawn(move || {
            let make = || maker.make(&load, core.as_ref(), &its_clock);
            let made = catch_unwind(AssertUnwindSafe(make));
            let outcome = made.unwrap_or_else(|panic| Err(maker.ended(&*panic, &its_clock)));
            drop((load, core));
            // There is nobody to be told if the slave has ended.
            let _ = maker.done.send(Work::Made(number, Box::new(outcome)));
        });
        let running = Running { code, number, whose, clock, has_init, is_late: false, _pool: pool };
        self.running.push(running);
        Ok(())
    }

    fn made(&mut self, number: u64, outcome: Result<Artifact, Cause>) {
        let Some(at) = self.running.iter().position(|running| running.number == number) else {
            return;
        };
        let Running { code, is_late, .. } = self.running.swap_remove(at);
        if !is_late {
            self.decide(code, Some(number), outcome);
        }
    }

    /// Refuses what has taken too long, whether or not its threads have noticed. When to look
    /// again.
    fn refuse_late(&mut self) -> Option<Duration> {
        let (mut next, mut late) = (None, Vec::new());
        for running in self.running.iter_mut().filter(|running| !running.is_late) {
            let left = running.clock.left();
            running.is_late = left.is_zero();
            match running.is_late {
                true => late.push((running.code, running.number)),
                false => {
                    // Whether anybody still wants an init is asked while it runs.
                    let left = if running.has_init { left.min(LOOK) } else { left };
                    next = Some(next.map_or(left, |next: Duration| next.min(left)));
                }
            }
        }
        // A process that compiles is killed, an init interrupted; the rest ends at a pass.
        self.running.iter().filter(|running| running.is_late).for_each(|r| r.clock.stop());
        for (code, number) in late {
            self.decide(code, Some(number), Err(too_slow(&self.maker.limits)));
        }
        for running in self.running.iter().filter(|running| running.has_init) {
            if !self.modules.is_wanted(running.code, running.number) {
                running.clock.stop();
            }
        }
        next
    }

    /// What is made for nobody ends, so that what somebody waits for can begin.
    fn let_unwanted_give_way(&self) {
        let unwanted = self.running.iter().find(|r| !self.modules.is_wanted(r.code, r.number));
        if let Some(running) = unwanted {
            running.clock.stop();
        }
    }

    /// Stops the compilers. One in a long pass is left to itself: it ends after it.
    fn end(&mut self, work: &Receiver<Work>) {
        self.running.iter().for_each(|running| running.clock.stop());
        let until = Instant::now() + FAREWELL;
        while !self.running.is_empty() {
            match work.recv_timeout(until.saturating_duration_since(Instant::now())) {
                Ok(Work::Made(number, _)) => self.running.retain(|r| r.number != number),
                Ok(left) => self.settle(left),
                Err(_) => break,
            }
        }
        // What is called something, and what is gone, is so when the slave is started again.
        work.try_iter().for_each(|left| self.settle(left));
        for running in &self.running {
            tracing::warn!(code = %running.code, "a compiler still works; it ends after a pass");
        }
    }
}

fn busy(what: String) -> Cause {
    Cause::Busy { what }
}

fn too_slow(limits: &Limits) -> Cause {
    let allowed = u64::try_from(limits.compile.as_millis()).unwrap_or(u64::MAX);
    Cause::Limit { limit: Limit::CompileTime, allowed }
}

impl Maker {
    fn make(
        &self,
        load: &Load,
        core: Option<&Arc<Core>>,
        clock: &Clock,
    ) -> Result<Artifact, Cause> {
        let Self { engines, limits, cache, turns, .. } = self;
        let place = self.confinement.place(clock)?;
        if let Source::Module(wasm) = &load.source {
            return build(engines, limits, cache, place, load.code, wasm);
        }
        let (session, attempt) = (&load.whose, load.attempt);
        let core = Arc::clone(core.ok_or(Cause::Draining)?);
        Builder { engines, limits, cache, place, core, clock, turns, session, attempt }
            .make(load.code, &load.source)
    }

    /// How long it may take.
    fn time(&self, source: &Source) -> Duration {
        match source {
            Source::Module(_) | Source::Snapshot { .. } => self.limits.compile,
            Source::Recipe { .. } => self.limits.compile.saturating_add(self.limits.image_time),
        }
    }

    /// Why the making of a module was unwound.
    fn ended(&self, panic: &(dyn std::any::Any + Send), clock: &Clock) -> Cause {
        match compile::has_expired(panic) {
            true if clock.is_stopped() => {
                busy("nobody waited for the module while it was compiled".into())
            }
            true => too_slow(&self.limits),
            false => internal(panic),
        }
    }
}

/// Makes a module of bytes what tasks can run: looked at, warmed, compiled, kept.
///
/// Its sections are looked at here, which takes as long as reading it; all that may take longer is
/// done where compiling is.
///
/// # Errors
/// The [`Cause`] with which it is refused.
pub(crate) fn build(
    engines: &Engines,
    limits: &Limits,
    cache: &Cache,
    place: Place<'_>,
    code: CodeId,
    wasm: &[u8],
) -> Result<Artifact, Cause> {
    let started = Instant::now();
    let facts = Facts::of(wasm, limits)?;
    sandbox::imports::check(&facts)?;
    let exported = globals::exported(wasm);
    let made_of = exported.as_deref().unwrap_or(wasm);
    let compiled = place.make(Make::Module(facts.first()), engines, limits, made_of)?;
    if let Some(why) = &compiled.cold {
        tracing::warn!(%code, why, "a module is not warmed: its tasks start slower");
    }
    let warmed = compiled.cold.is_none();
    let stored = cache.put(code, Label::new(facts, warmed, None), &compiled.code, None);
    let elapsed = started.elapsed();
    let (bytes, confined) = (wasm.len(), place.is_confined());
    tracing::info!(%code, bytes, ?elapsed, warmed, confined, "module loaded");
    stored.map_err(|error| scarce::cause_of_io("compiled code cannot be kept", &error))
}
