//! Waiting for what is to happen.
//!
//! Invariant: a test that hangs fails, and says what it waited for.

use anyhow::{Context, Result};
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

/// Longer than anything here takes on a loaded machine; only a test that hangs meets it.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Between two looks at a state that announces no change.
const LOOK: Duration = Duration::from_millis(2);

/// Waits for a future.
///
/// # Errors
/// What was waited for, if it did not come.
pub async fn within<T>(what: &str, future: impl IntoFuture<Output = T>) -> Result<T> {
    at_most(PATIENCE, what, future).await
}

/// The same, so long at most.
///
/// # Errors
/// What was waited for, if it did not come.
pub async fn at_most<T>(
    limit: Duration,
    what: &str,
    future: impl IntoFuture<Output = T>,
) -> Result<T> {
    let waited = tokio::time::timeout(limit, future).await;
    waited.with_context(|| format!("waited {limit:?} in vain for {what}"))
}

/// Waits until a state is reached that announces itself by nothing: it is looked at again
/// and again.
///
/// # Errors
/// What was waited for, if it did not come; what the look returned.
pub async fn until(what: &str, mut look: impl AsyncFnMut() -> Result<bool>) -> Result<()> {
    let reached = async {
        let mut pause = tokio::time::interval(LOOK);
        while !look().await? {
            pause.tick().await;
        }
        Ok(())
    };
    within(what, reached).await?
}

/// Begins a future, and says whether it has to wait. What it gives is lost if it does not.
pub async fn is_pending<F: Future + Unpin>(mut future: F) -> bool {
    std::future::poll_fn(|cx| Poll::Ready(Pin::new(&mut future).poll(cx).is_pending())).await
}
