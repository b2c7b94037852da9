//! The inner cargo.
//!
//! Owns: its arguments, its environment, what it says. Invariant: of the outer build it
//! gets the toolchain, the jobserver and the ways to the registries, and nothing else.

use crate::{Build, Error};
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// Compiles the package in `dir`; gives the module's path.
pub(crate) fn compile(dir: &Path, build: &Build) -> Result<PathBuf, Error> {
    let no_package = |_| Error::NoPackage { dir: dir.to_owned() };
    let manifest = dir.join("Cargo.toml").canonicalize().map_err(no_package)?;
    let dir = manifest.parent().unwrap_or(dir);
    let program = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = command(&program, dir, &manifest, build)
        .output()
        .map_err(|source| Error::NoCargo { program: program.into(), source })?;
    let stderr = String::from_utf8_lossy(&output.stderr);
    let target = build.triple();
    if output.status.success() {
        return module(&output).ok_or_else(|| Error::NoModule { dir: dir.to_owned() });
    }
    if stderr.contains("target may not be installed") {
        return Err(Error::NoTarget { target: target.to_owned() });
    }
    if stderr.contains("no library targets found") {
        return Err(Error::NoModule { dir: dir.to_owned() });
    }
    Err(Error::Failed { dir: dir.to_owned(), stderr: stderr.into_owned() })
}

fn command(program: &OsString, dir: &Path, manifest: &Path, build: &Build) -> Command {
    let mut command = Command::new(program);
    for (name, _) in std::env::vars_os().filter(|(name, _)| belongs_to_outer(name.to_str())) {
        command.env_remove(name);
    }
    let target_dir = build.target_dir.clone().unwrap_or_else(|| dir.join("target/dpfw-guest"));
    command
        .current_dir(dir)
        .args(["rustc", "--lib", "--crate-type", "cdylib", "--release"])
        .args(["--message-format", "json-render-diagnostics"])
        .args(["--target", build.triple(), "--target-dir"])
        .arg(target_dir)
        .arg("--manifest-path")
        .arg(manifest)
        // Also when empty: it overrides the flags in configuration files.
        .env("CARGO_ENCODED_RUSTFLAGS", build.rustflags.join("\x1f"));
    match build.loud {
        true => command.stderr(Stdio::inherit()),
        false => command.args(["--quiet", "--color", "never"]),
    };
    if let Some(features) = &build.features {
        command.arg("--no-default-features");
        if !features.is_empty() {
            command.arg("--features").arg(features.join(","));
        }
    }
    // What the package's own profile says of debug information is about the host.
    let (debug, strip) =
        if build.debug { ("line-tables-only", "none") } else { ("none", "debuginfo") };
    command.env("CARGO_PROFILE_RELEASE_DEBUG", debug);
    command.env("CARGO_PROFILE_RELEASE_STRIP", strip);
    command
}

/// Whether a variable of the environment is about the outer build.
fn belongs_to_outer(name: Option<&str>) -> bool {
    /// What says where things come from, not how they are built. The jobserver is shared,
    /// so that both builds together use as many cores as were allowed.
    const KEPT: [&str; 8] = [
        "CARGO_HOME",
        "CARGO_MAKEFLAGS",
        "CARGO_HTTP_",
        "CARGO_NET_",
        "CARGO_REGISTRIES_",
        "CARGO_REGISTRY_",
        "CARGO_SOURCE_",
        "CARGO_TERM_",
    ];
    /// What changes how things are built, under other names. `RUSTUP_TOOLCHAIN` stays.
    const DROPPED: [&str; 12] = [
        "RUSTC",
        "RUSTDOC",
        "RUSTFLAGS",
        "RUSTDOCFLAGS",
        "LLVM_PROFILE_FILE",
        "__CARGO",
        "OUT_DIR",
        "TARGET",
        "HOST",
        "PROFILE",
        "OPT_LEVEL",
        "DEBUG",
    ];
    let Some(name) = name else {
        return false;
    };
    if name.starts_with("CARGO") {
        return !KEPT.iter().any(|kept| name.starts_with(kept));
    }
    DROPPED.contains(&name) || name.starts_with("RUSTC_") || name.starts_with("__CARGO")
}

/// The module that the last artifact of the build is: one JSON object a line, of which
/// only the file names matter here.
fn module(output: &Output) -> Option<PathBuf> {
    let stdout = String::from_utf8_lossy(&output.stdout);
    let mut artifacts =
        stdout.lines().rev().filter(|l| l.contains(r#""reason":"compiler-artifact""#));
    artifacts.find_map(wasm_file)
}

/// The wasm file among an artifact's file names.
fn wasm_file(line: &str) -> Option<PathBuf> {
    let (_, files) = line.split_once(r#""filenames":["#)?;
    let mut rest = files;
    while let Some(text) = rest.strip_prefix('"') {
        let (file, behind) = json_string(text)?;
        if file.ends_with(".wasm") {
            return Some(file.into());
        }
        rest = behind.strip_prefix(',').unwrap_or(behind);
    }
    None
}

/// A JSON string behind its first quote, and what follows the last one.
fn json_string(text: &str) -> Option<(String, &str)> {
    let mut out = String::new();
    let mut chars = text.char_indices();
    while let Some((at, ch)) = chars.next() {
        match ch {
            '"' => return Some((out, &text[at + 1..])),
            // Paths are escaped only for quotes and backslashes; anything else has no
            // place in one.
            '\\' => out.push(chars.next().map(|(_, c)| c).filter(|c| matches!(c, '"' | '\\'))?),
            ch => out.push(ch),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_outer_builds_settings_stay_outside() {
        for dropped in [
            "RUSTFLAGS",
            "CARGO_ENCODED_RUSTFLAGS",
            "RUSTC",
            "RUSTC_WRAPPER",
            "RUSTC_WORKSPACE_WRAPPER",
            "CARGO_BUILD_TARGET",
            "CARGO_TARGET_DIR",
            "CARGO_TARGET_WASM32_WASIP1_RUSTFLAGS",
            "CARGO_PROFILE_RELEASE_LTO",
            "CARGO_FEATURE_X",
            "CARGO_INCREMENTAL",
            "CARGO_LLVM_COV",
            "__CARGO_LLVM_COV_RUSTC_WRAPPER",
            "LLVM_PROFILE_FILE",
            "OUT_DIR",
        ] {
            assert!(belongs_to_outer(Some(dropped)), "{dropped}");
        }
        for kept in [
            "CARGO_HOME",
            "CARGO_MAKEFLAGS",
            "MAKEFLAGS",
            "CARGO_NET_OFFLINE",
            "CARGO_REGISTRIES_X_TOKEN",
            "RUSTUP_TOOLCHAIN",
            "PATH",
        ] {
            assert!(!belongs_to_outer(Some(kept)), "{kept}");
        }
    }

    #[test]
    fn the_module_is_found_among_the_messages() {
        let line = r#"{"reason":"compiler-artifact","filenames":["/a/b.rlib","C:\\t\\x.wasm"],"#;
        assert_eq!(wasm_file(line), Some(r"C:\t\x.wasm".into()));
        assert_eq!(wasm_file(r#"{"filenames":[],"#), None);
        assert_eq!(wasm_file(r#"{"filenames":["/a/"#), None);
    }
}
