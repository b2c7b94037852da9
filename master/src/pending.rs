//! Requests to a slave that are not answered.
//!
//! Bounded by their callers, who wait. Invariant: when the link is gone, nobody waits.

use dpfw_protocol::ids::ConversationId;
use foldhash::fast::RandomState;
use std::collections::HashMap;
use std::pin::Pin;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use tokio::sync::oneshot;

/// Who waits for which answer. The keys are numbers of this process's own making.
#[derive(Debug)]
pub(crate) struct Pending<T>(Mutex<HashMap<ConversationId, oneshot::Sender<T>, RandomState>>);

/// An answer that somebody waits for; dropped, it is forgotten.
pub(crate) struct Expected<'a, T> {
    pending: &'a Pending<T>,
    conversation: ConversationId,
    answer: oneshot::Receiver<T>,
}

impl<T> Future for Expected<'_, T> {
    /// Nothing if the link is gone.
    type Output = Option<T>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<T>> {
        Pin::new(&mut self.answer).poll(cx).map(Result::ok)
    }
}

impl<T> Drop for Expected<'_, T> {
    fn drop(&mut self) {
        // What was answered is there no more.
        if !self.answer.is_terminated() {
            self.pending.lock().remove(&self.conversation);
        }
    }
}

impl<T> Default for Pending<T> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<T> Pending<T> {
    fn lock(&self) -> MutexGuard<'_, HashMap<ConversationId, oneshot::Sender<T>, RandomState>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for the answer in a conversation; and whether others wait. Whoever asks looks
    /// afterwards whether the link still stands, for one that is gone tells nobody any more.
    pub(crate) fn expect(&self, conversation: ConversationId) -> (Expected<'_, T>, bool) {
        let (sender, answer) = oneshot::channel();
        let mut waiting = self.lock();
        waiting.insert(conversation, sender);
        (Expected { pending: self, conversation, answer }, waiting.len() > 1)
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
