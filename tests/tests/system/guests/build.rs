//! Builds the examples of `guests/` from their sources.
//!
//! Owns: the commands, which are those of the examples' README. Does not: install anything;
//! `cargo xtask guests` does. Invariant: what is missing fails the test, with that command.

use anyhow::{Context, Result, ensure};
use dpfw::Module;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// How to get what is missing.
const ADVICE: &str = "run `cargo xtask guests`, which installs what guests are built with \
                      (`cargo xtask test` does so by itself)";

/// What xtask installed.
pub(crate) fn installed(path: &str) -> Result<PathBuf> {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join("guests").join(path);
    ensure!(path.exists(), "{} is missing: {ADVICE}", path.display());
    Ok(path)
}

fn source(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../guests").join(path)
}

/// A module that a command writes to the path that it is given.
pub(crate) fn built(command: &mut Command, output: &str) -> Result<Vec<u8>> {
    let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR"))?;
    let module = directory.path().join("module.wasm");
    let ran = command.arg(output).arg(&module).output();
    let ran = ran.with_context(|| format!("{command:?} cannot be started: {ADVICE}"))?;
    let told = String::from_utf8_lossy(&ran.stderr);
    ensure!(ran.status.success(), "{command:?} failed:\n{told}");
    Ok(fs::read(module)?)
}

/// `guests/wat/tasks.wat`.
pub(super) fn wat() -> Result<Module> {
    Ok(Module::new(wat::parse_file(source("wat/tasks.wat"))?))
}

/// `guests/c/tasks.c`, optimised so much.
pub(super) fn c(level: &str) -> Result<Module> {
    let mut clang = Command::new("clang");
    clang
        .args(["--target=wasm32", "-std=c17", "-ffreestanding", "-nostdlib", level])
        .args(["-Wall", "-Wextra", "-Werror", "-Wl,--no-entry"])
        .arg(source("c/tasks.c"));
    Ok(Module::new(built(&mut clang, "-o")?))
}

/// `guests/assemblyscript`.
pub(super) fn assemblyscript() -> Result<Module> {
    let compiler = installed("assemblyscript/node_modules/assemblyscript/bin/asc.js")?;
    let mut asc = Command::new("node");
    asc.current_dir(source("assemblyscript")).arg(compiler).args(["--config", "asconfig.json"]);
    Ok(Module::new(built(&mut asc, "--outFile")?))
}
