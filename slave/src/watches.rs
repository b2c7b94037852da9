//! What a session's master watches of the store.
//!
//! Owns: the watches of one session, and their telling. Does not: decide what is told, which
//! the store does. Invariants: at most [`MAX_WATCHES`]; while [`MOST_UNSENT`] bytes wait to be
//! sent, changes stay in the store's bounded queues, so that a master that does not read costs
//! no more than those.

use crate::core::Core;
use crate::session::Session;
use crate::shares::Taken;
use crate::store::changes::Watching;
use dpfw_protocol::changes::{Change, Changed, Watch};
use dpfw_protocol::error::Cause;
use dpfw_protocol::ids::ConversationId;
use dpfw_protocol::limits::{MAX_LISTED, MAX_MESSAGE, MAX_WATCHES};
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::Notify;

/// Bytes that wait to be sent, above which no more changes are told.
const MOST_UNSENT: usize = 256 << 10;

/// See the module's page.
#[derive(Default)]
pub(crate) struct Watches {
    all: Mutex<BTreeMap<ConversationId, Watched>>,
    /// Something is to be told.
    wake: Arc<Notify>,
}

/// A watch, and its place among those that there may be.
type Watched = (Arc<Watching>, Taken);

impl Watches {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<ConversationId, Watched>> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins a watch, and says so.
    pub(crate) fn begin(
        &self,
        core: &Core,
        session: &Session,
        conversation: ConversationId,
        watch: Watch,
    ) {
        let begun = self.add(core, session, conversation, watch);
        if let Err(cause) = &begun {
            core.tell_refused(session, None, cause);
        }
        let failure = begun.err().map(Into::into);
        let begun = Changed { failure, missed: 0, changes: Vec::new() };
        // It always fits a frame.
        let _ = session.outbox.message(conversation, &begun);
        session.outbox.flush();
        // What is there is to be told, or what has changed since.
        self.wake.notify_one();
    }

    fn add(
        &self,
        core: &Core,
        session: &Session,
        conversation: ConversationId,
        watch: Watch,
    ) -> Result<(), Cause> {
        let mut all = self.lock();
        if all.len() >= MAX_WATCHES || all.contains_key(&conversation) {
            let what = format!("a session has at most {MAX_WATCHES} watches, and no two in one");
            return Err(Cause::Busy { what });
        }
        let taken = core.watched.lend(&session.holdings.watches, 1);
        let taken = taken.ok_or_else(|| none_left(core))?;
        let wake = Arc::clone(&self.wake);
        let wake = Box::new(move || wake.notify_one());
        let Watch { prefix, present } = watch;
        let watching = core.store.watch(&session.namespace, prefix, present, wake);
        all.insert(conversation, (Arc::new(watching), taken));
        Ok(())
    }

    /// Ends a watch, if there is such a one.
    pub(crate) fn end(&self, conversation: ConversationId) {
        let ended = self.lock().remove(&conversation);
        drop(ended);
    }

    /// The session has ended.
    pub(crate) fn clear(&self) {
        let ended = std::mem::take(&mut *self.lock());
        drop(ended);
    }

    /// Tells the master of changes, as long as the link stands.
    pub(crate) async fn tell(&self, core: &Core, session: &Session) -> Infallible {
        loop {
            self.wake.notified().await;
            while self.tell_some(core, session) {
                session.outbox.flush();
                session.outbox.control_below(MOST_UNSENT).await;
            }
        }
    }

    /// One message for each watch that has something to tell; whether there was one.
    fn tell_some(&self, core: &Core, session: &Session) -> bool {
        let all: Vec<_> =
            self.lock().iter().map(|(id, (watching, _))| (*id, Arc::clone(watching))).collect();
        let mut has_told = false;
        for (conversation, watching) in all {
            // Beside what the message has besides.
            let mut room = Room::new(MAX_MESSAGE - 64);
            let (missed, changes) = core.store.watched(&watching, |change| room.takes(change));
            if missed == 0 && changes.is_empty() {
                continue;
            }
            has_told = true;
            let changed = Changed { failure: None, missed, changes };
            if let Err(error) = session.outbox.message(conversation, &changed) {
                tracing::error!(%error, "changes of the store cannot be told");
            }
        }
        has_told
    }
}

/// Why somebody may not watch.
pub(crate) fn none_left(core: &Core) -> Cause {
    let most = core.limits.watches;
    let what = format!("the slave has {most} watches, or has none left for this master");
    Cause::Busy { what }
}

/// What there is room for, of that which is told at one go.
pub(crate) struct Room {
    bytes: usize,
    changes: usize,
}

impl Room {
    /// For so many bytes.
    pub(crate) fn new(bytes: usize) -> Self {
        Self { bytes, changes: MAX_LISTED }
    }

    /// Takes the room of a change, if there is any. The first always fits.
    pub(crate) fn takes(&mut self, change: &Change) -> bool {
        // It is larger than its key by the numbers and words of its other fields.
        let size = change.key.as_str().len() + 40;
        if self.changes == 0 || size > self.bytes {
            return false;
        }
        self.changes -= 1;
        self.bytes -= size;
        true
    }
}
