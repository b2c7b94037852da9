//! Modules from Rust however they are built: debug or release, `panic` one way or the other,
//! with and without names and debug information, for older and newer processors of wasm, and
//! behind wasm-opt. Each is warmed, conforms, and does the same.

use super::guests::build::{built, installed};
use super::stage::Stage;
use anyhow::{Context, Result, ensure};
use dpfw::inspection::Warming;
use dpfw::{Cause, Depth, Limits, Module, Task, inspect};
use dpfw_tests::fleet::slave;
use dpfw_tests::wait::within;
use std::collections::HashMap;
use std::fs::{self, File};
use std::path::Path;
use std::process::Command;

/// One way to build: a profile of cargo's with settings, and flags of the compiler's.
struct Variant {
    name: &'static str,
    profile: &'static str,
    settings: &'static [(&'static str, &'static str)],
    flags: &'static str,
}

const RELEASE: Variant = Variant { name: "release", profile: "release", settings: &[], flags: "" };
const DEBUG: Variant = Variant { name: "debug", profile: "dev", settings: &[], flags: "" };

#[tokio::test]
async fn rust_in_debug_and_release_with_either_panic_works() -> Result<()> {
    // On wasm the standard library that comes with the compiler only ends a program; `unwind`
    // in a profile, which is the default, is taken for `abort` there.
    let abort = Variant { name: "release-abort", settings: &[("PANIC", "abort")], ..RELEASE };
    let unwind = Variant { name: "release", settings: &[("PANIC", "unwind")], ..RELEASE };
    let debug_abort = Variant { name: "debug-abort", settings: &[("PANIC", "abort")], ..DEBUG };
    for variant in [abort, unwind, debug_abort, DEBUG] {
        works(variant.name, compile(&variant)?).await?;
    }
    Ok(())
}

#[tokio::test]
async fn rust_stripped_small_and_for_other_processors_works() -> Result<()> {
    let small: &[(&str, &str)] =
        &[("STRIP", "symbols"), ("LTO", "fat"), ("OPT_LEVEL", "z"), ("CODEGEN_UNITS", "1")];
    let lines = &[("DEBUG", "line-tables-only"), ("STRIP", "none")];
    for variant in [
        Variant { name: "stripped", settings: small, ..RELEASE },
        Variant { name: "lines", settings: lines, ..RELEASE },
        Variant { name: "mvp", flags: "-Ctarget-cpu=mvp", ..RELEASE },
        Variant { name: "simd", flags: "-Ctarget-feature=+simd128,+tail-call", ..RELEASE },
    ] {
        works(variant.name, compile(&variant)?).await?;
    }
    Ok(())
}

#[tokio::test]
async fn rust_behind_wasm_opt_works_and_is_warmed() -> Result<()> {
    for (variant, passes) in [
        (RELEASE, &["-O4"][..]),
        (RELEASE, &["-Oz", "--strip-debug", "--strip-producers", "--strip-target-features"]),
        (RELEASE, &["-O3", "--converge", "--vacuum", "--dae-optimizing"]),
        (DEBUG, &["-O1", "--debuginfo"]),
    ] {
        let wasm = optimised(&compile(&variant)?, passes)?;
        works(&format!("{} {passes:?}", variant.name), wasm).await?;
    }
    Ok(())
}

/// Unwinding needs a standard library that was built for it, which no stable toolchain has:
/// whoever asks for it is told by the compiler, not by a task that behaves in another way.
#[test]
fn unwinding_on_wasm_is_refused_by_the_compiler() -> Result<()> {
    let unwinds = Variant { name: "unwinds", flags: "-Cpanic=unwind", ..RELEASE };
    let error = compile(&unwinds).expect_err("it cannot be built").to_string();
    assert!(error.contains("does not have the panic strategy `unwind`"), "{error}");
    Ok(())
}

/// Builds the tasks in one way.
fn compile(variant: &Variant) -> Result<Vec<u8>> {
    let Variant { name, profile, settings, flags } = variant;
    let package = Path::new(env!("CARGO_TARGET_TMPDIR")).join("variants");
    fs::create_dir_all(&package)?;
    // One package, so that macros are compiled once; other tests, in this process or another,
    // wait until the module is read.
    let turn = File::create(package.join("turn"))?;
    turn.lock()?;
    describe(&package)?;
    let target = package.join("target");
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    for outer in ["RUSTFLAGS", "CARGO_ENCODED_RUSTFLAGS", "RUSTC_WRAPPER", "CARGO_BUILD_TARGET"] {
        cargo.env_remove(outer);
    }
    cargo
        .current_dir(&package)
        .args(["rustc", "--quiet", "--lib", "--crate-type", "cdylib", "--profile", profile])
        .args(["--target", "wasm32-wasip1", "--target-dir"])
        .arg(&target)
        .env("RUSTFLAGS", flags);
    for (setting, value) in *settings {
        cargo.env(format!("CARGO_PROFILE_{}_{setting}", profile.to_uppercase()), value);
    }
    let ran = cargo.output().context("cargo cannot be started")?;
    ensure!(ran.status.success(), "{name}:\n{}", String::from_utf8_lossy(&ran.stderr));
    let directory = if *profile == "dev" { "debug" } else { profile };
    let module = format!("wasm32-wasip1/{directory}/variants.wasm");
    fs::read(target.join(&module)).with_context(|| format!("cargo made no {module}"))
}

/// Makes a directory a package beside the workspace, with its lock file, so that it is built
/// from what is there.
fn describe(package: &Path) -> Result<()> {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
    fs::copy(tests.join("../Cargo.lock"), package.join("Cargo.lock"))?;
    let (source, sdk) = (tests.join("variants/lib.rs"), tests.join("../guest-sdk"));
    let manifest = format!(
        "[package]\nname = \"variants\"\nversion = \"0.0.0\"\nedition = \"2024\"\n[workspace]\n\
         [lib]\npath = {source:?}\n[dependencies]\ndpfw-guest.path = {sdk:?}\n"
    );
    Ok(fs::write(package.join("Cargo.toml"), manifest)?)
}

/// A module behind wasm-opt.
fn optimised(wasm: &[u8], passes: &[&str]) -> Result<Vec<u8>> {
    let wasm_opt = installed("wasm-opt/node_modules/binaryen/bin/wasm-opt")?;
    let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR"))?;
    let input = directory.path().join("input.wasm");
    fs::write(&input, wasm)?;
    built(Command::new("node").arg(wasm_opt).args(passes).arg(&input), "-o")
}

/// The module is warmed, conforms, and does what it is to do.
async fn works(name: &str, wasm: Vec<u8>) -> Result<()> {
    let report = inspect(&wasm, &Limits::default(), Depth::Check);
    assert_eq!(report.warming, Warming::Warmed, "{name}");
    assert!(report.problems.is_empty(), "{name}: {:?}", report.problems);
    let mut stage = Stage::of(slave("s1", 2)?).await?;
    let module = Module::new(wasm);
    let master = stage.master().clone();

    let square = Task::<Option<u64>>::new(module.clone(), "square");
    let squares = [square.call(&[12])?, square.call(&[1000])?];
    assert_eq!(within(name, master.parallel(squares)).await??, [Some(144), None], "{name}");

    let letters = Task::<HashMap<char, u32>>::new(module.clone(), "letters");
    let counted = within(name, master.dispatch(letters.call(&["abba"])?)).await??;
    assert_eq!(counted, HashMap::from([('a', 2), ('b', 2)]), "{name}");

    let floors = Task::<Vec<i32>>::new(module.clone(), "floors");
    let floats = [[1.5, -1.5, f64::NAN, f64::INFINITY]];
    let floored = within(name, master.dispatch(floors.call(&floats)?)).await??;
    assert_eq!(floored, [1, -2, 0, i32::MAX], "{name}");

    let root = Task::<f64>::new(module.clone(), "root");
    let cause = stage.cause(root.call(&[-1.0])?).await?;
    assert_eq!(cause, Cause::Failed { message: "-1 has no root".into() }, "{name}");
    let cause = stage.cause(root.call(&["one"])?).await?;
    assert!(matches!(cause, Cause::BadArguments { .. }), "{name}: {cause}");

    let boom = Task::<u32>::new(module, "boom");
    let cause = stage.cause(boom.call(&["now"])?).await?;
    let Cause::Panic { message, location, .. } = &cause else { panic!("{name}: {cause}") };
    assert_eq!(message, "boom: now", "{name}");
    let location = location.as_ref().context("a place")?;
    assert!(location.file.ends_with("lib.rs"), "{name}: {location:?}");
    stage.end().await
}
