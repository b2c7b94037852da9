//! How many calls of one resident are under way, and those that wait for their turn.
//!
//! Owns: where the resident is, the order of its calls. Does not: look for it; `follow` does.
//! Invariants: no more calls are under way than its mailbox takes; they leave in the order in
//! which they were made, also where the resident has moved; what is under way was sent to where
//! the resident is now. Those that wait take room in the master's queue.

use super::call::Asking;
use super::ends::Watched;
use super::follow::{Seeking, Target, follow};
use crate::home::{Back, Home};
use crate::inbox::Room;
use crate::slave::Linked;
use dpfw_dispatch::SlaveId;
use dpfw_link::Leaves;
use dpfw_protocol::call::Task;
use dpfw_protocol::error::Cause;
use dpfw_protocol::ids::{MethodId, ModuleHash, ResidentId};
use dpfw_protocol::message::{CallResident, Timing};
use dpfw_protocol::module::Module;
use dpfw_protocol::store::Key;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Instant;
use tokio::sync::Notify;

/// See the module's page.
#[derive(Debug)]
pub(crate) struct Window {
    pub(crate) key: Key,
    pub(crate) class: Arc<str>,
    pub(crate) home: Arc<Home>,
    state: Mutex<State>,
    failed_casts: AtomicU64,
    /// With its bytes, if this program has them.
    pub(super) module: OnceLock<Module>,
    pub(super) watched: Watched,
    /// Notified when it is clear where the resident is.
    pub(super) settled: Notify,
}

/// Where a resident is.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    pub(crate) linked: Arc<Linked>,
    pub(crate) resident: ResidentId,
    pub(crate) module: ModuleHash,
    /// How many calls of it may be under way.
    pub(crate) mailbox: usize,
}

#[derive(Debug)]
struct State {
    place: Place,
    stage: Stage,
    under_way: usize,
    made: u64,
    /// In their order. Each takes room in the master's queue, unless it had left before.
    waiting: VecDeque<(Arc<Asking>, Option<Room>)>,
    /// Their numbers on the link. Bounded by the methods that the program calls.
    methods: Vec<(Task<()>, MethodId)>,
}

#[derive(Debug)]
enum Stage {
    /// It is at its place.
    There,
    /// It is not there any more; looked for when nothing is under way to where it was.
    Leaving(Target),
    /// It is looked for.
    Sought,
    /// It was not found; looked for again when somebody calls.
    Away(Target),
}

/// What a caller wants who finds the window full.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Full {
    #[default]
    Wait,
    Busy,
}

/// What is done once no lock is held.
#[derive(Default)]
struct After {
    /// Calls that end, and why.
    over: Vec<(Arc<Asking>, Cause)>,
    /// Where it is looked for.
    sought: Option<Target>,
}

impl After {
    fn end(&mut self, call: &Arc<Asking>, cause: Cause) {
        self.over.push((Arc::clone(call), cause));
    }
}

impl Window {
    pub(crate) fn new(key: Key, class: Arc<str>, home: Arc<Home>, place: Place) -> Arc<Self> {
        let state = State {
            place,
            stage: Stage::There,
            under_way: 0,
            made: 0,
            waiting: VecDeque::new(),
            methods: Vec::new(),
        };
        Arc::new(Self {
            key,
            class,
            home,
            state: Mutex::new(state),
            failed_casts: AtomicU64::new(0),
            module: OnceLock::new(),
            watched: Watched::default(),
            settled: Notify::new(),
        })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Where the resident is, or was last.
    pub(crate) fn place(&self) -> Place {
        self.lock().place.clone()
    }

    /// Whether it is known where it is.
    pub(crate) fn is_settled(&self) -> bool {
        !matches!(self.lock().stage, Stage::Leaving(_) | Stage::Sought)
    }

    pub(crate) fn cast_failed(&self, method: &str, cause: &Cause) {
        self.failed_casts.fetch_add(1, Ordering::Relaxed);
        tracing::warn!(resident = %self.key, method, %cause, "a cast failed");
    }

    pub(crate) fn failed_casts(&self) -> u64 {
        self.failed_casts.load(Ordering::Relaxed)
    }

    /// Sends a call, or puts it behind those that wait.
    pub(crate) fn submit(self: &Arc<Self>, call: &Arc<Asking>, full: Full) {
        let mut after = After::default();
        let mut state = self.lock();
        call.set_number(state.made);
        state.made += 1;
        let away = match &state.stage {
            Stage::Away(target) => Some(target.clone()),
            _ => None,
        };
        match away {
            Some(target) if !target.is_linked(&self.home) => {
                after.end(call, state.cause(target.cause(&self.key)));
            }
            away => {
                if let Some(target) = away {
                    state.seek(target, &mut after);
                }
                self.take_in(&mut state, call, full, &mut after);
            }
        }
        drop(state);
        self.done(after);
    }

    /// Sends a call if it is its turn, or else does what its caller wants.
    fn take_in(
        self: &Arc<Self>,
        state: &mut State,
        call: &Arc<Asking>,
        full: Full,
        after: &mut After,
    ) {
        if state.has_room() && state.waiting.is_empty() {
            return self.send(state, call, None, after);
        }
        if full == Full::Busy {
            let what = format!("{} calls of the resident are under way", state.place.mailbox);
            return after.end(call, Cause::Busy { what });
        }
        match self.home.inbox.take_room() {
            Some(room) => state.waiting.push_back((Arc::clone(call), Some(room))),
            None => {
                let most = self.home.inbox.most();
                let what = format!("{most} tasks and calls are queued in the master");
                after.end(call, Cause::Busy { what });
            }
        }
    }

    /// Appends a call to the link.
    fn send(
        self: &Arc<Self>,
        state: &mut State,
        call: &Arc<Asking>,
        waited: Option<Instant>,
        after: &mut After,
    ) {
        let method = match state.method(&call.task) {
            Ok(method) => method,
            Err(cause) => return after.end(call, cause),
        };
        let linked = &state.place.linked;
        let conversation = linked.conversation();
        let Some(others) = linked.residents.begin(conversation, call) else {
            after.end(call, linked.residents.lost(&self.key, false));
            return state.give_up(Target::of(&state.place), &self.key, after);
        };
        state.under_way += 1;
        if !call.send(linked, conversation, waited) {
            // It has ended meanwhile, unless the link has and counts it.
            let is_out = linked.residents.take(conversation).is_some();
            state.under_way -= usize::from(is_out);
            return;
        }
        let left = |deadline: Instant| deadline.saturating_duration_since(Instant::now());
        let message = CallResident {
            resident: state.place.resident,
            method,
            flags: call.flags,
            budget_us: call.deadline.map(|deadline| left(deadline).as_micros() as u64),
            payload: call.args.len() as u64,
        };
        // Of many that leave together only the first is worth a system call of its own.
        let leaves = if others == 0 { Leaves::Now } else { Leaves::Soon };
        let said = linked.outbox.say(leaves, |queue| match call.args.as_slice() {
            Some(args) if !call.is_long() => queue.message_with_slice(conversation, &message, args),
            _ => queue.message_with(conversation, &message, call.args.clone()),
        });
        if let Err(error) = said
            && linked.residents.take(conversation).is_some()
        {
            state.under_way -= 1;
            after.end(call, Cause::BadArguments { message: error.to_string() });
        }
    }

    /// The slave has answered a call, or its link is lost.
    pub(crate) fn answered(
        self: &Arc<Self>,
        call: &Arc<Asking>,
        timing: Option<Timing>,
        outcome: Result<dpfw_protocol::Bytes, Cause>,
    ) {
        let mut after = After::default();
        let to = match outcome {
            Err(Cause::ResidentMoved { to, .. }) => Some(to),
            outcome => {
                call.end(outcome, timing);
                None
            }
        };
        let mut state = self.lock();
        state.under_way = state.under_way.saturating_sub(1);
        if let Some(to) = to {
            if matches!(state.stage, Stage::There) {
                state.stage = Stage::Leaving(Target::named(to));
            }
            if call.came_back() {
                let at = state.waiting.partition_point(|(it, _)| it.number() < call.number());
                state.waiting.insert(at, (Arc::clone(call), None));
            }
        }
        self.go_on(&mut state, &mut after);
        drop(state);
        self.done(after);
    }

    /// Does what can be done now.
    fn go_on(self: &Arc<Self>, state: &mut State, after: &mut After) {
        if let Stage::Leaving(target) = &state.stage
            && state.under_way == 0
        {
            let target = target.clone();
            state.seek(target, after);
        }
        let mut now = None;
        while state.has_room()
            && let Some((call, room)) = state.waiting.pop_front()
        {
            drop(room);
            let now = *now.get_or_insert_with(Instant::now);
            self.send(state, &call, Some(now), after);
        }
    }

    fn done(self: &Arc<Self>, after: After) {
        for (call, cause) in after.over {
            call.end(Err(cause), None);
        }
        if let Some(target) = after.sought {
            self.home.spawn(follow(Seeking::new(Arc::clone(self), target)));
        }
    }

    /// Looks for it again, if it is not where it was and may be there now.
    pub(super) fn look_again(self: &Arc<Self>) {
        let mut after = After::default();
        let mut state = self.lock();
        if matches!(state.stage, Stage::There) && state.place.linked.residents.is_over() {
            let target = Target::of(&state.place);
            state.give_up(target, &self.key, &mut after);
        }
        if let Stage::Away(target) = &state.stage
            && target.is_linked(&self.home)
        {
            let target = target.clone();
            state.seek(target, &mut after);
        }
        drop(state);
        self.done(after);
    }

    /// Waits until the slave at which it should be is linked, over another link than the one over
    /// which it was looked for in vain, or gone.
    pub(super) async fn back(&self, tried: Option<SlaveId>) -> Back {
        let (target, lost) = {
            let state = self.lock();
            let target = match &state.stage {
                Stage::Leaving(target) | Stage::Away(target) => target.clone(),
                Stage::There | Stage::Sought => Target::of(&state.place),
            };
            (target, state.place.linked.id)
        };
        self.back_at(&target, lost, tried).await
    }

    /// The same of a place, the link to which was lost.
    pub(super) async fn back_at(
        &self,
        target: &Target,
        lost: SlaveId,
        tried: Option<SlaveId>,
    ) -> Back {
        self.home.back(|slaves| target.back(slaves, lost, tried)).await
    }

    /// The resident goes to another slave, as soon as nothing is under way to where it was.
    pub(crate) fn leaves_for(self: &Arc<Self>, target: Target) {
        let mut after = After::default();
        let mut state = self.lock();
        match state.stage {
            Stage::Sought => {}
            _ => state.stage = Stage::Leaving(target),
        }
        self.go_on(&mut state, &mut after);
        drop(state);
        self.done(after);
    }

    /// The link to where it was is lost.
    pub(crate) fn lost(self: &Arc<Self>, slave: SlaveId) {
        let mut after = After::default();
        let mut state = self.lock();
        if matches!(state.stage, Stage::There) && state.place.linked.id == slave {
            let target = Target::of(&state.place);
            state.give_up(target, &self.key, &mut after);
        }
        drop(state);
        self.done(after);
    }

    /// It was found, or not.
    pub(super) fn settle(self: &Arc<Self>, target: Target, found: Result<Place, Cause>) {
        let mut after = After::default();
        let mut state = self.lock();
        match found {
            Ok(place) => {
                place.linked.residents.moved_in(place.resident, self);
                state.place = place;
                state.methods.clear();
                state.stage = Stage::There;
                self.go_on(&mut state, &mut after);
            }
            Err(cause) => state.give_up_for(target, &cause, &mut after),
        }
        let is_lost = state.place.linked.residents.is_over();
        let slave = state.place.linked.id;
        drop(state);
        self.done(after);
        if is_lost {
            // It was lost before it could be told.
            self.lost(slave);
        }
        self.settled.notify_waiters();
    }

    /// A call does not wait any more.
    pub(crate) fn leave(&self, call: &Asking) {
        let mut state = self.lock();
        let at = state.waiting.partition_point(|(it, _)| it.number() < call.number());
        if state.waiting.get(at).is_some_and(|(it, _)| std::ptr::eq(&**it, call)) {
            state.waiting.remove(at);
        }
    }
}

impl State {
    fn has_room(&self) -> bool {
        matches!(self.stage, Stage::There) && self.under_way < self.place.mailbox
    }

    fn seek(&mut self, target: Target, after: &mut After) {
        self.stage = Stage::Sought;
        after.sought = Some(target);
    }

    /// Why a call does not leave, unless it is that the master has ended.
    fn cause(&self, cause: Cause) -> Cause {
        if self.place.linked.residents.is_shut_down() { Cause::Shutdown } else { cause }
    }

    /// Nobody knows where it is, and why: who waits is told.
    fn give_up_for(&mut self, target: Target, cause: &Cause, after: &mut After) {
        self.stage = Stage::Away(target);
        after.over.extend(self.waiting.drain(..).map(|(call, _)| (call, cause.clone())));
    }

    fn give_up(&mut self, target: Target, key: &Key, after: &mut After) {
        let cause = self.cause(target.cause(key));
        self.give_up_for(target, &cause, after);
    }

    /// The link's number for a method.
    fn method(&mut self, task: &Task<()>) -> Result<MethodId, Cause> {
        if let Some((_, id)) = self.methods.iter().find(|(known, _)| known.is_same(task)) {
            return Ok(*id);
        }
        let Place { linked, module, .. } = &self.place;
        let id = linked.residents.bind(&linked.outbox, task, *module)?;
        self.methods.push((task.clone(), id));
        Ok(id)
    }
}
