//! Many calls of one attempt, one after the other.
//!
//! Invariant: what is gathered is held against the limit on results before it is gathered.

use super::{Slot, micros, tell};
use crate::job::{Job, Target};
use crate::sandbox::host::Allowance;
use crate::sandbox::journal::tell_dropped;
use crate::sandbox::prepared::Prepared;
use crate::sandbox::run::{Ended, Sandbox};
use dpfw_protocol::batch;
use dpfw_protocol::error::Cause;
use dpfw_protocol::limits::MAX_BATCH;
use dpfw_protocol::message::{TaskFlags, Timing};
use std::sync::Arc;
use std::time::Instant;

/// What becomes of a sandbox after a call.
enum After {
    /// The next call may have it.
    Goes(Sandbox),
    /// It is broken, and has said all.
    Gone(Allowance),
}

impl Slot {
    /// Runs the calls of a batch. They share a sandbox, unless one breaks it or they were to
    /// be isolated.
    pub(super) fn batch(
        &self,
        job: &Job,
        target: &Target,
        prepared: &Arc<Prepared>,
        started: Instant,
        timing: &mut Timing,
    ) -> Result<(), Cause> {
        let isolated = job.flags.has(TaskFlags::ISOLATED);
        let mut left = Allowance::of(&self.granted_on(job, target));
        let mut outcomes = Vec::new();
        let mut shared: Option<Sandbox> = None;
        let mut calls = 0u32;
        for args in batch::calls(&job.args) {
            let args = args.map_err(|e| Cause::BadArguments { message: e.to_string() })?;
            calls += 1;
            if calls as usize > MAX_BATCH {
                let message = format!("a batch has at most {MAX_BATCH} calls");
                return Err(Cause::BadArguments { message });
            }
            // What failed before counts as well.
            self.check(job, outcomes.len() as u64)?;
            let sandbox = match shared.take() {
                Some(sandbox) => sandbox,
                None => self.sandbox(job, prepared, left)?,
            };
            match self.one(job, target, sandbox, args, &mut outcomes)? {
                After::Goes(mut sandbox) => {
                    timing.memory = timing.memory.max(sandbox.memory_bytes());
                    match isolated {
                        true => left = sandbox.finish(),
                        false => shared = Some(sandbox),
                    }
                }
                After::Gone(unused) => left = unused,
            }
        }
        if let Some(mut sandbox) = shared {
            left = sandbox.finish();
        }
        tell_dropped(&job.session, job.attempt, left.dropped());
        timing.run_us = micros(started.elapsed());
        job.bound.learn(started.elapsed() / calls.max(1));
        self.check(job, outcomes.len() as u64)?;
        tell(job, *timing, outcomes.into())
    }

    /// Makes one call, and appends its outcome.
    fn one(
        &self,
        job: &Job,
        target: &Target,
        mut sandbox: Sandbox,
        args: &[u8],
        outcomes: &mut Vec<u8>,
    ) -> Result<After, Cause> {
        let cause = match sandbox.call(target.function, args) {
            Ended::Returned(returned) => match sandbox.result(&returned) {
                Ok(given) => {
                    self.check(job, given.len().saturating_add(outcomes.len() as u64))?;
                    batch::push_result(outcomes, |out| given.append_to(out));
                    return Ok(After::Goes(sandbox));
                }
                Err(cause) => cause,
            },
            Ended::Broken(error) => {
                if let Some(stop) = self.watch.stop_of() {
                    return Err(stop.into());
                }
                let cause = sandbox.cause(&error, None);
                let left = sandbox.finish();
                batch::push_failure(outcomes, cause);
                return Ok(After::Gone(left));
            }
            Ended::Refused(cause) => cause,
        };
        batch::push_failure(outcomes, cause);
        Ok(After::Goes(sandbox))
    }
}
