//! What a slave was told.
//!
//! Owns: the numbers that a link's tasks were given, how often the slave asked for a module,
//! the wish for its slots, whether anything waits to be flushed. Does not: decide what a slave is told.

use crate::kinds::{KindImage, KindOf, Kinds};
use crate::slave::Linked;
use dpfw_dispatch::{KeyId, KindId, ReservationId, SlaveId};
use dpfw_protocol::error::Cause;
use dpfw_protocol::ids::{BindId, ConversationId};
use dpfw_protocol::limits::{HEARTBEAT, MAX_BINDS};
use dpfw_protocol::message::{Bind, BindImage, BindResident, MessageError};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Instant;

/// How often a slave is sent the bytes of one module. It asks once, and again where a
/// transfer was abandoned; one that goes on asking does not mean to run it.
const OFFERS: u32 = 8;

/// Questions for keys that a slave need not have answered. One that goes on not answering has
/// none of the keys of the first of them.
const SEARCHES: usize = 4096;

/// See the module's page.
pub(crate) struct Told {
    pub(crate) linked: Arc<Linked>,
    /// By kind.
    binds: Vec<Option<BindId>>,
    bound: u32,
    /// Numbers of what was forgotten, to be given again.
    free: Vec<BindId>,
    /// How often it asked for a module or an image. Bounded by those that there are.
    asked: HashMap<[u8; 32], u32>,
    /// For whom it was asked for its slots last. An earlier wish was answered or taken back.
    wish: Option<(ConversationId, ReservationId)>,
    /// For which keys it was asked, and has not answered. Bounded by [`SEARCHES`].
    located: BTreeMap<ConversationId, Box<[KeyId]>>,
    /// When what it holds was last compared with what is believed to be there.
    compared: Option<Instant>,
    pub(crate) is_dirty: bool,
}

impl Told {
    pub(crate) fn new(linked: Arc<Linked>) -> Self {
        Self {
            linked,
            binds: Vec::new(),
            bound: 0,
            free: Vec::new(),
            asked: HashMap::new(),
            wish: None,
            located: BTreeMap::new(),
            compared: None,
            is_dirty: false,
        }
    }

    /// The slave asks for a module or an image that there is: whether it may have it once more.
    pub(crate) fn may_ask(&mut self, what: [u8; 32]) -> bool {
        let asked = self.asked.entry(what).or_default();
        *asked += 1;
        *asked <= OFFERS
    }

    /// The slave has it. If it asks again it has lost it since, which is no fault of its own.
    pub(crate) fn has(&mut self, what: [u8; 32]) {
        self.asked.remove(&what);
    }

    /// Whether what it holds is to be compared now: not when that has just been done.
    pub(crate) fn may_compare(&mut self, now: Instant) -> bool {
        let since = self.compared.map(|then| now.saturating_duration_since(then));
        let is_due = since.is_none_or(|since| since >= HEARTBEAT / 2);
        if is_due {
            self.compared = Some(now);
        }
        is_due
    }

    /// The conversation of a new wish for its slots.
    pub(crate) fn wish(&mut self, reservation: ReservationId) -> ConversationId {
        let conversation = self.linked.conversation();
        self.wish = Some((conversation, reservation));
        conversation
    }

    /// Whose wish is answered in that conversation; said once.
    pub(crate) fn wish_of(&mut self, conversation: ConversationId) -> Option<ReservationId> {
        let (_, reservation) = self.wish.take_if(|(asked, _)| *asked == conversation)?;
        Some(reservation)
    }

    /// The conversation of a question for keys; with those of one that it has not answered, if
    /// there are too many.
    pub(crate) fn locate(&mut self, keys: Box<[KeyId]>) -> (ConversationId, Option<Box<[KeyId]>>) {
        let conversation = self.linked.conversation();
        self.located.insert(conversation, keys);
        let is_over = self.located.len() > SEARCHES;
        let first = is_over.then(|| self.located.pop_first()).flatten();
        (conversation, first.map(|(_, keys)| keys))
    }

    /// For which keys it was asked in that conversation; said once.
    pub(crate) fn located(&mut self, conversation: ConversationId) -> Option<Box<[KeyId]>> {
        self.located.remove(&conversation)
    }

    /// Something was appended for it, to be flushed with the batch.
    pub(crate) fn mark(&mut self, slave: SlaveId, dirty: &mut Vec<SlaveId>) {
        if !self.is_dirty {
            self.is_dirty = true;
            dirty.push(slave);
        }
    }

    /// The slave's number for a task function, which it is told the first time.
    ///
    /// # Errors
    /// [`Cause::Rejected`] if the function cannot be declared to a slave.
    pub(crate) fn bind(&mut self, kind: KindId, kinds: &Kinds) -> Result<BindId, Cause> {
        let index = kind.0 as usize;
        if let Some(Some(bind)) = self.binds.get(index) {
            return Ok(*bind);
        }
        let rejected = |reason: &str| Cause::Rejected { reason: reason.into() };
        let function = kinds.get(kind).ok_or_else(|| rejected("nobody knows the task"))?;
        if self.free.is_empty() && self.bound as usize >= MAX_BINDS {
            return Err(rejected("the link has seen as many different tasks as it may"));
        }
        let bind = self.free.last().copied().unwrap_or(BindId(self.bound));
        let (module, task) = (function.module.hash(), function.name.to_string());
        let (expects, outbox) = (function.expects.clone(), &self.linked.outbox);
        let said = match &function.of {
            KindOf::Plain => {
                let message = Bind { bind, module, task, expects };
                outbox.message(ConversationId::LINK, &message)
            }
            KindOf::Constructor => {
                let message = BindResident { bind, module, constructor: task, expects };
                outbox.message(ConversationId::LINK, &message)
            }
            KindOf::Image(KindImage { id, key }) => {
                let (image, key) = (*id, key.clone());
                let message = BindImage { bind, image, module, key, task, expects };
                outbox.message(ConversationId::LINK, &message)
            }
        };
        said.map_err(unsendable)?;
        if self.free.pop().is_none() {
            self.bound += 1;
        }
        if self.binds.len() <= index {
            self.binds.resize(index + 1, None);
        }
        self.binds[index] = Some(bind);
        Ok(bind)
    }

    /// A kind is forgotten: its number will stand for another, which the slave is told of then.
    pub(crate) fn forget(&mut self, kind: KindId) {
        let bind = self.binds.get_mut(kind.0 as usize).and_then(Option::take);
        self.free.extend(bind);
    }
}

/// A task whose name or types do not fit a frame.
pub(crate) fn unsendable(error: MessageError) -> Cause {
    Cause::Rejected { reason: format!("the task cannot be told to a slave: {error}") }
}
