//! What a certificate says of its peer.
//!
//! Owns: reading it. Does not: verify anything; who signed it, whether it is in force and whether
//! it was revoked is for whoever has the chain. Invariants: no bytes panic; a certificate from
//! which two things could be read is refused.

use crate::role::CertRole;
use crate::uri::Entry;
use crate::validity::Validity;
use dpfw_protocol::hello::Namespace;
use dpfw_protocol::ids::{BadPeerId, PeerId};
use serde::Serialize;
use std::fmt;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

/// The largest certificate that is read. TLS itself takes no more before a peer is known.
const MAX_CERTIFICATE: usize = 64 << 10;

/// The most namespaces that one certificate names: each is looked at when a peer asks for one.
const MAX_NAMESPACES: usize = 64;

/// The longest serial number, in bytes. RFC 5280 allows 20; some authorities have more.
const MAX_SERIAL: usize = 64;

/// What a certificate says of its peer.
///
/// ```
/// use dpfw_certs::{CertRole, Subject};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let mut params = rcgen::CertificateParams::default();
/// # params.distinguished_name = rcgen::DistinguishedName::new();
/// # params.distinguished_name.push(rcgen::DnType::CommonName, "slave-1");
/// # params.subject_alt_names = vec![rcgen::SanType::URI("dpfw:role:slave".try_into()?)];
/// # let certificate = params.self_signed(&rcgen::KeyPair::generate()?)?;
/// // The end entity of a chain that was verified.
/// let der: &[u8] = certificate.der();
/// let subject = Subject::of(der)?;
/// assert_eq!((subject.role, subject.name.as_str()), (CertRole::Slave, "slave-1"));
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Subject {
    /// What the peer may be.
    pub role: CertRole,
    /// What the peer is called, in logs, receipts and quotas.
    pub name: PeerId,
    /// The namespaces that it shares with others, each once, in its order. Its own, which is
    /// called what it is called, is not among them.
    pub namespaces: Vec<Namespace>,
    /// From when and until when it is in force.
    pub validity: Validity,
    /// Its number at its authority.
    pub serial: Serial,
}

/// A certificate's number at its authority, shown as hexadecimal digits.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Serial(Vec<u8>);

/// A certificate does not say who its peer is.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SubjectError {
    /// It is larger than any is.
    #[error("the certificate has {0} bytes, {MAX_CERTIFICATE} are read")]
    Large(usize),
    /// It is no certificate of X.509.
    #[error("the certificate cannot be read: {0}")]
    Malformed(String),
    /// It names nobody, or several.
    #[error(
        "the certificate has {0} common names, and the one is its peer's name: make one with \
         `dpfw certs issue --role ROLE --name NAME`, or with CN=NAME in its subject"
    )]
    Names(usize),
    /// Its name cannot be a peer's.
    #[error("the certificate's common name cannot be a peer's: {0}")]
    Name(#[from] BadPeerId),
    /// It says no role.
    #[error(
        "the certificate of {0} says no role: make one with `dpfw certs issue --role ROLE --name \
         {0}`, or with URI:dpfw:role:ROLE in its subject alternative name, where ROLE is master, \
         slave or observer"
    )]
    NoRole(PeerId),
    /// It says several roles.
    #[error(
        "the certificate of {0} says more than one role: make one for each, for what may be taken \
         for two is neither"
    )]
    Roles(PeerId),
    /// It names too many namespaces.
    #[error("the certificate of {0} names more than {MAX_NAMESPACES} namespaces")]
    Namespaces(PeerId),
    /// It says something that is not known.
    #[error("the certificate of {name} has the entry {uri:?}, which is not known: {reason}")]
    Entry {
        /// Whose it is.
        name: PeerId,
        /// The entry of its subject alternative name.
        uri: String,
        /// What is wrong with it.
        reason: String,
    },
}

impl Subject {
    /// Reads a certificate, in DER.
    ///
    /// # Errors
    /// [`SubjectError`] if it is none, or does not say exactly one name and one role.
    pub fn of(der: &[u8]) -> Result<Self, SubjectError> {
        let certificate = parsed(der)?;
        let name = name(&certificate)?;
        let (mut role, mut namespaces) = (None, Vec::new());
        for entry in entries(&certificate, &name)? {
            match entry {
                Entry::Role(first) if role.is_none() => role = Some(first),
                Entry::Role(_) => return Err(SubjectError::Roles(name)),
                Entry::Namespace(known) if namespaces.contains(&known) => {}
                Entry::Namespace(_) if namespaces.len() == MAX_NAMESPACES => {
                    return Err(SubjectError::Namespaces(name));
                }
                Entry::Namespace(new) => namespaces.push(new),
            }
        }
        let Some(role) = role else { return Err(SubjectError::NoRole(name)) };
        let validity = Validity::of(&certificate)?;
        Ok(Self { role, name, namespaces, validity, serial: Serial::of(&certificate)? })
    }
}

impl Serial {
    pub(crate) fn of(certificate: &X509Certificate<'_>) -> Result<Self, SubjectError> {
        Self::from_bytes(certificate.raw_serial())
            .ok_or_else(|| malformed("its serial number is too long"))
    }

    /// The number, its largest byte first; none if it is longer than any is. Zeroes before it
    /// are how DER writes it, and no part of it.
    pub(crate) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let zeroes = bytes.iter().take_while(|byte| **byte == 0).count();
        let number = &bytes[zeroes.min(bytes.len().saturating_sub(1))..];
        (number.len() <= MAX_SERIAL).then(|| Self(number.to_vec()))
    }

    /// The number's bytes, the largest first.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Display for Serial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl Serialize for Serial {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// The certificate that the bytes are, all of them.
pub(crate) fn parsed(der: &[u8]) -> Result<X509Certificate<'_>, SubjectError> {
    if der.len() > MAX_CERTIFICATE {
        return Err(SubjectError::Large(der.len()));
    }
    let (rest, certificate) = X509Certificate::from_der(der).map_err(malformed)?;
    match rest.len() {
        0 => Ok(certificate),
        more => Err(malformed(format!("{more} bytes follow it"))),
    }
}

fn name(certificate: &X509Certificate<'_>) -> Result<PeerId, SubjectError> {
    let names: Vec<_> = certificate.subject().iter_common_name().collect();
    let [name] = names[..] else { return Err(SubjectError::Names(names.len())) };
    let text = name.as_str().map_err(|_| malformed("its common name is no text"))?;
    Ok(PeerId::new(text)?)
}

fn entries(certificate: &X509Certificate<'_>, name: &PeerId) -> Result<Vec<Entry>, SubjectError> {
    let names = certificate.subject_alternative_name().map_err(malformed)?;
    let names = names.map(|extension| &extension.value.general_names[..]).unwrap_or_default();
    let uris = names.iter().filter_map(|name| match name {
        GeneralName::URI(uri) => Some(*uri),
        _ => None,
    });
    let entries = uris.filter_map(|uri| {
        let bad = |reason: crate::uri::BadEntry| SubjectError::Entry {
            name: name.clone(),
            uri: short(uri),
            reason: reason.to_string(),
        };
        Entry::of(uri).map_err(bad).transpose()
    });
    entries.collect()
}

/// As much of a peer's text as an error quotes.
fn short(text: &str) -> String {
    const MOST: usize = 128;
    text.chars().take(MOST).collect()
}

pub(crate) fn malformed(reason: impl fmt::Display) -> SubjectError {
    SubjectError::Malformed(short(&reason.to_string()))
}

#[cfg(test)]
mod tests;
