//! A batch in a slot: its calls one after the other, none of which waits without the slot.

use super::{Slot, Spent, micros, tell};
use crate::job::{Job, Target};
use crate::sandbox::batch::Batch;
use crate::sandbox::journal::tell_dropped;
use crate::sandbox::prepared::Prepared;
use crate::sandbox::run::put::Args;
use dpfw_protocol::error::Cause;
use dpfw_protocol::message::Timing;
use std::sync::Arc;
use std::time::Instant;

impl Slot {
    /// Runs the calls of a batch. Gives the last sandbox, which is to be put back.
    pub(super) fn batch(
        &self,
        job: &Job,
        target: &Target,
        prepared: &Arc<Prepared>,
        started: Instant,
        timing: &mut Timing,
    ) -> Result<Spent, Cause> {
        let granted = self.granted_on(job, target);
        let most = granted.result.min(job.session.most);
        let mut all = Batch::new(&job.args, job.flags, &granted, most);
        let stop = || self.watch.stop_of().map(Cause::from);
        while let Some(next) = all.next()? {
            let mut sandbox = match next.sandbox {
                Some(sandbox) => sandbox,
                None => self.sandbox(job, target, prepared, next.left)?,
            };
            if all.is_together() && sandbox.takes_batches(target.function) {
                let many = sandbox.call_batch(target.function, next.all);
                all.end_all(sandbox, many, stop)?;
            } else {
                let ended = sandbox.call(target.function, Args::Part(next.args));
                if let Some(spent) = all.end(sandbox, ended, stop)? {
                    self.keep(spent);
                }
            }
        }
        let done = all.finish();
        let calls = done.as_ref().map_or(1, |(done, _)| done.calls);
        timing.run_us = micros(started.elapsed());
        job.bound.learn(started.elapsed() / calls.max(1));
        let (done, spent) = done?;
        timing.memory = done.memory;
        tell_dropped(&job.session, job.attempt, done.dropped);
        tell(job, *timing, done.outcomes.into()).map(|()| spent)
    }
}
