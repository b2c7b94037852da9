//! F23 to F25, F28, F29, F34, F39: guests that trap, panic, never end, or talk too much.

use super::scene::dispatch;
use super::stage::Stage;
use anyhow::{Context, Result};
use dpfw::{CallExt, Cause, Limit, Limits, Trap};
use dpfw_protocol::message::{Progress, kind};
use dpfw_test_tasks::{
    add, boom, count_then_trap, exit, flood, forever, recurse, sleep, spin, traps_at,
};
use dpfw_tests::fleet::{entry, slave};
use dpfw_tests::lines::Lines;
use dpfw_tests::peer::Wire;
use dpfw_tests::wait::within;
use dpfw_tests::wasm::{module, task_module};
use std::time::{Duration, Instant};

/// Long enough to be entered on a loaded machine, short enough to wait for.
const SOON: Duration = Duration::from_millis(200);

#[tokio::test]
async fn f29_a_panic_reaches_the_caller_with_message_file_and_line() -> Result<()> {
    let mut stage = Stage::start().await?;
    let error = stage.failure(boom::call("no \u{1f980}".into())).await?;
    let Cause::Panic { message, location, backtrace } = error.cause() else { panic!("{error}") };
    assert_eq!(message, "no \u{1f980}!");
    let location = location.as_ref().expect("a place");
    assert!(location.file.ends_with("src/hostile.rs"), "{location}");
    assert_eq!((location.line, location.column), (10, 5));
    assert!(backtrace.iter().any(|frame| frame.contains("boom")), "{backtrace:?}");
    let text = error.to_string();
    assert!(text.starts_with("`boom` on s1: the task panicked at "), "{text}");
    assert!(text.ends_with("src/hostile.rs:10:5: no \u{1f980}!"), "{text}");
    stage.end().await
}

#[tokio::test]
async fn f29_a_long_panic_is_cut() -> Result<()> {
    let mut stage = Stage::start().await?;
    let cause = stage.cause(boom::call("x".repeat(100_000))).await?;
    let Cause::Panic { message, .. } = &cause else { panic!("{cause}") };
    assert!(message.starts_with("xxx") && message.len() <= 8192, "{} bytes", message.len());
    stage.end().await
}

#[tokio::test]
async fn f29_a_trap_is_named_with_its_backtrace() -> Result<()> {
    let mut stage = Stage::start().await?;
    let error = stage.failure(traps_at::call(3, 3)).await?;
    let Cause::Trap { kind, backtrace } = error.cause() else { panic!("{error}") };
    assert_eq!(kind, &Trap::Unreachable);
    assert!(backtrace.iter().any(|frame| frame.contains("traps_at")), "{backtrace:?}");
    assert_eq!(error.to_string(), "`traps_at` on s1: the task trapped: unreachable executed");
    stage.cause(count_then_trap::call()).await?;
    stage.end().await
}

#[tokio::test]
async fn every_trap_has_its_name() -> Result<()> {
    let mut stage = Stage::start().await?;
    let cases = [
        ("unreachable", Trap::Unreachable),
        ("(drop (i32.load (i32.const 65536)))", Trap::MemoryOutOfBounds),
        ("(drop (i32.div_u (i32.const 1) (i32.const 0)))", Trap::DivisionByZero),
        ("(drop (i32.div_s (i32.const 0x80000000) (i32.const -1)))", Trap::IntegerOverflow),
        ("(drop (i32.trunc_f32_s (f32.const nan)))", Trap::BadConversion),
        ("(call_indirect (type $f) (i32.const 0))", Trap::NullCall),
        ("(call_indirect (type $f) (i32.const 9))", Trap::TableOutOfBounds),
        ("(call_indirect (type $f) (i32.const 1))", Trap::BadSignature),
    ];
    for (body, expected) in cases {
        let module = task_module(&format!(
            r#"(type $f (func)) (table 2 2 funcref) (elem (i32.const 1) $other)
               (func $other (param i32))
               (func (export "dpfw:task") (param i32 i32) (result i64) {body} (i64.const 0))"#
        ))?;
        let cause = stage.cause(dpfw::Task::<()>::new(module, "task").call(&())?).await?;
        let Cause::Trap { kind, .. } = &cause else { panic!("{body}: {cause}") };
        assert_eq!(kind, &expected, "{body}");
    }
    stage.end().await
}

#[tokio::test]
async fn f28_endless_recursion_is_a_stack_overflow() -> Result<()> {
    let mut stage = Stage::start().await?;
    let error = stage.failure(recurse::call(0)).await?;
    let Cause::Trap { kind, backtrace } = error.cause() else { panic!("{error}") };
    assert_eq!(kind, &Trap::StackOverflow);
    assert!(backtrace.len() <= 64, "{} frames", backtrace.len());
    assert_eq!(error.to_string(), "`recurse` on s1: the task trapped: stack overflow");
    stage.end().await
}

#[tokio::test]
async fn f23_an_endless_loop_ends_at_its_deadline() -> Result<()> {
    let mut stage = Stage::start().await?;
    let start = Instant::now();
    let error = stage.failure(forever::call().timeout(SOON)).await?;
    assert_eq!(error.cause(), &Cause::DeadlineExceeded);
    assert_eq!(error.to_string(), "`forever` on s1: the deadline passed");
    assert!(start.elapsed() >= SOON, "{:?}", start.elapsed());
    // The slave says so, not the master after its grace of a second.
    assert!(start.elapsed() < SOON + Duration::from_secs(1), "{:?}", start.elapsed());
    stage.end().await
}

#[tokio::test]
async fn f23_an_endless_loop_ends_at_the_operators_limit() -> Result<()> {
    let mut limits = Limits::default();
    limits.time = SOON;
    let pair = dpfw_tests::fleet::Pair::start(slave("s1", 1)?.limits(limits)).await?;
    let error = within("the limit", pair.master.dispatch(forever::call())).await?;
    let error = error.expect_err("it never ends");
    assert_eq!(error.cause(), &Cause::Limit { limit: Limit::Time, allowed: 200 });
    assert_eq!(
        error.to_string(),
        "`forever` on s1: the limit on time was exceeded (allowed: 200 ms)"
    );
    super::stage::unharmed(&pair.master).await
}

#[tokio::test]
async fn f25_waiting_for_ever_in_a_host_call_ends_at_the_deadline() -> Result<()> {
    let mut stage = Stage::start().await?;
    let cause = stage.cause(sleep::call("asleep".into()).timeout(SOON)).await?;
    assert_eq!(cause, Cause::DeadlineExceeded);
    stage.end().await
}

#[tokio::test]
async fn f39_a_task_is_cancelled_in_a_host_call() -> Result<()> {
    let stage = Stage::start().await?;
    let handle = stage.master().dispatch(sleep::call("asleep".into()));
    entry(&stage.linked, "asleep").await?;
    handle.cancel();
    let error = within("the end", handle).await?.expect_err("it was cancelled");
    assert_eq!(error.cause(), &Cause::Cancelled);
    // The slot is free: with the bystander's it is one of two.
    super::stage::unharmed(stage.master()).await?;
    stage.end_after(1, 1).await
}

#[tokio::test]
async fn f39_a_task_is_cancelled_in_a_bulk_copy() -> Result<()> {
    let stage = Stage::start().await?;
    // Says that it is there, and copies 64 MiB onto itself, a byte further, for ever.
    let copies = module(
        r#"(module
            (import "dpfw_1" "store_put" (func $put (param i32 i32 i32 i32) (result i32)))
            (memory (export "memory") 1025)
            (data (i32.const 0) "copying")
            (func (export "dpfw_alloc") (param i32) (result i32) (i32.const 1024))
            (func (export "dpfw:task") (param i32 i32) (result i64)
              (drop (call $put (i32.const 0) (i32.const 7) (i32.const 0) (i32.const 1)))
              (loop $more
                (memory.copy (i32.const 1) (i32.const 0) (i32.const 0x4000000))
                (br $more))
              unreachable))"#,
    )?;
    let handle = stage.master().dispatch(dpfw::Task::<()>::new(copies, "task").call(&())?);
    entry(&stage.linked, "copying").await?;
    handle.cancel();
    let error = within("the end", handle).await?.expect_err("it was cancelled");
    assert_eq!(error.cause(), &Cause::Cancelled);
    super::stage::unharmed(stage.master()).await?;
    stage.end_after(1, 1).await
}

#[tokio::test]
async fn f25_a_sleep_that_is_cut_short_is_not_taken_for_one_that_is_over() -> Result<()> {
    let mut stage = Stage::start().await?;
    // Returns as soon as its only call of the host does: there is no loop in which it could
    // be interrupted.
    let sleeps = task_module(
        r#"(import "wasi_snapshot_preview1" "poll_oneoff"
             (func $poll (param i32 i32 i32 i32) (result i32)))
           (data (memory 0) (i32.const 24) "\ff\ff\ff\ff\ff\ff\ff\7f")
           (data (memory 0) (i32.const 256) "\00\c0")
           (func (export "dpfw:task") (param i32 i32) (result i64)
             (drop (call $poll (i32.const 0) (i32.const 128) (i32.const 1) (i32.const 200)))
             (i64.const 0x10000000002))"#,
    )?;
    let call = dpfw::Task::<()>::new(sleeps, "task").call(&())?.timeout(SOON);
    assert_eq!(stage.cause(call).await?, Cause::DeadlineExceeded);
    stage.end().await
}

#[tokio::test]
async fn a_deadline_that_has_passed_while_waiting_starts_nothing() -> Result<()> {
    let pair = dpfw_tests::fleet::Pair::simple().await?;
    let linked = pair.linked()?;
    let busy = pair.master.dispatch(spin::call("busy".into()));
    entry(&linked, "busy").await?;
    let late =
        pair.master.dispatch(dpfw_test_tasks::put::call("late".into(), "x".into()).timeout(SOON));
    let error = within("the deadline", late).await?.expect_err("it was late");
    assert_eq!(error.cause(), &Cause::DeadlineExceeded);
    drop(busy);
    super::stage::unharmed(&pair.master).await?;
    assert_eq!(linked.store().get::<String>("late").await?, None);
    Ok(())
}

#[tokio::test]
async fn a_guest_that_ends_its_process_ends_only_itself() -> Result<()> {
    let mut stage = Stage::start().await?;
    for code in [0, 7] {
        let error = stage.failure(exit::call(code)).await?;
        let text = error.to_string();
        assert!(matches!(error.cause(), Cause::GuestAbi { .. }), "{text}");
        assert!(text.contains(&format!("it called exit({code}) instead of returning")), "{text}");
    }
    stage.end().await
}

#[tokio::test]
async fn f34_a_flood_of_log_lines_is_cut_and_escaped() -> Result<()> {
    let lines = Lines::capture();
    let stage = Stage::start().await?;
    let text = format!("f34\u{1b}[31m\r\n{}", "x".repeat(1000));
    within("the flood", stage.master().dispatch(flood::call(text, 10_000))).await??;
    let last = "the limit on log bytes is reached; further lines are dropped";
    lines.wait_for(&["flood", last]).await?;
    let logged = lines.with(&["f34"]);
    assert!((10..=64).contains(&logged.len()), "{} lines of a KiB", logged.len());
    assert!(logged.iter().all(|line| !line.contains('\u{1b}')), "{}", logged[0]);
    assert!(logged[0].contains("f34\\u{1b}[31m\\r\\n"), "{}", logged[0]);
    assert_eq!(lines.with(&["flood", last]).len(), 1);
    // The rest is counted: what was sent and what was dropped is all.
    let dropped = format!("{} lines were dropped", 10_000 - logged.len());
    lines.wait_for(&["flood", &dropped]).await?;
    assert_eq!(stage.master().dispatch(add::call(1, 1)).await?, 2);
    stage.end().await
}

#[tokio::test]
async fn f34_a_flood_of_progress_is_thinned_and_its_last_word_arrives() -> Result<()> {
    let stage = Stage::start().await?;
    let module = task_module(
        r#"(import "dpfw_1" "progress" (func $progress (param i64 i64)))
           (data (memory 0) (i32.const 0) "\00\c0")
           (func (export "dpfw:task") (param i32 i32) (result i64) (local $done i64)
             (loop $more
               (local.set $done (i64.add (local.get $done) (i64.const 1)))
               (call $progress (local.get $done) (i64.const 10000))
               (br_if $more (i64.lt_u (local.get $done) (i64.const 10000))))
             (i64.const 2))"#,
    )?;
    // So that the slave has the module.
    let call = dpfw::Task::<()>::new(module.clone(), "task").call(&())?;
    within("the task", stage.master().dispatch(call)).await??;
    let mut wire = Wire::master(&stage.pair.address, "listener").await?;
    wire.bind(0, &module, "task").await?;
    wire.send(1, &dispatch(0, 1), &[0x90]).await?;
    let mut told = Vec::new();
    loop {
        let said = wire.next().await?.context("the link ended")?;
        match said.header.kind {
            kind::PROGRESS => told.push(said.read::<Progress>()?.0.done),
            kind::DONE => break,
            _ => {}
        }
    }
    assert!(told.len() < 5000, "{} of 10,000 were sent", told.len());
    assert_eq!((told.first(), told.last()), (Some(&1), Some(&10_000)));
    stage.end().await
}
