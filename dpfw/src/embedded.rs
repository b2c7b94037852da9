//! A master together with the slaves that live in its process.

use dpfw_master::security::Security;
use dpfw_master::{Builder, ByteStream, Policy};
use dpfw_protocol::hello::Namespace;
use dpfw_protocol::ids::PeerId;
use dpfw_slave::{Builder as SlaveBuilder, Slave, StartError};
use std::net::SocketAddr;
use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

/// Dispatches tasks to slaves; see [`dpfw_master::Master`], which it dereferences to.
///
/// Cloning shares it. When the last clone is dropped, every task that has not ended is
/// cancelled, and the slaves within the process end.
#[derive(Clone, Debug)]
pub struct Master {
    // Before the slaves: the links are closed first.
    master: dpfw_master::Master,
    _slaves: Arc<Vec<Slave>>,
}

impl Master {
    /// A master to be configured. Without any slave, one is started within the process.
    pub fn builder() -> MasterBuilder {
        MasterBuilder::default()
    }
}

impl Deref for Master {
    type Target = dpfw_master::Master;
    fn deref(&self) -> &dpfw_master::Master {
        &self.master
    }
}

/// A master cannot be.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// No link, or no port.
    #[error(transparent)]
    Master(#[from] dpfw_master::BuildError),
    /// A slave within the process cannot start.
    #[error(transparent)]
    Slave(#[from] StartError),
}

/// A master with the ports that it listens on.
#[derive(Debug)]
pub struct Running {
    /// The master.
    pub master: Master,
    /// In the order in which [`MasterBuilder::listen`] was called.
    pub listening: Vec<SocketAddr>,
}

/// Configures a [`Master`].
#[derive(Debug, Default)]
#[must_use = "a builder does nothing until it builds"]
pub struct MasterBuilder {
    inner: Builder,
    embedded: Vec<SlaveBuilder>,
}

/// What one end of a link within the process may hold of the other's bytes.
const PIPE: usize = 1 << 20;

impl MasterBuilder {
    /// Dials a slave at `HOST:PORT`, and again whenever its link is lost.
    pub fn slave(self, address: impl Into<String>) -> Self {
        self.with(|inner| inner.slave(address))
    }

    /// Listens at `HOST:PORT` for slaves that dial in; port 0 takes a free one.
    pub fn listen(self, address: impl Into<String>) -> Self {
        self.with(|inner| inner.listen(address))
    }

    /// Links a slave over any byte stream.
    pub fn attach(self, stream: ByteStream) -> Self {
        self.with(|inner| inner.attach(stream))
    }

    /// Starts a slave within the process. One is started anyway if there is no other.
    pub fn embed(mut self, slave: SlaveBuilder) -> Self {
        self.embedded.push(slave);
        self
    }

    /// How links that are dialled and listened for are secured: by the user's token, on this
    /// machine alone, unless told otherwise; see [`dpfw_master::Builder::security`]. Slaves within
    /// the process need none of it.
    pub fn security(self, security: Security) -> Self {
        self.with(|inner| inner.security(security))
    }

    /// How often an address is dialled before it is given up: 30 times, a second apart,
    /// unless told otherwise; `None` for ever.
    pub fn dial_tries(self, tries: Option<u32>) -> Self {
        self.with(|inner| inner.dial_tries(tries))
    }

    /// The pause between two tries.
    pub fn dial_pause(self, pause: Duration) -> Self {
        self.with(|inner| inner.dial_pause(pause))
    }

    /// Builds at once, and dials in the background.
    pub fn background(self) -> Self {
        self.with(Builder::background)
    }

    /// How many tasks may be unresolved; 200,000 unless told otherwise.
    pub fn queue(self, tasks: usize) -> Self {
        self.with(|inner| inner.queue(tasks))
    }

    /// The master's name in the slaves' logs; one is made up unless told otherwise.
    pub fn name(self, name: PeerId) -> Self {
        self.with(|inner| inner.name(name))
    }

    /// Where its keys live in the slaves' stores.
    pub fn namespace(self, namespace: impl Into<Option<Namespace>>) -> Self {
        self.with(|inner| inner.namespace(namespace))
    }

    /// The settings of the policy.
    pub fn policy(self, policy: Policy) -> Self {
        self.with(|inner| inner.policy(policy))
    }

    /// How often a task may be started before lost slaves end it with
    /// [`Cause::AttemptsExhausted`](crate::Cause::AttemptsExhausted): three times unless told
    /// otherwise. Where slaves come and go all the time, chance alone uses up three.
    pub fn attempts(self, starts: u32) -> Self {
        self.with(|inner| inner.attempts(starts))
    }

    /// How many deaths of slaves make the task that they ran
    /// [`Cause::Poison`](crate::Cause::Poison), all but the first while it ran alone: three
    /// unless told otherwise.
    pub fn poison(self, deaths: u32) -> Self {
        self.with(|inner| inner.poison(deaths))
    }

    fn with(mut self, change: impl FnOnce(Builder) -> Builder) -> Self {
        self.inner = change(self.inner);
        self
    }

    /// Starts the slaves within the process and links them.
    fn start(mut self) -> Result<(Builder, Vec<Slave>), StartError> {
        if self.embedded.is_empty() && !self.inner.has_slaves() {
            self.embedded.push(Slave::builder());
        }
        let mut slaves = Vec::new();
        for builder in self.embedded {
            let slave = builder.build()?;
            let (ours, theirs) = ByteStream::pair(PIPE);
            slave.attach(theirs);
            self.inner = self.inner.attach(ours);
            slaves.push(slave);
        }
        Ok((self.inner, slaves))
    }

    /// Builds the master on the current tokio runtime, and waits until the slaves that are
    /// dialled are linked.
    ///
    /// # Errors
    /// [`BuildError`] if an address is not allowed, cannot be reached or is no slave's, or
    /// a slave within the process cannot start.
    pub async fn build(self) -> Result<Master, BuildError> {
        Ok(self.build_listening().await?.master)
    }

    /// The same, and gives the addresses that are listened on.
    ///
    /// # Errors
    /// [`BuildError`].
    pub async fn build_listening(self) -> Result<Running, BuildError> {
        let (inner, slaves) = self.start()?;
        let dpfw_master::Running { master, listening } = inner.build_listening().await?;
        Ok(Running { master: Master { master, _slaves: Arc::new(slaves) }, listening })
    }

    /// Builds the master on a thread of its own, for blocking code.
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use dpfw::Master;
    /// use quickstart_tasks::add;
    ///
    /// let master = Master::builder().build_blocking()?;
    /// assert_eq!(master.dispatch(add::call(2, 3)).join()?, 5);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`BuildError`].
    pub fn build_blocking(self) -> Result<Master, BuildError> {
        let (inner, slaves) = self.start()?;
        let master = inner.build_blocking()?;
        Ok(Master { master, _slaves: Arc::new(slaves) })
    }
}
