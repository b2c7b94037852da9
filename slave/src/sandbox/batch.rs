//! Many calls of one attempt, one after the other.
//!
//! Owns: which sandbox has the next call, and the outcomes. Does not: make the calls; a slot
//! does, or a fiber. Invariant: what is gathered is held against the limit on results before
//! it is gathered.

use super::abi::{self, Given};
use super::host::Allowance;
use super::run::many::Many;
use super::run::{Ended, Sandbox};
use crate::limits::Granted;
use crate::slot::within;
use dpfw_protocol::batch::{self, BadBatch, First};
use dpfw_protocol::error::Cause;
use dpfw_protocol::limits::MAX_BATCH;
use dpfw_protocol::message::TaskFlags;

/// The calls of an attempt that are not made yet, and the outcomes of the others.
pub(crate) struct Batch<'a> {
    isolated: bool,
    /// Whether the guest may make the calls at one go.
    together: bool,
    /// Bytes that the outcomes may have.
    most: u64,
    left: Allowance,
    rest: &'a [u8],
    outcomes: Vec<u8>,
    /// The next call may have it.
    shared: Option<Sandbox>,
    calls: u32,
    memory: u64,
}

/// The next call of a batch, and the sandbox that the last one has left for it; if there is none,
/// a fresh one may have what is left of the attempt's allowance.
pub(crate) struct Next<'a> {
    /// Of this call alone.
    pub(crate) args: &'a [u8],
    /// All that are left, this one first, as they are encoded.
    pub(crate) all: &'a [u8],
    pub(crate) sandbox: Option<Sandbox>,
    pub(crate) left: Allowance,
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

impl<'a> Batch<'a> {
    /// Of an attempt with these calls. They share a sandbox, unless one breaks it or they were to
    /// be isolated.
    pub(crate) fn new(calls: &'a [u8], flags: TaskFlags, granted: &Granted, most: u64) -> Self {
        Self {
            isolated: flags.has(TaskFlags::ISOLATED),
            together: !flags.has(TaskFlags::ISOLATED),
            most,
            left: Allowance::of(granted),
            rest: calls,
            outcomes: Vec::new(),
            shared: None,
            calls: 0,
            memory: 0,
        }
    }

    /// Whether the guest may make the calls at one go, if it can.
    pub(crate) fn is_together(&self) -> bool {
        self.together
    }

    /// The next call; `None` if all were made.
    ///
    /// # Errors
    /// The [`Cause`] if there is no such call, or no room for its outcome.
    pub(crate) fn next(&mut self) -> Result<Option<Next<'a>>, Cause> {
        let Some(First { args, .. }) = batch::first(self.rest).map_err(bad)? else {
            return Ok(None);
        };
        // What failed before counts as well.
        within(self.outcomes.len() as u64, self.most)?;
        Ok(Some(Next { args, all: self.rest, sandbox: self.shared.take(), left: self.left }))
    }

    /// One call more has its outcome.
    fn made(&mut self) -> Result<(), Cause> {
        self.calls += 1;
        if self.calls as usize > MAX_BATCH {
            let message = format!("a batch has at most {MAX_BATCH} calls");
            return Err(Cause::BadArguments { message });
        }
        self.rest = batch::first(self.rest).map_err(bad)?.map_or(&[], |first| first.rest);
        Ok(())
    }

    /// Takes the outcome of a call and its sandbox; `stop` says why the attempt was stopped,
    /// if it was. Gives the sandbox if it is in order and no call needs it any more.
    ///
    /// # Errors
    /// The [`Cause`] with which the attempt ends, and all its calls.
    pub(crate) fn end(
        &mut self,
        mut sandbox: Sandbox,
        ended: Ended,
        stop: impl FnOnce() -> Option<Cause>,
    ) -> Result<Option<Sandbox>, Cause> {
        self.made()?;
        let cause = match ended {
            Ended::Returned(returned) => match sandbox.result(&returned) {
                Ok(given) => {
                    self.push(&given)?;
                    return Ok(self.keep(sandbox));
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
                return Ok(None);
            }
            Ended::Refused(cause) => cause,
        };
        batch::push_failure(&mut self.outcomes, cause);
        Ok(self.keep(sandbox))
    }

    /// The same of all the calls that the guest came to, at one go. One that could not take the
    /// calls is given those that are left one by one.
    ///
    /// # Errors
    /// The [`Cause`] with which the attempt ends, and all its calls.
    pub(crate) fn end_all(
        &mut self,
        mut sandbox: Sandbox,
        many: Many,
        stop: impl FnOnce() -> Option<Cause>,
    ) -> Result<(), Cause> {
        if let (Err(_), Some(stop)) = (&many.ended, stop()) {
            return Err(stop);
        }
        let before = self.calls;
        self.answered(&sandbox, &many)?;
        let cause = match &many.ended {
            Err(_) if !many.has_calls() => {
                self.together = false;
                self.left = sandbox.finish();
                return Ok(());
            }
            Err(error) => sandbox.cause(error, None),
            Ok(()) if self.calls > before || self.rest.is_empty() => {
                self.keep(sandbox);
                return Ok(());
            }
            Ok(()) => Cause::GuestAbi { message: "it replied to no call of a batch".into() },
        };
        self.memory = self.memory.max(sandbox.memory_bytes());
        self.left = sandbox.finish();
        if !self.rest.is_empty() {
            self.made()?;
            batch::push_failure(&mut self.outcomes, cause);
        }
        Ok(())
    }

    /// Takes the replies that there are.
    fn answered(&mut self, sandbox: &Sandbox, many: &Many) -> Result<(), Cause> {
        // Where they are not what they are said to be it is as if there were none.
        let Ok((data, region)) = sandbox.answered(many) else { return Ok(()) };
        within((self.outcomes.len() as u64).saturating_add(region.len() as u64), self.most)?;
        let mut replies = self.results(region)?;
        while !self.rest.is_empty()
            && let Some(reply) = abi::reply(data, &mut replies)
        {
            self.made()?;
            match reply {
                Ok(given) => self.push(&given)?,
                Err(cause) => batch::push_failure(&mut self.outcomes, cause),
            }
            replies = self.results(replies)?;
        }
        Ok(())
    }

    /// Takes the results at the beginning of replies, which the guest has written as they cross the
    /// wire, and gives what is behind them.
    fn results<'r>(&mut self, replies: &'r [u8]) -> Result<&'r [u8], Cause> {
        let mut behind = replies;
        while !self.rest.is_empty()
            && let Some(next) = batch::behind_result(behind)
        {
            self.made()?;
            behind = next;
        }
        let results = &replies[..replies.len() - behind.len()];
        within((self.outcomes.len() as u64).saturating_add(results.len() as u64), self.most)?;
        self.outcomes.extend_from_slice(results);
        Ok(behind)
    }

    fn push(&mut self, given: &Given<'_>) -> Result<(), Cause> {
        within(given.len().saturating_add(self.outcomes.len() as u64), self.most)?;
        batch::push_result(&mut self.outcomes, |out| given.append_to(out));
        Ok(())
    }

    /// Keeps a sandbox for the next call, unless that has one of its own.
    fn keep(&mut self, mut sandbox: Sandbox) -> Option<Sandbox> {
        self.memory = self.memory.max(sandbox.memory_bytes());
        if self.isolated {
            self.left = sandbox.finish();
            return Some(sandbox);
        }
        self.shared = Some(sandbox);
        None
    }

    /// All calls were made. Gives the sandbox that they shared as well.
    ///
    /// # Errors
    /// [`Cause::Limit`] if the outcomes are too large.
    pub(crate) fn finish(mut self) -> Result<(Done, Option<Sandbox>), Cause> {
        if let Some(sandbox) = &mut self.shared {
            self.left = sandbox.finish();
        }
        within(self.outcomes.len() as u64, self.most)?;
        let Self { outcomes, calls, memory, left, shared, .. } = self;
        Ok((Done { outcomes, calls, memory, dropped: left.dropped() }, shared))
    }
}

fn bad(error: BadBatch) -> Cause {
    Cause::BadArguments { message: error.to_string() }
}
