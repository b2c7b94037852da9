//! A call of a method with until when, and what to do where the mailbox is full.

use super::window::Full;
use dpfw_protocol::resident::MethodCall;
use std::fmt;
use std::time::Duration;

/// A call of a method with how long it may take, and whether it waits.
pub struct Asked<R, T> {
    pub(super) call: MethodCall<R, T>,
    pub(super) timeout: Option<Duration>,
    pub(super) full: Full,
}

/// Says how long a call of a resident may take, and whether it waits for its turn.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let master = dpfw::Master::builder().build().await?;
/// use dpfw::MethodExt;
/// use quickstart_tasks::counter;
/// use std::time::Duration;
///
/// let c = master.spawn("hits", counter::new(0)).await?;
/// let call = counter::bump().timeout(Duration::from_secs(1)).or_busy();
/// assert_eq!(c.call(call).await?, 1);
/// # Ok(())
/// # }
/// ```
pub trait MethodExt<R, T>: Into<Asked<R, T>> + Sized {
    /// At most so long from the call to its end. The slave interrupts it then; what is under way
    /// at a slave that does not answer ends here.
    ///
    /// A call that runs when its time is over leaves the resident's memory in doubt: it is begun
    /// again by its policy, or ended.
    fn timeout(self, timeout: Duration) -> Asked<R, T> {
        Asked { timeout: Some(timeout), ..self.into() }
    }

    /// Fails with [`Cause::Busy`](crate::Cause::Busy) at once if as many of this master's calls
    /// are under way as the resident's mailbox takes, instead of waiting for its turn.
    fn or_busy(self) -> Asked<R, T> {
        Asked { full: Full::Busy, ..self.into() }
    }
}

impl<R, T> MethodExt<R, T> for MethodCall<R, T> {}
impl<R, T> MethodExt<R, T> for Asked<R, T> {}

impl<R, T> From<MethodCall<R, T>> for Asked<R, T> {
    fn from(call: MethodCall<R, T>) -> Self {
        Self { call, timeout: None, full: Full::default() }
    }
}

impl<R, T> fmt::Display for Asked<R, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.call.fmt(f)
    }
}

impl<R, T> fmt::Debug for Asked<R, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Asked({:?}, {:?}, {:?})", self.call, self.timeout, self.full)
    }
}
