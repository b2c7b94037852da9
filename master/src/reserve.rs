//! Holding all slots of a slave.

use crate::handle::TaskHandle;
use crate::inbox::{Command, Inbox};
use crate::master::Master;
use crate::placed::Placed;
use crate::slave::{Linked, Slave};
use dpfw_dispatch::{Placement, ReservationId};
use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

/// A slave all of whose slots are held for this holder: nothing else runs there.
///
/// It is a [`Slave`]. Dropping it gives the slots back; calls that were dispatched through
/// it and wait then fail, those that were sent to the slave go on.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let master = dpfw::Master::builder().build().await?;
/// use quickstart_tasks::add;
///
/// let slave = master.reserve().await?;
/// assert_eq!(slave.dispatch(add::call(2, 3)).await?, 5);
/// drop(slave); // others may use it again
/// # Ok(())
/// # }
/// ```
#[must_use = "dropping a reservation gives the slots back"]
pub struct Reserved {
    slave: Slave,
    wish: Wish,
    master: Master,
}

/// A reservation that is asked for or held; given up when dropped.
pub(crate) struct Wish {
    pub(crate) id: ReservationId,
    pub(crate) inbox: Arc<Inbox>,
}

impl Drop for Wish {
    fn drop(&mut self) {
        self.inbox.tell(Command::Release(self.id));
    }
}

impl Reserved {
    pub(crate) fn new(linked: Arc<Linked>, wish: Wish, master: Master) -> Self {
        Self { slave: Slave(linked), wish, master }
    }

    /// Dispatches a call to the reserved slave.
    pub fn dispatch<T>(&self, call: impl Into<Placed<T>>) -> TaskHandle<T> {
        self.master.dispatch(call.into().placed(self.placement()))
    }
}

impl Reserved {
    pub(crate) fn master(&self) -> &Master {
        &self.master
    }

    pub(crate) fn placement(&self) -> Placement {
        Placement::Reserved(self.wish.id)
    }
}

impl Deref for Reserved {
    type Target = Slave;
    fn deref(&self) -> &Slave {
        &self.slave
    }
}

impl fmt::Debug for Reserved {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Reserved({})", self.slave)
    }
}
