//! Directories of the user whose process this is.

use std::path::PathBuf;

/// A directory as the XDG Base Directory Specification has it: what the variable says, or else
/// `below_home` in the home directory. `None` if the environment names neither absolutely.
pub fn user_directory(variable: &str, below_home: &str) -> Option<PathBuf> {
    let absolute =
        |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    absolute(variable).or_else(|| Some(absolute("HOME")?.join(below_home)))
}
