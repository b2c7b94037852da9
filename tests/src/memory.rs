//! What a process has in memory, as the kernel counts it.

use anyhow::{Context, Result};
use std::fs;

/// Its pages in MiB, each that is mapped more than once counted once: those of a file that is
/// mapped, and its own. And its page tables, of which every mapping has some.
///
/// # Errors
/// If there is no such process.
pub fn proportional_mib(process: u32) -> Result<f64> {
    let pages = field(process, "smaps_rollup", "Pss:")?;
    Ok((pages + field(process, "status", "VmPTE:")?) / 1024.0)
}

/// A number of KiB in a file of `/proc`.
fn field(process: u32, file: &str, name: &str) -> Result<f64> {
    let text = fs::read_to_string(format!("/proc/{process}/{file}"))?;
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    let kib = line.and_then(|rest| rest.split_whitespace().next());
    Ok(kib.with_context(|| format!("no {name} of {process}"))?.parse()?)
}
