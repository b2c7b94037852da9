//! A call with where and until when.

use crate::image::{Image, Plan};
use crate::slave::Slave;
use dpfw_dispatch::Placement;
use dpfw_protocol::call::Call;
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
    pub(crate) limits: Option<Box<TaskLimits>>,
    pub(crate) image: Option<Arc<Plan>>,
}

/// Says where a call is to run, and until when.
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

    /// At most so long from its dispatch to its end; the slave interrupts it then.
    fn timeout(self, timeout: Duration) -> Placed<T> {
        Placed { timeout: Some(timeout), ..self.into() }
    }

    /// May use less than its slave allows.
    fn limits(self, limits: TaskLimits) -> Placed<T> {
        Placed { limits: Some(Box::new(limits)), ..self.into() }
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
        Self { call, placement, timeout: None, once: false, limits: None, image: None }
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
