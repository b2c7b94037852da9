//! The tests that there are in the sources.
//!
//! Owns: finding them. Does not: compile; that a test runs is for who runs all tests.
//! Invariant: what is built or fetched is not looked at.

use anyhow::{Context, Result};
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// The names of all tests below a directory, without their modules.
///
/// # Errors
/// Something there cannot be read.
pub(super) fn tests(root: &Path) -> Result<BTreeSet<String>> {
    let (mut found, mut open) = (BTreeSet::new(), vec![root.to_owned()]);
    while let Some(directory) = open.pop() {
        let unreadable = || format!("{} is unreadable", directory.display());
        for entry in fs::read_dir(&directory).with_context(unreadable)? {
            let entry = entry.with_context(unreadable)?;
            let (path, name) = (entry.path(), entry.file_name());
            let name = name.to_string_lossy();
            let is_ours = !name.starts_with('.') && name != "target" && name != "node_modules";
            if entry.file_type().with_context(unreadable)?.is_dir() {
                open.extend(is_ours.then_some(path));
            } else if name.ends_with(".rs") {
                let text = fs::read_to_string(&path)
                    .with_context(|| format!("{} is unreadable", path.display()))?;
                found.extend(in_source(&text).map(str::to_owned));
            }
        }
    }
    Ok(found)
}

/// The functions of a source that have an attribute which ends in `test`.
fn in_source(text: &str) -> impl Iterator<Item = &str> {
    let mut is_test = false;
    text.lines().filter_map(move |line| {
        let line = line.trim_start();
        if let Some(attribute) = line.strip_prefix("#[") {
            let path = attribute.split([']', '(']).next().unwrap_or_default();
            is_test |= path.rsplit("::").next() == Some("test");
            return None;
        }
        if line.starts_with("//") {
            return None;
        }
        let was_test = std::mem::take(&mut is_test);
        let (_, name) = line.split_once("fn ").filter(|_| was_test)?;
        name.split(['(', '<']).next()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tests_are_functions_that_are_called_so() {
        let text = "
            #[test]
            fn first() {}

            /// Said of it.
            #[tokio::test(flavor = \"multi_thread\")]
            // And of this.
            #[ignore]
            async fn second() -> Result<()> {}

            #[cfg(test)]
            mod tests {
                fn helper() {}
                fn another() {}
            }";
        assert_eq!(in_source(text).collect::<Vec<_>>(), ["first", "second"]);
    }
}
