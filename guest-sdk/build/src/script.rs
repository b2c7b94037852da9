//! A build script's talk with the outer cargo.
//!
//! Owns: what is printed. Invariant: whenever the module might have become another one,
//! the script runs again; when it could not be made, it runs again always.

use crate::{Build, Error, cargo, sources};
use std::env;
use std::fs;
use std::path::{Path, PathBuf};

pub(crate) fn run(build: Build) {
    if variable("TARGET").starts_with("wasm") {
        println!("cargo::rerun-if-changed=build.rs");
        return;
    }
    let out_dir = PathBuf::from(variable("OUT_DIR"));
    let dir = PathBuf::from(variable("CARGO_MANIFEST_DIR"));
    let build = within(build, &out_dir);
    match cargo::compile(&dir, &build) {
        Ok(module) => {
            watch(&dir, &module);
            hand_over(&module);
        }
        Err(error @ Error::Failed { .. }) => {
            let told = out_dir.join("dpfw-guest-errors.txt");
            if fs::write(&told, error.to_string()).is_err() {
                end(&error);
            }
            println!("cargo::warning=the tasks do not compile to wasm; `cargo build` says why");
            // A file that is never there has always changed.
            println!("cargo::rerun-if-changed={}", out_dir.join("never").display());
            hand_over(&told);
        }
        Err(error) => end(&error),
    }
}

/// Fills in what follows from being in a build script.
fn within(build: Build, out_dir: &Path) -> Build {
    let features = variable("CARGO_CFG_FEATURE");
    let outer = features.split(',').filter(|f| !f.is_empty()).map(str::to_owned).collect();
    Build {
        target_dir: build.target_dir.or_else(|| Some(out_dir.join("dpfw-guest"))),
        features: build.features.or(Some(outer)),
        ..build
    }
}

/// Names all that the module was made of.
fn watch(dir: &Path, module: &Path) {
    let mut files = sources::of(module);
    files.extend(sources::manifests(dir));
    // The whole directories as well: a new file may be one that a macro looks for.
    files.extend([dir.join("src"), dir.join("build.rs")]);
    for file in files.iter().filter(|file| file.exists()) {
        println!("cargo::rerun-if-changed={}", file.display());
    }
}

fn hand_over(file: &Path) {
    println!("cargo::rustc-env=DPFW_GUEST_WASM={}", file.display());
}

/// Ends the script: cargo shows each line as an error of the package.
fn end(error: &Error) -> ! {
    for line in error.to_string().lines() {
        println!("cargo::error={line}");
    }
    if let Some(source) = std::error::Error::source(error) {
        println!("cargo::error={source}");
    }
    std::process::exit(1)
}

/// A variable that cargo sets for build scripts; empty outside of one.
fn variable(name: &str) -> String {
    env::var(name).unwrap_or_default()
}
