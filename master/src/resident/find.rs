//! Finding residents, and listing them.

use super::requests::{ask, one, window};
use super::search::{Found, find_at_all};
use super::{Resident, Untyped};
use crate::error::TaskError;
use crate::home::Home;
use crate::master::Master;
use crate::slave::{Linked, Slave};
use dpfw_protocol::error::Cause;
use dpfw_protocol::ids::{ModuleHash, PeerId};
use dpfw_protocol::limits::MAX_NAME;
use dpfw_protocol::message::ResidentOp;
use dpfw_protocol::resident::{self, Class, Stage};
use dpfw_protocol::store::Key;
use dpfw_protocol::text::printable;
use futures_util::future::join_all;
use std::sync::Arc;
use std::time::Duration;

/// A resident as its slave describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ResidentInfo {
    /// The slave that has it.
    pub slave: Slave,
    /// Its key.
    pub key: String,
    /// The name of its class.
    pub class: String,
    /// The module that it is of.
    pub module: ModuleHash,
    /// Who spawned it.
    pub owner: PeerId,
    /// Where it is in its life.
    pub stage: Stage,
    /// Calls and casts that have come to their end.
    pub served: u64,
    /// Calls and casts in its mailbox.
    pub waiting: u32,
    /// How many of one master may be in it.
    pub mailbox: u32,
    /// Bytes of its linear memory.
    pub memory_bytes: u64,
    /// Since it was spawned.
    pub age: Duration,
    /// How often it was begun again.
    pub restarts: u32,
    /// Whether it saves its state.
    pub saves: bool,
}

impl ResidentInfo {
    pub(super) fn new(linked: &Arc<Linked>, info: resident::ResidentInfo) -> Self {
        Self {
            slave: Slave(Arc::clone(linked)),
            key: info.key.to_string(),
            class: printable(&info.class, MAX_NAME),
            module: info.module,
            owner: info.owner.0,
            stage: info.stage,
            served: info.served,
            waiting: info.waiting,
            mailbox: info.mailbox,
            memory_bytes: info.memory,
            age: Duration::from_millis(info.age_ms),
            restarts: info.restarts,
            saves: info.saves,
        }
    }
}

impl Master {
    /// The resident under this key, at whichever slave it is.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let master = dpfw::Master::builder().build().await?;
    /// use dpfw::Cause;
    /// use quickstart_tasks::{Counter, counter};
    ///
    /// master.spawn("hits", counter::new(0)).await?;
    /// let c = master.resident::<Counter>("hits").await?;
    /// assert_eq!(c.call(counter::bump()).await?, 1);
    ///
    /// let error = master.resident::<Counter>("misses").await.expect_err("there is none");
    /// assert!(matches!(error.cause(), Cause::NoResident { .. }));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Cause::NoResident`] if no linked slave has one, [`Cause::ResidentTwice`] if more than one
    /// has, also asleep, with their names: [`Slave::resident`] says which. [`Cause::SlaveLost`] if a
    /// slave is lost meanwhile that may have it, and does not come back soon. [`Cause::Mismatch`] if
    /// it is of another class.
    pub async fn resident<R: Class>(&self, key: &str) -> Result<Resident<R>, TaskError> {
        let found = self.0.home.find(key, Some(R::NAME)).await?;
        found.window.module.get_or_init(R::module);
        Ok(found)
    }

    /// The same, whatever its class.
    ///
    /// # Errors
    /// As [`resident`](Self::resident).
    pub async fn untyped_resident(&self, key: &str) -> Result<Resident<Untyped>, TaskError> {
        self.0.home.find(key, None).await
    }

    /// The residents on all slaves whose keys begin so, slave by slave, in the order of their
    /// keys. A slave that is lost meanwhile is left out.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let master = dpfw::Master::builder().build().await?;
    /// # use quickstart_tasks::counter;
    /// # master.spawn("hits", counter::new(0)).await?;
    /// for resident in master.residents("").await? {
    ///     println!("{} on {}: {} calls", resident.key, resident.slave, resident.served);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`TaskError`] if a slave does not answer as it should.
    pub async fn residents(&self, prefix: &str) -> Result<Vec<ResidentInfo>, TaskError> {
        let mut all = Vec::new();
        for listed in join_all(self.slaves().iter().map(|slave| slave.residents(prefix))).await {
            match listed {
                Err(error) if matches!(error.cause(), Cause::SlaveLost { .. }) => {}
                listed => all.extend(listed?),
            }
        }
        Ok(all)
    }
}

impl Slave {
    /// The resident under this key on this slave.
    ///
    /// # Errors
    /// [`Cause::NoResident`] if there is none, [`Cause::Mismatch`] if it is of another class.
    pub async fn resident<R: Class>(&self, key: &str) -> Result<Resident<R>, TaskError> {
        let found = self.find(key, Some(R::NAME)).await?;
        found.window.module.get_or_init(R::module);
        Ok(found)
    }

    /// The same, whatever its class.
    ///
    /// # Errors
    /// As [`resident`](Self::resident).
    pub async fn untyped_resident(&self, key: &str) -> Result<Resident<Untyped>, TaskError> {
        self.find(key, None).await
    }

    async fn find<R>(&self, key: &str, class: Option<&str>) -> Result<Resident<R>, TaskError> {
        let failed = |cause| TaskError::new(key, Some(self.name().clone()), 0, cause);
        let named = Key::new(key).map_err(failed)?;
        let found = find_at(&self.0, &named).await.map_err(failed)?;
        class.map_or(Ok(()), |class| check(&found, class)).map_err(failed)?;
        Ok(Resident::new(window(&self.0, &found)))
    }

    /// The residents on this slave whose keys begin so, in the order of their keys.
    ///
    /// # Errors
    /// [`TaskError`] if the slave is lost, or does not answer as it should.
    pub async fn residents(&self, prefix: &str) -> Result<Vec<ResidentInfo>, TaskError> {
        let failed = |cause| TaskError::new(prefix, Some(self.name().clone()), 0, cause);
        let mut found: Vec<ResidentInfo> = Vec::new();
        let mut after: Option<Key> = None;
        loop {
            let op =
                ResidentOp::List { prefix: prefix.into(), after: after.clone(), limit: u32::MAX };
            let reply = ask(&self.0, op).await.map_err(failed)?;
            // Each listing goes on behind the last, or a slave could make this endless.
            let keys = after.iter().chain(reply.residents.iter().map(|info| &info.key));
            if !keys.is_sorted_by(|a, b| a < b) {
                let message = "the slave lists its residents out of order".into();
                return Err(failed(Cause::BadResult { message }));
            }
            after = reply.residents.last().map(|info| info.key.clone());
            found.extend(reply.residents.into_iter().map(|it| ResidentInfo::new(&self.0, it)));
            if !reply.more || after.is_none() {
                return Ok(found);
            }
        }
    }
}

/// Whether a resident is of a class.
pub(super) fn check(info: &resident::ResidentInfo, class: &str) -> Result<(), Cause> {
    if info.class == class {
        return Ok(());
    }
    let (key, is) = (&info.key, printable(&info.class, MAX_NAME));
    let difference = format!("`{key}` is a resident of the class `{is}`, not `{class}`");
    Err(Cause::Mismatch { difference })
}

/// Asks one slave for the resident under a key.
pub(super) async fn find_at(linked: &Linked, key: &Key) -> Result<resident::ResidentInfo, Cause> {
    one(ask(linked, ResidentOp::Find { key: key.clone() }).await?, key)
}

impl Home {
    async fn find<R>(&self, key: &str, class: Option<&str>) -> Result<Resident<R>, TaskError> {
        let failed = |cause| TaskError::new(key, None, 0, cause);
        let named = Key::new(key).map_err(failed)?;
        match find_at_all(self, &named).await.map_err(failed)? {
            Found::One(linked, info, _) => {
                class.map_or(Ok(()), |class| check(&info, class)).map_err(failed)?;
                Ok(Resident::new(window(&linked, &info)))
            }
            Found::Asleep(_, cause, _) => Err(failed(cause)),
            Found::Nowhere => Err(failed(Cause::NoResident { key: key.to_owned() })),
        }
    }
}
