//! The private authority as whoever runs it sees it: its files, and what rustls says of what it
//! issued.

#![forbid(unsafe_code)]

use dpfw_certs::files::{self, FileError, Identity, certificates, revocations};
use dpfw_certs::show::{self, State};
use dpfw_certs::{Authority, AuthorityError, CertRole, Founding, Request, Subject};
use dpfw_protocol::hello::Namespace;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, PKCS_RSA_SHA256, RsaKeySize, SanType,
};
use rustls::RootCertStore;
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, ServerName, UnixTime};
use rustls::server::WebPkiClientVerifier;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tempfile::TempDir;

const DAY: Duration = Duration::from_secs(86_400);

/// A directory with an authority.
fn founded() -> (TempDir, PathBuf, Authority) {
    let place = tempfile::tempdir().expect("a directory");
    let dir = place.path().join("certs");
    let authority = Authority::create(&dir, &Founding::default()).expect("founded");
    (place, dir, authority)
}

fn slave() -> Request {
    Request::new(CertRole::Slave, "slave-1")
}

fn mode(file: &Path) -> u32 {
    fs::metadata(file).expect("there").mode() & 0o777
}

fn lists(dir: &Path) -> Vec<CertificateRevocationListDer<'static>> {
    revocations(&dir.join("crl.pem")).expect("a list")
}

fn roots(file: &Path) -> Arc<RootCertStore> {
    let mut roots = RootCertStore::empty();
    for root in certificates(file).expect("an authority") {
        roots.add(root).expect("usable");
    }
    roots.into()
}

/// What rustls says of a peer that dials.
fn dialling(
    authority: &Path,
    lists: Vec<CertificateRevocationListDer<'static>>,
    chain: &[CertificateDer<'_>],
    at: SystemTime,
) -> Result<(), rustls::Error> {
    let provider = Arc::new(default_provider());
    let verifier = WebPkiClientVerifier::builder_with_provider(roots(authority), provider);
    let verifier = verifier.with_crls(lists).only_check_end_entity_revocation();
    let verifier = verifier.build().expect("a verifier");
    let since = at.duration_since(SystemTime::UNIX_EPOCH).expect("after 1970");
    let at = UnixTime::since_unix_epoch(since);
    verifier.verify_client_cert(&chain[0], &chain[1..], at).map(drop)
}

/// What rustls says of a peer that is dialled by a name.
fn dialled(
    authority: &Path,
    chain: &[CertificateDer<'_>],
    name: &str,
) -> Result<(), rustls::Error> {
    let provider = Arc::new(default_provider());
    let verifier =
        rustls::client::WebPkiServerVerifier::builder_with_provider(roots(authority), provider);
    let verifier = verifier.build().expect("a verifier");
    let name = ServerName::try_from(name).expect("a name");
    let now = UnixTime::now();
    use rustls::client::danger::ServerCertVerifier as _;
    verifier.verify_server_cert(&chain[0], &chain[1..], &name, &[], now).map(drop)
}

#[test]
fn keys_are_for_their_owner_alone() {
    let (_place, dir, authority) = founded();
    authority.issue(&slave()).expect("issued");
    assert_eq!(mode(&dir), 0o700);
    assert_eq!(mode(&dir.join("ca.key")), 0o600);
    assert_eq!(mode(&dir.join("slave-1.pem")), 0o600);
    for shown in ["ca.pem", "crl.pem"] {
        let text = fs::read_to_string(dir.join(shown)).expect("readable");
        assert!(!text.contains("PRIVATE"), "{shown}");
    }
    let noted = fs::read_dir(dir.join("issued")).expect("readable").next().expect("one");
    let text = fs::read_to_string(noted.expect("readable").path()).expect("readable");
    assert!(!text.contains("PRIVATE"));
}

#[test]
fn a_key_that_others_may_read_is_refused() {
    let (_place, dir, authority) = founded();
    let file = authority.issue(&slave()).expect("issued").file;
    for open in [0o640, 0o604, 0o660] {
        fs::set_permissions(&file, fs::Permissions::from_mode(open)).expect("changed");
        let error = Identity::read(&file).expect_err("refused");
        assert!(matches!(error, FileError::Readable { mode, .. } if mode == open), "{error}");
        assert!(error.to_string().contains("chmod 600"), "{error}");
    }
    drop(authority);
    fs::set_permissions(dir.join("ca.key"), fs::Permissions::from_mode(0o644)).expect("changed");
    let error = Authority::open(&dir).expect_err("refused");
    assert!(matches!(error, AuthorityError::File(FileError::Readable { .. })), "{error}");
}

#[test]
fn what_says_whom_to_trust_is_refused_where_others_may_change_it() {
    let (_place, _dir, authority) = founded();
    let own = authority.issue(&slave()).expect("issued").file;
    let (trusted, revoked) = (authority.certificate(), authority.revocations());
    let read = [
        (&own, (|file| Identity::read(file).map(drop)) as fn(&Path) -> Result<(), FileError>),
        (&trusted, |file| files::authorities(file).map(drop)),
        (&revoked, |file| files::revocations(file).map(drop)),
    ];
    for (file, read) in read {
        read(file).expect("this user's own");
        // Only root can give a file away.
        if chown(file, Some(4711), None).is_ok() {
            let error = read(file).expect_err("another's");
            assert!(matches!(error, FileError::Owner { owner: 4711, .. }), "{error}");
            chown(file, Some(0), None).expect("ours again");
        }
        fs::set_permissions(file, fs::Permissions::from_mode(0o620)).expect("changed");
        let error = read(file).expect_err("others may write to it");
        assert!(error.to_string().contains("others may"), "{error}");
    }
}

#[test]
fn nobody_is_given_a_shared_namespace_by_being_called_so() {
    let (_place, _dir, authority) = founded();
    let team = || vec![Namespace::new("team-a").expect("a namespace")];
    let shares =
        |name: &str| Request { namespaces: team(), ..Request::new(CertRole::Master, name) };
    authority.issue(&shares("bob")).expect("issued");
    authority.issue(&shares("alice")).expect("issued");
    for role in [CertRole::Master, CertRole::Observer] {
        let error = authority.issue(&Request::new(role, "team-a")).expect_err("it has all of it");
        assert!(matches!(error, AuthorityError::Shared { .. }), "{error}");
        assert!(error.to_string().contains("shared by alice, bob:"), "{error}");
    }
    // A slave has no namespace; who is meant to have it, has it; whoever is revoked shares nothing.
    authority.issue(&Request::new(CertRole::Slave, "team-a")).expect("issued");
    authority.issue(&Request { replace: true, ..shares("team-a") }).expect("issued");
    authority.renew("team-a", None).expect("renewed");
    for name in ["alice", "bob"] {
        authority.revoke(name).expect("revoked");
    }
    let alone = Request { replace: true, ..Request::new(CertRole::Master, "team-a") };
    authority.issue(&alone).expect("nobody shares it");
}

#[test]
fn a_second_authority_in_a_directory_is_refused() {
    let (_place, dir, authority) = founded();
    drop(authority);
    let before = fs::read(dir.join("ca.key")).expect("readable");
    let error = Authority::create(&dir, &Founding::default()).expect_err("refused");
    assert!(matches!(error, AuthorityError::Exists(_)), "{error}");
    assert_eq!(fs::read(dir.join("ca.key")).expect("readable"), before);
    let error = Authority::open(&dir.join("nowhere")).expect_err("refused");
    assert!(matches!(error, AuthorityError::Absent(_)), "{error}");
}

#[test]
fn a_certificate_says_what_was_asked_for() {
    let (_place, dir, authority) = founded();
    let namespace = |name: &str| Namespace::new(name).expect("printable");
    for role in CertRole::ALL {
        let mut request = Request::new(role, format!("{role}-1"));
        request.namespaces = vec![namespace("team-a"), namespace("b/c:%")];
        request.sans = vec!["peer.example.org".into(), "10.0.0.7".into(), "fd00::7".into()];
        let issued = authority.issue(&request).expect("issued");
        let identity = Identity::read(&issued.file).expect("usable");
        assert_eq!((identity.subject.role, identity.subject.name.as_str()), (role, &*request.name));
        assert_eq!(identity.subject.namespaces, request.namespaces);
        assert_eq!(show::file(&issued.file).expect("readable")[0].sans, request.sans);
        // Either side may dial: both usages are there, and rustls takes both.
        let authority = dir.join("ca.pem");
        dialling(&authority, lists(&dir), &identity.chain, SystemTime::now()).expect("trusted");
        for name in ["peer.example.org", "10.0.0.7", "fd00::7"] {
            dialled(&authority, &identity.chain, name).expect("trusted");
        }
        dialled(&authority, &identity.chain, "other.example.org").expect_err("another's name");
        dialled(&authority, &identity.chain, "10.0.0.8").expect_err("another's address");
    }
}

#[test]
fn ninety_days_unless_it_is_said() {
    let (_place, dir, authority) = founded();
    let subject = authority.issue(&slave()).expect("issued").subject;
    let days =
        |subject: &Subject| subject.validity.left(SystemTime::now()).as_secs_f64() / 86_400.0;
    assert!((89.9..=90.0).contains(&days(&subject)), "{}", subject.validity);
    let before = SystemTime::now() - Duration::from_secs(200);
    let own = authority.certificate();
    let own = show::file(&own).expect("readable").remove(0);
    // Clocks may differ by a few minutes, but nothing is older than its authority.
    assert!(own.validity.includes(before) && subject.validity.includes(before));
    assert!(own.validity.left(SystemTime::now()) > 3_649 * DAY);
    let short = Request { days: 1, ..Request::new(CertRole::Master, "m") };
    let issued = authority.issue(&short).expect("issued");
    assert!(days(&issued.subject) <= 1.0);
    let chain = Identity::read(&issued.file).expect("usable").chain;
    let at = |at| dialling(&dir.join("ca.pem"), lists(&dir), &chain, at);
    at(SystemTime::now()).expect("in force");
    at(SystemTime::now() + 2 * DAY).expect_err("expired");
    at(SystemTime::now() - DAY).expect_err("not yet in force");
    for bad in [0, 3_660, u32::MAX] {
        let request = Request { days: bad, ..Request::new(CertRole::Master, "n") };
        let error = authority.issue(&request).expect_err("refused");
        assert!(matches!(error, AuthorityError::Request(_)), "{bad}: {error}");
    }
}

#[test]
fn who_names_nothing_may_be_dialled_on_this_machine() {
    let (_place, dir, authority) = founded();
    let issued = authority.issue(&slave()).expect("issued");
    let chain = Identity::read(&issued.file).expect("usable").chain;
    assert_eq!(issued.sans[..3], ["localhost", "127.0.0.1", "::1"]);
    for name in &issued.sans {
        dialled(&dir.join("ca.pem"), &chain, name).expect("trusted");
    }
    let observer = authority.issue(&Request::new(CertRole::Observer, "o")).expect("issued");
    assert!(observer.sans.is_empty(), "nobody dials it");
}

#[test]
fn a_certificate_is_not_overwritten_unless_it_is_said() {
    let (_place, _dir, authority) = founded();
    let file = authority.issue(&slave()).expect("issued").file;
    let first = fs::read(&file).expect("readable");
    let error = authority.issue(&slave()).expect_err("refused");
    assert!(matches!(error, AuthorityError::Issued { .. }), "{error}");
    assert_eq!(fs::read(&file).expect("readable"), first);
    let other = Request { replace: true, ..Request::new(CertRole::Master, "slave-1") };
    authority.issue(&other).expect("issued");
    let identity = Identity::read(&file).expect("usable");
    assert_eq!(identity.subject.role, CertRole::Master);
}

#[test]
fn a_renewal_says_the_same_with_another_key() {
    let (_place, dir, authority) = founded();
    let mut request = slave();
    request.namespaces = vec![Namespace::new("team-a").expect("printable")];
    request.sans = vec!["slave-1.example.org".into()];
    let file = authority.issue(&request).expect("issued").file;
    let before = Identity::read(&file).expect("usable");
    let renewed = authority.renew("slave-1", Some(30)).expect("renewed");
    let after = Identity::read(&file).expect("usable");
    assert_eq!(renewed.file, file);
    assert_eq!(mode(&file), 0o600);
    let said = |s: &Subject| (s.role, s.name.clone(), s.namespaces.clone());
    assert_eq!(said(&before.subject), said(&after.subject));
    assert_eq!(show::file(&file).expect("readable")[0].sans, request.sans);
    assert_ne!(before.key.secret_der(), after.key.secret_der());
    assert_ne!(before.subject.serial, after.subject.serial);
    // Links that have the old one go on.
    dialling(&dir.join("ca.pem"), lists(&dir), &before.chain, SystemTime::now()).expect("trusted");
    let error = authority.renew("nobody", None).expect_err("unknown");
    assert!(matches!(error, AuthorityError::Unknown(_)), "{error}");
}

#[test]
fn whoever_is_revoked_is_on_the_list_with_every_certificate() {
    let (_place, dir, authority) = founded();
    let file = authority.issue(&slave()).expect("issued").file;
    let first = Identity::read(&file).expect("usable");
    authority.renew("slave-1", None).expect("renewed");
    let second = Identity::read(&file).expect("usable");
    let other = authority.issue(&Request::new(CertRole::Slave, "slave-2")).expect("issued");
    let other = Identity::read(&other.file).expect("usable");

    let revoked = authority.revoke("slave-1").expect("revoked");
    assert_eq!((revoked.certificates.len(), revoked.listed), (2, 2));
    let check = |chain: &[CertificateDer<'_>]| {
        dialling(&dir.join("ca.pem"), lists(&dir), chain, SystemTime::now())
    };
    for chain in [&first.chain, &second.chain] {
        let error = check(chain).expect_err("revoked");
        assert!(format!("{error:?}").contains("Revoked"), "{error:?}");
    }
    check(&other.chain).expect("trusted");

    // What was revoked stays so: after another revocation, an issue and a renewal, and in a
    // process that has opened the directory anew.
    drop(authority);
    let authority = Authority::open(&dir).expect("opened");
    authority.revoke(&other.subject.serial.to_string()).expect("revoked by its number");
    assert_eq!(authority.revoke("slave-1").expect("again").listed, 3);
    authority.issue(&Request::new(CertRole::Slave, "slave-3")).expect("issued");
    for chain in [&first.chain, &second.chain, &other.chain] {
        check(chain).expect_err("revoked");
    }
    let error = authority.renew("slave-1", None).expect_err("revoked");
    assert!(matches!(error, AuthorityError::Revoked(_)), "{error}");
    let error = authority.revoke("nobody").expect_err("unknown");
    assert!(matches!(error, AuthorityError::Unknown(_)), "{error}");
}

#[test]
fn a_list_that_is_lost_is_not_begun_again() {
    let (_place, dir, authority) = founded();
    authority.issue(&slave()).expect("issued");
    authority.revoke("slave-1").expect("revoked");
    fs::remove_file(dir.join("crl.pem")).expect("removed");
    authority.revoke("slave-1").expect_err("refused");
    assert!(!dir.join("crl.pem").exists());
}

#[test]
fn a_list_says_what_became_of_each() {
    let (_place, dir, authority) = founded();
    authority.issue(&Request::new(CertRole::Master, "m")).expect("issued");
    authority.issue(&slave()).expect("issued");
    authority.renew("slave-1", None).expect("renewed");
    authority.issue(&Request::new(CertRole::Observer, "gone")).expect("issued");
    authority.revoke("gone").expect("revoked");
    drop(authority);
    // Whoever only looks needs no key.
    fs::remove_file(dir.join("ca.key")).expect("removed");
    let listed = show::directory(&dir).expect("listed");
    let mut told: Vec<_> = listed.iter().skip(1).map(|(c, state)| (&*c.name, *state)).collect();
    // Two of a second have no order among them.
    told.sort_by_key(|(name, state)| (*name, *state == State::Superseded));
    assert!(listed[0].0.is_authority);
    assert_eq!(
        told,
        [
            ("gone", State::Revoked),
            ("m", State::Valid),
            ("slave-1", State::Valid),
            ("slave-1", State::Superseded)
        ]
    );
}

#[test]
fn names_that_are_no_files_or_nobodys_are_refused() {
    let (_place, dir, authority) = founded();
    for bad in ["", "ca", "crl", ".hidden", "-f", "../x", "a/b", "a b", "\u{1b}[2J", "ä"] {
        let error = authority.issue(&Request::new(CertRole::Slave, bad)).expect_err("refused");
        assert!(matches!(error, AuthorityError::Request(_)), "{bad:?}: {error}");
        assert!(!error.to_string().contains('\u{1b}'));
    }
    for bad in ["", "a b", "*.example.org", "10.0.0.0/8", "http://a", "a:1"] {
        let request = Request { sans: vec![bad.into()], ..slave() };
        let error = authority.issue(&request).expect_err("refused");
        assert!(matches!(error, AuthorityError::Request(_)), "{bad:?}: {error}");
    }
    assert_eq!(fs::read_dir(dir.join("issued")).expect("readable").count(), 0);
}

/// An authority of somebody else: an intermediate one, RSA, other attributes, other order.
#[test]
fn certificates_of_another_authority_work_as_well() {
    let place = tempfile::tempdir().expect("a directory");
    let authority = |name: &str| {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::OrganizationName, "Example");
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params
    };
    let rsa = || KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048).expect("a key");
    let (root, root_key) = (authority("root"), rsa());
    let root_certificate = root.self_signed(&root_key).expect("made");
    let root = Issuer::new(root, root_key);
    let (between, between_key) = (authority("between"), rsa());
    let between_certificate = between.signed_by(&between_key, &root).expect("made");
    let between = Issuer::new(between, between_key);

    let mut leaf = CertificateParams::default();
    leaf.distinguished_name = DistinguishedName::new();
    leaf.distinguished_name.push(DnType::CommonName, "batch@example.org");
    leaf.distinguished_name.push(DnType::OrganizationalUnitName, "Ünit");
    let uri = |text: &str| SanType::URI(text.try_into().expect("ASCII"));
    leaf.subject_alt_names = vec![
        uri("spiffe://example.org/batch"),
        uri("dpfw:namespace:team-a"),
        SanType::DnsName("batch.example.org".try_into().expect("ASCII")),
        uri("dpfw:role:master"),
    ];
    leaf.extended_key_usages =
        vec![ExtendedKeyUsagePurpose::ClientAuth, ExtendedKeyUsagePurpose::ServerAuth];
    let key = rsa();
    let leaf = leaf.signed_by(&key, &between).expect("made");

    let (file, trusted) = (place.path().join("batch.pem"), place.path().join("roots.pem"));
    let text = "Bag Attributes\n    friendlyName: batch\n";
    // The key may come first.
    let all = [text, &key.serialize_pem(), &leaf.pem(), &between_certificate.pem()].concat();
    fs::write(&file, all).expect("written");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).expect("changed");
    fs::write(&trusted, root_certificate.pem()).expect("written");

    let identity = Identity::read(&file).expect("usable");
    assert_eq!(identity.subject.role, CertRole::Master);
    assert_eq!(identity.subject.name.as_str(), "batch@example.org");
    assert_eq!(identity.subject.namespaces[0].as_str(), "team-a");
    assert_eq!(identity.chain.len(), 2);
    dialling(&trusted, Vec::new(), &identity.chain, SystemTime::now()).expect("trusted");
    dialled(&trusted, &identity.chain, "batch.example.org").expect("trusted");
    // And our own authority does not know it.
    let (_own, dir, _authority) = founded();
    dialling(&dir.join("ca.pem"), lists(&dir), &identity.chain, SystemTime::now())
        .expect_err("another's");
}

#[test]
fn files_that_cannot_be_used_say_what_they_lack() {
    let (_place, dir, authority) = founded();
    let file = authority.issue(&slave()).expect("issued").file;
    let text = fs::read_to_string(&file).expect("readable");
    let key = text.find("-----BEGIN PRIVATE").expect("a key");
    let other = authority.issue(&Request::new(CertRole::Slave, "slave-2")).expect("issued").file;
    let other = fs::read_to_string(other).expect("readable");
    let others = &other[other.find("-----BEGIN PRIVATE").expect("a key")..];
    let try_file = |text: &str| {
        fs::write(&file, text).expect("written");
        Identity::read(&file).expect_err("refused").to_string()
    };
    assert!(try_file("").contains("has no certificate"));
    assert!(try_file(&text[..key]).contains("has no private key"));
    assert!(try_file(&text[key..]).contains("has no certificate"));
    assert!(try_file(&format!("{}{others}", &text[..key])).contains("the key in"));
    assert!(try_file(&format!("{text}{others}")).contains("several"));
    assert!(try_file(&text[..text.len() - 40]).contains("is no PEM"));
    let authorities = fs::read_to_string(dir.join("ca.pem")).expect("readable");
    let no_peer = try_file(&format!("{authorities}{}", &text[key..]));
    assert!(no_peer.contains("says no role"), "{no_peer}");
    let error = Identity::read(&dir).expect_err("a directory").to_string();
    assert!(error.contains("is no file of certificates"), "{error}");
    let error = Identity::read(&dir.join("x.pem")).expect_err("absent").to_string();
    assert!(error.contains("x.pem cannot be read"), "{error}");
    let error = certificates(&dir.join("crl.pem")).expect_err("a list").to_string();
    assert!(error.contains("has no certificate"), "{error}");
    let error = revocations(&dir.join("ca.pem")).expect_err("no list").to_string();
    assert!(error.contains("revocation list"), "{error}");
}
