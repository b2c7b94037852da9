//! The list of certificates that are not to be trusted any more.
//!
//! Owns: `crl.pem`. Invariants: what was revoked stays on the list; its number grows; a list that
//! is lost is not begun again as if nobody had been revoked.

use super::{Authority, AuthorityError, REVOKED, SKEW, now};
use crate::files::{self, FileError};
use crate::place::{Existing, Readers};
use crate::show::Certificate;
use crate::subject::{Serial, SubjectError};
use rcgen::{CertificateRevocationListParams, KeyIdMethod, RevokedCertParams, SerialNumber};
use std::path::Path;
use time::{Duration, OffsetDateTime};
use x509_parser::prelude::{CertificateRevocationList, FromDer};

/// When a list is to be replaced by a newer one. Each issue, renewal and revocation makes one.
const LIST_DAYS: i64 = 90;

/// What was revoked.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Revoked {
    /// The certificates, newest last.
    pub certificates: Vec<Certificate>,
    /// How many are on the list now.
    pub listed: usize,
}

impl Authority {
    /// Revokes every certificate of a peer that is in force, or the one of a serial number.
    /// Peers hear of it when they have the new list.
    ///
    /// # Errors
    /// [`AuthorityError::Unknown`] if there is none of that name or number.
    pub fn revoke(&self, name_or_serial: &str) -> Result<Revoked, AuthorityError> {
        let mut certificates = self.issued_to(name_or_serial)?;
        if certificates.is_empty() {
            let all = crate::show::issued(&self.dir)?.into_iter();
            certificates = all.filter(|c| c.serial.to_string() == name_or_serial).collect();
        }
        if certificates.is_empty() {
            return Err(AuthorityError::Unknown(name_or_serial.into()));
        }
        let now = now();
        certificates.retain(|certificate| certificate.validity.until >= now);
        certificates.sort_by_key(|certificate| certificate.validity.from);
        let mut list = revoked(&self.dir)?;
        for certificate in &certificates {
            if list.iter().all(|(serial, _)| *serial != certificate.serial) {
                list.push((certificate.serial.clone(), now));
            }
        }
        self.sign(&list, number(&self.dir)?)?;
        Ok(Revoked { certificates, listed: list.len() })
    }

    /// An empty list.
    pub(super) fn begin_list(&self) -> Result<(), AuthorityError> {
        self.sign(&[], 0)
    }

    /// The same list, signed anew.
    pub(super) fn renew_list(&self) -> Result<(), AuthorityError> {
        self.sign(&revoked(&self.dir)?, number(&self.dir)?)
    }

    fn sign(&self, list: &[(Serial, OffsetDateTime)], last: u64) -> Result<(), AuthorityError> {
        let revoked = list.iter().map(|(serial, time)| RevokedCertParams {
            serial_number: SerialNumber::from_slice(serial.as_bytes()),
            revocation_time: *time,
            reason_code: None,
            invalidity_date: None,
        });
        let number = last.saturating_add(1);
        let params = CertificateRevocationListParams {
            this_update: now() - SKEW,
            next_update: now() + Duration::days(LIST_DAYS),
            crl_number: SerialNumber::from_slice(&number.to_be_bytes()),
            issuing_distribution_point: None,
            revoked_certs: revoked.collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        let pem = params.signed_by(&self.issuer)?.pem()?;
        self.write(&self.revocations(), &pem, Readers::All, Existing::Replace)
    }
}

/// Who is on the list, and since when.
pub(crate) fn revoked(dir: &Path) -> Result<Vec<(Serial, OffsetDateTime)>, FileError> {
    with_list(dir, |list| {
        let entries = list.iter_revoked_certificates().map(|entry| {
            let serial = Serial::from_bytes(entry.raw_serial())?;
            let time = entry.revocation_date.timestamp();
            Some((serial, OffsetDateTime::from_unix_timestamp(time).ok()?))
        });
        entries.collect()
    })
}

/// The number of the list that is there.
fn number(dir: &Path) -> Result<u64, FileError> {
    with_list(dir, |list| match list.crl_number() {
        Some(number) => u64::try_from(number).ok(),
        None => Some(0),
    })
}

fn with_list<T>(
    dir: &Path,
    read: impl FnOnce(&CertificateRevocationList<'_>) -> Option<T>,
) -> Result<T, FileError> {
    let file = dir.join(REVOKED);
    let lists = files::revocations(&file)?;
    let list = lists.first().and_then(|list| CertificateRevocationList::from_der(list).ok());
    let read = list.and_then(|(_, list)| read(&list));
    read.ok_or_else(|| {
        let reason = "the revocation list is damaged: put a copy of it back";
        FileError::Subject { file, source: SubjectError::Malformed(reason.into()) }
    })
}
