//! F33: guests that call the host without end.

use super::stage::{Stage, unharmed};
use anyhow::Result;
use dpfw::{CallExt, Cause, Limit, Limits, Module, Task, TaskLimits};
use dpfw_test_tasks::put;
use dpfw_tests::fleet::{Pair, entry, slave};
use dpfw_tests::programs::probe;
use dpfw_tests::wait::within;
use dpfw_tests::wasm::task_module;

/// Calls the host as often as it may; says that it has begun by the entry `storm`.
fn storm() -> Result<Module> {
    task_module(
        r#"(import "wasi_snapshot_preview1" "sched_yield" (func $yield (result i32)))
           (import "dpfw_1" "store_put" (func $put (param i32 i32 i32 i32) (result i32)))
           (data (memory 0) (i32.const 0) "storm")
           (func (export "dpfw:task") (param i32 i32) (result i64)
             (drop (call $put (i32.const 0) (i32.const 5) (i32.const 0) (i32.const 1)))
             (loop $more (drop (call $yield)) (br $more))
             unreachable)"#,
    )
}

#[tokio::test]
async fn f33_a_storm_of_host_calls_meets_its_limit() -> Result<()> {
    let mut limits = Limits::default();
    limits.host_calls = 100_000;
    let mut stage = Stage::of(slave("s1", 2)?.limits(limits)).await?;
    let error = stage.failure(Task::<()>::new(storm()?, "task").call(&())?).await?;
    assert_eq!(
        error.to_string(),
        "`task` on s1: the limit on host calls was exceeded (allowed: 100000 calls)"
    );
    // A caller may allow less.
    let less = TaskLimits::new().host_calls(10);
    let cause = stage.cause(Task::<()>::new(storm()?, "task").call(&())?.limits(less)).await?;
    assert_eq!(cause, Cause::Limit { limit: Limit::HostCalls, allowed: 10 });
    stage.end().await
}

#[tokio::test]
async fn f33_a_storm_of_host_calls_holds_up_neither_the_network_nor_a_tick() -> Result<()> {
    let mut limits = Limits::default();
    limits.host_calls = u64::MAX;
    // One slot: whatever else the slave does, it does while the storm rages.
    let pair = Pair::start(slave("s1", 1)?.limits(limits)).await?;
    let linked = pair.linked()?;
    let handle = pair.master.dispatch(Task::<()>::new(storm()?, "task").call(&())?);
    entry(&linked, "storm").await?;
    for n in 0..100 {
        within("the store", linked.store().put("n", &n).into_future()).await??;
        assert_eq!(within("the slave's word", linked.describe()).await??.running, 1);
    }
    let other = dpfw_tests::fleet::master(&[&pair.address]).await?;
    let behind = other.dispatch(put::call("behind".into(), "x".into()));
    // The pacer reaches it: a cancel interrupts it, and the next one has the slot.
    handle.cancel();
    let error = within("the end", handle).await?.expect_err("it was cancelled");
    assert_eq!(error.cause(), &Cause::Cancelled);
    within("the one behind it", behind).await??;
    unharmed(&pair.master).await
}

#[tokio::test]
async fn f33_a_program_that_calls_the_host_without_end_meets_the_limit() -> Result<()> {
    let pair = Pair::start(slave("s1", 1)?).await?;
    // Those that are about to run are not meant.
    let less = TaskLimits::new().host_calls(20_000);
    for _ in 0..3 {
        let storm = pair.master.run(probe(&["storm"]).limits(less)).status();
        let error = within("the limit", storm).await?.expect_err("it never ends");
        let limit = Limit::HostCalls;
        assert_eq!(error.cause(), &Cause::Limit { limit, allowed: 20_000 });
        let hello =
            within("the next", pair.master.output(probe(&["hello"]).limits(less))).await??;
        assert_eq!(&hello.stdout[..], b"hello, world\n");
    }
    Ok(())
}
