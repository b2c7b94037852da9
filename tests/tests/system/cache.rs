//! F53: compiled modules are kept between runs, and trusted only where they may be.

use super::stage::unharmed;
use anyhow::{Context, Result};
use dpfw::{Cause, Limit, Limits, Module, PeerId, Slave, Task};
use dpfw_tests::fleet::{self, Pair};
use dpfw_tests::lines::Lines;
use dpfw_tests::wait::{until, within};
use dpfw_tests::wasm::module;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// A module that no other test has.
fn unique(n: u32) -> Result<Module> {
    module(&format!("(module (func (export \"f\") (result i32) (i32.const {n})))"))
}

async fn pair(cache: &Path) -> Result<Pair> {
    Pair::start(Slave::builder().name(PeerId::new("s1")?).slots(1).cache(cache)).await
}

async fn run(pair: &Pair, module: &Module) -> Result<i32> {
    let call = Task::<i32>::new(module.clone(), "f").call(&[0; 0])?;
    Ok(within("the number", pair.master.dispatch(call)).await??)
}

fn compiled(lines: &Lines, module: &Module) -> usize {
    lines.with(&["module loaded", &module.to_string()]).len()
}

/// The file of a module in the cache.
fn file(cache: &Path, module: &Module, extension: &str) -> Result<PathBuf> {
    let name = format!("{}.{extension}", module.hash().to_hex());
    let mut within =
        fs::read_dir(cache)?.filter_map(Result::ok).map(|entry| entry.path().join(&name));
    within.find(|path| path.exists()).context("it is not in the cache")
}

#[tokio::test]
async fn a_second_slave_loads_without_compiling() -> Result<()> {
    let (lines, home) = (Lines::capture(), tempfile::tempdir()?);
    let (cache, module) = (home.path().join("cache"), unique(530_001)?);
    for turn in 0..3 {
        let pair = pair(&cache).await?;
        assert_eq!(run(&pair, &module).await?, 530_001);
        assert_eq!(compiled(&lines, &module), 1, "compiled again in turn {turn}");
    }
    let mode =
        |path: &Path| Ok::<_, std::io::Error>(fs::metadata(path)?.permissions().mode() & 0o777);
    assert_eq!(mode(&cache)?, 0o700);
    assert_eq!(mode(&cache.join("key"))?, 0o600);
    Ok(())
}

/// When it was used, as the cache has it.
fn used(cache: &Path, module: &Module) -> Result<SystemTime> {
    Ok(fs::metadata(file(cache, module, "label")?)?.modified()?)
}

#[tokio::test]
async fn what_is_used_again_is_used_though_it_is_not_loaded_again() -> Result<()> {
    let home = tempfile::tempdir()?;
    let cache = home.path().join("cache");
    let pair = pair(&cache).await?;
    let (bound, looked_for) = (unique(530_008)?, unique(530_009)?);
    for module in [&bound, &looked_for] {
        run(&pair, module).await?;
        let label = fs::File::options().append(true).open(file(&cache, module, "label")?)?;
        label.set_modified(SystemTime::UNIX_EPOCH)?;
    }
    let is_used = async |module: &Module| Ok(used(&cache, module)? > SystemTime::UNIX_EPOCH);
    run(&pair, &bound).await?;
    until("the use of a task that was there", || is_used(&bound)).await?;
    assert!(!is_used(&looked_for).await?);
    // Another master's first task finds it in memory.
    let other = fleet::master(&[&pair.address]).await?;
    let call = Task::<i32>::new(looked_for.clone(), "f").call(&[0; 0])?;
    within("the number", other.dispatch(call)).await??;
    until("the use of a task that was new", || is_used(&looked_for)).await
}

#[tokio::test]
async fn what_was_not_used_for_longest_goes_first_and_not_what_was_loaded_first() -> Result<()> {
    let home = tempfile::tempdir()?;
    let (cache, other) = (home.path().join("cache"), home.path().join("other"));
    let modules = [unique(530_010)?, unique(530_011)?, unique(530_012)?];
    run(&pair(&other).await?, &modules[0]).await?;
    let bytes = |extension| anyhow::Ok(fs::metadata(file(&other, &modules[0], extension)?)?.len());
    let each = bytes("code")? + bytes("label")?;
    let slave = Slave::builder().slots(1).cache(&cache).cache_bytes(2 * each + each / 2);
    let pair = Pair::start(slave).await?;
    for module in &modules[..2] {
        run(&pair, module).await?;
    }
    run(&pair, &modules[0]).await?;
    let is_later = async || Ok(used(&cache, &modules[0])? > used(&cache, &modules[1])?);
    until("the use of the one that was loaded first", is_later).await?;
    run(&pair, &modules[2]).await?;
    let there = modules.each_ref().map(|module| file(&cache, module, "code").is_ok());
    assert_eq!(there, [true, false, true]);
    // It is in memory all the same.
    assert_eq!(run(&pair, &modules[1]).await?, 530_011);
    Ok(())
}

#[tokio::test]
async fn a_cached_module_needs_no_bytes() -> Result<()> {
    let home = tempfile::tempdir()?;
    let (cache, module) = (home.path().join("cache"), unique(530_002)?);
    assert_eq!(run(&pair(&cache).await?, &module).await?, 530_002);
    let known = Module::known(module.hash());
    assert_eq!(run(&pair(&cache).await?, &known).await?, 530_002);
    Ok(())
}

#[tokio::test]
async fn what_was_allowed_once_is_not_allowed_for_ever() -> Result<()> {
    let home = tempfile::tempdir()?;
    let cache = home.path().join("cache");
    let module = module(
        r#"(module (table 10 funcref) (data "530006")
             (func) (func (export "f") (result i32) (i32.const 530006)))"#,
    )?;
    assert_eq!(run(&pair(&cache).await?, &module).await?, 530_006);
    let less = |change: fn(&mut Limits)| {
        let mut limits = Limits::default();
        change(&mut limits);
        limits
    };
    for (limits, limit, allowed) in [
        (less(|l| l.data = 5), Limit::Data, 5),
        (less(|l| l.functions = 1), Limit::Functions, 1),
        (less(|l| l.exports = 0), Limit::Exports, 0),
        (less(|l| l.table = 9), Limit::Table, 9),
    ] {
        let slave = Slave::builder().name(PeerId::new("s1")?).slots(1).cache(&cache).limits(limits);
        let pair = Pair::start(slave).await?;
        let call = Task::<i32>::new(module.clone(), "f").call(&[0; 0])?;
        let error = within("the refusal", pair.master.dispatch(call)).await?;
        let error = error.expect_err("it is more than is allowed");
        assert_eq!(error.cause(), &Cause::Limit { limit, allowed });
    }
    Ok(())
}

#[tokio::test]
async fn f53_a_changed_file_is_deleted_and_compiled_afresh() -> Result<()> {
    let (lines, home) = (Lines::capture(), tempfile::tempdir()?);
    let (cache, module) = (home.path().join("cache"), unique(530_003)?);
    assert_eq!(run(&pair(&cache).await?, &module).await?, 530_003);
    for (turn, extension) in [(2, "code"), (3, "label")] {
        let path = file(&cache, &module, extension)?;
        let mut bytes = fs::read(&path)?;
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        fs::write(&path, &bytes)?;
        assert_eq!(run(&pair(&cache).await?, &module).await?, 530_003);
        assert_eq!(compiled(&lines, &module), turn, "a changed {extension} was trusted");
        let told = lines.with(&["not trusted, and deleted", &module.to_string()]);
        assert_eq!(told.len(), turn - 1, "{told:?}");
        assert!(fs::read(file(&cache, &module, extension)?)? != bytes, "it was not written anew");
    }
    Ok(())
}

#[tokio::test]
async fn f53_foreign_code_is_not_run() -> Result<()> {
    let home = tempfile::tempdir()?;
    let (ours, theirs) = (home.path().join("ours"), home.path().join("theirs"));
    let (module, other) = (unique(530_004)?, unique(530_005)?);
    assert_eq!(run(&pair(&ours).await?, &module).await?, 530_004);
    let evil = pair(&theirs).await?;
    assert_eq!(run(&evil, &module).await?, 530_004);
    assert_eq!(run(&evil, &other).await?, 530_005);
    // Valid files of another directory, and the code of another module under this one's name.
    for extension in ["code", "label"] {
        let from = file(&theirs, &other, extension)?;
        fs::copy(from, file(&ours, &module, extension)?)?;
    }
    assert_eq!(run(&pair(&ours).await?, &module).await?, 530_004);
    Ok(())
}

#[tokio::test]
async fn f53_a_file_that_is_cut_off_is_compiled_afresh() -> Result<()> {
    let home = tempfile::tempdir()?;
    let (cache, module) = (home.path().join("cache"), unique(530_006)?);
    assert_eq!(run(&pair(&cache).await?, &module).await?, 530_006);
    for (extension, len) in [("code", 100), ("code", 0), ("label", 10), ("label", 0)] {
        let path = file(&cache, &module, extension)?;
        fs::File::options().write(true).open(path)?.set_len(len)?;
        assert_eq!(run(&pair(&cache).await?, &module).await?, 530_006);
    }
    fs::remove_file(file(&cache, &module, "label")?)?;
    assert_eq!(run(&pair(&cache).await?, &module).await?, 530_006);
    Ok(())
}

#[tokio::test]
async fn a_directory_that_is_open_to_others_is_not_trusted() -> Result<()> {
    let (lines, home) = (Lines::capture(), tempfile::tempdir()?);
    let (cache, module) = (home.path().join("open"), unique(530_007)?);
    assert_eq!(run(&pair(&cache).await?, &module).await?, 530_007);
    for (turn, mode) in [(2, 0o755), (3, 0o770), (4, 0o701)] {
        fs::set_permissions(&cache, fs::Permissions::from_mode(mode))?;
        let pair = pair(&cache).await?;
        assert_eq!(run(&pair, &module).await?, 530_007);
        assert_eq!(compiled(&lines, &module), turn, "code under mode {mode:o} was trusted");
        unharmed(&pair.master).await?;
    }
    let told = lines.with(&["is open to other users; chmod 700 it", "open"]);
    assert!(told.len() >= 3, "{told:?}");
    fs::set_permissions(&cache, fs::Permissions::from_mode(0o700))?;
    assert_eq!(run(&pair(&cache).await?, &module).await?, 530_007);
    assert_eq!(compiled(&lines, &module), 4, "closed again, it is trusted again");
    Ok(())
}
