//! The token: what every process of one user can read, and no other user's.
//!
//! Owns: the file, who may read it, and its making. Does not: prove anything to a peer
//! (`knock` does). Invariant: a token that others may have read is never used.

use crate::security::SecurityError;
use crate::user_directory;
use dpfw_certs::place::{Existing, Readers, place};
use rustix::fs::{Mode, OFlags};
use std::fs::{DirBuilder, File};
use std::io::{ErrorKind, Read as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

/// A secret of 32 bytes. It is neither printed nor compared byte by byte.
#[derive(Clone)]
pub(crate) struct Token([u8; 32]);

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Token(..)")
    }
}

/// The longest file that is read as a token; one is 65 bytes.
const MOST: u64 = 256;

impl Token {
    /// One that is in no file.
    pub(crate) fn of(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Reads the token of a file, which is made with a new one if there is none. Of several
    /// processes that make it at once, all have the one that was there first.
    pub(crate) fn of_file(path: &Path) -> Result<Self, SecurityError> {
        match read(path) {
            Err(Trouble::Missing) => {}
            other => return other.map_err(|trouble| trouble.at(path)),
        }
        make(path).map_err(|error| Trouble::Io(error).at(path))?;
        read(path).map_err(|trouble| trouble.at(path))
    }

    /// The keyed hash of these texts, in this order. They have fixed lengths.
    pub(crate) fn hash(&self, texts: &[&[u8]]) -> blake3::Hash {
        let mut hasher = blake3::Hasher::new_keyed(&self.0);
        for text in texts {
            hasher.update(text);
        }
        hasher.finalize()
    }
}

/// Where the token of a user is unless told otherwise: `dpfw/token` in `XDG_CONFIG_HOME`, or
/// in `.config` of the home directory. `None` if the environment names neither.
pub fn token_file() -> Option<PathBuf> {
    Some(user_directory("XDG_CONFIG_HOME", ".config")?.join("dpfw").join("token"))
}

/// Why a file gives no token.
enum Trouble {
    Missing,
    Io(std::io::Error),
    Bad(String),
}

impl Trouble {
    fn at(self, path: &Path) -> SecurityError {
        let path = path.to_owned();
        match self {
            Self::Missing => SecurityError::File { path, source: ErrorKind::NotFound.into() },
            Self::Io(source) => SecurityError::File { path, source },
            Self::Bad(what) => SecurityError::Token { path, what },
        }
    }
}

impl From<rustix::io::Errno> for Trouble {
    fn from(error: rustix::io::Errno) -> Self {
        match error {
            rustix::io::Errno::NOENT => Self::Missing,
            rustix::io::Errno::LOOP => Self::Bad("is a symbolic link".into()),
            other => Self::Io(other.into()),
        }
    }
}

fn read(path: &Path) -> Result<Token, Trouble> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let file = File::from(rustix::fs::open(path, flags, Mode::empty())?);
    let about = file.metadata().map_err(Trouble::Io)?;
    if !about.is_file() {
        return Err(Trouble::Bad("is no file".into()));
    }
    let (owner, ours) = (about.uid(), rustix::process::geteuid().as_raw());
    if owner != ours {
        return Err(Trouble::Bad(format!("belongs to user {owner}, not to {ours}")));
    }
    let mode = about.mode() & 0o7777;
    if mode & 0o077 != 0 {
        return Err(Trouble::Bad(format!("has mode {mode:04o}, so others may have read it")));
    }
    let mut text = String::new();
    file.take(MOST).read_to_string(&mut text).map_err(Trouble::Io)?;
    let bytes = blake3::Hash::from_hex(text.trim_end());
    // A hash of BLAKE3 is what it reads: 32 bytes as 64 digits.
    bytes
        .map(|hash| Token(*hash.as_bytes()))
        .map_err(|_| Trouble::Bad("holds no token, which is 64 hexadecimal digits".into()))
}

/// Makes the file, unless somebody else has meanwhile. It is whole from its first moment.
fn make(path: &Path) -> std::io::Result<()> {
    if let Some(directory) = path.parent() {
        DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
    }
    let mut secret = [0; 32];
    getrandom::fill(&mut secret).map_err(std::io::Error::other)?;
    let text = format!("{}\n", blake3::Hash::from_bytes(secret).to_hex());
    match place(path, text.as_bytes(), Readers::Owner, Existing::Keep) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::Permissions;
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    fn same(a: &Token, b: &Token) -> bool {
        a.hash(&[b"x"]) == b.hash(&[b"x"])
    }

    fn refused(path: &Path) -> String {
        Token::of_file(path).expect_err("it is refused").to_string()
    }

    #[test]
    fn it_is_made_once_for_its_user_alone() {
        let home = tempfile::tempdir().expect("a directory");
        let path = home.path().join("new").join("token");
        let first = std::thread::scope(|scope| {
            let all: Vec<_> =
                (0..8).map(|_| scope.spawn(|| Token::of_file(&path).expect("made"))).collect();
            let mut all = all.into_iter().map(|one| one.join().expect("no panic"));
            let first = all.next().expect("eight");
            assert!(all.all(|other| same(&first, &other)));
            first
        });
        assert!(same(&first, &Token::of_file(&path).expect("read")));
        let mode = |path: &Path| path.metadata().expect("there").permissions().mode() & 0o777;
        assert_eq!((mode(&path), mode(path.parent().expect("a directory"))), (0o600, 0o700));
        let beside = std::fs::read_dir(path.parent().expect("a directory")).expect("there");
        assert_eq!(beside.count(), 1, "what it was made of is gone");
        assert_eq!(format!("{first:?}"), "Token(..)");
    }

    #[test]
    fn one_that_others_may_read_is_refused() {
        let home = tempfile::tempdir().expect("a directory");
        let path = home.path().join("token");
        Token::of_file(&path).expect("made");
        std::fs::set_permissions(&path, Permissions::from_mode(0o640)).expect("ours");
        let text = refused(&path);
        assert!(text.contains("mode 0640") && text.contains("remove it"), "{text}");
    }

    #[test]
    fn what_is_no_token_is_refused() {
        let home = tempfile::tempdir().expect("a directory");
        let (path, other) = (home.path().join("token"), home.path().join("other"));
        Token::of_file(&other).expect("made");
        symlink(&other, &path).expect("a link");
        assert!(refused(&path).contains("symbolic link"));
        std::fs::remove_file(&path).expect("ours");
        std::fs::create_dir(&path).expect("a directory");
        assert!(refused(&path).contains("is no file"));
        std::fs::remove_dir(&path).expect("ours");
        for text in ["", "xyz", &"0".repeat(63), &"0".repeat(4000)] {
            std::fs::write(&path, text).expect("ours");
            std::fs::set_permissions(&path, Permissions::from_mode(0o600)).expect("ours");
            assert!(refused(&path).contains("64 hexadecimal digits"), "{text}");
        }
    }
}
