//! F1, F5, F14, F15: slaves that go in the middle of something.

use super::lies::Lies;
use anyhow::{Context, Result};
use dpfw::Cause;
use dpfw_protocol::hello::Role;
use dpfw_protocol::ids::AttemptId;
use dpfw_protocol::message::{Bind, Close, Dispatch, Done, Started, Timing, close, kind};
use dpfw_test_tasks::{add, gate_once};
use dpfw_tests::peer::{Wire, hello};
use dpfw_tests::wait::within;

#[tokio::test]
async fn f05_f14_a_slave_that_dies_before_its_answer() -> Result<()> {
    let mut scene = Lies::start().await?;
    let once = scene.master.dispatch(gate_once::call("a".into(), "b".into(), 1));
    let attempt = scene.dispatched().await?;
    scene.liar.send(0, &Started { attempts: vec![AttemptId(attempt)] }, &[]).await?;
    // The answer is cut off in the middle of its frame.
    let bytes = [19, 0, 0, 0, kind::DONE, 1, 0, 0];
    scene.liar.raw(&bytes).await?;
    drop(scene.liar);
    let error = within("the loss", once).await?.expect_err("it may not be repeated");
    assert_eq!(error.cause(), &Cause::SlaveLost { may_have_run: true });
    assert_eq!(
        error.to_string(),
        "`gate_once` on liar: the slave was lost and the task may have run"
    );
    assert_eq!(error.attempts(), 1);
    assert!(!scene.linked.is_linked());
    Ok(())
}

#[tokio::test]
async fn f14_what_was_announced_in_chunks_and_never_comes_is_lost_with_the_link() -> Result<()> {
    let mut scene = Lies::start().await?;
    let (handle, attempt) = scene.sum().await?;
    let done = Done { timing: Timing::default(), payload: 100_000, kept: None };
    scene.liar.announce(attempt, &done).await?;
    scene.liar.frame(kind::CHUNK, attempt, &[0; 50_000], false).await?;
    let next = scene.successor();
    scene.liar = next;
    scene.liar.greet(&hello(Role::Slave, "honest")?).await?;
    let attempt = scene.dispatched().await?;
    scene.done(attempt, 5).await?;
    assert_eq!(within("the sum elsewhere", handle).await??, 5);
    let stats = scene.master.stats().await;
    assert_eq!((stats.retried, stats.accepted), (1, 1), "{stats:?}");
    Ok(())
}

#[tokio::test]
async fn f15_a_task_that_takes_slaves_down_is_poison() -> Result<()> {
    let Lies { master, mut liar, .. } = Lies::start().await?;
    let bystander = master.dispatch(add::call(1, 1));
    let poison = master.dispatch(add::call(6, 6));
    let mut deaths = 0;
    let mut done = Vec::new();
    // Whoever gets 6 + 6 dies of it; the other sum is done when it comes.
    let ended = loop {
        let (attempt, args) = loop {
            let said = liar.next().await?.context("the master is gone")?;
            if said.header.kind == kind::DISPATCH {
                break (said.header.conversation.0, said.read::<Dispatch>()?.1);
            }
        };
        if args == [0x92, 6, 6] {
            deaths += 1;
            liar.send(0, &Started { attempts: vec![AttemptId(attempt)] }, &[]).await?;
            let (stream, next) = Wire::memory();
            master.attach(stream);
            // The one before ends without a goodbye.
            liar = next;
            if deaths == 3 {
                break within("the verdict", poison).await?;
            }
            liar.greet(&hello(Role::Slave, &format!("victim{deaths}"))?).await?;
        } else {
            done.push(args);
            let result = Done { timing: Timing::default(), payload: 1, kept: None };
            liar.send(attempt, &result, &[2]).await?;
        }
    };
    let error = ended.expect_err("it takes slaves down");
    assert_eq!(error.cause(), &Cause::Poison { deaths: 3 });
    assert!(
        error.to_string().ends_with("the task is poison: 3 slaves died while they ran it"),
        "{error}"
    );
    if done.is_empty() {
        liar.greet(&hello(Role::Slave, "last")?).await?;
        let said = liar.expect::<Bind>().await;
        said?;
        let (attempt, ..) = liar.expect::<Dispatch>().await?;
        liar.send(attempt, &Done { timing: Timing::default(), payload: 1, kept: None }, &[2])
            .await?;
    }
    assert_eq!(within("the bystander", bystander).await??, 2);
    Ok(())
}

#[tokio::test]
async fn attempts_that_end_in_lost_links_are_exhausted() -> Result<()> {
    let Lies { master, mut liar, .. } = Lies::start().await?;
    let handle = master.dispatch(add::call(2, 3));
    for turn in 1..=3 {
        liar.expect::<Bind>().await?;
        let (attempt, ..) = liar.expect::<Dispatch>().await?;
        liar.send(0, &Started { attempts: vec![AttemptId(attempt)] }, &[]).await?;
        // A goodbye that says that something went wrong: nobody is suspect.
        let bye = Close { code: close::REFUSED, reason: "enough".into() };
        let (stream, next) = Wire::memory();
        master.attach(stream);
        liar.send(0, &bye, &[]).await?;
        if turn < 3 {
            liar = next;
            liar.greet(&hello(Role::Slave, "liar")?).await?;
        }
    }
    let error = within("the end", handle).await?.expect_err("three times");
    assert_eq!(error.cause(), &Cause::AttemptsExhausted { attempts: 3 });
    assert_eq!(
        error.to_string(),
        "`add` on liar: the task was started 3 times and its slave was lost each time"
    );
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn f01_a_silent_slave_is_lost_by_its_silence() -> Result<()> {
    let mut scene = Lies::start().await?;
    let once = scene.master.dispatch(gate_once::call("a".into(), "b".into(), 1));
    let start = tokio::time::Instant::now();
    scene.dispatched().await?;
    // Time goes on by itself while everybody waits.
    let error = once.await.expect_err("its slave is silent");
    assert_eq!(error.cause(), &Cause::SlaveLost { may_have_run: true });
    let silent = start.elapsed().as_secs_f64();
    assert!((3.0..6.0).contains(&silent), "{silent} s");
    Ok(())
}
