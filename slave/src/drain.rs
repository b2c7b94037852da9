//! Draining: nothing new is admitted, what runs comes to its end, then the slave ends.
//!
//! Owns: how a drain goes on, and what came of it. Does not: stop what is admitted; the
//! core does. Invariant: a slave drains once, whoever asks for it and however often.

use crate::core::Core;
use crate::job::Job;
use crate::session::Session;
use dpfw_protocol::ids::PeerId;
use dpfw_protocol::limits::MAX_NAME;
use dpfw_protocol::message::close;
use dpfw_protocol::text::printable;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;
use tokio::sync::{oneshot, watch};

/// How a drain ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Drained {
    /// Everything that ran came to its end.
    Clean,
    /// The time was over; these still ran, and were interrupted.
    Interrupted(Vec<Unfinished>),
}

/// An attempt that a drain interrupted.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Unfinished {
    /// The task's name; the attempt's number of one that did not stop, though it was
    /// interrupted: it is within one long instruction, and ends with the process.
    pub task: String,
    /// Whose it was.
    pub master: PeerId,
    /// How long it had held its slot.
    pub ran: Duration,
    /// Whether it stopped.
    pub stopped: bool,
}

impl fmt::Display for Unfinished {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ran = self.ran.as_secs_f64();
        write!(
            f,
            "`{}` of {}, which ran for {ran:.1} s",
            printable(&self.task, MAX_NAME),
            self.master
        )?;
        if !self.stopped {
            f.write_str(" and does not stop")?;
        }
        Ok(())
    }
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
    /// What was interrupted. Bounded by the slots and the sandboxes that may wait.
    unfinished: Mutex<Vec<Unfinished>>,
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
        ended.ok().and_then(|outcome| outcome.clone()).unwrap_or(Drained::Clean)
    }

    /// An attempt was interrupted because the slave ends.
    pub(crate) fn interrupted(&self, job: &Job, ran: Duration) {
        self.add(job.bound.task.clone(), &job.session, ran, true);
    }

    /// The same of a call of a resident.
    pub(crate) fn interrupted_call(&self, method: &str, session: &Session, ran: Duration) {
        self.add(method.to_owned(), session, ran, true);
    }

    fn add(&self, task: String, session: &Session, ran: Duration, stopped: bool) {
        let unfinished = Unfinished { task, master: session.principal.0.clone(), ran, stopped };
        self.unfinished.lock().unwrap_or_else(PoisonError::into_inner).push(unfinished);
    }

    /// What came of it, once what ran has stopped or will not.
    fn told(&self, core: &Core) -> Drained {
        for (session, attempt, ran) in core.watches().iter().filter_map(|watch| watch.current()) {
            self.add(format!("attempt {attempt}"), &session, ran, false);
        }
        let unfinished =
            std::mem::take(&mut *self.unfinished.lock().unwrap_or_else(PoisonError::into_inner));
        match unfinished.is_empty() {
            true => Drained::Clean,
            false => Drained::Interrupted(unfinished),
        }
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
pub(crate) async fn drain(core: &Arc<Core>, limit: Duration) -> Drained {
    core.begin_drain();
    let in_time = tokio::time::timeout(limit, core.idle()).await.is_ok();
    if !in_time && core.interrupt() > 0 {
        // Whoever does not stop is named below.
        let _ = tokio::time::timeout(FAREWELL, core.idle()).await;
    }
    let drained = core.drain.told(core);
    if let Drained::Interrupted(unfinished) = &drained {
        for one in unfinished {
            tracing::info!("interrupted: {one}");
        }
    }
    let (kept, written) = oneshot::channel();
    core.store.when_kept(Box::new(move |outcome| _ = kept.send(outcome)));
    // Those who wait for the disk are answered before the links end. The end writes the rest.
    let _ = tokio::time::timeout(FAREWELL, written).await;
    let flush = async {
        for session in core.linked() {
            // A link that fails now has nothing more to say.
            let _ = session.outbox.flushed().await;
        }
    };
    // A master that does not read must not hold up the end.
    let _ = tokio::time::timeout(FAREWELL, flush).await;
    core.end(close::DRAINED, "the slave has drained");
    // Of two drains that were asked for in different ways, the first one tells.
    core.drain.outcome.send_if_modified(|outcome| {
        let is_first = outcome.is_none();
        outcome.get_or_insert_with(|| drained.clone());
        is_first
    });
    drained
}
