//! Masters and slaves over TLS: who may do what, and who is called what.

use super::stage::unharmed;
use anyhow::{Context, Result, bail};
use dpfw::security::{CertRole, Security};
use dpfw::{Cause, Dial, Master, Namespace, PeerId, Slave};
use dpfw_link::Link;
use dpfw_protocol::hello::{Hello, Role};
use dpfw_protocol::limits::{HANDSHAKE, MAX_HANDSHAKES};
use dpfw_protocol::message::{Close, decode, kind};
use dpfw_test_tasks::add;
use dpfw_tests::certs::Place;
use dpfw_tests::fleet::{cache, listening};
use dpfw_tests::peer::hello;
use dpfw_tests::proxy::Proxy;
use dpfw_tests::wait::{until, within};
use std::collections::VecDeque;
use std::time::Instant;
use tokio::net::TcpStream;

/// A slave over TLS, with a name that nobody proves.
async fn slave(security: Security) -> Result<(Slave, String)> {
    listening(Slave::builder().slots(1).cache(cache()?).security(security)).await
}

pub(super) async fn master(security: Security, address: &str) -> Result<Master> {
    let master = Master::builder().security(security).slave(address).dial_tries(Some(1)).build();
    Ok(within("the link", master).await??)
}

#[tokio::test]
async fn tasks_run_over_tls_and_peers_are_called_what_their_certificates_say() -> Result<()> {
    let place = Place::new()?;
    let (slave, address) = slave(place.peer(CertRole::Slave, "slave-1")?).await?;
    let master = master(place.peer(CertRole::Master, "master-1")?, &address).await?;
    let mut sum = master.dispatch(add::call(2, 3));
    assert_eq!(within("the sum", &mut sum).await??, 5);
    let receipt = sum.receipt().context("it has run")?;
    assert_eq!((receipt.slave.as_str(), slave.name().as_str()), ("slave-1", "slave-1"));
    let linked = master.slaves().pop().context("it is linked")?;
    linked.store().put("key", &1).await?;
    let entry = linked.store().list("key").await?.pop().context("it is there")?;
    assert_eq!(entry.owner.to_string(), "master-1");
    Ok(())
}

#[tokio::test]
async fn a_master_that_listens_takes_slaves_alone() -> Result<()> {
    let place = Place::new()?;
    let builder = Master::builder().security(place.peer(CertRole::Master, "master-1")?);
    let running = within("the port", builder.listen("127.0.0.1:0").build_listening()).await??;
    let address = running.listening[0].to_string();
    let slave = Slave::builder().slots(1).cache(cache()?);
    let slave = slave.security(place.peer(CertRole::Slave, "slave-1")?).build()?;
    slave.dial(Dial::new(&address));
    unharmed(&running.master).await?;
    let error = self::master(place.peer(CertRole::Master, "master-2")?, &address).await;
    let error = format!("{:#}", error.err().context("it is linked")?);
    assert!(error.contains("is for a master, and links here are to slaves"), "{error}");
    Ok(())
}

#[tokio::test]
async fn f57_one_slaves_links_leave_room_for_others_at_a_master_that_listens() -> Result<()> {
    let place = Place::new()?;
    let builder = Master::builder().security(place.peer(CertRole::Master, "master-1")?);
    let running = within("the port", builder.listen("127.0.0.1:0").build_listening()).await??;
    let address = running.listening[0].to_string();
    let greedy = place.peer(CertRole::Slave, "greedy")?;
    let linked = async |security: &Security, name: &str| {
        let dial = Dial { tries: Some(1), ..Dial::new(&address) };
        let stream = dial.begin(security.clone()).connect().await?;
        let said = Hello { slots: u32::MAX, ..hello(Role::Slave, name)? };
        let mut link = Link::establish(stream, &said).await?;
        // Who is refused behind the hello is told so; who is not hears of the master's beats.
        loop {
            if let Some(frame) = link.inbox.next_frame()? {
                match frame.header.kind {
                    kind::CLOSE => bail!("{}", decode::<Close>(&frame)?.0.reason),
                    _ => return Ok(link),
                }
            }
            link.inbox.fill().await?;
        }
    };
    let mut links = Vec::new();
    for round in 0..3 {
        let some = (0..96).map(|_| linked(&greedy, "greedy"));
        for link in futures_util::future::join_all(some).await {
            match link {
                Ok(link) => links.push(link),
                Err(error) => {
                    let error = format!("{error:#}");
                    assert!(error.contains("256 links are of greedy"), "{round}: {error}");
                }
            }
        }
    }
    assert_eq!(links.len(), 256, "one certificate has them all");
    // None has as many slots as it says.
    assert!(running.master.slaves().iter().all(|slave| slave.slots() == 1024));
    links
        .push(within("another", linked(&place.peer(CertRole::Slave, "modest")?, "modest")).await??);
    // It is the links that are counted, and not those that there ever were.
    links.truncate(255);
    until("one to be gone", async || Ok(linked(&greedy, "greedy").await.is_ok())).await
}

#[tokio::test]
async fn masters_see_the_namespaces_that_their_certificates_name_and_no_others() -> Result<()> {
    let place = Place::new()?;
    let (_slave, address) = slave(place.peer(CertRole::Slave, "slave-1")?).await?;
    let of = |name: &str, namespaces: &[&str]| place.member(CertRole::Master, name, namespaces);
    let a = master(of("a", &["team-a"])?, &address).await?;
    let b = master(of("b", &["team-b"])?, &address).await?;
    let store =
        |master: &Master| Ok::<_, anyhow::Error>(master.slaves().pop().context("linked")?.store());
    // The one that is named is used without a word.
    store(&a)?.put("key", &"a").await?;
    assert!(store(&b)?.list("").await?.is_empty());
    assert_eq!(store(&b)?.get::<String>("key").await?, None);
    let friend = master(of("c", &["team-a"])?, &address).await?;
    assert_eq!(store(&friend)?.get::<String>("key").await?.as_deref(), Some("a"));
    // Asked for by name, another's is refused.
    let builder = Master::builder().security(of("d", &["team-b", "team-c"])?);
    let builder = builder.namespace(Namespace::new("team-a")?).slave(&address).dial_tries(Some(1));
    let master = within("the refusal", builder.background().build()).await??;
    let error = within("the end", master.dispatch(add::call(1, 1))).await?;
    assert!(error.is_err(), "it is linked");
    Ok(())
}

#[tokio::test]
async fn f45_a_slow_handshake_of_tls_has_no_more_time() -> Result<()> {
    let place = Place::new()?;
    let (_slave, address) = slave(place.peer(CertRole::Slave, "slave-1")?).await?;
    let friend = master(place.peer(CertRole::Master, "m1")?, &address).await?;
    let proxy = Proxy::before(&address)?;
    proxy.there().throttle(1);
    let start = Instant::now();
    let slow = master(place.peer(CertRole::Master, "m2")?, proxy.address()).await;
    assert!(slow.is_err(), "a byte a second is a handshake");
    assert!(start.elapsed() >= HANDSHAKE);
    unharmed(&friend).await
}

#[tokio::test]
async fn f57_thousands_of_connections_that_speak_no_tls() -> Result<()> {
    let place = Place::new()?;
    let (_slave, address) = slave(place.peer(CertRole::Slave, "slave-1")?).await?;
    let friend = master(place.peer(CertRole::Master, "m1")?, &address).await?;
    let mut open = VecDeque::new();
    for n in 0..3_000 {
        open.push_back(TcpStream::connect(&address).await?);
        if n % 1000 == 500 {
            unharmed(&friend).await?;
            unharmed(&master(place.peer(CertRole::Master, &format!("n{n}"))?, &address).await?)
                .await?;
        }
        if open.len() > MAX_HANDSHAKES + 100 {
            let mut oldest = open.pop_front().context("there are some")?;
            let mut said = Vec::new();
            // A reset is an end as well.
            let read = tokio::io::AsyncReadExt::read_to_end(&mut oldest, &mut said);
            let _ = within("the oldest to be ended", read).await?;
            assert!(said.is_empty(), "it was told {said:?}");
        }
    }
    unharmed(&friend).await
}

#[tokio::test]
async fn f06_bytes_that_somebody_changed_end_the_link_and_no_task() -> Result<()> {
    let place = Place::new()?;
    let (_slave, address) = slave(place.peer(CertRole::Slave, "slave-1")?).await?;
    let proxy = Proxy::before(&address)?;
    let builder = Master::builder().security(place.peer(CertRole::Master, "m1")?);
    let builder = builder.slave(proxy.address()).dial_pause(std::time::Duration::from_millis(20));
    let master = within("the link", builder.build()).await??;
    unharmed(&master).await?;
    let linked = master.slaves().pop().context("it is linked")?;
    proxy.there().flip(20, 0x10);
    // It is refused as a whole, and the task is done over a new link.
    assert_eq!(within("the sum", master.dispatch(add::call(2, 3))).await??, 5);
    until("the end of the link", async || Ok(!linked.is_linked())).await
}

#[tokio::test]
async fn an_observer_looks_and_has_nothing_run_or_written() -> Result<()> {
    let place = Place::new()?;
    let (_slave, address) = slave(place.peer(CertRole::Slave, "slave-1")?).await?;
    let team = |role, name: &str| place.member(role, name, &["team"]);
    let worker = master(team(CertRole::Master, "worker")?, &address).await?;
    let observer = master(team(CertRole::Observer, "eye")?, &address).await?;
    let there = |master: &Master| master.slaves().pop().context("it is linked");
    there(&worker)?.store().put("key", &7).await?;
    let seen = there(&observer)?;
    assert_eq!(seen.describe().await?.links, 2);
    assert_eq!(seen.store().get::<i32>("key").await?, Some(7));
    assert_eq!(seen.store().list("").await?.len(), 1);
    // It may look, and nothing else.
    let error = within("the refusal", observer.dispatch(add::call(2, 3))).await?;
    let error = error.err().context("it was run")?;
    assert!(matches!(error.cause(), Cause::NotAllowed { .. }), "{error}");
    let error = seen.store().put("key", &8).await.err().context("it was written")?;
    assert!(error.to_string().contains("may not"), "{error}");
    assert_eq!(there(&worker)?.store().get::<i32>("key").await?, Some(7));
    unharmed(&worker).await
}

#[tokio::test]
async fn who_may_drain_a_slave_is_said_by_its_operator() -> Result<()> {
    let place = Place::new()?;
    let builder = Slave::builder().slots(1).cache(cache()?);
    let builder = builder.security(place.peer(CertRole::Slave, "slave-1")?);
    let (slave, address) = listening(builder.trust([PeerId::new("operator")?])).await?;
    let of = |name: &str| place.peer(CertRole::Master, name);
    let (worker, operator) =
        (master(of("worker")?, &address).await?, master(of("operator")?, &address).await?);
    let linked = worker.slaves().pop().context("it is linked")?;
    let error = within("the refusal", linked.drain()).await?.err().context("it drains")?;
    assert!(error.to_string().contains("worker may not drain the slave"), "{error}");
    // Nor may everybody keep the others out.
    let another = master(of("another")?, &address).await?;
    assert!(within("the refusal", another.try_reserve()).await?.is_err(), "it has all slots");
    drop(within("the reservation", operator.reserve()).await??);
    unharmed(&operator).await?;
    let linked = operator.slaves().pop().context("it is linked")?;
    within("the drain", linked.drain()).await??;
    within("its end", slave.drained()).await?;
    Ok(())
}
