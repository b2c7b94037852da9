//! Draining: nothing new is admitted, what runs comes to its end, then the slave ends.
//!
//! Owns: how a drain goes on, and what came of it. Does not: stop what is admitted; the
//! core does. Invariant: a slave drains once, whoever asks for it and however often.

use crate::core::Core;
use dpfw_protocol::message::close;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tokio::sync::watch;

/// How a drain ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Drained {
    /// Everything that ran came to its end.
    Clean,
    /// The time was over; so many attempts still ran, and were interrupted.
    Interrupted(usize),
}

/// How long a drained slave waits for guests that were interrupted, and then for its last
/// words to be written.
const FAREWELL: Duration = Duration::from_secs(2);

/// What a slave knows of its drain.
#[derive(Debug, Default)]
pub(crate) struct Drain {
    /// How long one that a master asks for waits for what runs.
    limit: OnceLock<Duration>,
    /// A master has asked for it.
    asked: AtomicBool,
    outcome: watch::Sender<Option<Drained>>,
}

impl Drain {
    /// Once, by the builder.
    pub(crate) fn set_limit(&self, limit: Duration) {
        let _ = self.limit.set(limit);
    }

    /// What came of the drain, as soon as there was one.
    pub(crate) async fn outcome(&self) -> Drained {
        let mut outcome = self.outcome.subscribe();
        let ended = outcome.wait_for(Option::is_some).await;
        // The sender is here, so there is an outcome.
        ended.ok().and_then(|outcome| *outcome).unwrap_or(Drained::Clean)
    }
}

/// A master asks the slave to drain. On the links' runtime.
pub(crate) fn begin(core: &Arc<Core>) {
    if core.drain.asked.swap(true, Ordering::AcqRel) {
        return;
    }
    // At once, so that what the master says next is answered by a slave that drains.
    core.begin_drain();
    let limit = core.drain.limit.get().copied().unwrap_or(dpfw_protocol::limits::DRAIN);
    let core = Arc::clone(core);
    tokio::spawn(async move { drain(&core, limit).await });
}

/// Drains and ends the slave.
pub(crate) async fn drain(core: &Core, limit: Duration) -> Drained {
    core.begin_drain();
    let in_time = tokio::time::timeout(limit, core.idle()).await.is_ok();
    let left = if in_time { 0 } else { core.interrupt() };
    if left > 0 && tokio::time::timeout(FAREWELL, core.idle()).await.is_err() {
        tracing::error!("guests do not stop, though they were interrupted");
    }
    let flush = async {
        for session in core.linked() {
            // A link that fails now has nothing more to say.
            let _ = session.outbox.flushed().await;
        }
    };
    // A master that does not read must not hold up the end.
    let _ = tokio::time::timeout(FAREWELL, flush).await;
    core.end(close::DRAINED, "the slave has drained");
    let drained = match left {
        0 => Drained::Clean,
        left => Drained::Interrupted(left),
    };
    // Of two drains that were asked for in different ways, the first one tells.
    core.drain.outcome.send_if_modified(|outcome| {
        let is_first = outcome.is_none();
        outcome.get_or_insert(drained);
        is_first
    });
    drained
}
