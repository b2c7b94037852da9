//! WASI programs as tasks: what they are started with, and what they find.

use anyhow::Result;
use dpfw::{Cause, Master, Output, Program, Task};
use dpfw_tests::fleet::Pair;
use dpfw_tests::lines::Lines;
use dpfw_tests::programs::probe;
use dpfw_tests::wait::within;

/// A program's stdout and status.
async fn run(master: &Master, program: Program) -> Result<(String, u32)> {
    let Output { status, stdout } = within("the program", master.output(program)).await??;
    Ok((String::from_utf8_lossy(&stdout).into_owned(), status.code()))
}

#[tokio::test]
async fn arguments_and_environment_are_what_was_given_and_nothing_else() -> Result<()> {
    let pair = Pair::simple().await?;
    let (stdout, _) = run(&pair.master, probe(&["args", "a b", "", "ä"])).await?;
    assert_eq!(stdout, "[\"probe\", \"args\", \"a b\", \"\", \"ä\"]\n");
    assert_eq!(run(&pair.master, probe(&["env"])).await?.0, "");
    let program = probe(&["env"]).env("LANG", "C").env("EMPTY", "");
    assert_eq!(run(&pair.master, program).await?.0, "LANG=C\nEMPTY=\n");
    Ok(())
}

#[tokio::test]
async fn there_are_no_files() -> Result<()> {
    let pair = Pair::simple().await?;
    let (stdout, code) = run(&pair.master, probe(&["files"])).await?;
    assert_eq!(code, 0);
    assert!(!stdout.contains("None"), "neither can be opened: {stdout}");
    Ok(())
}

#[tokio::test]
async fn clocks_work() -> Result<()> {
    let pair = Pair::simple().await?;
    let (stdout, _) = run(&pair.master, probe(&["clocks"])).await?;
    let seconds: u64 = stdout.split_whitespace().nth(1).unwrap_or_default().parse()?;
    assert!(seconds > 1_700_000_000, "{stdout}");
    Ok(())
}

#[tokio::test]
async fn without_input_the_end_is_found_at_once() -> Result<()> {
    let pair = Pair::simple().await?;
    assert_eq!(run(&pair.master, probe(&["count"])).await?.0, "0\n");
    assert_eq!(run(&pair.master, probe(&["count"]).input("")).await?.0, "0\n");
    assert_eq!(run(&pair.master, probe(&["cat"]).input("to be")).await?.0, "to be");
    Ok(())
}

#[tokio::test]
async fn each_runs_in_a_sandbox_of_its_own() -> Result<()> {
    let pair = Pair::simple().await?;
    let programs = (0..100).map(|n| probe(&["cat"]).input(n.to_string()));
    let mut outputs = Vec::new();
    for program in programs {
        outputs.push(pair.master.output(program));
    }
    let outputs = futures_util::future::join_all(outputs);
    for (n, output) in within("all of them", outputs).await?.into_iter().enumerate() {
        assert_eq!(output?.stdout, n.to_string());
    }
    Ok(())
}

#[tokio::test]
async fn lines_of_stderr_are_log_lines_of_the_task() -> Result<()> {
    let lines = Lines::capture();
    let pair = Pair::simple().await?;
    run(&pair.master, probe(&["say", "d12 one", "d12 two \x1b[31m"])).await?;
    for text in ["d12 one", "d12 two"] {
        let line = lines.wait_for(&["dpfw::task", text]).await?;
        assert!(line.contains("task=\"probe\"") && line.contains("target=\"stderr\""), "{line}");
        assert!(!line.contains('\x1b'), "{line}");
    }
    Ok(())
}

#[tokio::test]
async fn what_cannot_be_an_argument_is_refused_before_anything_runs() -> Result<()> {
    let pair = Pair::simple().await?;
    let error = pair.master.output(probe(&["a\0b"])).await.expect_err("a NUL");
    assert!(matches!(error.cause(), Cause::BadArguments { .. }), "{error}");
    let error = pair.master.output(probe(&["env"]).env("A=B", "")).await.expect_err("a name");
    assert!(matches!(error.cause(), Cause::BadArguments { .. }), "{error}");
    Ok(())
}

#[tokio::test]
async fn what_is_no_program_says_so() -> Result<()> {
    let pair = Pair::simple().await?;
    let plain = wat::parse_str(r#"(module (func (export "f")))"#)?;
    let error = pair.master.output(Program::new(plain)).await.expect_err("no `_start`");
    assert!(matches!(error.cause(), Cause::MissingTask { .. }), "{error}");

    let wasm = wat::parse_str(
        r#"(module (import "env" "magic" (func)) (func (export "_start"))
            (memory (export "memory") 1))"#,
    )?;
    let error = pair.master.output(Program::new(wasm)).await.expect_err("an import");
    assert!(error.to_string().contains("`env.magic`"), "{error}");

    let call = Task::<()>::new(module(), "add").call(&(2, 3))?;
    let error = within("the refusal", pair.master.dispatch(call)).await?.expect_err("a program");
    assert!(error.to_string().contains("_start"), "{error}");
    let call = Task::<()>::new(module(), "_start").call(&(2, 3))?;
    let error = within("the refusal", pair.master.dispatch(call)).await?.expect_err("no arguments");
    assert!(matches!(error.cause(), Cause::BadArguments { .. }), "{error}");
    Ok(())
}

fn module() -> dpfw::Module {
    let wasm = wat::parse_str(r#"(module (memory (export "memory") 1) (func (export "_start")))"#);
    dpfw::Module::new(wasm.unwrap_or_default())
}
