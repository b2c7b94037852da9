//! Debian's packages, for what the commands need and cannot bring along.

use crate::command::{run, succeeds};
use anyhow::{Context, Result, bail};
use std::process::{Command, Stdio};

/// Installs Debian's packages, where there is a Debian and somebody who may.
///
/// # Errors
/// The advice, where they cannot be had.
pub(crate) fn install(what: &str, packages: &[&str], advice: &'static str) -> Result<()> {
    if !succeeds(Command::new("apt-get").arg("--version")) || !is_root() {
        bail!(advice);
    }
    eprintln!("{what} is missing; it is installed now");
    let apt = |args: &[&str]| {
        run(Command::new("apt-get").env("DEBIAN_FRONTEND", "noninteractive").arg("-qq").args(args))
    };
    let install = [&["install", "--yes", "--no-install-recommends"], packages].concat();
    // A new machine's lists are empty; and what old ones name is not there any more.
    apt(&["update"]).and_then(|()| apt(&install)).context(advice)
}

fn is_root() -> bool {
    let id = Command::new("id").arg("--user").stderr(Stdio::null()).output();
    id.is_ok_and(|id| id.stdout.trim_ascii() == b"0")
}
