//! What is counted: the Rust files of the cargo registry.
//!
//! Owns: where they are and how many are taken. Does not: read them. Invariant: only
//! packages that cargo has unpacked to the end are taken, whose files do not change.

use crate::report::{self, Report};
use anyhow::{Context, Result, ensure};
use std::fs;
use std::path::{Path, PathBuf};
use wordcount::Files;

/// More might not be counted within a minute on two cores that do other things as well.
const MOST_BYTES: u64 = 192 << 20;

/// The input of the job.
#[derive(Debug)]
pub(crate) struct Input {
    /// Where it is.
    root: PathBuf,
    pub(crate) files: Files,
    /// Every how many-th file is taken.
    step: usize,
}

/// Finds the files: below `dir`, or of all packages in the registry.
pub(crate) fn find(dir: Option<&Path>) -> Result<Input> {
    let (root, files) = match dir {
        Some(dir) => (dir.to_owned(), Files::below(dir, "rs")?),
        None => {
            let root = registry()?;
            let files = unpacked(&root)?;
            (root, files)
        }
    };
    ensure!(!files.paths.is_empty(), "there is no Rust file below {}", root.display());
    let step = files.bytes.div_ceil(MOST_BYTES) as usize;
    Ok(Input { root, files: thin(files, step)?, step })
}

/// Where cargo unpacks packages.
fn registry() -> Result<PathBuf> {
    let home = std::env::var_os("CARGO_HOME").map(PathBuf::from);
    let home = home.or_else(|| Some(std::env::home_dir()?.join(".cargo")));
    let registry = home.context("neither CARGO_HOME nor HOME is set")?.join("registry/src");
    ensure!(
        registry.is_dir(),
        "{} is not there: this build took its packages from elsewhere; \
         name a directory of Rust files: cargo xtask demo --dir DIR",
        registry.display()
    );
    Ok(registry)
}

/// The Rust files of the packages that cargo has marked as unpacked.
fn unpacked(registry: &Path) -> Result<Files> {
    let mut all = Files::default();
    for index in subdirectories(registry)? {
        for package in subdirectories(&index)? {
            if package.join(".cargo-ok").exists() {
                let files = Files::below(&package, "rs")?;
                all.bytes += files.bytes;
                all.paths.extend(files.paths);
            }
        }
    }
    all.paths.sort_unstable();
    Ok(all)
}

fn subdirectories(dir: &Path) -> Result<Vec<PathBuf>> {
    let unread = || format!("{} cannot be read", dir.display());
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).with_context(unread)? {
        let entry = entry.with_context(unread)?;
        if entry.file_type().with_context(unread)?.is_dir() {
            found.push(entry.path());
        }
    }
    Ok(found)
}

/// Every `step`-th of the files.
fn thin(files: Files, step: usize) -> Result<Files> {
    if step <= 1 {
        return Ok(files);
    }
    let paths: Vec<_> = files.paths.into_iter().step_by(step).collect();
    let mut bytes = 0;
    for path in &paths {
        bytes += fs::metadata(path).with_context(|| path.display().to_string())?.len();
    }
    Ok(Files { paths, bytes })
}

impl Input {
    pub(crate) fn tell(&self, report: &mut Report) {
        let which = match self.step {
            1 => "every Rust file".to_owned(),
            step => format!("one of {step} Rust files, for all would take more than a minute,"),
        };
        report.row("input", format!("{which} below {}", self.root.display()));
        report.row("files", report::grouped(self.files.paths.len() as u64));
        report.row("bytes", report::grouped(self.files.bytes));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packages_that_are_still_being_unpacked_are_left_out() {
        let dir = tempfile::tempdir().expect("a directory");
        for (package, is_ok) in [("i/a-1", true), ("i/b-1", false), ("j/c-2", true)] {
            let package = dir.path().join(package);
            fs::create_dir_all(package.join("src")).expect("a directory");
            fs::write(package.join("src/lib.rs"), "fn f() {}").expect("a file");
            if is_ok {
                fs::write(package.join(".cargo-ok"), "").expect("a file");
            }
        }
        let files = unpacked(dir.path()).expect("readable");
        let expected = ["i/a-1/src/lib.rs", "j/c-2/src/lib.rs"].map(|f| dir.path().join(f));
        assert_eq!((files.bytes, &files.paths[..]), (18, &expected[..]));
        assert_eq!(thin(files, 2).expect("readable").bytes, 9);
    }
}
