//! What errors of TLS say to a person.

use rustls::{AlertDescription, CertificateError, Error};

/// An error of TLS in words that tell what to do, where something can be done.
pub(crate) fn words(error: &Error) -> String {
    match error {
        Error::InvalidCertificate(bad) => format!("the peer's certificate {}", certificate(bad)),
        Error::InvalidCertRevocationList(bad) => {
            format!("a revocation list cannot be used: {bad:?}")
        }
        Error::NoCertificatesPresented => "the peer showed no certificate".into(),
        Error::AlertReceived(alert) => alerted(*alert),
        Error::InvalidMessage(_) | Error::InappropriateMessage { .. } => {
            "the peer does not speak TLS, or not as it should (plain on one side only?)".into()
        }
        Error::PeerIncompatible(what) => format!("the peer speaks no TLS 1.3 as here: {what:?}"),
        other => other.to_string(),
    }
}

fn certificate(bad: &CertificateError) -> String {
    match bad {
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            "has expired; renew it with `dpfw certs issue`".into()
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "is not valid yet; look at both clocks".into()
        }
        CertificateError::Revoked => "was revoked".into(),
        CertificateError::UnknownIssuer => "is of no authority that is trusted here".into(),
        CertificateError::UnknownRevocationStatus => {
            "is of an authority of which there is no revocation list here".into()
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            "does not name the host that was dialled; issue one with --san HOST".into()
        }
        CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
            "is not for this end of a link".into()
        }
        other => format!("cannot be used: {other}"),
    }
}

fn alerted(alert: AlertDescription) -> String {
    let why = match alert {
        AlertDescription::CertificateExpired => "it has expired, or is not valid yet",
        AlertDescription::CertificateRevoked => "it was revoked",
        AlertDescription::UnknownCA => {
            "it is of no authority that is trusted there, or of one without a revocation list there"
        }
        AlertDescription::CertificateRequired => "it wants one, and got none",
        AlertDescription::BadCertificate
        | AlertDescription::CertificateUnknown
        | AlertDescription::UnsupportedCertificate => "it cannot use it",
        AlertDescription::NoApplicationProtocol => {
            return "the peer speaks something else than dpfw".into();
        }
        AlertDescription::DecryptError => "it is of another authority of the same name",
        AlertDescription::ProtocolVersion => return "the peer speaks no TLS 1.3".into(),
        other => return format!("the peer ended the handshake: {other:?}"),
    };
    format!("the peer refuses this side's certificate: {why}")
}
