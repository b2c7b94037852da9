//! One master on a link: what it may say, and what follows from it.
//!
//! Owns: the session's bound tasks, the payloads that arrive, the order of attempt ids.
//! Invariants: an attempt's id is greater than all before it, so that nothing is run
//! twice; a message out of turn ends the link; when the link ends, what the session
//! started ends with it.

use crate::audit::{self, Event, Outcome, Proof, short};
use crate::core::Core;
use crate::job::Job;
use crate::principals::Holdings;
use crate::queue::Reservation;
use crate::reader::Reader;
use crate::shares::Supply;
use crate::slot::fail;
use crate::standing::{Rights, Standing};
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
    /// What its principal has of the slave, in all of its sessions.
    pub(crate) holdings: Arc<Holdings>,
    pub(crate) rights: Rights,
    /// Whether it may have what is everybody's: all slots, and the slave's end.
    pub(crate) has_all: bool,
    /// The largest result that the master takes.
    pub(crate) most: u64,
    /// Bytes of a stream that the master takes unasked.
    pub(crate) window: u64,
    /// Bytes of results and values that may wait for its principal.
    unsent: usize,
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

/// Attempts of a session in the slave. More than were announced, because a master counts an
/// attempt as over when it reads the answer, which may be before the slave has cleared up.
pub(crate) const MOST_HELD: usize = 2 * MAX_ATTEMPTS;

/// An attempt and its arguments are counted for as long as this lives.
#[derive(Debug)]
pub(crate) struct Held {
    session: Arc<Session>,
    /// Of all sessions.
    total: Arc<Supply>,
    bytes: u64,
}

impl Held {
    /// Whose it is.
    pub(crate) fn session(&self) -> &Arc<Session> {
        &self.session
    }

    /// Counts the attempt's arguments, once; whether its principal may have so many bytes here.
    pub(crate) fn take(&mut self, bytes: u64) -> bool {
        let is_taken = self.total.take(&self.session.holdings.bytes, bytes);
        self.bytes = if is_taken { bytes } else { 0 };
        is_taken
    }

    /// Whether its principal has more attempts than `most`, this one among them.
    pub(crate) fn is_beyond(&self, most: usize) -> bool {
        self.session.holdings.attempts.load(Ordering::Relaxed) > most
    }
}

/// Why a principal's attempt is refused that has as many as it may.
pub(crate) fn too_many(most: usize) -> Cause {
    Cause::Busy { what: format!("the slave holds {most} attempts of this master, the limit") }
}

/// Why an attempt is refused for whose arguments there is no room.
pub(crate) fn too_many_bytes() -> Cause {
    let what = "the slave holds as many bytes of arguments as it may, or as this master may have";
    Cause::Busy { what: what.into() }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.session.held.fetch_sub(1, Ordering::Relaxed);
        self.session.holdings.attempts.fetch_sub(1, Ordering::Relaxed);
        self.total.give(&self.session.holdings.bytes, self.bytes);
    }
}

impl Session {
    /// The session of a peer of this standing, which says these things of itself.
    ///
    /// # Errors
    /// [`LinkError::Refused`] if it asks for what its standing does not allow.
    pub(crate) fn of(
        core: &Core,
        theirs: &Hello,
        standing: Standing,
        outbox: Outbox,
    ) -> Result<Self, LinkError> {
        let namespace = standing.namespace(&theirs.namespace)?;
        let has_all = core.trusted.has(&standing);
        let Standing { principal, rights, namespaces: _ } = standing;
        Ok(Self {
            id: theirs.session,
            master: Some(theirs.identity()),
            namespace,
            holdings: core.principals.of(&principal),
            rights,
            has_all,
            most: theirs.limits.payload,
            window: theirs.limits.window,
            unsent: core.limits.unsent,
            ..Self::detached(principal.0, outbox)
        })
    }

    /// A session without a master.
    pub(crate) fn detached(principal: PeerId, outbox: Outbox) -> Self {
        Self {
            id: None,
            master: None,
            outbox,
            namespace: Namespace::default(),
            principal: Principal(principal),
            holdings: Arc::default(),
            rights: Rights::default(),
            has_all: true,
            most: u64::MAX,
            window: u64::MAX,
            unsent: usize::MAX,
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

    /// A session in whose name something of an owner's acts by itself, and that nobody hears.
    pub(crate) fn silent(owner: &Self, namespace: Namespace) -> Self {
        let holdings = Arc::clone(&owner.holdings);
        let principal = owner.principal.0.clone();
        Self { namespace, holdings, ..Self::detached(principal, Outbox::nowhere()) }
    }

    /// Counts an attempt; `None` if the session has as many as it may.
    pub(crate) fn hold(self: &Arc<Self>, total: &Arc<Supply>) -> Option<Held> {
        let held = Held { session: Arc::clone(self), total: Arc::clone(total), bytes: 0 };
        self.holdings.attempts.fetch_add(1, Ordering::Relaxed);
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

    /// Whether it is of the same principal as another.
    pub(crate) fn is_of_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.holdings, &other.holdings)
    }

    /// Bytes of results and values that may wait for it: its principal's, in equal parts for its
    /// sessions. While more wait, nothing of the session is started: its master asks for results
    /// faster than it takes them.
    fn most_unsent(&self) -> usize {
        self.unsent / self.holdings.links().max(1)
    }

    /// Called when a large payload was queued.
    pub(crate) fn look_for_clog(&self) {
        let is_over = self.outbox.bulk_bytes() > self.most_unsent();
        if is_over && !self.clogged.swap(true, Ordering::AcqRel) {
            self.clog.notify_one();
        }
    }

    /// Lets the session's attempts start again whenever its master has taken enough.
    async fn unclog(&self, core: &Core) -> LinkError {
        loop {
            self.clog.notified().await;
            self.outbox.bulk_below(self.most_unsent()).await;
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

/// The link's task: reads what a peer of this standing says until the link ends; gives why it did.
pub(crate) async fn serve(core: Arc<Core>, link: Link, standing: Standing) -> LinkError {
    let Link { theirs, proof, peer, mut inbox, outbox, heart, .. } = link;
    let role = audit::role(&theirs, &proof);
    let whom = Whom { theirs: &theirs, peer: &peer, role, proof: Proof::of(&proof) };
    let session = match join(&core, &theirs, standing, &outbox) {
        Ok(session) => session,
        Err(error) => {
            tracing::info!(master = %theirs.peer, %peer, %error, "a master is not linked");
            whom.audited(&core, Outcome::Refused, Some(short(&error)));
            if let Some((code, reason)) = error.goodbye() {
                outbox.close(code, &reason);
            }
            return error;
        }
    };
    tracing::info!(master = %session.principal.0, %peer, "a master is linked");
    whom.audited(&core, Outcome::Accepted, None);
    let mut end = End { core: &core, whom, why: None };
    heart.say({
        let (core, session) = (Arc::clone(&core), Arc::clone(&session));
        move || {
            // Somebody has to; who is not linked sees nothing of either.
            core.store.sweep();
            core.relieve(Instant::now());
            core.append_status(&session);
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
    tracing::info!(master = %session.principal.0, %error, "a master is gone");
    end.why = Some(short(&error));
    drop(end);
    error
}

/// The session of a peer of this standing, if it may have one.
fn join(
    core: &Arc<Core>,
    theirs: &Hello,
    standing: Standing,
    outbox: &Outbox,
) -> Result<Arc<Session>, LinkError> {
    let session = Arc::new(Session::of(core, theirs, standing, outbox.clone())?);
    core.join(&session)?;
    Ok(session)
}

/// Tells the audit log of a link's end, however it ends: with the slave itself nobody serves it
/// any more.
struct End<'a> {
    core: &'a Core,
    whom: Whom<'a>,
    why: Option<String>,
}

impl Drop for End<'_> {
    fn drop(&mut self) {
        let why = self.why.take().or_else(|| Some("the slave was ended".into()));
        self.whom.audited(self.core, Outcome::Ended, why);
    }
}

/// A peer that has said who it is, for the audit log.
struct Whom<'a> {
    theirs: &'a Hello,
    peer: &'a str,
    role: &'static str,
    proof: Proof,
}

impl Whom<'_> {
    /// Tells the audit log what became of its connection.
    fn audited(&self, core: &Core, outcome: Outcome, why: Option<String>) {
        core.audit.tell(|| Event::Connection {
            outcome,
            peer: short(self.peer),
            name: Some(self.theirs.peer.clone()),
            role: Some(self.role),
            proof: self.proof,
            session: self.theirs.session.map(|session| session.0),
            why,
        });
    }
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
