use super::*;
use proptest::prelude::*;
use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair, SanType};
use std::sync::LazyLock;

/// A certificate of these names and these URIs, signed by itself.
fn certificate(names: &[&str], uris: &[&str]) -> Vec<u8> {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    for name in names {
        params.distinguished_name.push(DnType::CommonName, *name);
    }
    let uri = |uri: &&str| SanType::URI((*uri).try_into().expect("ASCII"));
    params.subject_alt_names = uris.iter().map(uri).collect();
    let key = KeyPair::generate().expect("a key");
    params.self_signed(&key).expect("a certificate").der().to_vec()
}

fn namespace(text: &str) -> Namespace {
    Namespace::new(text).expect("printable")
}

fn refusal(names: &[&str], uris: &[&str]) -> String {
    Subject::of(&certificate(names, uris)).expect_err("refused").to_string()
}

#[test]
fn role_name_and_namespaces_are_read() {
    let uris = [
        "spiffe://example.org/other",
        "dpfw:namespace:team-a",
        "dpfw:role:master",
        "dpfw:namespace:b%2Fc",
        "dpfw:namespace:team-a",
    ];
    let subject = Subject::of(&certificate(&["master-1"], &uris)).expect("read");
    assert_eq!((subject.role, subject.name.as_str()), (CertRole::Master, "master-1"));
    assert_eq!(subject.namespaces, [namespace("team-a"), namespace("b/c")]);
}

#[test]
fn each_role_is_read() {
    for role in CertRole::ALL {
        let subject = Subject::of(&certificate(&["p"], &[&format!("dpfw:role:{role}")]));
        assert_eq!(subject.expect("read").role, role);
    }
}

#[test]
fn who_says_no_role_or_two_is_told_how_to_say_one() {
    let none = refusal(&["p"], &["dpfw:namespace:a"]);
    assert!(none.contains("`dpfw certs issue --role ROLE --name p`"), "{none}");
    assert!(none.contains("URI:dpfw:role:ROLE"), "{none}");
    let two = refusal(&["p"], &["dpfw:role:master", "dpfw:role:slave"]);
    assert!(two.contains("more than one role"), "{two}");
    refusal(&["p"], &["dpfw:role:slave", "dpfw:role:slave"]);
    let unknown = refusal(&["p"], &["dpfw:role:slave", "dpfw:namespaces:a"]);
    assert!(unknown.contains(r#""dpfw:namespaces:a""#), "{unknown}");
}

#[test]
fn a_name_is_one_and_printable() {
    let none = refusal(&[], &["dpfw:role:slave"]);
    assert!(none.contains("0 common names") && none.contains("CN=NAME"), "{none}");
    for bad in ["", "a b", "a\u{1b}[31m", "ä", "a\0b", &"x".repeat(65)] {
        let refusal = refusal(&[bad], &["dpfw:role:slave"]);
        assert!(!refusal.contains('\u{1b}'), "{refusal}");
    }
}

/// rcgen writes an attribute once, so the second common name is made of another attribute.
#[test]
fn two_names_are_none() {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, "one");
    params.distinguished_name.push(DnType::OrganizationName, "two");
    params.subject_alt_names = vec![SanType::URI("dpfw:role:slave".try_into().expect("ASCII"))];
    let key = KeyPair::generate().expect("a key");
    let mut der = params.self_signed(&key).expect("a certificate").der().to_vec();
    // The type of an attribute: 2.5.4.10 becomes 2.5.4.3.
    let organization = [6, 3, 0x55, 4, 10];
    let mut from = 0;
    while let Some(at) = der[from..].windows(5).position(|w| w == organization) {
        der[from + at + 4] = 3;
        from += at + 5;
    }
    assert_eq!(Subject::of(&der), Err(SubjectError::Names(2)));
}

#[test]
fn namespaces_are_bounded() {
    let mut uris: Vec<_> = (0..=MAX_NAMESPACES).map(|n| format!("dpfw:namespace:n{n}")).collect();
    uris.push("dpfw:role:master".into());
    let all: Vec<_> = uris.iter().map(String::as_str).collect();
    assert!(refusal(&["p"], &all).contains("more than 64 namespaces"));
    assert!(Subject::of(&certificate(&["p"], &all[1..])).is_ok());
}

#[test]
fn what_is_no_certificate_is_refused() {
    let whole = certificate(&["p"], &["dpfw:role:slave"]);
    let long = [&whole[..], &[0]].concat();
    for bad in [&[][..], b"junk", &whole[..whole.len() - 1], &long] {
        assert!(matches!(Subject::of(bad), Err(SubjectError::Malformed(_))));
    }
    let huge = vec![0x30; MAX_CERTIFICATE + 1];
    assert_eq!(Subject::of(&huge), Err(SubjectError::Large(huge.len())));
}

#[test]
fn a_serial_number_is_shown_as_digits() {
    let serial = |bytes: &[u8]| Serial::from_bytes(bytes).expect("short").to_string();
    assert_eq!(serial(&[0, 0x8f, 1]), "8f01");
    assert_eq!(serial(&[0]), "00");
    assert_eq!(serial(&[]), "");
    assert_eq!(Serial::from_bytes(&[1; MAX_SERIAL + 1]), None);
}

static WHOLE: LazyLock<Vec<u8>> =
    LazyLock::new(|| certificate(&["p"], &["dpfw:role:slave", "dpfw:namespace:a"]));

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..512)) {
        prop_assert!(Subject::of(&bytes).is_err());
    }

    #[test]
    fn no_changed_certificate_panics(
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
        cut in proptest::option::of(any::<prop::sample::Index>()),
    ) {
        let mut der = WHOLE.clone();
        for (at, byte) in changes {
            let at = at.index(der.len());
            der[at] = byte;
        }
        if let Some(cut) = cut {
            der.truncate(cut.index(der.len()));
        }
        if let Ok(subject) = Subject::of(&der) {
            prop_assert!(subject.namespaces.len() <= MAX_NAMESPACES);
        }
    }
}
