//! The master as a value: what callers do with it.

use crate::builder::Builder;
use crate::crew::Crew;
use crate::driver::Registry;
use crate::error::TaskError;
use crate::handle::{Raw, TaskHandle};
use crate::home::Home;
use crate::inbox::{Command, Inbox, Room};
use crate::map::Map;
use crate::parallel::Calls;
use crate::placed::Placed;
use crate::reserve::{Reserved, Wish};
use crate::slave::Slave;
use crate::source::Sources;
use crate::submit::{Terms, submit};
use dpfw_dispatch::{ReserveError, Stats, Wait};
use dpfw_link::Stream as ByteStream;
use dpfw_protocol::call::{Call, Task};
use dpfw_protocol::ids::PeerId;
use dpfw_protocol::message::TaskFlags;
use dpfw_protocol::payload::Payload;
use futures_core::Stream;
use serde::de::DeserializeOwned;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use tokio::sync::oneshot;

/// Dispatches tasks to slaves. Cloning shares it.
///
/// When the last clone is dropped, or at [`shutdown`](Self::shutdown), every task that has
/// not ended is cancelled and its handle resolves with
/// [`Cause::Shutdown`](crate::Cause::Shutdown); links are closed, and nothing is dialled or
/// listened for any more.
///
/// Users have it from the crate `dpfw`, whose `Master` can have slaves within the process:
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use quickstart_tasks::add;
///
/// let master = dpfw::Master::builder().build().await?;
/// assert_eq!(master.dispatch(add::call(2, 3)).await?, 5);
/// master.shutdown().await;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Master(pub(crate) Arc<Shared>);

/// What all clones share. Its drop ends the master.
pub(crate) struct Shared {
    pub(crate) inbox: Arc<Inbox>,
    pub(crate) home: Arc<Home>,
    pub(crate) registry: Registry,
    /// What slaves call it.
    pub(crate) peer: PeerId,
    pub(crate) sources: Sources,
    pub(crate) runtime: tokio::runtime::Handle,
    pub(crate) crew: Arc<Crew>,
    /// Closed when the driver has ended, and the sources with it.
    pub(crate) driver: tokio::sync::watch::Receiver<()>,
    /// The thread of a master that was built by blocking code.
    pub(crate) thread: Mutex<Option<JoinHandle<()>>>,
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.inbox.tell(Command::Shutdown);
        if let Some(thread) = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take() {
            // It ends when the driver has; a panic in it was reported where it happened.
            let _ = thread.join();
        }
    }
}

impl Master {
    /// A master to be configured.
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// Dispatches a call. Never waits: the task is queued, and its handle returned.
    ///
    /// When the queue is full, the handle resolves with [`Cause::Busy`](crate::Cause::Busy);
    /// [`ready`](Self::ready) waits for room instead.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let master = dpfw::Master::builder().build().await?;
    /// use quickstart_tasks::divide;
    /// use std::time::Duration;
    /// use dpfw::{CallExt, Cause};
    ///
    /// let task = master.dispatch(divide::call(7, 2));
    /// assert_eq!(task.await?, 3);
    ///
    /// let error = master.dispatch(divide::call(7, 0).timeout(Duration::from_secs(10))).await;
    /// let error = error.expect_err("there is no such number");
    /// assert!(matches!(error.cause(), Cause::Failed { message } if message.contains("by zero")));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Promises
    /// A task whose slave is lost is dispatched to another one (at least once), unless the
    /// task or the call is declared `once` (at most once). One that is declared `effect_free`
    /// may be tried on a second slave while the first is slow with it. In any case at most one
    /// result is accepted.
    pub fn dispatch<T>(&self, call: impl Into<Placed<T>>) -> TaskHandle<T> {
        let Placed { call, placement, timeout, once, extras, refused, image } = call.into();
        let (task, args) = call.into_parts();
        let mut flags = task.flags();
        if once {
            flags = flags.with(TaskFlags::ONCE);
        }
        let name = task.shared_name();
        let (calls, ports) = (1, None);
        let terms = Terms { flags, calls, timeout, extras, placement, ports, refused, image };
        let raw = self.submit(&task, args, terms, self.0.inbox.take_room());
        TaskHandle::new(raw, name)
    }

    /// Submits a task if there is room for it.
    pub(crate) fn submit<T>(
        &self,
        task: &Task<T>,
        args: Result<Payload, String>,
        terms: Terms,
        room: Option<Room>,
    ) -> Raw {
        submit(&self.0.inbox, task, args, terms, room)
    }

    /// Waits until the queue has room for a task. Others may be quicker to take it; then
    /// the next handle resolves with [`Cause::Busy`](crate::Cause::Busy). Cancel safe.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let master = dpfw::Master::builder().build().await?;
    /// use quickstart_tasks::add;
    ///
    /// for i in 0..10 {
    ///     master.ready().await;
    ///     master.dispatch(add::call(i, 1)).detach();
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub async fn ready(&self) {
        self.0.inbox.room().await;
    }

    /// Runs several calls at once; the results come in the order of the calls.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let master = dpfw::Master::builder().build().await?;
    /// use quickstart_tasks::add;
    ///
    /// let [x, y] = master.parallel([add::call(2, 1), add::call(5, 5)]).await?;
    /// assert_eq!((x, y), (3, 10));
    /// let sums = master.parallel((0..4).map(|i| add::call(i, i)).collect::<Vec<_>>()).await?;
    /// assert_eq!(sums, [0, 2, 4, 6]);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// The first failure; the other tasks are cancelled then.
    pub async fn parallel<C: Calls>(&self, calls: C) -> Result<C::Results, TaskError> {
        calls.run(self).await
    }

    /// Runs a task over inputs, with bounded memory: inputs are taken as results are
    /// consumed. Small calls go together as one task, see [`Map::chunk`].
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let master = dpfw::Master::builder().build().await?;
    /// use quickstart_tasks::add;
    ///
    /// let sums = master.map(0..1000, |i| add::call(i, 1)).all().await?;
    /// assert_eq!(sums.iter().sum::<i64>(), 500_500);
    /// # Ok(())
    /// # }
    /// ```
    pub fn map<I, A, T>(
        &self,
        inputs: I,
        call: impl FnMut(A) -> Call<T>,
    ) -> Map<impl Stream<Item = Call<T>>, T>
    where
        I: IntoIterator<Item = A>,
        T: DeserializeOwned,
    {
        let calls = inputs.into_iter().map(call);
        Map::new(self.clone(), futures_util::stream::iter(calls))
    }

    /// The same over a stream of inputs.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let master = dpfw::Master::builder().build().await?;
    /// use futures_util::{StreamExt, stream};
    /// use quickstart_tasks::add;
    ///
    /// let inputs = stream::iter([1, 2, 3]);
    /// let mut results = master.map_stream(inputs, |i| add::call(i, i)).unordered();
    /// let mut sum = 0;
    /// while let Some(result) = results.next().await {
    ///     sum += result?;
    /// }
    /// assert_eq!(sum, 12);
    /// # Ok(())
    /// # }
    /// ```
    pub fn map_stream<S, A, T>(
        &self,
        inputs: S,
        call: impl FnMut(A) -> Call<T>,
    ) -> Map<impl Stream<Item = Call<T>>, T>
    where
        S: Stream<Item = A>,
        T: DeserializeOwned,
    {
        Map::new(self.clone(), futures_util::StreamExt::map(inputs, call))
    }

    /// The slaves that are linked now.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let master = dpfw::Master::builder().build().await?;
    /// use dpfw::CallExt;
    /// use quickstart_tasks::add;
    ///
    /// let slave = master.slaves().pop().expect("the one within the process");
    /// println!("{slave}: {} slots", slave.slots());
    /// assert_eq!(master.dispatch(add::call(2, 3).on(&slave)).await?, 5);
    /// # Ok(())
    /// # }
    /// ```
    pub fn slaves(&self) -> Vec<Slave> {
        self.0.registry.borrow().iter().map(|linked| Slave(Arc::clone(linked))).collect()
    }

    /// Reserves an idle slave until the reservation is dropped.
    ///
    /// Waits while all are busy, first come first served. Cancel safe.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let master = dpfw::Master::builder().build().await?;
    /// use quickstart_tasks::remember;
    ///
    /// let slave = master.reserve().await?;
    /// slave.dispatch(remember::call("colour".into(), "blue".into())).await?;
    /// let before = slave.dispatch(remember::call("colour".into(), "red".into())).await?;
    /// assert_eq!(before.as_deref(), Some("blue"));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`ReserveError::NoSlaves`] if no slave is linked and none is expected.
    pub async fn reserve(&self) -> Result<Reserved, ReserveError> {
        self.reserve_one(Wait::Yes).await
    }

    /// Reserves an idle slave if there is one now.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let master = dpfw::Master::builder().build().await?;
    /// let slave = master.try_reserve().await?;
    /// let error = master.try_reserve().await.expect_err("the only one is reserved");
    /// assert_eq!(error, dpfw::ReserveError::NoneIdle);
    /// # drop(slave);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`ReserveError::NoneIdle`] if there is none.
    pub async fn try_reserve(&self) -> Result<Reserved, ReserveError> {
        self.reserve_one(Wait::No).await
    }

    async fn reserve_one(&self, wait: Wait) -> Result<Reserved, ReserveError> {
        let inbox = &self.0.inbox;
        let wish = Wish { id: inbox.reservation(), inbox: Arc::clone(inbox) };
        let (answer, answered) = oneshot::channel();
        inbox.tell(Command::Reserve { reservation: wish.id, slave: None, wait, answer });
        let linked = answered.await.unwrap_or(Err(ReserveError::Shutdown))?;
        Ok(Reserved::new(linked, wish, self.clone()))
    }

    /// Links a slave over any byte stream.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let master = dpfw::Master::builder().build().await?;
    /// use dpfw::{ByteStream, Slave};
    ///
    /// let slave = Slave::builder().slots(1).build()?;
    /// let (ours, theirs) = ByteStream::pair(1 << 16);
    /// slave.attach(theirs);
    /// master.attach(ours);
    /// # while master.slaves().len() < 2 { tokio::task::yield_now().await }
    /// # Ok(())
    /// # }
    /// ```
    pub fn attach(&self, stream: ByteStream) {
        let serving = self.0.sources.attach(stream, None);
        self.0.crew.spawn(serving, &self.0.runtime);
    }

    /// Counters of what was dispatched, retried and dropped.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let master = dpfw::Master::builder().build().await?;
    /// use quickstart_tasks::add;
    ///
    /// master.dispatch(add::call(2, 3)).await?;
    /// assert_eq!(master.stats().await.accepted, 1);
    /// # Ok(())
    /// # }
    /// ```
    pub async fn stats(&self) -> Stats {
        let (answer, answered) = oneshot::channel();
        self.0.inbox.tell(Command::Stats(answer));
        answered.await.unwrap_or_default()
    }

    /// Ends the master: every task that has not ended is cancelled, slaves are told, links
    /// are closed and ports given up.
    pub async fn shutdown(&self) {
        self.0.inbox.tell(Command::Shutdown);
        let mut driver = self.0.driver.clone();
        // The driver's end drops the sender.
        while driver.changed().await.is_ok() {}
    }
}

impl fmt::Debug for Master {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Master").field(&self.slaves()).finish()
    }
}
