//! Tasks that take long at one slave, while another one has nothing to do.

use anyhow::{Context, Result, ensure};
use dpfw::{CallExt, LinkedSlave, Master, Placed, Slave, TaskHandle, TaskResult};
use dpfw_protocol::hello::Role;
use dpfw_protocol::message::{Bind, Cancel, Done, Progress, Timing, kind};
use dpfw_test_tasks::{add, unless_stuck, unless_stuck_and_alone};
use dpfw_tests::fleet::{arrival, listening, master, slave};
use dpfw_tests::peer::{Wire, hello};
use dpfw_tests::wait::{until, within};
use std::fmt::Debug;

/// Three slaves of one slot, of which the second and the third are stuck.
struct Fleet {
    master: Master,
    slaves: [LinkedSlave; 3],
    _running: Vec<Slave>,
}

impl Fleet {
    async fn start() -> Result<Self> {
        let (mut running, mut addresses) = (Vec::new(), Vec::new());
        for name in ["s1", "s2", "s3"] {
            let (slave, address) = listening(slave(name, 1)?).await?;
            running.push(slave);
            addresses.push(address);
        }
        let master = master(&addresses).await?;
        let [s1, s2, s3] = ["s1", "s2", "s3"].map(|name| arrival(&master, name));
        let slaves = [s1.await?, s2.await?, s3.await?];
        // Both tasks are known to take no time, and the others are the next to be chosen.
        let first = &slaves[0];
        within("a task", master.dispatch(unless_stuck::call(0).on(first))).await??;
        within("another", master.dispatch(unless_stuck_and_alone::call(0).on(first))).await??;
        let fleet = Self { master, slaves, _running: running };
        for slave in &fleet.slaves[1..] {
            slave.store().put("stuck", &1).await?;
        }
        Ok(fleet)
    }

    async fn free(&self) -> Result<()> {
        for slave in &self.slaves[1..] {
            slave.store().remove("stuck").await?;
        }
        Ok(())
    }

    /// Dispatches a task that is late sooner than all that come after it, and one that is free of
    /// effects; when that has moved to the first slave, the other one is where it was.
    async fn stays<T: TaskResult + Debug>(
        &self,
        call: impl Into<Placed<T>>,
    ) -> Result<TaskHandle<T>> {
        let stays = self.master.dispatch(call);
        let mut moves = self.master.dispatch(unless_stuck::call(4));
        assert_eq!(within("the result of another slave", &mut moves).await??, 4);
        let receipt = moves.receipt().context("it has ended")?;
        assert_eq!((receipt.slave.as_str(), receipt.attempts), ("s1", 2));
        let stats = self.master.stats().await;
        assert_eq!((stats.hedged, stats.unresolved, stats.queued), (1, 1, 0), "{stats:?}");
        ensure!(!stays.is_finished(), "it is stuck");
        // Its slower attempt is stopped.
        until("the late answer", async || Ok(self.master.stats().await.stale == 1)).await?;
        self.free().await?;
        Ok(stays)
    }
}

#[tokio::test]
async fn what_is_stuck_and_free_of_effects_is_tried_elsewhere_and_what_is_not_is_not() -> Result<()>
{
    let fleet = Fleet::start().await?;
    let mut stays = fleet.stays(unless_stuck_and_alone::call(3)).await?;
    assert_eq!(within("its own slave's result", &mut stays).await??, 3);
    let receipt = stays.receipt().context("it has ended")?;
    assert_eq!(receipt.attempts, 1);
    assert_ne!(receipt.slave.as_str(), "s1");
    for slave in &fleet.slaves {
        within("a task", fleet.master.dispatch(unless_stuck::call(5).on(slave))).await??;
    }
    Ok(())
}

#[tokio::test]
async fn a_result_that_stays_at_its_slave_is_made_once_whatever_its_task_declares() -> Result<()> {
    let fleet = Fleet::start().await?;
    let kept = fleet.stays(unless_stuck::call(3).keep("kept")).await?;
    let kept = within("its own slave's result", kept).await??;
    assert_ne!(kept.slave.name().as_str(), "s1");
    assert_eq!(fleet.slaves[0].store().get::<u64>("kept").await?, None);
    Ok(())
}

/// A master and two slaves that are spoken by hand. A task of a kind that is known to take no time
/// was sent to the second slave, and, since it is late there, to the first as well.
struct Pair {
    master: Master,
    /// Each with its attempt.
    first: (Wire, u64),
    second: (Wire, u64),
    handle: TaskHandle<i64>,
}

impl Pair {
    async fn start() -> Result<Self> {
        let (stream, mut a) = Wire::memory();
        let master = Master::builder().attach(stream).background().build().await?;
        a.greet(&hello(Role::Slave, "a")?).await?;
        arrival(&master, "a").await?;
        let (stream, mut b) = Wire::memory();
        master.attach(stream);
        b.greet(&hello(Role::Slave, "b")?).await?;
        arrival(&master, "b").await?;
        let known = master.dispatch(add::call(1, 1));
        let attempt = dispatched(&mut a).await?;
        done(&mut a, attempt, 2).await?;
        assert_eq!(within("the first sum", known).await??, 2);
        let handle = master.dispatch(add::call(2, 3));
        let second = dispatched(&mut b).await?;
        let first = dispatched(&mut a).await?;
        Ok(Self { master, first: (a, first), second: (b, second), handle })
    }
}

/// Hears of the next attempt.
async fn dispatched(wire: &mut Wire) -> Result<u64> {
    loop {
        let said = wire.next().await?.context("the master is gone")?;
        match said.header.kind {
            kind::DISPATCH => return Ok(said.header.conversation.0),
            kind::BIND => drop(said.read::<Bind>()?),
            other => ensure!(other == kind::HEARTBEAT, "kind {other} came"),
        }
    }
}

async fn done(wire: &mut Wire, attempt: u64, result: u8) -> Result<()> {
    let done = Done { timing: Timing::default(), payload: 1, kept: None };
    wire.send(attempt, &done, &[result]).await
}

#[tokio::test]
async fn f09_of_two_results_the_first_counts_and_the_other_attempt_is_cancelled() -> Result<()> {
    for first_wins in [true, false] {
        let Pair { master, mut first, mut second, mut handle } = Pair::start().await?;
        let (winner, loser) = match first_wins {
            true => (&mut first, &mut second),
            false => (&mut second, &mut first),
        };
        done(&mut winner.0, winner.1, 5).await?;
        assert_eq!(within("the sum", &mut handle).await??, 5);
        assert_eq!(loser.0.expect::<Cancel>().await?.0, loser.1);
        let receipt = handle.receipt().context("it has ended")?;
        let name = if first_wins { "a" } else { "b" };
        assert_eq!((receipt.slave.as_str(), receipt.attempts), (name, 2));
        done(&mut loser.0, loser.1, 9).await?;
        until("the late answer", async || Ok(master.stats().await.stale == 1)).await?;
        let stats = master.stats().await;
        assert_eq!((stats.accepted, stats.hedged, stats.unresolved), (2, 1, 0), "{stats:?}");
    }
    Ok(())
}

#[tokio::test]
async fn of_two_attempts_the_one_that_was_out_before_tells_how_far_the_task_is() -> Result<()> {
    let Pair { mut first, mut second, mut handle, master: _master } = Pair::start().await?;
    second.0.send(second.1, &Progress { done: 3, total: 10 }, &[]).await?;
    until("it to be known", async || Ok(handle.progress().done == 3)).await?;
    first.0.send(first.1, &Progress { done: 1, total: 10 }, &[]).await?;
    done(&mut first.0, first.1, 5).await?;
    assert_eq!(within("the sum", &mut handle).await??, 5);
    assert_eq!(handle.progress().done, 3);
    Ok(())
}

#[tokio::test]
async fn a_dropped_handle_cancels_both_attempts() -> Result<()> {
    let Pair { mut first, mut second, handle, master } = Pair::start().await?;
    drop(handle);
    for at in [&mut first, &mut second] {
        assert_eq!(at.0.expect::<Cancel>().await?.0, at.1);
    }
    assert_eq!(master.stats().await.unresolved, 0);
    Ok(())
}
