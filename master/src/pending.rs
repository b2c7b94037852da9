//! Requests to a slave that are not answered.
//!
//! Bounded by their callers, who wait. Invariant: when the link is gone, nobody waits.

use dpfw_protocol::ids::ConversationId;
use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use tokio::sync::oneshot;

/// Who waits for which answer.
#[derive(Debug)]
pub(crate) struct Pending<T>(Mutex<HashMap<ConversationId, oneshot::Sender<T>>>);

impl<T> Default for Pending<T> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<T> Pending<T> {
    fn lock(&self) -> MutexGuard<'_, HashMap<ConversationId, oneshot::Sender<T>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for the answer in a conversation. Whoever asks looks afterwards whether the
    /// link still stands, for one that is gone tells nobody any more.
    pub(crate) fn expect(&self, conversation: ConversationId) -> oneshot::Receiver<T> {
        let (sender, receiver) = oneshot::channel();
        self.lock().insert(conversation, sender);
        receiver
    }

    /// Whoever waited does not any more.
    pub(crate) fn forget(&self, conversation: ConversationId) {
        self.lock().remove(&conversation);
    }

    /// The slave has answered; a caller that does not wait any more is passed over.
    pub(crate) fn answer(&self, conversation: ConversationId, answer: T) {
        let waiting = self.lock().remove(&conversation);
        if let Some(waiting) = waiting {
            let _ = waiting.send(answer);
        }
    }

    /// The link is gone, and with it the answers.
    pub(crate) fn fail(&self) {
        self.lock().clear();
    }
}
