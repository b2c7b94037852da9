//! A call of a resident on its way through a mailbox, and the words for its end.
//!
//! Invariant: a call is counted, and known by its number, from when it was read until it is
//! dropped; it is answered once before that, unless its session is gone.

use super::life::Mail;
use crate::module::load::Loaded;
use crate::session::{Held, Session};
use crate::shares::Taken;
use crate::slot::micros;
use dpfw_protocol::Bytes;
use dpfw_protocol::error::Cause;
use dpfw_protocol::ids::{ConversationId, ModuleHash};
use dpfw_protocol::message::{BindMethod, CallFlags, Done, Failed, Timing};
use dpfw_protocol::resident::{LOAD, MAKES, SAVE, class_of};
use dpfw_protocol::signature::{Signature, TaskTable};
use std::sync::Arc;
use std::time::Instant;

/// One call, with all that it needs to run.
#[derive(Debug)]
pub(crate) struct Call {
    pub(super) held: Held,
    pub(super) conversation: ConversationId,
    /// The place of the method in the list of the resident's module.
    pub(super) function: usize,
    pub(super) args: Bytes,
    pub(super) flags: CallFlags,
    pub(super) arrived: Instant,
    pub(super) deadline: Option<Instant>,
}

impl Call {
    pub(super) fn session(&self) -> &Arc<Session> {
        self.held.session()
    }

    /// How long it has waited, for one that has not run.
    fn unrun(&self) -> Timing {
        Timing { queued_us: micros(self.arrived.elapsed()), ..Timing::default() }
    }

    /// Tells that it has not run, and why.
    pub(crate) fn refuse(&self, cause: Cause) {
        self.failed(self.unrun(), cause);
        self.session().outbox.flush();
    }

    /// Queues its failure.
    pub(super) fn failed(&self, timing: Timing, cause: Cause) {
        let failed = Failed { timing, failure: cause.into() };
        // A cause is cut to what fits a frame when it becomes a failure.
        let _ = self.session().outbox.message(self.conversation, &failed);
    }

    /// Queues its result.
    pub(super) fn done(&self, timing: Timing, result: &[u8]) {
        let result = if self.flags.has(CallFlags::CAST) { &[] } else { result };
        let done = Done { timing, payload: result.len() as u64, kept: None };
        let outbox = &self.session().outbox;
        let told =
            outbox.append(|queue| queue.message_with_slice(self.conversation, &done, result));
        if told.is_err() {
            tracing::error!("the result of a call cannot be told");
        }
        if result.len() > dpfw_protocol::limits::INLINE {
            self.session().look_for_clog();
        }
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        self.session().end_call(self.conversation);
    }
}

impl Mail for Call {
    fn session(&self) -> usize {
        key(self.held.session())
    }

    fn number(&self) -> u64 {
        self.conversation.0
    }
}

/// What a session is known by, as long as it is held.
pub(super) fn key(session: &Arc<Session>) -> usize {
    Arc::as_ptr(session).addr()
}

/// A method as a session declared it.
#[derive(Debug)]
pub(crate) struct Method {
    module: ModuleHash,
    name: String,
    expects: Option<Signature>,
    /// In the module of this number, what was found.
    found: Option<(usize, Result<usize, Cause>)>,
    /// What it takes of its principal's.
    pub(crate) room: Option<Taken>,
}

impl Method {
    pub(crate) fn new(bind: BindMethod) -> Self {
        let BindMethod { module, name, expects, .. } = bind;
        Self { module, name, expects, found: None, room: None }
    }

    /// About how many bytes it takes.
    pub(crate) fn bytes(&self) -> u64 {
        let expects = self.expects.as_ref().map_or(0, Signature::bytes);
        (size_of::<Self>() + self.name.len() + expects) as u64
    }

    /// Its place in the list of a resident's module. What was found last is remembered; the
    /// class is asked each time, for a module may have several.
    ///
    /// # Errors
    /// [`Cause::Mismatch`] or [`Cause::MissingTask`] if the resident has it otherwise, or not.
    pub(super) fn find(
        &mut self,
        class: &str,
        loaded: &Loaded,
        module: ModuleHash,
    ) -> Result<usize, Cause> {
        if class_of(&self.name) != class {
            let difference = format!("the resident is a `{class}`, which has no `{}`", self.name);
            return Err(Cause::Mismatch { difference });
        }
        match &self.found {
            Some((number, found)) if *number == loaded.number => found.clone(),
            _ => {
                let found = self.look_up(loaded, module);
                self.found.insert((loaded.number, found)).1.clone()
            }
        }
    }

    fn look_up(&self, loaded: &Loaded, module: ModuleHash) -> Result<usize, Cause> {
        if module != self.module && self.expects.is_none() {
            let difference = format!(
                "the resident is of module {module}, and `{}` of {} was called without a word on \
                 what it takes and gives",
                self.name, self.module
            );
            return Err(Cause::Mismatch { difference });
        }
        let table = loaded.facts().table();
        let missing = || Err(loaded.missing_method(&self.name, |it| is_called(table, it)));
        if !is_called(table, &self.name) {
            return missing();
        }
        match loaded.method(&self.name, self.expects.as_ref()) {
            Err(Cause::MissingTask { .. }) => missing(),
            found => found,
        }
    }
}

/// Whether masters call it: what makes a resident, and what saves one, is for slaves.
fn is_called(table: &TaskTable, name: &str) -> bool {
    let makes = |method: Signature| method.task.returns == MAKES;
    let own = name.split_once('.').map_or(name, |(_, own)| own);
    own != SAVE && own != LOAD && !table.method(name).is_some_and(makes)
}
