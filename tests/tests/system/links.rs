//! D1 to D3: who listens, who dials, and over what.

use super::stage::unharmed;
use anyhow::Result;
use dpfw::{
    AddressError, BuildError, ByteStream, Cause, Confine, ListenError, Master, Running, Security,
    Slave,
};
use dpfw_protocol::hello::Role;
use dpfw_protocol::message::close;
use dpfw_test_tasks::{add, gate};
use dpfw_tests::fleet::{self, Pair, arrival, dial, entry, linked, listening, slave};
use dpfw_tests::peer::{Wire, hello};
use dpfw_tests::wait::{is_pending, until, within};

#[tokio::test]
async fn d1_a_slave_listens_and_a_master_dials() -> Result<()> {
    let pair = Pair::simple().await?;
    let linked = pair.linked()?;
    assert_eq!(linked.address(), pair.address);
    assert_eq!((linked.name().as_str(), linked.slots(), linked.is_linked()), ("s1", 1, true));
    assert_eq!(linked.to_string(), format!("s1 at {}", pair.address));
    assert!(linked.agent().starts_with("dpfw "), "{}", linked.agent());
    unharmed(&pair.master).await
}

#[tokio::test]
async fn d2_a_master_listens_and_slaves_dial() -> Result<()> {
    let running = Master::builder().listen("127.0.0.1:0").build_listening().await?;
    let Running { master, listening } = running;
    let address = listening[0].to_string();
    // A task that is dispatched before any slave is there waits for one.
    let early = master.dispatch(add::call(1, 1));
    let slaves: Vec<Slave> = ["s1", "s2"]
        .map(|name| -> Result<Slave> {
            let slave = slave(name, 1)?.build()?;
            slave.dial(dial(&address));
            Ok(slave)
        })
        .into_iter()
        .collect::<Result<_>>()?;
    assert_eq!(within("the early task", early).await??, 2);
    for slave in &slaves {
        arrival(&master, slave.name().as_str()).await?;
    }
    drop(slaves);
    until("the slaves to leave", async || Ok(master.slaves().is_empty())).await
}

#[tokio::test]
async fn d2_a_slave_that_dials_before_the_master_listens_comes_later() -> Result<()> {
    let free = std::net::TcpListener::bind("127.0.0.1:0")?;
    let address = free.local_addr()?.to_string();
    drop(free);
    let slave = slave("s1", 1)?.build()?;
    slave.dial(dial(&address));
    let master = Master::builder().listen(&address).build().await?;
    arrival(&master, "s1").await?;
    unharmed(&master).await?;
    // The master goes, another one comes to the same port, and the slave with it.
    master.shutdown().await;
    drop(master);
    let mut next = None;
    until("the port to be free", async || {
        next = Master::builder().listen(&address).build().await.ok();
        Ok(next.is_some())
    })
    .await?;
    let master = next.expect("it listens");
    arrival(&master, "s1").await?;
    unharmed(&master).await
}

#[tokio::test]
async fn d3_several_masters_share_a_slave() -> Result<()> {
    let (_slave, address) = listening(slave("s1", 1)?).await?;
    let mut masters = Vec::new();
    for _ in 0..5 {
        masters.push(fleet::master(&[&address]).await?);
    }
    let all = masters.iter().enumerate().map(|(i, master)| {
        let i = i as i64;
        let calls: Vec<_> = (0..100).map(|n| add::call(n, i)).collect();
        async move { (i, master.parallel(calls).await) }
    });
    for (i, sums) in within("all sums", futures_util::future::join_all(all)).await? {
        assert_eq!(sums?, (0..100).map(|n| n + i).collect::<Vec<_>>());
    }
    Ok(())
}

#[tokio::test]
async fn d3_a_master_with_a_long_queue_does_not_hold_up_another() -> Result<()> {
    let (_slave, address) = listening(slave("s1", 1)?).await?;
    let (greedy, modest) = (fleet::master(&[&address]).await?, fleet::master(&[&address]).await?);
    let queue: Vec<_> = (0..20_000).map(|n| greedy.dispatch(add::call(n, 1))).collect();
    assert_eq!(within("one sum", modest.dispatch(add::call(1, 1))).await??, 2);
    assert!(!queue.iter().all(dpfw::TaskHandle::is_finished), "it waited for the queue's end");
    Ok(())
}

#[tokio::test]
async fn d3_a_process_is_master_and_slave_at_once() -> Result<()> {
    // Each is the other's slave.
    let (_one, first) = listening(slave("s1", 1)?).await?;
    let (_two, second) = listening(slave("s2", 1)?).await?;
    let (a, b) = (fleet::master(&[&second]).await?, fleet::master(&[&first]).await?);
    let both = async { tokio::try_join!(a.dispatch(add::call(1, 2)), b.dispatch(add::call(3, 4))) };
    assert_eq!(within("both", both).await??, (3, 7));
    Ok(())
}

#[tokio::test]
async fn a_slave_within_the_master_needs_no_address() -> Result<()> {
    let master = Master::builder().embed(slave("s1", 1)?).embed(slave("s2", 1)?).build().await?;
    arrival(&master, "s1").await?;
    arrival(&master, "s2").await?;
    assert_eq!(linked(&master, "s1")?.address(), "this process");
    unharmed(&master).await
}

#[tokio::test]
async fn links_run_over_any_stream() -> Result<()> {
    // The tests have no program to compile with, and the stream may lead anywhere.
    let slave = slave("s1", 1)?.confine_compiling(Confine::Never).build()?;
    // So narrow that every frame is cut.
    let (ours, theirs) = tokio::io::duplex(7);
    slave.attach(ByteStream::joined(theirs, "narrow"));
    let master = Master::builder().attach(ByteStream::joined(ours, "narrow")).build().await?;
    arrival(&master, "s1").await?;
    let text = "x".repeat(40_000);
    let length = master.dispatch(dpfw_test_tasks::checked::call(text));
    assert_eq!(within("the length", length).await??, 40_000);
    unharmed(&master).await
}

#[tokio::test]
async fn a_master_that_has_been_built_takes_further_slaves() -> Result<()> {
    let pair = Pair::simple().await?;
    let busy = pair.master.dispatch(gate::call("arrived".into(), "go".into(), 1));
    entry(&pair.linked()?, "arrived").await?;
    let waits = pair.master.dispatch(add::call(1, 1));
    let second = slave("s2", 1)?.build()?;
    let (ours, theirs) = ByteStream::pair(1 << 16);
    second.attach(theirs);
    pair.master.attach(ours);
    // The only slot is taken: it can run only on the new slave.
    let mut waits = waits;
    assert_eq!(within("the sum", &mut waits).await??, 2);
    assert_eq!(waits.receipt().map(|r| r.slave.to_string()).as_deref(), Some("s2"));
    drop(busy);
    Ok(())
}

#[tokio::test]
async fn an_unknown_address_is_told() -> Result<()> {
    let free = std::net::TcpListener::bind("127.0.0.1:0")?;
    let address = free.local_addr()?.to_string();
    drop(free);
    for (address, expected) in [
        ("nonsense", "no link to a slave: nonsense is no address that can be reached: "),
        ("no-such-host.invalid:1", "no link to a slave: no-such-host.invalid:1 "),
        (&address, "cannot be reached (tried 2 times): "),
    ] {
        let builder = Master::builder().slave(address).dial_tries(Some(2));
        let builder = builder.dial_pause(std::time::Duration::from_millis(1));
        let error = within("the refusal", builder.build()).await?.expect_err("nobody is there");
        assert!(matches!(error, BuildError::Master(_)), "{error}");
        assert!(error.to_string().contains(expected), "{error}");
    }
    Ok(())
}

#[tokio::test]
async fn beyond_loopback_nothing_is_opened_unless_told() -> Result<()> {
    let error = Master::builder().slave("192.0.2.1:9").build().await.expect_err("beyond loopback");
    assert!(error.to_string().contains("192.0.2.1:9 is beyond loopback"), "{error}");
    let error = Master::builder().listen("0.0.0.0:0").build().await.expect_err("beyond loopback");
    assert!(error.to_string().contains("0.0.0.0:0 is beyond loopback"), "{error}");
    let builder = slave("s1", 1)?;
    let error = builder.clone().build()?.listen("[::]:0").await.expect_err("beyond loopback");
    let refused = matches!(&error, ListenError::Address(AddressError::BeyondLoopback { .. }));
    assert!(refused, "{error}");
    let open = builder.security(Security::insecure()).build()?;
    let port = open.listen("0.0.0.0:0").await?.port();
    let address = format!("127.0.0.1:{port}");
    let error = fleet::master(&[&address]).await.expect_err("it is to be told as well");
    assert!(format!("{error:#}").contains("asks for no token"), "{error:#}");
    let master = Master::builder().security(Security::insecure()).slave(address).build();
    unharmed(&within("the link", master).await??).await
}

#[tokio::test]
async fn a_port_of_something_else_is_told() -> Result<()> {
    let other = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let address = other.local_addr()?.to_string();
    let speaks = tokio::spawn(async move {
        let (mut stream, _) = other.accept().await?;
        tokio::io::AsyncWriteExt::write_all(&mut stream, b"220 mail.example ESMTP\r\n").await?;
        std::io::Result::Ok(stream)
    });
    let error = within("the refusal", Master::builder().slave(&address).build()).await?;
    let text = error.expect_err("it is no slave").to_string();
    assert_eq!(text, format!("no link to a slave: {address}: the peer does not speak dpfw"));
    speaks.await??;
    Ok(())
}

#[tokio::test]
async fn two_masters_do_not_link() -> Result<()> {
    let running = Master::builder().listen("127.0.0.1:0").build_listening().await?;
    let address = running.listening[0].to_string();
    let error = within("the refusal", Master::builder().slave(&address).build()).await?;
    let text = error.expect_err("it is a master").to_string();
    assert!(text.contains("both ends of the link are masters"), "{text}");
    assert!(running.master.slaves().is_empty());
    Ok(())
}

#[tokio::test]
async fn without_any_slave_to_come_a_task_is_told_so() -> Result<()> {
    let slave = slave("s1", 1)?.build()?;
    let (ours, theirs) = ByteStream::pair(1 << 16);
    slave.attach(theirs);
    let master = Master::builder().attach(ours).build().await?;
    unharmed(&master).await?;
    drop(slave);
    let error = within("the end", master.dispatch(add::call(1, 1))).await?.expect_err("no slave");
    assert_eq!(error.cause(), &Cause::NoSlaves);
    assert_eq!(error.to_string(), "`add`: there is no slave to run the task");
    Ok(())
}

/// Waits until nothing runs on the test's runtime but the test.
async fn nothing_runs() -> Result<()> {
    let tasks = tokio::runtime::Handle::current().metrics();
    until("all tasks to end", async || Ok(tasks.num_alive_tasks() == 0)).await
}

#[tokio::test]
async fn a_dropped_master_dials_no_more_and_gives_up_its_ports() -> Result<()> {
    let (_slave, address) = listening(slave("s1", 1)?).await?;
    let (stream, mut attached) = Wire::memory();
    let builder = Master::builder().slave(&address).listen("127.0.0.1:0").attach(stream);
    let builder = builder.dial_pause(std::time::Duration::from_millis(1)).background();
    let Running { master, listening } = within("the links", builder.build_listening()).await??;
    attached.greet(&hello(Role::Slave, "s2")?).await?;
    let mut dialled = Wire::dial(&listening[0].to_string()).await?;
    dialled.greet(&hello(Role::Slave, "s3")?).await?;
    for name in ["s1", "s2", "s3"] {
        arrival(&master, name).await?;
    }
    drop(master);
    for wire in [&mut attached, &mut dialled] {
        let close = within("the end", wire.closed()).await??;
        assert_eq!(close.map(|close| close.code), Some(close::DONE));
    }
    nothing_runs().await?;
    tokio::net::TcpListener::bind(listening[0]).await?;
    Ok(())
}

#[tokio::test]
async fn a_master_that_could_not_be_built_leaves_nothing_behind() -> Result<()> {
    let (_slave, good) = listening(slave("s1", 1)?).await?;
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let silent = silent.local_addr()?.to_string();
    let builder = Master::builder().slave(&good).slave("nonsense").slave(&silent);
    let error = within("the refusal", builder.build()).await?.expect_err("no address");
    assert!(error.to_string().contains("nonsense"), "{error}");
    nothing_runs().await?;
    let building = Master::builder().listen("127.0.0.1:0").slave(&silent).dial_tries(None).build();
    assert!(is_pending(Box::pin(building)).await, "nobody answers");
    nothing_runs().await
}

#[tokio::test]
async fn a_handshake_does_not_outlive_the_master() -> Result<()> {
    let builder = Master::builder().listen("127.0.0.1:0");
    let Running { master, listening } = builder.build_listening().await?;
    let mut wire = Wire::dial(&listening[0].to_string()).await?;
    wire.preface().await?;
    master.shutdown().await;
    // The master's end may be gone already.
    let _ = wire.raw(&hello(Role::Slave, "late")?.to_bytes()?).await;
    within("the end of the link", wire.closed()).await??;
    nothing_runs().await?;
    assert!(master.slaves().is_empty());
    let (stream, mut wire) = Wire::memory();
    master.attach(stream);
    within("the refusal", wire.closed()).await??;
    Ok(())
}
