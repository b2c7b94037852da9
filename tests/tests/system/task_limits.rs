//! Limits that a caller sets for a task, below those of the slave.

use super::stage::Stage;
use anyhow::Result;
use dpfw::{CallExt, Cause, Limit, Limits, TaskLimits};
use dpfw_test_tasks::{add, big, flood, forever, hoard};
use dpfw_tests::fleet::{Pair, slave};
use dpfw_tests::lines::Lines;
use dpfw_tests::programs::probe;
use dpfw_tests::wait::within;
use dpfw_tests::wasm::module;
use std::time::Duration;

fn limit(limit: Limit, allowed: u64) -> Cause {
    Cause::Limit { limit, allowed }
}

#[tokio::test]
async fn a_task_is_held_to_what_its_caller_allows() -> Result<()> {
    let mut stage = Stage::start().await?;
    let set = TaskLimits::new;
    let cause = stage.cause(hoard::call().limits(set().memory(16 << 20))).await?;
    assert_eq!(cause, limit(Limit::Memory, 16 << 20));
    let cause = stage.cause(forever::call().limits(set().time(Duration::from_millis(50)))).await?;
    assert_eq!(cause, limit(Limit::Time, 50));
    let cause = stage.cause(big::call(5000).limits(set().result(1000))).await?;
    assert_eq!(cause, limit(Limit::Result, 1000));
    let table = module(
        r#"(module (table $t 10 funcref) (func (export "task")
             (if (i32.eq (table.grow $t (ref.null func) (i32.const 100)) (i32.const -1))
               (then unreachable))))"#,
    )?;
    let call = dpfw::Task::<()>::new(table, "task").call(&())?;
    let cause = stage.cause(call.limits(set().table(100))).await?;
    assert_eq!(cause, limit(Limit::Table, 100));
    // With all of them at once, where they are enough.
    let enough = set().memory(64 << 20).time(Duration::from_secs(60)).result(100).table(10_000);
    let sum = stage.master().dispatch(add::call(2, 3).limits(enough.host_calls(0).log(0)));
    assert_eq!(within("the sum", sum).await??, 5);
    stage.end().await
}

#[tokio::test]
async fn a_caller_cannot_raise_what_the_operator_allows() -> Result<()> {
    let mut limits = Limits::default();
    (limits.memory, limits.result) = (32 << 20, 1000);
    let mut stage = Stage::of(slave("s1", 2)?.limits(limits)).await?;
    let all = TaskLimits::new().memory(u64::MAX).result(u64::MAX).time(Duration::MAX);
    let cause = stage.cause(hoard::call().limits(all)).await?;
    assert_eq!(cause, limit(Limit::Memory, 32 << 20));
    let cause = stage.cause(big::call(5000).limits(all)).await?;
    assert_eq!(cause, limit(Limit::Result, 1000));
    stage.end().await
}

#[tokio::test]
async fn a_caller_limits_what_a_task_logs() -> Result<()> {
    let lines = Lines::capture();
    let pair = Pair::simple().await?;
    let call = flood::call("less".into(), 100).limits(TaskLimits::new().log(30));
    within("the flood", pair.master.dispatch(call)).await??;
    lines.wait_for(&["flood", "the limit on log bytes is reached"]).await?;
    assert!(lines.with(&["less"]).len() < 10, "{:?}", lines.with(&["less"]));
    Ok(())
}

#[tokio::test]
async fn the_calls_of_a_map_are_held_to_what_its_caller_allows() -> Result<()> {
    let pair = Pair::simple().await?;
    let map = || pair.master.map([10, 20], big::call).chunk(2);
    let sizes = within("the map", map().limits(TaskLimits::new().result(1000)).all()).await??;
    assert_eq!(sizes.iter().map(|bytes| bytes.len()).collect::<Vec<_>>(), [10, 20]);
    let failed = within("the map", map().limits(TaskLimits::new().result(20)).all()).await?;
    let error = failed.expect_err("30 bytes and more");
    assert_eq!(error.cause(), &limit(Limit::Result, 20));
    Ok(())
}

#[tokio::test]
async fn a_program_is_held_to_what_its_caller_allows() -> Result<()> {
    let pair = Pair::simple().await?;
    let less = TaskLimits::new().memory(16 << 20).time(Duration::from_millis(200));
    for (args, expected) in [
        (&["spin"][..], limit(Limit::Time, 200)),
        (&["grow", "100000000"], limit(Limit::Memory, 16 << 20)),
    ] {
        let program = pair.master.output(probe(args).limits(less));
        let error = within("the limit", program).await?.expect_err("it is too much");
        assert_eq!(error.cause(), &expected, "{args:?}");
    }
    Ok(())
}
