//! F2, F11, F57: how often who is not there, or has no room, is dialled.

use super::stage::unharmed;
use anyhow::{Context, Result};
use dpfw::{Cause, Dial, Limits, Master};
use dpfw_protocol::hello::Role;
use dpfw_protocol::message::{Bind, Close, Dispatch, Done, Timing, close};
use dpfw_test_tasks::add;
use dpfw_tests::fleet::{arrival, listening, slave};
use dpfw_tests::lines::Lines;
use dpfw_tests::peer::{Wire, hello};
use dpfw_tests::proxy::Proxy;
use dpfw_tests::wait::within;
use std::time::Duration;

/// Between two tries.
const PAUSE: Duration = Duration::from_millis(1);

#[tokio::test]
async fn a_slave_gives_up_a_port_where_no_master_is() -> Result<()> {
    let slave = slave("s1", 1)?.build()?;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?.to_string();
    let others = async {
        // One link does not count; what comes after it does, from the first on.
        Wire::accept(&listener).await?.raw(b"220 mail.example ESMTP\r\n").await?;
        Wire::accept(&listener).await?.greet(&hello(Role::Master, "short")?).await?;
        for _ in 0..3 {
            Wire::accept(&listener).await?.raw(b"220 mail.example ESMTP\r\n").await?;
        }
        anyhow::Ok(())
    };
    let dial = Dial { tries: Some(3), pause: PAUSE, ..Dial::new(&address) };
    let dialled = async { tokio::join!(slave.dial_until(dial), others) };
    let (error, others) = within("the end of dialling", dialled).await?;
    others?;
    let text = error.context("it ended for another reason")?.to_string();
    let words = "gives no link (tried 3 times): the peer does not speak dpfw";
    assert_eq!(text, format!("{address} {words}"));
    Ok(())
}

#[tokio::test]
async fn f57_a_full_slave_is_dialled_until_the_tries_are_used_up() -> Result<()> {
    let lines = Lines::capture();
    let mut limits = Limits::default();
    limits.links = 1;
    let (_slave, address) = listening(slave("full", 1)?.limits(limits)).await?;
    let mut first = Wire::master(&address, "first").await?;
    first.bind(0, add::task().module(), "add").await?;
    let builder = Master::builder().slave(&address).dial_tries(Some(3)).dial_pause(PAUSE);
    let master = builder.background().build().await?;
    let none = within("the end of dialling", master.dispatch(add::call(1, 1))).await?;
    assert_eq!(none.expect_err("there is no slave").cause(), &Cause::NoSlaves);
    let given_up = "gives no link (tried 3 times): the peer closed the link: busy: the slave has 1";
    lines.wait_for(&["dialling is given up", &format!("{address} {given_up}")]).await?;
    // For ever if asked: it is there when there is room.
    let builder = Master::builder().slave(&address).dial_tries(None).dial_pause(PAUSE);
    let master = builder.background().build().await?;
    let waits = master.dispatch(add::call(1, 1));
    lines.wait_for(&["no link", "error=the peer closed the link: busy: the slave has 1"]).await?;
    drop(first);
    assert_eq!(within("the task", waits).await??, 2);
    Ok(())
}

#[tokio::test]
async fn f02_what_a_slave_never_took_is_no_try() -> Result<()> {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?.to_string();
    let builder = Master::builder().slave(&address).dial_tries(None).dial_pause(PAUSE);
    let master = builder.background().build().await?;
    let mut sum = master.dispatch(add::call(2, 3));
    // So a slave appears that does not hear the master: its hello is there at once, and its
    // handshake fails later.
    for turn in 0..10 {
        let mut wire = Wire::accept(&listener).await?;
        wire.greet(&hello(Role::Slave, "deaf")?).await?;
        wire.expect::<Bind>().await?;
        let (attempt, ..) = wire.expect::<Dispatch>().await?;
        if turn < 9 {
            let reason = "the handshake took longer than 2s".into();
            wire.send(0, &Close { code: close::REFUSED, reason }, &[]).await?;
            wire.closed().await?;
            continue;
        }
        wire.send(attempt, &Done { timing: Timing::default(), payload: 1, kept: None }, &[5])
            .await?;
        assert_eq!(within("the sum", &mut sum).await??, 5);
    }
    assert_eq!(sum.receipt().map(|receipt| receipt.attempts), Some(1));
    Ok(())
}

#[tokio::test]
async fn f11_after_a_long_partition_both_who_dial_find_their_way_back() -> Result<()> {
    let running = Master::builder().listen("127.0.0.1:0").build_listening().await?;
    let proxy = Proxy::before(&running.listening[0].to_string())?;
    let slave = slave("back", 1)?.build()?;
    slave.dial(Dial { tries: None, pause: PAUSE, ..Dial::new(proxy.address()) });
    let before = arrival(&running.master, "back").await?;
    // Handshakes take their two seconds and fail, and the link is lost by silence.
    proxy.part();
    let waits = running.master.dispatch(add::call(1, 1));
    dpfw_tests::wait::until("the loss", async || Ok(!before.is_linked())).await?;
    proxy.heal();
    arrival(&running.master, "back").await?;
    assert_eq!(within("the task that waited", waits).await??, 2);
    unharmed(&running.master).await
}
