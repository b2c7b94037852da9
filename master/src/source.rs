//! Where links come from: addresses that are dialled, ports that are listened on, streams
//! that somebody else made.

use crate::home::Home;
use crate::inbox::{Change, Command, Heard, Inbox};
use crate::link::read;
use crate::peers::{Entered, Peers};
use crate::places::{self, Place, Places};
use crate::slave::Linked;
use dpfw_dispatch::{Loss, SlaveId};
use dpfw_link::dial::{DialError, Dialler};
use dpfw_link::gate::{Gate, Handshakes, Turn};
use dpfw_link::listen::Listener;
use dpfw_link::{Link, LinkError, Proof, Stream};
use dpfw_protocol::hello::Hello;
use dpfw_protocol::ids::SessionId;
use dpfw_protocol::limits::{MAX_ATTEMPTS, MAX_HANDSHAKES, MAX_NAME, MAX_SLOTS};
use dpfw_protocol::message::close;
use dpfw_protocol::recycle::Recycler;
use dpfw_protocol::text::printable;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use tokio::sync::oneshot;
use tokio::task::JoinSet;

/// Links at once through one listener; who comes then is told so.
const MOST_LINKS: usize = 16 * 1024;

/// What every source needs.
#[derive(Clone, Debug)]
pub(crate) struct Sources {
    inbox: Arc<Inbox>,
    hello: Arc<Hello>,
    next: Arc<AtomicU64>,
    peers: Arc<Peers>,
    /// Of links that were accepted.
    places: Places,
    /// For results that arrive.
    buffers: Recycler,
    home: Arc<Home>,
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
    pub(crate) fn new(home: Arc<Home>, hello: Hello) -> Self {
        Self {
            inbox: Arc::clone(&home.inbox),
            home,
            hello: Arc::new(hello),
            next: Arc::new(AtomicU64::new(1)),
            peers: Arc::default(),
            places: Places::default(),
            buffers: Recycler::default(),
        }
    }

    /// Dials an address, and again whenever the link is lost, until the tries are used up.
    pub(crate) fn dial(&self, dialler: Dialler, first: First) -> impl Future<Output = ()> + use<> {
        let counted = Counted::new(&self.inbox);
        let this = self.clone();
        async move {
            let _counted = counted;
            let mut first = Some(first);
            let error = this.redial(dialler, &mut first).await;
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
    async fn redial(&self, mut dialler: Dialler, first: &mut Option<First>) -> FirstError {
        let mut last = None;
        loop {
            if let Some((slave, was_superseded)) = &last {
                // As long as it is linked otherwise, a link of ours would end that one.
                self.peers.without(slave, *was_superseded).await;
            }
            let stream = match dialler.connect().await {
                Ok(stream) => stream,
                Err(error) => return error.into(),
            };
            let again = match self.establish(stream, &mut Gate::open()).await {
                Ok((link, id)) => {
                    let slave = link.theirs.identity();
                    let error = self.serve(link, id, first.take()).await;
                    last = Some((slave, error.is_superseded()));
                    dialler.ended(error).await
                }
                Err(source) => {
                    let address = dialler.address().to_owned();
                    if first.as_ref().is_some_and(|first| !first.is_closed()) {
                        return FirstError::Link { address, source };
                    }
                    tracing::warn!(address, error = %source, "no link");
                    dialler.failed(source).await
                }
            };
            if let Err(error) = again {
                return error.into();
            }
        }
    }

    /// Takes slaves that dial in.
    pub(crate) fn listen(&self, listener: Listener) -> impl Future<Output = ()> + use<> {
        let counted = Counted::new(&self.inbox);
        let this = self.clone();
        async move {
            let _counted = counted;
            let handshakes = Handshakes::default();
            // They end with the listening.
            let mut links = JoinSet::new();
            loop {
                let stream = listener.accept().await;
                while links.try_join_next().is_some() {}
                let is_full = links.len() >= MOST_LINKS + MAX_HANDSHAKES;
                let (this, turn) = (this.clone(), handshakes.begin(stream.address()));
                links.spawn(async move { this.accepted(stream, turn, is_full).await });
            }
        }
    }

    /// Serves a slave that dialled, unless there are too many.
    async fn accepted(&self, stream: Stream, turn: Turn, is_full: bool) {
        let address = stream.peer().to_owned();
        // As long as the link.
        let place: OnceLock<Place> = OnceLock::new();
        let admit = |theirs: &Hello, proof: &Proof| {
            if is_full {
                return Err(LinkError::Refused("busy: the master has too many links".into()));
            }
            if proof.subject().is_some() {
                let taken = self.places.take(&theirs.peer).ok_or_else(|| {
                    let (most, name) = (places::MOST, &theirs.peer);
                    LinkError::Refused(format!("busy: {most} links are of {name}, the limit"))
                })?;
                let _ = place.set(taken);
            }
            Ok(())
        };
        let established = {
            let mut gate = Gate { hears_first: is_full, admit: &admit, turn: Some(turn) };
            self.establish(stream, &mut gate).await
        };
        match established {
            Ok((link, id)) => drop(self.serve(link, id, None).await),
            Err(error) => tracing::warn!(address, %error, "no link"),
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
            match (this.establish(stream, &mut Gate::open()).await, first) {
                (Ok((link, id)), first) => drop(this.serve(link, id, first).await),
                (Err(source), Some(first)) => {
                    // Whoever built the master hears of it.
                    let _ = first.send(Err(FirstError::Link { address, source }));
                }
                (Err(error), None) => tracing::warn!(address, %error, "no link"),
            }
        }
    }

    async fn establish(
        &self,
        stream: Stream,
        gate: &mut Gate<'_>,
    ) -> Result<(Link, SlaveId), LinkError> {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let hello = Hello { session: Some(SessionId(id)), ..(*self.hello).clone() };
        Ok((Link::establish_at(stream, &hello, gate).await?, SlaveId(id)))
    }

    /// Tells the driver of a slave, and of the loss of its older link. Whether the link may
    /// stay; if not it is closed.
    fn join(
        &self,
        link: &Link,
        id: SlaveId,
        first: Option<First>,
    ) -> Result<Arc<Linked>, LinkError> {
        let (mut hello, peer) = (link.theirs.clone(), link.peer.clone());
        hello.agent = printable(&hello.agent, MAX_NAME);
        hello.slots = hello.slots.min(MAX_SLOTS);
        hello.limits.attempts = hello.limits.attempts.min(MAX_ATTEMPTS as u32);
        tracing::info!(slave = %hello.peer, %peer, slots = hello.slots, "a slave is linked");
        let linked = Arc::new(Linked::new(id, hello, peer, link.outbox.clone(), self.home.clone()));
        let mut stays = Ok(());
        self.peers.enter(&linked, |entered| {
            match entered {
                Entered::Alone => {}
                Entered::Instead(older) => {
                    older.supersede();
                    self.inbox.tell(Command::Lost(older.id, Loss::Unreachable));
                }
                Entered::TooLate => {
                    linked.supersede();
                    first.map(|first| self.inbox.tell(Command::Linked(first)));
                    stays = Err(LinkError::Superseded);
                    return;
                }
            }
            if self.inbox.tell(Command::Joined(Arc::clone(&linked), first)) == Heard::Never {
                linked.part();
            }
        });
        stays.map(|()| linked)
    }

    /// Reads and writes until the link ends, and tells the driver how.
    async fn serve(&self, mut link: Link, id: SlaveId, first: Option<First>) -> LinkError {
        let linked = match self.join(&link, id, first) {
            Ok(linked) => linked,
            Err(error) => return error,
        };
        let outbox = linked.outbox.clone();
        let inbox = Arc::clone(&self.inbox);
        let reading = read(Arc::clone(&linked), inbox, self.buffers.clone(), &mut link.inbox);
        let error = Link::drive(&outbox, reading).await;
        match error.goodbye() {
            Some((code, reason)) => outbox.close(code, &reason),
            None => outbox.shut(),
        }
        let mut loss = loss(&error);
        if let LinkError::Closed { reason, .. } = &error {
            // Nobody else says it.
            let _ = linked.closed.set(reason.clone());
        }
        linked.set_gone(loss);
        if error.is_closed_with(close::REFUSED) {
            // It never took the link: what was sent over it was not begun, and is no try.
            loss = Loss::Left;
        }
        tracing::info!(slave = %linked.hello.peer, %error, "a slave is gone");
        self.inbox.tell(Command::Lost(linked.id, loss));
        self.peers.leave(&linked);
        error
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
