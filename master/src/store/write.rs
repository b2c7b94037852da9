//! Writing a value, and on what terms it is kept.

use super::{Conditional, Reply, Store, StoreError, Version};
use dpfw_protocol::payload::Payload;
use dpfw_protocol::store::{Key, StoreOp, Terms};
use serde::Serialize;
use std::fmt;
use std::future::IntoFuture;
use std::pin::Pin;
use std::time::Duration;

/// A value that is written when this is awaited: [`Store::put`] and its like.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let master = dpfw::Master::builder().build().await?;
/// # let store = master.slaves().pop().expect("the one within the process").store();
/// use std::time::Duration;
///
/// store.put("settings", &[1, 2, 3]).await?; // stays until it is removed
/// store.put("tiles/7", "can be made again").evictable().await?;
/// store.put("weather", "sunny").ttl(Duration::from_secs(60)).await?;
/// # Ok(())
/// # }
/// ```
#[must_use = "nothing is written until it is awaited"]
pub struct Write<T> {
    store: Store,
    op: Result<(StoreOp, Payload), StoreError>,
    terms: Terms,
    outcome: fn(&Reply) -> T,
}

impl<T> Write<T> {
    fn new<V: Serialize + ?Sized>(
        store: &Store,
        key: &str,
        value: &V,
        op: impl FnOnce(Key) -> StoreOp,
        outcome: fn(&Reply) -> T,
    ) -> Self {
        let value = store.encode(value);
        let op = store.key(key).map(op).and_then(|op| Ok((op, value?)));
        Self { store: store.clone(), op, terms: Terms::default(), outcome }
    }

    /// The slave may evict the value to make room, those first that were not used for longest.
    pub fn evictable(mut self) -> Self {
        self.terms.evictable = true;
        self
    }

    /// The value is gone after this long, in whole milliseconds; until then it may be evicted.
    pub fn ttl(mut self, ttl: Duration) -> Self {
        self.terms.set_ttl(ttl);
        self
    }

    /// Done only when it is on the slave's disk: it survives the slave's process, whatever ends
    /// it. Where the slave keeps nothing on disk it is refused. Others may read the value before.
    ///
    /// ```no_run
    /// # async fn example(store: dpfw::Store) -> Result<(), Box<dyn std::error::Error>> {
    /// store.put("account/7", &100).durable().await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// If awaiting fails with [`Cause::Storage`](crate::Cause::Storage) the value is not written, or is written in the
    /// slave's memory alone: its disk failed or was full in the middle.
    pub fn durable(mut self) -> Self {
        self.terms.durable = true;
        self
    }
}

impl<T: 'static> IntoFuture for Write<T> {
    type Output = Result<T, StoreError>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        let Self { store, op, terms, outcome } = self;
        Box::pin(async move {
            let (op, value) = op?;
            Ok(outcome(&store.ask_with(op, value, terms).await?))
        })
    }
}

impl<T> fmt::Debug for Write<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let op = self.op.as_ref().map(|(op, _)| op);
        f.debug_struct("Write").field("op", &op).field("terms", &self.terms).finish()
    }
}

impl Store {
    /// Writes a value, whatever was there. Gives its version.
    ///
    /// # Errors
    /// [`StoreError`] if the slave is lost, or over quota; then the old value stays.
    pub fn put<T: Serialize + ?Sized>(&self, key: &str, value: &T) -> Write<Version> {
        Write::new(self, key, value, |key| StoreOp::Put { key }, |(reply, _)| reply.version)
    }

    /// Writes a value unless there is one; whether it did.
    ///
    /// # Errors
    /// [`StoreError`] if the slave is lost, or over quota.
    pub fn put_if_absent<T: Serialize + ?Sized>(&self, key: &str, value: &T) -> Write<bool> {
        Write::new(self, key, value, |key| StoreOp::PutIfAbsent { key }, |(reply, _)| reply.hit)
    }

    /// Writes a value unless there is one; the version after it.
    ///
    /// # Errors
    /// [`StoreError`] if the slave is lost, or over quota.
    pub fn put_if_absent_versioned<T: Serialize + ?Sized>(
        &self,
        key: &str,
        value: &T,
    ) -> Write<Conditional> {
        Write::new(self, key, value, |key| StoreOp::PutIfAbsent { key }, Conditional::of)
    }

    /// Writes a value if the present one has this version (0: if there is none); whether
    /// it did.
    ///
    /// As with [`put`](Self::put), what is written stays unless it is said otherwise, whatever was
    /// said of the value before; but for a pin, which stays. To leave a value on the terms that it
    /// has, [`update`](Self::update) it.
    ///
    /// # Errors
    /// [`StoreError`] if the slave is lost, or over quota.
    pub fn compare_and_swap<T: Serialize + ?Sized>(
        &self,
        key: &str,
        expected: Version,
        value: &T,
    ) -> Write<bool> {
        let op = |key| StoreOp::CompareAndSwap { key, expected };
        Write::new(self, key, value, op, |(reply, _)| reply.hit)
    }

    /// The same; the version after it.
    ///
    /// # Errors
    /// [`StoreError`] if the slave is lost, or over quota.
    pub fn compare_and_swap_versioned<T: Serialize + ?Sized>(
        &self,
        key: &str,
        expected: Version,
        value: &T,
    ) -> Write<Conditional> {
        let op = |key| StoreOp::CompareAndSwap { key, expected };
        Write::new(self, key, value, op, Conditional::of)
    }
}
