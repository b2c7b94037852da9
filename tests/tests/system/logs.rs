//! R10: what a task logs reaches its master's log.

use anyhow::Result;
use dpfw_test_tasks::say;
use dpfw_tests::fleet::Pair;
use dpfw_tests::lines::Lines;
use dpfw_tests::wait::within;

#[tokio::test]
async fn r10_log_lines_and_output_reach_the_master() -> Result<()> {
    let lines = Lines::capture();
    let pair = Pair::simple().await?;
    within("the task", pair.master.dispatch(say::call("r10".into()))).await??;
    for (level, text) in [
        ("ERROR", "r10 error"),
        ("WARN", "r10 warn"),
        ("INFO", "r10 info"),
        ("DEBUG", "r10 debug"),
        ("INFO", "r10 stdout"),
        ("WARN", "r10 stderr, not ended"),
    ] {
        let line = lines.wait_for(&["dpfw::task", text]).await?;
        assert!(line.contains(level), "{line}");
        assert!(line.contains("slave=s1") && line.contains("say"), "{line}");
        assert_eq!(lines.with(&["dpfw::task", text]).len(), 1, "{text} was said twice");
    }
    Ok(())
}

#[tokio::test]
async fn r10_what_a_task_said_before_it_panicked_is_there() -> Result<()> {
    let lines = Lines::capture();
    let pair = Pair::simple().await?;
    let module = dpfw_tests::wasm::task_module(
        r#"(import "dpfw_1" "log" (func $log (param i32 i32 i32 i32 i32)))
           (data (memory 0) (i32.const 0) "last words of r10")
           (func (export "dpfw:task") (param i32 i32) (result i64)
             (call $log (i32.const 0) (i32.const 0) (i32.const 4) (i32.const 0) (i32.const 17))
             unreachable)"#,
    )?;
    let call = dpfw::Task::<()>::new(module, "task").call(&())?;
    within("the trap", pair.master.dispatch(call)).await?.expect_err("it traps");
    let line = lines.wait_for(&["last words of r10"]).await?;
    assert!(line.contains("target=\"last\""), "{line}");
    Ok(())
}
