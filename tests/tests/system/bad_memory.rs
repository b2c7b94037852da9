//! F26, F27, F30 to F32: guests that want too much, or lie about where it is.

use super::stage::Stage;
use anyhow::Result;
use dpfw::{Call, Cause, Limit, Limits, Module, Task};
use dpfw_test_tasks::{big, echo, hoard};
use dpfw_tests::fleet::{Pair, slave};
use dpfw_tests::wasm::{returns, task_module};

fn task(module: Module) -> Result<Call<()>> {
    Ok(Task::new(module, "task").call(&())?)
}

fn limits(change: impl FnOnce(&mut Limits)) -> Limits {
    let mut limits = Limits::default();
    change(&mut limits);
    limits
}

#[tokio::test]
async fn f26_a_memory_bomb_meets_the_limit_on_memory() -> Result<()> {
    let small = limits(|l| l.memory = 32 << 20);
    let mut stage = Stage::of(slave("s1", 2)?.limits(small)).await?;
    let error = stage.failure(hoard::call()).await?;
    assert_eq!(error.cause(), &Cause::Limit { limit: Limit::Memory, allowed: 32 << 20 });
    assert_eq!(
        error.to_string(),
        "`hoard` on s1: the limit on memory was exceeded (allowed: 33554432 bytes)"
    );
    stage.end().await
}

#[tokio::test]
async fn f26_growth_is_refused_and_a_guest_that_copes_goes_on() -> Result<()> {
    let stage = Stage::of(slave("s1", 2)?.limits(limits(|l| l.memory = 8 << 20))).await?;
    // Grows by a page until it may not, and gives the number of pages.
    let module = task_module(
        r#"(func (export "dpfw:task") (param i32 i32) (result i64)
             (loop $more (br_if $more (i32.ne (memory.grow (i32.const 1)) (i32.const -1))))
             (i32.store8 (i32.const 0) (i32.const 0))
             (i32.store8 (i32.const 1) (i32.const 0xcc))
             (i32.store8 (i32.const 2) (memory.size))
             (i64.const 3))"#,
    )?;
    let pages = stage.master().dispatch(Task::<u8>::new(module, "task").call(&())?).await?;
    assert_eq!(pages, 128, "8 MiB in pages of 64 KiB");
    stage.end().await
}

#[tokio::test]
async fn f26_more_than_one_memory_is_refused_by_name() -> Result<()> {
    let mut stage = Stage::start().await?;
    let module = task_module("(memory $a 1) (memory $b 1)")?;
    let cause = stage.cause(task(module)?).await?;
    let is_named =
        matches!(&cause, Cause::Rejected { reason } if reason.contains("multiple memories"));
    assert!(is_named, "{cause}");
    stage.end().await
}

#[tokio::test]
async fn f27_many_tables_share_the_limit() -> Result<()> {
    let mut stage = Stage::of(slave("s1", 2)?.limits(limits(|l| l.table = 5000))).await?;
    let module = task_module(
        r#"(table $a 1 funcref) (table $b 1 funcref)
           (func (export "dpfw:task") (param i32 i32) (result i64)
             (if (i32.eq (table.grow $a (ref.null func) (i32.const 4000)) (i32.const -1))
               (then (return (i64.const 0))))
             (if (i32.ne (table.grow $b (ref.null func) (i32.const 4000)) (i32.const -1))
               (then (return (i64.const 0))))
             unreachable)"#,
    )?;
    let exceeded = Cause::Limit { limit: Limit::Table, allowed: 5000 };
    assert_eq!(stage.cause(task(module)?).await?, exceeded);
    stage.end().await
}

#[tokio::test]
async fn f27_a_table_bomb_meets_the_limit_on_tables() -> Result<()> {
    let mut stage = Stage::of(slave("s1", 2)?.limits(limits(|l| l.table = 5000))).await?;
    let module = task_module(
        r#"(table $t 1 funcref)
           (func (export "dpfw:task") (param i32 i32) (result i64)
             (loop $more
               (br_if $more
                 (i32.ne (table.grow $t (ref.null func) (i32.const 100)) (i32.const -1))))
             unreachable)"#,
    )?;
    let error = stage.failure(task(module)?).await?;
    assert_eq!(error.cause(), &Cause::Limit { limit: Limit::Table, allowed: 5000 });
    assert_eq!(
        error.to_string(),
        "`task` on s1: the limit on table was exceeded (allowed: 5000 elements)"
    );
    stage.end().await
}

#[tokio::test]
async fn f30_a_result_outside_memory_breaks_the_abi() -> Result<()> {
    let mut stage = Stage::start().await?;
    for (ptr, len) in [(65_536, 1), (65_535, 2), (0, 65_537), (u32::MAX, 1)] {
        let error = stage.failure(task(task_module(&returns(ptr, len))?)?).await?;
        let expected = format!("{len} bytes at {ptr} are outside its memory of 65536 bytes");
        assert_eq!(error.cause(), &Cause::GuestAbi { message: expected });
    }
    stage.end().await
}

#[tokio::test]
async fn f31_a_forged_length_breaks_the_abi_before_anything_is_allocated() -> Result<()> {
    let mut stage = Stage::start().await?;
    for (ptr, len) in [(0, u32::MAX), (16, u32::MAX - 8), (u32::MAX, u32::MAX), (1, u32::MAX)] {
        let error = stage.failure(task(task_module(&returns(ptr, len))?)?).await?;
        assert!(matches!(error.cause(), Cause::GuestAbi { .. }), "{error}");
        assert!(
            error.to_string().starts_with("`task` on s1: the guest broke the ABI: "),
            "{error}"
        );
    }
    // In a list of pieces: one that wraps, one of 4 GiB, a list that is no list, too many.
    let memory = |data: &str, len: u32| {
        task_module(&format!(r#"(data (memory 0) (i32.const 0) "\03{data}") {}"#, returns(0, len)))
    };
    for module in [
        memory(r"\ff\ff\ff\ff\ff\ff\ff\ff", 9)?,
        memory(r"\00\00\00\00\ff\ff\ff\ff", 9)?,
        memory(r"\00\00\00\00\01\00\00", 8)?,
        memory("", 40_000)?,
    ] {
        let cause = stage.cause(task(module)?).await?;
        assert!(matches!(cause, Cause::GuestAbi { .. }), "{cause}");
    }
    stage.end().await
}

#[tokio::test]
async fn f32_pieces_that_overlap_cannot_make_more_of_a_chunk_than_a_result_may_have() -> Result<()>
{
    let pair = Pair::simple().await?;
    // All of its 64 MiB, 4,096 times: 256 GiB, from a list of 32 KiB.
    let list = r"\00\00\00\00\00\00\00\04".repeat(4096);
    let module = dpfw_tests::wasm::module(&format!(
        r#"(module
            (memory (export "memory") 1024)
            (data (memory 0) (i32.const 0) "\03{list}")
            (func (export "dpfw_alloc") (param i32) (result i32) (i32.const 65536))
            {})"#,
        returns(0, 1 + 8 * 4096)
    ))?;
    let calls = (0..2).map(|_| task(module.clone())).collect::<Result<Vec<_>>>()?;
    let failed = pair.master.map(calls, |call| call).chunk(2).all().await;
    let error = failed.expect_err("far too large");
    assert_eq!(error.cause(), &Cause::Limit { limit: Limit::Result, allowed: 1 << 30 });
    super::stage::unharmed(&pair.master).await
}

#[tokio::test]
async fn what_else_breaks_the_abi_is_said() -> Result<()> {
    let mut stage = Stage::start().await?;
    let nothing = task_module(&returns(8, 0))?;
    let tag = task_module(&format!(r#"(data (memory 0) (i32.const 0) "\09") {}"#, returns(0, 1)))?;
    let logs = |args: &str| {
        task_module(&format!(
            r#"(import "dpfw_1" "log" (func $log (param i32 i32 i32 i32 i32)))
               (func (export "dpfw:task") (param i32 i32) (result i64)
                 (call $log {args}) unreachable)"#
        ))
    };
    let text = logs("(i32.const 3) (i32.const 0) (i32.const 0) (i32.const 8) (i32.const -1)")?;
    let target = logs("(i32.const 3) (i32.const -8) (i32.const 16) (i32.const 0) (i32.const 0)")?;
    let room = dpfw_tests::wasm::module(
        r#"(module (memory (export "memory") 1)
             (func (export "dpfw_alloc") (param i32) (result i32) (i32.const 65536))
             (func (export "dpfw:task") (param i32 i32) (result i64) unreachable))"#,
    )?;
    for (module, expected) in [
        (nothing, "it returned nothing, not even a tag"),
        (tag, "it returned the unknown tag 9"),
        (text, "4294967295 bytes at 8 are outside its memory of 65536 bytes"),
        (target, "16 bytes at 4294967288 are outside its memory of 65536 bytes"),
        (room, "`dpfw_alloc(1)` gave 65536, where its memory has no such room"),
    ] {
        let cause = stage.cause(task(module)?).await?;
        assert_eq!(cause, Cause::GuestAbi { message: expected.into() });
    }
    stage.end().await
}

#[tokio::test]
async fn task_modules_that_do_not_keep_to_the_abi_are_refused() -> Result<()> {
    let mut stage = Stage::start().await?;
    for text in [
        // No memory; no dpfw_alloc; signatures that are others.
        r#"(module (func (export "dpfw_alloc") (param i32) (result i32) (i32.const 0))
             (func (export "dpfw:task") (param i32 i32) (result i64) (i64.const 0)))"#,
        r#"(module (memory (export "memory") 1)
             (func (export "dpfw:task") (param i32 i32) (result i64) (i64.const 0)))"#,
        r#"(module (memory (export "memory") 1)
             (func (export "dpfw_alloc") (result i32) (i32.const 0))
             (func (export "dpfw:task") (param i32 i32) (result i64) (i64.const 0)))"#,
        r#"(module (memory (export "memory") 1)
             (func (export "dpfw_alloc") (param i32) (result i32) (i32.const 0))
             (func (export "dpfw:task") (param i32) (result i32) (i32.const 0)))"#,
    ] {
        let error = stage.failure(task(dpfw_tests::wasm::module(text)?)?).await?;
        let is_told = matches!(error.cause(), Cause::Rejected { .. } | Cause::GuestAbi { .. });
        assert!(is_told, "{text}: {error}");
    }
    stage.end().await
}

#[tokio::test]
async fn f32_a_result_that_is_too_large_meets_its_limit() -> Result<()> {
    let mut stage = Stage::of(slave("s1", 2)?.limits(limits(|l| l.result = 100_000))).await?;
    let error = stage.failure(big::call(200_000)).await?;
    assert_eq!(error.cause(), &Cause::Limit { limit: Limit::Result, allowed: 100_000 });
    assert_eq!(
        error.to_string(),
        "`big` on s1: the limit on result was exceeded (allowed: 100000 bytes)"
    );
    assert_eq!(stage.master().dispatch(big::call(99_000)).await?.len(), 99_000);
    stage.end().await
}

#[tokio::test]
async fn arguments_that_are_too_large_meet_their_limit() -> Result<()> {
    let mut stage = Stage::of(slave("s1", 2)?.limits(limits(|l| l.arguments = 100_000))).await?;
    for len in [100_000, 10_000_000] {
        let cause = stage.cause(echo::call(vec![1; len].into())).await?;
        assert_eq!(cause, Cause::Limit { limit: Limit::Arguments, allowed: 100_000 });
    }
    let back = stage.master().dispatch(echo::call(vec![1; 99_000].into())).await?;
    assert_eq!(back.len(), 99_000);
    stage.end().await
}
