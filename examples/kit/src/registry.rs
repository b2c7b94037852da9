//! The Rust files of the local cargo registry.
//!
//! Owns: where they are. Does not: read them. Invariant: only packages that cargo has unpacked
//! to the end are taken, whose files do not change.

use anyhow::{Context, Result, ensure};
use std::fs;
use std::path::{Path, PathBuf};
use wordcount::Files;

/// The Rust files below `dir`, or of all packages in the registry; and where that is.
///
/// # Errors
/// If there is none, or a directory cannot be read.
pub fn find(dir: Option<&Path>) -> Result<(PathBuf, Files)> {
    let (root, files) = match dir {
        Some(dir) => (dir.to_owned(), Files::below(dir, "rs")?),
        None => {
            let root = registry()?;
            let files = unpacked(&root)?;
            (root, files)
        }
    };
    ensure!(!files.paths.is_empty(), "there is no Rust file below {}", root.display());
    Ok((root, files))
}

/// Where cargo unpacks packages.
fn registry() -> Result<PathBuf> {
    let home = std::env::var_os("CARGO_HOME").map(PathBuf::from);
    let home = home.or_else(|| Some(std::env::home_dir()?.join(".cargo")));
    let registry = home.context("neither CARGO_HOME nor HOME is set")?.join("registry/src");
    ensure!(
        registry.is_dir(),
        "{} is not there: this build took its packages from elsewhere; \
         name a directory of Rust files with --dir DIR",
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
        let empty = tempfile::tempdir().expect("a directory");
        let error = find(Some(empty.path())).expect_err("no file");
        assert!(error.to_string().contains("there is no Rust file below"), "{error}");
    }
}
