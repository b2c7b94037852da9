//! Each task has a sandbox of its own: nothing is left of the one before.

use super::stage::Stage;
use anyhow::Result;
use dpfw::{Cause, Module, Task};
use dpfw_test_tasks::{boom, count, count_but, count_then_trap, outside, random};
use dpfw_tests::fleet::{Pair, slave};
use dpfw_tests::wait::within;
use dpfw_tests::wasm::module;
use std::collections::BTreeSet;

#[tokio::test]
async fn a_static_counter_is_one_in_each_task() -> Result<()> {
    let pair = Pair::start(slave("s1", 2)?).await?;
    let counts = (0..1000).map(|_| count::call()).collect::<Vec<_>>();
    let counts = within("the counts", pair.master.parallel(counts)).await??;
    assert!(counts.iter().all(|&count| count == 1), "a sandbox was used twice");
    Ok(())
}

#[tokio::test]
async fn a_static_counter_is_one_after_a_trap_and_a_panic() -> Result<()> {
    let mut stage = Stage::start().await?;
    for _ in 0..10 {
        let cause = stage.cause(count_then_trap::call()).await?;
        assert!(matches!(cause, Cause::Trap { .. }), "{cause}");
        assert_eq!(stage.master().dispatch(count::call()).await?, 1);
        let cause = stage.cause(boom::call("x".into())).await?;
        assert!(matches!(cause, Cause::Panic { .. }), "{cause}");
        assert_eq!(stage.master().dispatch(count::call()).await?, 1);
    }
    stage.end().await
}

#[tokio::test]
async fn a_chunk_shares_a_sandbox_unless_isolated() -> Result<()> {
    let pair = Pair::simple().await?;
    let call = |n| count_but::call(n, u64::MAX);
    let shared = within("the map", pair.master.map(0..20, call).chunk(10).all()).await??;
    let counts: Vec<_> = shared.iter().map(|(_, count)| *count).collect();
    assert_eq!(counts, [(1..=10), (1..=10)].into_iter().flatten().collect::<Vec<_>>());
    let isolated = pair.master.map(0..20, call).chunk(10).isolated().all();
    let isolated = within("the map", isolated).await??;
    assert!(isolated.iter().all(|(_, count)| *count == 1), "{isolated:?}");
    Ok(())
}

/// Memory of many pages, a table and a global, all of which can be changed and read.
fn changeable() -> Result<Module> {
    module(
        r#"(module
            (memory 200)
            (table $t 8 funcref)
            (elem declare func $f)
            (global $g (mut i64) (i64.const 7))
            (func $f)
            (func (export "change") (result i32) (local $at i32)
              (loop $more
                (i64.store (local.get $at) (i64.const -1))
                (local.set $at (i32.add (local.get $at) (i32.const 4096)))
                (br_if $more (i32.lt_u (local.get $at) (i32.const 13107200))))
              (global.set $g (i64.const 8))
              (table.set $t (i32.const 5) (ref.func $f))
              (memory.grow (i32.const 3)))
            (func (export "look") (result i64 i64 i32 i32) (local $at i32) (local $sum i64)
              (loop $more
                (local.set $sum (i64.or (local.get $sum) (i64.load (local.get $at))))
                (local.set $at (i32.add (local.get $at) (i32.const 8)))
                (br_if $more (i32.lt_u (local.get $at) (i32.const 13107200))))
              (local.get $sum) (global.get $g)
              (ref.is_null (table.get $t (i32.const 5))) (memory.size)))"#,
    )
}

#[tokio::test]
async fn nothing_of_a_task_is_seen_by_the_next() -> Result<()> {
    let pair = Pair::simple().await?;
    let module = changeable()?;
    let change = Task::<i32>::new(module.clone(), "change");
    let look = Task::<(i64, i64, i32, u32)>::new(module, "look");
    for _ in 0..20 {
        assert_eq!(within("a change", pair.master.dispatch(change.call(&[0; 0])?)).await??, 200);
        let seen = within("a look", pair.master.dispatch(look.call(&[0; 0])?)).await??;
        assert_eq!(seen, (0, 7, 1, 200), "memory, global, table, size");
    }
    Ok(())
}

#[tokio::test]
async fn randomness_differs_from_task_to_task_and_from_slave_to_slave() -> Result<()> {
    let mut seen = BTreeSet::new();
    for name in ["s1", "s2"] {
        let pair = Pair::start(slave(name, 2)?).await?;
        let calls = (0..100).map(|_| random::call()).collect::<Vec<_>>();
        seen.extend(within("randomness", pair.master.parallel(calls)).await??);
    }
    assert_eq!(seen.len(), 200, "randomness was baked in");
    Ok(())
}

#[tokio::test]
async fn a_guest_sees_no_environment_and_no_files() -> Result<()> {
    let pair = Pair::simple().await?;
    let (vars, args, read, written) =
        within("a look", pair.master.dispatch(outside::call())).await??;
    assert_eq!((vars, args, read, written), (0, 0, false, false));
    Ok(())
}

#[tokio::test]
async fn a_module_that_cannot_be_warmed_is_set_up_in_every_sandbox() -> Result<()> {
    let pair = Pair::simple().await?;
    // Its start reads a clock; then it counts how often each was run, and in which order.
    let clock = r#"(import "wasi_snapshot_preview1" "clock_time_get"
                     (func $clock (param i32 i64 i32) (result i32)))"#;
    for read_clock in ["", "(drop (call $clock (i32.const 0) (i64.const 0) (i32.const 64)))"] {
        let set_up = dpfw_tests::wasm::task_module(&format!(
            r#"{clock}
               (global $said (mut i32) (i32.const 0))
               (func $say (param $digit i32)
                 (global.set $said
                   (i32.add (i32.mul (global.get $said) (i32.const 4)) (local.get $digit))))
               (func (export "_initialize") {read_clock} (call $say (i32.const 1)))
               (func (export "dpfw_warm") (call $say (i32.const 2)))
               (func (export "dpfw:said") (param i32 i32) (result i64)
                 (i32.store8 (i32.const 17) (global.get $said))
                 (i64.const 0x1000000002))"#
        ))?;
        let said = Task::<u8>::new(set_up, "said");
        for _ in 0..3 {
            let said = pair.master.dispatch(said.call(&())?);
            assert_eq!(within("what was run", said).await??, 0b0110, "{read_clock}");
        }
    }
    Ok(())
}
