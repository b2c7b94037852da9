//! A slot: a thread that runs one attempt at a time, and leads while it has none.

mod answers;
mod batch;
#[cfg(test)]
mod tests;

use crate::core::Core;
use crate::engine::Pools;
use crate::fiber::place::Place;
use crate::job::{Job, NOTHING, Target};
use crate::kept;
use crate::limits::Granted;
use crate::queue::{Entering, Freed, Next, Woken};
use crate::residents::{self, Hands};
use crate::sandbox::abi::Given;
use crate::sandbox::host::{Allowance, Holder, Host, Lent};
use crate::sandbox::journal::tell_dropped;
use crate::sandbox::prepared::{Prepared, SlotEngines};
use crate::sandbox::run::put::Args;
use crate::sandbox::run::{Ended, Returned, Sandbox};
use crate::session::{Session, tell_of};
use crate::watch::Watch;
use dpfw_link::{Outbox, identity};
use dpfw_protocol::error::{Cause, Limit};
use dpfw_protocol::ids::AttemptId;
use dpfw_protocol::limits::INLINE;
use dpfw_protocol::message::{Done, Failed, Loading, MessageError, TaskFlags, Timing};
use dpfw_protocol::payload::Payload;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

pub(crate) use answers::Answers;

/// Before what is expected to take longer, what waits is written.
pub(crate) const SHORT: Duration = Duration::from_micros(50);

/// A slot that has work looks at the network this often.
pub(crate) const TURN: Duration = Duration::from_micros(200);

/// A result of this size is sent from the memory of its sandbox. Below it a copy costs less
/// than a sandbox that is thrown away on another thread.
const LARGE: u64 = 1 << 20;

/// Sandboxes of a slot that may wait for their results to be sent: half of its pool.
const KEPT: usize = Pools::SLAVE.slot as usize / 2;

/// `()`, encoded.
const NIL: &[u8] = &[0xc0];

/// With what an attempt begins.
enum Admitted {
    /// It holds its slot to its end.
    Plainly,
    /// It may wait, and has a place for its sandbox.
    Waiting(Place),
}

/// A sandbox that has run.
type Spent = Option<Sandbox>;

/// One slot's own state; nothing in it is shared with another slot.
pub(crate) struct Slot {
    core: Arc<Core>,
    lent: Arc<Lent>,
    watch: Arc<Watch>,
    engines: SlotEngines,
    answers: Answers,
    turned: Instant,
    /// Shared with the sandboxes whose memory holds a result that is being sent.
    kept: Arc<()>,
    /// Whose sandboxes are that wait to be used again.
    nobody: Arc<Session>,
}

impl Slot {
    /// A slot of a slave.
    ///
    /// # Errors
    /// [`Cause::Internal`] if there is no engine to be had.
    pub(crate) fn new(core: &Arc<Core>, watch: &Arc<Watch>) -> Result<Self, Cause> {
        let now = Instant::now();
        Ok(Self {
            core: Arc::clone(core),
            lent: Arc::new(Lent {
                core: Arc::clone(core),
                holder: Holder::Slot(Arc::clone(watch)),
            }),
            watch: Arc::clone(watch),
            engines: SlotEngines::new(core.engines)?,
            answers: Answers::new(now),
            turned: now,
            kept: Arc::default(),
            nobody: Arc::new(Session::detached(identity("nobody").peer, Outbox::nowhere())),
        })
    }

    /// The slot's thread; ends when the slave does.
    pub(crate) fn work(&mut self) {
        let core = Arc::clone(&self.core);
        loop {
            let started = Instant::now();
            match self.next(&core, started) {
                Next::Run(job, Admitted::Waiting(place)) => {
                    self.before(&job);
                    let session = Arc::clone(&job.session);
                    self.start_fiber(job, place, started);
                    self.after(session);
                }
                Next::Run(job, Admitted::Plainly) if job.spawn.is_some() => {
                    let session = Arc::clone(&job.session);
                    self.before(&job);
                    residents::spawn(&mut self.hands(), job, started);
                    self.after(session);
                }
                Next::Run(mut job, Admitted::Plainly) => {
                    self.before(&job);
                    let spent = self.run(&mut job, started);
                    self.after(job.session);
                    // Nobody waits for it to be put back.
                    if let Some(sandbox) = spent {
                        self.keep(sandbox);
                    }
                }
                Next::Resume(Woken::Resident(resident, session)) => {
                    resident.take_turn(&mut self.hands(), &session, started);
                    self.after(session);
                }
                Next::Resume(Woken::Fiber(fiber)) => {
                    self.before(&fiber.job);
                    fiber.take_turn(&self.watch);
                    self.after(Arc::clone(&fiber.job.session));
                }
                Next::Nothing => {
                    self.flush();
                    match core.helm.try_lead() {
                        Some(lead) => {
                            lead.until(core.queue.ready());
                            drop(lead);
                            self.turned = Instant::now();
                        }
                        None => {
                            core.helm.ask_way();
                            core.queue.park(|| !core.helm.is_led());
                        }
                    }
                }
                Next::Stop => return self.flush(),
            }
        }
    }

    /// What to do next. One that may wait has to have a place for its sandbox, and is held back
    /// until there is one; its master sends no more of the kind meanwhile.
    fn next(&self, core: &Arc<Core>, started: Instant) -> Next<Admitted> {
        let mut held = Vec::new();
        let admit = |job: &Job| match may_wait(job) {
            Some(_) if job.spawn.is_none() => {
                Place::take(core, &job.session).map(Admitted::Waiting)
            }
            _ => Some(Admitted::Plainly),
        };
        let next = core.queue.next(|entering| self.enter(entering, started), admit, &mut held);
        let its = held.iter().map(|(session, attempt)| (session, *attempt));
        tell_of(its, |attempts| Loading { attempts });
        next
    }

    /// What a resident works with that has a turn here.
    fn hands(&mut self) -> Hands<'_> {
        Hands { core: &self.core, watch: &self.watch, answers: &mut self.answers }
    }

    /// From here on the attempt can be stopped.
    fn enter(&self, entering: Entering<'_>, started: Instant) {
        let (job, engine, time) = match entering {
            Entering::Job(job) => (job, self.engines.engine(), self.granted(job).time),
            Entering::Fiber(fiber) => (&fiber.job, &fiber.engine, fiber.time_left()),
        };
        self.watch.enter(&job.session, job.attempt, engine, started, job.deadline, time);
    }

    /// Begins an attempt that may wait and gives it its first turn.
    fn start_fiber(&self, job: Job, place: Place, started: Instant) {
        let core = &self.core;
        let fiber = match (gone(core, &job, started), may_wait(&job).cloned()) {
            (Some(cause), _) => Err(Box::new((job, cause))),
            (None, Some(target)) => core.fibers.start(core, job, &target, place, started),
            (None, None) => Err(Box::new((job, not_there()))),
        };
        match fiber {
            Ok(fiber) => {
                self.watch.move_to(&fiber.engine);
                fiber.take_turn(&self.watch);
            }
            Err(refused) => {
                let (job, cause) = *refused;
                let queued_us = micros(started.saturating_duration_since(job.arrived));
                fail(&job, Timing { queued_us, ..Timing::default() }, cause);
                self.watch.leave();
            }
        }
    }

    /// What waits to be written must not wait for a long task, nor for many short ones.
    fn before(&mut self, job: &Job) {
        let is_long = job.bound.cost() > SHORT || job.flags.has(TaskFlags::BATCH);
        if !self.answers.is_empty() && is_long {
            self.flush();
        }
        self.core.pacer.arm();
    }

    /// Accounts for the job, and looks after what it kept from being done.
    fn after(&mut self, session: Arc<Session>) {
        let Freed { granted, waiting } = self.core.queue.done(&session);
        if let Some(granted) = granted {
            self.core.granted(&granted);
        }
        let now = Instant::now();
        self.answers.add(&session, now, waiting);
        self.core.freed();
        if now.duration_since(self.turned) > TURN {
            self.turned = now;
            if let Some(lead) = self.core.helm.try_lead() {
                lead.turn();
            }
        }
    }

    fn flush(&mut self) {
        self.answers.flush();
    }

    /// Runs an attempt and queues its answer. Gives the sandbox that is to be put back.
    fn run(&mut self, job: &mut Job, started: Instant) -> Spent {
        let mut timing = Timing {
            queued_us: micros(started.saturating_duration_since(job.arrived)),
            ..Timing::default()
        };
        let outcome = self.contained(job, started, &mut timing);
        let spent = outcome.unwrap_or_else(|cause| {
            if cause == Cause::Draining {
                self.core.drain.interrupted(job, started.elapsed());
            }
            fail(job, timing, cause);
            None
        });
        // Only now: an attempt is here until its end was told.
        self.watch.leave();
        spent
    }

    /// The same as [`attempt`](Self::attempt); a panic in the slave's own code is an error of
    /// the attempt that met it.
    fn contained(
        &mut self,
        job: &mut Job,
        started: Instant,
        timing: &mut Timing,
    ) -> Result<Spent, Cause> {
        let attempt = AssertUnwindSafe(|| self.attempt(job, started, timing));
        catch_unwind(attempt).unwrap_or_else(|panic| Err(internal(&*panic)))
    }

    /// Runs the guest and queues its result.
    fn attempt(
        &mut self,
        job: &mut Job,
        started: Instant,
        timing: &mut Timing,
    ) -> Result<Spent, Cause> {
        if let Some(cause) = gone(&self.core, job, started) {
            return Err(cause);
        }
        let target = match job.bound.target() {
            Some(Ok(target)) => target.clone(),
            Some(Err(cause)) => return Err(cause.clone()),
            None => return Err(not_there()),
        };
        if target.function == NOTHING {
            return tell(job, *timing, NIL.into()).map(|()| None);
        }
        let prepared = self.engines.prepare(&target.module)?;
        if !wasmtime::Engine::same(&prepared.engine, self.engines.engine()) {
            self.watch.move_to(&prepared.engine);
        }
        match job.flags.has(TaskFlags::BATCH) {
            true => self.batch(job, &target, &prepared, started, timing),
            false => self.single(job, &target, &prepared, started, timing),
        }
    }

    /// A fresh sandbox, with what is left of the attempt's allowance.
    fn sandbox(
        &self,
        job: &Job,
        target: &Target,
        prepared: &Arc<Prepared>,
        left: Allowance,
    ) -> Result<Sandbox, Cause> {
        let host = Host::new(&self.lent, &job.session, job.attempt, left);
        let host = host.granted(target.grant.as_ref(), &prepared.engine);
        self.engines.sandbox(prepared, host, || self.watch.stop_of())
    }

    /// A sandbox has run, and may be used again.
    fn keep(&self, sandbox: Sandbox) {
        let left = Allowance::of(&self.core.limits.granted(None));
        let nobody = Host::new(&self.lent, &self.nobody, AttemptId(0), left);
        // It is gone if that fails; the slot is not.
        let kept = AssertUnwindSafe(|| self.engines.keep(sandbox, nobody));
        if let Err(panic) = catch_unwind(kept) {
            let cause = internal(&*panic);
            tracing::error!(%cause, "a sandbox cannot be put back");
        }
    }

    fn granted(&self, job: &Job) -> Granted {
        self.core.limits.granted(job.limits.as_deref())
    }

    /// The same for its sandboxes: what an image brings along is not counted.
    fn granted_on(&self, job: &Job, target: &Target) -> Granted {
        self.granted(job).beyond(&target.module)
    }

    fn single(
        &self,
        job: &mut Job,
        target: &Target,
        prepared: &Arc<Prepared>,
        started: Instant,
        timing: &mut Timing,
    ) -> Result<Spent, Cause> {
        let mut sandbox =
            self.sandbox(job, target, prepared, Allowance::of(&self.granted_on(job, target)))?;
        let entered = Instant::now();
        timing.init_us = micros(entered - started);
        let args = Args::Whole(std::mem::take(&mut job.args));
        let ended = sandbox.call(target.function, args);
        let left = Instant::now();
        timing.run_us = micros(left - entered);
        timing.memory = sandbox.memory_bytes();
        job.bound.learn(left - started);
        tell_dropped(&job.session, job.attempt, sandbox.finish().dropped());
        match ended {
            Ended::Returned(returned) => self.send(job, *timing, sandbox, &returned),
            Ended::Broken(error) => Err(sandbox.cause(&error, self.watch.stop_of())),
            Ended::Refused(cause) => Err(cause),
        }
    }

    /// Queues a result: a small one is copied into its frame, a large one stays where it
    /// is, and its sandbox with it.
    fn send(
        &self,
        job: &Job,
        timing: Timing,
        sandbox: Sandbox,
        returned: &Returned,
    ) -> Result<Spent, Cause> {
        let given = sandbox.result(returned)?;
        if let Some(key) = job.keep() {
            let allowed = self.granted(job).result;
            kept::check(&self.core, given.len(), allowed)?;
            let mut value = Vec::with_capacity(given.len() as usize);
            given.append_to(&mut value);
            kept::keep(&self.core, job, key, timing, value.into())?;
            return Ok(Some(sandbox));
        }
        let payload = given.len();
        self.check(job, payload)?;
        // What is sent is counted, what is kept for it is not: so it may not be much more.
        let is_worth_it = payload >= LARGE.max(sandbox.memory_bytes() / 2);
        if is_worth_it && Arc::strong_count(&self.kept) <= KEPT {
            let result = sandbox.into_result(returned, Arc::clone(&self.kept))?;
            return tell(job, timing, result).map(|()| None);
        }
        if let Given::Whole(bytes) = given
            && bytes.len() <= INLINE
        {
            let (done, conversation) =
                (Done { timing, payload, kept: None }, job.attempt.conversation());
            let outbox = &job.session.outbox;
            outbox
                .append(|queue| queue.message_with_slice(conversation, &done, bytes))
                .map_err(untold)?;
            return Ok(Some(sandbox));
        }
        let mut bytes = Vec::with_capacity(payload as usize);
        given.append_to(&mut bytes);
        tell(job, timing, bytes.into())?;
        Ok(Some(sandbox))
    }

    fn check(&self, job: &Job, payload: u64) -> Result<(), Cause> {
        within(payload, self.granted(job).result.min(job.session.most))
    }
}

/// Why an attempt need not start any more.
pub(crate) fn gone(core: &Core, job: &Job, now: Instant) -> Option<Cause> {
    match job.deadline {
        _ if !job.session.is_open() => Some(Cause::Cancelled),
        Some(deadline) if deadline <= now => Some(Cause::DeadlineExceeded),
        _ => kept::refusal(core, job),
    }
}

/// The task of an attempt, if it may wait without a slot.
fn may_wait(job: &Job) -> Option<&Target> {
    let target = job.bound.target()?.as_ref().ok()?;
    (target.waits() && target.function != NOTHING).then_some(target)
}

fn not_there() -> Cause {
    Cause::Internal { message: "its module is not there".into() }
}

/// Queues a result.
pub(crate) fn tell(job: &Job, timing: Timing, result: Payload) -> Result<(), Cause> {
    let done = Done { timing, payload: result.len() as u64, kept: None };
    let told = job.session.outbox.message_with(job.attempt.conversation(), &done, result);
    job.session.look_for_clog();
    told.map_err(untold)
}

fn untold(error: MessageError) -> Cause {
    Cause::Internal { message: error.to_string() }
}

/// Whether a result may be so large.
pub(crate) fn within(payload: u64, allowed: u64) -> Result<(), Cause> {
    match payload <= allowed {
        true => Ok(()),
        false => Err(Cause::Limit { limit: Limit::Result, allowed }),
    }
}

/// Queues an attempt's failure.
pub(crate) fn fail(job: &Job, timing: Timing, cause: Cause) {
    let failed = Failed { timing, failure: cause.into() };
    if let Err(error) = job.session.outbox.message(job.attempt.conversation(), &failed) {
        tracing::error!(%error, "a failure cannot be told");
    }
}

pub(crate) fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

/// A panic in the slave's own code, as an error of the task that met it.
pub(crate) fn internal(panic: &(dyn std::any::Any + Send)) -> Cause {
    let text = panic.downcast_ref::<&str>().map(|s| (*s).to_owned());
    let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
    Cause::Internal { message: text.unwrap_or_else(|| "a panic in the slave".into()) }
}
