//! A slave as a value: built, given links, drained, dropped.

use crate::audit::{self, Event, Outcome, short};
use crate::builder::{Builder, StartError};
use crate::core::Core;
use crate::drain::{Drained, drain};
use crate::session::serve;
use crate::slot::Slot;
use crate::standing::Standing;
use dpfw_link::address::is_loopback;
use dpfw_link::dial::{Dial, DialError, Dialler};
use dpfw_link::gate::{Gate, Handshakes, Turn};
use dpfw_link::listen::{ListenError, Listener};
use dpfw_link::security::Security;
use dpfw_link::{Link, LinkError, Proof, Stream};
use dpfw_protocol::hello::{Hello, Identity};
use dpfw_protocol::ids::PeerId;
use dpfw_protocol::message::close;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::sync::oneshot;

/// A slave in this process. Its threads are its own; it needs no runtime of the caller's.
///
/// Dropping it ends it at once: guests are interrupted, links closed, threads joined. To
/// let what runs come to its end, [`drain`](Self::drain) first.
#[derive(Debug)]
#[must_use = "dropping a slave ends it"]
pub struct Slave {
    pub(crate) core: Arc<Core>,
    pub(crate) hello: Arc<Hello>,
    pub(crate) security: Security,
    pub(crate) threads: Mutex<Vec<JoinHandle<()>>>,
}

/// The stack of a slot's thread: a guest's, the host's above it, and Rust's own.
const STACK: usize = 1 << 20;

impl Slave {
    /// A slave to be configured.
    pub fn builder() -> Builder {
        Builder::default()
    }

    pub(crate) fn start_threads(&self) -> Result<(), StartError> {
        let stack = self.core.limits.stack + crate::engine::HOST_STACK + STACK;
        for (index, watch) in self.core.watches().iter().enumerate() {
            let mut slot = Slot::new(&self.core, watch).map_err(StartError::Engine)?;
            let thread = std::thread::Builder::new().name(format!("dpfw-slot-{index}"));
            self.keep(thread.stack_size(stack).spawn(move || slot.work())?);
        }
        let core = Arc::clone(&self.core);
        let pacer = std::thread::Builder::new().name("dpfw-pacer".into());
        self.keep(pacer.spawn(move || core.pacer.run(&core))?);
        let core = Arc::clone(&self.core);
        let link = std::thread::Builder::new().name("dpfw-link".into());
        self.keep(link.spawn(move || core.helm.run_link_thread(|| core.queue.rouse()))?);
        Ok(())
    }

    fn keep(&self, thread: JoinHandle<()>) {
        self.threads.lock().unwrap_or_else(PoisonError::into_inner).push(thread);
    }

    /// The slave's name.
    pub fn name(&self) -> &PeerId {
        &self.hello.peer
    }

    /// How many tasks it runs at once.
    pub fn slots(&self) -> usize {
        self.core.watches().len()
    }

    /// Listens for masters at `HOST:PORT`; port 0 takes a free one. Gives the address.
    ///
    /// # Errors
    /// [`ListenError`] if the address is not allowed, or taken.
    pub async fn listen(&self, address: &str) -> Result<SocketAddr, ListenError> {
        let (address, security) = (address.to_owned(), self.security.clone());
        let (core, hello) = (Arc::clone(&self.core), Arc::clone(&self.hello));
        let bound = self.on_links(async move {
            let refused = |source| ListenError::Refused { address: address.clone(), source };
            let listener = Listener::bind(&address, &security).await?;
            let local = listener.local_addr().map_err(refused)?;
            if !is_loopback(local.ip()) {
                core.set_beyond_loopback();
            }
            tokio::spawn(accept(core, hello, listener));
            Ok(local)
        });
        bound.await.unwrap_or_else(|| {
            let source = io::Error::other("the slave has ended");
            Err(ListenError::Refused { address: String::new(), source })
        })
    }

    /// Dials a master, and dials it again whenever the link is lost, until the tries are
    /// used up. Returns at once; what happens is in the log.
    pub fn dial(&self, dial: Dial) {
        let (core, hello) = (Arc::clone(&self.core), Arc::clone(&self.hello));
        let dialler = dial.begin(self.security.clone());
        self.core.helm.handle().spawn(async move {
            if let Some(error) = redial(core, hello, dialler).await {
                tracing::error!(%error, "dialling is given up");
            }
        });
        self.core.queue.rouse();
    }

    /// The same, and resolves when dialling is given up, with the reason, or when the slave
    /// ends. Dropping the future does not stop it.
    pub async fn dial_until(&self, dial: Dial) -> Option<DialError> {
        let (core, hello) = (Arc::clone(&self.core), Arc::clone(&self.hello));
        let dialler = dial.begin(self.security.clone());
        self.on_links(redial(core, hello, dialler)).await.flatten()
    }

    /// Serves one master over any byte stream. Returns at once. The master is asked neither for a
    /// token nor for a certificate: whoever made the stream vouches for it. But where it leads is not
    /// known here: unless both of its ends are this process, or it is a connection over loopback,
    /// compiling is confined from then on, as with links from beyond this machine.
    pub fn attach(&self, stream: Stream) {
        let (core, hello) = (Arc::clone(&self.core), Arc::clone(&self.hello));
        // Before it is met, so that nothing of its is taken for this process's.
        if !stream.is_within() && !stream.address().is_some_and(is_loopback) {
            core.set_beyond_loopback();
        }
        self.core.helm.handle().spawn(async move { meet(core, &hello, stream, None).await });
        self.core.queue.rouse();
    }

    /// Runs a future on the links' runtime; `None` if the slave ends before it does.
    async fn on_links<T: Send + 'static>(
        &self,
        future: impl Future<Output = T> + Send + 'static,
    ) -> Option<T> {
        let (sender, receiver) = oneshot::channel();
        self.core.helm.handle().spawn(async move {
            // Nobody may wait for it any more.
            let _ = sender.send(future.await);
        });
        self.core.queue.rouse();
        receiver.await.ok()
    }

    /// Admits nothing new, gives back what has not started, waits for what runs, tells the
    /// masters, and ends. After `limit` what still runs is interrupted.
    pub async fn drain(&self, limit: Duration) -> Drained {
        let core = Arc::clone(&self.core);
        self.on_links(async move { drain(&core, limit).await }).await.unwrap_or(Drained::Clean)
    }

    /// Waits until the slave has drained, because a master asked for it or by
    /// [`drain`](Self::drain). A process that is nothing but a slave ends then. Cancel safe.
    pub async fn drained(&self) -> Drained {
        self.core.drain.outcome().await
    }
}

async fn accept(core: Arc<Core>, hello: Arc<Hello>, listener: Listener) {
    let handshakes = Handshakes::default();
    while !core.is_draining() {
        let stream = listener.accept().await;
        let turn = handshakes.begin(stream.address());
        let (core, hello) = (Arc::clone(&core), Arc::clone(&hello));
        tokio::spawn(async move { meet(core, &hello, stream, Some(turn)).await });
    }
}

/// Shakes hands and serves the master until the link ends.
async fn meet(core: Arc<Core>, hello: &Hello, stream: Stream, turn: Option<Turn>) -> Met {
    let peer = stream.peer().to_owned();
    // Who asks to be let in, for the audit log.
    let said = Mutex::new(None);
    let link = {
        let admit = |theirs: &Hello, proof: &Proof| {
            *said.lock().unwrap_or_else(PoisonError::into_inner) =
                Some((theirs.peer.clone(), audit::role(theirs, proof), audit::Proof::of(proof)));
            let standing = Standing::of(theirs, proof);
            standing.namespace(&theirs.namespace)?;
            core.may_link(&theirs.identity(), &standing.principal)
        };
        // A slave that is full listens first: the master may have an older session here. So does
        // one with certificates: a master that may not have what it asks for learns that instead.
        let hears_first = core.is_full() || stream.is_encrypted();
        let mut gate = Gate { hears_first, admit: &admit, turn };
        Link::establish_at(stream, hello, &mut gate).await
    };
    match link {
        Ok(link) => {
            let master = link.theirs.identity();
            let standing = Standing::of(&link.theirs, &link.proof);
            Met::Linked(master, serve(core, link, standing).await)
        }
        Err(error) => {
            tracing::warn!(%peer, %error, "no link");
            let said = said.into_inner().unwrap_or_else(PoisonError::into_inner);
            core.audit.tell(|| {
                let (name, role, proof) = match said {
                    Some((name, role, proof)) => (Some(name), Some(role), proof),
                    None => (None, None, audit::Proof::None),
                };
                let (outcome, why) = (Outcome::Refused, Some(short(&error)));
                Event::Connection {
                    outcome,
                    peer: short(&peer),
                    name,
                    role,
                    proof,
                    session: None,
                    why,
                }
            });
            Met::Unlinked(error)
        }
    }
}

/// What came of a connection.
enum Met {
    /// A link to this master, which has ended.
    Linked(Identity, LinkError),
    /// None.
    Unlinked(LinkError),
}

/// Dials until the slave drains; otherwise says why it does not any more.
async fn redial(core: Arc<Core>, hello: Arc<Hello>, mut dialler: Dialler) -> Option<DialError> {
    let mut last = None;
    while !core.is_draining() {
        if let Some((master, was_superseded)) = &last {
            // As long as it is linked otherwise, a link of ours would end that one.
            core.without(master, *was_superseded).await;
        }
        let stream = match dialler.connect().await {
            Ok(stream) => stream,
            Err(error) => return Some(error),
        };
        // Before it is met, so that nothing of its is taken for this machine's.
        if !stream.address().is_some_and(is_loopback) {
            core.set_beyond_loopback();
        }
        let again = match meet(Arc::clone(&core), &hello, stream, None).await {
            Met::Linked(master, error) => {
                last = Some((master, error.is_superseded()));
                dialler.ended(error).await
            }
            Met::Unlinked(error) => dialler.failed(error).await,
        };
        if let Err(error) = again {
            return Some(error);
        }
    }
    None
}

impl Drop for Slave {
    fn drop(&mut self) {
        self.core.end(close::DONE, "the slave was ended");
        let threads =
            std::mem::take(&mut *self.threads.lock().unwrap_or_else(PoisonError::into_inner));
        for thread in threads {
            if thread.join().is_err() {
                tracing::error!("a thread of the slave panicked");
            }
        }
        // All that changed is written, and the directory is another's to take.
        self.core.store.close();
        // Who listens or dials holds the core, which holds the runtime that they run on.
        self.core.helm.shut();
        // Last: links that were open until now have told of their end.
        self.core.audit.close();
    }
}
