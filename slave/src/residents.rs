//! Residents: live instances under keys of the store, called one call at a time.
//!
//! Owns: which there are, by number and by key; what became of those that are gone; how many
//! there may be. Does not: run their guests; slots do. Invariants: a resident is in no queue
//! while nobody calls it, and has no thread and no stack; it has an entry in the store from when
//! it is known until it has ended; its number is never used again.

mod call;
mod ends;
mod engine;
mod life;
mod requests;
mod resident;
mod room;
mod rows;
mod saved;
mod spawn;
mod timer;
mod turn;
mod work;

use crate::core::Core;
use crate::limits::Limits;
use crate::session::{Session, too_many, too_many_bytes};
use crate::shares::Supply;
use crate::store::Store;
use call::Call;
pub(crate) use call::Method;
use dashmap::DashMap;
use dpfw_protocol::Bytes;
use dpfw_protocol::error::Cause;
use dpfw_protocol::hello::Namespace;
use dpfw_protocol::ids::{ConversationId, ResidentId};
use dpfw_protocol::message::CallFlags;
use dpfw_protocol::resident::{End, ResidentInfo};
use dpfw_protocol::store::{FullKey, Key};
pub(crate) use engine::ResidentEngines;
pub(crate) use requests::ask;
pub(crate) use resident::Resident;
use resident::{Place, why_ended};
use room::Allowed;
use rows::Rows;
pub(crate) use spawn::{Spawning, spawn};
use std::collections::{BTreeMap, VecDeque};
use std::ops::Bound;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Instant;
use timer::Timer;
pub(crate) use turn::Hands;

/// The residents of a slave.
pub(crate) struct Residents {
    engines: ResidentEngines,
    allowed: Allowed,
    /// Those that there are or are being spawned.
    count: Arc<Supply>,
    last: AtomicU64,
    alive: DashMap<ResidentId, Arc<Resident>>,
    /// In the order in which they are listed.
    keys: Mutex<BTreeMap<FullKey, Arc<Resident>>>,
    rows: Mutex<Rows>,
    /// The last that are gone, the oldest first.
    gone: Mutex<VecDeque<(ResidentId, Gone)>>,
    timer: Timer,
    /// Principals' houses, as long as they have residents.
    houses: Mutex<Vec<Weak<Session>>>,
}

/// One that is gone: how it ended.
#[derive(Clone)]
struct Gone {
    key: FullKey,
    end: End,
    failure: Option<Cause>,
    /// Whether that is not on disk yet, and told when it is.
    is_unkept: Arc<AtomicBool>,
}

/// There is no such resident.
struct NotThere {
    /// What whoever would call it is told.
    cause: Cause,
    /// How it ended, if that is known.
    gone: Option<Gone>,
}

/// Of so many that are gone it is known what became of them.
const GONE: usize = 1024;

/// A call, as it was read.
pub(crate) struct Called {
    pub(crate) conversation: ConversationId,
    pub(crate) resident: ResidentId,
    pub(crate) flags: CallFlags,
    pub(crate) args: Bytes,
    pub(crate) arrived: Instant,
    pub(crate) deadline: Option<Instant>,
}

impl Residents {
    pub(crate) fn new(limits: &Limits) -> Self {
        let allowed = Allowed::of(limits);
        Self {
            engines: ResidentEngines::default(),
            allowed,
            count: Supply::new(allowed.most as u64),
            last: AtomicU64::new(0),
            alive: DashMap::new(),
            keys: Mutex::default(),
            rows: Mutex::default(),
            gone: Mutex::default(),
            timer: Timer::default(),
            houses: Mutex::default(),
        }
    }

    fn keys(&self) -> MutexGuard<'_, BTreeMap<FullKey, Arc<Resident>>> {
        self.keys.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn rows(&self) -> MutexGuard<'_, Rows> {
        self.rows.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn gone(&self) -> MutexGuard<'_, VecDeque<(ResidentId, Gone)>> {
        self.gone.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn timer(&self) -> &Timer {
        &self.timer
    }

    /// In whose lane the residents of a session's principal are that nobody's call brings into a
    /// slot: it has its principal's share of them.
    fn house_of(&self, owner: &Session) -> Arc<Session> {
        let mut houses = self.houses.lock().unwrap_or_else(PoisonError::into_inner);
        houses.retain(|house| house.strong_count() > 0);
        let mut all = houses.iter().filter_map(Weak::upgrade);
        if let Some(house) = all.find(|house| house.is_of_same(owner)) {
            return house;
        }
        let house = Arc::new(Session::silent(owner, owner.namespace.clone()));
        houses.push(Arc::downgrade(&house));
        house
    }

    fn next_id(&self) -> ResidentId {
        ResidentId(self.last.fetch_add(1, Ordering::Relaxed) + 1)
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.alive.len()
    }

    /// The resident under a key.
    fn under(&self, key: &FullKey) -> Option<Arc<Resident>> {
        self.keys().get(key).cloned()
    }

    /// The residents of a namespace behind a key, in the order of their keys, those among them
    /// that are asleep.
    fn listed(
        &self,
        store: &Store,
        namespace: &Namespace,
        prefix: &str,
        after: Option<&Key>,
        most: usize,
    ) -> Vec<ResidentInfo> {
        let full = |key: &Key| FullKey { namespace: namespace.clone(), key: key.clone() };
        // Where there is no prefix, the least key that there may be.
        let first = match (after, Key::new(prefix).or_else(|_| Key::new("\0"))) {
            (Some(after), _) if after.as_str() >= prefix => Bound::Excluded(full(after)),
            (_, Ok(least)) => Bound::Included(full(&least)),
            (_, Err(_)) => return Vec::new(),
        };
        let is_its =
            |key: &FullKey| key.namespace == *namespace && key.key.as_str().starts_with(prefix);
        let asleep = store.asleep(first.as_ref(), is_its, saved::info, most);
        let keys = self.keys();
        let behind = keys.range((first, Bound::Unbounded));
        let its = behind.take_while(|(key, _)| is_its(key)).take(most);
        let alive: Vec<_> = its.map(|(_, resident)| Arc::clone(resident)).collect();
        drop(keys);
        let mut all: Vec<_> = alive.iter().map(|it| it.info()).chain(asleep).collect();
        all.sort_by(|one, other| one.key.cmp(&other.key));
        // One that was begun between the two looks is alive.
        all.dedup_by(|later, first| later.key == first.key);
        all.truncate(most);
        all
    }

    /// A resident of a namespace.
    fn find(&self, id: ResidentId, namespace: &Namespace) -> Result<Arc<Resident>, Box<NotThere>> {
        if let Some(resident) = self.alive.get(&id).filter(|it| it.key.namespace == *namespace) {
            return Ok(Arc::clone(&resident));
        }
        let gone = self.gone();
        let gone = gone.iter().find(|(of, gone)| *of == id && gone.key.namespace == *namespace);
        Err(Box::new(match gone {
            Some((_, gone)) => NotThere {
                cause: why_ended(&gone.key, &gone.end, gone.failure.as_ref()),
                gone: Some(gone.clone()),
            },
            None => NotThere { cause: Cause::NoResident { key: format!("#{id}") }, gone: None },
        }))
    }

    /// Where the last one under a key has gone, if it has moved.
    fn moved_from(&self, key: &FullKey) -> Option<Cause> {
        let gone = self.gone();
        let (_, last) = gone.iter().rev().find(|(_, gone)| gone.key == *key)?;
        matches!(last.end, End::Moved(_)).then(|| why_ended(key, &last.end, None))
    }

    fn insert(&self, resident: &Arc<Resident>) {
        self.keys().insert(resident.key.clone(), Arc::clone(resident));
        self.alive.insert(resident.id, Arc::clone(resident));
    }

    /// One has ended; how, if anybody has to know.
    fn remove(&self, resident: &Resident, gone: Gone) {
        let mut record = self.gone();
        if record.len() == GONE {
            record.pop_front();
        }
        record.push_back((resident.id, gone));
        drop(record);
        self.alive.remove(&resident.id);
        let mut keys = self.keys();
        if keys.get(&resident.key).is_some_and(|there| there.id == resident.id) {
            keys.remove(&resident.key);
        }
        drop(keys);
        self.timer.forget(resident.id);
    }

    fn all(&self) -> Vec<Arc<Resident>> {
        self.alive.iter().map(|entry| Arc::clone(entry.value())).collect()
    }

    /// A master calls a resident; `last` is the one that its session called last.
    ///
    /// # Errors
    /// What the master did wrong, which ends the link.
    pub(crate) fn call(
        core: &Arc<Core>,
        session: &Arc<Session>,
        last: &mut Option<Arc<Resident>>,
        method: &mut Method,
        called: Called,
    ) -> Result<(), String> {
        let Called { conversation, resident: id, flags, args, arrived, deadline } = called;
        if !session.begin_call(conversation, id) {
            return Err(format!("call {conversation} is under way already"));
        }
        let most = core.limits.attempts;
        let held = session.hold(&core.held).filter(|held| !held.is_beyond(most));
        let held = held.ok_or_else(|| too_many(most));
        let held = held.and_then(|mut held| match held.take(args.len() as u64) {
            true => Ok(held),
            false => Err(too_many_bytes()),
        });
        let held = match held {
            Ok(held) => held,
            Err(cause) => {
                session.end_call(conversation);
                refuse(core, session, conversation, cause);
                return Ok(());
            }
        };
        let call = Call { held, conversation, function: 0, args, flags, arrived, deadline };
        call.take_in(core, last, id, method);
        Ok(())
    }

    /// A session is gone: its calls that have not begun, and what it holds.
    pub(crate) fn forget(&self, core: &Arc<Core>, session: &Arc<Session>) {
        drop(self.take(session, |_| true));
        self.stop_spawning(core, session, None);
        for resident in self.all() {
            resident.forget(core, session);
        }
    }

    /// Stops a call, wherever it is.
    pub(crate) fn cancel(&self, core: &Arc<Core>, session: &Arc<Session>, call: ConversationId) {
        let resident =
            session.call(call).and_then(|id| self.alive.get(&id).map(|it| Arc::clone(&it)));
        if let Some(resident) = resident {
            resident.cancel(core, session, call);
        }
    }

    /// Takes a call back that has not begun.
    pub(crate) fn withdraw(&self, session: &Arc<Session>, call: ConversationId) {
        let resident =
            session.call(call).and_then(|id| self.alive.get(&id).map(|it| Arc::clone(&it)));
        if let Some(resident) = resident {
            resident.withdraw(session, call, Cause::Cancelled);
        }
    }

    /// Nothing new is called; what waits is told, what changed is saved, and all end.
    pub(crate) fn drain(&self, core: &Arc<Core>) {
        for job in
            std::mem::take(&mut *self.rows()).into_values().flat_map(|row| row.into_waiting())
        {
            core.refuse(&job, Cause::Draining);
        }
        // There may be many.
        let (all, core) = (self.all(), Arc::clone(core));
        let handle = core.helm.handle().clone();
        drop(handle.spawn_blocking(move || all.iter().for_each(|resident| resident.drain(&core))));
    }

    /// Whether none is under way or waits for anything.
    pub(crate) fn is_quiet(&self) -> bool {
        self.alive.is_empty() && self.count.used() == 0
    }

    /// Stops the calls that wait without a slot.
    pub(crate) fn interrupt(&self, core: &Arc<Core>) -> usize {
        let all = self.all();
        let busy = all.iter().filter(|resident| {
            let is_busy = resident.lock().current.is_some();
            resident.stop_if(core, Cause::Draining, |_| true);
            is_busy
        });
        busy.count()
    }

    /// Forgets all: the slave has ended.
    pub(crate) fn clear(&self) {
        let rows = std::mem::take(&mut *self.rows());
        let all = self.all();
        self.alive.clear();
        self.keys().clear();
        for resident in &all {
            let mut inner = resident.lock();
            let calls = inner.life.over(End::Drained);
            // One that is in a slot is given back there.
            let place = match &inner.place {
                Place::InSlot { .. } => None,
                _ => Some(std::mem::replace(&mut inner.place, Place::Nowhere)),
            };
            let asked = std::mem::take(&mut inner.awaiting);
            drop(inner);
            drop((calls, place, asked));
        }
        drop((rows, all));
    }
}

/// Refuses a call that was not taken in.
pub(crate) fn refuse(core: &Core, session: &Session, conversation: ConversationId, cause: Cause) {
    core.tell_refused(session, None, &cause);
    let failed =
        dpfw_protocol::message::Failed { timing: Default::default(), failure: cause.into() };
    // A cause is cut to what fits a frame.
    let _ = session.outbox.message(conversation, &failed);
    session.outbox.flush();
}

impl std::fmt::Debug for Residents {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Residents({})", self.len())
    }
}
