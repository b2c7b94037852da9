//! Connections that guests are granted.

use super::grants::{everyone, granting, of};
use anyhow::Result;
use dpfw::grants::{Grants, Who};
use dpfw::{CallExt, Cause, PeerId};
use dpfw_test_connecting::{ask, line, many};
use dpfw_test_tasks::add;
use dpfw_tests::wait::{until, within};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

/// Somebody who says back whatever is said; his port.
async fn echo() -> Result<u16> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let port = listener.local_addr()?.port();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let (mut from, mut to) = stream.split();
                let _ = tokio::io::copy(&mut from, &mut to).await;
            });
        }
    });
    Ok(port)
}

fn to(destinations: &[String]) -> Grants {
    everyone(|rule| rule.connect.extend(destinations.iter().flat_map(|text| text.parse())))
}

/// Why a task failed by itself.
fn said(error: &dpfw::TaskError) -> &str {
    match error.cause() {
        Cause::Failed { message } => message,
        _ => "",
    }
}

#[tokio::test]
async fn a_guest_connects_to_where_it_was_granted() -> Result<()> {
    let port = echo().await?;
    let pair = granting(to(&[format!("localhost:{port}"), "127.0.0.1:*".into()])).await?;
    for address in [format!("localhost:{port}"), format!("127.0.0.1:{port}")] {
        let answer = pair.master.dispatch(ask::call(address, "as it was".into()));
        assert_eq!(within("the answer", answer).await??, "as it was");
    }
    let resident = within("it", pair.master.spawn("k", line::new(format!("localhost:{port}"))));
    let resident = resident.await??;
    for text in ["one", "two"] {
        let answer = within("the answer", resident.call(line::say(text.into()))).await??;
        assert_eq!(answer, text, "it has one connection for all of its calls");
    }
    Ok(())
}

#[tokio::test]
async fn it_connects_to_nowhere_else() -> Result<()> {
    let port = echo().await?;
    let pair = granting(to(&[format!("localhost:{port}"), "granted.example:80".into()])).await?;
    let other = if port == 65_535 { 1 } else { port + 1 };
    for address in [
        format!("127.0.0.1:{port}"),
        format!("localhost:{other}"),
        format!("localhost.:{port}"),
        format!("localhost\0:{port}"),
        format!("localhost:{port}:80"),
        format!("LOCALHOST.EXAMPLE:{port}"),
        "granted.example:*".into(),
        "granted.example:0".into(),
        "192.0.2.1:80".into(),
        String::new(),
        "x".repeat(1 << 20),
    ] {
        let task = pair.master.dispatch(ask::call(address.clone(), "x".into()));
        let error = within("the refusal", task).await?.expect_err(&address);
        assert!(said(&error).starts_with("PermissionDenied"), "{address:.80}: {error}");
        assert!(said(&error).contains("not granted"), "{address:.80}: {error}");
    }
    Ok(())
}

#[tokio::test]
async fn f38_a_module_that_connects_is_refused_by_name_where_nothing_is_granted() -> Result<()> {
    let elsewhere = PeerId::new("somebody-else")?;
    let no_grants = [
        Grants::default(),
        everyone(|rule| rule.env.extend("A=1".parse())),
        of(Who::Master(elsewhere), |rule| rule.connect.extend("localhost:*".parse())),
        of(Who::Module(add::call(0, 0).task().module().hash()), |rule| {
            rule.connect.extend("localhost:*".parse());
        }),
    ];
    for grants in no_grants {
        let pair = granting(grants).await?;
        for _ in 0..2 {
            let task = pair.master.dispatch(ask::call("localhost:1".into(), "x".into()));
            let error = within("the refusal", task).await?.expect_err("nothing is granted");
            assert!(matches!(error.cause(), Cause::Rejected { .. }), "{error}");
            assert!(
                error.to_string().contains("`dpfw_1.connect`, which is not granted"),
                "{error}"
            );
        }
        let spawned = pair.master.spawn("k", line::new("localhost:1".into()));
        let error = within("the refusal", spawned).await?.expect_err("nor for residents");
        assert!(error.to_string().contains("`dpfw_1.connect`"), "{error}");
    }
    Ok(())
}

#[tokio::test]
async fn who_does_not_answer_or_is_not_there_is_told_as_such() -> Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let nobody = listener.local_addr()?;
    drop(listener);
    let pair = granting(to(&["127.0.0.1:*".into()])).await?;
    let task = pair.master.dispatch(ask::call(nobody.to_string(), "x".into()));
    let error = within("the refusal", task).await?.expect_err("nobody listens");
    assert!(said(&error).starts_with("ConnectionRefused"), "{error}");
    // One that waits for an answer holds no slot, and its deadline ends it and its connection.
    let silent = TcpListener::bind("127.0.0.1:0").await?;
    let call = ask::call(silent.local_addr()?.to_string(), "x".into());
    let waits = pair.master.dispatch(call.timeout(Duration::from_secs(2)));
    let (mut stream, _) = within("the connection", silent.accept()).await??;
    assert_eq!(stream.read_u8().await?, b'x');
    let slave = pair.linked()?;
    until("it to wait", async || Ok(slave.describe().await?.waiting == 1)).await?;
    assert_eq!(within("the sum", pair.master.dispatch(add::call(2, 3))).await??, 5);
    let error = within("the deadline", waits).await?.expect_err("nobody answers");
    assert_eq!(error.cause(), &Cause::DeadlineExceeded, "{error}");
    // What is written there finds nobody any more.
    let gone = async {
        while stream.write_all(b"answer").await.is_ok() {
            tokio::task::yield_now().await;
        }
    };
    within("the connection to be closed", gone).await?;
    Ok(())
}

#[tokio::test]
async fn connections_of_a_sandbox_are_few_and_end_with_it() -> Result<()> {
    let port = echo().await?;
    let pair = granting(to(&["127.0.0.1:*".into()])).await?;
    // More than the slave's guests may have together, were they not given back.
    for _ in 0..70 {
        let task = pair.master.dispatch(many::call(format!("127.0.0.1:{port}")));
        let (most, why) = within("it", task).await??;
        assert_eq!(most, 16);
        assert!(why.contains("16 connections"), "{why}");
    }
    Ok(())
}
