//! Issuing certificates.
//!
//! Owns: what is in a peer's certificate, and by which names it may be dialled. Invariant: a
//! certificate that is issued is one that `Subject` reads.

use super::{Authority, AuthorityError, days, lasting, noted, serial};
use crate::place::{Existing, Readers};
use crate::role::CertRole;
use crate::show::{Certificate, State};
use crate::subject::{Serial, Subject};
use crate::uri::Entry;
use crate::validity::Validity;
use dpfw_protocol::hello::Namespace;
use dpfw_protocol::ids::PeerId;
use rcgen::{
    CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose, SanType,
};
use rustls::pki_types::ServerName;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;

/// For how long a peer's certificate is in force, unless it is told.
const PEER_DAYS: u32 = 90;

/// What a peer's certificate is to say.
///
/// ```
/// use dpfw_certs::{CertRole, Request};
///
/// let mut request = Request::new(CertRole::Slave, "slave-1");
/// request.sans = vec!["slave-1.example.org".into(), "10.0.0.7".into()];
/// request.days = 30;
/// ```
#[derive(Clone, Debug)]
pub struct Request {
    /// What the peer may be.
    pub role: CertRole,
    /// What it is called; its file is too.
    pub name: String,
    /// The namespaces that it shares with others, beside its own, which is called what it is
    /// called.
    pub namespaces: Vec<Namespace>,
    /// The names and addresses by which it may be dialled. None means this machine, but for an
    /// observer, which nobody dials.
    pub sans: Vec<String>,
    /// For how many days it is in force: 90, unless it is said.
    pub days: u32,
    /// Whether a certificate that the peer has is replaced. It stays in force: it is not
    /// revoked.
    pub replace: bool,
}

/// A certificate that was issued.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Issued {
    /// The peer's file: its chain and its key.
    pub file: PathBuf,
    /// What the certificate says.
    pub subject: Subject,
    /// The names and addresses by which it may be dialled.
    pub sans: Vec<String>,
}

impl Request {
    /// For a peer of that role and name, with everything else as usual.
    pub fn new(role: CertRole, name: impl Into<String>) -> Self {
        let (namespaces, sans) = (Vec::new(), Vec::new());
        Self { role, name: name.into(), namespaces, sans, days: PEER_DAYS, replace: false }
    }
}

impl Authority {
    /// Issues a certificate, and writes it with its key.
    ///
    /// # Errors
    /// [`AuthorityError::Issued`] if the peer has one that is not to be replaced,
    /// [`AuthorityError::Shared`] if its name is a namespace of others and it does not ask for that,
    /// [`AuthorityError::Request`] if no certificate can say that.
    pub fn issue(&self, request: &Request) -> Result<Issued, AuthorityError> {
        let name = fit(&request.name)?;
        let asks_for_it = request.namespaces.iter().any(|shared| shared.as_str() == name.as_str());
        if request.role != CertRole::Slave && !asks_for_it {
            let whose = self.sharers(&name)?;
            if !whose.is_empty() {
                return Err(AuthorityError::Shared { name, whose });
            }
        }
        self.make(&name, request)
    }

    /// Those others whose certificates share the namespace that is called like this peer, and is its
    /// own for that.
    fn sharers(&self, name: &PeerId) -> Result<Vec<PeerId>, AuthorityError> {
        let all = crate::show::directory(&self.dir)?.into_iter();
        let in_force = all.filter(|(_, state)| !matches!(state, State::Expired | State::Revoked));
        let shares = |subject: &Subject| {
            subject.name != *name
                && subject.namespaces.iter().any(|shared| shared.as_str() == name.as_str())
        };
        let subjects = in_force.filter_map(|(certificate, _)| certificate.subject.ok());
        let mut whose: Vec<_> = subjects.filter(shares).map(|subject| subject.name).collect();
        whose.sort();
        whose.dedup();
        Ok(whose)
    }

    fn make(&self, name: &PeerId, request: &Request) -> Result<Issued, AuthorityError> {
        let sans = match (request.sans.is_empty(), request.role) {
            (true, CertRole::Observer) => Vec::new(),
            (true, _) => this_machine(),
            (false, _) => request.sans.clone(),
        };
        let file = self.file_of(name);
        if file.exists() && !request.replace {
            return Err(AuthorityError::Issued { name: name.clone(), file });
        }
        let params = self.peer(name, request, &sans)?;
        let key = KeyPair::generate()?;
        let certificate = params.signed_by(&key, &self.issuer)?;
        let subject = Subject::of(certificate.der())
            .map_err(|error| AuthorityError::Request(error.to_string()))?;
        // Noted first, so that whatever certificate is about can be revoked.
        let (note, pem) = (noted(&self.dir, &subject.serial), certificate.pem());
        self.write(&note, &pem, Readers::All, Existing::Keep)?;
        let existing = if request.replace { Existing::Replace } else { Existing::Keep };
        let both = format!("{pem}{}", key.serialize_pem());
        self.write(&file, &both, Readers::Owner, existing)?;
        self.renew_list()?;
        Ok(Issued { file, subject, sans })
    }

    /// Issues a certificate that says what the peer's last one does, with a new key, and puts it
    /// in that one's place. The old one stays in force until it expires.
    ///
    /// # Errors
    /// [`AuthorityError::Unknown`] if it has none, [`AuthorityError::Revoked`] if it was revoked.
    pub fn renew(&self, name: &str, days: Option<u32>) -> Result<Issued, AuthorityError> {
        let last = self.issued_to(name)?.into_iter().max_by_key(|c| c.validity.from);
        let last = last.ok_or_else(|| AuthorityError::Unknown(name.into()))?;
        let Certificate { subject: Ok(subject), sans, .. } = last else {
            return Err(AuthorityError::Unknown(name.into()));
        };
        if self.revoked_serials()?.contains(&subject.serial) {
            return Err(AuthorityError::Revoked(subject.name));
        }
        let request = Request {
            role: subject.role,
            name: name.into(),
            namespaces: subject.namespaces,
            sans,
            days: days.unwrap_or(PEER_DAYS),
            replace: true,
        };
        // It may do what it could before.
        self.make(&fit(name)?, &request)
    }

    /// What the certificate of a peer has in it.
    fn peer(
        &self,
        name: &PeerId,
        request: &Request,
        sans: &[String],
    ) -> Result<CertificateParams, AuthorityError> {
        let validity = self.within(lasting(days(request.days)?))?;
        let role = Entry::Role(request.role);
        let entries = request.namespaces.iter().cloned().map(Entry::Namespace);
        let uri = |entry: Entry| Ok(SanType::URI(entry.to_uri().try_into()?));
        let uris: Result<Vec<_>, rcgen::Error> =
            std::iter::once(role).chain(entries).map(uri).collect();
        let names: Result<Vec<_>, _> = sans.iter().map(|san| dialled(san)).collect();
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, name.as_str());
        params.subject_alt_names = [names?, uris?].concat();
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        // Either side may dial.
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        params.use_authority_key_identifier_extension = true;
        params.serial_number = Some(serial()?);
        (params.not_before, params.not_after) = (validity.from, validity.until);
        Ok(params)
    }

    /// No certificate outlives its authority, or is older than it.
    fn within(&self, wanted: Validity) -> Result<Validity, AuthorityError> {
        let Validity { from, until } = self.validity;
        if wanted.until > until {
            let text = format!(
                "the authority itself is in force until {}: ask for fewer days, or make a new one \
                 with `dpfw certs init`",
                until.date()
            );
            return Err(AuthorityError::Request(text));
        }
        Ok(Validity { from: wanted.from.max(from), until: wanted.until })
    }

    /// Every certificate that a peer was ever given.
    pub(super) fn issued_to(&self, name: &str) -> Result<Vec<Certificate>, AuthorityError> {
        let all = crate::show::issued(&self.dir)?.into_iter();
        let is_its = |certificate: &Certificate| {
            certificate.subject.as_ref().is_ok_and(|subject| subject.name.as_str() == name)
        };
        Ok(all.filter(is_its).collect())
    }

    fn revoked_serials(&self) -> Result<Vec<Serial>, AuthorityError> {
        Ok(super::revoke::revoked(&self.dir)?.into_iter().map(|(serial, _)| serial).collect())
    }
}

/// A peer's name that can be a file's, and is not one of the authority's own.
fn fit(name: &str) -> Result<PeerId, AuthorityError> {
    let id = PeerId::new(name).map_err(|error| AuthorityError::Request(error.to_string()))?;
    let is_plain = name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.@+".contains(&b));
    match is_plain && !name.starts_with(['.', '-']) && !["ca", "crl"].contains(&name) {
        true => Ok(id),
        false => Err(AuthorityError::Request(format!(
            "{name:?} cannot be the name of a file: it may have letters, digits and -_.@+, does \
             not begin with . or -, and is neither ca nor crl"
        ))),
    }
}

/// A name or an address by which a peer is dialled.
fn dialled(san: &str) -> Result<SanType, AuthorityError> {
    let bad = || {
        AuthorityError::Request(format!(
            "{san:?} is neither an address nor a name that a peer can be dialled by"
        ))
    };
    match ServerName::try_from(san).map_err(|_| bad())? {
        ServerName::IpAddress(address) => Ok(SanType::IpAddress(address.into())),
        ServerName::DnsName(name) => {
            Ok(SanType::DnsName(name.as_ref().try_into().map_err(|_| bad())?))
        }
        _ => Err(bad()),
    }
}

/// By which names this machine may be dialled.
fn this_machine() -> Vec<String> {
    let loopback: [IpAddr; 2] = [Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()];
    let mut names = vec![String::from("localhost")];
    names.extend(loopback.map(|address| address.to_string()));
    let system = rustix::system::uname();
    let host = system.nodename().to_str().unwrap_or_default();
    // A name that none can be dialled by is no loss.
    if dialled(host).is_ok() && !names.iter().any(|name| name == host) {
        names.push(host.to_owned());
    }
    names
}
