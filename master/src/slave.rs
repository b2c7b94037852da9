//! A slave as its masters see it.

use crate::home::Home;
use crate::pending::{Expected, Pending};
use crate::program::ports::PortTable;
use crate::resident::table::{Over, Residents};
use crate::store::changes::Feeds;
use crate::store::{Reply, Store};
use dpfw_dispatch::{Loss, SlaveId};
use dpfw_link::{Leaves, LinkError, Outbox};
use dpfw_protocol::hello::Hello;
use dpfw_protocol::ids::{ConversationId, PeerId};
use dpfw_protocol::message::{Description, Message, MessageError, close};
use dpfw_protocol::payload::Payload;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use tokio::sync::watch;

/// What everybody in the master may know of a link to a slave.
#[derive(Debug)]
pub(crate) struct Linked {
    /// Of the programs that run there.
    pub(crate) ports: PortTable,
    pub(crate) id: SlaveId,
    pub(crate) hello: Hello,
    pub(crate) address: String,
    pub(crate) outbox: Outbox,
    pub(crate) replies: Pending<Reply>,
    pub(crate) descriptions: Pending<Description>,
    /// Of the store's watches.
    pub(crate) feeds: Feeds,
    pub(crate) residents: Residents,
    pub(crate) home: Arc<Home>,
    /// How far the link's end is.
    ending: watch::Sender<Ending>,
    /// Why the slave has closed it, in its words.
    pub(crate) closed: OnceLock<String>,
    next_conversation: AtomicU64,
}

/// Why a question has no answer.
#[derive(Debug)]
pub(crate) enum Unanswered {
    Lost,
    Unsendable(MessageError),
}

/// How far the end of a link is.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Ending {
    /// The slave admits nothing new.
    pub(crate) draining: bool,
    /// The link has ended.
    pub(crate) gone: Option<Loss>,
}

impl Linked {
    pub(crate) fn new(
        id: SlaveId,
        hello: Hello,
        address: String,
        outbox: Outbox,
        home: Arc<Home>,
    ) -> Self {
        Self {
            ports: PortTable::default(),
            id,
            hello,
            address,
            outbox,
            replies: Pending::default(),
            descriptions: Pending::default(),
            feeds: Feeds::default(),
            residents: Residents::default(),
            home,
            ending: watch::Sender::default(),
            closed: OnceLock::new(),
            next_conversation: AtomicU64::new(ConversationId::OTHERS.0),
        }
    }

    /// Whether its link stands. Of one that ends this is known before others say so.
    pub(crate) fn is_up(&self) -> bool {
        !self.residents.is_over() && !self.outbox.is_closed()
    }

    /// A new conversation that is no attempt.
    pub(crate) fn conversation(&self) -> ConversationId {
        ConversationId(self.next_conversation.fetch_add(1, Ordering::Relaxed))
    }

    /// Asks at once, and waits for the answer; whoever does not wait any more is forgotten.
    ///
    /// # Errors
    /// [`Unanswered`] if the link is lost, or the question does not fit a frame.
    pub(crate) fn ask<'a, M: Message, A>(
        &'a self,
        pending: &'a Pending<A>,
        message: &M,
        payload: Payload,
    ) -> impl Future<Output = Result<A, Unanswered>> + use<'a, M, A> {
        // Before there is a future, which would carry the question along.
        let asked = self.question(pending, message, payload);
        async move { asked?.await.ok_or(Unanswered::Lost) }
    }

    fn question<'a, M: Message, A>(
        &self,
        pending: &'a Pending<A>,
        message: &M,
        payload: Payload,
    ) -> Result<Expected<'a, A>, Unanswered> {
        let conversation = self.conversation();
        let (answer, others) = pending.expect(conversation);
        // Where many ask, what they ask is written together.
        let leaves = if others { Leaves::Soon } else { Leaves::Now };
        let told =
            self.outbox.say(leaves, |queue| queue.message_with(conversation, message, payload));
        told.map_err(Unanswered::Unsendable)?;
        match self.outbox.is_closed() {
            true => Err(Unanswered::Lost),
            false => Ok(answer),
        }
    }

    /// Says goodbye: the master has ended.
    pub(crate) fn part(&self) {
        self.outbox.close(close::DONE, "the master has ended");
        self.residents.fail(self.id, Over::Shutdown);
        self.set_gone(Loss::Unreachable);
    }

    /// A newer link to the slave took over.
    pub(crate) fn supersede(&self) {
        self.outbox.close(close::SUPERSEDED, &LinkError::Superseded.to_string());
        self.set_gone(Loss::Unreachable);
    }

    pub(crate) fn set_draining(&self) {
        self.ending.send_modify(|ending| ending.draining = true);
    }

    /// The link has ended: nobody waits for an answer any more.
    pub(crate) fn set_gone(&self, loss: Loss) {
        self.ending.send_modify(|ending| ending.gone = ending.gone.or(Some(loss)));
        self.replies.fail();
        self.descriptions.fail();
        self.feeds.fail();
        self.residents.fail(self.id, Over::Lost);
    }

    /// Waits until the end of the link is so far.
    pub(crate) async fn ending(&self, is: impl FnMut(&Ending) -> bool) -> Ending {
        let mut ending = self.ending.subscribe();
        // The sender is here.
        ending.wait_for(is).await.map_or_else(|_| Ending::default(), |ending| *ending)
    }
}

/// A slave that is linked, or was. Cloning names the same one; it keeps no link alive.
#[derive(Clone)]
pub struct Slave(pub(crate) Arc<Linked>);

impl Slave {
    pub(crate) fn id(&self) -> SlaveId {
        self.0.id
    }

    /// Its name.
    pub fn name(&self) -> &PeerId {
        &self.0.hello.peer
    }

    /// Where it is.
    pub fn address(&self) -> &str {
        &self.0.address
    }

    /// How many tasks it runs at once.
    pub fn slots(&self) -> u32 {
        self.0.hello.slots
    }

    /// The program and its version that it runs, in its own words.
    pub fn agent(&self) -> &str {
        &self.0.hello.agent
    }

    /// Whether its link still stands.
    pub fn is_linked(&self) -> bool {
        !self.0.outbox.is_closed()
    }

    /// Its keyed store, in this master's namespace.
    pub fn store(&self) -> Store {
        Store::new(Arc::clone(&self.0))
    }
}

impl PartialEq for Slave {
    /// The same link: a slave that came back is another one.
    fn eq(&self, other: &Self) -> bool {
        self.0.id == other.0.id
    }
}

impl Eq for Slave {}

impl fmt::Display for Slave {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at {}", self.name(), self.address())
    }
}

impl fmt::Debug for Slave {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = if self.is_linked() { "linked" } else { "gone" };
        write!(f, "Slave({self}, {} slots, {state})", self.slots())
    }
}
