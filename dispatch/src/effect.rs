//! What the policy tells the driver to do.

use crate::event::{KeyId, Loss, ReservationId, SlaveId, TaskId, Wait};
use dpfw_protocol::error::Cause;
use dpfw_protocol::ids::AttemptId;
use std::fmt;
use std::time::Duration;

/// What is to be done, in the order given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Dispatch a task to a slave; perhaps while it is out at another one.
    Send {
        /// The slave.
        slave: SlaveId,
        /// The task.
        task: TaskId,
        /// The attempt's id: greater than all before it in this session.
        attempt: AttemptId,
        /// Time until the task's deadline.
        budget: Option<Duration>,
    },
    /// Stop an attempt. Its task has resolved; its slot is free when the slave says so.
    Cancel {
        /// The slave.
        slave: SlaveId,
        /// The attempt.
        attempt: AttemptId,
    },
    /// Ask for attempts back that have not started; at most
    /// [`MAX_LISTED`](dpfw_protocol::limits::MAX_LISTED).
    Recall {
        /// The slave.
        slave: SlaveId,
        /// The attempts.
        attempts: Vec<AttemptId>,
    },
    /// A task has ended. Emitted once for each task.
    Resolve {
        /// The task.
        task: TaskId,
        /// How.
        outcome: Outcome,
        /// How often it was started, as far as is known.
        attempts: u32,
    },
    /// Ask for all slots of a slave.
    AskReserve {
        /// The slave.
        slave: SlaveId,
        /// For whom.
        reservation: ReservationId,
        /// Whether the slave is to wait until they are free.
        wait: Wait,
    },
    /// Give all slots back, or take back the wish for them.
    ReleaseSlave {
        /// The slave.
        slave: SlaveId,
        /// Who held or wanted it.
        reservation: ReservationId,
    },
    /// A reservation holds a slave now, or never will. Emitted at most once for each.
    ReserveResolved {
        /// The reservation.
        reservation: ReservationId,
        /// The slave held.
        outcome: Result<SlaveId, ReserveError>,
    },
    /// Ask a slave which of these keys it has, to be answered by
    /// [`Event::Located`](crate::Event::Located) with the very same keys.
    Locate {
        /// The slave.
        slave: SlaveId,
        /// The keys, in their order.
        keys: Box<[KeyId]>,
    },
    /// A task that was out waits again; to be counted and logged.
    Retried {
        /// The task.
        task: TaskId,
        /// Where it was.
        slave: SlaveId,
        /// Why.
        why: Again,
    },
    /// What a slave said of an attempt came too late, or twice, or made no sense: its
    /// result is to be dropped.
    Stale {
        /// The slave.
        slave: SlaveId,
        /// The attempt.
        attempt: AttemptId,
    },
}

/// How a task ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// With the result that the driver holds: it came with the very event that is handled.
    Accepted {
        /// The slave.
        slave: SlaveId,
        /// The attempt.
        attempt: AttemptId,
    },
    /// Without.
    Failed {
        /// Why.
        cause: Cause,
        /// Where, if at a slave.
        slave: Option<SlaveId>,
    },
    /// Without, because no slave where it may run has an entry that it needs.
    KeyGone {
        /// The entry's key.
        key: KeyId,
        /// Where it was looked for last, if at a slave.
        slave: Option<SlaveId>,
    },
}

/// Why a task is dispatched again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Again {
    /// Its slave was lost and it had started, as far as is known: this counts as a try.
    Lost(Loss),
    /// Its slave was lost and it had not started.
    LostUnstarted(Loss),
    /// Its slave does not hold it any more and never said how it ended: this counts as a
    /// try.
    Forgotten,
    /// It was recalled, or the slave drains.
    Returned,
    /// The slave had no room.
    Busy,
    /// The slave had an entry no longer that it needs.
    KeyGone,
}

/// Why a slave was not reserved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ReserveError {
    /// None is idle and the reservation does not wait.
    NoneIdle,
    /// No slave is linked and none is expected.
    NoSlaves,
    /// The slave asked for is gone, or drains.
    SlaveLost,
    /// The master was shut down.
    Shutdown,
}

impl fmt::Display for ReserveError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoneIdle => "no slave is idle",
            Self::NoSlaves => "there is no slave to reserve",
            Self::SlaveLost => "the slave to reserve is gone",
            Self::Shutdown => "the master was shut down",
        })
    }
}

impl std::error::Error for ReserveError {}
