//! Running the tests of rows.
//!
//! Owns: a process for each test, some at once, with a limit on its time. Invariant: a test
//! of several rows runs once; one that hangs is ended and has failed.

use super::Shown;
use super::listing::Test;
use crate::command::{target, test_binary};
use anyhow::{Context, Result};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Mutex, PoisonError};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// What came of a test.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Outcome {
    pub(super) passed: bool,
    pub(super) elapsed: Duration,
    /// What it said.
    pub(super) log: PathBuf,
}

/// Longer than any test waits for anything.
const LIMIT: Duration = Duration::from_secs(300);

/// Between two looks whether a test has ended: less than its time is told to.
const LOOK: Duration = Duration::from_millis(5);

/// Runs the tests of all rows, so many at once.
///
/// # Errors
/// One cannot be started.
pub(super) fn all(shown: &mut [Shown], jobs: NonZeroUsize) -> Result<()> {
    let logs = target()?.join("tmp/faults");
    fs::create_dir_all(&logs).with_context(|| format!("{} cannot be made", logs.display()))?;
    let tests = shown.iter().flat_map(|one| one.tests.iter().map(|(test, _)| test));
    let mut tests: Vec<_> = tests.cloned().collect();
    tests.sort_by(|a, b| (&a.program, &a.name).cmp(&(&b.program, &b.name)));
    tests.dedup();
    let (waiting, done) = (Mutex::new(tests), Mutex::new(BTreeMap::new()));
    let turn = || -> Result<()> {
        loop {
            let next = waiting.lock().unwrap_or_else(PoisonError::into_inner).pop();
            let Some(test) = next else { return Ok(()) };
            let outcome = one(&test, &logs)?;
            tell(&test, &outcome);
            let key = (test.program, test.name);
            done.lock().unwrap_or_else(PoisonError::into_inner).insert(key, outcome);
        }
    };
    std::thread::scope(|scope| {
        let turns: Vec<_> = (0..jobs.get()).map(|_| scope.spawn(turn)).collect();
        let lost = |_| Err(anyhow::anyhow!("running a test panicked"));
        turns.into_iter().try_for_each(|turn| turn.join().unwrap_or_else(lost))
    })?;
    let done = done.into_inner().unwrap_or_else(PoisonError::into_inner);
    for (test, outcome) in shown.iter_mut().flat_map(|one| &mut one.tests) {
        *outcome = done.get(&(test.program.clone(), test.name.clone())).cloned();
    }
    Ok(())
}

/// Says what failed where people look meanwhile.
fn tell(test: &Test, outcome: &Outcome) {
    if outcome.passed {
        return;
    }
    eprintln!("\n{} FAILED after {:.1} s:", test.name, outcome.elapsed.as_secs_f64());
    eprintln!("{}", fs::read_to_string(&outcome.log).unwrap_or_default());
}

/// Runs a test in a process of its own.
fn one(test: &Test, logs: &Path) -> Result<Outcome> {
    let log = logs.join(format!("{}.log", test.name.replace("::", ".")));
    let file = File::create(&log).with_context(|| format!("{} cannot be made", log.display()))?;
    let mut command = test_binary(&test.program);
    command.args(["--exact", &test.name, "--nocapture"]).current_dir(&test.directory);
    command.env("CARGO_MANIFEST_DIR", &test.directory).env("INSTA_UPDATE", "no");
    command.stdin(Stdio::null()).stdout(file.try_clone()?).stderr(file);
    let begun = Instant::now();
    let started = command.spawn();
    let mut child = started.with_context(|| format!("{} cannot be started", test.name))?;
    loop {
        if let Some(status) = child.try_wait()? {
            let elapsed = begun.elapsed();
            // A test that was filtered out has not passed.
            let said = fs::read_to_string(&log).unwrap_or_default();
            let passed = status.success() && said.contains("1 passed");
            return Ok(Outcome { passed, elapsed, log });
        }
        if begun.elapsed() > LIMIT {
            child.kill()?;
            child.wait()?;
            return Ok(Outcome { passed: false, elapsed: begun.elapsed(), log });
        }
        sleep(LOOK);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::faults::{Verdict, tests::shown};
    use crate::page::Standing;

    /// Tests of this very program.
    fn with(names: &[&str]) -> Shown {
        let mut shown = shown(1, Standing::Now, &[None, None]);
        let program = std::env::current_exe().expect("this program");
        let test = |name: &&str| {
            let name = (*name).to_owned();
            (Test { name, program: program.clone(), directory: ".".into() }, None)
        };
        shown.tests = names.iter().map(test).collect();
        shown
    }

    #[test]
    fn tests_are_run_and_what_came_of_them_is_known() {
        let good = "faults::rows::tests::a_row_says_how_it_stands";
        let mut rows = [with(&[good]), with(&[good, "faults::run::tests::there_is_none"])];
        all(&mut rows, NonZeroUsize::MIN).expect("they can be started");
        assert_eq!(rows.each_ref().map(Shown::verdict), [Verdict::Passed, Verdict::Failed]);
        let first = rows[0].tests[0].1.as_ref().expect("it ran");
        assert_eq!(Some(first), rows[1].tests[0].1.as_ref(), "it ran twice");
        assert!(fs::read_to_string(&first.log).expect("a log").contains("1 passed"));
    }
}
