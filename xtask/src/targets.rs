//! The targets that tasks are compiled for.
//!
//! Owns: whether they are there, getting them, and the advice where they cannot be had.

use crate::command::{run, succeeds};
use anyhow::{Context, Result, bail};
use std::path::Path;
use std::process::Command;

/// Task modules are built for the first; the second makes modules without any import.
const TARGETS: [&str; 2] = ["wasm32-wasip1", "wasm32-unknown-unknown"];

/// Sees to it that the targets are installed.
///
/// # Errors
/// Some are missing and cannot be had; the error says what to do.
pub(crate) fn ensure() -> Result<()> {
    let missing = missing()?;
    if missing.is_empty() {
        return Ok(());
    }
    if !succeeds(Command::new("rustup").arg("--version")) {
        bail!(without_rustup(&missing));
    }
    // Which toolchain, rustup knows from the environment that cargo's proxy set. Why it
    // failed, it says itself.
    if run(Command::new("rustup").args(["target", "add"]).args(&missing)).is_err() {
        bail!(without_network(&missing));
    }
    match self::missing()?[..] {
        [] => Ok(()),
        [..] => bail!(of_another_toolchain(&missing)),
    }
}

/// Those without a standard library in the toolchain that cargo uses.
fn missing() -> Result<Vec<&'static str>> {
    let mut missing = Vec::new();
    for target in TARGETS {
        let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
        let mut command = Command::new(rustc);
        let output = command.args(["--print", "target-libdir", "--target", target]).output();
        let output = output.context("rustc cannot be started; install Rust: https://rustup.rs")?;
        let directory = String::from_utf8_lossy(&output.stdout);
        if !output.status.success() || !Path::new(directory.trim()).is_dir() {
            missing.push(target);
        }
    }
    Ok(missing)
}

fn without_rustup(missing: &[&str]) -> String {
    format!(
        "Rust's standard library for {} is not installed, which tasks are compiled for, and \
         there is no rustup to get it.\n\
         Either install Rust with rustup (https://rustup.rs), or the package of your \
         distribution that has it (Debian: libstd-rust-dev-wasm32), and run this again.",
        missing.join(" and ")
    )
}

fn without_network(missing: &[&str]) -> String {
    let missing = missing.join(" ");
    format!(
        "rustup could not install {missing}, which tasks are compiled for.\n\
         It fetches them from static.rust-lang.org. Where there is no network, install \
         them beforehand: rustup target add {missing}"
    )
}

fn of_another_toolchain(missing: &[&str]) -> String {
    let missing = missing.join(" ");
    format!(
        "rustup installed {missing}, but for another toolchain than the one that `rustc` is: \
         see `rustup show` and `rustc --print sysroot`"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_advice_names_what_is_missing_and_what_to_do() {
        let advice = without_rustup(&TARGETS);
        assert!(advice.contains("wasm32-wasip1 and wasm32-unknown-unknown"), "{advice}");
        assert!(advice.contains("https://rustup.rs"), "{advice}");
        let advice = without_network(&TARGETS[..1]);
        assert!(advice.ends_with("rustup target add wasm32-wasip1"), "{advice}");
        assert!(of_another_toolchain(&TARGETS).contains("rustup show"));
    }
}
