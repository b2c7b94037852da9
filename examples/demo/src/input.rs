//! What is counted: the Rust files of the cargo registry.
//!
//! Owns: how many are taken. Does not: find them, or read them.

use anyhow::{Context, Result};
use examples_kit::{Report, grouped, registry};
use std::fs;
use std::path::{Path, PathBuf};
use wordcount::Files;

/// More might not be counted within a minute on two cores that do other things as well.
const MOST_BYTES: u64 = 192 << 20;

/// The input of the job.
#[derive(Debug)]
pub(crate) struct Input {
    /// Where it is.
    root: PathBuf,
    pub(crate) files: Files,
    /// Every how many-th file is taken.
    step: usize,
}

/// Finds the files: below `dir`, or of all packages in the registry.
pub(crate) fn find(dir: Option<&Path>) -> Result<Input> {
    let (root, files) = registry::find(dir)?;
    let step = files.bytes.div_ceil(MOST_BYTES) as usize;
    Ok(Input { root, files: thin(files, step)?, step })
}

/// Every `step`-th of the files.
fn thin(files: Files, step: usize) -> Result<Files> {
    if step <= 1 {
        return Ok(files);
    }
    let paths: Vec<_> = files.paths.into_iter().step_by(step).collect();
    let mut bytes = 0;
    for path in &paths {
        bytes += fs::metadata(path).with_context(|| path.display().to_string())?.len();
    }
    Ok(Files { paths, bytes })
}

impl Input {
    pub(crate) fn tell(&self, report: &mut Report) {
        let which = match self.step {
            1 => "every Rust file".to_owned(),
            step => format!("one of {step} Rust files, for all would take more than a minute,"),
        };
        report.row("input", format!("{which} below {}", self.root.display()));
        report.row("files", grouped(self.files.paths.len() as u64));
        report.row("bytes", grouped(self.files.bytes));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_step_th_file_is_taken_and_their_bytes_are_counted() {
        let dir = tempfile::tempdir().expect("a directory");
        for (name, text) in [("a.rs", "fn a() {}"), ("b.rs", "mod b;"), ("c.rs", "fn c() {}")] {
            fs::write(dir.path().join(name), text).expect("a file");
        }
        let files = Files::below(dir.path(), "rs").expect("readable");
        let thinned = thin(files, 2).expect("readable");
        assert_eq!((thinned.paths.len(), thinned.bytes), (2, 18));
    }
}
