//! F47, F50, F61: masters and slaves that break the rules of a program's streams.

use super::lies::Lies;
use anyhow::{Context, Result};
use dpfw::{Cause, Module, Program};
use dpfw_protocol::error::Failure;
use dpfw_protocol::ids::{AttemptId, BindId, Port};
use dpfw_protocol::limits::{CHUNK, WINDOW};
use dpfw_protocol::message::{
    Abandon, Credit, Dispatch, Done, Failed, Started, TaskFlags, Timing, Waiting, close, kind,
};
use dpfw_protocol::program::{Invocation, START};
use dpfw_tests::fleet::Pair;
use dpfw_tests::peer::{Said, Wire};
use dpfw_tests::programs::PROBE;
use dpfw_tests::wait::within;
use tokio::io::AsyncReadExt;

fn input(attempt: u64) -> u64 {
    AttemptId(attempt).port(Port::Input).0
}

fn output(attempt: u64) -> u64 {
    AttemptId(attempt).port(Port::Output).0
}

/// A master by hand that has dispatched the probe as attempt 1.
async fn dispatched(pair: &Pair, what: &str, has_input: bool) -> Result<Wire> {
    let mut wire = Wire::master(&pair.address, "liar").await?;
    // An honest master has brought the module.
    let hello = Program::new(PROBE).arg("hello");
    within("the module to be there", pair.master.output(hello)).await??;
    wire.bind(0, &Module::new(PROBE), START).await?;
    let args = vec!["probe".into(), what.into()];
    let payload = Invocation { args, env: Vec::new(), input: has_input }.encode();
    let payload = payload.map_err(anyhow::Error::msg)?;
    let (flags, len) = (TaskFlags::default(), payload.len() as u64);
    let dispatch = Dispatch { bind: BindId(0), flags, budget_us: None, payload: len, extras: None };
    wire.send(1, &dispatch, &payload).await?;
    Ok(wire)
}

/// The next frame of that kind. Before it may come that the program waits, or goes on, and
/// the end of its stdout.
async fn heard(wire: &mut Wire, kind: u8) -> Result<Said> {
    let heard = async {
        loop {
            let said = wire.next().await?.context("the slave is gone")?;
            if said.header.kind == kind {
                return Ok(said);
            }
        }
    };
    within("a frame of that kind", heard).await?
}

#[tokio::test]
async fn a_master_may_send_to_a_programs_stdin_what_was_granted() -> Result<()> {
    let pair = Pair::simple().await?;
    let mut wire = dispatched(&pair, "cat", true).await?;
    let (conversation, granted, _) = wire.expect::<Credit>().await?;
    assert_eq!((conversation, granted.bytes), (input(1), WINDOW));
    wire.frame(kind::CHUNK, input(1), b"to be", true).await?;
    let said = heard(&mut wire, kind::CHUNK).await?;
    assert_eq!(said.header.conversation.0, output(1));
    assert_eq!(heard(&mut wire, kind::DONE).await?.header.conversation.0, 1);
    Ok(())
}

#[tokio::test]
async fn f50_what_was_not_granted_or_comes_after_the_end_ends_the_link() -> Result<()> {
    let pair = Pair::simple().await?;
    // It reads a line and no more: what else arrives stays.
    let much = WINDOW as usize / CHUNK + 1;
    for (count, len, words) in [(much, CHUNK, "more bytes than"), (1, 0, "an empty chunk")] {
        let mut wire = dispatched(&pair, "hold", true).await?;
        wire.expect::<Credit>().await?;
        for _ in 0..count {
            // The link may be gone in the middle.
            let _ = wire.frame(kind::CHUNK, input(1), &vec![0; len], false).await;
        }
        let closed = within("the goodbye", wire.closed()).await??.context("in silence")?;
        assert_eq!(closed.code, close::PROTOCOL, "{closed:?}");
        assert!(closed.reason.contains(words), "{closed:?}");
    }
    let mut wire = dispatched(&pair, "sleep", false).await?;
    // Strays: of ports that nobody has, and of those the wrong way round.
    for conversation in [input(77), output(1), input(2), u64::MAX] {
        wire.frame(kind::CHUNK, conversation, b"stray", false).await?;
        wire.send(conversation, &Credit { bytes: u64::MAX }, &[]).await?;
        wire.send(conversation, &Abandon { failure: Failure::default() }, &[]).await?;
    }
    heard(&mut wire, kind::DONE).await?;
    let output = pair.master.output(Program::new(PROBE).arg("hello"));
    assert_eq!(within("another program", output).await??.stdout, "hello, world\n");
    Ok(())
}

#[tokio::test]
async fn f61_an_abandoned_stdin_stops_the_program() -> Result<()> {
    let pair = Pair::simple().await?;
    let mut wire = dispatched(&pair, "cat", true).await?;
    wire.expect::<Credit>().await?;
    let failure: Failure = Cause::Failed { message: "no more of it".into() }.into();
    wire.send(input(1), &Abandon { failure }, &[]).await?;
    let failed = heard(&mut wire, kind::FAILED).await?.read::<Failed>()?.0;
    assert_eq!(Cause::from(failed.failure), Cause::Failed { message: "no more of it".into() });
    Ok(())
}

#[tokio::test]
async fn f61_a_slave_that_ends_without_the_end_of_stdout_is_found_out() -> Result<()> {
    let mut scene = Lies::start().await?;
    let mut handle = scene.master.run(Program::new(PROBE).arg("cat"));
    let mut stdout = handle.stdout();
    let attempt = scene.dispatched().await?;
    scene.liar.frame(kind::CHUNK, output(attempt), b"half", false).await?;
    scene
        .liar
        .send(attempt, &Done { timing: Timing::default(), payload: 0, kept: None }, &[])
        .await?;
    let mut text = Vec::new();
    let read = within("stdout", stdout.read_to_end(&mut text)).await?;
    let error = read.expect_err("it is cut off");
    assert!(text == b"half" && error.to_string().contains("did not send all"), "{error}");
    Ok(())
}

#[tokio::test]
async fn f50_more_stdout_than_was_allowed_ends_the_link() -> Result<()> {
    let mut scene = Lies::start().await?;
    let mut handle = scene.master.run(Program::new(PROBE).arg("cat"));
    let _stdout = handle.stdout();
    let attempt = scene.dispatched().await?;
    for _ in 0..=WINDOW as usize / CHUNK {
        // The link may be gone in the middle.
        let _ = scene.liar.frame(kind::CHUNK, output(attempt), &[0; CHUNK], false).await;
    }
    let closed = within("the goodbye", scene.liar.closed()).await??.context("in silence")?;
    assert!(closed.reason.contains("more bytes than were granted"), "{closed:?}");
    let error = within("the end", handle.status()).await?.expect_err("its slave is gone");
    assert_eq!(error.cause(), &Cause::SlaveLost { may_have_run: true });
    Ok(())
}

#[tokio::test]
async fn f47_waiting_is_said_of_what_nobody_knows() -> Result<()> {
    let mut scene = Lies::start().await?;
    let (handle, attempt) = scene.sum().await?;
    let attempts = vec![AttemptId(0), AttemptId(attempt), AttemptId(u64::MAX)];
    for _ in 0..3 {
        scene.liar.send(0, &Waiting { attempts: attempts.clone() }, &[]).await?;
        scene.liar.send(0, &Started { attempts: attempts.clone() }, &[]).await?;
        scene.liar.send(0, &Waiting { attempts: attempts.clone() }, &[]).await?;
    }
    // It said that it has a slot: it is sent the next one.
    let (second, next) = scene.sum().await?;
    scene.done(attempt, 5).await?;
    scene.done(next, 6).await?;
    assert_eq!((within("one", handle).await??, within("two", second).await??), (5, 6));
    Ok(())
}
