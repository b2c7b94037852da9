//! `cargo xtask test`.
//!
//! Owns: which runner is taken. Invariant: the same tests run with either.

use crate::command::{cargo_with, run as run_command, succeeds};
use crate::{guests, programs, targets};
use anyhow::Result;

/// Runs all tests and doc tests; with arguments, what these ask the runner for.
pub(crate) fn run(args: &[String]) -> Result<()> {
    targets::ensure()?;
    // Those who name tests may not mean those of guests and of other authors' programs; if
    // they do, these say it as well.
    match guests::ensure().and_then(|()| programs::ensure_built()) {
        Err(error) if !args.is_empty() => eprintln!("warning: {error:#}"),
        ensured => ensured?,
    }
    // The tests start programs of the workspace: `dpfw` and others. All targets: without the
    // tests' own dependencies others have fewer features, and wasmtime is compiled twice.
    run_command(&mut cargo_with(&["build", "--workspace", "--all-targets"]))?;
    let has_nextest = succeeds(&mut cargo_with(&["nextest", "--version"]));
    run_command(cargo_with(runner(has_nextest)).args(args))?;
    if args.is_empty() {
        run_command(&mut cargo_with(&["test", "--workspace", "--doc"]))?;
    }
    Ok(())
}

/// The runner's command line. cargo-nextest runs the tests of all packages side by side;
/// where it is not installed, cargo's own runner does as well.
fn runner(has_nextest: bool) -> &'static [&'static str] {
    match has_nextest {
        true => &["nextest", "run", "--workspace"],
        // Doc tests, which nextest cannot run, have a run of their own either way.
        false => &["test", "--workspace", "--lib", "--bins", "--tests"],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nextest_is_not_needed() {
        assert_eq!(runner(true)[0], "nextest");
        assert_eq!(runner(false)[..2], ["test", "--workspace"]);
    }
}
