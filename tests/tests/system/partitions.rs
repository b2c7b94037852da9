//! F1 to F3, F10: links that stand and carry nothing, seen from both ends.

use super::scene::{Scene, dispatch};
use super::stage::unharmed;
use anyhow::Result;
use dpfw::{ByteStream, Cause, Master};
use dpfw_protocol::message::Heartbeat;
use dpfw_test_tasks::{add, gate, gate_once};
use dpfw_tests::fleet::{arrival, entry, linked, listening, slave};
use dpfw_tests::lines::Lines;
use dpfw_tests::peer::Wire;
use dpfw_tests::proxy::Proxy;
use dpfw_tests::wait::{until, within};
use std::time::Duration;

/// A master loses its slave, which goes on to live: what may be repeated is done elsewhere,
/// the slave stops what it ran, and is the master's again when the network is healed.
async fn is_lost_and_comes_back(name: &str, fault: impl Fn(&Proxy)) -> Result<()> {
    let (slave_there, address) = listening(slave(name, 2)?).await?;
    let proxy = Proxy::before(&address)?;
    let builder = Master::builder().slave(proxy.address());
    let master = builder.dial_pause(Duration::from_millis(20)).dial_tries(None).build().await?;
    let beside = dpfw_tests::fleet::master(&[&address]).await?;
    let before = linked(&master, name)?;
    let once = master.dispatch(gate_once::call("once".into(), "go".into(), 1));
    let again = master.dispatch(gate::call("again".into(), "go".into(), 7));
    entry(&before, "once").await?;
    entry(&before, "again").await?;
    let spare = slave(&format!("{name}-spare"), 1)?.build()?;
    let (ours, theirs) = ByteStream::pair(1 << 16);
    spare.attach(theirs);
    master.attach(ours);
    let elsewhere = arrival(&master, spare.name().as_str()).await?;
    fault(&proxy);
    let error = within("the loss", once).await?.expect_err("it may not be repeated");
    assert_eq!(error.cause(), &Cause::SlaveLost { may_have_run: true });
    assert!(!before.is_linked());
    entry(&elsewhere, "again").await?;
    elsewhere.store().put("go", &1).await?;
    assert_eq!(within("the result from elsewhere", again).await??, 7);
    // Both of its slots were taken by what would never end.
    let sums = beside.parallel([1, 2, 3, 4].map(|i| add::call(i, 1)));
    assert_eq!(within("the slots of the slave", sums).await??, [2, 3, 4, 5]);
    until("the slave to be idle", async || {
        let described = linked(&beside, name)?.describe().await?;
        Ok((described.running, described.queued) == (0, 0))
    })
    .await?;
    proxy.heal();
    // No other slave is left to take it.
    drop(spare);
    let mut sum = master.dispatch(add::call(1, 1));
    assert_eq!(within("a task of the slave that is back", &mut sum).await??, 2);
    assert_eq!(sum.receipt().map(|receipt| receipt.slave.to_string()).as_deref(), Some(name));
    assert_ne!(before, arrival(&master, name).await?);
    let stats = master.stats().await;
    assert_eq!((stats.accepted, stats.failed, stats.stale), (2, 1, 0), "{stats:?}");
    drop(slave_there);
    Ok(())
}

#[tokio::test]
async fn f01_f02_f03_partitions_in_both_directions_and_in_one() -> Result<()> {
    let lines = Lines::capture();
    // Side by side: each takes as long as silence may last.
    tokio::try_join!(
        is_lost_and_comes_back("parted", Proxy::part),
        is_lost_and_comes_back("deaf", |proxy| proxy.there().swallow()),
        is_lost_and_comes_back("dumb", |proxy| proxy.back().swallow()),
        // Nobody takes the bytes away, as behind a cable that was cut.
        is_lost_and_comes_back("held", |proxy| {
            proxy.there().hold();
            proxy.back().hold();
        }),
    )?;
    for name in ["parted", "dumb", "held"] {
        lines
            .wait_for(&["a slave is gone", &format!("slave={name} "), "was silent for 5s"])
            .await?;
    }
    // The slave that hears nothing can still say so; its process is not taken for dead.
    let words = "the peer closed the link: nothing was heard of this side for 5s";
    lines.wait_for(&["a slave is gone", "slave=deaf ", words]).await?;
    Ok(())
}

#[tokio::test]
async fn f03_f10_a_master_that_does_not_read_is_cut_off() -> Result<()> {
    const LARGE: u32 = 16 << 20;
    let lines = Lines::capture();
    let scene = Scene::start().await?;
    let mut wire = Wire::master(&scene.pair.address, "glutton").await?;
    wire.bind(0, add::task().module(), "big").await?;
    let args = [&[0x91, 0xce][..], &LARGE.to_be_bytes()].concat();
    for id in 1..=60 {
        wire.send(id, &dispatch(0, args.len() as u64), &args).await?;
    }
    let linked = scene.pair.linked()?;
    // It sends signs of life, and never reads: its results fill the slave up to a bound, and
    // the rest is not begun. Others go on.
    until("the bound on what waits for it", async || {
        wire.send(0, &Heartbeat {}, &[]).await?;
        unharmed(&scene.pair.master).await?;
        let described = linked.describe().await?;
        Ok(described.running == 1 && described.queued > 10)
    })
    .await?;
    until("the end of its link", async || {
        let alive = wire.send(0, &Heartbeat {}, &[]).await.is_ok();
        unharmed(&scene.pair.master).await?;
        Ok(!alive)
    })
    .await?;
    lines.wait_for(&["a master is gone", "glutton"]).await?;
    until("what it began to be over", async || Ok(linked.describe().await?.queued == 0)).await?;
    drop(wire);
    scene.end().await
}
