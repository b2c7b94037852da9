//! Changing a value to what it says itself.
//!
//! Invariants: the number of tries is bounded; a value keeps the terms that it has unless others
//! are given.

use super::{Store, StoreError, Stored};
use dpfw_protocol::error::Cause;
use dpfw_protocol::payload::Payload;
use dpfw_protocol::store::{StoreOp, Terms, Version};
use serde::{Serialize, de::DeserializeOwned};
use std::fmt;
use std::future::IntoFuture;
use std::pin::Pin;
use std::time::Duration;

/// How often an update is tried. Whenever it fails another's was done, so only a crowd at one
/// key brings so many failures in a row; and each takes two round trips.
const TRIES: u32 = 100;

impl Store {
    /// Writes what `change` makes of the value that is there (`None` if there is none), and gives
    /// it. If somebody else changes the entry meanwhile, `change` is called again with what is
    /// there then, so it should have no effect but its result.
    ///
    /// The entry stays as it was put: if it may be evicted it still may, its time to live goes on,
    /// and does not begin again, and what is pinned stays pinned. A value that was not there stays
    /// until it is removed. Other terms can be given: [`evictable`](Update::evictable),
    /// [`ttl`](Update::ttl).
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let master = dpfw::Master::builder().build().await?;
    /// # let store = master.slaves().pop().expect("the one within the process").store();
    /// for expected in 1..=3 {
    ///     let count = store.update("count", |before| before.unwrap_or(0) + 1).await?;
    ///     assert_eq!(count, expected);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`StoreError`] if the slave is lost, the value is no `T`, or over quota; with
    /// [`Cause::Busy`] if others were faster a hundred times.
    pub fn update<'a, T: Serialize + DeserializeOwned>(
        &self,
        key: &str,
        change: impl FnMut(Option<T>) -> T + Send + 'a,
    ) -> Update<'a, T> {
        Update { store: self.clone(), key: key.to_owned(), change: Box::new(change), terms: None }
    }
}

/// A value that is changed when this is awaited: [`Store::update`].
#[must_use = "nothing is changed until it is awaited"]
pub struct Update<'a, T> {
    store: Store,
    key: String,
    change: Box<dyn FnMut(Option<T>) -> T + Send + 'a>,
    /// If it is not to keep those that it has.
    terms: Option<Terms>,
}

impl<T> Update<'_, T> {
    /// From now on the slave may evict the value to make room, and nothing else of what was said
    /// of it before holds.
    pub fn evictable(mut self) -> Self {
        self.terms.get_or_insert_default().evictable = true;
        self
    }

    /// The value is gone this long after it was written, in whole milliseconds, and nothing else of
    /// what was said of it before holds.
    pub fn ttl(mut self, ttl: Duration) -> Self {
        self.terms.get_or_insert_default().set_ttl(ttl);
        self
    }
}

impl<T: Serialize + DeserializeOwned> Update<'_, T> {
    async fn run(self) -> Result<T, StoreError> {
        let Self { store, key, mut change, terms, .. } = self;
        for _ in 0..TRIES {
            let (before, version) = match store.get_versioned(&key).await? {
                Some(Stored { value, version }) => (Some(value), version),
                None => (None, 0),
            };
            let after = change(before);
            let value = store.encode(&after)?;
            if store.swap(&key, version, value, terms).await? {
                return Ok(after);
            }
        }
        let what = format!("others changed `{key}` each of the {TRIES} times that it was tried");
        Err(store.error(Cause::Busy { what }))
    }
}

impl Store {
    /// Whether nobody was faster.
    async fn swap(
        &self,
        key: &str,
        expected: Version,
        value: Payload,
        terms: Option<Terms>,
    ) -> Result<bool, StoreError> {
        let key = self.key(key)?;
        let (op, terms) = match terms {
            None => (StoreOp::Update { key, expected }, Terms::default()),
            Some(terms) => (StoreOp::CompareAndSwap { key, expected }, terms),
        };
        Ok(self.ask_with(op, value, terms).await?.0.hit)
    }
}

impl<'a, T: Serialize + DeserializeOwned + Send + 'a> IntoFuture for Update<'a, T> {
    type Output = Result<T, StoreError>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send + 'a>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.run())
    }
}

impl<T> fmt::Debug for Update<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Update").field("key", &self.key).field("terms", &self.terms).finish()
    }
}
