//! Where links come from: addresses that are dialled, ports that are listened on, streams
//! that somebody else made.

use crate::inbox::{Change, Command, Heard, Inbox};
use crate::link::read;
use crate::slave::Linked;
use dpfw_dispatch::{Loss, SlaveId};
use dpfw_link::dial::{Dial, DialError};
use dpfw_link::listen::Listener;
use dpfw_link::{Link, LinkError, Stream};
use dpfw_protocol::hello::Hello;
use dpfw_protocol::ids::SessionId;
use dpfw_protocol::limits::MAX_NAME;
use dpfw_protocol::message::close;
use dpfw_protocol::recycle::Recycler;
use dpfw_protocol::text::printable;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::sync::oneshot;
use tokio::task::JoinSet;

/// Links at once through one listener; beyond that the system's backlog waits.
const MOST_LINKS: usize = 16 * 1024;

/// What every source needs.
#[derive(Clone, Debug)]
pub(crate) struct Sources {
    inbox: Arc<Inbox>,
    hello: Arc<Hello>,
    next: Arc<AtomicU64>,
    /// For results that arrive.
    buffers: Recycler,
}

/// How the first try of a source went.
pub(crate) type First = oneshot::Sender<Result<(), FirstError>>;

/// Why a source gave no link.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FirstError {
    /// Nobody answered.
    #[error(transparent)]
    Dial(#[from] DialError),
    /// Somebody answered, but no link came of it.
    #[error("{address}: {source}")]
    Link {
        /// The address.
        address: String,
        /// Why.
        source: LinkError,
    },
}

/// Tells the driver that there is a source, as long as it lives.
struct Counted(Arc<Inbox>);

impl Counted {
    fn new(inbox: &Arc<Inbox>) -> Self {
        inbox.tell(Command::Source(Change::More));
        Self(Arc::clone(inbox))
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.tell(Command::Source(Change::Fewer));
    }
}

impl Sources {
    pub(crate) fn new(inbox: Arc<Inbox>, hello: Hello) -> Self {
        Self {
            inbox,
            hello: Arc::new(hello),
            next: Arc::new(AtomicU64::new(1)),
            buffers: Recycler::default(),
        }
    }

    /// Dials an address, and again whenever the link is lost, until the tries are used up.
    pub(crate) fn dial(&self, dial: Dial, first: First) -> impl Future<Output = ()> + use<> {
        let counted = Counted::new(&self.inbox);
        let this = self.clone();
        async move {
            let _counted = counted;
            let mut first = Some(first);
            let error = this.redial(&dial, &mut first).await;
            // Whoever built the master hears of it, if it still waits.
            let untold = match first {
                Some(first) => first.send(Err(error)),
                None => Err(Err(error)),
            };
            if let Err(Err(error)) = untold {
                tracing::warn!(%error, "dialling is given up");
            }
        }
    }

    /// Serves one link after the other, and says why there is none any more.
    async fn redial(&self, dial: &Dial, first: &mut Option<First>) -> FirstError {
        // Who answered since the last link, and gave none.
        let mut failures = 0;
        loop {
            let stream = match dial.connect().await {
                Ok(stream) => stream,
                Err(error) => return error.into(),
            };
            match self.establish(stream).await {
                Ok((link, id)) => {
                    failures = 0;
                    let linked = self.join(&link, id, first.take());
                    self.serve(link, linked).await;
                }
                Err(source) => {
                    failures += 1;
                    let error = FirstError::Link { address: dial.address.clone(), source };
                    let is_awaited = first.as_ref().is_some_and(|first| !first.is_closed());
                    if is_awaited || dial.tries.is_some_and(|most| failures >= most) {
                        return error;
                    }
                    tracing::warn!(%error, "no link");
                }
            }
            dial.paused().await;
        }
    }

    /// Takes slaves that dial in.
    pub(crate) fn listen(&self, listener: Listener) -> impl Future<Output = ()> + use<> {
        let counted = Counted::new(&self.inbox);
        let this = self.clone();
        async move {
            let _counted = counted;
            let room = Arc::new(tokio::sync::Semaphore::new(MOST_LINKS));
            // They end with the listening.
            let mut links = JoinSet::new();
            while let Ok(permit) = Arc::clone(&room).acquire_owned().await {
                let stream = listener.accept().await;
                let serving = this.attached(stream, None);
                while links.try_join_next().is_some() {}
                links.spawn(async move {
                    serving.await;
                    drop(permit);
                });
            }
        }
    }

    /// Serves a stream that somebody else made, to its end.
    pub(crate) fn attach(
        &self,
        stream: Stream,
        first: Option<First>,
    ) -> impl Future<Output = ()> + use<> {
        let counted = Counted::new(&self.inbox);
        let serving = self.attached(stream, first);
        async move {
            let _counted = counted;
            serving.await;
        }
    }

    fn attached(&self, stream: Stream, first: Option<First>) -> impl Future<Output = ()> + use<> {
        let this = self.clone();
        async move {
            let address = stream.peer().to_owned();
            match (this.establish(stream).await, first) {
                (Ok((link, id)), first) => {
                    let linked = this.join(&link, id, first);
                    this.serve(link, linked).await;
                }
                (Err(source), Some(first)) => {
                    // Whoever built the master hears of it.
                    let _ = first.send(Err(FirstError::Link { address, source }));
                }
                (Err(error), None) => tracing::warn!(address, %error, "no link"),
            }
        }
    }

    async fn establish(&self, stream: Stream) -> Result<(Link, SlaveId), LinkError> {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let hello = Hello { session: Some(SessionId(id)), ..(*self.hello).clone() };
        Ok((Link::establish(stream, &hello).await?, SlaveId(id)))
    }

    fn join(&self, link: &Link, id: SlaveId, first: Option<First>) -> Arc<Linked> {
        let (mut hello, peer) = (link.theirs.clone(), link.peer.clone());
        hello.agent = printable(&hello.agent, MAX_NAME);
        tracing::info!(slave = %hello.peer, %peer, slots = hello.slots, "a slave is linked");
        let linked = Arc::new(Linked::new(id, hello, peer, link.outbox.clone()));
        if self.inbox.tell(Command::Joined(Arc::clone(&linked), first)) == Heard::Never {
            linked.part();
        }
        linked
    }

    /// Reads and writes until the link ends, and tells the driver how.
    async fn serve(&self, mut link: Link, linked: Arc<Linked>) {
        let outbox = linked.outbox.clone();
        let inbox = Arc::clone(&self.inbox);
        let reading = read(Arc::clone(&linked), inbox, self.buffers.clone(), &mut link.inbox);
        let error = Link::drive(&outbox, reading).await;
        match error.goodbye() {
            Some((code, reason)) => outbox.close(code, &reason),
            None => outbox.shut(),
        }
        let loss = loss(&error);
        linked.set_gone(loss);
        tracing::info!(slave = %linked.hello.peer, %error, "a slave is gone");
        self.inbox.tell(Command::Lost(linked.id, loss));
    }
}

fn loss(error: &LinkError) -> Loss {
    match error {
        LinkError::Closed { code, .. } if *code == close::DRAINED || *code == close::DONE => {
            Loss::Left
        }
        error if error.is_death() => Loss::Died,
        _ => Loss::Unreachable,
    }
}
