//! `cargo xtask fuzz`: every fuzz target for a while.
//!
//! Owns: the instrumented build, how long each target runs, and keeping what it finds. Does
//! not: say what the targets do; `fuzz/bodies` does. Invariant: an input that broke something
//! is kept and named, and the whole fails.
//!
//! The layout is cargo-fuzz's, so that `cargo fuzz run TARGET` works too; here nothing but the
//! stable toolchain is needed: there is no unsafe code to sanitize, and the compiler's
//! instrumentation for coverage is stable.

use crate::command::{cargo, run as run_command, shown, target as target_directory};
use anyhow::{Context, Result, bail, ensure};
use clap::Args;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// What is run and for how long.
#[derive(Args, Debug)]
pub(crate) struct Options {
    /// How long each target runs.
    #[arg(long, default_value = "120")]
    seconds: u64,
    /// Only these targets.
    #[arg(long, value_delimiter = ',')]
    target: Vec<String>,
    /// Adds what was found to `fuzz/corpus`, as small as it can be made.
    #[arg(long)]
    keep: bool,
}

/// Where the inputs are kept that everybody has.
const CORPUS: &str = "fuzz/corpus";

/// Where the targets are.
const PROGRAMS: &str = "fuzz/fuzz_targets";

/// Coverage as libFuzzer reads it: a counter for each edge, and comparisons.
const RUSTFLAGS: &str = "--cfg=fuzzing -Cpasses=sancov-module \
    -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
    -Cllvm-args=-sanitizer-coverage-pc-table \
    -Cllvm-args=-sanitizer-coverage-trace-compares";

/// What is kept of a target's corpus at most, in bytes and in files, of all sizes alike: all
/// corpora are below a MiB together, and nobody waits for their tests.
const KEPT: u64 = 128 << 10;
const FILES: usize = 250;

/// Builds the targets and runs them, one after the other.
pub(crate) fn run(options: &Options) -> Result<()> {
    let targets = targets(&options.target)?;
    let programs = build(&targets)?;
    let scratch = target_directory()?.join("tmp/fuzz");
    let mut told = Vec::new();
    let mut broken = Vec::new();
    for name in &targets {
        let found = scratch.join(name).join("found");
        fs::create_dir_all(&found)
            .with_context(|| format!("{} cannot be made", found.display()))?;
        let mut fuzz = Command::new(programs.join(name));
        fuzz.arg(&found).arg(Path::new(CORPUS).join(name));
        fuzz.arg(format!("-max_total_time={}", options.seconds));
        // An input that takes ten seconds is a fault; a GiB is more than any may need.
        fuzz.args(["-timeout=10", "-rss_limit_mb=1024", "-print_final_stats=1", "-verbosity=1"]);
        fuzz.arg(format!("-artifact_prefix={}/", scratch.join(name).display()));
        eprintln!("\n== {name}\n$ {}", shown(&fuzz));
        let output = fuzz.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let output = output.output().context("it cannot be started")?;
        let text = String::from_utf8_lossy(&output.stderr);
        told.push(format!("{name:10} {}", summary(&text)));
        if !output.status.success() {
            eprintln!("{}", tail(&text));
            broken.push(name.clone());
        } else if options.keep {
            keep(&programs.join(name), name, &found, &scratch)?;
        }
    }
    eprintln!();
    told.iter().for_each(|line| println!("{line}"));
    ensure!(
        broken.is_empty(),
        "targets that broke: {}. The input is named above; with it in {CORPUS}/TARGET, the tests \
         repeat it: cargo xtask test -p dpfw-tests corpora",
        broken.join(", ")
    );
    Ok(())
}

/// The targets asked for, or all.
fn targets(wanted: &[String]) -> Result<Vec<String>> {
    let entries = fs::read_dir(PROGRAMS).with_context(|| format!("{PROGRAMS} is not there"))?;
    let paths = entries.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>()?;
    let names = paths.iter().filter_map(|path| path.file_stem());
    let mut all: Vec<_> = names.map(|name| name.to_string_lossy().into_owned()).collect();
    all.sort();
    if let Some(unknown) = wanted.iter().find(|name| !all.contains(name)) {
        bail!("there is no target {unknown}; there are {}", all.join(", "));
    }
    all.retain(|name| wanted.is_empty() || wanted.contains(name));
    Ok(all)
}

/// The targets of the slave's crate, which bring wasmtime.
const OF_THE_SLAVE: [&str; 2] = ["facts", "host"];

/// Builds these targets. Gives the directory that they are in.
fn build(targets: &[String]) -> Result<PathBuf> {
    // Beside what is built otherwise, from which the host's name keeps it apart. It has to be
    // said: what runs within the build (macros, build scripts) must not be instrumented.
    let (directory, host) = (target_directory()?, host()?);
    let mut build = cargo();
    build.args(["build", "--release", "--manifest-path", "fuzz/Cargo.toml", "--target", &host]);
    if !targets.iter().any(|name| OF_THE_SLAVE.contains(&name.as_str())) {
        build.arg("--no-default-features");
    }
    targets.iter().for_each(|name| {
        build.args(["--bin", name]);
    });
    build.env("CARGO_TARGET_DIR", &directory);
    build.env("RUSTFLAGS", RUSTFLAGS).env_remove("CARGO_ENCODED_RUSTFLAGS");
    run_command(&mut build)?;
    Ok(directory.join(host).join("release"))
}

/// The name of what is compiled for.
fn host() -> Result<String> {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let output = Command::new(rustc).arg("-vV").output().context("rustc cannot be started")?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let host = text.lines().find_map(|line| line.strip_prefix("host: "));
    Ok(host.context("rustc does not say what it compiles for")?.to_owned())
}

/// Makes a target's corpus small again and puts it where everybody has it.
fn keep(program: &Path, name: &str, found: &Path, scratch: &Path) -> Result<()> {
    let corpus = Path::new(CORPUS).join(name);
    let small = scratch.join(name).join("small");
    if small.exists() {
        fs::remove_dir_all(&small)
            .with_context(|| format!("{} cannot be removed", small.display()))?;
    }
    fs::create_dir_all(&small)?;
    let mut merge = Command::new(program);
    // Those that everybody has come first, so that they stay.
    merge.arg("-set_cover_merge=1").arg(&small).arg(&corpus).arg(found);
    merge.stdout(Stdio::null()).stderr(Stdio::null());
    run_command(&mut merge)?;
    let mut inputs = fs::read_dir(&small)?
        .map(|entry| {
            let path = entry?.path();
            Ok((fs::metadata(&path)?.len(), path))
        })
        .collect::<Result<Vec<_>>>()?;
    inputs.sort();
    let mut total = 0;
    let step = inputs.len().div_ceil(FILES).max(1);
    for (len, path) in inputs.into_iter().step_by(step) {
        total += len;
        if total > KEPT {
            break;
        }
        let name = path.file_name().context("a file has a name")?;
        fs::copy(&path, corpus.join(name))?;
    }
    Ok(())
}

/// How often a target ran, and what of the program it has reached.
fn summary(text: &str) -> String {
    let statistic = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix("stat::")?.strip_prefix(name));
        line.map(|value| value.trim_start_matches(':').trim().to_owned()).unwrap_or_default()
    };
    // #123  DONE  cov: 456 ft: 789 corp: 10/1234b exec/s: 12 rss: 50Mb
    let last = text.lines().rfind(|line| line.starts_with('#') && line.contains(" cov: "));
    let after = |word: &str| {
        let rest = last.and_then(|line| line.split_once(word))?.1;
        rest.split_whitespace().next().map(str::to_owned)
    };
    let [edges, features] = [" cov: ", " ft: "].map(|word| after(word).unwrap_or_default());
    let inputs = after(" corp: ").unwrap_or_default();
    let (runs, rate) = (statistic("number_of_executed_units"), statistic("average_exec_per_sec"));
    format!("{runs} runs ({rate}/s), {edges} edges, {features} features, corpus {inputs}")
}

/// The last of what a target said: the panic, and where the input is.
fn tail(text: &str) -> String {
    let lines: Vec<_> = text.lines().collect();
    let from = lines.iter().position(|line| line.contains("panicked at"));
    let from = from.unwrap_or(lines.len().saturating_sub(40));
    lines[from..].iter().take(80).copied().collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAID: &str = "\
#2\tINITED cov: 100 ft: 200 corp: 1/1b exec/s: 0 rss: 30Mb
#524288\tDONE   cov: 321 ft: 654 corp: 98/7000b lim: 4096 exec/s: 4369 rss: 60Mb
stat::number_of_executed_units: 524288
stat::average_exec_per_sec:     4369
";

    #[test]
    fn what_libfuzzer_says_is_summed_up() {
        let told = summary(SAID);
        assert_eq!(told, "524288 runs (4369/s), 321 edges, 654 features, corpus 98/7000b");
        assert!(summary("nonsense").contains(" runs "));
    }

    #[test]
    fn a_failure_is_shown_from_its_panic_on() {
        let text = "INFO: seed\n#1 pulse\nthread 'main' panicked at x.rs:1:1:\nTest unit: /crash-1";
        assert_eq!(tail(text), "thread 'main' panicked at x.rs:1:1:\nTest unit: /crash-1");
        assert_eq!(tail("timeout"), "timeout");
    }

    #[test]
    fn the_corpora_stay_small() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(CORPUS);
        let mut total = 0;
        for target in fs::read_dir(root).expect("the corpora") {
            for input in fs::read_dir(target.expect("a corpus").path()).expect("inputs") {
                total += input.expect("an input").metadata().expect("its size").len();
            }
        }
        assert!((1..1 << 20).contains(&total), "{total} bytes");
    }
}
