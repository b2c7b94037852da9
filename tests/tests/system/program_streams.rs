//! The ports of programs: what flows through them, and how little of it is held.

use anyhow::Result;
use dpfw::{CallExt, Cause};
use dpfw_protocol::limits::{CHUNK, WINDOW};
use dpfw_test_tasks::add;
use dpfw_tests::fleet::{self, Pair, listening, slave};
use dpfw_tests::programs::probe;
use dpfw_tests::wait::{until, within};
use std::future::IntoFuture;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt, ReadBuf};

/// Bytes without end, that are told from one another by where they are; counts what is taken.
struct Source {
    taken: Arc<AtomicU64>,
    most: u64,
    fails: bool,
}

impl Source {
    fn of(most: u64) -> (Self, Arc<AtomicU64>) {
        let taken = Arc::new(AtomicU64::new(0));
        (Self { taken: Arc::clone(&taken), most, fails: false }, taken)
    }
}

fn byte(at: u64) -> u8 {
    (at % 251) as u8
}

impl AsyncRead for Source {
    fn poll_read(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let at = self.taken.load(Ordering::Relaxed);
        if at == self.most && self.fails {
            return Poll::Ready(Err(io::Error::other("the disk is gone")));
        }
        let n = (self.most - at).min(buffer.remaining() as u64);
        (at..at + n).for_each(|at| buffer.put_slice(&[byte(at)]));
        self.taken.fetch_add(n, Ordering::Relaxed);
        Poll::Ready(Ok(()))
    }
}

#[tokio::test]
async fn what_goes_in_comes_out() -> Result<()> {
    let pair = Pair::simple().await?;
    for most in [0, 1, CHUNK as u64, CHUNK as u64 + 1, 3 * WINDOW + 7] {
        let (source, _) = Source::of(most);
        let mut handle = pair.master.run(probe(&["cat"]).stdin(source));
        let mut bytes = Vec::new();
        within("stdout", handle.stdout().read_to_end(&mut bytes)).await??;
        assert_eq!(bytes.len() as u64, most);
        assert!((0..).zip(&bytes).all(|(at, b)| byte(at) == *b), "{most} bytes");
        assert!(within("the end", handle.status()).await??.is_success());
    }
    Ok(())
}

#[tokio::test]
async fn nothing_is_taken_that_was_not_asked_for() -> Result<()> {
    let pair = Pair::simple().await?;
    let (source, taken) = Source::of(u64::MAX);
    let handle = pair.master.run(probe(&["exit", "0"]).stdin(source));
    assert!(within("the end", handle.status()).await??.is_success());
    assert_eq!(taken.load(Ordering::Relaxed), 0, "it never read");
    Ok(())
}

#[tokio::test]
async fn who_does_not_read_holds_up_the_program_and_its_source() -> Result<()> {
    let pair = Pair::simple().await?;
    let (source, taken) = Source::of(u64::MAX);
    let mut handle = pair.master.run(probe(&["cat"]).stdin(source));
    let mut stdout = handle.stdout();
    // One window of stdin, one of stdout, and what waits to be written on either side.
    let most = 2 * WINDOW + (2 << 20);
    let slave = pair.linked()?;
    for _ in 0..3 {
        let mut before = u64::MAX;
        until("it to be held up", async || {
            let waits = slave.describe().await?.waiting == 1;
            let now = taken.load(Ordering::Relaxed);
            Ok(waits && now == std::mem::replace(&mut before, now))
        })
        .await?;
        let mut some = vec![0; 3 << 20];
        let ahead = taken.load(Ordering::Relaxed);
        within("some of it", stdout.read_exact(&mut some)).await??;
        assert!(ahead <= most + 9 * (1 << 20), "{ahead} bytes were taken");
    }
    drop(handle);
    Ok(())
}

#[tokio::test]
async fn a_program_that_waits_for_input_gives_its_slot_back() -> Result<()> {
    let pair = Pair::simple().await?;
    let (mut ours, theirs) = tokio::io::duplex(64);
    let mut handle = pair.master.run(probe(&["line"]).stdin(theirs));
    let mut stdout = handle.stdout();
    let slave = pair.linked()?;
    until("it to wait", async || Ok(slave.describe().await?.waiting == 1)).await?;
    for i in 0..10 {
        assert_eq!(within("a sum", pair.master.dispatch(add::call(i, 1))).await??, i + 1);
    }
    assert_eq!(slave.describe().await?.waiting, 1, "it waits on");
    ours.write_all(b"to be\n").await?;
    let mut text = String::new();
    within("the line", stdout.read_to_string(&mut text)).await??;
    assert_eq!(text, "to be\n");
    assert!(within("the end", handle.status()).await??.is_success());
    Ok(())
}

#[tokio::test]
async fn many_wait_at_one_slot() -> Result<()> {
    let pair = Pair::simple().await?;
    let mut running = Vec::new();
    for n in 0..50 {
        let (ours, theirs) = tokio::io::duplex(64);
        let mut handle = pair.master.run(probe(&["line"]).stdin(theirs));
        running.push((n, ours, handle.stdout(), handle));
    }
    let slave = pair.linked()?;
    until("all to wait", async || Ok(slave.describe().await?.waiting == 50)).await?;
    for (n, mut ours, mut stdout, handle) in running.into_iter().rev() {
        ours.write_all(format!("{n}\n").as_bytes()).await?;
        let mut text = String::new();
        within("the line", stdout.read_to_string(&mut text)).await??;
        assert_eq!(text, format!("{n}\n"));
        assert!(within("the end", handle.status()).await??.is_success());
    }
    Ok(())
}

#[tokio::test]
async fn a_stdout_that_nobody_takes_is_dropped_and_a_closed_one_is_told() -> Result<()> {
    let pair = Pair::simple().await?;
    let much = (3 * WINDOW).to_string();
    let handle = pair.master.run(probe(&["write", &much]));
    assert!(within("the end", handle.status()).await??.is_success());

    let mut handle = pair.master.run(probe(&["write", &much]));
    let (mut stdout, mut some) = (handle.stdout(), [0; 10]);
    within("a little", stdout.read_exact(&mut some)).await??;
    drop(stdout);
    let status = within("the end", handle.status()).await??;
    assert_eq!((status.code(), status.stderr()), (7, &["BrokenPipe".to_owned()][..]));
    Ok(())
}

#[tokio::test]
async fn f61_an_input_that_breaks_off_does_not_end() -> Result<()> {
    let pair = Pair::simple().await?;
    let (mut source, _) = Source::of(100_000);
    source.fails = true;
    let mut handle = pair.master.run(probe(&["cat"]).stdin(source));
    let mut bytes = Vec::new();
    let read = within("stdout", handle.stdout().read_to_end(&mut bytes)).await?;
    let error = read.expect_err("it is cut off");
    assert!(error.to_string().contains("the disk is gone"), "{error}");
    let error = within("the end", handle.into_future()).await?.expect_err("it is stopped");
    assert!(matches!(error.cause(), Cause::Failed { message } if message.contains("stdin")));
    Ok(())
}

#[tokio::test]
async fn f61_the_output_of_a_lost_slave_does_not_end() -> Result<()> {
    let (gone, first) = listening(slave("s1", 1)?).await?;
    let (_stays, second) = listening(slave("s2", 1)?).await?;
    let master = fleet::master(&[first, second]).await?;
    let on = fleet::linked(&master, "s1")?;
    let (_ours, theirs) = tokio::io::duplex(64);
    let mut handle = master.run(probe(&["spin-after"]).stdin(theirs).on(&on));
    let (mut stdout, mut text) = (handle.stdout(), [0; 9]);
    within("its output", stdout.read_exact(&mut text)).await??;
    drop(gone);
    let mut rest = Vec::new();
    let error = within("the rest", stdout.read_to_end(&mut rest)).await?.expect_err("cut off");
    assert!(error.to_string().contains("lost"), "{error}");
    let error = within("the end", handle.status()).await?.expect_err("it may have run");
    assert_eq!(error.cause(), &Cause::SlaveLost { may_have_run: true });
    assert_eq!(within("a sum", master.dispatch(add::call(1, 2))).await??, 3);
    Ok(())
}

#[tokio::test]
async fn d9_what_is_collected_is_tried_again_elsewhere() -> Result<()> {
    let (gone, first) = listening(slave("s1", 1)?).await?;
    let master = fleet::master(&[first]).await?;
    let program = probe(&["sleep", "300"]).input("x");
    let output = tokio::spawn({
        let master = master.clone();
        async move { master.output(program).await }
    });
    let slave1 = fleet::linked(&master, "s1")?;
    until("it to run", async || Ok(slave1.describe().await?.sandboxes == 1)).await?;
    let second = slave("s2", 1)?.build()?;
    let (ours, theirs) = dpfw::ByteStream::pair(1 << 16);
    second.attach(theirs);
    master.attach(ours);
    fleet::arrival(&master, "s2").await?;
    drop(gone);
    let output = within("the output", output).await???;
    assert!(output.status.is_success());
    assert_eq!(within("a sum", master.dispatch(add::call(1, 2).once())).await??, 3);
    Ok(())
}

#[tokio::test]
async fn a_stdout_that_is_dropped_before_the_program_starts_is_closed() -> Result<()> {
    let pair = Pair::simple().await?;
    let much = (3 * WINDOW).to_string();
    let mut handle = pair.master.run(probe(&["write", &much]));
    drop(handle.stdout());
    let status = within("the end", handle.status()).await??;
    assert_eq!((status.code(), status.stderr()), (7, &["BrokenPipe".to_owned()][..]));
    Ok(())
}

#[tokio::test]
async fn the_stdout_of_what_never_ran_is_an_error_and_so_is_a_second_one() -> Result<()> {
    let pair = Pair::simple().await?;
    let mut handle = pair.master.run(probe(&["a\0b"]));
    let (mut first, mut second, mut text) = (handle.stdout(), handle.stdout(), String::new());
    let error = within("the first", first.read_to_string(&mut text)).await?.expect_err("refused");
    assert!(error.to_string().contains("NUL"), "{error}");
    let error = within("the second", second.read_to_string(&mut text)).await?;
    assert!(error.expect_err("taken").to_string().contains("taken before"));
    within("the end", handle.status()).await?.expect_err("refused");

    pair.master.shutdown().await;
    let mut handle = pair.master.run(probe(&["hello"]));
    let mut late = handle.stdout();
    let error = within("the late one", late.read_to_string(&mut text)).await?;
    assert!(error.expect_err("shut down").to_string().contains("shut down"));
    Ok(())
}
