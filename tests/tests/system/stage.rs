//! Where something bad happens beside something good.
//!
//! Owns: a master, a slave with two slots, and a bystander: a task that runs from the
//! beginning to the end of the test. Invariant: what is bad ends with an error; then the
//! bystander ends with its result, the slave does the next task, and nothing else happened.

use anyhow::Result;
use dpfw::{Cause, LinkedSlave, Master, Placed, SlaveBuilder, TaskError, TaskHandle};
use dpfw_test_tasks::{add, gate};
use dpfw_tests::fleet::{self, Pair};
use dpfw_tests::wait::within;
use std::fmt::Debug;

/// See the module's page.
#[derive(Debug)]
pub(crate) struct Stage {
    pub(crate) pair: Pair,
    pub(crate) linked: LinkedSlave,
    bystander: TaskHandle<u64>,
    failures: u64,
}

impl Stage {
    /// With the defaults.
    pub(crate) async fn start() -> Result<Self> {
        Self::of(fleet::slave("s1", 2)?).await
    }

    /// With this slave, named `s1`, of two slots.
    pub(crate) async fn of(slave: SlaveBuilder) -> Result<Self> {
        let pair = Pair::start(slave).await?;
        let linked = pair.linked()?;
        let call = gate::call("bystander".into(), "end".into(), 42);
        let bystander = pair.master.dispatch(call);
        fleet::entry(&linked, "bystander").await?;
        Ok(Self { pair, linked, bystander, failures: 0 })
    }

    pub(crate) fn master(&self) -> &Master {
        &self.pair.master
    }

    /// Dispatches what has to fail.
    pub(crate) async fn failure<T: serde::de::DeserializeOwned + Debug>(
        &mut self,
        call: impl Into<Placed<T>>,
    ) -> Result<TaskError> {
        let call = call.into();
        let what = format!("the failure of {call}");
        let outcome = within(&what, self.pair.master.dispatch(call)).await?;
        self.failures += 1;
        Ok(outcome.expect_err(&what))
    }

    /// The same; what matters is the cause.
    pub(crate) async fn cause<T: serde::de::DeserializeOwned + Debug>(
        &mut self,
        call: impl Into<Placed<T>>,
    ) -> Result<Cause> {
        Ok(self.failure(call).await?.cause().clone())
    }

    /// Nothing else was disturbed.
    pub(crate) async fn end(self) -> Result<()> {
        let failures = self.failures;
        self.end_with(failures).await
    }

    /// The same, where the policy knows of so many failures: results that the caller cannot
    /// decode and arguments that were never sent are none of its.
    pub(crate) async fn end_with(self, failures: u64) -> Result<()> {
        self.end_after(failures, 0).await
    }

    /// The same, whatever has failed.
    pub(crate) async fn end_after_anything(self) -> Result<()> {
        let failures = self.pair.master.stats().await.failed;
        self.end_with(failures).await
    }

    /// The same, where so many tasks were cancelled at the slave: what it says of them then
    /// is late.
    pub(crate) async fn end_after(self, failures: u64, cancelled: u64) -> Result<()> {
        let Self { pair, linked, bystander, .. } = self;
        assert!(!bystander.is_finished(), "the bystander has ended early");
        let sum = pair.master.dispatch(add::call(2, 3));
        assert_eq!(within("the next task", sum).await??, 5);
        linked.store().put("end", &1).await?;
        assert_eq!(within("the bystander", bystander).await??, 42);
        let stats = pair.master.stats().await;
        let expected = (failures, 0, cancelled);
        assert_eq!((stats.failed, stats.retried, stats.stale), expected, "{stats:?}");
        assert_eq!((stats.unresolved, stats.slaves), (0, 1), "{stats:?}");
        Ok(())
    }
}

/// A slave does a task as if nothing had been.
pub(crate) async fn unharmed(master: &Master) -> Result<()> {
    assert_eq!(within("the next task", master.dispatch(add::call(2, 3))).await??, 5);
    Ok(())
}
