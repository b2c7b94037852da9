//! F4 to F6, F12: a network that is slow, breaks off, and changes what it carries.

use super::stage::unharmed;
use anyhow::Result;
use dpfw::{CallExt, Cause, Master, Slave};
use dpfw_test_tasks::{Bytes, add, big, checked, echo};
use dpfw_tests::fleet::{arrival, listening, quiet, slave};
use dpfw_tests::lines::Lines;
use dpfw_tests::proxy::Proxy;
use dpfw_tests::wait::{until, within};
use std::time::Duration;

/// A master that dials its only slave through a bad network, for ever.
struct Behind {
    master: Master,
    proxy: Proxy,
    _slave: Slave,
}

impl Behind {
    async fn start(name: &str, slots: usize) -> Result<Self> {
        let (slave, address) = listening(slave(name, slots)?).await?;
        let proxy = Proxy::before(&address)?;
        let builder = Master::builder().slave(proxy.address()).dial_tries(None);
        let master = builder.dial_pause(Duration::from_millis(10)).build().await?;
        unharmed(&master).await?;
        Ok(Self { master, proxy, _slave: slave })
    }
}

#[tokio::test]
async fn f04_f12_a_slow_link_that_carries_much_is_alive_and_small_tasks_pass() -> Result<()> {
    // Takes longer than silence may last, by itself.
    const RATE: u64 = 500_000;
    const LARGE: usize = 4 << 20;
    let Behind { master, proxy, _slave } = Behind::start("slow", 2).await?;
    for way in [proxy.there(), proxy.back()] {
        way.throttle(RATE);
    }
    let before = arrival(&master, "slow").await?;
    let mut large = master.dispatch(checked::call("x".repeat(LARGE)));
    let mut passed = 0;
    let length = loop {
        tokio::select! {
            biased;
            length = &mut large => break length?,
            sum = master.dispatch(add::call(1, 1)) => { assert_eq!(sum?, 2); passed += 1; }
        }
    };
    assert_eq!(length, LARGE);
    // Ahead of each there may be half a MiB, an eighth of all.
    assert!(passed >= 4, "only {passed} small tasks passed");
    // As slow the other way, and late as well.
    proxy.back().delay(Duration::from_millis(300));
    let back = within("the result", master.dispatch(big::call(1 << 20))).await??;
    assert_eq!(back.len(), 1 << 20);
    assert!(before.is_linked(), "it was taken for dead");
    assert_eq!(master.stats().await.retried, 0);
    Ok(())
}

#[tokio::test]
async fn f05_a_connection_that_is_reset_in_mid_frame() -> Result<()> {
    let Behind { master, proxy, _slave } = Behind::start("reset", 1).await?;
    let noise: Bytes =
        (0..1u32 << 20).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    for (there, back) in
        [(300_000, None), (40, None), (10_000_000, Some(300_001)), (10_000_000, Some(3))]
    {
        let before = arrival(&master, "reset").await?;
        proxy.there().reset_after(there);
        if let Some(back) = back {
            proxy.back().reset_after(back);
        }
        let echoed = within("the echo", master.dispatch(echo::call(noise.clone()))).await??;
        assert!(echoed == noise, "the part of a frame was taken for a whole");
        assert!(!before.is_linked(), "nothing was reset");
        proxy.there().reset_after(u64::MAX >> 1);
    }
    let before = arrival(&master, "reset").await?;
    proxy.back().reset_after(500_000);
    let lost = within("the loss", master.dispatch(big::call(1 << 20).once())).await?;
    let error = lost.expect_err("it may not be repeated");
    assert_eq!(error.cause(), &Cause::SlaveLost { may_have_run: true });
    assert!(!before.is_linked());
    quiet(&master).await
}

#[tokio::test]
async fn f03_a_connection_that_is_half_closed_is_over_at_once() -> Result<()> {
    let lines = Lines::capture();
    let Behind { master, proxy, _slave } = Behind::start("half", 1).await?;
    for way in [proxy.back(), proxy.there()] {
        let before = arrival(&master, "half").await?;
        way.end();
        let sum = master.dispatch(add::call(2, 3));
        until("the end of the link", async || Ok(!before.is_linked())).await?;
        proxy.heal();
        assert_eq!(within("the sum by another link", sum).await??, 5);
    }
    // Not by silence, and not by what is said behind the end.
    assert!(lines.with(&["a slave is gone", "slave=half ", "silent"]).is_empty());
    quiet(&master).await
}

#[tokio::test]
async fn f06_corrupt_bytes_close_the_link_with_a_reason() -> Result<()> {
    let lines = Lines::capture();
    let Behind { master, proxy, _slave } = Behind::start("garbled", 1).await?;
    for (way, at_slave) in [(proxy.there(), true), (proxy.back(), false)] {
        let before = arrival(&master, "garbled").await?;
        way.garble();
        let sum = master.dispatch(add::call(2, 3));
        until("the end of the link", async || Ok(!before.is_linked())).await?;
        proxy.heal();
        assert_eq!(within("the sum by another link", sum).await??, 5);
        // Who was told wrong bytes says so, and the other hears it.
        let broken = "the peer broke the protocol";
        let told = format!("the peer closed the link: {broken}");
        let (slave_says, master_says) = if at_slave { (broken, &*told) } else { (&*told, broken) };
        lines.wait_for(&["a master is gone", slave_says]).await?;
        lines.wait_for(&["a slave is gone", "slave=garbled ", master_says]).await?;
    }
    quiet(&master).await
}

#[tokio::test]
async fn f06_every_handle_resolves_whichever_bit_is_changed() -> Result<()> {
    let Behind { master, proxy, _slave } = Behind::start("flipped", 1).await?;
    // From the header of an answer to its last byte. A longer length is noticed by nobody
    // before so much has come: then it is the deadline that ends the task.
    for place in [0, 2, 4, 5, 6, 8, 15, 16, 18, 19, 22, 30, 34] {
        let before = arrival(&master, "flipped").await?;
        unharmed(&master).await?;
        proxy.back().flip(place, 1);
        let sum = master.dispatch(add::call(2, 3).timeout(Duration::from_secs(2)));
        // What it says is not held against anything: what was changed in a result itself is
        // noticed by nobody who only cuts frames.
        let _ = within(&format!("the end, with place {place} changed"), sum).await?;
        proxy.reset();
        until("the end of the link", async || Ok(!before.is_linked())).await?;
    }
    arrival(&master, "flipped").await?;
    unharmed(&master).await?;
    quiet(&master).await
}
