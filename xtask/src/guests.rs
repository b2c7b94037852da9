//! What guests in other languages are built with, by the tests: clang, wasm-ld, and the
//! packages of npm that `package-lock.json` names.
//!
//! Owns: whether they are there, getting them, and the advice where they cannot be had. Does
//! not: build guests; the tests do. Invariant: nothing is written to the source tree, and what
//! is installed is what the lock files say.

use crate::apt::install;
use crate::command::{run, shown, succeeds, target};
use anyhow::{Context, Result, bail};
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

/// Where packages are named, and the directory below `TARGET/tmp/guests` that the tests look
/// for them in.
const PACKAGES: [(&str, &str); 2] =
    [("guests/assemblyscript", "assemblyscript"), ("tests/wasm-opt", "wasm-opt")];

/// What names the packages of a directory.
const MANIFESTS: [&str; 3] = ["package.json", ".npmrc", LOCK];
const LOCK: &str = "package-lock.json";

/// Written when everything is there: the lock file that it was installed by.
const INSTALLED: &str = "installed.json";

/// Sees to it that everything is installed.
///
/// # Errors
/// Something is missing and cannot be had; the error says what to do.
pub(crate) fn ensure() -> Result<()> {
    if !has_clang() {
        install("a C compiler for wasm (clang and wasm-ld)", &["clang", "lld"], WITHOUT_CLANG)?;
        if !has_clang() {
            bail!(WITHOUT_CLANG);
        }
    }
    if !succeeds(Command::new("npm").arg("--version")) {
        install("npm", &["nodejs", "npm"], WITHOUT_NPM)?;
    }
    let guests = target()?.join("tmp/guests");
    PACKAGES.iter().try_for_each(|(from, to)| packages(Path::new(from), &guests.join(to)))
}

const WITHOUT_CLANG: &str = "\
clang with the target wasm32 and wasm-ld are missing, which the guests in C are built with.
Install them (Debian: apt-get install clang lld), and run this again. To run other tests \
meanwhile, name them: cargo xtask test -p dpfw-dispatch";

const WITHOUT_NPM: &str = "\
npm is missing, which the guests in AssemblyScript are built with.
Install node 18 or later with npm (Debian: apt-get install nodejs npm), and run this again. To \
run other tests meanwhile, name them: cargo xtask test -p dpfw-dispatch";

/// Whether C can be compiled to wasm and linked. Not every clang knows the target.
fn has_clang() -> bool {
    let targets = Command::new("clang").arg("--print-targets").stderr(Stdio::null()).output();
    let knows = targets.is_ok_and(|it| String::from_utf8_lossy(&it.stdout).contains("wasm32"));
    knows && succeeds(Command::new("wasm-ld").arg("--version"))
}

/// Installs what a lock file names, unless it is there.
fn packages(from: &Path, to: &Path) -> Result<()> {
    let wanted = fs::read(from.join(LOCK))
        .with_context(|| format!("{} has no lock file", from.display()))?;
    let installed = to.join(INSTALLED);
    if fs::read(&installed).is_ok_and(|there| there == wanted) {
        return Ok(());
    }
    fs::create_dir_all(to).with_context(|| format!("{} cannot be made", to.display()))?;
    for name in MANIFESTS {
        let copied = fs::copy(from.join(name), to.join(name));
        copied.with_context(|| format!("{name} cannot be copied to {}", to.display()))?;
    }
    let mut npm = npm(to);
    if run(&mut npm).is_err() {
        bail!(without_network(from, &shown(&npm)));
    }
    Ok(fs::write(installed, wanted)?)
}

/// Exactly what the lock file says; no package runs anything.
fn npm(to: &Path) -> Command {
    let mut npm = Command::new("npm");
    npm.args(["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel", "error"]);
    npm.current_dir(to);
    npm
}

fn without_network(from: &Path, command: &str) -> String {
    format!(
        "`{command}` could not install the packages of {}, which guests are built with.\n\
         They come from npm's registry, or from the one that `npm config get registry` names. \
         To run other tests meanwhile, name them: cargo xtask test -p dpfw-dispatch",
        from.join(LOCK).display()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lock_files_name_no_registry() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        for dir in PACKAGES.map(|(from, _)| root.join(from)) {
            let lock = fs::read_to_string(dir.join(LOCK)).expect("a lock file");
            assert!(!lock.contains("\"resolved\""), "{} names a registry", dir.display());
            assert!(lock.contains("\"integrity\": \"sha512-"), "{}", dir.display());
            assert!(MANIFESTS.iter().all(|name| dir.join(name).is_file()), "{}", dir.display());
        }
    }

    #[test]
    fn the_advice_names_what_is_missing_and_what_to_do() {
        assert!(WITHOUT_CLANG.contains("apt-get install clang lld"));
        assert!(WITHOUT_NPM.contains("apt-get install nodejs npm"));
        let advice = without_network(Path::new("guests/x"), "npm ci");
        assert!(advice.contains("`npm ci`") && advice.contains("npm config get registry"));
    }
}
