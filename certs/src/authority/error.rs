//! What an authority cannot do, and what to do about it.

use crate::files::FileError;
use dpfw_protocol::ids::PeerId;
use std::io;
use std::path::PathBuf;

/// An authority cannot do what was asked of it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AuthorityError {
    /// There is one already.
    #[error(
        "{} is an authority already: `dpfw certs issue --dir` takes it; a new one needs a \
         directory of its own", .0.display()
    )]
    Exists(PathBuf),
    /// There is none.
    #[error("{} is no authority: `dpfw certs init` makes one there", .0.display())]
    Absent(PathBuf),
    /// The peer has a certificate.
    #[error(
        "{name} has a certificate already, {}: `dpfw certs renew {name}` makes a new one of the \
         same kind, `--force` another one", file.display()
    )]
    Issued {
        /// The peer.
        name: PeerId,
        /// Its file.
        file: PathBuf,
    },
    /// Others share a namespace of that name, which would be the peer's own.
    #[error(
        "{name} is a namespace that is shared by {}: whoever is called so has all of it. Choose \
         another name, or say that this is meant with `--namespace {name}`",
        .whose.iter().map(PeerId::as_str).collect::<Vec<_>>().join(", ")
    )]
    Shared {
        /// The peer, and the namespace.
        name: PeerId,
        /// Whose certificates name it.
        whose: Vec<PeerId>,
    },
    /// Nobody of that name has one.
    #[error("no certificate of {0} is known: `dpfw certs show` lists those that are")]
    Unknown(String),
    /// The peer's certificate was revoked.
    #[error(
        "the certificate of {0} was revoked: if it is to have another one nevertheless, say so \
         with `dpfw certs issue --force`"
    )]
    Revoked(PeerId),
    /// The request cannot be fulfilled.
    #[error("{0}")]
    Request(String),
    /// A file in it cannot be used.
    #[error(transparent)]
    File(#[from] FileError),
    /// A file in it cannot be written.
    #[error("{} cannot be written: {source}", file.display())]
    Write {
        /// The file, or the directory.
        file: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// A certificate cannot be made.
    #[error("the certificate cannot be made: {0}")]
    Make(#[from] rcgen::Error),
}
