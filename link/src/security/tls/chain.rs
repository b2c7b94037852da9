//! The certificates of a peer that were verified.

use crate::security::tls::{Tls, words};
use dpfw_certs::Subject;
use rustls::pki_types::{CertificateDer, ServerName};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

/// The certificates that a peer showed, verified at its handshake. Cloning shares them.
#[derive(Clone)]
pub struct Chain(Arc<Inner>);

struct Inner {
    tls: Tls,
    certificates: Vec<CertificateDer<'static>>,
    /// The name it was dialled by, if it was.
    dialled: Option<ServerName<'static>>,
    subject: Subject,
    /// Of the files that it was last verified by.
    version: AtomicU64,
}

impl Chain {
    pub(crate) fn new(
        tls: Tls,
        certificates: Vec<CertificateDer<'static>>,
        dialled: Option<ServerName<'static>>,
        subject: Subject,
    ) -> Self {
        // What was read before the handshake may be older: it is verified once more then.
        let version = AtomicU64::new(0);
        Self(Arc::new(Inner { tls, certificates, dialled, subject, version }))
    }

    /// What the first of them says.
    pub fn subject(&self) -> &Subject {
        &self.0.subject
    }

    /// Why the peer would not be let in now, if it would not: it has expired or was revoked, or
    /// its authority is none any more.
    pub fn refusal(&self) -> Option<String> {
        let Inner { tls, certificates, dialled, subject, version } = &*self.0;
        let configs = tls.current();
        let is_known = version.load(Ordering::Relaxed) == configs.version;
        if is_known && SystemTime::now() <= SystemTime::from(subject.validity.until) {
            return None;
        }
        let refusal = configs.verify(certificates, dialled.as_ref()).err();
        version.store(configs.version, Ordering::Relaxed);
        refusal.map(|error| words(&error))
    }
}

impl fmt::Debug for Chain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Chain").field(&self.0.subject).finish()
    }
}
