//! What the threads of a slave share, and the ways of an attempt between them.

use crate::audit::{AuditLog, Event, short};
use crate::claims::Claims;
use crate::drain::Drain;
use crate::engine::Engines;
use crate::fiber::Fibers;
use crate::grants::Opened;
use crate::helm::Helm;
use crate::job::Job;
use crate::limits::{Limits, MOST_DECLARED};
use crate::module::code::{CodeId, Wanted};
use crate::module::image::{self, Source};
use crate::module::load::{Loaded, Modules, Release};
use crate::pacer::{Pacer, TICK};
use crate::principals::Principals;
use crate::queue::{Queue, Released, Reservation, Wished};
use crate::relief::Relief;
use crate::residents::Residents;
use crate::session::{Session, give_back, refuse, tell_reserved};
use crate::shares::Supply;
use crate::standing::Trusted;
use crate::store::{DirectoryError, Store};
use crate::watch::{Seen, Watch};
use dpfw_protocol::attempts::AttemptSet;
use dpfw_protocol::error::Cause;
use dpfw_protocol::ids::{AttemptId, ConversationId, ModuleHash};
use dpfw_protocol::message::{Draining, Started, Status};
use dpfw_protocol::recycle::Recycler;
use std::collections::HashSet;
use std::fmt;
use std::path::Path;
use std::pin::pin;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Instant;

mod masters;

/// The shared part of a slave.
pub(crate) struct Core {
    pub(crate) limits: Limits,
    pub(crate) engines: Engines,
    pub(crate) queue: Queue,
    pub(crate) helm: Helm,
    pub(crate) pacer: Pacer,
    pub(crate) store: Store,
    pub(crate) claims: Claims,
    pub(crate) fibers: Fibers,
    pub(crate) relief: Relief,
    pub(crate) residents: Residents,
    pub(crate) grants: Opened,
    pub(crate) started: Instant,
    pub(crate) drain: Drain,
    pub(crate) principals: Principals,
    pub(crate) trusted: Trusted,
    /// Bytes of arguments of the attempts that are not over, and of payloads that arrive.
    pub(crate) held: Arc<Supply>,
    /// Bytes of the tasks and methods that sessions have declared.
    pub(crate) declared: Arc<Supply>,
    /// Bytes of images that are fetched, until they are sent.
    pub(crate) fetched: Arc<Supply>,
    /// Watches of the store.
    pub(crate) watched: Arc<Supply>,
    pub(crate) audit: AuditLog,
    /// For payloads that arrive.
    pub(crate) buffers: Recycler,
    watches: Vec<Arc<Watch>>,
    modules: OnceLock<(Arc<Modules>, Release)>,
    sessions: Mutex<Vec<Arc<Session>>>,
    telling: Mutex<()>,
    phase: AtomicU8,
    /// Notified when an attempt ends while the slave drains.
    ended: tokio::sync::Notify,
    /// Notified when a session begins or ends.
    changed: tokio::sync::Notify,
}

/// What a slave does with new work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Phase {
    Serving = 0,
    Draining = 1,
    Ended = 2,
}

impl Core {
    /// A core for so many slots. Modules are added by [`set_modules`](Self::set_modules).
    pub(crate) fn new(limits: Limits, engines: Engines, slots: usize) -> std::io::Result<Self> {
        Self::granting(limits, engines, slots, Opened::default())
    }

    /// The same for guests that are granted something.
    pub(crate) fn granting(
        limits: Limits,
        engines: Engines,
        slots: usize,
        grants: Opened,
    ) -> std::io::Result<Self> {
        Ok(Self {
            limits,
            engines,
            queue: Queue::new(limits.queued),
            helm: Helm::new()?,
            pacer: Pacer::new()?,
            store: Store::new(&limits),
            claims: Claims::default(),
            fibers: Fibers::new(&limits),
            relief: Relief::default(),
            residents: Residents::new(&limits),
            grants,
            started: Instant::now(),
            drain: Drain::default(),
            principals: Principals::default(),
            trusted: Trusted::default(),
            held: Supply::new(limits.held()),
            declared: Supply::new(MOST_DECLARED),
            fetched: Supply::new(limits.fetched()),
            watched: Supply::new(limits.watches as u64),
            audit: AuditLog::default(),
            buffers: Recycler::default(),
            watches: (0..slots).map(|_| Arc::default()).collect(),
            modules: OnceLock::new(),
            sessions: Mutex::default(),
            telling: Mutex::default(),
            phase: AtomicU8::new(Phase::Serving as u8),
            ended: tokio::sync::Notify::new(),
            changed: tokio::sync::Notify::new(),
        })
    }

    /// Takes the modules, which need the core to hand jobs on.
    pub(crate) fn set_modules(&self, modules: Arc<Modules>, release: Release) {
        // Once, by the builder.
        let _ = self.modules.set((modules, release));
    }

    /// Keeps the store in a directory. Once, by the builder.
    pub(crate) fn keep_store_in(self: &Arc<Self>, directory: &Path) -> Result<(), DirectoryError> {
        self.store.keep_in(directory)?;
        let core = Arc::downgrade(self);
        // Those who waited for the disk were answered; all at once is one call for each link.
        self.store.on_told(Box::new(move || {
            if let Some(core) = core.upgrade() {
                core.linked().iter().for_each(|session| session.outbox.flush());
            }
        }));
        Ok(())
    }

    /// The slave can be reached from beyond this machine, or reaches beyond it, from now on:
    /// what it is sent is less trusted.
    pub(crate) fn set_beyond_loopback(&self) {
        if let Some((modules, _)) = self.modules() {
            modules.set_beyond_loopback();
        }
    }

    pub(crate) fn modules(&self) -> Option<&(Arc<Modules>, Release)> {
        self.modules.get()
    }

    /// The slots.
    pub(crate) fn watches(&self) -> &[Arc<Watch>] {
        &self.watches
    }

    fn is(&self, phase: Phase) -> bool {
        self.phase.load(Ordering::Acquire) >= phase as u8
    }

    /// Whether the slave has ended, and its threads are to end.
    pub(crate) fn has_ended(&self) -> bool {
        self.is(Phase::Ended)
    }

    /// Whether nothing new is admitted.
    pub(crate) fn is_draining(&self) -> bool {
        self.is(Phase::Draining)
    }

    fn sessions(&self) -> MutexGuard<'_, Vec<Arc<Session>>> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes attempts that have arrived whole.
    pub(crate) fn admit(&self, batch: &mut Vec<Job>) {
        if self.is_draining() {
            for job in batch.drain(..) {
                give_back(&job.session, vec![job.attempt]);
            }
            return;
        }
        for job in batch.drain(..) {
            match job.bound.target() {
                Some(Ok(target)) => {
                    self.used(&job, &target.module);
                    // A master that asks for the image itself may ask for a name that was taken from
                    // it.
                    match job.bound.task.is_empty() {
                        true => {
                            let module = Arc::clone(&target.module);
                            self.released(job, Ok(module));
                        }
                        false => self.enqueue(job),
                    }
                }
                Some(Err(cause)) => {
                    let cause = cause.clone();
                    self.refuse(&job, cause);
                }
                None => match self.modules() {
                    Some((modules, release)) => modules.find(job, release),
                    None => self.refuse(&job, Cause::Draining),
                },
            }
        }
    }

    /// A job has come for what was loaded before.
    pub(crate) fn used(&self, job: &Job, module: &Loaded) {
        let now = job.arrived.saturating_duration_since(self.started);
        if let Some((modules, _)) = self.modules() {
            modules.used(module, now);
        }
        if job.bound.image.is_some() {
            image::used(self, module, now);
        }
    }

    fn enqueue(&self, job: Job) {
        if let Err(job) = self.queue.push(job) {
            let what = format!("{} attempts wait at the slave", self.limits.queued);
            self.refuse(&job, Cause::Busy { what });
        }
    }

    /// A job's module is there, or will not be.
    pub(crate) fn released(&self, job: Job, module: Result<Arc<Loaded>, Cause>) {
        let found = module.and_then(|module| {
            if let Some((modules, _)) = self.modules() {
                image::names::add(self, modules, &job.session, &job.bound, &module)?;
            }
            let master = &job.session.principal.0;
            let grant = self.grants.of(&module, job.bound.module, master)?;
            job.bound.find(module, grant).as_ref().map(drop).map_err(Clone::clone)
        });
        match found {
            Ok(()) if self.is_draining() => give_back(&job.session, vec![job.attempt]),
            Ok(()) => self.enqueue(job),
            Err(cause) => self.refuse(&job, cause),
        }
    }

    /// Ends an attempt that was not started.
    pub(crate) fn refuse(&self, job: &Job, cause: Cause) {
        self.tell_refused(&job.session, Some(job.bound.module), &cause);
        refuse(job, cause);
    }

    /// Tells the audit log that a session did not get what it asked for, if that was refused.
    pub(crate) fn tell_refused(
        &self,
        session: &Session,
        module: Option<ModuleHash>,
        cause: &Cause,
    ) {
        if let Some(what) = refused(cause) {
            self.tell_refusal(what, session, module, cause);
        }
    }

    /// Tells it that a session was refused something.
    pub(crate) fn tell_refusal(
        &self,
        what: &'static str,
        session: &Session,
        module: Option<ModuleHash>,
        why: impl fmt::Display,
    ) {
        self.audit.tell(|| Event::Refusal {
            what,
            master: Some(session.principal.0.clone()),
            module: module.map(|module| module.to_hex()),
            why: short(why),
        });
    }

    /// A master sent what a module or an image is made of, or it will not come.
    pub(crate) fn offered(&self, from: &Arc<Session>, code: CodeId, source: Result<Source, Cause>) {
        if let Some((modules, release)) = self.modules() {
            modules.offered(from, code, source, release);
        }
    }

    /// A master sent an image whole that is not taken.
    pub(crate) fn snapshot_refused(&self, from: &Arc<Session>, code: CodeId, cause: &Cause) {
        if let Some((modules, release)) = self.modules() {
            modules.snapshot_refused(from, code, cause, release);
        }
    }

    /// What this job needs may be made though it was refused before.
    pub(crate) fn forgive(&self, job: &Job) {
        if let Some((modules, _)) = self.modules() {
            modules.forgive(job);
        }
    }

    /// An image that a session's tasks may run on.
    pub(crate) fn image(&self, wanted: &Wanted) -> Option<(CodeId, Arc<Loaded>)> {
        self.modules()?.0.image(wanted)
    }

    /// Learns what is called what no more, and has what was called something when the slave ended
    /// called so again. Once, by the builder, when its store is there.
    pub(crate) fn keep_image_names(self: &Arc<Self>) {
        let core = Arc::downgrade(self);
        self.store.on_image_left(Box::new(move |held, key, what| {
            if let Some(core) = core.upgrade()
                && let Some((modules, _)) = core.modules()
            {
                image::names::left(&core, modules, (held, what), key);
            }
        }));
        if let Some((modules, _)) = self.modules() {
            image::again::restore(self, modules);
        }
    }

    /// Stops an attempt: one that waits is dropped, one that runs is interrupted.
    pub(crate) fn cancel(self: &Arc<Self>, session: &Arc<Session>, attempt: AttemptId) {
        let waiting = self.take(session, &[attempt]);
        if waiting.is_empty() {
            // One that is over has sent its answer. One that waited may be in a slot
            // by now, or may not: it knows itself.
            let is_running = self.watches.iter().any(|watch| watch.cancel(session, attempt));
            match self.fibers.find(session, attempt) {
                _ if is_running => {}
                Some(fiber) => fiber.stop_aside(Cause::Cancelled),
                None => self.residents.stop_spawning(self, session, Some(attempt)),
            }
        }
        waiting.iter().for_each(|job| self.refuse(job, Cause::Cancelled));
    }

    /// Gives attempts back that have not started.
    pub(crate) fn recall(&self, session: &Arc<Session>, attempts: &[AttemptId]) {
        let jobs = self.take(session, attempts);
        give_back(session, jobs.iter().map(|job| job.attempt).collect());
    }

    /// Takes attempts out that have not started. Looks where they go in the order in which
    /// they go there, so that none slips through.
    fn take(&self, session: &Arc<Session>, attempts: &[AttemptId]) -> Vec<Job> {
        let mut jobs = match self.modules() {
            Some((modules, _)) => {
                let named: HashSet<_> = attempts.iter().copied().collect();
                let is_its = |job: &Job| Arc::ptr_eq(&job.session, session);
                modules.take(|job| is_its(job) && named.contains(&job.attempt))
            }
            None => Vec::new(),
        };
        if jobs.len() < attempts.len() {
            jobs.extend(self.queue.take(session, attempts));
        }
        if jobs.len() < attempts.len() {
            jobs.extend(self.residents.take(session, |attempt| attempts.contains(&attempt)));
        }
        jobs
    }

    /// A session wishes for all slots. Every wish is answered once.
    pub(crate) fn reserve(&self, wish: Reservation, wait: bool) {
        if self.is_draining() {
            return tell_reserved(&wish, false);
        }
        match self.queue.reserve(wish.clone(), wait) {
            Wished::Granted => self.granted(&wish),
            Wished::Refused => tell_reserved(&wish, false),
            Wished::Waiting => {}
        }
    }

    /// A session has all slots now.
    pub(crate) fn granted(&self, reservation: &Reservation) {
        tell_reserved(reservation, true);
        self.tell_others(&reservation.session);
    }

    /// A session gives its slots, or its wish for them, back.
    pub(crate) fn release(&self, session: &Arc<Session>) {
        let Released { withdrawn, granted } = self.queue.release(session);
        if let Some(withdrawn) = withdrawn {
            tell_reserved(&withdrawn, false);
        }
        match granted {
            Some(next) => self.granted(&next),
            None => self.tell_others(session),
        }
    }

    fn tell_others(&self, than: &Arc<Session>) {
        let others: Vec<_> =
            self.sessions().iter().filter(|s| !Arc::ptr_eq(s, than)).cloned().collect();
        others.iter().for_each(|session| self.tell_status(session));
    }

    /// How the slave stands, as a session sees it.
    pub(crate) fn status(&self, session: &Arc<Session>) -> Status {
        let (queued, running) = self.queue.counts();
        let waiting = self.fibers.counts().1;
        let busy = self.watches.iter().filter(|w| w.is_busy()).count();
        let (upto, attempts, others) = self.attempts(session);
        Status {
            slots: self.watches.len() as u32,
            running: running as u32,
            waiting: waiting as u32,
            sandboxes: (busy + waiting) as u32,
            queued: queued as u32,
            taken: self.queue.is_taken_from(session),
            upto,
            attempts,
            others,
        }
    }

    /// The session's attempts, up to which one: those in a slot, and the others. Looks where
    /// they go in the order in which they go there, so that none slips through.
    fn attempts(&self, session: &Arc<Session>) -> (AttemptId, AttemptSet, AttemptSet) {
        let upto = session.upto();
        let mut others: Vec<_> = session.arriving().iter().copied().collect();
        if let Some((modules, _)) = self.modules() {
            others.extend(modules.attempts(session));
        }
        others.extend(self.queue.unstarted(session));
        let in_slots: AttemptSet = self.watches.iter().filter_map(|w| w.running(session)).collect();
        // Those that gave their slot back since are here still.
        others.extend(self.fibers.attempts(session));
        others.extend(self.residents.attempts(session));
        others.retain(|attempt| in_slots.as_slice().binary_search(attempt).is_err());
        (upto, in_slots, others.into_iter().collect())
    }

    pub(crate) fn tell_status(&self, session: &Arc<Session>) {
        self.append_status(session);
        session.outbox.flush();
    }

    /// The same, which leaves with what is written next.
    pub(crate) fn append_status(&self, session: &Arc<Session>) {
        // Told in the order in which they were true.
        let _order = self.telling.lock().unwrap_or_else(PoisonError::into_inner);
        if let Err(error) = session.outbox.message(ConversationId::LINK, &self.status(session)) {
            // Of billions of attempts so few can be left that their distances do not fit.
            tracing::error!(%error, "no master can be told which attempts there are");
        }
    }

    /// What the pacer does at each tick. Whether there may be something to do at the next.
    pub(crate) fn tick(&self, now: Instant) -> bool {
        let mut busy = false;
        for watch in &self.watches {
            match watch.look(now, TICK) {
                Seen::Free => {}
                Seen::Busy => busy = true,
                Seen::Unannounced(session, attempt) => {
                    busy = true;
                    let started = Started { attempts: vec![attempt] };
                    // It always fits a frame.
                    let _ = session.outbox.message(ConversationId::LINK, &started);
                }
            }
        }
        let waits = self.fibers.tick(now, TICK);
        if busy {
            let sessions = self.sessions().clone();
            sessions.iter().for_each(|session| session.outbox.flush());
        }
        busy || waits
    }

    /// Admits nothing new and gives back what waits.
    pub(crate) fn begin_drain(self: &Arc<Self>) {
        if self.phase.fetch_max(Phase::Draining as u8, Ordering::AcqRel) >= Phase::Draining as u8 {
            return;
        }
        // Those of others that wait have to go on to end.
        self.queue.open();
        let sessions = self.sessions().clone();
        for session in &sessions {
            // It always fits a frame.
            let _ = session.outbox.message(ConversationId::LINK, &Draining {});
            let waiting = self.queue.take_session(session);
            give_back(session, waiting.iter().map(|job| job.attempt).collect());
            session.outbox.flush();
        }
        if let Some((modules, _)) = self.modules() {
            for job in modules.take(|_| true) {
                give_back(&job.session, vec![job.attempt]);
            }
        }
        self.residents.drain(self);
    }

    /// Waits until nothing runs.
    pub(crate) async fn idle(&self) {
        loop {
            let mut ended = pin!(self.ended.notified());
            ended.as_mut().enable();
            if self.queue.counts().1 == 0 && self.fibers.is_empty() && self.residents.is_quiet() {
                return;
            }
            ended.await;
        }
    }

    /// A slot is free again.
    pub(crate) fn freed(&self) {
        if self.is_draining() {
            self.ended.notify_waiters();
        }
    }

    /// Stops the guests that run or wait; how many there are.
    pub(crate) fn interrupt(self: &Arc<Self>) -> usize {
        let waiting = self.fibers.stop(&Cause::Draining) + self.residents.interrupt(self);
        waiting + self.watches.iter().filter(|watch| watch.shut_down()).count()
    }

    /// Ends everything: guests are interrupted, links closed, threads let go.
    pub(crate) fn end(self: &Arc<Self>, code: u16, reason: &str) {
        self.phase.fetch_max(Phase::Ended as u8, Ordering::AcqRel);
        // First, so that nothing starts after what runs was interrupted.
        let never_started = self.queue.stop();
        self.interrupt();
        for session in self.sessions().clone() {
            session.outbox.close(code, reason);
        }
        drop(never_started);
        self.fibers.clear();
        self.residents.clear();
        if let Some((modules, _)) = self.modules() {
            modules.stop();
        }
        self.helm.stop();
        self.pacer.arm();
    }

    /// Modules that are ready.
    pub(crate) fn loaded(&self) -> usize {
        self.modules().map_or(0, |(modules, _)| modules.ready())
    }

    /// The sessions that are linked now.
    pub(crate) fn linked(&self) -> Vec<Arc<Session>> {
        self.sessions().clone()
    }
}

/// What an audit log calls what was refused; nothing of an attempt that only came to its end before
/// it began.
fn refused(cause: &Cause) -> Option<&'static str> {
    match cause {
        Cause::Busy { .. } => Some("room"),
        Cause::Limit { .. } => Some("limit"),
        Cause::Rejected { .. } => Some("module"),
        _ => None,
    }
}

impl fmt::Debug for Core {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Core")
    }
}
