//! What is to happen in a simulated world, in the order of time.

use crate::simulation::net::{End, LinkId, Pair};
use crate::{ReservationId, TaskId};
use dpfw_protocol::ids::AttemptId;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

/// An attempt at a slave: attempts are named within their session.
pub(crate) type Name = (LinkId, AttemptId);

/// What happens at an instant.
#[derive(Clone, Debug)]
pub(crate) enum Happening {
    /// What an end of a link said is at the other one.
    Arrives(LinkId, End),
    /// The stream takes more of what an end says.
    Writes(LinkId, End),
    /// A process looks after its sessions.
    Beats(Process),
    /// A process goes on after it stood still.
    Continues(Process),
    /// An attempt's time in its slot is over.
    Ends(usize, Name),
    /// A tick after its start a slave reports it.
    Reports(usize, Name),
    /// What an attempt waited for is there.
    Wakes(usize, Name),
    /// An attempt takes its slave's process with it.
    Dies(usize, Name),
    /// Either side wants a link to the other one.
    Dials(Pair),
    SlaveComes(usize),
    MasterComes(usize),
    Fault(Fault),
    Submits(TaskId),
    Cancels(TaskId),
    Reserves,
    Uses(usize, ReservationId),
    Releases(usize, ReservationId),
    Tick(usize),
}

/// A process by its number, and which of those that came one after another it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Process {
    pub(crate) role: End,
    pub(crate) number: usize,
    pub(crate) incarnation: u64,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Fault {
    Death,
    Cut,
    Drain,
    Partition,
    Slow,
    Stall,
    MasterDeath,
    Reconnect,
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
