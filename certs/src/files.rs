//! Files of certificates and keys, in PEM.
//!
//! Owns: reading them, and what is wrong with them. Does not: watch them; whoever uses them reads
//! them again. Invariants: a key that others may read is refused, and so is what says whom to trust where others
//! may write to it; both are this user's own, or root's; a file is bounded; an error names the file and
//! what to do.
//!
//! A peer has one file, with its chain and its key. So a renewal is one rename, and nobody ever
//! reads a certificate with the key of another.

use crate::subject::{Subject, SubjectError};
use rustix::fs::{Mode, OFlags};
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::pem::{PemObject, SectionKind};
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use x509_parser::prelude::{FromDer, X509Certificate};

/// The largest file that is read: a chain has a few KiB, a list of a hundred thousand revoked
/// certificates 4 MiB.
const MAX_FILE: u64 = 16 << 20;

/// Who a peer is, and its proof. Printing it shows no key.
#[derive(Debug)]
pub struct Identity {
    /// What its certificate says.
    pub subject: Subject,
    /// Its certificate, and those between it and the authority.
    pub chain: Vec<CertificateDer<'static>>,
    /// The certificate's key.
    pub key: PrivateKeyDer<'static>,
}

/// A file of certificates or keys cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FileError {
    /// It cannot be read.
    #[error("{} cannot be read: {source}", file.display())]
    Io {
        /// The file.
        file: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// It is larger than any is, or no file.
    #[error("{} is no file of certificates: it is larger than {MAX_FILE} bytes, or no file", file.display())]
    Size {
        /// The file.
        file: PathBuf,
    },
    /// It has a key, and others may read it.
    #[error(
        "{} has a private key, and others may read it (mode {mode:04o}): `chmod 600` it, and \
         issue it anew if anybody may have",
        file.display()
    )]
    Readable {
        /// The file.
        file: PathBuf,
        /// Its mode.
        mode: u32,
    },
    /// It is no PEM.
    #[error("{} is no PEM: {reason}", file.display())]
    Pem {
        /// The file.
        file: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// Others may write to what says whom to trust.
    #[error(
        "{} says who is let in and who is not, and others may write to it (mode {mode:04o}): \
         `chmod go-w` it",
        file.display()
    )]
    Writable {
        /// The file.
        file: PathBuf,
        /// Its mode.
        mode: u32,
    },
    /// It is no authority's.
    #[error("{} is no authority's certificate: {why}; give the authority's ca.pem", file.display())]
    NoAuthority {
        /// The file.
        file: PathBuf,
        /// Why not.
        why: &'static str,
    },
    /// It is another user's, who could change what is trusted.
    #[error(
        "{} is what this user trusts and belongs to user {owner}, who can read and replace it: \
         make it this user's own, or root's",
        file.display()
    )]
    Owner {
        /// The file.
        file: PathBuf,
        /// Whose it is.
        owner: u32,
    },
    /// It lacks something.
    #[error("{} has no {what}", file.display())]
    Lacks {
        /// The file.
        file: PathBuf,
        /// What it lacks, and how to get it.
        what: &'static str,
    },
    /// Its certificate does not say who its peer is.
    #[error("{}: {source}", file.display())]
    Subject {
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        source: SubjectError,
    },
    /// Its key cannot be used, or is another certificate's.
    #[error(
        "the key in {} cannot be used: {source}; it is to be that of the file's first certificate",
        file.display()
    )]
    Key {
        /// The file.
        file: PathBuf,
        /// What rustls says.
        source: rustls::Error,
    },
}

impl Identity {
    /// Reads a peer's file: its chain, its own certificate first, and its key.
    ///
    /// ```
    /// use dpfw_certs::{Authority, CertRole, Founding, Request, files::Identity};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let place = tempfile::tempdir()?;
    /// # let dir = place.path().join("certs");
    /// # let authority = Authority::create(&dir, &Founding::default())?;
    /// # authority.issue(&Request::new(CertRole::Slave, "slave-1"))?;
    /// let identity = Identity::read(&dir.join("slave-1.pem"))?;
    /// assert_eq!(identity.subject.name.as_str(), "slave-1");
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`FileError`] if it cannot be read, others may read it, or what is in it is not a chain
    /// and its key.
    pub fn read(file: &Path) -> Result<Self, FileError> {
        let (mut chain, mut keys) = (Vec::new(), Vec::new());
        for (kind, der) in sections(file)? {
            match PrivateKeyDer::from_pem(kind, der.clone()) {
                Some(key) => keys.push(key),
                None if kind == SectionKind::Certificate => chain.push(CertificateDer::from(der)),
                None => {}
            }
        }
        let lacks = |what| FileError::Lacks { file: file.into(), what };
        let first = chain.first().ok_or(lacks(NO_CERTIFICATE))?;
        let subject = Subject::of(first)
            .map_err(|source| FileError::Subject { file: file.into(), source })?;
        let key = match keys.len() {
            0 | 1 => keys.pop().ok_or(lacks(NO_KEY))?,
            _ => return Err(lacks(ONE_KEY)),
        };
        CertifiedKey::from_der(chain.clone(), key.clone_key(), &default_provider())
            .map_err(|source| FileError::Key { file: file.into(), source })?;
        Ok(Self { subject, chain, key })
    }
}

const NO_CERTIFICATE: &str = "certificate: a peer's file has its chain and its key";
const NO_KEY: &str = "private key, or one that is encrypted: put it behind the chain, in the same \
                      file: `cat chain.pem key.pem > NAME.pem`";
const ONE_KEY: &str = "single private key, but several: leave the one of its certificate";

/// Reads the certificates of the authorities that are trusted.
///
/// # Errors
/// [`FileError`] if the file cannot be read, has none, or has a certificate that is no authority's,
/// if none is in force (those that are not are passed over), if it has a private key, or if others may
/// write to it: whoever does is an authority.
pub fn authorities(file: &Path) -> Result<Vec<CertificateDer<'static>>, FileError> {
    let sections = trusted(file)?;
    let no_authority = |why| FileError::NoAuthority { file: file.into(), why };
    if sections.iter().any(|(kind, der)| PrivateKeyDer::from_pem(*kind, der.clone()).is_some()) {
        return Err(no_authority("it has a private key: it is a peer's own file"));
    }
    let found = certificates_in(file, sections)?;
    let mut in_force = Vec::new();
    for certificate in found {
        let (_, read) = X509Certificate::from_der(&certificate)
            .map_err(|_| no_authority("what is in it cannot be read"))?;
        if !read.is_ca() {
            return Err(no_authority("it is a peer's certificate"));
        }
        // One that another has taken over from holds that one back no longer.
        if read.validity().is_valid() {
            in_force.push(certificate);
        }
    }
    match in_force.is_empty() {
        true => Err(no_authority("it has expired, or is not valid yet")),
        false => Ok(in_force),
    }
}

/// Reads the certificates of a file.
///
/// # Errors
/// [`FileError`] if it cannot be read or has none.
pub fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, FileError> {
    certificates_in(file, sections(file)?)
}

fn certificates_in(
    file: &Path,
    sections: Vec<(SectionKind, Vec<u8>)>,
) -> Result<Vec<CertificateDer<'static>>, FileError> {
    let sections = sections.into_iter().filter(|(kind, _)| *kind == SectionKind::Certificate);
    let found: Vec<_> = sections.map(|(_, der)| CertificateDer::from(der)).collect();
    match found.is_empty() {
        true => Err(FileError::Lacks { file: file.into(), what: "certificate" }),
        false => Ok(found),
    }
}

/// Reads the revocation lists of a file.
///
/// # Errors
/// [`FileError`] if it cannot be read or has none, or if others may write to it: whoever does can
/// take a revocation back.
pub fn revocations(file: &Path) -> Result<Vec<CertificateRevocationListDer<'static>>, FileError> {
    let sections = trusted(file)?.into_iter();
    let sections = sections.filter(|(kind, _)| *kind == SectionKind::Crl);
    let found: Vec<_> = sections.map(|(_, der)| der.into()).collect();
    match found.is_empty() {
        true => Err(FileError::Lacks { file: file.into(), what: "revocation list (X509 CRL)" }),
        false => Ok(found),
    }
}

/// Reads the private key of a file that has it alone.
pub(crate) fn key(file: &Path) -> Result<PrivateKeyDer<'static>, FileError> {
    let mut keys =
        sections(file)?.into_iter().filter_map(|(kind, der)| PrivateKeyDer::from_pem(kind, der));
    keys.next().ok_or(FileError::Lacks { file: file.into(), what: "private key" })
}

/// What is in a file. One with a key that others may read, or that is another's, is refused.
fn sections(file: &Path) -> Result<Vec<(SectionKind, Vec<u8>)>, FileError> {
    let (bytes, mode, owner) = read(file)?;
    let sections = parsed(file, &bytes)?;
    let has_key =
        sections.iter().any(|(kind, der)| PrivateKeyDer::from_pem(*kind, der.clone()).is_some());
    if has_key && mode & 0o077 != 0 {
        return Err(FileError::Readable { file: file.into(), mode });
    }
    match has_key {
        true => owned(file, owner).map(|()| sections),
        false => Ok(sections),
    }
}

/// What is in a file that says whom to trust, which nobody else may write to.
fn trusted(file: &Path) -> Result<Vec<(SectionKind, Vec<u8>)>, FileError> {
    let (bytes, mode, owner) = read(file)?;
    if mode & 0o022 != 0 {
        return Err(FileError::Writable { file: file.into(), mode });
    }
    owned(file, owner)?;
    parsed(file, &bytes)
}

/// Whether what says whom to trust may be this user's: its own, or root's. Whoever owns a file can
/// change it, whatever its mode.
pub fn is_trusted(owner: u32) -> bool {
    owner == 0 || owner == rustix::process::geteuid().as_raw()
}

fn owned(file: &Path, owner: u32) -> Result<(), FileError> {
    match is_trusted(owner) {
        true => Ok(()),
        false => Err(FileError::Owner { file: file.into(), owner }),
    }
}

/// What a file has, in its order.
fn parsed(file: &Path, bytes: &[u8]) -> Result<Vec<(SectionKind, Vec<u8>)>, FileError> {
    let pem = |error: rustls::pki_types::pem::Error| FileError::Pem {
        file: file.into(),
        reason: error.to_string(),
    };
    let sections: Result<Vec<(SectionKind, Vec<u8>)>, _> =
        PemObject::pem_slice_iter(bytes).collect();
    sections.map_err(pem)
}

/// A file's bytes, and the mode and the owner of what was read.
fn read(file: &Path) -> Result<(Vec<u8>, u32, u32), FileError> {
    let io = |source| FileError::Io { file: file.into(), source };
    // A pipe in its place is not waited for.
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let open = rustix::fs::open(file, flags, Mode::empty());
    let open = File::from(open.map_err(|error| io(error.into()))?);
    let metadata = open.metadata().map_err(io)?;
    if !metadata.is_file() || metadata.len() > MAX_FILE {
        return Err(FileError::Size { file: file.into() });
    }
    let mut bytes = Vec::new();
    open.take(MAX_FILE).read_to_end(&mut bytes).map_err(io)?;
    Ok((bytes, metadata.mode() & 0o7777, metadata.uid()))
}
