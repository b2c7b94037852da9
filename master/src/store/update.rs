//! Changing a value to what it says itself.
//!
//! Invariant: the number of tries is bounded.

use super::{Store, StoreError, Stored};
use dpfw_protocol::error::Cause;
use serde::{Serialize, de::DeserializeOwned};

/// How often an update is tried. Whenever it fails another's was done, so only a crowd at one
/// key brings so many failures in a row; and each takes two round trips.
const TRIES: u32 = 100;

impl Store {
    /// Writes what `change` makes of the value that is there (`None` if there is none), and gives
    /// it. If somebody else changes the entry meanwhile, `change` is called again with what is
    /// there then, so it should have no effect but its result. The value stays then until it is
    /// removed.
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
    pub async fn update<T: Serialize + DeserializeOwned>(
        &self,
        key: &str,
        mut change: impl FnMut(Option<T>) -> T,
    ) -> Result<T, StoreError> {
        for _ in 0..TRIES {
            let (before, version) = match self.get_versioned(key).await? {
                Some(Stored { value, version }) => (Some(value), version),
                None => (None, 0),
            };
            let after = change(before);
            if self.compare_and_swap(key, version, &after).await? {
                return Ok(after);
            }
        }
        let what = format!("others changed `{key}` each of the {TRIES} times that it was tried");
        Err(self.error(Cause::Busy { what }))
    }
}
