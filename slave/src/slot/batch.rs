//! A batch in a slot: its calls one after the other, none of which waits without the slot.

use super::{Slot, micros, tell};
use crate::job::{Job, Target};
use crate::sandbox::batch::Batch;
use crate::sandbox::journal::tell_dropped;
use crate::sandbox::prepared::Prepared;
use dpfw_protocol::batch;
use dpfw_protocol::error::Cause;
use dpfw_protocol::message::Timing;
use std::sync::Arc;
use std::time::Instant;

impl Slot {
    /// Runs the calls of a batch.
    pub(super) fn batch(
        &self,
        job: &Job,
        target: &Target,
        prepared: &Arc<Prepared>,
        started: Instant,
        timing: &mut Timing,
    ) -> Result<(), Cause> {
        let granted = self.granted_on(job, target);
        let mut all = Batch::new(job.flags, &granted, granted.result.min(job.session.most));
        for args in batch::calls(&job.args) {
            let (args, sandbox, left) = all.begin(args)?;
            let mut sandbox = match sandbox {
                Some(sandbox) => sandbox,
                None => self.sandbox(job, target, prepared, left)?,
            };
            let ended = sandbox.call(target.function, args);
            all.end(sandbox, ended, || self.watch.stop_of().map(Cause::from))?;
        }
        let done = all.finish();
        let calls = done.as_ref().map_or(1, |done| done.calls);
        timing.run_us = micros(started.elapsed());
        job.bound.learn(started.elapsed() / calls.max(1));
        let done = done?;
        timing.memory = done.memory;
        tell_dropped(&job.session, job.attempt, done.dropped);
        tell(job, *timing, done.outcomes.into())
    }
}
