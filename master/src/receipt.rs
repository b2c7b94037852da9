//! What a task cost, and where.

use crate::image::ImageUse;
use crate::kept::KeptAt;
use crate::slave::Slave;
use dpfw_protocol::ids::PeerId;
use dpfw_protocol::message::Timing;
use std::time::{Duration, Instant};

/// Where and when a task ran, and what it cost. The parts of the time add up to
/// [`total`](Self::total) but for what both clocks round.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Receipt {
    /// The slave that gave the result, or the error.
    pub slave: PeerId,
    /// How often the task was started, as far as is known; with an attempt beside the one that
    /// ended it.
    pub attempts: u32,
    /// The calls that were made: one, or those of a [`map`](crate::Master::map)'s chunk, whose
    /// number is chosen by what they were seen to cost unless it was told.
    pub calls: u32,
    /// When it was dispatched.
    pub dispatched: Instant,
    /// From `dispatch` to the sending of the attempt that ended it: waiting in the master, and
    /// attempts that were lost or slower.
    pub queued_here: Duration,
    /// On the way to the slave and back.
    pub travelled: Duration,
    /// From its arrival at the slave to a free slot.
    pub queued_there: Duration,
    /// Making the sandbox, and what had to be built for it.
    pub initialised: Duration,
    /// In the guest.
    pub executed: Duration,
    /// The guest's linear memory at the end, in bytes.
    pub memory_bytes: u64,
    /// How the image that it started from came to the slave, if it started from one.
    pub image: Option<ImageUse>,
    /// The result, if it stays at its slave.
    pub(crate) kept: Option<KeptAt>,
    /// The slave, of an attempt that spawned a resident there.
    pub(crate) at: Option<Slave>,
}

impl Receipt {
    pub(crate) fn new(
        slave: PeerId,
        attempts: u32,
        (dispatched, sent, ended): (Instant, Instant, Instant),
        timing: &Timing,
    ) -> Self {
        let there = Duration::from_micros(timing.queued_us)
            .saturating_add(Duration::from_micros(timing.init_us))
            .saturating_add(Duration::from_micros(timing.run_us));
        Self {
            slave,
            attempts,
            calls: 1,
            dispatched,
            queued_here: sent.saturating_duration_since(dispatched),
            travelled: ended.saturating_duration_since(sent).saturating_sub(there),
            queued_there: Duration::from_micros(timing.queued_us),
            initialised: Duration::from_micros(timing.init_us),
            executed: Duration::from_micros(timing.run_us),
            memory_bytes: timing.memory,
            image: None,
            kept: None,
            at: None,
        }
    }

    /// From `dispatch` to the end: the sum of the parts.
    pub fn total(&self) -> Duration {
        self.queued_here
            .saturating_add(self.travelled)
            .saturating_add(self.queued_there)
            .saturating_add(self.initialised)
            .saturating_add(self.executed)
    }
}

/// How far a task says that it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Done so far, in the task's own unit.
    pub done: u64,
    /// In all; 0 if the task did not say.
    pub total: u64,
}
