//! Runs a WASI program over files, each at its standard input, on all slaves of a master.
//!
//! Owns: how many run at once. Does not: know the program, or walk directories. Invariant:
//! outputs come in the order of the files, and in memory are only those files that are out.

#![forbid(unsafe_code)]

use anyhow::{Context, Result, ensure};
use dpfw::{Master, Output, Program};
use futures_util::{Stream, StreamExt, stream};
use std::path::{Path, PathBuf};

/// Files beyond the slots of all slaves that are out, so that no slot waits for the next.
const AHEAD: usize = 4;

/// The program's outputs for the files, in their order.
///
/// A file that cannot be read, and one for which the program fails, is an error in its
/// place; the others go on.
pub fn outputs<'a>(
    master: &'a Master,
    program: &'a Program,
    files: &'a [PathBuf],
) -> impl Stream<Item = Result<Output>> + 'a {
    let slots: usize = master.slaves().iter().map(|slave| slave.slots() as usize).sum();
    stream::iter(files).map(|file| output(master, program, file)).buffered(slots + AHEAD)
}

/// The program's output for a file, wherever it runs.
async fn output(master: &Master, program: &Program, file: &Path) -> Result<Output> {
    let name = || file.display().to_string();
    // As bytes, so that it is there once more if a slave is lost.
    let bytes = std::fs::read(file).with_context(name)?;
    let output = master.output(program.clone().input(bytes)).await.with_context(name)?;
    ensure!(output.status.is_success(), "{}: {}", name(), output.status);
    Ok(output)
}
