//! The tests that there are.
//!
//! Owns: asking cargo for the test binaries and these for their tests, and which rows a
//! test's name names. Invariant: only what was compiled is listed.

use crate::command::{cargo_with, shown, test_binary};
use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::Stdio;

/// A test that can be run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Test {
    /// With the modules that it stands in.
    pub(super) name: String,
    /// The binary that has it.
    pub(super) program: PathBuf,
    /// Where cargo would run it.
    pub(super) directory: PathBuf,
}

impl Test {
    /// Without the modules.
    pub(super) fn short(&self) -> &str {
        self.name.rsplit("::").next().unwrap_or(&self.name)
    }

    /// The rows that it shows.
    pub(super) fn rows(&self) -> Vec<u32> {
        rows_of(self.short())
    }
}

/// The numbers at the beginning of a name: `f05_f14_what_happens` has 5 and 14.
fn rows_of(name: &str) -> Vec<u32> {
    let number = |word: &str| {
        let digits = word.strip_prefix('f')?;
        let is_number = digits.len() >= 2 && digits.bytes().all(|byte| byte.is_ascii_digit());
        is_number.then(|| digits.parse().ok()).flatten()
    };
    name.split('_').map_while(number).collect()
}

/// All tests of all packages, compiled if they have to be.
///
/// # Errors
/// They do not compile; cargo has said why.
pub(super) fn of_workspace() -> Result<Vec<Test>> {
    let mut cargo = cargo_with(&["test", "--workspace", "--lib", "--bins", "--tests", "--no-run"]);
    cargo.args(["--message-format", "json-render-diagnostics"]).stderr(Stdio::inherit());
    let output = cargo.output().context("cargo cannot be started")?;
    if !output.status.success() {
        bail!("`{}` failed ({})", shown(&cargo), output.status);
    }
    let mut tests = Vec::new();
    for (program, directory) in binaries(&String::from_utf8_lossy(&output.stdout)) {
        tests.extend(of_binary(&program, &directory)?);
    }
    tests.sort_by(|a, b| a.short().cmp(b.short()));
    Ok(tests)
}

/// The test binaries in cargo's messages, with their packages' directories.
fn binaries(messages: &str) -> Vec<(PathBuf, PathBuf)> {
    let binary = |line: &str| {
        let message: Value = serde_json::from_str(line).ok()?;
        let is_test = message["profile"]["test"].as_bool()?;
        let program = message["executable"].as_str()?.into();
        let directory = Path::new(message["manifest_path"].as_str()?).parent()?.into();
        is_test.then_some((program, directory))
    };
    messages.lines().filter_map(binary).collect()
}

fn of_binary(program: &Path, directory: &Path) -> Result<Vec<Test>> {
    let mut list = test_binary(program);
    list.args(["--list", "--format", "terse"]).current_dir(directory).stderr(Stdio::inherit());
    let output = list.output().with_context(|| format!("{} cannot be started", shown(&list)))?;
    ensure!(output.status.success(), "`{}` failed ({})", shown(&list), output.status);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let names = text.lines().filter_map(|line| line.strip_suffix(": test"));
    let test = |name: &str| Test {
        name: name.to_owned(),
        program: program.to_owned(),
        directory: directory.to_owned(),
    };
    Ok(names.map(test).collect())
}

/// Holds the names of tests against the page.
///
/// # Errors
/// A test names a row that the page does not have.
pub(super) fn check(page: &str, tests: &[Test]) -> Result<()> {
    let rows: Vec<_> = super::rows::parse(page)?.into_iter().map(|row| row.number).collect();
    for test in tests {
        for row in test.rows() {
            ensure!(rows.contains(&row), "{} names row {row}, which is not there", test.short());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_numbers_at_the_beginning_of_a_name_count() {
        assert_eq!(rows_of("f05_f14_a_slave_that_dies"), [5, 14]);
        assert_eq!(rows_of("f62_a_million"), [62]);
        for other in ["f5_one_digit", "d10_a_feature", "finds_f13_later", "f_x", "fx1_y", ""] {
            assert!(rows_of(other).is_empty(), "{other}");
        }
    }

    #[test]
    fn binaries_are_those_of_tests() {
        let messages = r#"
            {"reason":"compiler-artifact","profile":{"test":true},"executable":"/t/system-1","manifest_path":"/w/tests/Cargo.toml"}
            {"reason":"compiler-artifact","profile":{"test":false},"executable":"/t/dpfw","manifest_path":"/w/cli/Cargo.toml"}
            {"reason":"compiler-artifact","profile":{"test":false},"executable":null,"manifest_path":"/w/cli/Cargo.toml"}
            {"reason":"build-finished","success":true}"#;
        assert_eq!(binaries(messages), [("/t/system-1".into(), "/w/tests".into())]);
    }

    #[test]
    fn a_test_of_a_row_that_is_not_there_is_found() {
        let page = "| 1 | a | b | |\n";
        let test =
            |name: &str| Test { name: name.to_owned(), program: "p".into(), directory: ".".into() };
        assert!(check(page, &[test("m::f01_good"), test("m::other")]).is_ok());
        let error = check(page, &[test("m::f07_bad")]).expect_err("no such row").to_string();
        assert_eq!(error, "f07_bad names row 7, which is not there");
    }
}
