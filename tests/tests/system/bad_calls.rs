//! Bad input: calls that do not fit what they call.

use super::stage::Stage;
use anyhow::Result;
use dpfw::{Cause, Module, ModuleHash, Task};
use dpfw_test_tasks::{Form, Never, add, checked, everything, takes_unencodable, unencodable};
use dpfw_tests::wasm::described;

fn tasks() -> Module {
    add::task().module().clone()
}

#[tokio::test]
async fn a_function_that_is_not_there() -> Result<()> {
    let mut stage = Stage::start().await?;
    let error = stage.failure(Task::<i64>::new(tasks(), "ad").call(&(2, 3))?).await?;
    let Cause::MissingTask { name, known } = error.cause() else { panic!("{error}") };
    assert_eq!(name, "ad");
    assert!(known.contains(&"add".to_owned()), "{known:?}");
    let text = error.to_string();
    assert!(text.starts_with("`ad` on s1: the module has no task `ad`; it has add, "), "{text}");
    // Also with no name at all, and one that no frame holds.
    let error = stage.failure(Task::<i64>::new(tasks(), "").call(&(2, 3))?).await?;
    assert!(matches!(error.cause(), Cause::MissingTask { .. }), "{error}");
    stage.end().await
}

#[tokio::test]
async fn the_wrong_number_of_arguments() -> Result<()> {
    let mut stage = Stage::start().await?;
    let task = Task::<i64>::new(tasks(), "add");
    let cases = [
        (task.call(&(2,))?, "the task takes 2 arguments, 1 were given"),
        (task.call(&(2, 3, 4))?, "the task takes 2 arguments, 3 were given"),
        (task.call(&())?, "the task takes 2 arguments, 0 were given"),
        (task.call(&None::<u8>)?, "the task takes 2 arguments, 0 were given"),
        (task.call("text")?, "they are no MessagePack array"),
    ];
    for (call, expected) in cases {
        let error = stage.failure(call).await?;
        let text = error.to_string();
        assert_eq!(text, format!("`add` on s1: the arguments do not fit the task: {expected}"));
    }
    stage.end().await
}

#[tokio::test]
async fn arguments_of_the_wrong_shape() -> Result<()> {
    let mut stage = Stage::start().await?;
    let task = Task::<i64>::new(tasks(), "add");
    for (call, expected) in [
        (task.call(&("two", 3))?, "argument `a: i64`"),
        (task.call(&(2, 3.5))?, "argument `b: i64`"),
        (task.call(&(u64::MAX, 3))?, "argument `a: i64`"),
        (task.call(&(2, None::<i64>))?, "argument `b: i64`"),
    ] {
        let error = stage.failure(call).await?;
        assert!(matches!(error.cause(), Cause::BadArguments { .. }), "{error}");
        assert!(error.to_string().contains(expected), "{error}");
    }
    let wrong = Task::<Form>::new(tasks(), "everything").call(&(Form::Unit,))?;
    let error = stage.failure(wrong).await?;
    assert!(error.to_string().contains("argument `value: Everything`"), "{error}");
    stage.end().await
}

#[tokio::test]
async fn arguments_that_are_no_messagepack_at_all() -> Result<()> {
    let mut stage = Stage::start().await?;
    // 0xc1 is never used; 0xdd announces 4 Gi elements.
    for bytes in
        [&[0xc1][..], &[], &[0xdd, 0xff, 0xff, 0xff, 0xff], &[0x92, 0x02], &[0x92, 2, 3, 4]]
    {
        let call = keep(bytes)?;
        let error = stage.failure(call).await?;
        assert!(matches!(error.cause(), Cause::BadArguments { .. }), "{bytes:x?}: {error}");
    }
    stage.end().await
}

/// A call of `add` with these bytes as arguments: one that was kept, and changed.
fn keep(args: &[u8]) -> Result<dpfw::Call<i64>> {
    #[derive(serde::Serialize, serde::Deserialize)]
    struct Kept {
        module: ModuleHash,
        task: String,
        flags: u8,
        expects: Option<()>,
        #[serde(with = "bytes")]
        args: Vec<u8>,
    }
    mod bytes {
        pub(super) fn serialize<S: serde::Serializer>(b: &[u8], s: S) -> Result<S::Ok, S::Error> {
            s.serialize_bytes(b)
        }
        pub(super) fn deserialize<'de, D: serde::Deserializer<'de>>(
            d: D,
        ) -> Result<Vec<u8>, D::Error> {
            serde::Deserialize::deserialize(d)
        }
    }
    let kept = Kept {
        module: tasks().hash(),
        task: "add".into(),
        flags: 0,
        expects: None,
        args: args.to_vec(),
    };
    let call: dpfw::Call<i64> = rmp_serde::from_slice(&rmp_serde::to_vec_named(&kept)?)?;
    Ok(call.via(tasks()))
}

#[tokio::test]
async fn a_caller_and_a_module_that_differ_are_told_before_anything_runs() -> Result<()> {
    let mut stage = Stage::start().await?;
    let plain = dpfw_tests::wasm::task_module(
        r#"(func (export "dpfw:add") (param i32 i32) (result i64) unreachable)
           (func (export "dpfw:everything") (param i32 i32) (result i64) unreachable)"#,
    )?;
    let other = described(
        &plain,
        r#"{"task":{"name":"add","args":[{"name":"a","type":"i64"},{"name":"b","type":"u32"}],"returns":"i64"}}"#,
    )?;
    let error = stage.failure(add::call(2, 3).via(other)).await?;
    assert!(matches!(error.cause(), Cause::Mismatch { .. }), "{error}");
    assert_eq!(
        error.to_string(),
        "`add` on s1: the caller's task differs from the module's: the caller has \
         `add(a: i64, b: i64) -> i64`, the module has `add(a: i64, b: u32) -> i64`"
    );
    let other = described(
        &plain,
        r#"{"task":{"name":"everything","args":[{"name":"value","type":"Everything"}],"returns":"Everything"}}
           {"type":{"name":"Everything","fields":[{"name":"unsigned","type":"u8"}]}}"#,
    )?;
    let call = everything::task().via(other).call(&(1,))?;
    let error = stage.failure(call).await?;
    let text = error.to_string();
    assert!(text.contains("{ unsigned: u8 } to the module"), "{text}");
    stage.end().await
}

#[tokio::test]
async fn the_same_call_runs_via_a_module_that_agrees() -> Result<()> {
    let stage = Stage::start().await?;
    let result = returns_five();
    let same = described(
        &result?,
        r#"{"task":{"name":"add","args":[{"name":"x","type":"i64"},{"name":"y","type":"i64"}],"returns":"i64"}}"#,
    )?;
    assert_eq!(stage.master().dispatch(add::call(20, 30).via(same)).await?, 5);
    stage.end().await
}

/// A module whose `add` gives 5 whatever it gets.
fn returns_five() -> Result<Module> {
    let packed = 8u64 << 32 | 2;
    dpfw_tests::wasm::task_module(&format!(
        r#"(data (memory 0) (i32.const 8) "\00\05")
           (func (export "dpfw:add") (param i32 i32) (result i64) (i64.const {packed}))"#
    ))
}

#[tokio::test]
async fn a_result_that_does_not_decode() -> Result<()> {
    let mut stage = Stage::start().await?;
    let task = Task::<String>::new(tasks(), "add");
    let error = stage.failure(task.call(&(2, 3))?).await?;
    assert!(matches!(error.cause(), Cause::BadResult { .. }), "{error}");
    assert!(error.to_string().starts_with("`add` on s1: the result does not decode: "), "{error}");
    let error = stage.failure(unencodable::call()).await?;
    assert_eq!(error.to_string(), "`unencodable` on s1: the result does not decode: not today");
    // The first came back as a result; that the caller cannot read it is the caller's affair.
    stage.end_with(1).await
}

#[tokio::test]
async fn arguments_that_cannot_be_encoded_are_told_without_a_slave() -> Result<()> {
    let mut stage = Stage::start().await?;
    let error = stage.failure(takes_unencodable::call(Never)).await?;
    assert!(matches!(error.cause(), Cause::BadArguments { .. }), "{error}");
    assert_eq!((error.slave(), error.attempts()), (None, 0));
    assert!(error.to_string().contains("not today"), "{error}");
    stage.end_with(0).await
}

#[tokio::test]
async fn an_error_value_reaches_the_caller_in_its_own_words() -> Result<()> {
    let mut stage = Stage::start().await?;
    let error = stage.failure(checked::call("no".into())).await?;
    assert_eq!(error.cause(), &Cause::Failed { message: "refused: no".into() });
    assert_eq!(error.to_string(), "`checked` on s1: the task failed: refused: no");
    let source = std::error::Error::source(&error).expect("the cause");
    assert_eq!(source.to_string(), "the task failed: refused: no");
    assert_eq!((error.task(), error.attempts()), ("checked", 1));
    stage.end().await
}

#[tokio::test]
async fn a_module_that_nobody_has() -> Result<()> {
    let mut stage = Stage::start().await?;
    let module = Module::known(ModuleHash::of(b"nowhere"));
    let error = stage.failure(Task::<()>::new(module.clone(), "x").call(&())?).await?;
    assert!(matches!(error.cause(), Cause::Rejected { .. }), "{error}");
    let text = error.to_string();
    assert!(text.contains("neither this slave nor the master has the bytes"), "{text}");
    assert!(text.contains(&module.to_string()), "{text}");
    stage.end().await
}

#[tokio::test]
async fn a_call_is_kept_and_dispatched_later_where_the_module_has_been() -> Result<()> {
    let stage = Stage::start().await?;
    let kept = rmp_serde::to_vec_named(&add::call(40, 2))?;
    let call: dpfw::Call<i64> = rmp_serde::from_slice(&kept)?;
    assert!(call.task().module().bytes().is_none());
    assert_eq!(call.to_string(), "add(40, 2)");
    assert_eq!(stage.master().dispatch(call).await?, 42);
    stage.end().await
}
