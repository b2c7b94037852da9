//! What the driver tells the policy.

use crate::time::Time;
use dpfw_protocol::error::Cause;
use dpfw_protocol::ids::AttemptId;
use dpfw_protocol::message::TaskFlags;
use std::fmt;
use std::time::Duration;

macro_rules! number {
    ($(#[$doc:meta])* $name:ident($inner:ty)) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub $inner);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

number! {
    /// A task; given by the driver, ascending, never reused.
    TaskId(u64)
}
number! {
    /// A session with a slave; given by the driver, never reused. A slave that reconnects
    /// has a new one.
    SlaveId(u64)
}
number! {
    /// A wish to hold all slots of a slave, and the holding; given by the driver,
    /// ascending, never reused.
    ReservationId(u64)
}
number! {
    /// Which task function it is, for what its runs cost; given by the driver, dense from 0.
    KindId(u32)
}
number! {
    /// A key of the keyed store, interned by the driver.
    KeyId(u64)
}

/// What the policy needs to know of a task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TaskSpec {
    /// Which task function.
    pub kind: KindId,
    /// How it may be tried.
    pub flags: TaskFlags,
    /// When it must have ended.
    pub deadline: Option<Time>,
    /// Where it may run.
    pub placement: Placement,
    /// Calls in the batch; 1 if it is none.
    pub calls: u32,
}

/// Where a task may run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Placement {
    /// On any slave.
    Anywhere,
    /// On that slave and never elsewhere.
    On(SlaveId),
    /// On the slave that the reservation holds, while it holds it.
    Reserved(ReservationId),
    /// On slaves that have all of these keys, and never elsewhere. If no slave is known to
    /// have them the slaves are asked; if none has, the task ends.
    At(Box<[KeyId]>),
    /// On any slave, rather on one that has these keys. If what is under them can be made,
    /// and [`Event::KeyCost`] says at what cost, it waits for such a slave as long as that is
    /// expected to take less; else it goes elsewhere when none of them has room.
    Near(Box<[KeyId]>),
}

/// Whether a reservation waits until a slave is free.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wait {
    /// First come, first served.
    Yes,
    /// It fails at once if none is idle.
    No,
}

/// How an attempt ended at its slave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// With a result.
    Done {
        /// How long it held its slot.
        run: Duration,
    },
    /// Without.
    Failed {
        /// Why.
        cause: Cause,
    },
    /// Before it began: an entry that it needs is not there.
    KeyGone {
        /// The entry's key.
        key: KeyId,
    },
}

/// How a session with a slave ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loss {
    /// The connection was closed without a goodbye: its process may have died, of what it
    /// was running perhaps.
    Died,
    /// Silence, corrupt bytes, or a newer session: nobody is suspect.
    Unreachable,
    /// It said goodbye, after a drain.
    Left,
}

/// What happened. Ids that the policy does not know are harmless in every event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A task is to be run. It resolves exactly once, if its id is new.
    Submit {
        /// Its id.
        task: TaskId,
        /// What it is.
        spec: TaskSpec,
    },
    /// Its handle was dropped.
    Cancel {
        /// The task.
        task: TaskId,
    },
    /// A session with a slave has begun.
    SlaveJoined {
        /// Its id.
        slave: SlaveId,
        /// Tasks it runs at once.
        slots: u32,
        /// Attempts of this session that it holds at most, running or not.
        attempts: u32,
    },
    /// A slave told how it stands.
    SlaveStatus {
        /// The slave.
        slave: SlaveId,
        /// Tasks it runs at once.
        slots: u32,
        /// Whether another session holds all of them.
        taken: bool,
        /// This session's attempts that are running. All that it holds is told by
        /// [`Holds`](Self::Holds).
        running: Vec<AttemptId>,
    },
    /// A slave has taken in every attempt up to one, and holds exactly these of them: they
    /// wait for a module or for a slot, run, or have ended without the last byte of their
    /// end being said. What differs from the policy's account in two successive events is
    /// put right: what the slave has forgotten is lost as with a session, what nobody wants
    /// any more is cancelled again. Attempts beyond `upto` are under way.
    Holds {
        /// The slave.
        slave: SlaveId,
        /// The greatest id that it has taken in.
        upto: AttemptId,
        /// All that it holds; in the order of their ids this costs least.
        attempts: Vec<AttemptId>,
    },
    /// A slave admits nothing new. It gives back what has not started.
    SlaveDraining {
        /// The slave.
        slave: SlaveId,
    },
    /// A session has ended.
    SlaveLost {
        /// The slave.
        slave: SlaveId,
        /// How.
        loss: Loss,
    },
    /// Attempts have begun to run.
    Started {
        /// The slave.
        slave: SlaveId,
        /// The attempts.
        attempts: Vec<AttemptId>,
    },
    /// Attempts that had begun wait for something, and hold no slot until they are said to
    /// have [`Started`](Self::Started) again.
    Waiting {
        /// The slave.
        slave: SlaveId,
        /// The attempts.
        attempts: Vec<AttemptId>,
    },
    /// Attempts that have not begun wait for their module, or for a sandbox that may wait, and hold
    /// no slot until they begin or are said to be [`Queued`](Self::Queued). Nothing more of their
    /// kind is sent there meanwhile.
    Loading {
        /// The slave.
        slave: SlaveId,
        /// The attempts.
        attempts: Vec<AttemptId>,
    },
    /// The module of attempts is there: they wait for a slot.
    Queued {
        /// The slave.
        slave: SlaveId,
        /// The attempts.
        attempts: Vec<AttemptId>,
    },
    /// An attempt has ended. The driver holds its result until `handle` returns.
    Finished {
        /// The slave.
        slave: SlaveId,
        /// The attempt.
        attempt: AttemptId,
        /// How.
        end: End,
    },
    /// A slave gave attempts back unstarted.
    Returned {
        /// The slave.
        slave: SlaveId,
        /// The attempts.
        attempts: Vec<AttemptId>,
    },
    /// A slave has an entry under a key.
    KeyAt {
        /// The slave.
        slave: SlaveId,
        /// The key.
        key: KeyId,
    },
    /// A slave has it no longer.
    KeyGone {
        /// The slave.
        slave: SlaveId,
        /// The key.
        key: KeyId,
    },
    /// A slave answered [`Effect::Locate`](crate::Effect::Locate).
    Located {
        /// The slave.
        slave: SlaveId,
        /// The keys that it was asked for.
        keys: Box<[KeyId]>,
        /// Those of them that it has.
        held: Vec<KeyId>,
    },
    /// What it costs a slave to make what is under a key, if it has not got it.
    KeyCost {
        /// The key.
        key: KeyId,
        /// How long it takes.
        cost: Duration,
    },
    /// Nothing is to be known of a key any more; no task that waits names it.
    KeyForgotten {
        /// The key.
        key: KeyId,
    },
    /// Nothing is to be known of a kind any more; no task that waits is of it. Its number may
    /// be given to another.
    KindForgotten {
        /// The kind.
        kind: KindId,
    },
    /// All slots of a slave are wanted. Resolves exactly once, unless released before.
    Reserve {
        /// Its id.
        reservation: ReservationId,
        /// Which slave; any if `None`.
        slave: Option<SlaveId>,
        /// Whether to wait for it.
        wait: Wait,
    },
    /// A reservation is given up, whether it is held yet or not.
    Release {
        /// The reservation.
        reservation: ReservationId,
    },
    /// A slave answered [`Effect::AskReserve`](crate::Effect::AskReserve). An answer to one
    /// that was given up in between has no effect.
    ReserveAnswered {
        /// The slave.
        slave: SlaveId,
        /// For whom it was asked.
        reservation: ReservationId,
        /// Whether all its slots are held for this session now.
        granted: bool,
    },
    /// Beyond those linked no slave will come: none is dialled or listened for.
    NoMoreSlaves,
    /// Slaves may come again. So it is at the start.
    SlavesExpected,
    /// The master ends: everything resolves now.
    Shutdown,
    /// Time has passed; see [`Core::next_wake`](crate::Core::next_wake).
    Tick,
}
