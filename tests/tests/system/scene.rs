//! Where a lying master meets a slave that has an honest one.
//!
//! Invariant: whatever is said, the honest master's task ends with its result, and nothing
//! of its was done twice.

use super::stage::unharmed;
use anyhow::{Context, Result};
use dpfw_protocol::ids::BindId;
use dpfw_protocol::message::{Dispatch, TaskFlags, close};
use dpfw_test_tasks::{add, gate};
use dpfw_tests::fleet::{Pair, entry, slave};
use dpfw_tests::peer::Wire;
use dpfw_tests::wait::within;

/// A dispatch of the session's task of that number.
pub(super) fn dispatch(bind: u32, payload: u64) -> Dispatch {
    let flags = TaskFlags::default();
    Dispatch { bind: BindId(bind), flags, budget_us: None, payload, extras: None }
}

/// A slave with an honest master, whose task runs all the while.
pub(super) struct Scene {
    pub(super) pair: Pair,
    pub(super) runs: dpfw::TaskHandle<u64>,
}

impl Scene {
    /// With the defaults.
    pub(super) async fn start() -> Result<Self> {
        let pair = Pair::start(slave("s1", 2)?).await?;
        unharmed(&pair.master).await?;
        let runs = pair.master.dispatch(gate::call("honest".into(), "end".into(), 42));
        entry(&pair.linked()?, "honest").await?;
        Ok(Self { pair, runs })
    }

    /// A peer that is linked as a master, and has declared `add` as its task 0.
    pub(super) async fn liar(&self) -> Result<Wire> {
        let mut wire = Wire::master(&self.pair.address, "liar").await?;
        wire.bind(0, add::task().module(), "add").await?;
        Ok(wire)
    }

    /// What was said has closed the liar's link for a broken protocol, in words with these.
    pub(super) async fn refused(&self, mut wire: Wire, what: &str, words: &str) -> Result<()> {
        let closed = wire.closed().await?.with_context(|| format!("{what}: closed in silence"))?;
        assert_eq!(closed.code, close::PROTOCOL, "{what}: {closed:?}");
        assert!(closed.reason.contains(words), "{what}: {closed:?}");
        unharmed(&self.pair.master).await
    }

    /// The honest master has noticed nothing.
    pub(super) async fn end(self) -> Result<()> {
        let Self { pair, runs } = self;
        pair.linked()?.store().put("end", &1).await?;
        assert_eq!(within("the honest task", runs).await??, 42);
        let stats = pair.master.stats().await;
        assert_eq!((stats.failed, stats.retried, stats.stale), (0, 0, 0), "{stats:?}");
        assert_eq!((stats.unresolved, stats.slaves), (0, 1), "{stats:?}");
        Ok(())
    }
}
