//! Counting by callgrind.
//!
//! Owns: whether it is there, getting it, running a program under it, and reading what it says.

use crate::apt::install;
use crate::command::{shown, succeeds};
use anyhow::{Context, Result, bail};
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;

/// How often a path is gone through in the shorter run: a count of it is right to the instruction
/// then, whatever happens once in a thousand times.
const TIMES: u64 = 8_000;

const MISSING: &str = "\
valgrind is missing, which counts instructions. Install it (Debian: apt-get install valgrind), and \
run this again.";

/// Sees to it that it is installed.
///
/// # Errors
/// It is not there and cannot be had; the error says what to do.
pub(crate) fn ensure() -> Result<()> {
    if is_there() {
        return Ok(());
    }
    install("valgrind", &["valgrind"], MISSING)?;
    if !is_there() {
        bail!(MISSING);
    }
    Ok(())
}

fn is_there() -> bool {
    succeeds(Command::new("valgrind").arg("--version"))
}

/// Instructions of one of a path's tasks, calls or items. The output of the longer run stays in
/// that directory, for who looks where they go.
pub(crate) fn count(program: &Path, path: &str, outputs: &Path) -> Result<u64> {
    let longer = outputs.join(format!("{path}.out"));
    let shorter = outputs.join(format!("{path}.once.out"));
    let (once, twice) = thread::scope(|scope| {
        let once = scope.spawn(|| total(program, path, TIMES, &shorter));
        let twice = total(program, path, 2 * TIMES, &longer);
        (once.join(), twice)
    });
    let once = once.map_err(|_| anyhow::anyhow!("a thread panicked"))??;
    let _ = std::fs::remove_file(shorter);
    each(once, twice?).with_context(|| format!("{path} took less when it was done more often"))
}

/// Of two runs, what one more of the longer one's took; rounded.
fn each(once: u64, twice: u64) -> Option<u64> {
    twice.checked_sub(once).map(|all| (all + TIMES / 2) / TIMES)
}

/// Instructions of a whole process.
fn total(program: &Path, path: &str, times: u64, output: &Path) -> Result<u64> {
    let mut valgrind = Command::new("valgrind");
    valgrind.args(["--tool=callgrind", "--quiet"]);
    valgrind.arg(format!("--callgrind-out-file={}", output.display()));
    valgrind.arg(program).args([path, &times.to_string()]).stdin(Stdio::null());
    let shown = shown(&valgrind);
    let ended = valgrind.output().with_context(|| format!("`{shown}` cannot be started"))?;
    if !ended.status.success() {
        bail!("`{shown}` failed ({})\n{}", ended.status, String::from_utf8_lossy(&ended.stderr));
    }
    let text = std::fs::read_to_string(output)
        .with_context(|| format!("{} cannot be read", output.display()))?;
    totals(&text).with_context(|| format!("{} has no total", output.display()))
}

/// The instructions of all parts of a callgrind output. There is a part for each dump, with a line
/// of totals for the events that were counted, of which instructions are the first.
fn totals(output: &str) -> Option<u64> {
    let lines = output.lines().filter_map(|line| line.strip_prefix("totals: "));
    let parts = lines.map(|events| events.split(' ').next()?.parse::<u64>().ok());
    parts.reduce(|all, part| all?.checked_add(part?))?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_total_is_that_of_all_parts() {
        let part = "version: 1\ncreator: callgrind-3.19.0\nevents: Ir\nsummary: 88\n\nfn=(1) main\n\
                    16 400\ncalls=1 2\n";
        assert_eq!(totals(&format!("{part}totals: 8767695\n")), Some(8_767_695));
        assert_eq!(totals(&format!("{part}totals: 40 7 1\n{part}totals: 2 9 9\n")), Some(42));
        assert_eq!(totals(part), None);
        assert_eq!(totals("totals: many\n"), None);
        assert_eq!(totals("totals: 4\ntotals: \n"), None);
    }

    #[test]
    fn what_is_done_once_is_not_counted() {
        let run = |times| 1_000_000 + 250 * times;
        assert_eq!(each(run(TIMES), run(2 * TIMES)), Some(250));
        assert_eq!(each(run(TIMES), run(2 * TIMES) + TIMES / 2), Some(251));
        assert_eq!(each(2, 1), None);
    }
}
