//! The file of an audit log, and those before it.
//!
//! Owns: opening, appending, rotating. Invariants: a file has mode 0600 and is never opened
//! through a symbolic link; a line is one write; a line that broke off is ended before the next
//! one; one process writes a file; there are never more bytes than the settings allow.

use super::Audit;
use rustix::fs::OFlags;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// An audit log cannot be kept.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AuditError {
    /// Its file cannot be opened or made.
    #[error("the audit log {} cannot be written: {source}", file.display())]
    Io {
        /// The file.
        file: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// Another slave writes it.
    #[error("the audit log {} is another slave's: give each a file of its own", .0.display())]
    Used(PathBuf),
}

/// The file that is written, and where those before it go.
#[derive(Debug)]
pub(super) struct Log {
    audit: Audit,
    file: File,
    bytes: u64,
    /// Whether its last line has no end.
    is_torn: bool,
    /// Whether the last line could not be written, which was said.
    has_failed: bool,
}

impl Log {
    /// Opens the file, and makes it if there is none.
    pub(super) fn open(audit: &Audit) -> Result<Self, AuditError> {
        let io = |source| AuditError::Io { file: audit.file.clone(), source };
        let mut file = open(&audit.file, true).map_err(io)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(AuditError::Used(audit.file.clone())),
            Err(TryLockError::Error(source)) => return Err(io(source)),
        }
        let bytes = file.metadata().map_err(io)?.len();
        let is_torn = bytes > 0 && last(&mut file).map_err(io)? != b'\n';
        Ok(Self { audit: audit.clone(), file, bytes, is_torn, has_failed: false })
    }

    /// Writes a line; whether it is there. That it is not is said in the process's log once, until
    /// one is again.
    pub(super) fn append(&mut self, line: &[u8]) -> bool {
        let written = self.try_append(line);
        let file = self.audit.file.display();
        match &written {
            Err(error) if !self.has_failed => {
                tracing::error!(%file, %error, "the audit log cannot be written; what it misses is counted");
            }
            Ok(()) if self.has_failed => tracing::info!(%file, "the audit log is written again"),
            _ => {}
        }
        self.has_failed = written.is_err();
        written.is_ok()
    }

    fn try_append(&mut self, line: &[u8]) -> io::Result<()> {
        if self.bytes > 0 && self.bytes.saturating_add(line.len() as u64) > self.audit.most_bytes {
            self.rotate()?;
        }
        let ended;
        let line = match self.is_torn {
            true => {
                ended = [b"\n", line].concat();
                &ended[..]
            }
            false => line,
        };
        let written = self.file.write(line)?;
        self.bytes += written as u64;
        self.is_torn = written < line.len() && (written > 0 || self.is_torn);
        match written == line.len() {
            true => Ok(()),
            false => Err(io::ErrorKind::StorageFull.into()),
        }
    }

    /// The file becomes the first of those before it, each of those the next, and the last goes.
    fn rotate(&mut self) -> io::Result<()> {
        let path = &self.audit.file;
        let keep = self.audit.keep;
        // It is not there if the last rotation came as far as that: the others have moved.
        if path.try_exists()? {
            for n in (1..keep).rev() {
                renamed(&numbered(path, n), &numbered(path, n + 1))?;
            }
            match keep {
                0 => fs::remove_file(path)?,
                _ => fs::rename(path, numbered(path, 1))?,
            }
        }
        let file = open(path, false)?;
        // Nobody else can have what was made this moment.
        file.try_lock().map_err(io::Error::from)?;
        (self.file, self.bytes, self.is_torn) = (file, 0, false);
        Ok(())
    }
}

/// Opens a file to be appended to, for its owner alone.
fn open(path: &Path, may_be_there: bool) -> io::Result<File> {
    let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits();
    let mut options = OpenOptions::new();
    options.read(true).append(true).mode(0o600).custom_flags(flags.cast_signed());
    let file = match may_be_there {
        true => options.create(true).open(path)?,
        false => options.create_new(true).open(path)?,
    };
    if !file.metadata()?.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is no file"));
    }
    file.set_permissions(fs::Permissions::from_mode(0o600))?;
    Ok(file)
}

fn last(file: &mut File) -> io::Result<u8> {
    let mut byte = [0];
    file.seek(SeekFrom::End(-1))?;
    file.read_exact(&mut byte)?;
    Ok(byte[0])
}

fn numbered(path: &Path, n: u32) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{n}"));
    name.into()
}

/// What is not there need not be renamed.
fn renamed(from: &Path, to: &Path) -> io::Result<()> {
    match fs::rename(from, to) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
