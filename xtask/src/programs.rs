//! `cargo xtask programs`: programs of other authors, for the system's tests.
//!
//! Owns: building them, natively and for wasm32-wasip1. Does not: say which; that is
//! `tests/programs.txt`. Invariant: a directory with a program's name and version is there
//! only when the program in it was built from that version to the end.

use crate::command::{cargo_with, run as run_command, target};
use crate::targets;
use anyhow::{Context, Result, ensure};
use std::fs;
use std::path::Path;
use std::process::Command;

/// Which programs, and their versions; the tests read the same file.
const LIST: &str = include_str!("../../tests/programs.txt");

/// What they are built for: the name of the directory, how much is optimised, and what cargo
/// is told. Optimising takes longer than running what is not; of wasm, which a slave compiles
/// again, it makes less.
const KINDS: [(&str, &str, &[&str]); 2] =
    [("native", "0", &[]), ("wasm", "1", &["--target", "wasm32-wasip1"])];

/// A line of the list.
#[derive(Debug, PartialEq, Eq)]
struct Program<'a> {
    name: &'a str,
    version: &'a str,
    /// What `cargo install` is told besides.
    options: Vec<&'a str>,
}

/// Builds the programs that are not there yet.
pub(crate) fn run() -> Result<()> {
    targets::ensure()?;
    ensure_built()
}

/// The same, where the targets are known to be there.
///
/// # Errors
/// One cannot be built; cargo has said why.
pub(crate) fn ensure_built() -> Result<()> {
    let root = target()?.join("dpfw-programs");
    let scratch = root.join("build");
    for program in programs()? {
        for (kind, level, options) in KINDS {
            let done = root.join(format!("{}-{}", program.name, program.version)).join(kind);
            if !done.is_dir() {
                build(&program, level, options, &scratch, &done)?;
            }
        }
    }
    // Some hundred MiB that are of use to nobody once all is built.
    match fs::remove_dir_all(&scratch) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("{} cannot be removed", scratch.display()))
        }
        _ => Ok(()),
    }
}

/// Builds a program beside its place, and moves it there when it is whole.
fn build(
    program: &Program<'_>,
    level: &str,
    options: &[&str],
    scratch: &Path,
    done: &Path,
) -> Result<()> {
    let part = done.with_extension("part");
    if part.exists() {
        // Of a build that was interrupted: cargo would take it for this one's.
        fs::remove_dir_all(&part)
            .with_context(|| format!("{} cannot be removed", part.display()))?;
    }
    let mut command = cargo_with(&["install", "--locked", "--quiet", program.name, "--version"]);
    command.arg(format!("={}", program.version)).args(&program.options).args(options);
    command.arg("--root").arg(&part).env("CARGO_TARGET_DIR", scratch);
    settings(&mut command, level);
    run_command(&mut command)?;
    fs::rename(&part, done).with_context(|| format!("{} cannot be made", done.display()))
}

/// As quickly built as a release can be: what is tested is whether outputs are equal. What
/// the caller's environment says of builds is about dpfw.
fn settings(command: &mut Command, level: &str) {
    for (name, value) in [
        ("CARGO_PROFILE_RELEASE_OPT_LEVEL", level),
        ("CARGO_PROFILE_RELEASE_LTO", "off"),
        ("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "16"),
        ("CARGO_PROFILE_RELEASE_DEBUG", "none"),
        ("CARGO_PROFILE_RELEASE_STRIP", "debuginfo"),
    ] {
        command.env(name, value);
    }
    for name in ["RUSTFLAGS", "CARGO_ENCODED_RUSTFLAGS", "CARGO_BUILD_TARGET", "RUSTC_WRAPPER"] {
        command.env_remove(name);
    }
}

/// The programs of the list.
///
/// # Errors
/// A line without a version.
fn programs() -> Result<Vec<Program<'static>>> {
    let lines = LIST.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines
        .map(|line| {
            let mut words = line.split_whitespace();
            let (name, version) = (words.next(), words.next());
            ensure!(version.is_some(), "tests/programs.txt: {line:?} names no version");
            let (name, version) = (name.unwrap_or_default(), version.unwrap_or_default());
            Ok(Program { name, version, options: words.collect() })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_program_has_a_version_of_three_numbers() {
        let programs = programs().expect("well-formed");
        assert!(programs.len() >= 4, "{programs:?}");
        for program in programs {
            let numbers: Vec<u32> =
                program.version.split('.').map(|n| n.parse().expect("a number")).collect();
            assert_eq!(numbers.len(), 3, "{program:?}");
        }
    }
}
