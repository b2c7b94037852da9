//! Plain modules: functions on numbers, from any language, without the SDK.

use super::stage::Stage;
use anyhow::Result;
use dpfw::{Cause, Module, Task};
use dpfw_tests::fleet::{Pair, slave};
use dpfw_tests::wait::{until, within};
use dpfw_tests::wasm::module;
use serde::de::DeserializeOwned;

fn numbers() -> Result<Module> {
    module(
        r#"(module
            (func (export "add") (param i32 i32) (result i32)
              (i32.add (local.get 0) (local.get 1)))
            (func (export "wide") (param i64) (result i64) (local.get 0))
            (func (export "floats") (param f32 f64) (result f64)
              (f64.add (f64.promote_f32 (local.get 0)) (local.get 1)))
            (func (export "nothing"))
            (func (export "several") (param i32) (result i32 i64 f32 f64)
              (local.get 0) (i64.const -5) (f32.const 0.5) (f64.const 0.1))
            (func (export "divide") (param i32 i32) (result i32)
              (i32.div_s (local.get 0) (local.get 1)))
            (func (export "reference") (result funcref) (ref.null func))
            (func (export "takes_reference") (param funcref))
            (func (export "loop") (loop $l (br $l))))"#,
    )
}

async fn call<T: DeserializeOwned>(
    pair: &Pair,
    name: &str,
    args: impl serde::Serialize,
) -> Result<T> {
    let task = Task::<T>::new(numbers()?, name);
    Ok(within(name, pair.master.dispatch(task.call(&args)?)).await??)
}

#[tokio::test]
async fn plain_functions_take_and_give_numbers() -> Result<()> {
    let pair = Pair::start(slave("s1", 1)?).await?;
    assert_eq!(call::<i32>(&pair, "add", (2, 3)).await?, 5);
    assert_eq!(call::<i32>(&pair, "add", (i32::MAX, 1)).await?, i32::MIN);
    assert_eq!(call::<i32>(&pair, "add", (u32::MAX, 0)).await?, -1);
    assert_eq!(call::<i64>(&pair, "wide", [i64::MIN]).await?, i64::MIN);
    assert_eq!(call::<i64>(&pair, "wide", [u64::MAX]).await?, -1);
    assert_eq!(call::<f64>(&pair, "floats", (0.5f32, 0.1)).await?, 0.6);
    assert_eq!(call::<f64>(&pair, "floats", (1, 2)).await?, 3.0);
    call::<()>(&pair, "nothing", [0; 0]).await?;
    let several: (i32, i64, f32, f64) = call(&pair, "several", [7]).await?;
    assert_eq!(several, (7, -5, 0.5, 0.1));
    Ok(())
}

#[tokio::test]
async fn floats_beyond_all_numbers_arrive() -> Result<()> {
    let pair = Pair::simple().await?;
    let infinite: f64 = call(&pair, "floats", (f32::INFINITY, 1.0)).await?;
    assert_eq!(infinite, f64::INFINITY);
    let nan: f64 = call(&pair, "floats", (f32::NAN, 1.0)).await?;
    assert!(nan.is_nan());
    Ok(())
}

#[tokio::test]
async fn what_does_not_fit_a_plain_function_is_told() -> Result<()> {
    let mut stage = Stage::start().await?;
    let module = numbers()?;
    let add = Task::<i32>::new(module.clone(), "add");
    for (call, expected) in [
        (add.call(&(1,))?, "it takes 2, not 1: (i32, i32) -> i32"),
        (add.call(&(1, 2, 3))?, "it takes 2, not 3: (i32, i32) -> i32"),
        (add.call(&(1, "two"))?, "expected a number"),
        (add.call(&(1, 2.5))?, "argument 2: 2.5 is no i32"),
        (add.call(&(1, 1u64 << 32))?, "argument 2: 4294967296 is no i32"),
        (add.call(&5)?, "they are no list of numbers"),
    ] {
        let error = stage.failure(call).await?;
        assert!(matches!(error.cause(), Cause::BadArguments { .. }), "{error}");
        assert!(error.to_string().contains(expected), "{error}");
    }
    let cause = stage.cause(Task::<i32>::new(module.clone(), "divide").call(&(1, 0))?).await?;
    assert!(matches!(cause, Cause::Trap { .. }), "{cause}");
    let cause = stage.cause(Task::<()>::new(module.clone(), "reference").call(&[0; 0])?).await?;
    assert!(matches!(cause, Cause::BadResult { .. }), "{cause}");
    let call = Task::<()>::new(module.clone(), "takes_reference").call(&[1])?;
    let cause = stage.cause(call).await?;
    assert!(matches!(cause, Cause::BadArguments { .. }), "{cause}");
    let error = stage.failure(Task::<()>::new(module, "ad").call(&[0; 0])?).await?;
    let Cause::MissingTask { known, .. } = error.cause() else { panic!("{error}") };
    assert_eq!(known[0], "add");
    stage.end().await
}

#[tokio::test]
async fn an_endless_plain_function_is_cancelled() -> Result<()> {
    let pair = Pair::simple().await?;
    let handle = pair.master.dispatch(Task::<()>::new(numbers()?, "loop").call(&[0; 0])?);
    // It has begun when the slave says so, a tick later.
    let linked = pair.linked()?;
    until("the loop to begin", async || {
        let busy = pair.master.try_reserve().await.is_err();
        linked.store().list("").await?;
        Ok(busy)
    })
    .await?;
    drop(handle);
    super::stage::unharmed(&pair.master).await
}

#[tokio::test]
async fn a_module_that_fits_no_pool_runs_all_the_same() -> Result<()> {
    let pair = Pair::simple().await?;
    let two = module(
        r#"(module (table $a 1 funcref) (table $b 1 funcref) (memory 1)
             (func (export "both") (param i32) (result i32)
               (i32.store (i32.const 0) (local.get 0))
               (i32.add (table.size $a) (i32.sub (i32.load (i32.const 0)) (table.size $b)))))"#,
    )?;
    let both = Task::<i32>::new(two, "both");
    for n in [7, 8] {
        assert_eq!(within("both", pair.master.dispatch(both.call(&[n])?)).await??, n);
    }
    Ok(())
}

#[tokio::test]
async fn a_task_module_by_hand_runs_without_the_sdk() -> Result<()> {
    let stage = Stage::start().await?;
    // Gives back its arguments: the tag goes before where they were put.
    let echo = dpfw_tests::wasm::task_module(
        r#"(func (export "dpfw:echo") (param $at i32) (param $len i32) (result i64)
             (i32.store8 (i32.const 1023) (i32.const 0))
             (i64.or (i64.const 0x3ff00000000)
               (i64.extend_i32_u (i32.add (local.get $len) (i32.const 1)))))"#,
    )?;
    let call = Task::<(u8, String)>::new(echo, "echo").call(&(7, "seven"))?;
    assert_eq!(within("the echo", stage.master().dispatch(call)).await??, (7, "seven".into()));
    stage.end().await
}
