//! One resident: what it is, and where its guest is at any time.
//!
//! Owns: the guest between its calls, or while a call waits; who stops it. Does not: decide what
//! is next; its life does. Invariants: one thread has the guest at a time; a stop reaches the
//! call that it is meant for, wherever that is, and no other.

use super::Gone;
use super::call::{Call, key};
use super::life::{Life, Refused, Terms};
use super::requests::Asked;
use super::work::{Body, Doing, Running};
use crate::core::Core;
use crate::fiber::control::Control;
use crate::grants::Grant;
use crate::job::Job;
use crate::limits::Granted;
use crate::module::load::Loaded;
use crate::queue::Woken;
use crate::sandbox::prepared::Prepared;
use crate::session::Session;
use crate::shares::Taken;
use dpfw_protocol::Bytes;
use dpfw_protocol::error::Cause;
use dpfw_protocol::ids::{ConversationId, ModuleHash, PeerId, ResidentId};
use dpfw_protocol::message::SpawnAs;
use dpfw_protocol::resident::{End, ResidentInfo};
use dpfw_protocol::store::{FullKey, Principal, Version};
use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::Wake;
use std::time::{Duration, Instant};

/// See the module's page.
pub(crate) struct Resident {
    pub(super) id: ResidentId,
    pub(super) key: FullKey,
    pub(super) class: String,
    pub(super) owner: Principal,
    pub(super) module: ModuleHash,
    pub(super) loaded: Arc<Loaded>,
    /// What it was granted, in all its lives: it is its owner's.
    pub(super) grant: Option<Arc<Grant>>,
    pub(super) prepared: Arc<Prepared>,
    pub(super) waits: bool,
    pub(super) roles: Roles,
    pub(super) terms: SpawnAs,
    /// Calls of one session that may wait.
    pub(super) mailbox: u32,
    /// What one call may use.
    pub(super) granted: Granted,
    /// The constructor's.
    pub(super) args: Bytes,
    pub(super) control: Arc<Control>,
    core: Weak<Core>,
    born: Instant,
    /// When the store was told last that it is used, in milliseconds of the slave's life.
    used: AtomicU64,
    /// In whose lane it is when nobody's call brings it into a slot: its owner's.
    pub(super) house: Arc<Session>,
    inner: Mutex<Inner>,
}

/// Places of its functions in the module's list.
#[derive(Clone, Copy, Debug)]
pub(super) struct Roles {
    pub(super) constructor: usize,
    pub(super) save: Option<usize>,
    pub(super) load: Option<usize>,
}

pub(super) struct Inner {
    pub(super) life: Life<Call>,
    pub(super) place: Place,
    /// The call that runs or waits: its session and number.
    pub(super) current: Option<(usize, u64)>,
    /// Why that has to stop, if not for what its slot's watch says.
    pub(super) stop: Option<Cause>,
    /// When the guest was made.
    pub(super) made: Instant,
    pub(super) memory: u64,
    /// A running mean of what a call takes.
    pub(super) cost: Duration,
    /// What was saved last.
    pub(super) state: Option<Bytes>,
    /// Whether it is to be saved, and the time for it was set.
    pub(super) is_changed: bool,
    /// Of its entry in the store; 0 until it has one.
    pub(super) version: Version,
    /// Who hears of its end. Bounded by what their sessions may hold.
    pub(super) awaiting: Vec<Asked>,
    /// Who has asked to have it handed over, until that was answered.
    pub(super) mover: Option<Asked>,
    /// Why it failed for good.
    pub(super) failure: Option<Cause>,
    /// Whether who made it was told of it: of one that comes, that may end it where it was.
    pub(super) is_told: bool,
    /// Whether it ends though its state may be nowhere else, which therefore stays.
    pub(super) is_left: bool,
    /// How it ended, once whoever waits for that may be told.
    pub(super) gone: Option<Gone>,
    /// If its row waits for its end: who made it and is to be told why it failed. The next in the
    /// row spawns then.
    pub(super) heirs: Option<VecDeque<Job>>,
    /// The places that it takes, among residents and in a pool, until it has ended.
    pub(super) room: Option<(Taken, Option<Room>)>,
}

/// Where the guest is.
pub(super) enum Place {
    /// There is none.
    Nowhere,
    Here(Box<Body>),
    /// In a slot; whether it was woken meanwhile.
    InSlot {
        woken: bool,
    },
    Waiting(Box<Paused>),
    /// It wants a slot.
    Woken(Box<Paused>),
}

/// Something that waits.
pub(super) struct Paused {
    pub(super) running: Running,
    pub(super) doing: Doing,
    /// On whose behalf.
    pub(super) session: Arc<Session>,
    /// How long it held a slot.
    pub(super) ran: Duration,
}

/// A place in a pool of sandboxes.
#[derive(Debug)]
pub(super) struct Room(Arc<AtomicUsize>);

impl Room {
    /// Takes one, if there is one.
    pub(super) fn take(count: &Arc<AtomicUsize>, most: usize) -> Option<Self> {
        let room = Self(Arc::clone(count));
        (count.fetch_add(1, Ordering::AcqRel) < most).then_some(room)
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

/// What a resident is made of.
pub(super) struct New {
    pub(super) id: ResidentId,
    pub(super) key: FullKey,
    pub(super) class: String,
    pub(super) owner: Principal,
    pub(super) module: ModuleHash,
    pub(super) loaded: Arc<Loaded>,
    pub(super) grant: Option<Arc<Grant>>,
    pub(super) waits: bool,
    pub(super) prepared: Arc<Prepared>,
    pub(super) roles: Roles,
    pub(super) terms: SpawnAs,
    pub(super) granted: Granted,
    pub(super) args: Bytes,
    pub(super) state: Option<Bytes>,
    pub(super) held_by: Option<usize>,
    pub(super) room: (Taken, Option<Room>),
    pub(super) house: Arc<Session>,
}

/// Calls of one session that may wait, unless whoever spawned it said otherwise.
const MAILBOX: u32 = 1024;

/// No session holds more.
const MOST_MAILBOX: u32 = dpfw_protocol::limits::MAX_ATTEMPTS as u32;

/// The store learns of uses this often.
const USED: Duration = Duration::from_secs(1);

impl Resident {
    /// One that is to be begun by whoever made it, who has it in hand.
    pub(super) fn new(core: &Arc<Core>, new: New) -> Self {
        let New { id, key, class, owner, module, loaded, grant, waits, prepared, .. } = new;
        let New { roles, terms, granted, args, state, held_by, room, house, .. } = new;
        let mailbox = match terms.mailbox {
            0 => MAILBOX,
            most => most.min(MOST_MAILBOX),
        };
        let of_life =
            Terms { mailbox, restart: terms.restart, on_restart: terms.on_restart, held_by };
        let mut life = Life::new(of_life);
        life.take(None);
        let now = Instant::now();
        let inner = Inner {
            life,
            place: Place::InSlot { woken: false },
            current: None,
            stop: None,
            made: now,
            memory: 0,
            cost: Duration::ZERO,
            state,
            is_changed: false,
            version: 0,
            awaiting: Vec::new(),
            mover: None,
            failure: None,
            is_told: false,
            is_left: false,
            gone: None,
            heirs: None,
            room: Some(room),
        };
        Self {
            id,
            key,
            class,
            owner,
            module,
            waits,
            grant,
            loaded,
            prepared,
            roles,
            terms,
            mailbox,
            granted,
            args,
            control: Arc::default(),
            core: Arc::downgrade(core),
            born: now,
            used: AtomicU64::new(0),
            house,
            inner: Mutex::new(inner),
        }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether it builds an entry for which others may wait.
    pub(crate) fn is_building(&self) -> bool {
        self.control.is_building()
    }

    /// Takes a call in, or answers it.
    pub(super) fn accept(self: &Arc<Self>, core: &Core, call: Call) {
        self.touch(core, call.arrived);
        let mut inner = self.lock();
        match inner.life.accept(call) {
            Ok(()) => self.queue(core, inner),
            Err((call, refused)) => {
                let failure = inner.failure.clone();
                drop(inner);
                call.refuse(match refused {
                    Refused::Full => {
                        let most = self.mailbox;
                        let what = format!("{most} calls wait for the resident `{}`", self.key.key);
                        Cause::Busy { what }
                    }
                    Refused::Ended(end) => why_ended(&self.key, &end, failure.as_ref()),
                });
            }
        }
    }

    /// Puts it into the lanes in which it belongs.
    pub(super) fn queue(self: &Arc<Self>, core: &Core, mut inner: MutexGuard<'_, Inner>) {
        let lanes = inner.life.lanes();
        if lanes.is_empty() {
            return;
        }
        let sessions: Vec<_> =
            lanes.into_iter().filter_map(|lane| inner.lane(&self.house, lane)).collect();
        drop(inner);
        for session in sessions {
            core.queue.resume(Woken::Resident(Arc::clone(self), session));
        }
    }

    /// The store learns now and then that it is used.
    fn touch(&self, core: &Core, now: Instant) {
        let lived = now.saturating_duration_since(core.started);
        let now = u64::try_from(lived.as_millis()).unwrap_or(u64::MAX);
        let last = self.used.load(Ordering::Relaxed);
        if now.saturating_sub(last) >= USED.as_millis() as u64 {
            self.used.store(now, Ordering::Relaxed);
            core.store.touch(&self.key);
        }
    }

    /// Stops a call: one that waits for its turn is answered, one that runs is interrupted.
    pub(super) fn cancel(
        self: &Arc<Self>,
        core: &Arc<Core>,
        session: &Arc<Session>,
        call: ConversationId,
    ) {
        if !self.withdraw(session, call, Cause::Cancelled) {
            self.stop_if(core, Cause::Cancelled, |current| current == (key(session), call.0));
        }
    }

    /// Takes a call back that has not begun, and answers it. Whether there was one.
    pub(super) fn withdraw(
        &self,
        session: &Arc<Session>,
        call: ConversationId,
        cause: Cause,
    ) -> bool {
        let withdrawn = self.lock().life.withdraw(key(session), call.0);
        match withdrawn {
            Some(call) => {
                call.refuse(cause);
                true
            }
            None => false,
        }
    }

    /// Stops what the guest is at, if it is what is meant.
    pub(super) fn stop_if(
        self: &Arc<Self>,
        core: &Arc<Core>,
        cause: Cause,
        is_meant: impl FnOnce((usize, u64)) -> bool,
    ) {
        let mut inner = self.lock();
        let Some(current) = inner.current.filter(|current| is_meant(*current)) else {
            return;
        };
        match std::mem::replace(&mut inner.place, Place::Nowhere) {
            Place::Waiting(paused) | Place::Woken(paused) => {
                inner.current = None;
                drop(inner);
                // Giving a sandbox back takes time that whoever serves the links does not have.
                let (this, core) = (Arc::clone(self), Arc::clone(core));
                let handle = core.helm.handle().clone();
                drop(handle.spawn_blocking(move || this.stopped(&core, *paused, cause)));
            }
            place => {
                inner.place = place;
                inner.stop.get_or_insert(cause);
                self.control.stop();
                if let Some(watch) = self.control.watch() {
                    // It may sleep there.
                    watch.rouse(ConversationId(current.1).attempt());
                }
                self.prepared.engine.increment_epoch();
            }
        }
    }

    /// How it is.
    pub(super) fn info(&self) -> ResidentInfo {
        let inner = self.lock();
        ResidentInfo {
            resident: self.id,
            key: self.key.key.clone(),
            class: self.class.clone(),
            module: self.module,
            owner: self.owner.clone(),
            stage: inner.life.stage(),
            served: inner.life.served(),
            waiting: u32::try_from(inner.life.waiting()).unwrap_or(u32::MAX),
            mailbox: self.mailbox,
            memory: inner.memory,
            age_ms: u64::try_from(self.born.elapsed().as_millis()).unwrap_or(u64::MAX),
            restarts: inner.life.restarts(),
            saves: self.saves(),
            lineage: self.terms.lineage,
        }
    }

    /// Whether it can be saved and made of what was.
    pub(super) fn saves(&self) -> bool {
        self.roles.save.is_some() && self.roles.load.is_some()
    }

    /// A session in whose name it acts by itself.
    pub(super) fn stand_in(&self) -> Arc<Session> {
        Arc::new(Session::silent(&self.house, self.key.namespace.clone()))
    }
}

impl Inner {
    /// The session of a lane.
    fn lane(&self, house: &Arc<Session>, lane: Option<usize>) -> Option<Arc<Session>> {
        match lane {
            None => Some(Arc::clone(house)),
            Some(session) => self.life.find_mail(session).map(|call| Arc::clone(call.session())),
        }
    }
}

/// Why a call is not run of a resident that has ended.
pub(super) fn why_ended(key: &FullKey, end: &End, failure: Option<&Cause>) -> Cause {
    let key = key.key.to_string();
    match end {
        End::Stopped => Cause::ResidentEnded { key, why: "it was stopped".into() },
        End::Failed => {
            let why = match failure {
                Some(cause) => format!("it failed: {cause}"),
                None => "it failed".into(),
            };
            Cause::ResidentEnded { key, why }
        }
        End::Moved(to) => Cause::ResidentMoved { key, to: PeerId::as_str(to).into() },
        End::Drained => Cause::Draining,
    }
}

impl Wake for Resident {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        let mut inner = self.lock();
        match std::mem::replace(&mut inner.place, Place::Nowhere) {
            Place::Waiting(paused) => {
                let session = Arc::clone(&paused.session);
                inner.place = Place::Woken(paused);
                drop(inner);
                if let Some(core) = self.core.upgrade() {
                    core.queue.resume(Woken::Resident(Arc::clone(self), session));
                }
            }
            Place::InSlot { .. } => inner.place = Place::InSlot { woken: true },
            other => inner.place = other,
        }
    }
}

impl std::fmt::Debug for Resident {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Resident({} `{}`)", self.id, self.key.key)
    }
}
