//! Other programs.
//!
//! Owns: how they are started and what is said when they fail. Invariant: a person can
//! repeat what failed, for the command is shown.

use anyhow::{Context, Result, bail};
use std::ffi::OsString;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::OnceLock;

/// The cargo that runs this tool.
pub(crate) fn cargo() -> Command {
    Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
}

/// `cargo` with arguments.
pub(crate) fn cargo_with(args: &[&str]) -> Command {
    let mut command = cargo();
    command.args(args);
    command
}

/// The directory that cargo builds into, wherever the caller's settings put it.
pub(crate) fn target() -> Result<PathBuf> {
    let this = std::env::current_exe().context("where this program is cannot be told")?;
    // TARGET/debug/xtask
    let target = this.parent().and_then(|dir| dir.parent());
    Ok(target.context("this program is in no target directory")?.to_owned())
}

/// A program that the same build has put beside this one, in this profile's directory.
pub(crate) fn built(profile: &str, name: &str) -> Result<PathBuf> {
    Ok(target()?.join(profile).join(name))
}

/// A test binary as cargo would run it: those of macros need the compiler's libraries.
pub(crate) fn test_binary(program: &Path) -> Command {
    static LIBRARIES: OnceLock<Option<OsString>> = OnceLock::new();
    let mut command = Command::new(program);
    if let Some(paths) = LIBRARIES.get_or_init(libraries) {
        command.env("LD_LIBRARY_PATH", paths);
    }
    command
}

/// Where libraries are looked for, the compiler's first. Nothing if it does not say where they
/// are; then those that need them say so.
fn libraries() -> Option<OsString> {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let output = Command::new(rustc).args(["--print", "target-libdir"]).output().ok()?;
    let directory = PathBuf::from(String::from_utf8_lossy(&output.stdout).trim());
    let more = std::env::var_os("LD_LIBRARY_PATH").unwrap_or_default();
    std::env::join_paths([directory].into_iter().chain(std::env::split_paths(&more))).ok()
}

/// Shows a command and runs it to its end.
///
/// # Errors
/// It cannot be started, or does not end with success.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let shown = shown(command);
    eprintln!("$ {shown}");
    let status = command.status().with_context(|| format!("`{shown}` cannot be started"))?;
    if !status.success() {
        bail!("`{shown}` failed ({status})");
    }
    Ok(())
}

/// Runs a command to its end; gives each line that it prints as it comes. Bytes that are no
/// UTF-8 are replaced.
///
/// # Errors
/// It cannot be started, or its output cannot be read.
pub(crate) fn each_line(command: &mut Command, mut take: impl FnMut(&str)) -> Result<ExitStatus> {
    let shown = shown(command);
    let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn();
    let mut child = child.with_context(|| format!("`{shown}` cannot be started"))?;
    let mut stdout = BufReader::new(child.stdout.take().context("it has no stdout")?);
    let mut line = Vec::new();
    while stdout.read_until(b'\n', &mut line).context("its output cannot be read")? > 0 {
        take(String::from_utf8_lossy(&line).trim_end_matches(['\r', '\n']));
        line.clear();
    }
    Ok(child.wait()?)
}

/// Whether a command runs and ends with success; nothing is shown.
pub(crate) fn succeeds(command: &mut Command) -> bool {
    let quiet = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    quiet.status().is_ok_and(|status| status.success())
}

/// A command as a person would type it.
pub(crate) fn shown(command: &Command) -> String {
    let program = PathBuf::from(command.get_program());
    let program = program.file_name().unwrap_or(program.as_os_str()).to_string_lossy().into_owned();
    let environment = command.get_envs().filter_map(|(name, value)| {
        Some(format!("{}='{}'", name.to_string_lossy(), value?.to_string_lossy()))
    });
    let args = command.get_args().map(|arg| arg.to_string_lossy().into_owned());
    environment.chain([program]).chain(args).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_shown_as_it_would_be_typed() {
        let mut command = Command::new("/usr/bin/cargo");
        command.args(["doc", "--no-deps"]).env("RUSTDOCFLAGS", "-D warnings");
        assert_eq!(shown(&command), "RUSTDOCFLAGS='-D warnings' cargo doc --no-deps");
    }

    #[test]
    fn lines_are_given_as_they_are_printed() {
        let mut lines = Vec::new();
        let mut command = Command::new("sh");
        command.args(["-c", "echo one; printf 'tw\\377\\r\\nthree'; exit 3"]);
        let status = each_line(&mut command, |line| lines.push(line.to_owned()));
        assert_eq!(status.expect("it can be started").code(), Some(3));
        assert_eq!(lines, ["one", "tw\u{fffd}", "three"]);
    }

    #[test]
    fn what_failed_is_named() {
        let error = run(&mut Command::new("/nowhere/tool")).expect_err("not there");
        assert!(error.to_string().contains("`tool` cannot be started"), "{error}");
        assert!(!succeeds(&mut Command::new("/nowhere/tool")));
    }
}
