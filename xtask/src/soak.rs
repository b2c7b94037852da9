//! `cargo xtask soak`.
//!
//! Owns: the build before it. Does not: know what is done to slaves meanwhile; `dpfw-soak` of
//! the tests does.

use crate::command::{built, cargo_with, run as run_command};
use crate::targets;
use anyhow::Result;
use std::process::Command;

/// Builds everything and runs the soak with these arguments.
pub(crate) fn run(args: &[String]) -> Result<()> {
    targets::ensure()?;
    // The whole workspace, as the tests build it: with fewer packages the dependencies
    // would have other features and be compiled once more.
    run_command(&mut cargo_with(&["build", "--workspace", "--all-targets"]))?;
    run_command(Command::new(built("debug", "dpfw-soak")?).args(args))
}
