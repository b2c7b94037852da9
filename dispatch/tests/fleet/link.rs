//! What is under way in a simulated world, in the order of time.

use dpfw_dispatch::{Event, ReservationId, SlaveId, TaskId};
use dpfw_protocol::ids::AttemptId;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

/// What a master sends.
#[derive(Clone, Debug)]
pub(crate) enum ToSlave {
    Dispatch { attempt: AttemptId, task: TaskId, budget: Option<u64> },
    Cancel { attempt: AttemptId },
    Recall { attempts: Vec<AttemptId> },
    Reserve { wish: ReservationId, wait: bool },
    Release,
}

/// What happens at an instant.
#[derive(Clone, Debug)]
pub(crate) enum Happening {
    /// The master learns something; from a slave, unless its link is gone.
    Told(Option<SlaveId>, Event),
    Arrives(SlaveId, ToSlave),
    /// An attempt's time in its slot is over.
    Ends(SlaveId, AttemptId),
    /// A tick after its start the slave reports it.
    Reports(SlaveId, AttemptId),
    Dies(SlaveId),
    Joins(u32, u64),
    Fault(Fault),
    Submits(TaskId),
    Cancels(TaskId),
    Reserves,
    Uses(ReservationId),
    Releases(ReservationId),
    Tick,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Fault {
    Death,
    Cut,
    Drain,
}

/// The future.
#[derive(Debug, Default)]
pub(crate) struct Future {
    order: BinaryHeap<Reverse<(u64, u64)>>,
    what: BTreeMap<u64, Happening>,
    count: u64,
}

impl Future {
    pub(crate) fn add(&mut self, at: u64, what: Happening) {
        self.count += 1;
        self.order.push(Reverse((at, self.count)));
        self.what.insert(self.count, what);
    }

    pub(crate) fn next(&mut self) -> Option<(u64, Happening)> {
        let Reverse((at, number)) = self.order.pop()?;
        self.what.remove(&number).map(|what| (at, what))
    }
}
