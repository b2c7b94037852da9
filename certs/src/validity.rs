//! From when and until when a certificate is in force.

use crate::subject::{SubjectError, malformed};
use serde::ser::{Error as _, Serialize, SerializeStruct, Serializer};
use std::fmt;
use std::time::{Duration, SystemTime};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use x509_parser::certificate::X509Certificate;

/// From when and until when a certificate is in force, both included. Serialised as RFC 3339,
/// shown as days.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Validity {
    /// Not before this.
    pub from: OffsetDateTime,
    /// Not after this.
    pub until: OffsetDateTime,
}

impl Validity {
    pub(crate) fn of(certificate: &X509Certificate<'_>) -> Result<Self, SubjectError> {
        let at = |time: x509_parser::time::ASN1Time| {
            OffsetDateTime::from_unix_timestamp(time.timestamp()).map_err(malformed)
        };
        let validity = certificate.validity();
        Ok(Self { from: at(validity.not_before)?, until: at(validity.not_after)? })
    }

    /// Whether it is in force at a time.
    pub fn includes(&self, at: SystemTime) -> bool {
        (self.from..=self.until).contains(&OffsetDateTime::from(at))
    }

    /// How long it is still in force, seen from a time: nothing if it is over.
    pub fn left(&self, at: SystemTime) -> Duration {
        let left = self.until - OffsetDateTime::from(at);
        left.try_into().unwrap_or_default()
    }
}

impl fmt::Display for Validity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} to {}", self.from.date(), self.until.date())
    }
}

impl Serialize for Validity {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let text = |time: OffsetDateTime| time.format(&Rfc3339).map_err(S::Error::custom);
        let mut both = serializer.serialize_struct("Validity", 2)?;
        both.serialize_field("from", &text(self.from)?)?;
        both.serialize_field("until", &text(self.until)?)?;
        both.end()
    }
}
