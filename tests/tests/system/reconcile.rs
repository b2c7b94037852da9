//! What a slave says every second that it holds, and what a master makes of it: nothing is
//! out for ever because one message was lost.

use super::lies::Lies;
use super::scene::dispatch;
use anyhow::{Context, Result, bail, ensure};
use dpfw::{CallExt, Cause};
use dpfw_protocol::attempts::AttemptSet;
use dpfw_protocol::ids::AttemptId;
use dpfw_protocol::message::{Cancel, Status, kind};
use dpfw_test_tasks::{add, gate};
use dpfw_tests::fleet::{Pair, entry, slave};
use dpfw_tests::peer::{Said, Wire};
use dpfw_tests::wait::within;
use std::time::Duration;

/// How often the lying slave says how it stands: more often than is listened to.
const PULSE: Duration = Duration::from_millis(100);

fn set(attempts: &[u64]) -> AttemptSet {
    attempts.iter().copied().map(AttemptId).collect()
}

/// That a slave with a slot holds these of the attempts up to one.
fn holds(upto: u64, attempts: &[u64]) -> Status {
    let running = attempts.len() as u32;
    Status {
        slots: 1,
        running,
        waiting: 0,
        sandboxes: running,
        queued: 0,
        taken: false,
        upto: AttemptId(upto),
        attempts: set(attempts),
        others: AttemptSet::default(),
    }
}

impl Lies {
    /// Says how the slave stands again and again, until it hears a frame of that kind.
    async fn pulses(&mut self, status: &Status, until: u8) -> Result<Said> {
        let mut pulse = tokio::time::interval(PULSE);
        let pulses = async {
            loop {
                tokio::select! {
                    said = self.liar.next() => {
                        let said = said?.context("the master is gone")?;
                        if said.header.kind == until {
                            return Ok(said);
                        }
                        ensure!(said.header.kind == kind::HEARTBEAT, "{said:?}");
                    }
                    _ = pulse.tick() => {}
                }
                self.liar.send(0, status, &[]).await?;
            }
        };
        within("the master to act on it", pulses).await?
    }
}

#[tokio::test]
async fn f09_what_a_slave_has_forgotten_is_dispatched_again() -> Result<()> {
    let mut scene = Lies::start().await?;
    let (handle, attempt) = scene.sum().await?;
    let again = scene.pulses(&holds(attempt, &[]), kind::DISPATCH).await?;
    let again = again.header.conversation.0;
    assert!(again > attempt);
    // What was forgotten comes after all: late, and without effect.
    scene.done(attempt, 9).await?;
    scene.done(again, 5).await?;
    assert_eq!(within("the sum", handle).await??, 5);
    let stats = scene.master.stats().await;
    assert_eq!((stats.forgotten, stats.retried, stats.stale), (1, 1, 1), "{stats:?}");
    Ok(())
}

#[tokio::test]
async fn what_may_run_once_and_was_forgotten_may_have_run() -> Result<()> {
    let mut scene = Lies::start().await?;
    let handle = scene.master.dispatch(add::call(2, 3).once());
    let attempt = scene.dispatched().await?;
    let mut handle = std::pin::pin!(handle);
    let status = holds(attempt, &[]);
    let lost = tokio::select! {
        lost = &mut handle => lost,
        said = scene.pulses(&status, kind::DISPATCH) => bail!("{said:?}"),
    };
    let error = lost.expect_err("it was forgotten");
    assert_eq!(error.cause(), &Cause::SlaveLost { may_have_run: true });
    Ok(())
}

#[tokio::test]
async fn what_a_slave_has_or_has_not_taken_in_is_left_to_it() -> Result<()> {
    let mut scene = Lies::start().await?;
    let (handle, attempt) = scene.sum().await?;
    // As often as would be needed, and once more: a statement that is not listened to twice
    // is followed by one that is.
    for status in [holds(attempt, &[attempt]), holds(attempt - 1, &[])] {
        for _ in 0..15 {
            tokio::time::timeout(PULSE, scene.liar.next()).await.ok();
            scene.liar.send(0, &status, &[]).await?;
        }
    }
    scene.done(attempt, 5).await?;
    assert_eq!(within("the sum", handle).await??, 5);
    let stats = scene.master.stats().await;
    assert_eq!((stats.forgotten, stats.recancelled, stats.stale), (0, 0, 0), "{stats:?}");
    Ok(())
}

#[tokio::test]
async fn f22_a_cancel_that_a_slave_has_lost_is_repeated() -> Result<()> {
    let mut scene = Lies::start().await?;
    let (handle, attempt) = scene.sum().await?;
    drop(handle);
    assert_eq!(scene.liar.expect::<Cancel>().await?.0, attempt);
    let again = scene.pulses(&holds(attempt, &[attempt]), kind::CANCEL).await?;
    assert_eq!(again.header.conversation.0, attempt);
    assert_eq!(scene.master.stats().await.recancelled, 1);
    Ok(())
}

/// The next status in which the attempts stand as they should.
async fn stands(wire: &mut Wire, is: impl Fn(&Status) -> bool) -> Result<Status> {
    let stands = async {
        loop {
            let said = wire.next().await?.context("the link ended")?;
            if let Ok((status, _)) = said.read::<Status>()
                && is(&status)
            {
                return Ok(status);
            }
        }
    };
    within("the slave to say so", stands).await?
}

#[tokio::test]
async fn a_slave_tells_what_it_holds_wherever_it_is() -> Result<()> {
    let pair = Pair::start(slave("s1", 1)?).await?;
    let sum = pair.master.dispatch(gate::call("honest".into(), "end".into(), 42));
    entry(&pair.linked()?, "honest").await?;
    assert!(pair.linked()?.store().put("end", &1).await.is_ok());
    assert_eq!(within("the module to be there", sum).await??, 42);
    let mut wire = Wire::master(&pair.address, "m2").await?;
    wire.bind(0, add::task().module(), "gate").await?;
    wire.bind(1, add::task().module(), "add").await?;
    // Nobody ever sends it, so it is in no cache either.
    let text = "(module (func (export \"f\") (drop (i32.const 4730219))))";
    let module = dpfw_tests::wasm::module(text)?;
    wire.bind(2, &module, "f").await?;
    let args = dpfw_protocol::payload::encode(&("held", "go", 7))?.into_bytes();
    wire.send(1, &dispatch(0, args.len() as u64), &args).await?;
    wire.send(2, &dispatch(1, 3), &[0x92, 2, 3]).await?;
    wire.send(4, &dispatch(2, 1), &[0x90]).await?;
    wire.announce(5, &dispatch(1, 1 << 20)).await?;
    // In its slot, queued, waiting for its module, arriving.
    let status = stands(&mut wire, |status| status.attempts == set(&[1])).await?;
    assert_eq!((status.upto, status.others), (AttemptId(5), set(&[2, 4, 5])));
    wire.send(5, &Cancel {}, &[]).await?;
    pair.linked()?.store().put("go", &1).await?;
    let status = stands(&mut wire, |status| status.others == set(&[4])).await?;
    assert_eq!((status.upto, status.attempts), (AttemptId(5), set(&[])));
    Ok(())
}
