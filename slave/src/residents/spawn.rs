//! Spawning: an attempt at a constructor, which makes a resident.
//!
//! Owns: what becomes of it: a resident, the one that is there, an error. Does not: know whose turn
//! it is; `rows` do. Invariants: an attempt is answered once; a resident whose state may be nowhere
//! else is told of when that is on disk.

use super::call::key as session_key;
use super::engine::Lodged;
use super::resident::{New, Place, Resident, Roles};
use super::rows::{Row, Turn, pass, turn};
use super::saved::{self, Comes};
use super::turn::Hands;
use super::work::Doing;
use crate::core::Core;
use crate::job::{Job, Target};
use crate::session::Session;
use crate::slot::{fail, gone, micros, tell};
use dpfw_protocol::Bytes;
use dpfw_protocol::error::Cause;
use dpfw_protocol::message::{SpawnAs, Spawned, There, Timing};
use dpfw_protocol::resident::{End, LOAD, SAVE, class_of};
use dpfw_protocol::store::{EntryKind, FullKey, Key};
use std::collections::VecDeque;
use std::sync::{Arc, Weak};
use std::time::Instant;

/// As what an attempt spawns, and its turn to do so if it waited for that.
#[derive(Debug)]
pub(crate) struct Spawning {
    pub(super) terms: SpawnAs,
    pub(super) turn: Option<Turn>,
    /// Whether it is made of what it saved before it failed or its slave was started again.
    is_back: bool,
    /// What it took, of one whose resident is there and whose answer waits for the disk.
    made: Option<Timing>,
}

impl Spawning {
    pub(crate) fn new(terms: SpawnAs) -> Self {
        Self { terms, turn: None, is_back: false, made: None }
    }
}

/// What becomes of an attempt to spawn.
enum Claimed {
    /// It is its turn.
    Spawn(Job, Turn),
    /// There is one.
    There(Job, Arc<Resident>),
    Not(Job, Cause),
    /// It waits.
    Waits,
}

/// Runs an attempt at a constructor, in a slot whose watch it has entered.
pub(crate) fn spawn(hands: &mut Hands<'_>, job: Job, started: Instant) {
    let core = Arc::clone(hands.core);
    let queued_us = micros(started.saturating_duration_since(job.arrived));
    let timing = Timing { queued_us, ..Timing::default() };
    let claimed = match gone(&core, &job, started) {
        Some(cause) => Claimed::Not(job, cause),
        None => claim(&core, job),
    };
    let (job, outcome) = match claimed {
        Claimed::Waits => {
            hands.watch.leave();
            return;
        }
        Claimed::There(job, resident) => {
            let outcome = there(&job, &resident);
            (job, outcome)
        }
        Claimed::Not(job, cause) => (job, Err(cause)),
        Claimed::Spawn(mut job, turn) => match make(&core, &mut job, turn) {
            Ok(resident) => {
                return resident.first_turn(hands, Doing::Begin(Some(Box::new(job))), started);
            }
            Err(cause) => (job, Err(cause)),
        },
    };
    let told = outcome.and_then(|payload| tell(&job, timing, payload.into()));
    if let Err(cause) = told {
        fail(&job, timing, cause);
    }
    hands.watch.leave();
}

/// Finds out whose turn it is to spawn under the attempt's key.
fn claim(core: &Arc<Core>, mut job: Job) -> Claimed {
    let Some(spawning) = &mut job.spawn else {
        return Claimed::Not(job, Cause::Internal { message: "nothing is to be spawned".into() });
    };
    let (key, there) = (full(&job.session, &spawning.terms.key), spawning.terms.there);
    let had_turn = spawning.turn.take();
    let mut rows = core.residents.rows();
    if core.is_draining() {
        // Who spawned has no row any more, by which others would know of it.
        drop(rows);
        return Claimed::Not(job, Cause::Draining);
    }
    if let Some(resident) = core.residents.under(&key) {
        drop(rows);
        return match there {
            There::Take => Claimed::There(job, resident),
            There::Refuse => Claimed::Not(job, taken(&key, EntryKind::Resident)),
        };
    }
    // Before the store is asked: whoever spawns has its entry there a moment before it is known,
    // and its row until after that.
    if had_turn.is_none()
        && there == There::Take
        && let Some(row) = rows.get_mut(&key)
    {
        row.waiting.push_back(job);
        return Claimed::Waits;
    }
    let (refuses, held) = (there == There::Refuse, spawning.terms.held);
    let saved = core
        .store
        .saved(&key)
        .filter(|record| refuses && !(held && saved::comes(record).is_some()));
    let kind = saved.map(|_| EntryKind::Resident).or_else(|| core.store.kind_of(&key));
    if let Some(kind) = kind {
        drop(rows);
        return Claimed::Not(job, taken(&key, kind));
    }
    if let Some(turn) = had_turn {
        return Claimed::Spawn(job, turn);
    }
    if rows.contains_key(&key) {
        return Claimed::Not(job, taken(&key, EntryKind::Resident));
    }
    rows.insert(key.clone(), Row::default());
    Claimed::Spawn(job, turn(core, &key))
}

fn full(session: &Session, key: &Key) -> FullKey {
    FullKey { namespace: session.namespace.clone(), key: key.clone() }
}

fn taken(key: &FullKey, kind: EntryKind) -> Cause {
    Cause::KeyTaken { key: key.key.to_string(), kind }
}

/// The answer of one that takes what is there, if that is of its class.
fn there(job: &Job, resident: &Resident) -> Result<Vec<u8>, Cause> {
    match resident.class == class_of(&job.bound.task) {
        true => told(resident, true),
        false => Err(taken(&resident.key, EntryKind::Resident)),
    }
}

fn told(resident: &Resident, was_there: bool) -> Result<Vec<u8>, Cause> {
    let spawned = Spawned { resident: resident.info(), was_there };
    rmp_serde::to_vec(&spawned).map_err(|e| Cause::Internal { message: e.to_string() })
}

/// Answers an attempt outside of a slot.
fn answer(job: &Job, timing: Timing, outcome: Result<Vec<u8>, Cause>) {
    if let Err(cause) = outcome.and_then(|payload| tell(job, timing, payload.into())) {
        fail(job, timing, cause);
    }
    job.session.outbox.flush();
}

/// Makes a resident that is to be begun. The turn stays with the job.
fn make(core: &Arc<Core>, job: &mut Job, turn: Turn) -> Result<Arc<Resident>, Cause> {
    let residents = &core.residents;
    let key = turn.key.clone();
    let Some(spawning) = &mut job.spawn else {
        return Err(Cause::Internal { message: "nothing is to be spawned".into() });
    };
    spawning.turn = Some(turn);
    let Some(Ok(target)) = job.bound.target().cloned() else {
        return Err(Cause::Internal { message: "its module is not there".into() });
    };
    let waits = target.waits();
    let holdings = &job.session.holdings;
    let room = residents.count.lend(&holdings.residents, 1);
    let room = room.ok_or_else(|| residents.allowed.lack(holdings.residents.get()))?;
    let Lodged { prepared, place } = residents.engines.lodge(&core.engines, &target)?;
    let Target { module, function, grant } = target;
    let class = class_of(&job.bound.task).to_owned();
    let role = |name: &str| {
        let name = format!("{class}.{name}");
        module.facts().residents.binary_search(&name).ok()
    };
    let roles = Roles { constructor: function, save: role(SAVE), load: role(LOAD) };
    let args = std::mem::take(&mut job.args).into_bytes();
    let (args, sent) = split(&spawning.terms, &args)?;
    let last = saved::of_last(core, &key, &class)?;
    spawning.is_back = last.is_some() && sent.is_none();
    let saves = roles.save.is_some() && roles.load.is_some();
    let lineage = match (&sent, &last) {
        (Some(_), _) => spawning.terms.lineage,
        (None, last) => last.as_ref().and_then(|last| last.lineage),
    };
    let lineage = match lineage {
        None if saves => Some(saved::new_number()?),
        lineage => lineage,
    };
    let state = sent.or(last.map(|last| last.state));
    if !saves && (state.is_some() || spawning.terms.durable) {
        return Err(super::work::no_save(&class));
    }
    if spawning.terms.durable {
        core.store.check_durable()?;
    }
    let new = New {
        id: residents.next_id(),
        key: key.clone(),
        class,
        owner: job.session.principal.clone(),
        module: job.bound.module,
        loaded: module,
        grant,
        waits,
        prepared,
        roles,
        terms: SpawnAs { state: None, held: false, lineage, ..spawning.terms.clone() },
        granted: core.limits.granted(job.limits.as_deref()),
        args,
        state,
        held_by: spawning.terms.held.then(|| session_key(&job.session)),
        room: (room, place),
        house: residents.house_of(&job.session),
    };
    let resident = Arc::new(Resident::new(core, new));
    if let Some(row) = residents.rows().get_mut(&key) {
        row.under_way = Some(Arc::clone(&resident));
    }
    Ok(resident)
}

/// The arguments, and the state behind them if there is one.
fn split(terms: &SpawnAs, payload: &Bytes) -> Result<(Bytes, Option<Bytes>), Cause> {
    let Some(len) = terms.state else {
        return Ok((payload.clone(), None));
    };
    let at = usize::try_from(len).ok().and_then(|len| payload.len().checked_sub(len));
    let too_short = || Cause::BadArguments { message: "they are shorter than the state".into() };
    let at = at.ok_or_else(too_short)?;
    Ok((payload.slice(..at), Some(payload.slice(at..))))
}

/// A resident as an entry of the store.
struct Kept {
    resident: Arc<Resident>,
    core: Weak<Core>,
}

impl Drop for Kept {
    /// It was removed, by whomever.
    fn drop(&mut self) {
        if let Some(core) = self.core.upgrade() {
            self.resident.end(&core, End::Stopped);
        }
    }
}

impl Resident {
    /// The constructor has come to its end.
    pub(super) fn spawned(
        self: &Arc<Self>,
        core: &Arc<Core>,
        mut job: Job,
        timing: Timing,
        outcome: Result<(), Cause>,
    ) {
        let queued_us = micros(job.arrived.elapsed()).saturating_sub(timing.run_us);
        let timing = Timing { queued_us, ..timing };
        job.bound.learn(std::time::Duration::from_micros(timing.run_us));
        let settled = outcome.and_then(|()| self.settle(core, &job));
        if settled.is_ok() && self.is_kept_first(&job) {
            return self.tell_when_kept(core, job, timing);
        }
        // Before it is: who is told may be gone the next moment.
        self.lock().is_told = settled.is_ok();
        let is_back = job.spawn.as_ref().is_some_and(|spawning| spawning.is_back);
        let told = settled
            .and_then(|()| told(self, is_back))
            .and_then(|spawned| tell(&job, timing, spawned.into()));
        match told {
            Ok(()) => {
                if let Some(mut turn) = job.spawn.as_mut().and_then(|spawning| spawning.turn.take())
                {
                    turn.is_over = true;
                    self.tell_waiting(core, &turn.key);
                }
            }
            Err(cause) => {
                if cause == Cause::Draining {
                    core.drain.interrupted(&job, std::time::Duration::from_micros(timing.run_us));
                }
                self.unmade();
                fail(&job, timing, cause);
            }
        }
    }

    /// It is under its key from now on.
    fn settle(self: &Arc<Self>, core: &Arc<Core>, job: &Job) -> Result<(), Cause> {
        if !job.session.is_open() {
            return Err(Cause::Cancelled);
        }
        if core.is_draining() {
            return Err(Cause::Draining);
        }
        let (state, comes) = {
            let inner = self.lock();
            (inner.state.clone(), inner.life.comes())
        };
        if let Some(state) = state.as_ref().filter(|_| core.store.is_on_disk()) {
            self.record(core, state, if comes { Comes::Yes } else { Comes::No })?;
        }
        let kept = Arc::new(Kept { resident: Arc::clone(self), core: Arc::downgrade(core) });
        let bytes = saved::charge(state.as_ref().filter(|_| !core.store.is_on_disk()));
        let put = core.store.put_resident(&self.key, &self.owner, bytes, kept);
        let is_back = job.spawn.as_ref().is_some_and(|spawning| spawning.is_back);
        if put.is_err() && !is_back {
            core.store.forget_saved(&self.key);
        }
        let version = put?;
        if !core.store.is_on_disk() {
            // Of one whose move broke off: it has its state now.
            core.store.forget_saved(&self.key);
        }
        // If the entry is gone by now, it ends when it is put back.
        self.lock().version = version;
        core.residents.insert(self);
        core.residents.timer().run(core);
        // Whoever looked before it was there has not seen it.
        if !job.session.is_open() {
            self.forget(core, &job.session);
        }
        if core.is_draining() {
            self.drain(core);
        }
        Ok(())
    }

    /// Whether it has a state that may be nowhere else once it is told of, and is to be on disk.
    fn is_kept_first(&self, job: &Job) -> bool {
        let is_back = job.spawn.as_ref().is_some_and(|spawning| spawning.is_back);
        self.is_durable() && !is_back && self.lock().state.is_some()
    }

    /// Tells of it when its state is on disk. Its attempt waits among those that wait for it, so
    /// that whoever takes them back finds it.
    fn tell_when_kept(self: &Arc<Self>, core: &Arc<Core>, mut job: Job, timing: Timing) {
        if let Some(spawning) = &mut job.spawn {
            spawning.made = Some(timing);
            if let Some(mut turn) = spawning.turn.take() {
                turn.is_over = true;
            }
        }
        let mut rows = core.residents.rows();
        let Some(row) = rows.get_mut(&self.key) else {
            // The slave has begun to drain.
            drop(rows);
            core.store.forget_saved(&self.key);
            return fail(&job, timing, Cause::Draining);
        };
        row.under_way = None;
        row.waiting.push_front(job);
        drop(rows);
        let (this, core_then) = (Arc::clone(self), Arc::downgrade(core));
        core.store.when_kept(Box::new(move |kept| {
            if let Some(core) = core_then.upgrade() {
                this.kept(&core, kept);
            }
        }));
    }

    /// Its first state is on disk, or cannot be.
    fn kept(self: &Arc<Self>, core: &Arc<Core>, kept: Result<(), Cause>) {
        let mut makers = core.residents.take_from(&self.key, |job| job.made().is_some());
        let (is_wanted, kept_well) = (!makers.is_empty(), kept.is_ok());
        if kept_well {
            self.lock().is_told = is_wanted;
            for job in makers.drain(..) {
                answer(&job, job.made().unwrap_or_default(), told(self, false));
            }
        }
        let mut inner = self.lock();
        if kept_well && is_wanted && inner.life.ended().is_none() {
            drop(inner);
            return self.tell_waiting(core, &self.key);
        }
        if let Err(cause) = kept {
            inner.failure.get_or_insert(cause);
        }
        if inner.gone.is_some() {
            drop(inner);
            return self.hand_row_on(core, &makers);
        }
        inner.heirs = Some(makers);
        let is_failed = inner.failure.is_some();
        drop(inner);
        if !(kept_well && is_wanted) {
            // Who made it hears nothing of it, or that it was refused: its state is where it came
            // from, and not here.
            core.store.forget_saved(&self.key);
        }
        // If nobody wants it any more, it has been made for nothing.
        self.end(core, if is_failed { End::Failed } else { End::Stopped });
    }

    /// It has ended before all in its row had it: the next one spawns.
    pub(super) fn hand_row_on(&self, core: &Arc<Core>, makers: &VecDeque<Job>) {
        let failure = self.lock().failure.clone();
        for job in makers {
            let cause = failure.clone().unwrap_or(Cause::Cancelled);
            answer(job, job.made().unwrap_or_default(), Err(cause));
        }
        pass(core, &self.key);
    }

    /// Those who waited for it have it.
    fn tell_waiting(&self, core: &Core, key: &FullKey) {
        let row = core.residents.rows().remove(key).unwrap_or_default();
        for job in row.waiting {
            let queued_us = micros(job.arrived.elapsed());
            answer(&job, Timing { queued_us, ..Timing::default() }, there(&job, self));
        }
    }

    /// It never was.
    fn unmade(&self) {
        let mut inner = self.lock();
        drop(inner.life.over(End::Failed));
        let place = std::mem::replace(&mut inner.place, Place::Nowhere);
        let room = inner.room.take();
        drop(inner);
        drop((place, room));
    }
}

impl Job {
    /// What it took to make a resident, if its answer waits for the disk alone.
    fn made(&self) -> Option<Timing> {
        self.spawn.as_ref().and_then(|spawning| spawning.made)
    }
}
