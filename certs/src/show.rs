//! What is in certificates, for whoever looks at them.
//!
//! Owns: reading any certificate, a peer's or an authority's, and what became of those that an
//! authority issued. Does not: verify or print. Invariant: no key is read or needed.

use crate::authority::{CERTIFICATE, ISSUED, revoked};
use crate::files::{self, FileError};
use crate::subject::{Serial, Subject, SubjectError, parsed};
use crate::validity::Validity;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::Path;
use time::OffsetDateTime;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::X509Certificate;

/// What is in a certificate.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Certificate {
    /// What it says of its peer; why not, of one that is no peer's.
    pub subject: Result<Subject, SubjectError>,
    /// Whether it is an authority's.
    pub is_authority: bool,
    /// The common name in it, or its whole subject.
    pub name: String,
    /// The common name of who issued it, or its whole subject.
    pub issuer: String,
    /// The names and addresses by which the peer may be dialled.
    pub sans: Vec<String>,
    /// From when and until when it is in force.
    pub validity: Validity,
    /// Its number at its authority.
    pub serial: Serial,
}

/// What became of a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum State {
    /// It is in force.
    Valid,
    /// It is in force, and the peer has a later one.
    Superseded,
    /// It is not in force yet.
    Early,
    /// It was in force.
    Expired,
    /// It was revoked.
    Revoked,
}

impl Certificate {
    /// Reads a certificate, in DER.
    ///
    /// # Errors
    /// [`SubjectError`] if it cannot be read. What it says of its peer may be an error of its
    /// own.
    pub fn of(der: &[u8]) -> Result<Self, SubjectError> {
        let certificate = parsed(der)?;
        Ok(Self {
            subject: Subject::of(der),
            is_authority: certificate.is_ca(),
            name: common_name(certificate.subject()),
            issuer: common_name(certificate.issuer()),
            sans: sans(&certificate),
            validity: Validity::of(&certificate)?,
            serial: Serial::of(&certificate)?,
        })
    }

    /// Whether it is in force now.
    pub fn state(&self) -> State {
        self.state_at(OffsetDateTime::now_utc())
    }

    fn state_at(&self, now: OffsetDateTime) -> State {
        match self.validity {
            Validity { from, .. } if now < from => State::Early,
            Validity { until, .. } if now > until => State::Expired,
            _ => State::Valid,
        }
    }
}

/// The certificates of a file, in their order.
///
/// # Errors
/// [`FileError`] if it cannot be read, or has none.
pub fn file(file: &Path) -> Result<Vec<Certificate>, FileError> {
    let all = files::certificates(file)?;
    let bad = |source| FileError::Subject { file: file.into(), source };
    all.iter().map(|der| Certificate::of(der).map_err(bad)).collect()
}

/// An authority's own certificate, and those that it issued, by name and then by age, each with
/// what became of it.
///
/// # Errors
/// [`FileError`] if the directory is no authority's, or cannot be read.
pub fn directory(dir: &Path) -> Result<Vec<(Certificate, State)>, FileError> {
    let revoked = revoked(dir)?;
    let mut all = issued(dir)?;
    all.sort_by(|a, b| (&a.name, a.validity.from).cmp(&(&b.name, b.validity.from)));
    let own = file(&dir.join(CERTIFICATE))?.into_iter().take(1);
    let mut listed: Vec<_> = own.map(|own| (own.state(), own)).map(|(s, c)| (c, s)).collect();
    for (n, certificate) in all.iter().enumerate() {
        let is_last = all.get(n + 1).is_none_or(|next| next.name != certificate.name);
        let state = match certificate.state() {
            _ if revoked.iter().any(|(serial, _)| *serial == certificate.serial) => State::Revoked,
            State::Valid if !is_last => State::Superseded,
            state => state,
        };
        listed.push((certificate.clone(), state));
    }
    Ok(listed)
}

/// Every certificate that an authority issued.
pub(crate) fn issued(dir: &Path) -> Result<Vec<Certificate>, FileError> {
    let dir = dir.join(ISSUED);
    let io = |source| FileError::Io { file: dir.clone(), source };
    let mut all = Vec::new();
    for entry in fs::read_dir(&dir).map_err(io)? {
        let path = entry.map_err(io)?.path();
        // Drafts that a crash left behind have another ending.
        if path.extension().is_some_and(|ending| ending == "pem") {
            all.extend(file(&path)?);
        }
    }
    Ok(all)
}

fn common_name(name: &x509_parser::x509::X509Name<'_>) -> String {
    let common = name.iter_common_name().next().and_then(|name| name.as_str().ok());
    common.map_or_else(|| name.to_string(), str::to_owned)
}

fn sans(certificate: &X509Certificate<'_>) -> Vec<String> {
    let Ok(Some(names)) = certificate.subject_alternative_name() else { return Vec::new() };
    let text = |name: &GeneralName<'_>| match name {
        GeneralName::DNSName(name) => Some((*name).to_owned()),
        GeneralName::IPAddress(bytes) => address(bytes).map(|address| address.to_string()),
        _ => None,
    };
    names.value.general_names.iter().filter_map(text).collect()
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    if let Ok(four) = <[u8; 4]>::try_from(bytes) {
        return Some(Ipv4Addr::from(four).into());
    }
    <[u8; 16]>::try_from(bytes).ok().map(|sixteen| Ipv6Addr::from(sixteen).into())
}
