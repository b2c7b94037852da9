//! How programs end: by themselves, by force, and with what said.

use anyhow::Result;
use dpfw::{Cause, Limit, Limits};
use dpfw_tests::fleet::{Pair, quiet, slave};
use dpfw_tests::programs::probe;
use dpfw_tests::wait::{until, within};
use std::future::IntoFuture;
use std::time::Duration;
use tokio::io::AsyncReadExt;

/// One slot, and these limits.
async fn pair(set: impl FnOnce(&mut Limits)) -> Result<Pair> {
    let mut limits = Limits::default();
    set(&mut limits);
    Pair::start(slave("s1", 1)?.limits(limits)).await
}

/// Waits until so many programs wait at the slave.
async fn waiting(pair: &Pair, most: u32) -> Result<()> {
    let slave = pair.linked()?;
    until("programs to wait", async || Ok(slave.describe().await?.waiting == most)).await
}

/// Nothing of a program is left at the slave.
async fn is_gone(pair: &Pair) -> Result<()> {
    let slave = pair.linked()?;
    until("the slot to be free", async || {
        let it = slave.describe().await?;
        Ok((it.running, it.waiting, it.sandboxes) == (0, 0, 0))
    })
    .await
}

#[tokio::test]
async fn a_status_is_a_value_or_an_error() -> Result<()> {
    let pair = Pair::simple().await?;
    for code in [0, 1, 42, 125, 126, 255] {
        let program = probe(&["exit", &code.to_string()]);
        let status = within("the status", pair.master.run(program).status()).await??;
        assert_eq!((status.code(), status.is_success()), (code, code == 0));
    }
    within("success", pair.master.run(probe(&["exit", "0"])).into_future()).await??;
    let failing = pair.master.run(probe(&["fail", "one", "two"])).into_future();
    let error = within("failure", failing).await?.expect_err("it exits with 3");
    let stderr = vec!["one".to_owned(), "two".to_owned()];
    assert_eq!(error.cause(), &Cause::Exit { code: 3, stderr });
    assert_eq!(error.to_string(), "`probe`: the program exited with status 3: two");
    Ok(())
}

#[tokio::test]
async fn a_panic_is_told_in_its_own_words() -> Result<()> {
    let pair = Pair::simple().await?;
    let error = within("the panic", pair.master.run(probe(&["panic"])).into_future()).await?;
    let error = error.expect_err("it panics");
    let Cause::Panic { message, backtrace, .. } = error.cause() else { panic!("{error}") };
    assert!(message.contains("as it was told") && message.contains("probe.rs"), "{message}");
    assert!(backtrace.iter().any(|frame| frame.contains("main")), "{backtrace:?}");
    Ok(())
}

#[tokio::test]
async fn f22_a_dropped_handle_ends_a_program_that_runs_and_one_that_waits() -> Result<()> {
    let pair = Pair::simple().await?;
    let mut handle = pair.master.run(probe(&["spin-after"]));
    let (mut stdout, mut text) = (handle.stdout(), [0; 9]);
    within("its output", stdout.read_exact(&mut text)).await??;
    drop(handle);
    is_gone(&pair).await?;

    let (ours, theirs) = tokio::io::duplex(64);
    let handle = pair.master.run(probe(&["cat"]).stdin(theirs));
    waiting(&pair, 1).await?;
    drop((handle, ours));
    is_gone(&pair).await?;
    quiet(&pair.master).await
}

#[tokio::test]
async fn f23_deadlines_end_a_program_that_runs_and_one_that_waits() -> Result<()> {
    let pair = Pair::simple().await?;
    let soon = Duration::from_millis(50);
    for what in [&["spin"][..], &["sleep", "60000"]] {
        let handle = pair.master.run(probe(what).timeout(soon));
        let error = within("the deadline", handle.status()).await?.expect_err("it never ends");
        assert_eq!(error.cause(), &Cause::DeadlineExceeded, "{what:?}");
        is_gone(&pair).await?;
    }
    let (_ours, theirs) = tokio::io::duplex(64);
    let handle = pair.master.run(probe(&["cat"]).stdin(theirs).timeout(soon));
    let error = within("the deadline", handle.status()).await?.expect_err("nothing comes");
    assert_eq!(error.cause(), &Cause::DeadlineExceeded);
    is_gone(&pair).await
}

#[tokio::test]
async fn what_is_limited_is_time_in_a_slot() -> Result<()> {
    let time = Duration::from_millis(200);
    let pair = pair(|limits| limits.time = time).await?;
    let error = within("the limit", pair.master.run(probe(&["spin"])).status()).await?;
    let cause = Cause::Limit { limit: Limit::Time, allowed: 200 };
    assert_eq!(error.expect_err("it never ends").cause(), &cause);
    let waits = pair.master.run(probe(&["sleep", "600"])).status();
    assert!(within("its end", waits).await??.is_success());
    Ok(())
}

#[tokio::test]
async fn f26_memory_is_limited() -> Result<()> {
    let pair = pair(|limits| limits.memory = 32 << 20).await?;
    let small = pair.master.output(probe(&["grow", "1000000"]));
    assert!(within("a small one", small).await??.status.is_success());
    let large = pair.master.output(probe(&["grow", "100000000"]));
    let error = within("a large one", large).await?.expect_err("too large");
    assert!(matches!(error.cause(), Cause::Limit { limit: Limit::Memory, .. }), "{error}");
    Ok(())
}

#[tokio::test]
async fn there_are_no_more_programs_than_allowed() -> Result<()> {
    let pair = pair(|limits| limits.sandboxes = 2).await?;
    let mut fed = Vec::new();
    for _ in 0..2 {
        let (ours, theirs) = tokio::io::duplex(64);
        fed.push((ours, pair.master.run(probe(&["line"]).stdin(theirs))));
    }
    waiting(&pair, 2).await?;
    let third = pair.master.run(probe(&["hello"])).status();
    drop(fed);
    // It was held back as long as they were there.
    assert!(within("the third", third).await??.is_success());
    Ok(())
}

#[tokio::test]
async fn f17_a_drain_waits_for_a_program_that_waits() -> Result<()> {
    let pair = Pair::simple().await?;
    let (mut ours, theirs) = tokio::io::duplex(64);
    let mut handle = pair.master.run(probe(&["line"]).stdin(theirs));
    let mut stdout = handle.stdout();
    waiting(&pair, 1).await?;
    let drain = pair.slave.drain(Duration::from_secs(30));
    let feed = async {
        tokio::io::AsyncWriteExt::write_all(&mut ours, b"a line\n").await?;
        let mut text = String::new();
        stdout.read_to_string(&mut text).await?;
        anyhow::Ok((text, handle.status().await?))
    };
    let (drained, fed) = within("both", async { tokio::join!(drain, feed) }).await?;
    assert_eq!(drained, dpfw::Drained::Clean);
    let (text, status) = fed?;
    assert_eq!((text.as_str(), status.code()), ("a line\n", 0));
    Ok(())
}
