//! Programs of other authors: as tasks they write and end as they do natively, byte for byte.
//!
//! Which these are: `tests/programs.txt`. Each sees inputs of every kind and several
//! arguments, among them some that it complains about.

use anyhow::{Context, Result};
use dpfw::{Master, Program as Task};
use dpfw_protocol::text::printable;
use dpfw_tests::fleet::{Pair, slave};
use dpfw_tests::others::Program;
use dpfw_tests::wait::within;
use std::process::Output;
use tokio::io::AsyncReadExt;

/// Numbers that look random and are the same each time (xorshift).
fn noise(bytes: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let next = std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    });
    next.flat_map(u64::to_le_bytes).take(bytes).collect()
}

/// One of each kind.
fn inputs() -> Vec<(&'static str, Vec<u8>)> {
    let lines = (0..5000).map(|n| format!("{n} {}\n", "la".repeat(n % 40)));
    vec![
        ("nothing", Vec::new()),
        ("a byte", vec![0]),
        ("a text", b"The quick brown fox\njumps over\n\nthe lazy dog".to_vec()),
        (
            "unicode",
            "größer, 大きい, больше, 🦀🦀\u{301}\r\n\u{feff}\u{10ffff}\n".repeat(99).into(),
        ),
        ("lines", lines.collect::<String>().into_bytes()),
        ("a long line", "long ".repeat(50_000).into_bytes()),
        ("1 MiB of noise", noise(1 << 20)),
    ]
}

/// What a run left behind.
#[derive(Debug, PartialEq, Eq)]
struct Left {
    code: u32,
    stdout: Vec<u8>,
    /// The last lines, if it failed.
    stderr: Vec<String>,
}

/// Runs a program as a task, its input and its output streamed.
async fn as_task(master: &Master, task: Task, input: Vec<u8>) -> Result<Left> {
    let mut running = master.run(task.stdin(std::io::Cursor::new(input)));
    let mut stdout = Vec::new();
    running.stdout().read_to_end(&mut stdout).await?;
    let status = running.status().await?;
    Ok(Left { code: status.code(), stdout, stderr: status.stderr().to_vec() })
}

/// Lines of stderr that are kept of a program that failed.
const KEPT: usize = 16;

/// Bytes of such a line.
const LONGEST: usize = 256;

/// What the native program left, as far as a task's is known.
fn native(output: Output) -> Result<Left> {
    let code = output.status.code().context("it was ended by a signal")?;
    let text = String::from_utf8(output.stderr)?;
    let said = text.lines().filter(|line| !line.trim().is_empty() && code != 0);
    let lines: Vec<_> = said.map(|line| printable(line, LONGEST)).collect();
    let stderr = lines[lines.len().saturating_sub(KEPT)..].to_vec();
    Ok(Left { code: code.try_into()?, stdout: output.stdout, stderr })
}

/// Runs a program both ways, and holds one against the other.
async fn same(
    pair: &Pair,
    name: &str,
    cases: &[&[&str]],
    inputs: Vec<(&str, Vec<u8>)>,
) -> Result<()> {
    const ENV: [(&str, &str); 2] = [("LANG", "C.UTF-8"), ("NO_COLOR", "")];
    let program = Program::named(name)?;
    // Compiled once: every case is another task of the same module.
    let module = dpfw::Module::new(program.wasm()?);
    for args in cases {
        for (what, input) in &inputs {
            let task = ENV.iter().fold(Task::of(module.clone()), |task, (n, v)| task.env(*n, *v));
            let task = task.name(&program.name).args(args.iter().copied());
            let case = format!("{name} {args:?} on {what}");
            let ran = within(&case, as_task(&pair.master, task, input.clone())).await?;
            let ran = ran.with_context(|| case.clone())?;
            let output = program.run_natively(args, &ENV, input)?;
            let expected = native(output)?;
            let at = ran.stdout.iter().zip(&expected.stdout).position(|(a, b)| a != b);
            assert_eq!(ran.stdout.len(), expected.stdout.len(), "{case}: lengths of the output");
            assert_eq!(at, None, "{case}: where the output differs");
            let expected = (expected.code, expected.stderr);
            assert_eq!((ran.code, ran.stderr), expected, "{case}");
        }
    }
    Ok(())
}

async fn pair() -> Result<Pair> {
    Pair::start(slave("s1", 2)?).await
}

#[tokio::test]
async fn hexyl_shows_the_same() -> Result<()> {
    let cases: [&[&str]; 4] = [
        &[],
        &["--color", "always", "--border", "ascii"],
        &["-n", "100", "-s", "7", "--no-squeezing"],
        &["--no-such-option"],
    ];
    same(&pair().await?, "hexyl", &cases, inputs()).await
}

#[tokio::test]
async fn ripgrep_finds_the_same() -> Result<()> {
    let cases: [&[&str]; 5] = [
        &["--line-number", "la", "-"],
        &["--count", ".", "-"],
        &["--text", "--only-matching", "--byte-offset", "(?i)[a-zö]{3,}", "-"],
        &["--no-such-option"],
        &["(", "-"],
    ];
    same(&pair().await?, "ripgrep", &cases, inputs()).await
}

#[tokio::test]
async fn jaq_answers_the_same() -> Result<()> {
    let objects = (0..2000)
        .map(|n| format!("{{\"n\": {n}, \"name\": \"größe {n}\", \"x\": [1.5e3, null]}}\n"));
    let mut inputs = inputs();
    inputs.push(("objects", objects.collect::<String>().into_bytes()));
    inputs.push(("a long array", format!("[{}0]", "1234567, ".repeat(50_000)).into_bytes()));
    let cases: [&[&str]; 4] = [&["."], &["-c", "[., length]"], &["-R", "-s", "length"], &[".["]];
    same(&pair().await?, "jaq", &cases, inputs).await
}

#[tokio::test]
async fn runiq_keeps_the_same_lines() -> Result<()> {
    let cases: [&[&str]; 4] = [&[], &["--invert"], &["--filter", "naive"], &["--filter", "none"]];
    let mut inputs = inputs();
    let twice = (0..20_000).map(|n| format!("line {}\n", n * n % 7919));
    inputs.push(("lines that come again", twice.collect::<String>().into_bytes()));
    same(&pair().await?, "runiq", &cases, inputs).await
}
