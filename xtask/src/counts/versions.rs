//! What counts depend on: the versions of what the code is made with, and counted by.
//!
//! Owns: finding them out. Does not: judge; other versions are no reason to fail, and explain why
//! something does.

use super::kept::Versions;
use anyhow::{Context, Result};
use std::process::Command;

/// Those that a build has here.
pub(super) fn here() -> Result<Versions> {
    let lock = std::fs::read_to_string("Cargo.lock").context("Cargo.lock is unreadable")?;
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let versions = [
        // `rustc 1.99.1 (commit, date)`
        ("rustc", number(&said(Command::new(rustc).arg("--version"))?)),
        // `valgrind-3.19.0`
        ("valgrind", number(&said(Command::new("valgrind").arg("--version"))?)),
        ("wasmtime", locked(&lock, "wasmtime").context("Cargo.lock has no wasmtime")?.to_owned()),
    ];
    Ok(versions.into_iter().map(|(what, version)| (what.to_owned(), version)).collect())
}

fn said(command: &mut Command) -> Result<String> {
    let output = command.output().context("a version cannot be asked for")?;
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// What stands behind the name.
fn number(text: &str) -> String {
    text.split([' ', '-']).nth(1).unwrap_or(text).to_owned()
}

/// The version of a package in a lock file.
fn locked<'a>(lock: &'a str, package: &str) -> Option<&'a str> {
    let mut lines = lock.lines();
    lines.find(|line| *line == format!("name = \"{package}\""))?;
    lines.next()?.strip_prefix("version = \"")?.strip_suffix('"')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_as_they_are_written() {
        let lock = "[[package]]\nname = \"wasmtime-wasi\"\nversion = \"49.0.0\"\n\n\
                    [[package]]\nname = \"wasmtime\"\nversion = \"50.0.1\"\nsource = \"x\"\n";
        assert_eq!(locked(lock, "wasmtime"), Some("50.0.1"));
        assert_eq!(locked(lock, "tokio"), None);
        assert_eq!(number("rustc 1.99.1 (0000000 2026-11-01)"), "1.99.1");
        assert_eq!(number("valgrind-3.19.0"), "3.19.0");
    }
}
