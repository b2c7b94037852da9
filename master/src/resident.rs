//! Residents: live instances under keys of slaves' stores.
//!
//! Owns: the handle of a resident. Does not: go through the policy for a call, since nothing of
//! one is placed or repeated: it is appended to the link by its caller's thread, and answered by
//! the link's reader. Invariant: the calls of one resident, through whichever handles of one
//! master, start in the order in which they were made.

use crate::error::TaskError;
use crate::slave::Slave;
use dpfw_protocol::call::Task;
use dpfw_protocol::error::Cause;
use dpfw_protocol::message::CallFlags;
use dpfw_protocol::module::Module;
use dpfw_protocol::resident::MethodCall;
use serde::Serialize;
use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

pub use asked::{Asked, MethodExt};
pub use ends::End;
pub use find::ResidentInfo;
pub use handle::{CallHandle, Cast};
pub use spawn::Spawning;

mod agreed;
mod asked;
pub(crate) mod call;
pub(crate) mod clock;
mod ends;
mod failure;
mod find;
mod follow;
mod handle;
mod moving;
mod requests;
mod search;
mod spawn;
pub(crate) mod table;
mod window;

use call::Asking;
use window::Window;

/// A resident: a live instance of `R` under a key of a slave's store, which keeps its state from
/// call to call.
///
/// Calls are done one at a time, those of one master in the order in which they were made.
/// Cloning names the same resident, and dropping it stops nothing: a resident lives until it is
/// [stopped](Self::stop), its entry is removed, it fails for good, or its slave ends.
///
/// A call is run at most once, and never repeated by itself. If the slave is lost, calls that
/// were under way fail with [`Cause::ResidentLost`], whose `may_have_run` says that they may have
/// run; so does every later call, at once and without having run, unless a link to the very
/// process that has the resident comes back. There never is another, empty one in its place that
/// nobody asked for.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let master = dpfw::Master::builder().build().await?;
/// use dpfw::MethodExt;
/// use quickstart_tasks::{Counter, counter};
/// use std::time::Duration;
///
/// let c = master.spawn("hits", counter::new(10)).await?;
/// c.cast(counter::bump()).await?;
/// assert_eq!(c.call(counter::bump().timeout(Duration::from_secs(1))).await?, 12);
///
/// let same = master.resident::<Counter>("hits").await?;
/// assert_eq!(same, c);
/// println!("{c} has served {} calls", same.info().await?.served);
/// c.stop().await?;
/// # Ok(())
/// # }
/// ```
pub struct Resident<R> {
    window: Arc<Window>,
    class: PhantomData<fn() -> R>,
}

/// The class of a resident that is known only at run time.
#[derive(Debug)]
pub enum Untyped {}

impl<R> Resident<R> {
    fn new(window: Arc<Window>) -> Self {
        Self { window, class: PhantomData }
    }

    fn error(&self, cause: Cause) -> TaskError {
        let slave = self.window.place().linked.hello.peer.clone();
        TaskError::new(self.key(), Some(slave), 1, cause)
    }

    /// Calls a method: a handle at once, the result when it is awaited.
    ///
    /// The call leaves at once, unless as many of this master's calls are under way as the
    /// resident's mailbox takes. Then it waits for its turn, or fails, as
    /// [`or_busy`](MethodExt::or_busy) says.
    pub fn call<T>(&self, call: impl Into<Asked<R, T>>) -> CallHandle<T> {
        CallHandle::new(self.submit(call.into(), CallFlags::default()))
    }

    /// Calls a method whose result nobody wants, in order with the other calls. When it is
    /// awaited it was sent. If it fails then, that is logged, and
    /// [counted](Self::failed_casts).
    pub fn cast<T>(&self, call: impl Into<Asked<R, T>>) -> Cast {
        Cast::new(self.submit(call.into(), CallFlags::CAST))
    }

    fn submit<T>(&self, asked: Asked<R, T>, flags: CallFlags) -> Arc<Asking> {
        let Asked { call, timeout, full } = asked;
        let (task, args) = call.into_call().retype::<()>().into_parts();
        let deadline = crate::submit::deadline(timeout);
        let (args, refused) = match args {
            Ok(args) => (args, None),
            Err(message) => (Default::default(), Some(Cause::BadArguments { message })),
        };
        let call = Arc::new(Asking::new(Arc::clone(&self.window), (task, args), flags, deadline));
        if let Some(cause) = refused {
            call.end(Err(cause), None);
            return call;
        }
        if let Some(deadline) = deadline {
            self.window.home.clock.set(&self.window.home, deadline, &call);
        }
        self.window.submit(&call, full);
        call
    }

    /// Ends it when its present call is over; calls in its mailbox fail with
    /// [`Cause::ResidentEnded`]. Returns when it has ended, also if it had before.
    ///
    /// # Errors
    /// [`Cause::NoResident`] if it had ended so long ago that its slave does not know of it,
    /// [`Cause::ResidentLost`] if its slave is lost.
    pub async fn stop(&self) -> Result<(), TaskError> {
        self.window.stop().await.map_err(|cause| self.error(cause))
    }

    /// Waits until it has ended, and says how. One that moves has not ended. Cancel safe.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let master = dpfw::Master::builder().build().await?;
    /// use dpfw::End;
    /// use quickstart_tasks::counter;
    ///
    /// let c = master.spawn("hits", counter::new(0)).await?;
    /// c.stop().await?;
    /// assert_eq!(c.wait().await?, End::Stopped);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Cause::ResidentLost`] if its slave is lost, [`Cause::NoResident`] if it had ended
    /// before, so long ago that its slave does not know how.
    pub async fn wait(&self) -> Result<End, TaskError> {
        self.window.end().await.map_err(|cause| self.error(cause))
    }

    /// How it is.
    ///
    /// # Errors
    /// [`Cause::NoResident`] if it has ended, [`Cause::ResidentLost`] if its slave is lost.
    pub async fn info(&self) -> Result<ResidentInfo, TaskError> {
        self.window.settled().await;
        let place = self.window.place();
        let found = find::find_at(&place.linked, &self.window.key).await;
        match found.map_err(|cause| requests::lost(&self.window.key, cause)) {
            // Under its key there is another one now.
            Ok(info) if info.resident != place.resident => {
                Err(self.error(Cause::NoResident { key: self.key().to_owned() }))
            }
            Ok(info) => Ok(ResidentInfo::new(&place.linked, info)),
            Err(cause) => Err(self.error(cause)),
        }
    }

    /// Its key.
    pub fn key(&self) -> &str {
        self.window.key.as_str()
    }

    /// The name of its class.
    pub fn class(&self) -> &str {
        &self.window.class
    }

    /// The slave that has it, or had it last.
    pub fn slave(&self) -> Slave {
        Slave(self.window.place().linked)
    }

    /// How many casts have failed that were made through this master's handles of it.
    pub fn failed_casts(&self) -> u64 {
        self.window.failed_casts()
    }
}

impl Resident<Untyped> {
    /// A call of a method that is named at run time. Its arguments are encoded as those of
    /// [`Task::call`].
    ///
    /// # Errors
    /// [`EncodeError`](crate::EncodeError) if the arguments' `Serialize` fails.
    pub fn method<T>(
        &self,
        name: &str,
        args: &(impl Serialize + ?Sized),
    ) -> Result<MethodCall<Untyped, T>, crate::EncodeError> {
        let module = Module::known(self.window.place().module);
        let task = Task::<T>::new(module, format!("{}.{name}", self.class()));
        Ok(MethodCall::new(task.call(args)?))
    }
}

impl<R> Clone for Resident<R> {
    fn clone(&self) -> Self {
        Self::new(Arc::clone(&self.window))
    }
}

impl<R> PartialEq for Resident<R> {
    /// The same instance: one that was spawned again under its key is another one.
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.window, &other.window) || self.window.place().is(&other.window.place())
    }
}

impl<R> Eq for Resident<R> {}

impl<R> fmt::Display for Resident<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({}) at {}", self.key(), self.class(), self.slave())
    }
}

impl<R> fmt::Debug for Resident<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Resident({self})")
    }
}
