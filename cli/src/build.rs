//! `dpfw build`: a crate of tasks as a module.
//!
//! Owns: which directory is meant, and that the target is there. Does not: compile; the
//! crate `dpfw-guest-build` does, as it does in build scripts. Invariant: standard output
//! has the module's path and nothing else, so that `$(dpfw build)` is it.

use crate::exit::{Exit, Failure};
use crate::json;
use crate::run::write;
use crate::screen::Screen;
use clap::Args;
use dpfw_guest_build::{Build, Error, WASIP1, compile};
use serde_json::json;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Compiles a crate of tasks to WebAssembly, and prints where the module is.
///
/// What cargo says is on standard error. The module is the one that the crate's own build
/// script makes: optimised, with the names of its functions.
#[derive(Args, Debug)]
#[command(after_help = crate::help::BUILD)]
pub(crate) struct BuildCommand {
    /// The crate's directory, or that of a workspace whose crate of tasks is in `tasks`
    #[arg(value_name = "DIR", default_value = ".")]
    directory: PathBuf,
    /// Keeps debug information, so that backtraces have files and lines; the module becomes
    /// ten times as large
    #[arg(long)]
    debug: bool,
    /// Where what is compiled is kept; `target/dpfw-guest` in the crate's directory unless
    /// told
    #[arg(long, value_name = "DIR")]
    target_dir: Option<PathBuf>,
}

impl BuildCommand {
    /// Runs the command.
    ///
    /// # Errors
    /// A [`Failure`] with the exit code.
    pub(crate) fn run(&self, screen: &Screen) -> Result<Exit, Failure> {
        let directory = tasks(&self.directory);
        add_target(&directory, screen)?;
        let mut build = Build::new().debug(self.debug).loud(!screen.is_json());
        if let Some(target) = &self.target_dir {
            // The inner cargo runs in the crate's directory.
            build = build.target_dir(std::path::absolute(target)?);
        }
        let module = compile(&directory, &build).map_err(|error| failure(&error))?;
        match screen.is_json() {
            true => {
                let bytes = std::fs::metadata(&module)?.len();
                write(&json::line(&json!({ "module": module, "bytes": bytes }))?)
            }
            false => write(format!("{}\n", module.display()).as_bytes()),
        }
    }
}

/// The directory itself, or `tasks` in that of a workspace.
fn tasks(directory: &Path) -> PathBuf {
    let below = directory.join("tasks");
    let manifest = std::fs::read_to_string(directory.join("Cargo.toml")).unwrap_or_default();
    let is_package = manifest.lines().any(|line| line.trim() == "[package]");
    match !is_package && below.join("Cargo.toml").exists() {
        true => below,
        false => directory.to_owned(),
    }
}

/// Adds the target that tasks are compiled for, where rustup is there and the target is
/// not. Where there is no rustup, cargo will say what is missing.
fn add_target(directory: &Path, screen: &Screen) -> Result<(), Failure> {
    let rustup = |args: &[&str]| {
        let mut command = Command::new("rustup");
        command.args(args).current_dir(directory).stdin(Stdio::null());
        command
    };
    let Ok(listed) = rustup(&["target", "list", "--installed"]).output() else {
        return Ok(());
    };
    let listing = String::from_utf8_lossy(&listed.stdout);
    if !listed.status.success() || listing.lines().any(|target| target.trim() == WASIP1) {
        return Ok(());
    }
    screen.line(format_args!("adding the target {WASIP1}, which tasks are compiled for"));
    let said = rustup(&["target", "add", WASIP1]).output()?;
    match said.status.success() {
        true => Ok(()),
        false => {
            let why = String::from_utf8_lossy(&said.stderr);
            let text = format!("the target {WASIP1} cannot be added:\n{}", why.trim());
            Err(Failure::new(Exit::Build, text)
                .hint(format!("add it with: rustup target add {WASIP1}")))
        }
    }
}

fn failure(error: &Error) -> Failure {
    match error {
        Error::NoPackage { .. } => Failure::usage(error)
            .hint("`dpfw new NAME` makes a crate of tasks, and a master beside it"),
        Error::Failed { dir, stderr } if stderr.is_empty() => {
            let text = format!("the tasks in {} do not compile to wasm", dir.display());
            Failure::new(Exit::Build, text).hint("cargo has said above what is wrong")
        }
        error => Failure::of(Exit::Build, error),
    }
}
