//! The residents of one slave, as the link to it knows them.
//!
//! Owns: the calls that are under way on the link, the numbers of methods on it. Does not: know
//! what a resident is. Invariants: a call under way is answered once, by the slave or by the
//! link's end; after that end nothing begins. Calls are bounded by the residents' mailboxes.

use super::call::Asking;
use super::window::Window;
use crate::pending::Pending;
use crate::receipt::Progress;
use crate::told::unsendable;
use dpfw_dispatch::SlaveId;
use dpfw_dispatch::hash::IdMap;
use dpfw_link::Outbox;
use dpfw_protocol::Bytes;
use dpfw_protocol::call::Task;
use dpfw_protocol::error::Cause;
use dpfw_protocol::ids::{ConversationId, MethodId, ModuleHash, ResidentId};
use dpfw_protocol::limits::MAX_BINDS;
use dpfw_protocol::message::{BindMethod, Log, ResidentReply, Timing};
use dpfw_protocol::signature::Signature;
use dpfw_protocol::store::Key;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

/// See the module's page.
#[derive(Debug, Default)]
pub(crate) struct Residents {
    calls: Mutex<Calls>,
    methods: Mutex<Methods>,
    /// Those that somebody holds. Bounded by the handles that there are.
    windows: Mutex<HashMap<ResidentId, Weak<Window>>>,
    pub(crate) replies: Pending<(ResidentReply, Bytes)>,
}

#[derive(Debug, Default)]
struct Calls {
    under_way: IdMap<ConversationId, Arc<Asking>>,
    over: Option<Over>,
}

/// How a link has ended, for those who call residents.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Over {
    Lost,
    Shutdown,
}

#[derive(Debug, Default)]
struct Methods {
    known: HashMap<(ModuleHash, Arc<str>), Vec<Declared>>,
    bound: u32,
}

/// What the slave was told of a method, and its number.
type Declared = (Option<Signature>, MethodId);

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Residents {
    /// A call is about to be sent: how many are under way already. `None` if the link has ended.
    pub(crate) fn begin(&self, conversation: ConversationId, call: &Arc<Asking>) -> Option<usize> {
        let mut calls = lock(&self.calls);
        if calls.over.is_some() {
            return None;
        }
        let others = calls.under_way.len();
        calls.under_way.insert(conversation, Arc::clone(call));
        Some(others)
    }

    /// Takes a call out that has ended.
    pub(crate) fn take(&self, conversation: ConversationId) -> Option<Arc<Asking>> {
        lock(&self.calls).under_way.remove(&conversation)
    }

    fn find(&self, conversation: ConversationId) -> Option<Arc<Asking>> {
        lock(&self.calls).under_way.get(&conversation).cloned()
    }

    /// The slave has answered a call; one that nobody knows is passed over.
    pub(crate) fn answered(
        &self,
        conversation: ConversationId,
        timing: Timing,
        outcome: Result<Bytes, Cause>,
    ) {
        if let Some(call) = self.take(conversation) {
            call.window.answered(&call, Some(timing), outcome);
        }
    }

    /// A line of a method's log.
    pub(crate) fn log(
        &self,
        conversation: ConversationId,
        slave: &impl std::fmt::Display,
        log: &Log,
    ) {
        if let Some(call) = self.find(conversation) {
            crate::log::say(slave, call.task.name(), log);
        }
    }

    /// A method says how far it is.
    pub(crate) fn progress(&self, conversation: ConversationId, progress: Progress) {
        if let Some(call) = self.find(conversation) {
            call.set_progress(progress);
        }
    }

    /// Whether the arguments of a call did not leave with it.
    pub(crate) fn is_long(&self, conversation: ConversationId) -> bool {
        let calls = lock(&self.calls);
        calls.under_way.get(&conversation).is_some_and(|call| call.is_long())
    }

    pub(crate) fn is_over(&self) -> bool {
        lock(&self.calls).over.is_some()
    }

    /// Whether it is over because the master has ended.
    pub(crate) fn is_shut_down(&self) -> bool {
        lock(&self.calls).over == Some(Over::Shutdown)
    }

    /// Why a call ends with the link.
    pub(crate) fn lost(&self, key: &Key, may_have_run: bool) -> Cause {
        match lock(&self.calls).over {
            Some(Over::Shutdown) => Cause::Shutdown,
            _ => Cause::ResidentLost { key: key.to_string(), may_have_run },
        }
    }

    /// The link has ended: all calls have, and residents are not there any more.
    pub(crate) fn fail(&self, slave: SlaveId, how: Over) {
        let mut calls = lock(&self.calls);
        calls.over = calls.over.or(Some(how));
        let under_way = std::mem::take(&mut calls.under_way);
        drop(calls);
        let mut under_way: Vec<_> = under_way.into_iter().collect();
        under_way.sort_unstable_by_key(|(conversation, _)| *conversation);
        for (_, call) in under_way {
            let cause = self.lost(&call.window.key, true);
            call.window.answered(&call, None, Err(cause));
        }
        let windows = std::mem::take(&mut *lock(&self.windows));
        for window in windows.into_values().filter_map(|window| window.upgrade()) {
            window.lost(slave);
        }
        self.replies.fail();
    }

    /// The window of a resident, which all its handles on this link share.
    pub(crate) fn window(
        &self,
        resident: ResidentId,
        new: impl FnOnce() -> Arc<Window>,
    ) -> Arc<Window> {
        let mut windows = lock(&self.windows);
        if let Some(window) = windows.get(&resident).and_then(Weak::upgrade) {
            return window;
        }
        let window = new();
        if windows.len() == windows.capacity() {
            windows.retain(|_, window| window.strong_count() > 0);
        }
        windows.insert(resident, Arc::downgrade(&window));
        window
    }

    /// A resident has come, with a window that it had elsewhere.
    pub(crate) fn moved_in(&self, resident: ResidentId, window: &Arc<Window>) {
        lock(&self.windows).insert(resident, Arc::downgrade(window));
    }

    /// The link's number for a method, which the slave is told the first time.
    ///
    /// # Errors
    /// [`Cause::Rejected`] if it cannot be declared, [`Cause::Mismatch`] if nobody can tell
    /// whether the resident's module has it.
    pub(crate) fn bind(
        &self,
        outbox: &Outbox,
        task: &Task<()>,
        resident: ModuleHash,
    ) -> Result<MethodId, Cause> {
        let module = task.module();
        let own = || module.tasks().ok().and_then(|table| table.method(task.name()));
        let expects = match (task.expects(), module.hash() == resident) {
            (Some(expects), _) => Some(expects.clone()),
            (None, true) => None,
            (None, false) => Some(own().ok_or_else(|| Cause::Mismatch {
                difference: format!(
                    "the resident is of module {resident}, and `{}` is not described by module {module}",
                    task.name()
                ),
            })?),
        };
        let mut methods = lock(&self.methods);
        let Methods { known, bound } = &mut *methods;
        let of_name = known.entry((module.hash(), task.shared_name())).or_default();
        if let Some((_, id)) = of_name.iter().find(|(it, _)| *it == expects) {
            return Ok(*id);
        }
        if *bound as usize >= MAX_BINDS {
            let reason = "the link has seen as many different methods as it may".into();
            return Err(Cause::Rejected { reason });
        }
        let method = MethodId(*bound);
        let name = task.name().to_owned();
        let message = BindMethod { method, module: module.hash(), name, expects: expects.clone() };
        outbox.message(ConversationId::LINK, &message).map_err(unsendable)?;
        *bound += 1;
        of_name.push((expects, method));
        Ok(method)
    }
}
