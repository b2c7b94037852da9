//! Files that are there whole or not at all.
//!
//! Owns: writing beside, and moving to the name. Invariant: a private file has mode 0600 from its
//! first byte; nothing is overwritten but by [`Existing::Replace`], and then whoever reads sees
//! the old file or the new one.

use rustix::fs::{CWD, RenameFlags, renameat_with};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// Who may read a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Readers {
    /// Its owner.
    Owner,
    /// Everybody, as far as the process's umask lets them.
    All,
}

/// What becomes of a file that is there already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Existing {
    /// It stays, and nothing is written.
    Keep,
    /// It is replaced.
    Replace,
}

/// The file that is written, until it has its name. Deleted when dropped.
struct Draft(PathBuf);

impl Drop for Draft {
    fn drop(&mut self) {
        // It has moved, or nobody misses it.
        let _ = fs::remove_file(&self.0);
    }
}

/// Writes a file, onto the disk.
///
/// # Errors
/// An I/O error; of the kind `AlreadyExists` if it was to be kept.
pub fn place(file: &Path, bytes: &[u8], readers: Readers, existing: Existing) -> io::Result<()> {
    let dir = file.parent().filter(|dir| !dir.as_os_str().is_empty());
    let dir = dir.unwrap_or(Path::new("."));
    let name = file.file_name().ok_or(io::ErrorKind::InvalidInput)?;
    let mut random = [0; 8];
    getrandom::fill(&mut random).map_err(io::Error::other)?;
    let draft = format!(".{}.{:016x}", name.to_string_lossy(), u64::from_ne_bytes(random));
    let path = dir.join(draft);
    let mode = match readers {
        Readers::Owner => 0o600,
        Readers::All => 0o644,
    };
    let mut open = OpenOptions::new().write(true).create_new(true).mode(mode).open(&path)?;
    let draft = Draft(path);
    open.write_all(bytes)?;
    open.sync_all()?;
    match existing {
        Existing::Keep => renameat_with(CWD, &draft.0, CWD, file, RenameFlags::NOREPLACE)?,
        Existing::Replace => fs::rename(&draft.0, file)?,
    }
    File::open(dir)?.sync_all()
}

/// Makes a directory that its owner alone may look into. One that is there is taken if it is
/// empty, and made so, or is so already.
///
/// # Errors
/// An I/O error; of the kind `PermissionDenied` if others may look into what is there.
pub(crate) fn private_directory(dir: &Path) -> io::Result<()> {
    match fs::DirBuilder::new().recursive(true).mode(0o700).create(dir) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    if fs::metadata(dir)?.mode() & 0o077 == 0 {
        return Ok(());
    }
    match fs::read_dir(dir)?.next() {
        None => fs::set_permissions(dir, fs::Permissions::from_mode(0o700)),
        Some(_) => {
            let text = "others may look into it: `chmod 700` it, or take a new directory";
            Err(io::Error::new(io::ErrorKind::PermissionDenied, text))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_kept_or_replaced_and_leaves_no_draft() {
        let dir = tempfile::tempdir().expect("a directory");
        let file = dir.path().join("a.pem");
        place(&file, b"one", Readers::Owner, Existing::Keep).expect("new");
        let error = place(&file, b"two", Readers::Owner, Existing::Keep).expect_err("there");
        assert_eq!(error.kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(fs::read(&file).expect("readable"), b"one");
        place(&file, b"two", Readers::Owner, Existing::Replace).expect("replaced");
        assert_eq!(fs::read(&file).expect("readable"), b"two");
        assert_eq!(fs::metadata(&file).expect("there").mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(dir.path()).expect("readable").count(), 1);
    }

    #[test]
    fn a_directory_that_others_may_look_into_is_not_taken() {
        let dir = tempfile::tempdir().expect("a directory");
        let open = dir.path().join("open");
        fs::DirBuilder::new().mode(0o755).create(&open).expect("made");
        private_directory(&open).expect("empty");
        assert_eq!(fs::metadata(&open).expect("there").mode() & 0o777, 0o700);
        fs::write(open.join("file"), "").expect("written");
        fs::set_permissions(&open, fs::Permissions::from_mode(0o755)).expect("changed");
        let error = private_directory(&open).expect_err("refused");
        assert_eq!(error.kind(), io::ErrorKind::PermissionDenied);
    }
}
