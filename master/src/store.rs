//! A slave's keyed store, from the master.

use crate::slave::{Linked, Unanswered};
use dpfw_protocol::Bytes;
use dpfw_protocol::error::Cause;
use dpfw_protocol::ids::PeerId;
use dpfw_protocol::message::{StoreReply, StoreRequest};
use dpfw_protocol::payload::{self, Payload};
use dpfw_protocol::store::{EntryInfo, Key, StoreOp, Terms, Version};
use serde::{Serialize, de::DeserializeOwned};
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

pub use changes::{Change, Changes, Event, Watch};
pub use everywhere::{Everywhere, WatchEverywhere};
pub use listed::{Listed, ListedImage};
pub use update::Update;
pub use write::Write;

pub(crate) mod changes;
mod everywhere;
mod listed;
mod update;
mod write;

/// The keyed store of one slave.
///
/// Values are any serde types, encoded as MessagePack; a task reads what a master put and
/// the other way round. Every operation on a key is atomic. A value lives until it is
/// removed or the slave ends, unless it is put [to be evicted](Write::evictable) or with
/// [a time to live](Write::ttl); at a slave that keeps its store on disk it is there again after
/// a restart, a [durable](Write::durable) one for certain. An operation waits for its answer as long as the link stands.
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

    fn lost(&self) -> StoreError {
        self.error(Cause::SlaveLost { may_have_run: true })
    }

    async fn ask(&self, op: StoreOp) -> Result<Reply, StoreError> {
        self.ask_with(op, Payload::default(), Terms::default()).await
    }

    async fn ask_with(
        &self,
        op: StoreOp,
        value: Payload,
        terms: Terms,
    ) -> Result<Reply, StoreError> {
        let request = StoreRequest { op, payload: value.len() as u64, terms };
        let answer = self.0.ask(&self.0.replies, &request, value).await;
        let (reply, value) = answer.map_err(|unanswered| match unanswered {
            Unanswered::Lost => self.lost(),
            Unanswered::Unsendable(e) => self.error(Cause::BadArguments { message: e.to_string() }),
        })?;
        match reply.failure {
            Some(failure) => Err(self.error(failure.into())),
            None => {
                self.tell_place(&request.op, &reply);
                Ok((reply, value))
            }
        }
    }

    /// Where a key is after a write is for the policy, which places tasks near it. Whoever waits
    /// for the answer dispatches after it was told.
    fn tell_place(&self, op: &StoreOp, reply: &StoreReply) {
        let (key, there) = match op {
            StoreOp::Put { key }
            | StoreOp::PutIfAbsent { key }
            | StoreOp::CompareAndSwap { key, .. }
            | StoreOp::Update { key, .. } => (key, reply.version > 0),
            StoreOp::Remove { key } => (key, false),
            StoreOp::Get { .. }
            | StoreOp::GetRange { .. }
            | StoreOp::Pin { .. }
            | StoreOp::Look { .. }
            | StoreOp::List { .. } => return,
        };
        self.0.home.inbox.key(key, (self.0.id, there));
    }

    fn encode<V: Serialize + ?Sized>(&self, value: &V) -> Result<Payload, StoreError> {
        let bad = |e: rmp_serde::encode::Error| {
            self.error(Cause::BadArguments { message: e.to_string() })
        };
        payload::encode(value).map_err(bad)
    }

    fn key(&self, key: &str) -> Result<Key, StoreError> {
        Key::new(key).map_err(|cause| self.error(cause))
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
        let (reply, bytes) = self.ask(StoreOp::Get { key: self.key(key)? }).await?;
        if !reply.hit {
            return Ok(None);
        }
        let bad = |e: rmp_serde::decode::Error| {
            self.error(Cause::BadResult { message: format!("`{key}`: {e}") })
        };
        let value = payload::decode(bytes).map_err(bad)?;
        Ok(Some(Stored { value, version: reply.version }))
    }

    /// Reads a part of an entry's bytes, as they are in the store: those from `range.start` on,
    /// up to its end or the value's. A value that a master put is MessagePack; one that a task
    /// wrote as bytes, or in pieces, is what it wrote.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let master = dpfw::Master::builder().build().await?;
    /// # let store = master.slaves().pop().expect("the one within the process").store();
    /// store.put("log", "first second").await?;
    /// let part = store.get_range("log", 7..u64::MAX).await?.expect("it was put");
    /// assert_eq!(&part.value[..], b"second");
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`StoreError`] if the slave is lost.
    pub async fn get_range(
        &self,
        key: &str,
        range: Range<u64>,
    ) -> Result<Option<Stored<Bytes>>, StoreError> {
        let len = range.end.saturating_sub(range.start);
        let op = StoreOp::GetRange { key: self.key(key)?, offset: range.start, len };
        let (reply, value) = self.ask(op).await?;
        Ok(reply.hit.then_some(Stored { value, version: reply.version }))
    }

    /// Removes an entry, whatever it is; whether there was one.
    ///
    /// # Errors
    /// [`StoreError`] if the slave is lost.
    pub async fn remove(&self, key: &str) -> Result<bool, StoreError> {
        Ok(self.ask(StoreOp::Remove { key: self.key(key)? }).await?.0.hit)
    }

    /// The same, done only when it is on the slave's disk: what was removed does not come back
    /// with the slave.
    ///
    /// # Errors
    /// As [`remove`](Self::remove); with [`Cause::Storage`] if the slave keeps nothing on disk,
    /// or its disk failed.
    pub async fn remove_durable(&self, key: &str) -> Result<bool, StoreError> {
        let op = StoreOp::Remove { key: self.key(key)? };
        let terms = Terms { durable: true, ..Terms::default() };
        Ok(self.ask_with(op, Payload::default(), terms).await?.0.hit)
    }

    /// Keeps an entry from being evicted; whether there is one. It stays so when it is written
    /// again, until it is removed, or [unpinned](Self::unpin).
    ///
    /// # Errors
    /// [`StoreError`] if the slave is lost.
    pub async fn pin(&self, key: &str) -> Result<bool, StoreError> {
        Ok(self.ask(StoreOp::Pin { key: self.key(key)?, pinned: true }).await?.0.hit)
    }

    /// Lets an entry be evicted again, if it was put to be; whether there is one.
    ///
    /// # Errors
    /// [`StoreError`] if the slave is lost.
    pub async fn unpin(&self, key: &str) -> Result<bool, StoreError> {
        Ok(self.ask(StoreOp::Pin { key: self.key(key)?, pinned: false }).await?.0.hit)
    }

    /// What is under a key, as the slave tells it; nothing if there is no entry. A slave that has
    /// an image there says as well that tasks may start from it, if they may.
    pub(crate) async fn look(&self, key: &Key) -> Result<Option<EntryInfo>, StoreError> {
        let (reply, _) = self.ask(StoreOp::Look { key: key.clone() }).await?;
        match (reply.hit, reply.entries.into_iter().next()) {
            (false, _) => Ok(None),
            (true, Some(entry)) if entry.key == *key => Ok(Some(entry)),
            (true, _) => {
                let message = format!("the slave was asked for `{key}`, and tells of another");
                Err(self.error(Cause::BadResult { message }))
            }
        }
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
            let (reply, _) = self.ask(op).await?;
            // Each listing goes on behind the last, or a slave could make this endless.
            let keys = behind.iter().chain(reply.entries.iter().map(|entry| &entry.key));
            if !keys.is_sorted_by(|a, b| a < b) {
                let message = "the slave lists its keys out of order".into();
                return Err(self.error(Cause::BadResult { message }));
            }
            after = reply.entries.last().map(|entry| entry.key.clone());
            found.extend(reply.entries.into_iter().map(Listed::from));
            if !reply.more || after.is_none() {
                return Ok(found);
            }
        }
    }
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Store({})", self.0.hello.peer)
    }
}
