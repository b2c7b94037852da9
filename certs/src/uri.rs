//! The URIs by which a certificate says what its peer may do.
//!
//! Owns: how an entry is spelled. Invariant: what [`Entry::to_uri`] writes [`Entry::of`] reads as
//! the same; of what begins with `dpfw:` nothing is passed over that is not understood, for it may
//! be a right that was misspelled.

use crate::role::{BadRole, CertRole};
use dpfw_protocol::hello::{BadNamespace, Namespace};
use std::fmt::Write as _;

const SCHEME: &str = "dpfw:";
const ROLE: &str = "role:";
const NAMESPACE: &str = "namespace:";

/// One thing that a certificate says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Entry {
    Role(CertRole),
    Namespace(Namespace),
}

/// A URI of ours says nothing that is known.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BadEntry {
    #[error("it is neither dpfw:role:ROLE nor dpfw:namespace:NAME")]
    Unknown,
    #[error(transparent)]
    Role(#[from] BadRole),
    #[error(transparent)]
    Namespace(#[from] BadNamespace),
    #[error("a % in it is not followed by two hexadecimal digits of an ASCII character")]
    Escape,
}

impl Entry {
    /// What a URI says; nothing if it is not one of dpfw's.
    pub(crate) fn of(uri: &str) -> Result<Option<Self>, BadEntry> {
        // Schemes have no case.
        let Some((scheme, rest)) = uri.split_at_checked(SCHEME.len()) else { return Ok(None) };
        if !scheme.eq_ignore_ascii_case(SCHEME) {
            return Ok(None);
        }
        let entry = if let Some(role) = rest.strip_prefix(ROLE) {
            Self::Role(decoded(role)?.parse()?)
        } else if let Some(namespace) = rest.strip_prefix(NAMESPACE) {
            Self::Namespace(Namespace::new(decoded(namespace)?)?)
        } else {
            return Err(BadEntry::Unknown);
        };
        Ok(Some(entry))
    }

    /// The entry as a URI.
    pub(crate) fn to_uri(&self) -> String {
        match self {
            Self::Role(role) => format!("{SCHEME}{ROLE}{role}"),
            Self::Namespace(name) => format!("{SCHEME}{NAMESPACE}{}", encoded(name.as_str())),
        }
    }
}

/// With everything escaped that a URI may not have, or that means something in one.
fn encoded(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            // Writing to a text cannot fail.
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}

fn decoded(text: &str) -> Result<String, BadEntry> {
    let mut parts = text.split('%');
    let mut out = String::from(parts.next().unwrap_or_default());
    for part in parts {
        let (digits, rest) = part.split_at_checked(2).ok_or(BadEntry::Escape)?;
        let is_hex = digits.bytes().all(|b| b.is_ascii_hexdigit());
        let byte = u8::from_str_radix(digits, 16).ok().filter(|b| is_hex && b.is_ascii());
        out.push(char::from(byte.ok_or(BadEntry::Escape)?));
        out.push_str(rest);
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn namespace(text: &str) -> Entry {
        Entry::Namespace(Namespace::new(text).expect("printable"))
    }

    #[test]
    fn entries_are_spelled_as_the_page_says() {
        let spelled = [
            (Entry::Role(CertRole::Observer), "dpfw:role:observer"),
            (namespace("team-a"), "dpfw:namespace:team-a"),
            (namespace("a/b:c%"), "dpfw:namespace:a%2Fb%3Ac%25"),
        ];
        for (entry, uri) in spelled {
            assert_eq!(entry.to_uri(), uri);
            assert_eq!(Entry::of(uri), Ok(Some(entry)));
        }
        assert_eq!(Entry::of("DPFW:namespace:a/b"), Ok(Some(namespace("a/b"))));
    }

    #[test]
    fn other_uris_are_passed_over_and_misspelled_ones_are_not() {
        for other in ["", "dpf", "spiffe://a/b", "https://example.org/dpfw:role:master", "ä:role"]
        {
            assert_eq!(Entry::of(other), Ok(None), "{other:?}");
        }
        let bad = [
            "dpfw:",
            "dpfw:roles:master",
            "dpfw:role:Master",
            "dpfw:role:master,slave",
            "dpfw:namespace:",
            "dpfw:namespace:a b",
            "dpfw:namespace:a%20b",
            "dpfw:namespace:%1B",
            "dpfw:namespace:%f",
            "dpfw:namespace:%+1",
            "dpfw:namespace:%FF",
            "dpfw:namespace:%\u{e4}",
        ];
        for bad in bad {
            assert!(Entry::of(bad).is_err(), "{bad:?}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(text in "[!-~]{1,128}") {
            if let Ok(name) = Namespace::new(text) {
                let entry = Entry::Namespace(name);
                prop_assert_eq!(Entry::of(&entry.to_uri()), Ok(Some(entry)));
            }
        }

        #[test]
        fn no_text_panics(text in "(dpfw:)?(role:|namespace:)?\\PC*") {
            let _ = Entry::of(&text);
        }
    }
}
