//! A call with where and until when, and what becomes of its result.

use crate::image::{Image, Plan};
use crate::kept::{Kept, Keys};
use crate::slave::Slave;
use dpfw_dispatch::Placement;
use dpfw_protocol::call::Call;
use dpfw_protocol::error::Cause;
use dpfw_protocol::message::Extras;
use dpfw_protocol::store::Key;
use dpfw_protocol::task_limits::TaskLimits;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// A call with where it is to run and how long it may take.
pub struct Placed<T> {
    pub(crate) call: Call<T>,
    pub(crate) placement: Placement,
    pub(crate) timeout: Option<Duration>,
    pub(crate) once: bool,
    pub(crate) extras: Option<Box<Extras>>,
    /// Why it cannot be dispatched.
    pub(crate) refused: Option<Cause>,
    pub(crate) image: Option<Arc<Plan>>,
}

/// Says where a call is to run, until when, and what becomes of its result.
///
/// ```
/// use dpfw_master::{CallExt, Module, Task};
/// use std::time::Duration;
///
/// let add = Task::<i64>::new(Module::new(&b"\0asm\x01\0\0\0"[..]), "add");
/// let call = add.call(&(2, 3))?.timeout(Duration::from_secs(1)).once();
/// assert_eq!(call.to_string(), "add(2, 3)");
/// # Ok::<(), dpfw_master::EncodeError>(())
/// ```
pub trait CallExt<T>: Into<Placed<T>> + Sized {
    /// Only on this slave. If the slave is lost, so is the task.
    fn on(self, slave: &Slave) -> Placed<T> {
        Placed { placement: Placement::On(slave.id()), ..self.into() }
    }

    /// Only where entries of the keyed store are: on the least loaded of the slaves that have
    /// all of them, or on the one where a task [kept](Kept) its result. If the master does not
    /// know of one it asks its slaves; if there is none, or they are gone when the task is to
    /// start, it ends with [`Cause::KeyGone`] and does not run.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let master = dpfw::Master::builder().build().await?;
    /// use dpfw::CallExt;
    /// use quickstart_tasks::{recall, remember};
    ///
    /// master.dispatch(remember::call("colour".into(), "blue".into())).await?;
    /// let colour = master.dispatch(recall::call("colour".into()).near("remembered/colour")).await?;
    /// assert_eq!(colour.as_deref(), Some("blue"));
    /// # Ok(())
    /// # }
    /// ```
    fn near(self, keys: impl Into<Keys>) -> Placed<T> {
        let mut placed = self.into();
        let keys = keys.into();
        placed.placement = keys.placement().unwrap_or(placed.placement);
        let refused = keys.into_needs(&mut placed.extras.get_or_insert_default().needs).err();
        Placed { refused: placed.refused.or(refused), ..placed }
    }

    /// The result stays at its slave, under this key of the keyed store, and is not sent. What
    /// was under the key before is replaced. If the store has no room for it, the task ends
    /// with [`Cause::Limit`]; it has run then.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let master = dpfw::Master::builder().build().await?;
    /// use dpfw::CallExt;
    /// use quickstart_tasks::add;
    ///
    /// let kept = master.dispatch(add::call(2, 3).keep("sum")).await?;
    /// assert_eq!(kept.slave.store().get::<i64>("sum").await?, Some(5));
    /// # Ok(())
    /// # }
    /// ```
    fn keep(self, key: impl Into<String>) -> Placed<Kept<T>> {
        let Placed { call, placement, timeout, once, extras, refused, image } = self.into();
        let mut extras = extras.unwrap_or_default();
        let refused = match Key::new(key.into()) {
            Ok(key) => {
                extras.keep = Some(key);
                refused
            }
            Err(cause) => refused.or(Some(cause)),
        };
        let (call, extras) = (call.retype(), Some(extras));
        Placed { call, placement, timeout, once, extras, refused, image }
    }

    /// At most so long from its dispatch to its end; the slave interrupts it then.
    fn timeout(self, timeout: Duration) -> Placed<T> {
        Placed { timeout: Some(timeout), ..self.into() }
    }

    /// May use less than its slave allows.
    fn limits(self, limits: TaskLimits) -> Placed<T> {
        let mut placed = self.into();
        placed.extras.get_or_insert_default().limits = Some(limits);
        placed
    }

    /// Starts from this image.
    fn image(self, image: &Image) -> Placed<T> {
        Placed { image: Some(Arc::clone(image.plan())), ..self.into() }
    }

    /// Never tried again once it may have run.
    fn once(self) -> Placed<T> {
        Placed { once: true, ..self.into() }
    }
}

/// Limits as they are sent.
pub(crate) fn limited(limits: TaskLimits) -> Box<Extras> {
    Box::new(Extras { limits: Some(limits), ..Extras::default() })
}

impl<T> Placed<T> {
    pub(crate) fn placed(self, placement: Placement) -> Self {
        Self { placement, ..self }
    }
}

impl<T> CallExt<T> for Call<T> {}
impl<T> CallExt<T> for Placed<T> {}

impl<T> From<Call<T>> for Placed<T> {
    fn from(call: Call<T>) -> Self {
        let placement = Placement::Anywhere;
        let (extras, refused, image) = (None, None, None);
        Self { call, placement, timeout: None, once: false, extras, refused, image }
    }
}

impl<T> fmt::Display for Placed<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.call.fmt(f)
    }
}

impl<T> fmt::Debug for Placed<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Placed({:?}, {:?})", self.call, self.placement)
    }
}
