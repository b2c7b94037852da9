//! A limit for every wait.

use anyhow::Result;
use dpfw_tests::wait::at_most;
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
    at_most(limit, what, future).await?
}
