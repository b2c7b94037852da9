//! `cargo xtask counts`: how many instructions the hot paths take, held against those that are
//! kept in `counts/counts.json`.
//!
//! Times on a shared machine are too noisy to see a hot path become slower by some percent; the
//! instructions that it takes are the same every time. They depend on the compiler, which
//! `rust-toolchain.toml` names, on the versions of the dependencies, wasmtime's above all, and by
//! less than a percent on the `memcpy` that the C library chooses for a processor. Versions that
//! differ from those of when they were kept are told.
//!
//! Owns: the build, which paths are counted, what fails. Does not: run a path; `dpfw-counts`
//! does. Invariant: what a path needs once, the start of the process included, is not counted: it is
//! the same in two runs of which one does twice as much, whose difference is taken.

mod callgrind;
mod kept;
mod versions;

use crate::command::{built, cargo_with, run as run_command, target};
use crate::targets;
use anyhow::{Context, Result, ensure};
use clap::Args;
use kept::{Compared, Counts, Kept, Versions};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Where the counts are kept.
const KEPT: &str = "counts/counts.json";

/// What is counted, and what becomes of it.
#[derive(Args, Debug, Default)]
pub(crate) struct Options {
    /// Keeps what was counted, for the next time.
    #[arg(long)]
    keep: bool,
    /// Only these paths.
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
}

/// Counts, and compares.
///
/// # Errors
/// A path takes more or fewer instructions than kept, by more than the tolerance; or it cannot be
/// counted.
pub(crate) fn run(options: &Options) -> Result<()> {
    callgrind::ensure()?;
    let program = build()?;
    let paths = paths(&program)?;
    if let Some(unknown) = options.only.iter().find(|only| !paths.contains(only)) {
        anyhow::bail!("there is no path {unknown}; there are {}", paths.join(", "));
    }
    let counted = count(&program, paths.iter().filter(|path| options.wants(path)))?;
    let (file, versions) = (Path::new(KEPT), versions::here()?);
    let mut kept = Kept::read(file)?;
    let compared: Vec<_> =
        kept.compare(&counted).into_iter().filter(|it| options.wants(&it.path)).collect();
    eprint!("{}", kept::table(&compared));
    if !options.keep {
        return judge(&kept, &compared, &versions);
    }
    // Of paths that were not counted, what is known stays; of those that are no more, nothing.
    kept.counts.retain(|path, _| paths.contains(path));
    kept.counts.extend(counted);
    kept.versions = versions;
    kept.write(file)?;
    eprintln!("{KEPT} is written");
    Ok(())
}

impl Options {
    fn wants(&self, path: &String) -> bool {
        self.only.is_empty() || self.only.contains(path)
    }
}

/// Counts one path after the other. What callgrind says of each stays there, for who looks where
/// its instructions go.
fn count<'a>(program: &Path, paths: impl Iterator<Item = &'a String>) -> Result<Counts> {
    let outputs = target()?.join("counts");
    std::fs::create_dir_all(&outputs)
        .with_context(|| format!("{} cannot be made", outputs.display()))?;
    paths.map(|path| Ok((path.clone(), callgrind::count(program, path, &outputs)?))).collect()
}

/// Builds what runs the paths, with the features that its dependencies have for the benchmark and
/// the program that it measures: so they are compiled once for all.
fn build() -> Result<PathBuf> {
    targets::ensure()?;
    let packages = ["dpfw-counts", "dpfw-bench", "dpfw-cli"];
    let packages = packages.iter().flat_map(|package| ["--package", package]);
    let mut build = cargo_with(&["build", "--release", "--bin", "dpfw-counts"]);
    run_command(build.args(packages))?;
    built("release", "dpfw-counts")
}

/// All that there are.
fn paths(program: &Path) -> Result<Vec<String>> {
    let listed = Command::new(program).output().context("dpfw-counts cannot be started")?;
    ensure!(listed.status.success(), "dpfw-counts failed ({})", listed.status);
    Ok(String::from_utf8_lossy(&listed.stdout).lines().map(str::to_owned).collect())
}

fn judge(kept: &Kept, compared: &[Compared], versions: &Versions) -> Result<()> {
    let beyond: Vec<_> = compared.iter().filter(|it| !it.is_within(kept.tolerance)).collect();
    if beyond.is_empty() {
        return Ok(());
    }
    let mut told = String::from("the instructions of hot paths are not those that are kept:\n");
    beyond.iter().for_each(|it| told.push_str(&it.told(kept.tolerance)));
    for (what, then, now) in kept.changed(versions) {
        told.push_str(&format!("they were kept with {what} {then}, and this is {now}\n"));
    }
    told.push_str(ADVICE);
    anyhow::bail!(told)
}

const ADVICE: &str = "\
Where they go, `callgrind_annotate --auto=yes TARGET/counts/PATH.out` shows. If it is meant to be \
so, `cargo xtask counts --keep` writes them down, to be committed with the change that did it.";
