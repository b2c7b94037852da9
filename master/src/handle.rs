//! The owner of a task in flight.

use crate::error::TaskError;
use crate::inbox::{Command, Inbox};
use crate::kept::{Kept, KeptAt};
use crate::receipt::{Progress, Receipt};
use crate::ticket::{Outcome, Ticket};
use dpfw_dispatch::TaskId;
use dpfw_protocol::Bytes;
use dpfw_protocol::error::Cause;
use dpfw_protocol::payload;
use serde::de::DeserializeOwned;
use std::fmt;
use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};

/// The owner of a task in flight; joining it yields the result.
///
/// It is a future, for asynchronous code; [`join`](Self::join) is for blocking code.
/// Dropping it cancels the task: one that waits does not start, one that runs is
/// interrupted. [`detach`](Self::detach) lets it run on.
///
/// What is promised: a handle resolves, by the task's deadline if it has one; at most one
/// result is accepted, however often the task was tried.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let master = dpfw::Master::builder().build().await?;
/// use dpfw::Cause;
/// use quickstart_tasks::{add, sum_below};
///
/// let mut task = master.dispatch(add::call(2, 3));
/// assert_eq!((&mut task).await?, 5);
/// let receipt = task.receipt().expect("it has ended with a result");
/// println!("{} ran it in {:?}", receipt.slave, receipt.executed);
///
/// let task = master.dispatch(sum_below::call(u64::MAX));
/// println!("{} steps so far", task.progress().done);
/// task.cancel();
/// assert_eq!(task.await.expect_err("it was cancelled").cause(), &Cause::Cancelled);
/// # Ok(())
/// # }
/// ```
#[must_use = "dropping a handle cancels its task"]
pub struct TaskHandle<T> {
    raw: Raw,
    name: Arc<str>,
    result: PhantomData<fn() -> T>,
}

/// What a handle resolves to: a result that decodes, or what a task has [kept](Kept).
pub trait TaskResult: Sized {
    #[doc(hidden)]
    #[expect(private_interfaces, reason = "nobody else implements or calls it")]
    fn of(bytes: Bytes, kept: &dyn Fn() -> Option<KeptAt>) -> Result<Self, Cause>;
}

impl<T: DeserializeOwned> TaskResult for T {
    #[expect(private_interfaces, reason = "nobody else implements or calls it")]
    fn of(bytes: Bytes, _: &dyn Fn() -> Option<KeptAt>) -> Result<Self, Cause> {
        payload::decode(bytes).map_err(|e| Cause::BadResult { message: e.to_string() })
    }
}

impl<T> TaskResult for Kept<T> {
    #[expect(private_interfaces, reason = "nobody else implements or calls it")]
    fn of(_: Bytes, kept: &dyn Fn() -> Option<KeptAt>) -> Result<Self, Cause> {
        let missing = || Cause::BadResult { message: "the slave did not keep it".into() };
        kept().map(Self::new).ok_or_else(missing)
    }
}

/// A task in flight whose result is not decoded.
pub(crate) struct Raw {
    pub(crate) ticket: Arc<Ticket>,
    /// `None` if it never reached the driver.
    task: Option<TaskId>,
    inbox: Arc<Inbox>,
    is_owner: bool,
}

impl Raw {
    pub(crate) fn new(ticket: Arc<Ticket>, task: Option<TaskId>, inbox: &Arc<Inbox>) -> Self {
        Self { ticket, task, inbox: Arc::clone(inbox), is_owner: true }
    }

    pub(crate) fn cancel(&self) {
        if let Some(task) = self.task.filter(|_| !self.ticket.is_complete()) {
            self.inbox.tell(Command::Cancel(task));
        }
    }

    pub(crate) fn poll(&self, cx: &mut Context<'_>) -> Poll<Outcome> {
        self.ticket.poll(cx).map(|outcome| {
            outcome.unwrap_or_else(|| {
                let message = "the handle was polled after it had resolved".into();
                Err(TaskError::new("?", None, 0, Cause::Internal { message }))
            })
        })
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        if self.is_owner {
            self.cancel();
        }
    }
}

impl<T> TaskHandle<T> {
    pub(crate) fn new(raw: Raw, name: Arc<str>) -> Self {
        Self { raw, name, result: PhantomData }
    }

    /// The task's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Asks the task to stop. The handle then resolves with [`Cause::Cancelled`], unless
    /// the task was quicker.
    pub fn cancel(&self) {
        self.raw.cancel();
    }

    /// Lets the task run to its end although nobody waits for it. It ends with its master,
    /// as every task does.
    pub fn detach(mut self) {
        self.raw.is_owner = false;
    }

    /// How far the task last said that it is.
    pub fn progress(&self) -> Progress {
        self.raw.ticket.progress()
    }

    /// Whether the task has ended.
    pub fn is_finished(&self) -> bool {
        self.raw.ticket.is_complete()
    }

    /// What the task cost and where it ran, once it has ended at a slave, with a result or
    /// an error of its own. A task that was cancelled, refused or lost may have none.
    pub fn receipt(&self) -> Option<Receipt> {
        self.raw.ticket.receipt()
    }
}

impl<T: TaskResult> TaskHandle<T> {
    /// Waits for the result in blocking code.
    ///
    /// The master's runtime has to run on another thread than this one: call it from a
    /// thread that runs no asynchronous code, for instance in a program that made its
    /// master with `build_blocking`, or inside `tokio::task::spawn_blocking`. In
    /// asynchronous code `.await` the handle.
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use quickstart_tasks::add;
    ///
    /// let master = dpfw::Master::builder().build_blocking()?;
    /// assert_eq!(master.dispatch(add::call(2, 3)).join()?, 5);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`TaskError`] if the task ended without a result, or it does not decode.
    pub fn join(mut self) -> Result<T, TaskError> {
        parked(&mut self)
    }

    fn decode(&self, bytes: Bytes) -> Result<T, TaskError> {
        let kept = || self.raw.ticket.receipt().and_then(|receipt| receipt.kept);
        T::of(bytes, &kept).map_err(|cause| {
            let slave = self.receipt().map(|receipt| receipt.slave);
            TaskError::new(&self.name, slave, 1, cause)
        })
    }
}

/// Waits for something in blocking code.
pub(crate) fn parked<F: Future + Unpin>(future: &mut F) -> F::Output {
    struct Unpark(std::thread::Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let mut cx = Context::from_waker(&waker);
    loop {
        match Pin::new(&mut *future).poll(&mut cx) {
            Poll::Ready(output) => return output,
            Poll::Pending => std::thread::park(),
        }
    }
}

impl<T: TaskResult> Future for TaskHandle<T> {
    type Output = Result<T, TaskError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.raw.poll(cx) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(Ok(bytes)) => Poll::Ready(self.decode(bytes)),
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
        }
    }
}

impl<T> fmt::Debug for TaskHandle<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = if self.is_finished() { "ended" } else { "in flight" };
        write!(f, "TaskHandle({}, {state})", self.name)
    }
}
