//! One master on a link: what it may say, and what follows from it.
//!
//! Owns: the session's bound tasks, the payloads that arrive, the order of attempt ids.
//! Invariants: an attempt's id is greater than all before it, so that nothing is run
//! twice; a message out of turn ends the link; when the link ends, what the session
//! started ends with it.

use crate::audit::{Event, Outcome, Proof, short};
use crate::core::Core;
use crate::job::Job;
use crate::queue::Reservation;
use crate::reader::Reader;
use crate::slot::fail;
use crate::watches::Watches;
use dpfw_link::{Link, LinkError, Outbox};
use dpfw_protocol::error::Cause;
use dpfw_protocol::hello::{Hello, Identity, Namespace};
use dpfw_protocol::ids::{AttemptId, ConversationId, PeerId, ResidentId, SessionId};
use dpfw_protocol::limits::{MAX_ATTEMPTS, MAX_LISTED};
use dpfw_protocol::message::{Message, Reserved, Returned, Timing, close};
use dpfw_protocol::store::Principal;
use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;
use tokio::sync::Notify;

/// What everybody in the slave may know of a session.
pub(crate) struct Session {
    pub(crate) id: Option<SessionId>,
    /// Whose it is; nobody's if it has no master.
    pub(crate) master: Option<Identity>,
    pub(crate) outbox: Outbox,
    pub(crate) namespace: Namespace,
    pub(crate) principal: Principal,
    /// The largest result that the master takes.
    pub(crate) most: u64,
    /// Bytes of a stream that the master takes unasked.
    pub(crate) window: u64,
    open: AtomicBool,
    /// Attempts that are not over.
    held: AtomicUsize,
    /// The last attempt that was taken in: it is among those below, or was admitted.
    upto: AtomicU64,
    /// Attempts whose arguments are still coming. Bounded by the payloads that may arrive.
    arriving: Mutex<BTreeSet<AttemptId>>,
    /// Set while the master does not take what it asked for.
    clogged: AtomicBool,
    clog: Notify,
    /// Calls of residents that are not over, and whose they are. As many as are held.
    calls: Mutex<HashMap<ConversationId, ResidentId>>,
    /// Held while a snapshot is read for it.
    fetching: Arc<()>,
    pub(crate) watches: Watches,
}

/// Bytes of results and values that may wait for a master. While more wait, nothing of its
/// session is started: it asks for results faster than it takes them.
const MOST_UNSENT: usize = 256 << 20;

/// Attempts of a session in the slave. More than were announced, because a master counts an
/// attempt as over when it reads the answer, which may be before the slave has cleared up.
pub(crate) const MOST_HELD: usize = 2 * MAX_ATTEMPTS;

/// An attempt and its arguments are counted for as long as this lives.
#[derive(Debug)]
pub(crate) struct Held {
    session: Arc<Session>,
    /// Of all sessions.
    total: Arc<AtomicU64>,
    bytes: u64,
}

impl Held {
    /// Whose it is.
    pub(crate) fn session(&self) -> &Arc<Session> {
        &self.session
    }

    /// Counts the attempt's arguments; whether there is room for them below `most`.
    pub(crate) fn take(&mut self, bytes: u64, most: u64) -> bool {
        // What is over any limit need not be counted to the byte.
        let bytes = bytes.min(most.saturating_add(1));
        self.bytes = bytes;
        self.total.fetch_add(bytes, Ordering::Relaxed).saturating_add(bytes) <= most
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.session.held.fetch_sub(1, Ordering::Relaxed);
        self.total.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

impl Session {
    fn of(theirs: &Hello, outbox: Outbox) -> Self {
        Self {
            id: theirs.session,
            master: Some(theirs.identity()),
            namespace: theirs.namespace.clone(),
            most: theirs.limits.payload,
            window: theirs.limits.window,
            ..Self::detached(theirs.peer.clone(), outbox)
        }
    }

    /// A session without a master.
    pub(crate) fn detached(principal: PeerId, outbox: Outbox) -> Self {
        Self {
            id: None,
            master: None,
            outbox,
            namespace: Namespace::default(),
            principal: Principal(principal),
            most: u64::MAX,
            window: u64::MAX,
            open: AtomicBool::new(true),
            held: AtomicUsize::new(0),
            upto: AtomicU64::new(0),
            arriving: Mutex::default(),
            clogged: AtomicBool::new(false),
            clog: Notify::new(),
            calls: Mutex::default(),
            fetching: Arc::default(),
            watches: Watches::default(),
        }
    }

    /// Counts an attempt; `None` if the session has as many as it may.
    pub(crate) fn hold(self: &Arc<Self>, total: &Arc<AtomicU64>) -> Option<Held> {
        let held = Held { session: Arc::clone(self), total: Arc::clone(total), bytes: 0 };
        (self.held.fetch_add(1, Ordering::Relaxed) < MOST_HELD).then_some(held)
    }

    fn calls(&self) -> MutexGuard<'_, HashMap<ConversationId, ResidentId>> {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A call of a resident begins; whether there is no other of its number.
    pub(crate) fn begin_call(&self, call: ConversationId, resident: ResidentId) -> bool {
        self.calls().insert(call, resident).is_none()
    }

    /// A call of a resident is over.
    pub(crate) fn end_call(&self, call: ConversationId) {
        self.calls().remove(&call);
    }

    /// Whose a call is that is not over.
    pub(crate) fn call(&self, call: ConversationId) -> Option<ResidentId> {
        self.calls().get(&call).copied()
    }

    /// The attempts whose arguments are still coming.
    pub(crate) fn arriving(&self) -> MutexGuard<'_, BTreeSet<AttemptId>> {
        self.arriving.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// All attempts up to this one were admitted, or are arriving.
    pub(crate) fn took(&self, upto: AttemptId) {
        self.upto.store(upto.0, Ordering::Release);
    }

    /// The last attempt that was taken in. Whoever looks where attempts are asks this first.
    pub(crate) fn upto(&self) -> AttemptId {
        AttemptId(self.upto.load(Ordering::Acquire))
    }

    /// The turn to read a snapshot, if nobody has it. The links' thread asks, and no other.
    pub(crate) fn begin_fetch(&self) -> Option<Arc<()>> {
        (Arc::strong_count(&self.fetching) == 1).then(|| Arc::clone(&self.fetching))
    }

    /// Whether the master does not take what it asked for.
    pub(crate) fn is_clogged(&self) -> bool {
        self.clogged.load(Ordering::Acquire)
    }

    /// Called when a large payload was queued.
    pub(crate) fn look_for_clog(&self) {
        if self.outbox.bulk_bytes() > MOST_UNSENT && !self.clogged.swap(true, Ordering::AcqRel) {
            self.clog.notify_one();
        }
    }

    /// Lets the session's attempts start again whenever its master has taken enough.
    async fn unclog(&self, core: &Core) -> LinkError {
        loop {
            self.clog.notified().await;
            self.outbox.bulk_below(MOST_UNSENT).await;
            self.clogged.store(false, Ordering::Release);
            core.queue.rouse();
        }
    }

    /// Whether it is a session of this master, if it is any.
    pub(crate) fn is_of(&self, master: Option<&Identity>) -> bool {
        master.is_some() && self.master.as_ref() == master
    }

    /// A newer session of its master took over.
    pub(crate) fn supersede(&self) {
        self.open.store(false, Ordering::Release);
        self.outbox.close(close::SUPERSEDED, &LinkError::Superseded.to_string());
    }

    /// Whether its link still stands.
    pub(crate) fn is_open(&self) -> bool {
        self.open.load(Ordering::Acquire)
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Session({} of {})", self.id.map_or(0, |id| id.0), self.principal.0)
    }
}

/// The link's task: reads what the master says until the link ends; gives why it did.
pub(crate) async fn serve(core: Arc<Core>, link: Link) -> LinkError {
    let Link { theirs, peer, mut inbox, outbox, heart, .. } = link;
    let session = Arc::new(Session::of(&theirs, outbox.clone()));
    if let Err(error) = core.join(&session) {
        tracing::info!(master = %theirs.peer, %peer, %error, "a master is not linked");
        audited(&core, &theirs, &peer, Outcome::Refused, Some(short(&error)));
        if let Some((code, reason)) = error.goodbye() {
            outbox.close(code, &reason);
        }
        return error;
    }
    tracing::info!(master = %theirs.peer, %peer, "a master is linked");
    audited(&core, &theirs, &peer, Outcome::Accepted, None);
    let mut end = End { core: &core, theirs: &theirs, peer: &peer, why: None };
    heart.say({
        let (core, session) = (Arc::clone(&core), Arc::clone(&session));
        move || {
            // Somebody has to; who is not linked sees nothing of either.
            core.store.sweep();
            core.relieve(Instant::now());
            core.tell_status(&session);
        }
    });
    let pump = tokio::spawn({
        let outbox = outbox.clone();
        async move { Link::pump(&outbox).await }
    });
    let mut reader = Reader::new(Arc::clone(&core), Arc::clone(&session));
    let error = tokio::select! {
        error = reader.read(&mut inbox) => error,
        error = pump => error.unwrap_or(LinkError::Ended),
        error = session.unclog(&core) => error,
        never = session.watches.tell(&core, &session) => match never {},
    };
    session.open.store(false, Ordering::Release);
    // First, so that a master that still hears is not told that its attempts were cancelled.
    match error.goodbye() {
        Some((code, reason)) => session.outbox.close(code, &reason),
        None => session.outbox.shut(),
    }
    session.watches.clear();
    core.leave(&session);
    tracing::info!(master = %theirs.peer, %error, "a master is gone");
    end.why = Some(short(&error));
    drop(end);
    error
}

/// Tells the audit log of a link's end, however it ends: with the slave itself nobody serves it
/// any more.
struct End<'a> {
    core: &'a Core,
    theirs: &'a Hello,
    peer: &'a str,
    why: Option<String>,
}

impl Drop for End<'_> {
    fn drop(&mut self) {
        let why = self.why.take().or_else(|| Some("the slave was ended".into()));
        audited(self.core, self.theirs, self.peer, Outcome::Ended, why);
    }
}

/// Tells the audit log what became of a connection whose peer has said who it is.
fn audited(core: &Core, theirs: &Hello, peer: &str, outcome: Outcome, why: Option<String>) {
    core.audit.tell(|| Event::Connection {
        outcome,
        peer: short(peer),
        name: Some(theirs.peer.clone()),
        role: Some(theirs.role),
        proof: Proof::None,
        session: theirs.session.map(|session| session.0),
        why,
    });
}

/// Tells each master of its attempts among these, in one message for all.
pub(crate) fn tell_of<'a, M: Message>(
    attempts: impl Iterator<Item = (&'a Arc<Session>, AttemptId)>,
    message: impl Fn(Vec<AttemptId>) -> M,
) {
    let mut told: Vec<(&Arc<Session>, Vec<AttemptId>)> = Vec::new();
    for (session, attempt) in attempts {
        match told.iter_mut().find(|(other, _)| Arc::ptr_eq(other, session)) {
            Some((_, attempts)) => attempts.push(attempt),
            None => told.push((session, vec![attempt])),
        }
    }
    for (session, attempts) in told {
        for attempts in attempts.chunks(MAX_LISTED) {
            // It always fits a frame.
            let _ = session.outbox.message(ConversationId::LINK, &message(attempts.to_vec()));
        }
        session.outbox.flush();
    }
}

/// Gives attempts back that have not started.
pub(crate) fn give_back(session: &Session, attempts: Vec<AttemptId>) {
    if attempts.is_empty() {
        return;
    }
    for attempts in attempts.chunks(MAX_LISTED) {
        let returned = Returned { attempts: attempts.to_vec() };
        if let Err(error) = session.outbox.message(ConversationId::LINK, &returned) {
            tracing::error!(%error, "attempts cannot be given back");
        }
    }
    session.outbox.flush();
}

/// Tells a session whether it holds all slots.
pub(crate) fn tell_reserved(reservation: &Reservation, granted: bool) {
    let outbox = &reservation.session.outbox;
    // It always fits a frame.
    let _ = outbox.message(reservation.conversation, &Reserved { granted });
    outbox.flush();
}

/// Queues an attempt's refusal and writes it.
pub(crate) fn refuse(job: &Job, cause: Cause) {
    let queued_us = job.arrived.elapsed().as_micros() as u64;
    fail(job, Timing { queued_us, ..Timing::default() }, cause);
    job.session.outbox.flush();
}
