//! The files that a module was made of.
//!
//! Owns: reading the inner cargo's dep-info. Invariant: a file whose change would change
//! the module is among them, apart from those in the registry, which do not change.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// The local files that went into a module, with the manifests that they belong to.
pub(crate) fn of(module: &Path) -> BTreeSet<PathBuf> {
    let info = fs::read_to_string(module.with_extension("d")).unwrap_or_default();
    let mut files: BTreeSet<_> = listed(&info).collect();
    let dirs: BTreeSet<_> =
        files.iter().filter_map(|file| file.parent().map(Path::to_owned)).collect();
    files.extend(dirs.iter().flat_map(|dir| manifests(dir)));
    files
}

/// The files behind the colons of a dep-info file: separated by spaces, spaces within
/// escaped by a backslash.
fn listed(info: &str) -> impl Iterator<Item = PathBuf> {
    let lines = info.lines().filter_map(|line| line.split_once(": ").map(|(_, files)| files));
    lines.flat_map(|files| {
        let files = files.replace("\\ ", "\0");
        files
            .split_whitespace()
            .map(|file| PathBuf::from(file.replace('\0', " ")))
            .collect::<Vec<_>>()
    })
}

/// The manifests above a source file, up to the lock file of its workspace.
pub(crate) fn manifests(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for dir in dir.ancestors() {
        let manifest = dir.join("Cargo.toml");
        if manifest.is_file() {
            found.push(manifest);
        }
        let lock = dir.join("Cargo.lock");
        if lock.is_file() {
            found.push(lock);
            break;
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dep_info_is_read() {
        let info = "/t/x.wasm: /a/src/lib.rs /b\\ c/src/lib.rs\n\n/t/y.wasm: /d.rs\n";
        let files: Vec<_> = listed(info).collect();
        assert_eq!(files, ["/a/src/lib.rs", "/b c/src/lib.rs", "/d.rs"].map(PathBuf::from));
    }

    #[test]
    fn manifests_are_found_up_to_the_lock_file() {
        let dir = tempfile::tempdir().expect("a directory");
        let package = dir.path().join("w/p/src");
        fs::create_dir_all(&package).expect("a directory");
        for file in ["Cargo.toml", "w/Cargo.toml", "w/Cargo.lock", "w/p/Cargo.toml"] {
            fs::write(dir.path().join(file), "").expect("a file");
        }
        let expected = ["w/p/Cargo.toml", "w/Cargo.toml", "w/Cargo.lock"];
        assert_eq!(manifests(&package), expected.map(|file| dir.path().join(file)));
    }
}
