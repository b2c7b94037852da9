//! Whether pages of this process can be swapped out.
//!
//! With wasmtime 48 `PAGEMAP_SCAN` does not report pages that were swapped out, so that
//! what one task wrote there would be seen by the next. It is used only where swapping
//! cannot happen.

use std::fs;
use std::path::{Path, PathBuf};

/// Says why this process's pages may be swapped out; `None` if they cannot be.
pub(crate) fn can_swap() -> Option<String> {
    let swaps = match fs::read_to_string("/proc/swaps") {
        Ok(swaps) => swaps,
        Err(error) => return Some(format!("/proc/swaps cannot be read: {error}")),
    };
    judge(&swaps, || group_forbids(Path::new("/sys/fs/cgroup"), "/proc/self/cgroup"))
}

/// Swap that appears later is not seen; an operator who adds it restarts the slave.
fn judge(swaps: &str, group_forbids: impl FnOnce() -> bool) -> Option<String> {
    // The first line is a heading.
    let area = swaps.lines().nth(1)?;
    if group_forbids() {
        return None;
    }
    let name = area.split_whitespace().next().unwrap_or("an area");
    Some(format!("this machine swaps to {name}"))
}

/// Whether this process's group, or one above it, has a swap limit of zero (cgroup v2).
fn group_forbids(root: &Path, own: &str) -> bool {
    let Ok(own) = fs::read_to_string(own) else {
        return false;
    };
    let Some(path) = own.lines().find_map(|line| line.strip_prefix("0::/")) else {
        return false;
    };
    let group: PathBuf = root.join(path);
    group.ancestors().take_while(|dir| dir.starts_with(root)).any(|dir| {
        fs::read_to_string(dir.join("memory.swap.max")).is_ok_and(|max| max.trim() == "0")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADING: &str = "Filename\tType\tSize\tUsed\tPriority\n";

    #[test]
    fn no_area_no_swapping() {
        assert_eq!(judge(HEADING, || false), None);
    }

    #[test]
    fn an_area_unless_the_group_forbids_it() {
        let swaps = format!("{HEADING}/swapfile file 1024 0 -2\n");
        assert_eq!(judge(&swaps, || false), Some("this machine swaps to /swapfile".into()));
        assert_eq!(judge(&swaps, || true), None);
    }

    #[test]
    fn a_limit_of_zero_anywhere_above_counts() -> std::io::Result<()> {
        let root = tempfile::tempdir()?;
        let own = root.path().join("own");
        fs::create_dir_all(root.path().join("a/b"))?;
        fs::write(&own, "0::/a/b\n")?;
        let own = own.display().to_string();
        assert!(!group_forbids(root.path(), &own));
        fs::write(root.path().join("a/memory.swap.max"), "0\n")?;
        assert!(group_forbids(root.path(), &own));
        Ok(())
    }
}
