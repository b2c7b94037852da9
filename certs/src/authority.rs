//! A private authority: a directory with its key, and what it issued.
//!
//! Owns: the directory and the lock on it, making it, opening it. `issue` makes certificates,
//! `revoke` the list of those that are not to be trusted any more. Does not: decide who may have
//! which certificate; whoever can read the key decides. Invariants: no key is readable to others
//! for a moment; whatever certificate there may be is noted under `issued` first, so that it can be
//! revoked; one process at a time changes the directory.
//!
//! ```text
//! ca.pem        the authority's certificate: every peer has a copy
//! ca.key        its key: it stays here
//! crl.pem       who was revoked: every peer has a copy
//! NAME.pem      a peer's chain and key, for that peer alone
//! issued/       each certificate, without its key, by its serial number
//! ```

mod error;
mod issue;
mod revoke;

pub use error::AuthorityError;
pub use issue::{Issued, Request};
pub use revoke::Revoked;
pub(crate) use revoke::revoked;

use crate::files::{self, FileError};
use crate::place::{Existing, Readers, place, private_directory};
use crate::show::Certificate;
use crate::subject::Serial;
use crate::validity::Validity;
use dpfw_protocol::ids::PeerId;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, SerialNumber,
};
use rustls::pki_types::CertificateDer;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use time::{Duration, OffsetDateTime};

/// For how long an authority is in force, unless it is told: ten years.
const AUTHORITY_DAYS: u32 = 3_650;

/// The longest that anything is in force: a hundred years, so that no sum overflows.
const MAX_DAYS: u32 = 36_500;

/// A certificate is in force from a little before it was made: clocks differ.
const SKEW: Duration = Duration::minutes(5);

pub(crate) const CERTIFICATE: &str = "ca.pem";
pub(crate) const KEY: &str = "ca.key";
pub(crate) const REVOKED: &str = "crl.pem";
pub(crate) const ISSUED: &str = "issued";

/// What an authority is to be.
#[derive(Clone, Debug, Default)]
pub struct Founding {
    /// What it is called in the certificates that it issues; `dpfw-` and a random number unless
    /// it is said.
    pub name: Option<String>,
    /// For how many days it is in force; ten years unless it is said.
    pub days: Option<u32>,
}

/// An authority whose key is at hand. The directory is locked until it is dropped.
#[derive(Debug)]
pub struct Authority {
    dir: PathBuf,
    issuer: Issuer<'static, KeyPair>,
    validity: Validity,
    _lock: File,
}

impl Authority {
    /// Makes an authority in a directory, which is made if it is not there.
    ///
    /// ```
    /// use dpfw_certs::{Authority, CertRole, Founding, Request};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let place = tempfile::tempdir()?;
    /// # let dir = place.path().join("certs");
    /// let authority = Authority::create(&dir, &Founding::default())?;
    /// let issued = authority.issue(&Request::new(CertRole::Slave, "slave-1"))?;
    /// assert_eq!(issued.file, dir.join("slave-1.pem"));
    /// authority.revoke("slave-1")?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`AuthorityError::Exists`] if there is one; [`AuthorityError::Write`] if the directory
    /// cannot be made, or is not its owner's alone.
    pub fn create(dir: &Path, founding: &Founding) -> Result<Self, AuthorityError> {
        let name = founding.name.clone().map_or_else(default_name, Ok)?;
        let days = days(founding.days.unwrap_or(AUTHORITY_DAYS))?;
        check_text(&name)?;
        let write = |file: &Path| {
            let file = file.to_path_buf();
            move |source| AuthorityError::Write { file, source }
        };
        private_directory(dir).map_err(write(dir))?;
        let lock = lock(dir)?;
        let (certificate, key) = (dir.join(CERTIFICATE), dir.join(KEY));
        if certificate.exists() || key.exists() {
            return Err(AuthorityError::Exists(dir.into()));
        }
        let (params, pair) = (founded(&name, days)?, KeyPair::generate()?);
        let pem = params.self_signed(&pair)?.pem();
        let private = pair.serialize_pem();
        let validity = Validity { from: params.not_before, until: params.not_after };
        fs::create_dir_all(dir.join(ISSUED)).map_err(write(dir))?;
        let issuer = Issuer::new(params, pair);
        let authority = Self { dir: dir.into(), issuer, validity, _lock: lock };
        authority.write(&key, &private, Readers::Owner, Existing::Keep)?;
        authority.begin_list()?;
        // Last: whoever sees it sees all of it.
        authority.write(&certificate, &pem, Readers::All, Existing::Keep)?;
        Ok(authority)
    }

    /// Opens the authority in a directory. Waits while another process has it open.
    ///
    /// # Errors
    /// [`AuthorityError::Absent`] if there is none, [`AuthorityError::File`] if its key may be
    /// read by others, or cannot be read.
    pub fn open(dir: &Path) -> Result<Self, AuthorityError> {
        if !dir.join(CERTIFICATE).exists() {
            return Err(AuthorityError::Absent(dir.into()));
        }
        let lock = lock(dir)?;
        let certificate = certificate(dir)?;
        let key = files::key(&dir.join(KEY))?;
        let pair = KeyPair::try_from(&key)?;
        let validity = Certificate::of(&certificate)
            .map_err(|source| FileError::Subject { file: dir.join(CERTIFICATE), source })?
            .validity;
        let issuer = Issuer::from_ca_cert_der(&certificate, pair)?;
        Ok(Self { dir: dir.into(), issuer, validity, _lock: lock })
    }

    /// Its directory.
    pub fn directory(&self) -> &Path {
        &self.dir
    }

    /// Its certificate: what every peer is given as the authority that it trusts.
    pub fn certificate(&self) -> PathBuf {
        self.dir.join(CERTIFICATE)
    }

    /// Its list of who was revoked, which every peer is given as well.
    pub fn revocations(&self) -> PathBuf {
        self.dir.join(REVOKED)
    }

    /// The file of a peer, whether it is there or not.
    pub fn file_of(&self, name: &PeerId) -> PathBuf {
        self.dir.join(format!("{name}.pem"))
    }

    fn write(
        &self,
        file: &Path,
        pem: &str,
        readers: Readers,
        existing: Existing,
    ) -> Result<(), AuthorityError> {
        place(file, pem.as_bytes(), readers, existing)
            .map_err(|source| AuthorityError::Write { file: file.into(), source })
    }
}

/// The authority's own certificate.
pub(crate) fn certificate(dir: &Path) -> Result<CertificateDer<'static>, FileError> {
    let file = dir.join(CERTIFICATE);
    let mut all = files::certificates(&file)?;
    all.truncate(1);
    all.pop().ok_or(FileError::Lacks { file, what: "certificate" })
}

/// The lock on a directory, which goes with its process.
fn lock(dir: &Path) -> Result<File, AuthorityError> {
    let locked = || {
        let open = File::open(dir)?;
        open.lock()?;
        Ok(open)
    };
    locked().map_err(|source| AuthorityError::Write { file: dir.into(), source })
}

/// Two authorities of one name would be taken for each other in errors.
fn default_name() -> Result<String, AuthorityError> {
    let mut random = [0; 4];
    fill(&mut random)?;
    Ok(format!("dpfw-{:08x}", u32::from_ne_bytes(random)))
}

fn check_text(name: &str) -> Result<(), AuthorityError> {
    let is_fit = !name.is_empty() && name.len() <= 64 && !name.contains(char::is_control);
    match is_fit {
        true => Ok(()),
        false => {
            let text = format!("{name:?} cannot name an authority: 1 to 64 bytes, none of control");
            Err(AuthorityError::Request(text))
        }
    }
}

fn founded(name: &str, days: u32) -> Result<CertificateParams, AuthorityError> {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    // It issues peers' certificates, and no other authorities'.
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.serial_number = Some(serial()?);
    Validity { from: params.not_before, until: params.not_after } = lasting(days);
    Ok(params)
}

/// A number of days that can be reckoned with.
fn days(days: u32) -> Result<u32, AuthorityError> {
    match (1..=MAX_DAYS).contains(&days) {
        true => Ok(days),
        false => Err(AuthorityError::Request(format!(
            "a certificate is in force for 1 to {MAX_DAYS} days, not for {days}"
        ))),
    }
}

/// From a little before now, for so many days, in whole seconds.
fn lasting(days: u32) -> Validity {
    let now = now();
    Validity { from: now - SKEW, until: now + Duration::days(days.into()) }
}

/// Now, in whole seconds, as certificates have it.
fn now() -> OffsetDateTime {
    let now = OffsetDateTime::now_utc();
    now.replace_nanosecond(0).unwrap_or(now)
}

/// A number that nobody can guess, and that no two certificates share: 126 random bits, the
/// first byte neither zero nor taken for a sign.
fn serial() -> Result<SerialNumber, AuthorityError> {
    let mut random = [0; 16];
    fill(&mut random)?;
    random[0] = random[0] & 0x3f | 0x40;
    Ok(SerialNumber::from_slice(&random))
}

fn fill(random: &mut [u8]) -> Result<(), AuthorityError> {
    let failed = |error| AuthorityError::Request(format!("there is no randomness: {error}"));
    getrandom::fill(random).map_err(failed)
}

/// Where a certificate is noted.
fn noted(dir: &Path, serial: &Serial) -> PathBuf {
    dir.join(ISSUED).join(format!("{serial}.pem"))
}
