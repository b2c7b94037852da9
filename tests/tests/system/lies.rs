//! Where a master's only slave lies.
//!
//! Owns: the master, and the slave's end of the link, spoken by hand.

use anyhow::{Context, Result};
use dpfw::{LinkedSlave, Master, TaskHandle};
use dpfw_protocol::hello::Role;
use dpfw_protocol::message::{Bind, Dispatch, Done, Timing, close, kind};
use dpfw_test_tasks::add;
use dpfw_tests::fleet::arrival;
use dpfw_tests::peer::{Wire, hello};
use dpfw_tests::wait::within;

/// A master whose only slave lies.
pub(super) struct Lies {
    pub(super) master: Master,
    pub(super) liar: Wire,
    pub(super) linked: LinkedSlave,
}

impl Lies {
    /// Linked in memory.
    pub(super) async fn start() -> Result<Self> {
        let (stream, mut liar) = Wire::memory();
        let master = Master::builder().attach(stream).background().build().await?;
        liar.greet(&hello(Role::Slave, "liar")?).await?;
        let linked = arrival(&master, "liar").await?;
        Ok(Self { master, liar, linked })
    }

    /// Dispatches a sum and hears of it at the slave.
    pub(super) async fn sum(&mut self) -> Result<(TaskHandle<i64>, u64)> {
        let handle = self.master.dispatch(add::call(2, 3));
        let attempt = self.dispatched().await?;
        Ok((handle, attempt))
    }

    /// Hears of the next attempt.
    pub(super) async fn dispatched(&mut self) -> Result<u64> {
        loop {
            let said = self.liar.next().await?.context("the master is gone")?;
            match said.header.kind {
                kind::DISPATCH => {
                    said.read::<Dispatch>()?;
                    return Ok(said.header.conversation.0);
                }
                kind::BIND => drop(said.read::<Bind>()?),
                kind::HEARTBEAT => {}
                other => anyhow::bail!("kind {other} came"),
            }
        }
    }

    /// Answers an attempt with a small number.
    pub(super) async fn done(&mut self, attempt: u64, result: u8) -> Result<()> {
        self.liar
            .send(attempt, &Done { timing: Timing::default(), payload: 1, kept: None }, &[result])
            .await
    }

    /// Links another one. To be begun before the first is gone: a master without any slave
    /// to come ends its tasks.
    pub(super) fn successor(&self) -> Wire {
        let (stream, next) = Wire::memory();
        self.master.attach(stream);
        next
    }

    /// The lie has ended the link, and the master goes on with another slave.
    pub(super) async fn cut_off(
        mut self,
        handle: TaskHandle<i64>,
        mut next: Wire,
        words: &str,
    ) -> Result<()> {
        let closed = self.liar.closed().await?.context("closed in silence")?;
        assert_eq!(closed.code, close::PROTOCOL, "{closed:?}");
        assert!(closed.reason.contains(words), "{closed:?}");
        next.greet(&hello(Role::Slave, "honest")?).await?;
        self.liar = next;
        let attempt = self.dispatched().await?;
        self.done(attempt, 5).await?;
        assert_eq!(within("the sum elsewhere", handle).await??, 5);
        Ok(())
    }
}
