//! R9, F3: calls and casts, in which order they leave and what becomes of those that wait; at a
//! slave that is spoken by hand.

use super::by_hand::{ByHand, bump, info};
use anyhow::Result;
use dpfw::{Cause, Master, MethodExt};
use dpfw_protocol::message::{CallFlags, Cancel, Log, Progress, Withdraw, kind};
use dpfw_test_tasks::counter;
use dpfw_tests::wait::{is_pending, until, within};
use std::time::Duration;

#[tokio::test]
async fn f3_calls_leave_at_once_in_their_order_and_are_answered_in_any() -> Result<()> {
    let (mut scene, c) = ByHand::with_counter(8).await?;
    let first = c.call(bump());
    let second = c.clone().call(counter::skip(5));
    let third = c.call(bump());
    let calls = [scene.called().await?, scene.called().await?, scene.called().await?];
    assert_eq!(
        calls.each_ref().map(|it| &*it.method),
        ["counter.bump", "counter.skip", "counter.bump"]
    );
    assert_eq!(scene.methods.len(), 2, "each method is declared once");
    assert_eq!((calls[0].call.resident.0, &calls[1].args[..]), (1, &[0x91, 5][..]));
    scene.done(&calls[2], 3).await?;
    scene.done(&calls[0], 1).await?;
    scene.done(&calls[1], 2).await?;
    assert_eq!(within("the third", third).await??, 3);
    assert_eq!((within("the first", first).await??, within("the second", second).await??), (1, 2));
    Ok(())
}

#[tokio::test]
async fn r9_a_full_mailbox_makes_callers_wait_in_their_order_or_tells_them() -> Result<()> {
    let (mut scene, c) = ByHand::with_counter(2).await?;
    let handles: Vec<_> = (0..5).map(|_| c.call(bump())).collect();
    let busy = c.call(bump().or_busy()).await.expect_err("the mailbox is full");
    assert!(matches!(busy.cause(), Cause::Busy { what } if what.contains("2 calls")), "{busy}");
    let mut out = vec![scene.called().await?, scene.called().await?];
    for (n, handle) in handles.into_iter().enumerate() {
        // No more than two are out: the next one comes for the answer to the first.
        let first = out.remove(0);
        scene.done(&first, n as u8).await?;
        assert_eq!(within("a result", handle).await??, n as u64);
        if n < 3 {
            let next = scene.called().await?;
            assert!(next.conversation > first.conversation);
            out.push(next);
        }
    }
    Ok(())
}

#[tokio::test]
async fn f59_what_waits_here_is_bounded_and_the_rest_is_told() -> Result<()> {
    let mut scene = ByHand::of(Master::builder().queue(3)).await?;
    let c = scene.found(info(1, "k", 1)?).await?;
    let out = c.call(bump());
    let waits: Vec<_> = (0..3).map(|_| c.call(bump())).collect();
    let refused = c.call(bump()).await.expect_err("the queue is full");
    assert!(matches!(refused.cause(), Cause::Busy { what } if what.starts_with("3 ")), "{refused}");
    drop(waits);
    // What was taken back has left its room.
    let next = c.call(bump());
    let call = scene.called().await?;
    scene.done(&call, 1).await?;
    assert_eq!(within("the first", out).await??, 1);
    let call = scene.called().await?;
    scene.done(&call, 2).await?;
    assert_eq!(within("the next", next).await??, 2);
    Ok(())
}

#[tokio::test]
async fn a_call_that_waits_here_is_taken_back_and_never_leaves() -> Result<()> {
    let (mut scene, c) = ByHand::with_counter(1).await?;
    let runs = c.call(bump());
    let (dropped, cancelled, last) = (c.call(bump()), c.call(bump()), c.call(counter::peek()));
    drop(dropped);
    cancelled.cancel();
    let error = within("the one that was cancelled", cancelled).await?.expect_err("it was");
    assert_eq!(error.cause(), &Cause::Cancelled);
    let first = scene.called().await?;
    scene.done(&first, 1).await?;
    assert_eq!(within("the first", runs).await??, 1);
    assert_eq!(scene.called().await?.method, "counter.peek");
    drop(last);
    Ok(())
}

#[tokio::test]
async fn r9_a_dropped_handle_withdraws_and_a_cancelled_one_interrupts() -> Result<()> {
    let (mut scene, c) = ByHand::with_counter(8).await?;
    let dropped = c.call(bump());
    let call = scene.called().await?;
    drop(dropped);
    let said = scene.said().await?;
    assert_eq!((said.header.conversation.0, said.header.kind), (call.conversation, kind::WITHDRAW));
    said.read::<Withdraw>()?;
    scene.fail(&call, Cause::Cancelled).await?;
    let cancelled = c.call(bump());
    let call = scene.called().await?;
    cancelled.cancel();
    let said = scene.said().await?;
    assert_eq!(said.header.conversation.0, call.conversation);
    said.read::<Cancel>()?;
    scene.fail(&call, Cause::Cancelled).await?;
    let error = within("the one that was cancelled", cancelled).await?.expect_err("it was");
    assert_eq!(error.cause(), &Cause::Cancelled);
    assert_eq!(error.to_string(), "`counter.bump` on s1: the task was cancelled");
    Ok(())
}

#[tokio::test]
async fn a_deadline_ends_a_call_that_is_not_answered_and_one_that_waits() -> Result<()> {
    let (mut scene, c) = ByHand::with_counter(1).await?;
    let soon = Duration::from_millis(50);
    let (out, waits) = (c.call(bump().timeout(soon)), c.call(bump().timeout(soon)));
    let call = scene.called().await?;
    assert!(call.call.budget_us.is_some_and(|us| us <= 50_000), "{call:?}");
    for handle in [out, waits] {
        let error = within("the deadline", handle).await?.expect_err("it is over");
        assert_eq!(error.cause(), &Cause::DeadlineExceeded);
    }
    let said = scene.said().await?;
    assert_eq!((said.header.conversation.0, said.header.kind), (call.conversation, kind::CANCEL));
    // Its place is free only now; the one that waited has never left.
    let next = c.call(counter::peek());
    scene.done(&call, 1).await?;
    let call = scene.called().await?;
    assert_eq!(call.method, "counter.peek");
    scene.done(&call, 7).await?;
    assert_eq!(within("the next", next).await??, 7);
    Ok(())
}

#[tokio::test]
async fn f3_a_cast_is_sent_in_its_turn_and_its_failure_is_counted() -> Result<()> {
    let (mut scene, c) = ByHand::with_counter(1).await?;
    let call = c.call(bump());
    let mut cast = c.cast(bump());
    assert!(is_pending(&mut cast).await, "the mailbox is full");
    let first = scene.called().await?;
    assert!(!first.call.flags.has(CallFlags::CAST));
    scene.done(&first, 1).await?;
    assert_eq!(within("the call", call).await??, 1);
    let second = scene.called().await?;
    assert!(second.call.flags.has(CallFlags::CAST));
    within("the cast to be sent", cast).await??;
    let refused = c.cast(bump().or_busy()).await.expect_err("the mailbox is full");
    assert!(matches!(refused.cause(), Cause::Busy { .. }), "{refused}");
    assert_eq!(c.failed_casts(), 0, "its caller was told");
    scene.fail(&second, Cause::Failed { message: "no".into() }).await?;
    until("the failure to be counted", async || Ok(c.failed_casts() == 1)).await
}

#[tokio::test]
async fn what_a_method_says_reaches_its_caller_and_the_receipt_adds_up() -> Result<()> {
    let (mut scene, c) = ByHand::with_counter(8).await?;
    let mut handle = c.call(bump());
    let call = scene.called().await?;
    scene.wire.send(call.conversation, &Progress { done: 1, total: 2 }, &[]).await?;
    let log = Log { level: 3, target: "counter".into(), text: "half".into() };
    scene.wire.send(call.conversation, &log, &[]).await?;
    until("the progress", async || Ok(handle.progress().total == 2)).await?;
    assert!(handle.receipt().is_none());
    scene.done(&call, 1).await?;
    assert_eq!(within("the result", &mut handle).await??, 1);
    let receipt = handle.receipt().expect("it has ended at the slave");
    assert_eq!((receipt.slave.as_str(), receipt.attempts, receipt.memory_bytes), ("s1", 1, 3));
    assert_eq!(receipt.executed, Duration::from_micros(2));
    assert!(receipt.total() >= receipt.queued_there + receipt.executed);
    Ok(())
}

#[tokio::test]
async fn arguments_in_chunks_and_results_in_chunks_are_whole() -> Result<()> {
    let (mut scene, c) = ByHand::with_counter(8).await?;
    // Too long for one frame, and answered before it has come: the rest is not sent.
    let untyped = within("it", async {
        let linked = scene.linked.clone();
        let mut find = Box::pin(linked.untyped_resident("k"));
        assert!(is_pending(&mut find).await);
        scene.finds(vec![info(1, "k", 8)?]).await?;
        anyhow::Ok(find.await?)
    })
    .await??;
    let text = "x".repeat(100_000);
    let handle = untyped.call(untyped.method::<String>("echo", &(&text,))?);
    let said = scene.said().await?;
    assert_eq!(said.header.kind, kind::CALL_RESIDENT);
    let conversation = said.header.conversation.0;
    let mut args = Vec::new();
    while args.len() < text.len() {
        let chunk = scene.said().await?;
        assert_eq!((chunk.header.kind, chunk.header.conversation.0), (kind::CHUNK, conversation));
        args.extend_from_slice(&chunk.body);
    }
    let result = rmp_serde::to_vec(&text)?;
    let done = dpfw_protocol::message::Done {
        timing: Default::default(),
        payload: result.len() as u64,
        kept: None,
    };
    scene.wire.announce(conversation, &done).await?;
    let (head, tail) = result.split_at(60_000);
    scene.wire.frame(kind::CHUNK, conversation, head, false).await?;
    scene.wire.frame(kind::CHUNK, conversation, tail, true).await?;
    assert_eq!(within("the echo", handle).await??, text);
    drop(c);
    Ok(())
}
