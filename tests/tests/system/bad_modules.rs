//! F24, F35 to F38: modules that are none, or that nobody may run.

use super::stage::Stage;
use anyhow::Result;
use dpfw::{Call, CallExt, Cause, Limit, Limits, Module, Task, TaskLimits};
use dpfw_tests::fleet::{Pair, slave};
use dpfw_tests::lines::Lines;
use dpfw_tests::wait::within;
use dpfw_tests::wasm::{described, module, returns, task_module};
use std::time::Duration;

fn call(module: Module) -> Result<Call<i32>> {
    Ok(Task::new(module, "task").call(&[0; 0])?)
}

fn limits(change: impl FnOnce(&mut Limits)) -> Limits {
    let mut limits = Limits::default();
    change(&mut limits);
    limits
}

#[tokio::test]
async fn a_file_that_is_not_wasm() -> Result<()> {
    let mut stage = Stage::start().await?;
    let cases: [(&[u8], &str); 5] = [
        (b"\x7fELF\x02\x01", "it is not WebAssembly: it begins with 7f 45 4c 46"),
        (b"(module)", "it is not WebAssembly"),
        (b"\0", "it is not WebAssembly"),
        (b"\0asm\x0d\0\x01\0", "it is a WebAssembly component or of another version"),
        (b"\0asm\x01\0\0\0\x01\x05\x01", "it is not valid wasm"),
    ];
    for (bytes, expected) in cases {
        let error = stage.failure(call(Module::new(bytes))?).await?;
        assert!(matches!(error.cause(), Cause::Rejected { .. }), "{error}");
        let text = error.to_string();
        assert!(text.starts_with("`task` on s1: the module was rejected: "), "{text}");
        assert!(text.contains(expected), "{text}");
    }
    stage.end().await
}

#[tokio::test]
async fn wasm_that_does_not_validate() -> Result<()> {
    let mut stage = Stage::start().await?;
    // Well-formed sections, a body that leaves the wrong type on the stack.
    let wasm = wat_of("(module (func (export \"task\") (result i32) i64.const 1))");
    let cause = stage.cause(call(Module::new(wasm))?).await?;
    assert!(matches!(cause, Cause::Rejected { .. }), "{cause}");
    stage.end().await
}

/// The assembler does not check types.
fn wat_of(text: &str) -> Vec<u8> {
    module(text).ok().and_then(|m| m.bytes().map(|b| b.to_vec())).expect("well formed")
}

#[tokio::test]
async fn f38_an_import_that_nobody_grants_is_named() -> Result<()> {
    let mut stage = Stage::start().await?;
    let granted = returns(0, 1);
    for (import, name) in [
        (r#"(import "env" "system" (func))"#, "env.system"),
        (r#"(import "dpfw_1" "format_disk" (func))"#, "dpfw_1.format_disk"),
        (r#"(import "dpfw_2" "log" (func))"#, "dpfw_2.log"),
        (r#"(import "wasi_snapshot_preview1" "fork" (func))"#, "wasi_snapshot_preview1.fork"),
        (r#"(import "env" "memory" (memory $imported 1))"#, "env.memory"),
        (r#"(import "env" "stack" (global i32))"#, "env.stack"),
    ] {
        let error = stage.failure(call(task_module(&format!("{import} {granted}"))?)?).await?;
        let expected = format!(
            "`task` on s1: the module was rejected: it imports `{name}`, which is not granted"
        );
        assert_eq!(error.to_string(), expected);
    }
    let plain = module(r#"(module (import "env" "f" (func)) (func (export "task")))"#)?;
    let error = stage.failure(call(plain)?).await?;
    assert!(error.to_string().contains("imports `env.f`; plain modules import nothing"), "{error}");
    stage.end().await
}

#[tokio::test]
async fn f38_an_import_of_another_type_is_refused() -> Result<()> {
    let mut stage = Stage::start().await?;
    let text = format!(r#"(import "dpfw_1" "log" (func (param i64))) {}"#, returns(0, 1));
    let cause = stage.cause(call(task_module(&text)?)?).await?;
    assert!(matches!(cause, Cause::Rejected { .. }), "{cause}");
    stage.end().await
}

#[tokio::test]
async fn a_huge_initial_memory_is_refused_before_it_is_there() -> Result<()> {
    let mut stage = Stage::of(slave("s1", 2)?.limits(limits(|l| l.memory = 16 << 20))).await?;
    for text in [
        "(module (memory 257) (func (export \"task\")))",
        "(module (memory 65536) (func (export \"task\")))",
    ] {
        let error = stage.failure(call(module(text)?)?).await?;
        assert_eq!(error.cause(), &Cause::Limit { limit: Limit::Memory, allowed: 16 << 20 });
    }
    stage.end().await
}

#[tokio::test]
async fn f27_a_huge_initial_table_is_refused() -> Result<()> {
    let mut stage = Stage::start().await?;
    let text = "(module (table 4000000000 funcref) (func (export \"task\")))";
    let cause = stage.cause(call(module(text)?)?).await?;
    assert_eq!(cause, Cause::Limit { limit: Limit::Table, allowed: 20_000 });
    stage.end().await
}

#[tokio::test]
async fn f35_ten_thousand_functions_work_and_more_than_the_limit_do_not() -> Result<()> {
    let many = |n: usize| {
        let functions = "(func (result i32) (i32.const 1))".repeat(n - 1);
        module(&format!("(module {functions} (func (export \"task\") (result i32) (i32.const 7)))"))
    };
    let mut stage = Stage::of(slave("s1", 2)?.limits(limits(|l| l.functions = 10_000))).await?;
    let handle = stage.master().dispatch(call(many(10_000)?)?);
    assert_eq!(within("the function of 10,000", handle).await??, 7);
    let error = stage.failure(call(many(10_001)?)?).await?;
    assert_eq!(
        error.to_string(),
        "`task` on s1: the limit on functions was exceeded (allowed: 10000 functions)"
    );
    stage.end().await
}

#[tokio::test]
async fn f37_data_that_is_too_large_meets_its_limit() -> Result<()> {
    let mut stage = Stage::of(slave("s1", 2)?.limits(limits(|l| l.data = 4 << 20))).await?;
    let data = "x".repeat((4 << 20) + 1);
    let text = format!("(module (data \"{data}\") (func (export \"task\")))");
    let error = stage.failure(call(module(&text)?)?).await?;
    assert_eq!(
        error.to_string(),
        "`task` on s1: the limit on data segments was exceeded (allowed: 4194304 bytes)"
    );
    stage.end().await
}

#[tokio::test]
async fn a_module_that_is_too_large_meets_its_limit() -> Result<()> {
    let mut stage = Stage::of(slave("s1", 2)?.limits(limits(|l| l.module = 4 << 20))).await?;
    let data = "x".repeat(5 << 20);
    let text =
        format!("(module (memory 100) (data (i32.const 0) \"{data}\") (func (export \"task\")))");
    let cause = stage.cause(call(module(&text)?)?).await?;
    assert_eq!(cause, Cause::Limit { limit: Limit::Module, allowed: 4 << 20 });
    stage.end().await
}

#[tokio::test]
async fn f24_an_endless_start_is_interrupted() -> Result<()> {
    let quick = limits(|l| l.warm = Duration::from_millis(300));
    let mut stage = Stage::of(slave("s1", 2)?.limits(quick)).await?;
    for text in [
        r#"(func $s (loop $l (br $l))) (start $s)"#,
        r#"(func (export "_initialize") (loop $l (br $l)))"#,
        r#"(func (export "dpfw_warm") (loop $l (br $l)))"#,
    ] {
        let cause = stage.cause(call(task_module(&format!("{text} {}", returns(0, 1)))?)?).await?;
        assert_eq!(cause, Cause::Limit { limit: Limit::Time, allowed: 300 }, "{text}");
    }
    stage.end().await
}

#[tokio::test]
async fn f24_an_endless_start_of_a_module_that_cannot_be_warmed_ends_at_the_deadline() -> Result<()>
{
    let mut stage = Stage::start().await?;
    // What reads a clock is not run ahead: it runs in every sandbox, and so does its loop.
    for name in ["_initialize", "dpfw_warm"] {
        let cold = task_module(&format!(
            r#"(import "wasi_snapshot_preview1" "clock_time_get"
                 (func $clock (param i32 i64 i32) (result i32)))
               (func (export "{name}")
                 (drop (call $clock (i32.const 0) (i64.const 0) (i32.const 64)))
                 (loop $l (br $l)))
               {}"#,
            returns(0, 1)
        ))?;
        let soon = TaskLimits::new().time(Duration::from_millis(100));
        let cause = stage.cause(call(cold.clone())?.limits(soon)).await?;
        assert_eq!(cause, Cause::Limit { limit: Limit::Time, allowed: 100 }, "{name}");
        let late = call(cold)?.timeout(Duration::from_millis(100));
        assert_eq!(stage.cause(late).await?, Cause::DeadlineExceeded, "{name}");
    }
    stage.end().await
}

#[tokio::test]
async fn a_start_that_traps_or_hoards_is_told() -> Result<()> {
    let mut stage = Stage::start().await?;
    let traps = r#"(func (export "_initialize") unreachable)"#;
    let error = stage.failure(call(task_module(&format!("{traps} {}", returns(0, 1)))?)?).await?;
    let text = error.to_string();
    assert!(text.contains("the module was rejected: its start failed: "), "{text}");
    assert!(text.contains("unreachable"), "{text}");
    let recurses = r#"(func $f (export "_initialize") (call $f))"#;
    let cause = stage.cause(call(task_module(&format!("{recurses} {}", returns(0, 1)))?)?).await?;
    assert!(matches!(cause, Cause::Rejected { .. }), "{cause}");
    stage.end().await
}

#[tokio::test]
async fn f36_a_refusal_is_remembered_by_hash() -> Result<()> {
    let lines = Lines::capture();
    let pair = Pair::simple().await?;
    let bad = Module::new(&b"f36 is no module"[..]);
    for _ in 0..3 {
        let outcome = within("the refusal", pair.master.dispatch(call(bad.clone())?)).await?;
        let error = outcome.expect_err("it is no module");
        assert!(matches!(error.cause(), Cause::Rejected { .. }), "{error}");
    }
    let refused = lines.with(&["a module is refused", &bad.to_string()]);
    assert_eq!(refused.len(), 1, "{refused:?}");
    super::stage::unharmed(&pair.master).await
}

#[tokio::test]
async fn f36_a_module_that_is_slow_to_compile_delays_nobody() -> Result<()> {
    // A slot for the bystander, and one for everything else, of the same master.
    let stage = Stage::of(slave("s1", 2)?).await?;
    super::stage::unharmed(stage.master()).await?;
    let (slow, now) = slow(8000)?;
    let call = call(slow)?;
    let slow: Vec<_> = (0..100).map(|_| stage.master().dispatch(call.clone())).collect();
    super::stage::unharmed(stage.master()).await?;
    let is_made = slow.iter().any(|slow| slow.is_finished());
    assert!(!is_made, "it is quick to compile, or was waited for");
    for slow in slow {
        assert_eq!(within("the slow module", slow).await??, now);
    }
    stage.end().await
}

/// A module that takes longer to compile than any patience of a test's slave; no two are the
/// same, so that none is in the cache.
fn slow(functions: usize) -> Result<(Module, i32)> {
    let body = "(local.set 0 (i32.mul (local.get 0) (i32.const 3)))".repeat(20);
    let functions = format!("(func (param i32) {body})").repeat(functions);
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?.subsec_nanos();
    let slow = module(&format!(
        "(module {functions} (func (export \"task\") (result i32) (i32.const {now})))"
    ))?;
    Ok((slow, now.cast_signed()))
}

#[tokio::test]
async fn f36_a_module_that_takes_too_long_to_compile_is_refused_once_and_for_all() -> Result<()> {
    let lines = Lines::capture();
    let short = limits(|l| l.compile = Duration::from_millis(30));
    // What the others need is compiled: it takes longer as well.
    super::stage::unharmed(&Pair::start(slave("s0", 1)?).await?.master).await?;
    let mut stage = Stage::of(slave("s1", 2)?.limits(short)).await?;
    let (slow, _) = slow(8000)?;
    for _ in 0..3 {
        let cause = stage.cause(call(slow.clone())?).await?;
        assert_eq!(cause, Cause::Limit { limit: Limit::CompileTime, allowed: 30 });
    }
    let refused = lines.with(&["a module is refused", &slow.to_string()]);
    assert_eq!(refused.len(), 1, "{refused:?}");
    stage.end().await
}

#[tokio::test]
async fn f36_a_function_that_is_too_large_to_compile_is_refused_unseen() -> Result<()> {
    let mut stage =
        Stage::of(slave("s1", 2)?.limits(limits(|l| l.function_size = 100_000))).await?;
    let of = |bodies: usize| {
        let body = "(drop (i32.const 0))".repeat(bodies);
        module(&format!("(module (func (export \"task\") (result i32) {body} (i32.const 7)))"))
    };
    let error = stage.failure(call(of(40_000)?)?).await?;
    assert_eq!(
        error.to_string(),
        "`task` on s1: the limit on function size was exceeded (allowed: 100000 bytes)"
    );
    assert_eq!(stage.master().dispatch(call(of(30_000)?)?).await?, 7);
    stage.end().await
}

#[tokio::test]
async fn f36_slow_modules_of_one_master_delay_no_module_of_another() -> Result<()> {
    let lines = Lines::capture();
    let pair = Pair::start(slave("s1", 2)?).await?;
    let slow = (0..4).map(|_| slow(20_000)).collect::<Result<Vec<_>>>()?;
    let calls = slow.iter().map(|(module, _)| call(module.clone())).collect::<Result<Vec<_>>>()?;
    let handles: Vec<_> = calls.into_iter().map(|call| pair.master.dispatch(call)).collect();
    for (module, _) in &slow {
        lines.wait_for(&["a module has come", &module.to_string()]).await?;
    }
    let other = dpfw_tests::fleet::master(&[&pair.address]).await?;
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?.subsec_nanos();
    let text = format!("(module (func (export \"task\") (result i32) (i32.const {now})))");
    let quick = other.dispatch(call(module(&text)?)?);
    assert_eq!(within("the quick module", quick).await??, now.cast_signed());
    assert!(!handles.iter().any(|s| s.is_finished()), "they are quick, or were waited for");
    // Nobody waits for them any more: the next module need not wait for them either.
    drop(handles);
    super::stage::unharmed(&pair.master).await
}

#[tokio::test]
async fn a_malformed_description_is_told_with_its_line() -> Result<()> {
    let mut stage = Stage::start().await?;
    let good = task_module(&returns(0, 1))?;
    for (records, expected) in [
        ("nonsense", "line 1 of the section `dpfw.tasks` is no record"),
        ("{\"task\":{\"name\":\"a\"}}\n{\"task\":{\"name\":\"a\"}}", "two tasks are named `a`"),
        ("\u{0}", "line 1 of the section"),
    ] {
        let error = stage.failure(call(described(&good, records)?)?).await?;
        let text = error.to_string();
        assert!(text.contains("the module was rejected: ") && text.contains(expected), "{text}");
    }
    stage.end().await
}

#[tokio::test]
async fn versions_of_a_module_live_side_by_side() -> Result<()> {
    let pair = Pair::simple().await?;
    let version =
        |n: u32| module(&format!("(module (func (export \"task\") (result i32) (i32.const {n})))"));
    let (one, two) = (call(version(1)?)?, call(version(2)?)?);
    for _ in 0..3 {
        assert_eq!(pair.master.dispatch(one.clone()).await?, 1);
        assert_eq!(pair.master.dispatch(two.clone()).await?, 2);
    }
    Ok(())
}
