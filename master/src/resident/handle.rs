//! Handles of calls of residents.

use super::call::Asking;
use crate::error::TaskError;
use crate::handle::parked;
use crate::receipt::{Progress, Receipt};
use dpfw_protocol::error::Cause;
use dpfw_protocol::payload;
use serde::de::DeserializeOwned;
use std::fmt;
use std::future::poll_fn;
use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

/// The owner of a call of a resident; joining it yields the result.
///
/// It is a future, for asynchronous code; [`join`](Self::join) is for blocking code.
///
/// Dropping it takes the call back if it has not begun. One that has begun goes on to its end,
/// which nobody hears of: to interrupt it would take the resident from everybody.
/// [`cancel`](Self::cancel) does that.
///
/// What is promised: it resolves, by the call's deadline if it has one. The call is run at most
/// once, and never repeated.
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use quickstart_tasks::counter;
///
/// let master = dpfw::Master::builder().build_blocking()?;
/// let c = master.spawn("hits", counter::new(0)).join()?;
/// let (first, second) = (c.call(counter::bump()), c.call(counter::bump()));
/// assert_eq!((second.join()?, first.join()?), (2, 1));
/// # Ok(())
/// # }
/// ```
#[must_use = "dropping a handle takes its call back if it has not begun"]
pub struct CallHandle<T> {
    call: Arc<Asking>,
    is_owner: bool,
    result: PhantomData<fn() -> T>,
}

impl<T> CallHandle<T> {
    pub(super) fn new(call: Arc<Asking>) -> Self {
        Self { call, is_owner: true, result: PhantomData }
    }

    /// The method's name, with its class.
    pub fn name(&self) -> &str {
        self.call.task.name()
    }

    /// Asks the call to stop, and the handle then resolves with [`Cause::Cancelled`], unless the
    /// call was quicker.
    ///
    /// A call that has not begun is taken out of the mailbox. One that runs is interrupted, which
    /// leaves the resident's memory in doubt: it is begun again by its policy, or ended.
    pub fn cancel(&self) {
        self.call.cancel();
    }

    /// Lets the call run, though nobody waits for it.
    pub fn detach(mut self) {
        self.is_owner = false;
    }

    /// How far the method last said that it is.
    pub fn progress(&self) -> Progress {
        self.call.progress()
    }

    /// Whether the call has ended.
    pub fn is_finished(&self) -> bool {
        self.call.is_ended()
    }

    /// What the call cost, once it has ended at the slave: how long it waited in the mailbox, and
    /// how long it ran.
    pub fn receipt(&self) -> Option<Receipt> {
        self.call.receipt()
    }
}

impl<T: DeserializeOwned> CallHandle<T> {
    /// Waits for the result in blocking code; see [`TaskHandle::join`](crate::TaskHandle::join).
    ///
    /// # Errors
    /// [`TaskError`] if the call ended without a result, or it does not decode.
    pub fn join(mut self) -> Result<T, TaskError> {
        parked(&mut self)
    }
}

impl<T: DeserializeOwned> Future for CallHandle<T> {
    type Output = Result<T, TaskError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let outcome = std::task::ready!(self.call.poll(cx)).unwrap_or_else(|| {
            let message = "the handle was polled after it had resolved".into();
            Err(Cause::Internal { message })
        });
        let result = outcome.and_then(|bytes| {
            payload::decode(bytes).map_err(|e| Cause::BadResult { message: e.to_string() })
        });
        Poll::Ready(result.map_err(|cause| self.call.error(cause)))
    }
}

impl<T> Drop for CallHandle<T> {
    fn drop(&mut self) {
        if self.is_owner {
            self.call.withdraw();
        }
    }
}

impl<T> fmt::Debug for CallHandle<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = if self.is_finished() { "ended" } else { "under way" };
        write!(f, "CallHandle({}, {state})", self.name())
    }
}

/// A cast that was made; awaiting it waits until it was sent.
///
/// It is in its place among the calls of its resident whether it is awaited or not, and dropping
/// this changes nothing. Whoever casts more than the resident does in the long run should await
/// them: what waits is bounded, and a cast beyond it fails.
#[must_use = "whether it was sent is known when this is awaited"]
pub struct Cast {
    call: Arc<Asking>,
}

impl Cast {
    pub(super) fn new(call: Arc<Asking>) -> Self {
        Self { call }
    }

    /// Waits until it has come to its end, and says how: for programs that end then, and with
    /// them what waits in mailboxes.
    ///
    /// # Errors
    /// [`TaskError`] if it failed.
    pub async fn done(self) -> Result<(), TaskError> {
        match poll_fn(|cx| self.call.poll(cx)).await {
            Some(Err(cause)) => Err(self.call.error(cause)),
            _ => Ok(()),
        }
    }

    /// Waits until it was sent, in blocking code.
    ///
    /// # Errors
    /// [`TaskError`] if it could not be.
    pub fn join(mut self) -> Result<(), TaskError> {
        parked(&mut self)
    }
}

impl Future for Cast {
    type Output = Result<(), TaskError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.call.poll_sent(cx).map_err(|cause| self.call.error(cause))
    }
}

impl fmt::Debug for Cast {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Cast({})", self.call.task.name())
    }
}
