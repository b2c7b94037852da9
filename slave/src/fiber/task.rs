//! An attempt at a task from its start to its end, as a future: it waits where its host calls
//! wait.
//!
//! Invariant: its memory is given back before its end is known. So a result is copied out of
//! it, large ones too: one that stayed would hold one of the sandboxes that may wait.

use super::control::Control;
use super::{Ended, Running};
use crate::core::Core;
use crate::grants::Grant;
use crate::job::{Job, Target};
use crate::kept;
use crate::limits::Granted;
use crate::sandbox::batch::Batch;
use crate::sandbox::host::{Allowance, Holder, Host, Lent};
use crate::sandbox::prepared::Prepared;
use crate::sandbox::run::put::Args;
use crate::sandbox::run::{Ended as Returns, Sandbox};
use crate::session::Session;
use crate::slot::{micros, within};
use dpfw_protocol::error::Cause;
use dpfw_protocol::ids::AttemptId;
use dpfw_protocol::message::{TaskFlags, Timing};
use dpfw_protocol::payload::Payload;
use dpfw_protocol::recycle::Arrived;
use std::sync::Arc;
use std::time::Instant;

/// What an attempt needs of its job.
struct Attempt {
    prepared: Arc<Prepared>,
    grant: Option<Arc<Grant>>,
    function: usize,
    lent: Arc<Lent>,
    control: Arc<Control>,
    session: Arc<Session>,
    id: AttemptId,
    args: Arrived,
    flags: TaskFlags,
    /// Whether its result stays here.
    keeps: bool,
    granted: Granted,
    deadline: Option<Instant>,
}

/// Makes the future of an attempt, which takes the job's arguments.
pub(super) fn begin(
    core: &Arc<Core>,
    job: &mut Job,
    target: &Target,
    prepared: Arc<Prepared>,
    control: &Arc<Control>,
) -> Running {
    let granted = core.limits.granted(job.limits.as_deref());
    let granted = granted.beyond(&target.module);
    let holder = Holder::Fiber(Arc::clone(control));
    let attempt = Attempt {
        prepared,
        grant: target.grant.clone(),
        function: target.function,
        lent: Arc::new(Lent { core: Arc::clone(core), holder }),
        control: Arc::clone(control),
        session: Arc::clone(&job.session),
        id: job.attempt,
        args: std::mem::take(&mut job.args),
        flags: job.flags,
        keeps: job.keep().is_some(),
        granted,
        deadline: job.deadline,
    };
    Box::pin(attempt.run())
}

impl Attempt {
    async fn run(mut self) -> Ended {
        let (mut timing, mut calls, deadline) = (Timing::default(), 1, self.deadline);
        let whole = async {
            match self.flags.has(TaskFlags::BATCH) {
                true => self.batch(&mut timing, &mut calls).await,
                false => self.single(&mut timing).await,
            }
        };
        let outcome = match deadline {
            None => whole.await,
            Some(deadline) => match tokio::time::timeout_at(deadline.into(), whole).await {
                Ok(outcome) => outcome,
                Err(_) => Err(Cause::DeadlineExceeded),
            },
        };
        Ended { outcome, timing, calls }
    }

    /// A fresh sandbox, with what is left of the attempt's allowance.
    async fn sandbox(&self, left: Allowance) -> Result<Sandbox, Cause> {
        let host = Host::new(&self.lent, &self.session, self.id, left);
        let host = host.granted(self.grant.as_ref(), &self.prepared.engine);
        Sandbox::new_waiting(&self.prepared, host, &self.control).await
    }

    /// Bytes that its result may have.
    fn most(&self) -> u64 {
        self.granted.result.min(self.session.most)
    }

    /// Whether its result may be so long.
    fn check(&self, len: u64) -> Result<(), Cause> {
        match self.keeps {
            true => kept::check(&self.lent.core, len, self.granted.result),
            false => within(len, self.most()),
        }
    }

    async fn single(&mut self, timing: &mut Timing) -> Result<Payload, Cause> {
        let started = Instant::now();
        let mut sandbox = self.sandbox(Allowance::of(&self.granted)).await?;
        timing.init_us = micros(started.elapsed());
        let args = Args::Whole(std::mem::take(&mut self.args));
        let ended = sandbox.call_waiting(self.function, args).await;
        timing.memory = sandbox.memory_bytes();
        sandbox.finish();
        match ended {
            Returns::Returned(returned) => {
                let given = sandbox.result(&returned)?;
                self.check(given.len())?;
                // It is in memory, so its length fits.
                let mut bytes = Vec::with_capacity(given.len() as usize);
                given.append_to(&mut bytes);
                Ok(bytes.into())
            }
            Returns::Broken(error) => Err(sandbox.cause(&error, None)),
            Returns::Refused(cause) => Err(cause),
        }
    }

    async fn batch(&self, timing: &mut Timing, calls: &mut u32) -> Result<Payload, Cause> {
        let mut all = Batch::new(&self.args, self.flags, &self.granted, self.most());
        // Why is known to whoever stopped it.
        let stop = || self.control.must_stop().then_some(Cause::Cancelled);
        while let Some(next) = all.next()? {
            let mut sandbox = match next.sandbox {
                Some(sandbox) => sandbox,
                None => self.sandbox(next.left).await?,
            };
            if all.is_together() && sandbox.takes_batches(self.function) {
                let many = sandbox.call_batch_waiting(self.function, next.all).await;
                all.end_all(sandbox, many, stop)?;
            } else {
                let ended = sandbox.call_waiting(self.function, Args::Part(next.args)).await;
                // It has one place, and so is gone before the next is made.
                drop(all.end(sandbox, ended, stop)?);
            }
        }
        let (done, _) = all.finish()?;
        (*calls, timing.memory) = (done.calls, done.memory);
        Ok(done.outcomes.into())
    }
}
