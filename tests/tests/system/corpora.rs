//! What the fuzz targets do, over the inputs that are kept in `fuzz/corpus`.
//!
//! Owns: a test for each target. Does not: look for new inputs; `cargo xtask fuzz` does.
//! Invariant: a target without a test, or without inputs, is found.

use anyhow::{Context, Result, ensure};
use dpfw_fuzz_bodies::TARGETS;
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

fn corpora() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus")
}

/// The names in a directory, in their order.
fn names(directory: &Path) -> Result<BTreeSet<String>> {
    let entries =
        fs::read_dir(directory).with_context(|| format!("{} is not there", directory.display()))?;
    let name = |entry: std::io::Result<fs::DirEntry>| {
        Ok(entry?.file_name().to_string_lossy().into_owned())
    };
    entries.map(name).collect()
}

/// Names the input whose body panics: that alone does not say which it was.
struct Input(PathBuf);

impl Drop for Input {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the input is {}", self.0.display());
        }
    }
}

/// Runs a target over its corpus.
fn run(target: &str) -> Result<()> {
    let body = TARGETS.iter().find(|(name, _)| *name == target).context("no such target")?.1;
    let corpus = corpora().join(target);
    let inputs = names(&corpus)?;
    ensure!(!inputs.is_empty(), "{} is empty", corpus.display());
    for name in inputs {
        let input = Input(corpus.join(name));
        body(&fs::read(&input.0)?);
    }
    // None has to be there for this.
    body(b"");
    Ok(())
}

macro_rules! targets {
    ($($test:ident = $name:literal;)*) => {
        $(#[test]
        fn $test() -> Result<()> {
            run($name)
        })*

        #[test]
        fn every_target_has_a_test_a_corpus_and_a_program() -> Result<()> {
            let tested = BTreeSet::from([$($name.to_owned()),*]);
            let known: BTreeSet<_> = TARGETS.iter().map(|(name, _)| (*name).to_owned()).collect();
            assert_eq!(tested, known);
            assert_eq!(names(&corpora())?, known);
            let programs = names(&corpora().join("../fuzz_targets"))?;
            let expected: BTreeSet<_> = known.iter().map(|name| format!("{name}.rs")).collect();
            assert_eq!(programs, expected);
            Ok(())
        }
    };
}

targets! {
    arrivals_bear_what_the_fuzzer_found = "arrivals";
    certificates_bear_what_the_fuzzer_found = "certificate";
    the_policy_bears_what_the_fuzzer_found = "dispatch";
    facts_bear_what_the_fuzzer_found = "facts";
    frames_bear_what_the_fuzzer_found = "frames";
    the_handshake_bears_what_the_fuzzer_found = "hello";
    the_host_bears_what_the_fuzzer_found = "host";
    the_knock_bears_what_the_fuzzer_found = "knock";
    messages_bear_what_the_fuzzer_found = "messages";
}
