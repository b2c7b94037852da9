//! How a master is to be.

use crate::crew::Crew;
use crate::driver::{Driver, Registry};
use crate::home::Home;
use crate::inbox::Inbox;
use crate::master::{Master, Shared};
use crate::source::{FirstError, Sources};
use dpfw_dispatch::Config;
use dpfw_link::dial::Dial;
use dpfw_link::listen::{ListenError, Listener};
use dpfw_link::security::{Security, SecurityError, Tls};
use dpfw_link::{Stream, identity};
use dpfw_protocol::hello::{Features, Hello, Identity, Namespace, PeerLimits, Role};
use dpfw_protocol::ids::PeerId;
use dpfw_protocol::limits::{DIAL_TRIES, PROTOCOL};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::sync::{oneshot, watch};

/// Tasks that may be unresolved unless told otherwise: more than a program that waits for
/// results has, and no more than some 100 MiB beside their arguments.
const QUEUE: usize = 200_000;

/// Configures a [`Master`].
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use dpfw::{Master, Slave};
/// use quickstart_tasks::add;
///
/// let slave = Slave::builder().slots(1).build()?;
/// let address = slave.listen("127.0.0.1:0").await?;
/// let master = Master::builder().slave(address.to_string()).queue(1000).build().await?;
/// assert_eq!(master.dispatch(add::call(2, 3)).await?, 5);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
#[must_use = "a builder does nothing until it builds"]
pub struct Builder {
    addresses: Vec<String>,
    ports: Vec<String>,
    streams: Vec<Stream>,
    security: Security,
    tries: Option<u32>,
    pause: Duration,
    background: bool,
    queue: usize,
    name: Option<PeerId>,
    namespace: Option<Namespace>,
    policy: Config,
}

/// A master cannot be.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// A slave cannot be linked.
    #[error("no link to a slave: {0}")]
    Slave(#[from] FirstError),
    /// A port cannot be listened on.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// Its certificate is not a master's.
    #[error(transparent)]
    Security(#[from] SecurityError),
    /// The system lacks something.
    #[error("the master cannot start: {0}")]
    Io(#[from] std::io::Error),
}

/// A master with the ports that it listens on.
#[derive(Debug)]
pub struct Running {
    /// The master.
    pub master: Master,
    /// In the order in which [`Builder::listen`] was called.
    pub listening: Vec<SocketAddr>,
}

/// A slave whose link is lost may come back for so long at least, however quickly it is dialled.
const LEAST_PATIENCE: Duration = Duration::from_secs(1);

impl Default for Builder {
    fn default() -> Self {
        let dial = Dial::new(String::new());
        Self {
            addresses: Vec::new(),
            ports: Vec::new(),
            streams: Vec::new(),
            security: Security::default(),
            tries: dial.tries,
            pause: dial.pause,
            background: false,
            queue: QUEUE,
            name: None,
            namespace: None,
            policy: Config::default(),
        }
    }
}

impl Builder {
    /// Dials a slave at `HOST:PORT`, and again whenever its link is lost.
    pub fn slave(mut self, address: impl Into<String>) -> Self {
        self.addresses.push(address.into());
        self
    }

    /// Listens at `HOST:PORT` for slaves that dial in; port 0 takes a free one.
    pub fn listen(mut self, address: impl Into<String>) -> Self {
        self.ports.push(address.into());
        self
    }

    /// Links a slave over any byte stream. Once it is lost, it does not come back. The slave is
    /// asked neither for a token nor for a certificate: whoever made the stream vouches for it.
    pub fn attach(mut self, stream: Stream) -> Self {
        self.streams.push(stream);
        self
    }

    /// How links that are dialled and listened for are secured: by the user's token, on this
    /// machine alone, unless told otherwise.
    ///
    /// With a certificate the master's name is the one in it, whatever [`name`](Self::name) says,
    /// and if the certificate names one namespace, that is the master's unless told otherwise.
    pub fn security(mut self, security: Security) -> Self {
        self.security = security;
        self
    }

    /// How often an address is dialled before it is given up: 30 times, a second apart,
    /// unless told otherwise; `None` for ever.
    pub fn dial_tries(mut self, tries: Option<u32>) -> Self {
        self.tries = tries;
        self
    }

    /// The pause between two tries.
    pub fn dial_pause(mut self, pause: Duration) -> Self {
        self.pause = pause;
        self
    }

    /// Builds at once, and dials in the background.
    pub fn background(mut self) -> Self {
        self.background = true;
        self
    }

    /// How many tasks may be unresolved; 200,000 unless told otherwise.
    pub fn queue(mut self, tasks: usize) -> Self {
        self.queue = tasks.max(1);
        self
    }

    /// The master's name in the slaves' logs; one is made up unless told otherwise.
    pub fn name(mut self, name: PeerId) -> Self {
        self.name = Some(name);
        self
    }

    /// Where its keys live in the slaves' stores. With a certificate it has to be one that the
    /// certificate names; slaves give no link for another.
    pub fn namespace(mut self, namespace: impl Into<Option<Namespace>>) -> Self {
        self.namespace = namespace.into();
        self
    }

    /// The settings of the policy.
    pub fn policy(mut self, policy: Config) -> Self {
        self.policy = policy;
        self
    }

    /// How often a task may be started before lost slaves end it with
    /// [`Cause::AttemptsExhausted`](crate::Cause::AttemptsExhausted): three times unless told
    /// otherwise. Where slaves come and go all the time, chance alone uses up three.
    pub fn attempts(mut self, starts: u32) -> Self {
        self.policy.max_attempts = starts.max(1);
        self
    }

    /// How many deaths of slaves make the task that they ran
    /// [`Cause::Poison`](crate::Cause::Poison), all but the first while it ran alone: three
    /// unless told otherwise. It is no use to be above [`attempts`](Self::attempts).
    pub fn poison(mut self, deaths: u32) -> Self {
        self.policy.poison_deaths = deaths.max(1);
        self
    }

    /// Whether any slave is dialled, listened for or attached.
    pub fn has_slaves(&self) -> bool {
        !(self.addresses.is_empty() && self.ports.is_empty() && self.streams.is_empty())
    }

    fn hello(&self) -> Hello {
        let Identity { peer: made_up, incarnation, serial } = identity("master");
        let subject = self.security.as_tls().map(Tls::subject);
        let (named, namespace) = match subject {
            Some(subject) => match &*subject.namespaces {
                [only] => (Some(subject.name), Some(only.clone())),
                _ => (Some(subject.name), None),
            },
            None => (None, None),
        };
        Hello {
            protocol: PROTOCOL,
            role: Role::Master,
            peer: named.or_else(|| self.name.clone()).unwrap_or(made_up),
            incarnation,
            serial,
            session: None,
            features: Features::default(),
            namespace: self.namespace.clone().or(namespace).unwrap_or_default(),
            limits: PeerLimits::default(),
            slots: 0,
            agent: concat!("dpfw ", env!("CARGO_PKG_VERSION")).into(),
        }
    }

    /// Builds the master on the current tokio runtime, and waits until the slaves that are
    /// dialled or attached are linked.
    ///
    /// # Errors
    /// [`BuildError`] if an address is not allowed, cannot be reached or is no slave's.
    pub async fn build(self) -> Result<Master, BuildError> {
        Ok(self.build_listening().await?.master)
    }

    /// The same, and gives the addresses that are listened on.
    ///
    /// # Errors
    /// [`BuildError`].
    pub async fn build_listening(self) -> Result<Running, BuildError> {
        if let Some(tls) = self.security.as_tls() {
            tls.check(Role::Master)?;
        }
        let inbox = Arc::new(Inbox::new(self.queue));
        let registry = Registry::default();
        let hello = self.hello();
        let peer = hello.peer.clone();
        let (crew, runtime) = (Arc::new(Crew::new()), Handle::current());
        let patience = self.patience();
        let home = Home::new(inbox.clone(), &registry, crew.clone(), runtime.clone(), patience);
        let sources = Sources::new(Arc::clone(&home), hello);
        let mut listening = Vec::new();
        for address in &self.ports {
            let listener = Listener::bind(address, &self.security).await?;
            listening.push(listener.local_addr()?);
            crew.spawn(sources.listen(listener), &runtime);
        }
        let mut firsts = Vec::new();
        for address in self.addresses {
            let dial = Dial { address, tries: self.tries, pause: self.pause };
            let dialler = dial.begin(self.security.clone());
            let (first, outcome) = oneshot::channel();
            crew.spawn(sources.dial(dialler, first), &runtime);
            firsts.push(outcome);
        }
        for stream in self.streams {
            let (first, outcome) = oneshot::channel();
            crew.spawn(sources.attach(stream, Some(first)), &runtime);
            firsts.push(outcome);
        }
        let driver = Driver::new(self.policy, Arc::clone(&inbox), Arc::clone(&registry));
        let (ended, driver_ended) = watch::channel(());
        let sourced = Arc::clone(&crew);
        // The end of what all clones share ends it, and it ends everything else.
        tokio::spawn(async move {
            driver.run().await;
            sourced.end().await;
            drop(ended);
        });
        let shared = Shared {
            inbox,
            home,
            registry,
            peer,
            sources,
            runtime,
            crew,
            driver: driver_ended,
            thread: Mutex::default(),
        };
        let master = Master(Arc::new(shared));
        if !self.background {
            for first in firsts {
                // A source that ended without a word was shut down.
                first.await.unwrap_or(Ok(()))?;
            }
        }
        Ok(Running { master, listening })
    }

    /// Twice the pauses of all tries at a slave (of as many as usual, where they have no end).
    fn patience(&self) -> Duration {
        let tries = self.tries.unwrap_or(DIAL_TRIES);
        self.pause.saturating_mul(tries.saturating_mul(2)).max(LEAST_PATIENCE)
    }

    /// Builds the master on a thread of its own, for blocking code.
    ///
    /// # Errors
    /// [`BuildError`].
    pub fn build_blocking(self) -> Result<Master, BuildError> {
        let (sender, receiver) = std::sync::mpsc::sync_channel(1);
        let thread = std::thread::Builder::new().name("dpfw-master".into());
        let thread = thread.spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            let runtime = match runtime {
                Ok(runtime) => runtime,
                Err(error) => return drop(sender.send(Err(error.into()))),
            };
            runtime.block_on(async move {
                let built = self.build().await;
                let driver = built.as_ref().ok().map(|master| master.0.driver.clone());
                // The caller waits for it right below.
                let _ = sender.send(built);
                if let Some(mut driver) = driver {
                    while driver.changed().await.is_ok() {}
                }
            });
        })?;
        let lost = || std::io::Error::other("the master's thread has ended");
        let master = receiver.recv().map_err(|_| lost())??;
        let keep = &master.0.thread;
        *keep.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = Some(thread);
        Ok(master)
    }
}
