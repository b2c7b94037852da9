//! What a master sees of a slave, and has it do, beside tasks.

use anyhow::Result;
use dpfw::{CallExt, Cause, Drained};
use dpfw_test_tasks::{add, gate, spin};
use dpfw_tests::fleet::{Pair, entry, master, slave};
use dpfw_tests::wait::{is_pending, until, within};
use std::time::Duration;

#[tokio::test]
async fn a_slave_tells_how_it_is() -> Result<()> {
    let pair = Pair::simple().await?;
    let there = pair.linked()?;
    let idle = within("the description", there.describe()).await??;
    assert_eq!((idle.slots, idle.running, idle.queued, idle.links), (1, 0, 0, 1));
    assert_eq!((idle.store_entries, idle.store_bytes, idle.modules), (0, 0, 0));
    assert!(idle.memory_bytes > 1 << 20 && idle.load >= 0.0 && !idle.draining, "{idle:?}");
    assert_eq!(idle.agent, there.agent());
    assert!(idle.uptime < Duration::from_secs(600), "{idle:?}");

    let other = master(&[&pair.address]).await?;
    let runs = pair.master.dispatch(gate::call("arrived".into(), "go".into(), 7));
    entry(&there, "arrived").await?;
    let waits: Vec<_> = (0..3).map(|i| other.dispatch(add::call(i, 1))).collect();
    let busy = async || {
        let now = there.describe().await?;
        Ok((now.running, now.sandboxes, now.links, now.modules) == (1, 1, 2, 1) && now.queued > 0)
    };
    until("all tasks to be told", busy).await?;
    let now = there.describe().await?;
    assert_eq!((now.store_entries, now.waiting), (1, 0));
    assert!(now.store_bytes > 0, "{now:?}");

    there.store().put("go", &1).await?;
    assert_eq!(within("the gate", runs).await??, 7);
    for (i, handle) in (0..).zip(waits) {
        assert_eq!(within("what waited", handle).await??, i + 1);
    }
    until("it to be idle", async || Ok(there.describe().await?.running == 0)).await?;
    Ok(())
}

#[tokio::test]
async fn a_slave_drains_when_a_master_asks_for_it() -> Result<()> {
    let pair = Pair::simple().await?;
    let there = pair.linked()?;
    let runs = pair.master.dispatch(gate::call("arrived".into(), "go".into(), 7));
    entry(&there, "arrived").await?;
    let mut left = std::pin::pin!(there.left());
    let mut drained = std::pin::pin!(pair.slave.drained());
    // Once or twice is the same.
    for _ in 0..2 {
        within("the drain", there.drain()).await??;
    }
    let now = within("the description", there.describe()).await??;
    assert!(now.draining && now.running == 1, "{now:?}");
    assert!(is_pending(&mut left).await && is_pending(&mut drained).await, "it was not waited for");
    there.store().put("go", &1).await?;
    assert_eq!(within("what ran", runs).await??, 7);
    within("the end", left).await??;
    assert_eq!(within("the end", drained).await?, Drained::Clean);
    assert!(!there.is_linked());
    let error = within("the end", there.describe()).await?.expect_err("it is gone");
    assert_eq!(
        (error.slave(), error.to_string().as_str()),
        (there.name(), "the link to s1 is lost: the slave has drained")
    );
    assert_eq!(within("the end", there.drain()).await?, Err(error));
    Ok(())
}

#[tokio::test]
async fn a_drain_that_a_master_asks_for_has_the_slaves_limit() -> Result<()> {
    let pair = Pair::start(slave("s1", 1)?.drain_limit(Duration::from_millis(50))).await?;
    let there = pair.linked()?;
    let spins = pair.master.dispatch(spin::call("spins".into()).once());
    entry(&there, "spins").await?;
    within("the drain", there.drain()).await??;
    let Drained::Interrupted(left) = within("the end", pair.slave.drained()).await? else {
        panic!("it never ends");
    };
    assert_eq!(left.len(), 1, "{left:?}");
    let error = within("the end", spins).await?.expect_err("it never ends");
    assert!(matches!(error.cause(), Cause::SlaveLost { may_have_run: true }), "{error}");
    Ok(())
}

#[tokio::test]
async fn a_link_that_breaks_is_no_leave() -> Result<()> {
    let pair = Pair::simple().await?;
    let there = pair.linked()?;
    let Pair { master, slave, .. } = pair;
    within("the end", master.shutdown()).await?;
    assert!(within("the end", there.left()).await?.is_err());
    drop(slave);
    Ok(())
}
