//! Tasks whose module imports what waits: all that a task can do, they can.

use super::get_or_init::{is_idle, waiting};
use anyhow::Result;
use dpfw::{CallExt, Cause, Drained, Limit, Limits, TaskLimits};
use dpfw_test_tasks::add;
use dpfw_test_waiting::{bytes, change, doze, hoard, mutter};
use dpfw_tests::fleet::{Pair, entry, slave};
use dpfw_tests::lines::Lines;
use dpfw_tests::wait::within;
use std::time::Duration;

#[tokio::test]
async fn a_task_waits_for_an_entry_to_change() -> Result<()> {
    let pair = Pair::simple().await?;
    let (at, store) = (pair.linked()?, pair.linked()?.store());
    let change =
        |version, me: &str| pair.master.dispatch(change::call("k".into(), version, me.into()));
    // It comes, it is another, it goes.
    let comes = change(0, "a");
    entry(&at, "a").await?;
    waiting(&at, 1).await?;
    assert_eq!(within("a sum", pair.master.dispatch(add::call(1, 2))).await??, 3);
    let first = store.put("k", &1u64).await?;
    assert_eq!(within("its coming", comes).await??, first);
    assert_eq!(within("what was before", change(0, "b")).await??, first, "it waited");
    let (becomes, also) = (change(first, "c"), change(first, "d"));
    waiting(&at, 2).await?;
    store.put("other", &1u64).await?;
    let second = store.put("k", &2u64).await?;
    assert_eq!(within("its change", becomes).await??, second);
    assert_eq!(within("its change", also).await??, second);
    let goes = change(second, "e");
    waiting(&at, 1).await?;
    assert!(store.remove("k").await?);
    assert_eq!(within("its end", goes).await??, 0);
    is_idle(&at).await
}

#[tokio::test]
async fn f25_one_that_waits_for_ever_ends_with_its_deadline_or_its_handle() -> Result<()> {
    let pair = Pair::simple().await?;
    let at = pair.linked()?;
    let call = || change::call("k".into(), 0, "a".into());
    let soon = pair.master.dispatch(call().timeout(Duration::from_millis(50)));
    let error = within("the deadline", soon).await?.expect_err("nobody changes it");
    assert_eq!(error.cause(), &Cause::DeadlineExceeded);
    is_idle(&at).await?;
    let handle = pair.master.dispatch(call());
    waiting(&at, 1).await?;
    drop(handle);
    is_idle(&at).await
}

#[tokio::test]
async fn what_is_limited_is_time_in_a_slot() -> Result<()> {
    let mut limits = Limits::default();
    limits.time = Duration::from_millis(100);
    let pair = Pair::start(slave("s1", 1)?.limits(limits)).await?;
    assert_eq!(within("a sleep", pair.master.dispatch(doze::call(500, 7))).await??, 7);
    // One slot, and both sleep at once.
    let two = [doze::call(86_400_000, 1), doze::call(86_400_000, 2)];
    let two = two.map(|call| pair.master.dispatch(call));
    waiting(&pair.linked()?, 2).await?;
    drop(two);
    is_idle(&pair.linked()?).await
}

#[tokio::test]
async fn f26_f32_limits_hold_as_for_any_task() -> Result<()> {
    let mut limits = Limits::default();
    (limits.memory, limits.result) = (32 << 20, 8 << 20);
    let pair = Pair::start(slave("s1", 1)?.limits(limits)).await?;
    let cause = async |call| -> Result<Cause> {
        let error = within("the error", pair.master.dispatch(call)).await?;
        Ok(error.map(|_: u64| ()).expect_err("over the limit").cause().clone())
    };
    assert_eq!(
        cause(hoard::call(64 << 20)).await?,
        Cause::Limit { limit: Limit::Memory, allowed: 32 << 20 }
    );
    let lower = hoard::call(8 << 20).limits(TaskLimits::new().memory(4 << 20));
    let error = within("the error", pair.master.dispatch(lower)).await?.expect_err("too much");
    assert!(matches!(error.cause(), Cause::Limit { limit: Limit::Memory, .. }), "{error}");
    let large = within("a large result", pair.master.dispatch(bytes::call(6 << 20))).await??;
    assert!(large.len() == 6 << 20 && large.iter().all(|byte| *byte == 7));
    let error = within("the error", pair.master.dispatch(bytes::call(9 << 20))).await?;
    let cause = Cause::Limit { limit: Limit::Result, allowed: 8 << 20 };
    assert_eq!(error.expect_err("too large").cause(), &cause);
    Ok(())
}

#[tokio::test]
async fn receipts_say_what_it_has_cost() -> Result<()> {
    let pair = Pair::simple().await?;
    let mut handle = pair.master.dispatch(doze::call(500, 7));
    assert_eq!(within("the value", &mut handle).await??, 7);
    let receipt = handle.receipt().expect("it has ended");
    assert!(receipt.memory_bytes > 0 && receipt.initialised > Duration::ZERO, "{receipt:?}");
    // What is neither queueing nor running is this, but for what it sleeps before its slot is
    // free again: on a loaded machine that is a while, but not half of it.
    assert!(receipt.travelled >= Duration::from_millis(250), "it ran while it slept: {receipt:?}");
    Ok(())
}

#[tokio::test]
async fn what_it_said_last_is_heard_however_it_ends() -> Result<()> {
    let lines = Lines::capture();
    let pair = Pair::simple().await?;
    for panics in [true, false] {
        let text = format!("a word, {panics}");
        let call = mutter::call(text.clone(), panics);
        let handle = pair.master.dispatch(call);
        if panics {
            let error = within("its end", handle).await?.expect_err("no value");
            assert!(matches!(error.cause(), Cause::Panic { .. }), "{error}");
        } else {
            entry(&pair.linked()?, "mutters").await?;
            waiting(&pair.linked()?, 1).await?;
            let drained = within("the drain", pair.slave.drain(Duration::ZERO)).await?;
            assert!(matches!(drained, Drained::Interrupted(_)), "{drained:?}");
        }
        lines.wait_for(&["dpfw::task", &text]).await?;
    }
    Ok(())
}
