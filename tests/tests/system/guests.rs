//! Guests in other languages: each example does the same tasks through a master and a slave.

pub(crate) mod build;

use super::stage::Stage;
use anyhow::{Context, Result};
use dpfw::{Call, Cause, Depth, Limits, Module, Task, inspect};
use dpfw_tests::fleet::slave;
use dpfw_tests::lines::Lines;
use dpfw_tests::wait::within;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use std::fmt::Debug;

#[tokio::test]
async fn a_guest_in_wat_does_every_task() -> Result<()> {
    every_task("wat", build::wat()?).await
}

#[tokio::test]
async fn a_guest_in_c_does_every_task() -> Result<()> {
    // Unoptimised code uses the stack in memory, optimised code other instructions.
    for level in ["-O0", "-O2"] {
        every_task("c", build::c(level)?).await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_guest_in_assemblyscript_does_every_task() -> Result<()> {
    every_task("assemblyscript", build::assemblyscript()?).await
}

#[tokio::test]
async fn the_example_of_the_abis_page_does_what_it_says() -> Result<()> {
    let page = include_str!("../../../docs/abi.md");
    let (_, behind) = page.split_once("```wat\n").context("an example")?;
    let (text, _) = behind.split_once("```").context("its end")?;
    let stage = Stage::start().await?;
    let add = Task::<u8>::new(dpfw_tests::wasm::module(text)?, "add");
    assert_eq!(within("add", stage.master().dispatch(add.call(&(2, 3))?)).await??, 5);
    stage.end().await
}

/// A module on a slave of two slots; its failures are counted by the stage.
struct Guest {
    stage: Stage,
    module: Module,
}

impl Guest {
    fn call<T>(&self, task: &str, args: &impl Serialize) -> Result<Call<T>> {
        Ok(Task::new(self.module.clone(), task).call(args)?)
    }

    async fn gives<T>(&self, task: &str, args: impl Serialize, expected: T) -> Result<()>
    where
        T: DeserializeOwned + Debug + PartialEq + Send + 'static,
    {
        let handle = self.stage.master().dispatch(self.call::<T>(task, &args)?);
        assert_eq!(within(task, handle).await??, expected, "{task}");
        Ok(())
    }

    async fn fails(&mut self, task: &str, args: impl Serialize) -> Result<Cause> {
        let call = self.call::<()>(task, &args)?;
        self.stage.cause(call).await
    }
}

async fn every_task(language: &str, module: Module) -> Result<()> {
    describes_its_tasks(&module)?;
    conforms(&module)?;
    let stage = Stage::of(slave("s1", 2)?).await?;
    let mut guest = Guest { stage, module };
    adds_every_integer(&guest).await?;
    greets(&guest, language).await?;
    totals(&guest).await?;
    divides(&mut guest).await?;
    counts(&mut guest, language).await?;
    refuses_what_does_not_fit(&mut guest).await?;
    shares_a_sandbox(&guest).await?;
    guest.stage.end().await
}

fn describes_its_tasks(module: &Module) -> Result<()> {
    let table = module.tasks()?;
    let lines: Vec<_> = table.tasks().map(|task| task.line()).collect();
    assert_eq!(
        lines,
        [
            "add(a: i64, b: i64) -> i64",
            "count(key: String) -> Result<i64, _>",
            "divide(a: i64, b: i64) -> Result<i64, _>",
            "greet(name: String) -> String",
            "total(numbers: Vec<i64>) -> i64",
        ]
    );
    let once: Vec<_> = table.tasks().filter(|task| task.once).map(|task| &task.name).collect();
    assert_eq!(once, ["count"]);
    Ok(())
}

/// Nothing is wrong with it, as far as `dpfw inspect --check` sees.
fn conforms(module: &Module) -> Result<()> {
    let bytes = module.bytes().context("a module with bytes")?;
    let report = inspect(bytes, &Limits::default(), Depth::Check);
    assert!(report.problems.is_empty() && report.notes.is_empty(), "{report:#?}");
    Ok(())
}

/// MessagePack has eleven forms for integers.
async fn adds_every_integer(guest: &Guest) -> Result<()> {
    let edges = [0, 1, 127, 128, 255, 256, 65_535, 65_536, 1 << 31, u32::MAX.into(), 1 << 32];
    for edge in edges.into_iter().chain([i64::MAX]) {
        guest.gives("add", (edge, 0), edge).await?;
        guest.gives("add", (0, -edge), -edge).await?;
        guest.gives("add", (-edge - 1, 0), -edge - 1).await?;
    }
    guest.gives("add", (i64::MAX, 1), i64::MIN).await
}

async fn greets(guest: &Guest, language: &str) -> Result<()> {
    let lines = Lines::capture();
    for name in [String::new(), "Ada".into(), "€".repeat(100), "x".repeat(70_000)] {
        guest.gives("greet", [&name], format!("Hello, {name}!")).await?;
    }
    let name = format!("reader of the log in {language}");
    guest.gives("greet", [&name], format!("Hello, {name}!")).await?;
    lines.wait_for(&["INFO", &format!("Hello, {name}!")]).await?;
    Ok(())
}

async fn totals(guest: &Guest) -> Result<()> {
    guest.gives("total", [[0i64; 0]], 0).await?;
    guest.gives("total", [(-50..=50).collect::<Vec<i64>>()], 0).await?;
    guest.gives("total", [vec![1i64; 100_000]], 100_000).await
}

async fn divides(guest: &mut Guest) -> Result<()> {
    guest.gives("divide", (-7, 2), -3).await?;
    guest.gives("divide", (i64::MIN, -1), i64::MIN).await?;
    let cause = guest.fails("divide", (1, 0)).await?;
    assert_eq!(cause, Cause::Failed { message: "division by zero".into() });
    Ok(())
}

/// The entry is one that masters and other languages' guests read as well.
async fn counts(guest: &mut Guest, language: &str) -> Result<()> {
    let key = format!("count of {language}");
    for expected in 1..=3 {
        guest.gives("count", [&key], expected).await?;
    }
    let store = guest.stage.linked.store();
    let there = store.get::<i64>(&key).await?;
    assert_eq!(there, Some(3));
    store.put(&key, &1_000_000).await?;
    guest.gives("count", [&key], 1_000_001).await?;
    store.put(&key, &"text").await?;
    let cause = guest.fails("count", [&key]).await?;
    assert_eq!(cause, Cause::Failed { message: "the entry is no number".into() });
    // A key that no store takes: the failure is told as an error value.
    let cause = guest.fails("count", ["k".repeat(2000)]).await?;
    assert!(matches!(cause, Cause::Failed { .. }), "{cause}");
    store.remove(&key).await?;
    Ok(())
}

async fn refuses_what_does_not_fit(guest: &mut Guest) -> Result<()> {
    let cause = guest.fails("ad", (1, 2)).await?;
    let Cause::MissingTask { name, known } = &cause else { panic!("{cause}") };
    assert_eq!(name, "ad");
    assert_eq!(known[..], ["add", "count", "divide", "greet", "total"]);
    for (task, args) in misfits() {
        let cause = guest.fails(task, &args).await?;
        assert!(matches!(cause, Cause::BadArguments { .. }), "{task}{args}: {cause}");
    }
    Ok(())
}

/// Tasks with arguments that do not fit them.
fn misfits() -> Vec<(&'static str, Value)> {
    vec![
        ("add", json!([])),
        ("add", json!([1])),
        ("add", json!([1, 2, 3])),
        ("add", json!([1, "2"])),
        ("add", json!([null, 2])),
        ("add", json!([1, u64::MAX])),
        ("add", json!([1, 0.5])),
        ("add", json!({"a": 1, "b": 2})),
        ("add", json!(7)),
        ("greet", json!([7])),
        ("greet", json!([["name"]])),
        ("total", json!([7])),
        ("total", json!([["7"]])),
        ("count", json!([true])),
    ]
}

/// The calls of a chunk: what one leaves behind does not disturb the next.
async fn shares_a_sandbox(guest: &Guest) -> Result<()> {
    let task = Task::<String>::new(guest.module.clone(), "greet");
    let names: Vec<_> = (0..300).map(|n| "x".repeat(n * 10)).collect();
    let call = |name: String| task.call(&[name]).expect("it encodes");
    let map = guest.stage.master().map(names.clone(), call).chunk(100).all();
    let greetings = within("the greetings", map).await??;
    let expected: Vec<_> = names.iter().map(|name| format!("Hello, {name}!")).collect();
    assert_eq!(greetings, expected);
    Ok(())
}
