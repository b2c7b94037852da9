//! F7: a peer that links anew while its older link still looks alive.

use super::scene::dispatch;
use super::stage::unharmed;
use anyhow::{Context, Result};
use dpfw::{ByteStream, Dial, Master, PeerId, Running};
use dpfw_protocol::hello::Role;
use dpfw_protocol::ids::SessionId;
use dpfw_protocol::message::{Close, Dispatch, Done, Timing, close, kind};
use dpfw_test_tasks::{add, gate};
use dpfw_tests::fleet::{self, Pair, arrival, dial, entry, listening, slave};
use dpfw_tests::lines::Lines;
use dpfw_tests::peer::{Wire, hello};
use dpfw_tests::proxy::Proxy;
use dpfw_tests::wait::{until, within};
use std::time::Duration;

fn superseded(closed: Option<Close>) -> Result<()> {
    let closed = closed.context("closed in silence")?;
    assert_eq!(closed.code, close::SUPERSEDED, "{closed:?}");
    assert_eq!(closed.reason, "a newer link of the same peer took over");
    Ok(())
}

#[tokio::test]
async fn f07_a_slave_serves_the_newer_session_of_a_master() -> Result<()> {
    let pair = Pair::simple().await?;
    let linked = pair.linked()?;
    unharmed(&pair.master).await?;
    let mut ours = hello(Role::Master, "again")?;
    let mut older = Wire::dial(&pair.address).await?;
    older.greet(&ours).await?;
    older.bind(0, add::task().module(), "spin").await?;
    let args = [&[0x91, 0xa5][..], b"spins"].concat();
    older.send(1, &dispatch(0, args.len() as u64), &args).await?;
    entry(&linked, "spins").await?;
    ours.session = Some(SessionId(3));
    let mut newer = Wire::dial(&pair.address).await?;
    newer.greet(&ours).await?;
    superseded(older.closed().await?)?;
    // The only slot was taken by what never ends.
    newer.bind(0, add::task().module(), "add").await?;
    newer.send(1, &dispatch(0, 3), &[0x92, 2, 3]).await?;
    assert_eq!(newer.expect::<Done>().await?.2, [5]);
    // One that was begun before, and comes late, is not the newer one.
    ours.session = Some(SessionId(2));
    let mut late = Wire::dial(&pair.address).await?;
    late.greet(&ours).await?;
    superseded(late.closed().await?)?;
    newer.send(2, &dispatch(0, 3), &[0x92, 2, 3]).await?;
    assert_eq!(newer.expect::<Done>().await?.0, 2);
    // Another master of that name, and another one of that process, are others.
    let mut others = Vec::new();
    for serial in [1, 2] {
        let mut wire = Wire::dial(&pair.address).await?;
        ours.serial = serial;
        wire.greet(&ours).await?;
        others.push(wire);
    }
    newer.send(3, &dispatch(0, 3), &[0x92, 2, 3]).await?;
    assert_eq!(newer.expect::<Done>().await?.0, 3);
    assert_eq!(linked.describe().await?.links, 4);
    unharmed(&pair.master).await
}

/// Hears of the next attempt.
async fn dispatched(wire: &mut Wire) -> Result<u64> {
    loop {
        let said = wire.next().await?.context("the master is gone")?;
        if said.header.kind == kind::DISPATCH {
            said.read::<Dispatch>()?;
            return Ok(said.header.conversation.0);
        }
    }
}

#[tokio::test]
async fn f07_a_master_counts_what_ran_on_the_older_link_as_lost() -> Result<()> {
    let running = Master::builder().listen("127.0.0.1:0").build_listening().await?;
    let Running { master, listening } = running;
    let address = listening[0].to_string();
    let ours = hello(Role::Slave, "again")?;
    let mut older = Wire::dial(&address).await?;
    older.greet(&ours).await?;
    let before = arrival(&master, "again").await?;
    let sum = master.dispatch(add::call(2, 3));
    dispatched(&mut older).await?;
    let mut newer = Wire::dial(&address).await?;
    newer.greet(&ours).await?;
    let attempt = dispatched(&mut newer).await?;
    superseded(older.closed().await?)?;
    assert!(!before.is_linked());
    newer.send(attempt, &Done { timing: Timing::default(), payload: 1, kept: None }, &[5]).await?;
    assert_eq!(within("the sum", sum).await??, 5);
    assert_eq!(master.slaves().len(), 1);
    let stats = master.stats().await;
    assert_eq!((stats.accepted, stats.retried, stats.stale), (1, 1, 0), "{stats:?}");
    Ok(())
}

#[tokio::test]
async fn f07_a_slave_that_dials_again_is_there_at_once() -> Result<()> {
    let lines = Lines::capture();
    let running = Master::builder().listen("127.0.0.1:0").build_listening().await?;
    let Running { master, listening } = running;
    let proxy = Proxy::before(&listening[0].to_string())?;
    let slave = slave("stranded", 1)?.build()?;
    slave.dial(dial(proxy.address()));
    let before = arrival(&master, "stranded").await?;
    let runs = master.dispatch(gate::call("arrived".into(), "go".into(), 7));
    entry(&before, "arrived").await?;
    before.store().remove("arrived").await?;
    // To the master the link stands, silent for no time yet.
    proxy.strand();
    until("the older link to end", async || Ok(!before.is_linked())).await?;
    let after = arrival(&master, "stranded").await?;
    entry(&after, "arrived").await?;
    after.store().put("go", &1).await?;
    assert_eq!(within("the task", runs).await??, 7);
    assert!(lines.with(&["a slave is gone", "slave=stranded ", "silent"]).is_empty());
    unharmed(&master).await
}

#[tokio::test]
async fn f07_a_slave_under_two_addresses_is_one_slave() -> Result<()> {
    let lines = Lines::capture();
    let (slave, first) = listening(slave("twice", 1)?).await?;
    let second = slave.listen("127.0.0.1:0").await?.to_string();
    let proxy = Proxy::before(&second)?;
    let builder = Master::builder().slave(&first).slave(proxy.address());
    let builder = builder.dial_pause(Duration::from_millis(1));
    let master = within("the links", builder.build()).await??;
    assert_eq!(master.slaves().len(), 1);
    let links = || lines.with(&["a slave is linked", "slave=twice "]).len();
    let begun = links();
    assert!((1..=2).contains(&begun), "{begun} links");
    // Nobody dials it anew as long as it is linked: there would be time for hundreds.
    for _ in 0..200 {
        unharmed(&master).await?;
    }
    assert_eq!(links(), begun);
    // When that link is lost it is linked again, whoever dials.
    arrival(&master, "twice").await?;
    proxy.reset();
    until("a link", async || Ok(master.slaves().iter().any(dpfw::LinkedSlave::is_linked))).await?;
    unharmed(&master).await?;
    assert_eq!(master.slaves().len(), 1);
    Ok(())
}

#[tokio::test]
async fn f07_a_slave_that_dials_a_master_at_two_addresses_has_one_link() -> Result<()> {
    let lines = Lines::capture();
    let builder = Master::builder().listen("127.0.0.1:0").listen("127.0.0.1:0");
    let Running { master, listening } = builder.build_listening().await?;
    let slave = slave("eager", 1)?.build()?;
    let links = || lines.with(&["a slave is linked", "slave=eager "]).len();
    for (n, address) in listening.iter().enumerate() {
        slave.dial(Dial { pause: Duration::from_millis(1), ..dial(address.to_string()) });
        until("a further link", async || Ok(links() > n)).await?;
    }
    for _ in 0..200 {
        unharmed(&master).await?;
    }
    assert_eq!((links(), master.slaves().len()), (2, 1));
    Ok(())
}

#[tokio::test]
async fn f07_masters_of_one_name_and_one_process_are_two() -> Result<()> {
    let (_slave, address) = listening(slave("s1", 1)?).await?;
    let same = PeerId::new("same")?;
    let named = || Master::builder().name(same.clone()).slave(&address).build();
    let (one, two) = (named().await?, named().await?);
    for _ in 0..20 {
        unharmed(&one).await?;
        unharmed(&two).await?;
    }
    for master in [&one, &two] {
        assert_eq!(master.stats().await.retried, 0);
    }
    // And so are slaves.
    let running = Master::builder().listen("127.0.0.1:0").build_listening().await?;
    let both = [slave("s1", 1)?.build()?, slave("s1", 1)?.build()?];
    for slave in &both {
        let (ours, theirs) = ByteStream::pair(1 << 16);
        slave.attach(theirs);
        running.master.attach(ours);
    }
    until("both slaves", async || Ok(running.master.slaves().len() == 2)).await?;
    drop(fleet::linked(&running.master, "s1")?);
    Ok(())
}
