//! Results that stay at their slaves, and what names them.

use crate::slave::Slave;
use crate::store::StoreError;
use dpfw_dispatch::{Placement, SlaveId};
use dpfw_protocol::error::Cause;
use dpfw_protocol::limits::MAX_NEEDS;
use dpfw_protocol::store::{Key, Version};
use serde::de::DeserializeOwned;
use std::fmt;
use std::marker::PhantomData;

/// A result that stays at its slave, as an entry of the keyed store: what a call with
/// [`keep`](crate::CallExt::keep) results in.
///
/// It is a value like any other that was put there: it lives until it is removed, replaced, or
/// the slave ends; dropping this changes nothing. Tasks read it with `dpfw_guest::store`, and
/// run where it is with [`near`](crate::CallExt::near).
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let master = dpfw::Master::builder().build().await?;
/// use dpfw::CallExt;
/// use quickstart_tasks::{count_words, recall};
///
/// let kept = master.dispatch(count_words::call("to be".into()).keep("counts")).await?;
/// println!("{} bytes are at {}", kept.bytes, kept.slave);
/// assert_eq!(kept.get().await?["be"], 1);
///
/// kept.remove().await?;
/// let error = master.dispatch(recall::call("counts".into()).near(&kept)).await;
/// let error = error.expect_err("the entry is gone");
/// assert!(matches!(error.cause(), dpfw::Cause::KeyGone { key } if key == "counts"));
/// # Ok(())
/// # }
/// ```
#[non_exhaustive]
pub struct Kept<T> {
    /// The slave that has it.
    pub slave: Slave,
    /// Under which key.
    pub key: String,
    /// The entry's version: what replaces it has another.
    pub version: Version,
    /// Its length, encoded.
    pub bytes: u64,
    result: PhantomData<fn() -> T>,
}

/// The same without its type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct KeptAt {
    pub(crate) slave: Slave,
    pub(crate) key: String,
    pub(crate) version: Version,
    pub(crate) bytes: u64,
}

impl<T> Kept<T> {
    pub(crate) fn new(at: KeptAt) -> Self {
        let KeptAt { slave, key, version, bytes } = at;
        Self { slave, key, version, bytes, result: PhantomData }
    }

    /// Removes what is under its key; whether anything was.
    ///
    /// # Errors
    /// [`StoreError`] if the slave is lost.
    pub async fn remove(&self) -> Result<bool, StoreError> {
        self.slave.store().remove(&self.key).await
    }
}

impl<T: DeserializeOwned> Kept<T> {
    /// Fetches the result.
    ///
    /// # Errors
    /// [`StoreError`] if the slave is lost, the entry is not there any more or was replaced
    /// ([`Cause::KeyGone`]), or it does not decode.
    pub async fn get(&self) -> Result<T, StoreError> {
        let store = self.slave.store();
        let found = store.get_versioned::<T>(&self.key).await?;
        let found = found.filter(|stored| stored.version == self.version);
        let gone = || store.error(Cause::KeyGone { key: self.key.clone() });
        found.map(|stored| stored.value).ok_or_else(gone)
    }
}

impl<T> Clone for Kept<T> {
    fn clone(&self) -> Self {
        let Self { slave, key, version, bytes, .. } = self;
        Self {
            slave: slave.clone(),
            key: key.clone(),
            version: *version,
            bytes: *bytes,
            result: PhantomData,
        }
    }
}

impl<T> fmt::Debug for Kept<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { slave, key, version, bytes, .. } = self;
        write!(f, "Kept({key:?} of {bytes} bytes, version {version}, at {slave})")
    }
}

/// Keys of entries that a task is to be [`near`](crate::CallExt::near): a text, what a task
/// [kept](Kept), or several of one kind.
///
/// ```
/// use dpfw_master::Keys;
///
/// let keys = ["part/1", "part/2"].map(String::from).to_vec();
/// assert_eq!(Keys::from(keys).iter().collect::<Vec<_>>(), ["part/1", "part/2"]);
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Keys {
    keys: Vec<String>,
    /// Where something was kept: of the same key elsewhere it is not known to be the same.
    slave: Option<SlaveId>,
}

impl Keys {
    /// The keys, each once.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.keys.iter().map(String::as_str)
    }

    fn add(&mut self, more: Self) {
        for key in more.keys {
            if !self.keys.contains(&key) {
                self.keys.push(key);
            }
        }
        self.slave = self.slave.or(more.slave);
    }

    /// Only there, if it is known where.
    pub(crate) fn placement(&self) -> Option<Placement> {
        self.slave.map(Placement::On)
    }

    /// As they are sent.
    ///
    /// # Errors
    /// [`Cause::Limit`] if one is too long, [`Cause::BadArguments`] if there are too many.
    pub(crate) fn into_needs(self, needs: &mut Vec<Key>) -> Result<(), Cause> {
        for key in self.keys {
            let key = Key::new(key)?;
            if !needs.contains(&key) {
                needs.push(key);
            }
        }
        if needs.len() > MAX_NEEDS {
            let message = format!("a task is near {MAX_NEEDS} keys at most, not {}", needs.len());
            return Err(Cause::BadArguments { message });
        }
        Ok(())
    }
}

impl From<&str> for Keys {
    fn from(key: &str) -> Self {
        Self { keys: vec![key.into()], slave: None }
    }
}

impl From<String> for Keys {
    fn from(key: String) -> Self {
        Self { keys: vec![key], slave: None }
    }
}

impl From<&String> for Keys {
    fn from(key: &String) -> Self {
        key.as_str().into()
    }
}

impl<T> From<&Kept<T>> for Keys {
    fn from(kept: &Kept<T>) -> Self {
        Self { keys: vec![kept.key.clone()], slave: Some(kept.slave.id()) }
    }
}

impl<K: Into<Self>> FromIterator<K> for Keys {
    fn from_iter<I: IntoIterator<Item = K>>(all: I) -> Self {
        let mut keys = Self::default();
        all.into_iter().for_each(|key| keys.add(key.into()));
        keys
    }
}

impl<K: Into<Self>, const N: usize> From<[K; N]> for Keys {
    fn from(keys: [K; N]) -> Self {
        keys.into_iter().collect()
    }
}

impl<K: Into<Self>> From<Vec<K>> for Keys {
    fn from(keys: Vec<K>) -> Self {
        keys.into_iter().collect()
    }
}

impl<K: Clone + Into<Self>> From<&[K]> for Keys {
    fn from(keys: &[K]) -> Self {
        keys.iter().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_held_against_their_limits() {
        let needs = |keys: Keys| {
            let mut needs = Vec::new();
            keys.into_needs(&mut needs).map(|()| needs.len())
        };
        assert_eq!(needs(["a", "b", "a"].into()), Ok(2));
        assert!(matches!(needs("".into()), Err(Cause::Limit { .. })));
        let many: Vec<_> = (0..=MAX_NEEDS).map(|n| n.to_string()).collect();
        assert_eq!(needs(many[1..].into()), Ok(MAX_NEEDS));
        assert!(matches!(needs(many.into()), Err(Cause::BadArguments { .. })));
    }
}
