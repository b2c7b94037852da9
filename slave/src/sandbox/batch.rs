//! Many calls of one attempt, one after the other.
//!
//! Owns: which sandbox has the next call, and the outcomes. Does not: make the calls; a slot
//! does, or a fiber. Invariant: what is gathered is held against the limit on results before
//! it is gathered.

use super::host::Allowance;
use super::run::{Ended, Sandbox};
use crate::limits::Granted;
use crate::slot::within;
use dpfw_protocol::batch;
use dpfw_protocol::error::Cause;
use dpfw_protocol::limits::MAX_BATCH;
use dpfw_protocol::message::TaskFlags;

/// The calls of an attempt that are not made yet, and the outcomes of the others.
pub(crate) struct Batch {
    isolated: bool,
    /// Bytes that the outcomes may have.
    most: u64,
    left: Allowance,
    outcomes: Vec<u8>,
    /// The next call may have it.
    shared: Option<Sandbox>,
    calls: u32,
    memory: u64,
}

/// What came of a batch.
pub(crate) struct Done {
    pub(crate) outcomes: Vec<u8>,
    pub(crate) calls: u32,
    /// The most memory that one of its sandboxes had.
    pub(crate) memory: u64,
    /// Lines of log that were not sent.
    pub(crate) dropped: u64,
}

impl Batch {
    /// Of an attempt. Its calls share a sandbox, unless one breaks it or they were to be
    /// isolated.
    pub(crate) fn new(flags: TaskFlags, granted: &Granted, most: u64) -> Self {
        Self {
            isolated: flags.has(TaskFlags::ISOLATED),
            most,
            left: Allowance::of(granted),
            outcomes: Vec::new(),
            shared: None,
            calls: 0,
            memory: 0,
        }
    }

    /// Takes the next call, and the sandbox that the last one has left for it; if there is
    /// none, a fresh one may have what is left of the attempt's allowance.
    ///
    /// # Errors
    /// The [`Cause`] if there is no such call, or no room for its outcome.
    pub(crate) fn begin<'a, E: std::fmt::Display>(
        &mut self,
        args: Result<&'a [u8], E>,
    ) -> Result<(&'a [u8], Option<Sandbox>, Allowance), Cause> {
        let args = args.map_err(|e| Cause::BadArguments { message: e.to_string() })?;
        self.calls += 1;
        if self.calls as usize > MAX_BATCH {
            let message = format!("a batch has at most {MAX_BATCH} calls");
            return Err(Cause::BadArguments { message });
        }
        // What failed before counts as well.
        within(self.outcomes.len() as u64, self.most)?;
        Ok((args, self.shared.take(), self.left))
    }

    /// Takes the outcome of a call and its sandbox; `stop` says why the attempt was stopped,
    /// if it was.
    ///
    /// # Errors
    /// The [`Cause`] with which the attempt ends, and all its calls.
    pub(crate) fn end(
        &mut self,
        mut sandbox: Sandbox,
        ended: Ended,
        stop: impl FnOnce() -> Option<Cause>,
    ) -> Result<(), Cause> {
        let cause = match ended {
            Ended::Returned(returned) => match sandbox.result(&returned) {
                Ok(given) => {
                    within(given.len().saturating_add(self.outcomes.len() as u64), self.most)?;
                    batch::push_result(&mut self.outcomes, |out| given.append_to(out));
                    self.keep(sandbox);
                    return Ok(());
                }
                Err(cause) => cause,
            },
            Ended::Broken(error) => {
                if let Some(stop) = stop() {
                    return Err(stop);
                }
                let cause = sandbox.cause(&error, None);
                self.left = sandbox.finish();
                batch::push_failure(&mut self.outcomes, cause);
                return Ok(());
            }
            Ended::Refused(cause) => cause,
        };
        batch::push_failure(&mut self.outcomes, cause);
        self.keep(sandbox);
        Ok(())
    }

    fn keep(&mut self, mut sandbox: Sandbox) {
        self.memory = self.memory.max(sandbox.memory_bytes());
        match self.isolated {
            true => self.left = sandbox.finish(),
            false => self.shared = Some(sandbox),
        }
    }

    /// All calls were made.
    ///
    /// # Errors
    /// [`Cause::Limit`] if the outcomes are too large.
    pub(crate) fn finish(mut self) -> Result<Done, Cause> {
        if let Some(mut sandbox) = self.shared.take() {
            self.left = sandbox.finish();
        }
        within(self.outcomes.len() as u64, self.most)?;
        let Self { outcomes, calls, memory, left, .. } = self;
        Ok(Done { outcomes, calls, memory, dropped: left.dropped() })
    }
}
