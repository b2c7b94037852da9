//! Files and directories that are this user's own, and closed to others.
//!
//! Owns: what makes one of them so, and how it is opened and written. Does not: know what is in them.
//! Invariants: what is looked at is what is used, whatever then stands under its name; a file is there
//! whole or not at all.

use rustix::fs::{AtFlags, CWD, Mode, OFlags};
use std::fs;
use std::io::{self, Read, Write};
use std::path::Path;

/// How files are called that are being written.
pub(crate) const UNFINISHED: &str = ".tmp";

pub(crate) fn foreign(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what.to_owned())
}

/// Writes a file so that it is there whole or not at all, and gives it.
pub(crate) fn write_whole(dir: &Path, path: &Path, parts: &[&[u8]]) -> io::Result<fs::File> {
    let mut file = tempfile::Builder::new().prefix(UNFINISHED).tempfile_in(dir)?;
    for part in parts {
        file.write_all(part)?;
    }
    file.persist(path).map_err(|e| e.error)
}

/// Opens a file that is this user's alone: what others may write to could be changed after it was
/// looked at.
pub(crate) fn open_own(path: &Path) -> io::Result<fs::File> {
    // A pipe would be waited at.
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = match rustix::fs::open(path, flags, Mode::empty()) {
        Err(rustix::io::Errno::LOOP) => return Err(foreign("it is a link")),
        opened => opened?,
    };
    let stat = rustix::fs::fstat(&file)?;
    if !rustix::fs::FileType::from_raw_mode(stat.st_mode).is_file() {
        return Err(foreign("it is no file"));
    }
    if !is_own(&stat) {
        return Err(foreign("it is open to other users, or another's"));
    }
    Ok(file.into())
}

/// Whether something is this user's, and nobody else's to read or write.
fn is_own(stat: &rustix::fs::Stat) -> bool {
    stat.st_uid == rustix::process::geteuid().as_raw() && stat.st_mode & 0o077 == 0
}

/// Makes a directory that is this user's own and closed to others, or looks whether it is.
///
/// # Errors
/// An I/O error if it is not, or cannot be.
pub(crate) fn make_private(dir: &Path) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    match fs::DirBuilder::new().recursive(true).mode(0o700).create(dir) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        _ => check_private(dir),
    }
}

pub(crate) fn check_private(dir: &Path) -> io::Result<()> {
    let stat = rustix::fs::statat(CWD, dir, AtFlags::SYMLINK_NOFOLLOW)?;
    let at = dir.display();
    if !rustix::fs::FileType::from_raw_mode(stat.st_mode).is_dir() {
        return Err(io::Error::other(format!("{at} is no directory of its own")));
    }
    if stat.st_uid != rustix::process::geteuid().as_raw() {
        return Err(io::Error::other(format!("{at} belongs to another user")));
    }
    if stat.st_mode & 0o077 != 0 {
        return Err(io::Error::other(format!("{at} is open to other users; chmod 700 it")));
    }
    Ok(())
}

/// The key of a directory that is this user's own; made with the directory.
pub(crate) fn trusted(dir: &Path) -> io::Result<[u8; 32]> {
    make_private(dir)?;
    let path = dir.join("key");
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = match rustix::fs::open(&path, flags, Mode::empty()) {
        Ok(file) => file,
        Err(rustix::io::Errno::NOENT) => {
            make_key(dir, &path)?;
            rustix::fs::open(&path, flags, Mode::empty())?
        }
        Err(error) => return Err(error.into()),
    };
    let stat = rustix::fs::fstat(&file)?;
    if !is_own(&stat) {
        let at = path.display();
        return Err(io::Error::other(format!("{at} is open to other users; delete it")));
    }
    let mut key = [0; 32];
    fs::File::from(file).read_exact(&mut key)?;
    Ok(key)
}

fn make_key(dir: &Path, path: &Path) -> io::Result<()> {
    let mut key = [0; 32];
    getrandom::fill(&mut key).map_err(io::Error::other)?;
    // Made with mode 0600, whole before it has its name; of two that try, one wins.
    let mut file = tempfile::NamedTempFile::new_in(dir)?;
    file.write_all(&key)?;
    match file.persist_noclobber(path) {
        Err(error) if error.error.kind() != io::ErrorKind::AlreadyExists => Err(error.error),
        _ => Ok(()),
    }
}
