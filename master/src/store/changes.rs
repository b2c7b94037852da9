//! Watching one slave's store.
//!
//! Owns: the changes that a caller has not taken. Does not: decide which there are. Invariants:
//! what waits is bounded, and a caller that does not take it is told how much it missed; the
//! link is never held up by it; when the link is gone, so is the watch.

use super::{Store, StoreError};
use crate::slave::Linked;
use dpfw_protocol::changes::{Changed, Unwatch, What};
use dpfw_protocol::error::{Cause, Failure};
use dpfw_protocol::ids::ConversationId;
use dpfw_protocol::store::{EntryKind, Version};
use futures_core::Stream;
use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::future::{IntoFuture, poll_fn};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

/// Changes that wait for one caller. What is beyond them is lost to it.
const MOST_UNTAKEN: usize = 16 << 10;

/// One change of an entry.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Change {
    /// Its key.
    pub key: String,
    /// What it is, or was.
    pub kind: EntryKind,
    /// The version that the change made; the end of an entry has one of its own.
    pub version: Version,
    /// What happened.
    pub what: What,
}

/// What a watch tells.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// An entry changed. Changes of one key come in the order of their versions.
    Changed(Change),
    /// So many changes were lost here, because they were not taken quickly enough.
    Missed(u64),
    /// The link to the slave is lost, or it tells nothing more: this is the last.
    Lost,
}

/// A watch that begins when this is awaited: [`Store::watch`].
#[must_use = "nothing is watched until it is awaited"]
pub struct Watch {
    store: Store,
    watch: dpfw_protocol::changes::Watch,
}

impl Store {
    /// Watches the entries whose keys begin with `prefix`. When it is awaited, the watch has
    /// begun: what changes from then on is told.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let master = dpfw::Master::builder().build().await?;
    /// # let store = master.slaves().pop().expect("the one within the process").store();
    /// use dpfw::store::{Event, What};
    /// use futures_util::StreamExt;
    ///
    /// let mut changes = store.watch("jobs/").await?;
    /// store.put("jobs/1", "done").await?;
    /// let Some(Event::Changed(change)) = changes.next().await else { panic!("lost") };
    /// assert_eq!((change.key.as_str(), change.what), ("jobs/1", What::Put));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`StoreError`] if the slave is lost, the prefix is too long, or too much is watched.
    pub fn watch(&self, prefix: &str) -> Watch {
        let watch = dpfw_protocol::changes::Watch { prefix: prefix.into(), present: false };
        Watch { store: self.clone(), watch }
    }
}

impl Watch {
    /// Tells the entries first that are there, in the order of their keys, without a gap to what
    /// changes meanwhile.
    pub fn with_present(mut self) -> Self {
        self.watch.present = true;
        self
    }
}

impl IntoFuture for Watch {
    type Output = Result<Changes, StoreError>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move {
            let Self { store, watch } = self;
            let changes = Changes::new(&store.0);
            let told = store.0.outbox.message(changes.conversation, &watch);
            told.map_err(|e| store.error(Cause::BadArguments { message: e.to_string() }))?;
            store.0.outbox.flush();
            if store.0.outbox.is_closed() {
                return Err(store.lost());
            }
            match poll_fn(|cx| changes.feed.poll_begun(cx)).await {
                Begun::Yes => Ok(changes),
                Begun::Refused(cause) => Err(store.error(cause)),
                Begun::Lost => Err(store.lost()),
            }
        })
    }
}

impl fmt::Debug for Watch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Watch").field(&self.watch).finish()
    }
}

/// The changes of one slave's entries: a stream, which ends behind [`Event::Lost`]. Dropping it
/// ends the watch.
///
/// Who does not read it misses changes and holds nobody up.
#[must_use = "dropping it ends the watch"]
pub struct Changes {
    linked: Arc<Linked>,
    conversation: ConversationId,
    feed: Arc<Feed>,
}

impl Changes {
    fn new(linked: &Arc<Linked>) -> Self {
        let conversation = linked.conversation();
        let feed = linked.feeds.begin(conversation);
        Self { linked: Arc::clone(linked), conversation, feed }
    }
}

impl Stream for Changes {
    type Item = Event;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Event>> {
        self.feed.poll_next(cx)
    }
}

impl Drop for Changes {
    fn drop(&mut self) {
        self.linked.feeds.end(self.conversation);
        // It always fits a frame.
        let _ = self.linked.outbox.message(self.conversation, &Unwatch {});
        self.linked.outbox.flush();
    }
}

impl fmt::Debug for Changes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Changes({})", self.linked.hello.peer)
    }
}

/// The watches of one link. Bounded by the callers, who hold them.
#[derive(Debug, Default)]
pub(crate) struct Feeds(Mutex<HashMap<ConversationId, Arc<Feed>>>);

impl Feeds {
    fn lock(&self) -> MutexGuard<'_, HashMap<ConversationId, Arc<Feed>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whoever begins looks afterwards whether the link still stands.
    fn begin(&self, conversation: ConversationId) -> Arc<Feed> {
        let feed = Arc::<Feed>::default();
        self.lock().insert(conversation, Arc::clone(&feed));
        feed
    }

    fn end(&self, conversation: ConversationId) {
        self.lock().remove(&conversation);
    }

    /// The slave tells of changes. Those of a watch that has ended are passed over.
    pub(crate) fn feed(&self, conversation: ConversationId, changed: Changed) {
        let feed = self.lock().get(&conversation).cloned();
        if let Some(feed) = feed {
            feed.take(changed);
        }
    }

    /// The link is gone.
    pub(crate) fn fail(&self) {
        let feeds = std::mem::take(&mut *self.lock());
        feeds.into_values().for_each(|feed| feed.lose());
    }
}

#[derive(Debug, Default)]
struct Feed(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    events: VecDeque<Event>,
    begun: bool,
    refused: Option<Failure>,
    /// Nothing more comes.
    over: bool,
    reader: Option<Waker>,
}

enum Begun {
    Yes,
    Refused(Cause),
    Lost,
}

impl Feed {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&self, changed: Changed) {
        let mut state = self.lock();
        let Changed { failure, missed, changes } = changed;
        if state.over {
            return;
        }
        if failure.is_some() {
            match state.begun {
                // It takes back what it has granted.
                true => state.events.push_back(Event::Lost),
                false => state.refused = failure,
            }
            state.over = true;
            state.wake();
            return;
        }
        state.begun = true;
        state.miss(missed);
        for change in changes {
            if state.events.len() >= MOST_UNTAKEN {
                state.miss(1);
                continue;
            }
            let dpfw_protocol::changes::Change { key, kind, version, what } = change;
            let key = key.as_str().into();
            state.events.push_back(Event::Changed(Change { key, kind, version, what }));
        }
        state.wake();
    }

    fn lose(&self) {
        let mut state = self.lock();
        if !state.over {
            state.over = true;
            state.events.push_back(Event::Lost);
        }
        state.wake();
    }

    fn poll_begun(&self, cx: &mut Context<'_>) -> Poll<Begun> {
        let mut state = self.lock();
        if let Some(failure) = state.refused.take() {
            return Poll::Ready(Begun::Refused(failure.into()));
        }
        match (state.begun, state.over) {
            (true, _) => Poll::Ready(Begun::Yes),
            (false, true) => Poll::Ready(Begun::Lost),
            (false, false) => {
                state.reader = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }

    fn poll_next(&self, cx: &mut Context<'_>) -> Poll<Option<Event>> {
        let mut state = self.lock();
        match state.events.pop_front() {
            Some(event) => Poll::Ready(Some(event)),
            None if state.over => Poll::Ready(None),
            None => {
                state.reader = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }
}

impl State {
    /// Changes are lost behind what waits.
    fn miss(&mut self, count: u64) {
        match self.events.back_mut() {
            _ if count == 0 => {}
            Some(Event::Missed(missed)) => *missed = missed.saturating_add(count),
            _ => self.events.push_back(Event::Missed(count)),
        }
    }

    fn wake(&mut self) {
        if let Some(reader) = self.reader.take() {
            reader.wake();
        }
    }
}
