//! A slave's keyed store, from the master.

use crate::slave::Linked;
use dpfw_protocol::Bytes;
use dpfw_protocol::error::Cause;
use dpfw_protocol::ids::PeerId;
use dpfw_protocol::message::{StoreReply, StoreRequest};
use dpfw_protocol::payload::{self, Payload};
use dpfw_protocol::store::{EntryInfo, Key, StoreOp, Version};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fmt;
use std::sync::Arc;

/// The keyed store of one slave.
///
/// Values are any serde types, encoded as MessagePack; a task reads what a master put and
/// the other way round. Every operation on a key is atomic. A value lives until it is
/// removed or the slave ends. An operation waits for its answer as long as the link stands.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let master = dpfw::Master::builder().build().await?;
/// let slave = master.slaves().pop().expect("the one within the process");
/// let store = slave.store();
/// store.put("colours/sky", "blue").await?;
/// assert!(!store.put_if_absent("colours/sky", "grey").await?);
///
/// let now = store.get_versioned::<String>("colours/sky").await?.expect("it is there");
/// assert!(store.compare_and_swap("colours/sky", now.version, "red").await?);
/// let late = store.compare_and_swap_versioned("colours/sky", now.version, "pink").await?;
/// assert!(matches!(late, dpfw::Conditional::Kept(version) if version > now.version));
/// assert_eq!(store.get::<String>("colours/sky").await?.as_deref(), Some("red"));
///
/// assert_eq!(store.list("colours/").await?.len(), 1);
/// assert!(store.remove("colours/sky").await?);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Store(Arc<Linked>);

/// A value with the version that a compare-and-swap needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored<T> {
    /// The value.
    pub value: T,
    /// Its version: new for each change, never used again.
    pub version: Version,
}

/// What came of a write that depends on the present version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Conditional {
    /// It was done; this is the new version.
    Written(Version),
    /// It was not; this is the present version, 0 if there is no entry.
    Kept(Version),
}

impl Conditional {
    /// Whether it was done.
    pub fn is_written(self) -> bool {
        matches!(self, Self::Written(_))
    }

    fn of((reply, _): &Reply) -> Self {
        match reply.hit {
            true => Self::Written(reply.version),
            false => Self::Kept(reply.version),
        }
    }
}

/// An entry as a listing shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Listed {
    /// Its key.
    pub key: String,
    /// Its size in bytes.
    pub bytes: u64,
    /// Its version.
    pub version: Version,
    /// Seconds since it was last read or written.
    pub idle_s: u64,
    /// Who put it there.
    pub owner: PeerId,
}

/// An operation on a store failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the store of {slave}: {cause}")]
pub struct StoreError {
    slave: PeerId,
    cause: Cause,
}

impl StoreError {
    /// Why.
    pub fn cause(&self) -> &Cause {
        &self.cause
    }
}

/// What a slave answers.
pub(crate) type Reply = (StoreReply, Bytes);

impl Store {
    pub(crate) fn new(linked: Arc<Linked>) -> Self {
        Self(linked)
    }

    pub(crate) fn error(&self, cause: Cause) -> StoreError {
        StoreError { slave: self.0.hello.peer.clone(), cause }
    }

    async fn ask(&self, op: StoreOp, value: Payload) -> Result<Reply, StoreError> {
        let lost = || self.error(Cause::SlaveLost { may_have_run: true });
        let conversation = self.0.conversation();
        let answer = self.0.replies.expect(conversation);
        let request = StoreRequest { op, payload: value.len() as u64 };
        let told = self.0.outbox.message_with(conversation, &request, value);
        told.map_err(|e| self.error(Cause::BadArguments { message: e.to_string() }))?;
        self.0.outbox.flush();
        if self.0.outbox.is_closed() {
            return Err(lost());
        }
        let (reply, value) = answer.await.map_err(|_| lost())?;
        match reply.failure {
            Some(failure) => Err(self.error(failure.into())),
            None => Ok((reply, value)),
        }
    }

    fn key(&self, key: &str) -> Result<Key, StoreError> {
        Key::new(key).map_err(|cause| self.error(cause))
    }

    fn encode<T: Serialize + ?Sized>(&self, value: &T) -> Result<Payload, StoreError> {
        payload::encode(value)
            .map_err(|e| self.error(Cause::BadArguments { message: e.to_string() }))
    }

    /// Reads a value.
    ///
    /// # Errors
    /// [`StoreError`] if the slave is lost or the value is no `T`.
    pub async fn get<T: DeserializeOwned>(&self, key: &str) -> Result<Option<T>, StoreError> {
        Ok(self.get_versioned(key).await?.map(|stored| stored.value))
    }

    /// Reads a value with its version.
    ///
    /// # Errors
    /// [`StoreError`] if the slave is lost or the value is no `T`.
    pub async fn get_versioned<T: DeserializeOwned>(
        &self,
        key: &str,
    ) -> Result<Option<Stored<T>>, StoreError> {
        let (reply, bytes) =
            self.ask(StoreOp::Get { key: self.key(key)? }, Payload::default()).await?;
        if !reply.hit {
            return Ok(None);
        }
        let bad = |e: rmp_serde::decode::Error| {
            self.error(Cause::BadResult { message: format!("`{key}`: {e}") })
        };
        let value = payload::decode(bytes).map_err(bad)?;
        Ok(Some(Stored { value, version: reply.version }))
    }

    /// Writes a value, whatever was there. Gives its version.
    ///
    /// # Errors
    /// [`StoreError`] if the slave is lost, or over quota; then the old value stays.
    pub async fn put<T: Serialize + ?Sized>(
        &self,
        key: &str,
        value: &T,
    ) -> Result<Version, StoreError> {
        let op = StoreOp::Put { key: self.key(key)? };
        Ok(self.ask(op, self.encode(value)?).await?.0.version)
    }

    /// Writes a value unless there is one; whether it did.
    ///
    /// # Errors
    /// [`StoreError`] if the slave is lost, or over quota.
    pub async fn put_if_absent<T: Serialize + ?Sized>(
        &self,
        key: &str,
        value: &T,
    ) -> Result<bool, StoreError> {
        Ok(self.put_if_absent_versioned(key, value).await?.is_written())
    }

    /// Writes a value unless there is one; the version after it.
    ///
    /// # Errors
    /// [`StoreError`] if the slave is lost, or over quota.
    pub async fn put_if_absent_versioned<T: Serialize + ?Sized>(
        &self,
        key: &str,
        value: &T,
    ) -> Result<Conditional, StoreError> {
        let op = StoreOp::PutIfAbsent { key: self.key(key)? };
        Ok(Conditional::of(&self.ask(op, self.encode(value)?).await?))
    }

    /// Writes a value if the present one has this version (0: if there is none); whether
    /// it did.
    ///
    /// # Errors
    /// [`StoreError`] if the slave is lost, or over quota.
    pub async fn compare_and_swap<T: Serialize + ?Sized>(
        &self,
        key: &str,
        expected: Version,
        value: &T,
    ) -> Result<bool, StoreError> {
        Ok(self.compare_and_swap_versioned(key, expected, value).await?.is_written())
    }

    /// The same; the version after it.
    ///
    /// # Errors
    /// [`StoreError`] if the slave is lost, or over quota.
    pub async fn compare_and_swap_versioned<T: Serialize + ?Sized>(
        &self,
        key: &str,
        expected: Version,
        value: &T,
    ) -> Result<Conditional, StoreError> {
        let op = StoreOp::CompareAndSwap { key: self.key(key)?, expected };
        Ok(Conditional::of(&self.ask(op, self.encode(value)?).await?))
    }

    /// Removes an entry; whether there was one.
    ///
    /// # Errors
    /// [`StoreError`] if the slave is lost.
    pub async fn remove(&self, key: &str) -> Result<bool, StoreError> {
        let op = StoreOp::Remove { key: self.key(key)? };
        Ok(self.ask(op, Payload::default()).await?.0.hit)
    }

    /// Lists the entries whose keys begin with `prefix`, in the order of their keys.
    ///
    /// # Errors
    /// [`StoreError`] if the slave is lost.
    pub async fn list(&self, prefix: &str) -> Result<Vec<Listed>, StoreError> {
        let mut found: Vec<Listed> = Vec::new();
        let mut after = None;
        loop {
            let behind = after.clone();
            let op = StoreOp::List { prefix: prefix.into(), after, limit: u32::MAX };
            let (reply, _) = self.ask(op, Payload::default()).await?;
            // Each listing goes on behind the last, or a slave could make this endless.
            let keys = behind.iter().chain(reply.entries.iter().map(|entry| &entry.key));
            if !keys.is_sorted_by(|a, b| a < b) {
                let message = "the slave lists its keys out of order".into();
                return Err(self.error(Cause::BadResult { message }));
            }
            after = reply.entries.last().map(|entry| entry.key.clone());
            found.extend(reply.entries.into_iter().map(listed));
            if !reply.more || after.is_none() {
                return Ok(found);
            }
        }
    }
}

fn listed(entry: EntryInfo) -> Listed {
    Listed {
        key: entry.key.as_str().into(),
        bytes: entry.bytes,
        version: entry.version,
        idle_s: entry.idle_s,
        owner: entry.owner.0,
    }
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Store({})", self.0.hello.peer)
    }
}
