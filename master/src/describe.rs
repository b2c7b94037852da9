//! How a slave is, and telling it to drain.

use crate::slave::{Ending, Slave};
use dpfw_dispatch::Loss;
use dpfw_protocol::ids::{ConversationId, PeerId};
use dpfw_protocol::limits::MAX_NAME;
use dpfw_protocol::message::{self, Describe, Drain};
use dpfw_protocol::payload::Payload;
use dpfw_protocol::store::Disk;
use dpfw_protocol::text::printable;
use std::time::Duration;

/// How a slave is, in its own words.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Description {
    /// Tasks that it runs at once.
    pub slots: u32,
    /// Tasks that hold a slot, of all masters.
    pub running: u32,
    /// Tasks that wait for something and hold no slot, of all masters.
    pub waiting: u32,
    /// Tasks that are not started, of all masters.
    pub queued: u32,
    /// Sandboxes in being.
    pub sandboxes: u32,
    /// The load average of its machine over the last minute.
    pub load: f64,
    /// Bytes of memory that its process has resident.
    pub memory_bytes: u64,
    /// What the entries of its store cost, in bytes.
    pub store_bytes: u64,
    /// Entries of its store.
    pub store_entries: u64,
    /// Entries that were evicted from its store since it started.
    pub store_evicted: u64,
    /// Residents that are alive.
    pub residents: u32,
    /// Modules that are loaded.
    pub modules: u32,
    /// Masters that are linked.
    pub links: u32,
    /// Since it started; in whole seconds.
    pub uptime: Duration,
    /// Its program and version.
    pub agent: String,
    /// Whether it admits nothing new.
    pub draining: bool,
    /// Whether its store's values are on disk.
    pub disk: Disk,
}

/// The link to a slave is lost; with what the slave has said, if it has said why.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the link to {slave} is lost{}", told(why.as_deref()))]
pub struct LinkLost {
    slave: PeerId,
    why: Option<String>,
}

fn told(why: Option<&str>) -> String {
    why.map(|why| format!(": {why}")).unwrap_or_default()
}

impl LinkLost {
    /// The slave's name.
    pub fn slave(&self) -> &PeerId {
        &self.slave
    }
}

impl Slave {
    fn lost(&self) -> LinkLost {
        LinkLost { slave: self.name().clone(), why: self.0.closed.get().cloned() }
    }

    /// Asks the slave how it is.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let master = dpfw::Master::builder().build().await?;
    /// let slave = master.slaves().pop().expect("the one within the process");
    /// let now = slave.describe().await?;
    /// println!("{} of {} slots, load {:.2}", now.running, now.slots, now.load);
    /// # assert_eq!((now.slots, now.links, now.draining), (slave.slots(), 1, false));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`LinkLost`].
    pub async fn describe(&self) -> Result<Description, LinkLost> {
        // It always fits a frame.
        let answer = self.0.ask(&self.0.descriptions, &Describe {}, Payload::default()).await;
        answer.map(Description::from).map_err(|_| self.lost())
    }

    /// Has the slave drain: it admits nothing new, what runs comes to its end within the
    /// slave's own time limit, then the slave ends. Returns as soon as it drains;
    /// [`left`](Self::left) waits for the end.
    ///
    /// It concerns the tasks of all masters. Over a link with certificates it is for those that
    /// the slave's operator trusts; others lose the link, with that reason.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let master = dpfw::Master::builder().build().await?;
    /// let slave = master.slaves().pop().expect("the one within the process");
    /// slave.drain().await?;
    /// slave.left().await?;
    /// assert!(!slave.is_linked());
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`LinkLost`].
    pub async fn drain(&self) -> Result<(), LinkLost> {
        // It always fits a frame.
        let _ = self.0.outbox.message(ConversationId::LINK, &Drain {});
        self.0.outbox.flush();
        if !self.is_linked() {
            return Err(self.lost());
        }
        let Ending { draining, .. } = self.0.ending(|e| e.draining || e.gone.is_some()).await;
        if draining { Ok(()) } else { Err(self.lost()) }
    }

    /// Waits until the slave has taken its leave: it has drained, or its operator ended it.
    /// Cancel safe.
    ///
    /// # Errors
    /// [`LinkLost`] if it ends without a word.
    pub async fn left(&self) -> Result<(), LinkLost> {
        match self.0.ending(|ending| ending.gone.is_some()).await.gone {
            Some(Loss::Left) => Ok(()),
            _ => Err(self.lost()),
        }
    }
}

impl From<message::Description> for Description {
    fn from(told: message::Description) -> Self {
        Self {
            slots: told.slots,
            running: told.running,
            waiting: told.waiting,
            queued: told.queued,
            sandboxes: told.sandboxes,
            load: f64::from(told.load_milli) / 1000.0,
            memory_bytes: told.memory,
            store_bytes: told.store_bytes,
            store_entries: told.store_entries,
            store_evicted: told.store_evicted,
            residents: told.residents,
            modules: told.modules,
            links: told.links,
            uptime: Duration::from_secs(told.uptime_s),
            agent: printable(&told.agent, MAX_NAME),
            draining: told.draining,
            disk: told.disk,
        }
    }
}
