//! A limit for every wait.

use anyhow::{Context, Result};
use std::time::Duration;

/// Waits for what is to happen, so long at most.
///
/// # Errors
/// What was waited for, if it did not come; what came, if that was an error.
pub(crate) async fn within<T>(
    limit: Duration,
    what: &str,
    future: impl Future<Output = Result<T>>,
) -> Result<T> {
    let waited = tokio::time::timeout(limit, future).await;
    waited.with_context(|| format!("waited {limit:?} in vain for {what}"))?
}
