//! Masters and slaves in the test's own process.
//!
//! Invariant: ports are chosen by the system, and compiled modules are kept beside the
//! tests' programs, so that each is compiled once and not once per test.

use crate::wait::{until, within};
use anyhow::{Context, Result};
use dpfw::{Dial, LinkedSlave, Master, PeerId, Slave, SlaveBuilder};
use std::path::PathBuf;
use std::time::Duration;

/// Where the tests' slaves keep compiled modules.
///
/// # Errors
/// What the system says if it does not know which program this is.
pub fn cache() -> Result<PathBuf> {
    let program = std::env::current_exe()?;
    Ok(program.parent().context("a program is in a directory")?.join("dpfw-test-cache"))
}

/// A slave with a name and so many slots, to be configured further. What other tests called
/// images is none of its: all of them keep compiled code in the same place.
///
/// # Errors
/// If the name is none.
pub fn slave(name: &str, slots: usize) -> Result<SlaveBuilder> {
    let slave = Slave::builder().name(PeerId::new(name)?).slots(slots).cache(cache()?);
    Ok(slave.keep_image_names(false))
}

/// Starts a slave that listens; gives its address.
///
/// # Errors
/// If it cannot start or listen.
pub async fn listening(builder: SlaveBuilder) -> Result<(Slave, String)> {
    let slave = builder.build()?;
    let address = slave.listen("127.0.0.1:0").await?;
    Ok((slave, address.to_string()))
}

/// A master of slaves at these addresses, linked to all of them. It dials quickly.
///
/// # Errors
/// If it cannot link.
pub async fn master<S: AsRef<str>>(addresses: &[S]) -> Result<Master> {
    let builder = addresses.iter().fold(Master::builder(), |b, a| b.slave(a.as_ref()));
    let builder = builder.dial_pause(Duration::from_millis(20));
    Ok(within("the master to link", builder.build()).await??)
}

/// A master and its one slave, over loopback.
#[derive(Debug)]
pub struct Pair {
    /// The master.
    pub master: Master,
    /// The slave as it sees itself.
    pub slave: Slave,
    /// Where it listens.
    pub address: String,
}

impl Pair {
    /// Starts both.
    ///
    /// # Errors
    /// If one cannot start.
    pub async fn start(builder: SlaveBuilder) -> Result<Self> {
        let (slave, address) = listening(builder).await?;
        let master = master(&[&address]).await?;
        Ok(Self { master, slave, address })
    }

    /// With one slot, named `s1`.
    ///
    /// # Errors
    /// If one cannot start.
    pub async fn simple() -> Result<Self> {
        Self::start(slave("s1", 1)?).await
    }

    /// The slave as the master sees it.
    ///
    /// # Errors
    /// If it is not linked.
    pub fn linked(&self) -> Result<LinkedSlave> {
        linked(&self.master, self.slave.name().as_str())
    }
}

/// The slave of that name, as the master sees it.
///
/// # Errors
/// If it is not linked.
pub fn linked(master: &Master, name: &str) -> Result<LinkedSlave> {
    let found = master.slaves().into_iter().find(|slave| slave.name().as_str() == name);
    found.with_context(|| format!("{name} is not linked"))
}

/// Waits until a slave of that name is linked.
///
/// # Errors
/// If it does not come.
pub async fn arrival(master: &Master, name: &str) -> Result<LinkedSlave> {
    until(&format!("{name} to be linked"), async || Ok(linked(master, name).is_ok())).await?;
    linked(master, name)
}

/// Waits until there is an entry under a key: a task has got so far.
///
/// # Errors
/// If it does not come, or the slave is gone.
pub async fn entry(slave: &LinkedSlave, key: &str) -> Result<()> {
    let store = slave.store();
    let what = format!("the entry `{key}` on {slave}");
    until(&what, async || Ok(!store.list(key).await?.is_empty())).await
}

/// Waits until nothing of the master's is unresolved.
///
/// # Errors
/// If something stays.
pub async fn quiet(master: &Master) -> Result<()> {
    until("all tasks to resolve", async || Ok(master.stats().await.unresolved == 0)).await
}

/// Dials a master again and again, without long pauses.
pub fn dial(address: impl Into<String>) -> Dial {
    Dial { tries: None, pause: Duration::from_millis(20), ..Dial::new(address) }
}
