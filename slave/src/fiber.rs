//! Attempts that may wait: each a future that a slot polls, and that waits without one.
//!
//! Two kinds there are: WASI programs, and tasks whose module imports a call that waits.
//!
//! Owns: the state of each attempt between its turns in a slot, and who may stop it. Does
//! not: choose a slot; the queue does. Invariants: an attempt is polled by one slot at a
//! time; it ends once, and its end is told once; a stop reaches it wherever it is.

pub(crate) mod control;
mod engine;
pub(crate) mod place;
mod table;
mod task;

use crate::core::Core;
use crate::job::{Job, Target};
use crate::kept;
use crate::program::{self, Ports};
use crate::queue::Woken;
use crate::sandbox::journal::tell_dropped;
use crate::slot::{fail, internal, micros, tell};
use crate::watch::{Left, Stop, Watch};
use control::Control;
use dpfw_protocol::error::Cause;
use dpfw_protocol::message::Timing;
use dpfw_protocol::payload::Payload;
use engine::Ready;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, Instant};
pub(crate) use table::Fibers;
use wasmtime::Engine;

/// An attempt from its start to its end.
pub(crate) type Running = Pin<Box<dyn Future<Output = Ended> + Send>>;

/// How an attempt ended, and what is known of its cost.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) outcome: Result<Payload, Cause>,
    pub(crate) timing: Timing,
    /// How many calls it was: more than one of a chunk of a map.
    pub(crate) calls: u32,
}

/// One attempt that may wait.
pub(crate) struct Fiber {
    pub(crate) job: Job,
    pub(crate) engine: Engine,
    core: Arc<Core>,
    /// How long it may hold a slot.
    time: Duration,
    /// A program's.
    ports: Option<Ports>,
    control: Arc<Control>,
    inner: Mutex<Inner>,
}

struct Inner {
    stage: Stage,
    /// Why it has to stop, if not for what its slot's watch says.
    stop: Option<Cause>,
    queued: Duration,
    /// How long it held a slot.
    ran: Duration,
    /// Whether the last that its master was told is that it waits.
    told: bool,
}

enum Stage {
    /// It waits, since then.
    Waiting(Running, Instant),
    /// It waits for a slot.
    Woken(Running),
    /// A slot polls it; whether it was woken meanwhile.
    Polled {
        woken: bool,
    },
    Over,
}

/// Where an attempt was when it was stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stopped {
    /// It waited, and is over.
    Here,
    /// It runs, and will be.
    InItsSlot,
    /// It was over.
    Before,
}

/// What a slot does with an attempt after a turn.
#[derive(Debug, PartialEq, Eq)]
enum After {
    /// It waits; whoever wakes it puts it into the queue.
    Waits,
    /// It is in the queue already.
    Woken,
    Ends(Cause),
}

impl Fiber {
    /// Makes the future of an attempt. The one that asked for it polls it first.
    ///
    /// # Errors
    /// The job and the [`Cause`] that it fails with.
    fn new(
        core: &Arc<Core>,
        mut job: Job,
        target: &Target,
        ready: Ready,
        started: Instant,
    ) -> Result<Self, Box<(Job, Cause)>> {
        let control = Arc::new(Control::default());
        let engine = ready.engine().clone();
        let (running, ports) = match ready {
            Ready::Task(prepared) => {
                (task::begin(core, &mut job, target, prepared, &control), None)
            }
            Ready::Program(prepared) => {
                match program::begin(core, &job, target, prepared, &control) {
                    Ok((running, ports)) => (running, Some(ports)),
                    Err(cause) => return Err(Box::new((job, cause))),
                }
            }
        };
        let inner = Inner {
            stage: Stage::Woken(running),
            stop: None,
            queued: started.saturating_duration_since(job.arrived),
            ran: Duration::ZERO,
            told: false,
        };
        let time = core.limits.granted(job.limits.as_deref()).time;
        let (core, inner) = (Arc::clone(core), Mutex::new(inner));
        Ok(Self { job, engine, core, time, ports, control, inner })
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How long it may still hold a slot.
    pub(crate) fn time_left(&self) -> Duration {
        self.time.saturating_sub(self.lock().ran)
    }

    /// A turn in a slot whose watch it has entered. Leaves the watch.
    pub(crate) fn take_turn(self: &Arc<Self>, watch: &Arc<Watch>) {
        let Some(mut running) = self.begin_turn() else {
            watch.leave();
            return;
        };
        self.control.set_watch(Some(watch));
        let started = Instant::now();
        let waker = Waker::from(Arc::clone(self));
        let _within = self.core.helm.handle().enter();
        let turn = std::panic::AssertUnwindSafe(|| {
            running.as_mut().poll(&mut Context::from_waker(&waker))
        });
        let polled = std::panic::catch_unwind(turn);
        let left = watch.leave();
        self.control.set_watch(None);
        let ran = started.elapsed();
        match polled {
            Ok(Poll::Pending) => match self.end_turn(running, ran, &left) {
                After::Waits => self.core.pacer.arm(),
                After::Woken => self.core.queue.resume(Woken::Fiber(Arc::clone(self))),
                After::Ends(cause) => self.stopped(cause),
            },
            Ok(Poll::Ready(ended)) => {
                drop(running);
                self.ended(ended, ran, &left);
            }
            Err(panic) => self.stopped(internal(&*panic)),
        }
    }

    fn begin_turn(&self) -> Option<Running> {
        let mut inner = self.lock();
        match std::mem::replace(&mut inner.stage, Stage::Polled { woken: false }) {
            Stage::Woken(running) => {
                self.core.fibers.count_turn();
                Some(running)
            }
            other => {
                inner.stage = other;
                None
            }
        }
    }

    fn end_turn(&self, running: Running, ran: Duration, left: &Left) -> After {
        let mut inner = self.lock();
        inner.ran += ran;
        if left.announced {
            inner.told = false;
        }
        let woken = matches!(inner.stage, Stage::Polled { woken: true });
        let stop = inner.stop.take().or_else(|| self.cause_of(left));
        let (stage, after) = match stop {
            Some(cause) => (Stage::Over, After::Ends(cause)),
            None if woken => (Stage::Woken(running), After::Woken),
            None => (Stage::Waiting(running, Instant::now()), After::Waits),
        };
        inner.stage = stage;
        after
    }

    /// Why it was stopped in its slot. The time that it had there is what was left of what is
    /// allowed.
    fn cause_of(&self, left: &Left) -> Option<Cause> {
        Some(match left.stop? {
            Stop::Time(_) => Stop::Time(self.time).into(),
            stop => stop.into(),
        })
    }

    /// It has come to its end by itself, or because it was interrupted.
    fn ended(&self, ended: Ended, ran: Duration, left: &Left) {
        let Ended { outcome, timing, calls } = ended;
        let mut inner = self.lock();
        inner.stage = Stage::Over;
        inner.ran += ran;
        let init = Duration::from_micros(timing.init_us);
        let run_us = micros(inner.ran.saturating_sub(init));
        let timing = Timing { queued_us: micros(inner.queued), run_us, ..timing };
        let stop = inner.stop.take().or_else(|| self.cause_of(left));
        let ran = inner.ran;
        drop(inner);
        self.job.bound.learn(ran / calls.max(1));
        self.finish();
        // What was interrupted says so; what was quicker has its own end.
        match (outcome, stop) {
            (Ok(result), _) => {
                let told = match self.job.keep() {
                    // In one piece: it is not copied once more.
                    Some(key) => {
                        kept::keep(&self.core, &self.job, key, timing, result.into_bytes())
                    }
                    None => tell(&self.job, timing, result),
                };
                if let Err(cause) = told {
                    fail(&self.job, timing, cause);
                }
            }
            (Err(Cause::Cancelled), Some(stop)) => self.fail(timing, ran, stop),
            (Err(cause), _) => fail(&self.job, timing, cause),
        }
    }

    /// It was stopped, and its sandbox is gone.
    fn stopped(&self, cause: Cause) {
        let mut inner = self.lock();
        inner.stage = Stage::Over;
        let timing = Timing {
            queued_us: micros(inner.queued),
            run_us: micros(inner.ran),
            ..Timing::default()
        };
        let ran = inner.ran;
        drop(inner);
        self.finish();
        self.fail(timing, ran, cause);
    }

    fn fail(&self, timing: Timing, ran: Duration, cause: Cause) {
        if cause == Cause::Draining {
            self.core.drain.interrupted(&self.job, ran);
        }
        fail(&self.job, timing, cause);
    }

    /// Gives back what an attempt has that is over.
    fn finish(&self) {
        match &self.ports {
            Some(ports) => ports.finish(&self.job),
            None => tell_dropped(&self.job.session, self.job.attempt, self.control.dropped()),
        }
        self.core.fibers.remove(self);
    }

    /// Stops it, wherever it is.
    pub(crate) fn stop(&self, cause: Cause) -> Stopped {
        let mut inner = self.lock();
        match std::mem::replace(&mut inner.stage, Stage::Over) {
            Stage::Waiting(running, _) | Stage::Woken(running) => {
                drop(inner);
                drop(running);
                self.stopped(cause);
                self.job.session.outbox.flush();
                self.core.freed();
                Stopped::Here
            }
            Stage::Polled { woken } => {
                inner.stage = Stage::Polled { woken };
                inner.stop.get_or_insert(cause);
                self.control.stop();
                self.engine.increment_epoch();
                Stopped::InItsSlot
            }
            Stage::Over => Stopped::Before,
        }
    }

    /// The same on another thread: giving a large sandbox back takes time that the one that
    /// serves the links does not have. Where there is none any more, the slave has ended, and
    /// whoever ends it stops all that wait.
    pub(crate) fn stop_aside(self: Arc<Self>, cause: Cause) {
        let handle = self.core.helm.handle().clone();
        // It ends with the runtime of the links, which is the slave's.
        drop(handle.spawn_blocking(move || self.stop(cause)));
    }

    /// Whether its master is to be told now that it waits, and whether that is still to come.
    fn look(&self, now: Instant, patience: Duration) -> (bool, bool) {
        let mut inner = self.lock();
        let Stage::Waiting(_, since) = &inner.stage else {
            return (false, false);
        };
        let is_due = now.saturating_duration_since(*since) >= patience;
        let is_news = !inner.told;
        inner.told |= is_due;
        (is_due && is_news, !is_due && is_news)
    }

    /// Whether it comes nearer to its end, or will by itself: it has a slot or may have the next
    /// one, or sleeps. What a program waits for is not known here, so none is believed to sleep.
    fn goes_on(&self) -> bool {
        match self.lock().stage {
            Stage::Waiting(..) => return self.control.is_sleeping(),
            Stage::Polled { .. } | Stage::Over => return true,
            Stage::Woken(_) => {}
        }
        self.is_building() || self.core.queue.admits(&self.job.session)
    }

    fn is_waiting(&self) -> bool {
        matches!(self.lock().stage, Stage::Waiting(..))
    }

    /// Whether it builds an entry for which others may wait.
    pub(crate) fn is_building(&self) -> bool {
        self.control.is_building()
    }

    /// What arrives for its stdin; a task has none, and passes it over.
    ///
    /// # Errors
    /// What the master did wrong.
    pub(crate) fn feed(&self, body: &[u8], last: bool) -> Result<(), String> {
        let Some(ports) = &self.ports else {
            return Ok(());
        };
        ports.input.push(body, last).map_err(|e| e.to_string())
    }
}

impl Wake for Fiber {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        let mut inner = self.lock();
        match std::mem::replace(&mut inner.stage, Stage::Over) {
            Stage::Waiting(running, _) => {
                inner.stage = Stage::Woken(running);
                drop(inner);
                self.core.queue.resume(Woken::Fiber(Arc::clone(self)));
            }
            Stage::Polled { .. } => inner.stage = Stage::Polled { woken: true },
            other => inner.stage = other,
        }
    }
}

impl std::fmt::Debug for Fiber {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Fiber({} of {:?})", self.job.attempt, self.job.session)
    }
}
