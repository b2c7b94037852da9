//! What a peer's files say, as rustls takes it.
//!
//! Invariants: TLS 1.3 and mutual, always; nothing is resumed and nothing is sent early, so that
//! nothing can be replayed and each handshake looks at the certificates anew.

use crate::security::SecurityError;
use crate::security::tls::{ALPN, TlsFiles, words};
use dpfw_certs::Subject;
use dpfw_certs::files::{self, Identity};
use rustls::client::danger::ServerCertVerifier;
use rustls::client::{Resumption, WebPkiServerVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{
    CertificateDer, CertificateRevocationListDer, PrivateKeyDer, ServerName, UnixTime,
};
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::version::TLS13;
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

/// See the module's page.
pub(crate) struct Configs {
    pub(crate) server: Arc<ServerConfig>,
    pub(crate) client: Arc<ClientConfig>,
    verifiers: Verifiers,
    parts: Parts,
    pub(super) subject: Subject,
    /// Of what peers are held against. Never 0, and never that of others.
    pub(super) version: u64,
}

/// What each of the files says.
struct Parts {
    own: Own,
    roots: Vec<CertificateDer<'static>>,
    lists: Vec<CertificateRevocationListDer<'static>>,
}

/// By what a peer's certificate is held, which may have dialled or been dialled.
#[derive(Clone, Debug)]
struct Verifiers {
    dialling: Arc<dyn ClientCertVerifier>,
    dialled: Arc<WebPkiServerVerifier>,
}

static VERSIONS: AtomicU64 = AtomicU64::new(1);

/// An error of TLS as one of the file that it comes of.
fn of_file<E>(path: &Path, words: impl Fn(&E) -> String) -> impl Fn(E) -> SecurityError {
    move |error| SecurityError::Tls { path: path.to_owned(), what: words(&error) }
}

impl std::fmt::Debug for Configs {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // With no key.
        f.debug_struct("Configs").field("subject", &self.subject).finish_non_exhaustive()
    }
}

impl Configs {
    /// Reads the files.
    pub(super) fn read(from: &TlsFiles) -> Result<Self, SecurityError> {
        let Identity { subject, chain, key } = Identity::read(&from.identity)?;
        let roots = roots(from)?;
        let lists = lists(from, &roots)?;
        let verifiers = Verifiers::of(from, &roots, &lists)?;
        let version = VERSIONS.fetch_add(1, Ordering::Relaxed);
        Self::of(from, subject, Parts { own: (chain, key), roots, lists }, verifiers, version)
    }

    /// Reads them again, when a peer is something already: it stays that. Where one of them cannot be
    /// used, what it said before counts, and what the others say now: or nobody who was revoked would
    /// be kept out meanwhile. What is wrong, if anything is.
    pub(super) fn renewed(&self, from: &TlsFiles) -> (Result<Self, SecurityError>, Option<String>) {
        let mut troubles = Vec::new();
        let mut trouble = |error: String| troubles.push(error);
        let (subject, own) = self.own_of(from).unwrap_or_else(|error| {
            trouble(error);
            (self.subject.clone(), copy(&self.parts.own))
        });
        let roots = roots(from).unwrap_or_else(|error| {
            trouble(error.to_string());
            self.parts.roots.clone()
        });
        let lists = lists(from, &roots).unwrap_or_else(|error| {
            trouble(error.to_string());
            self.parts.lists.clone()
        });
        // Peers that were verified are verified again only where that may come to something else.
        let is_as_before = roots == self.parts.roots && lists == self.parts.lists;
        let (verifiers, version) = match is_as_before {
            true => (Ok(self.verifiers.clone()), self.version),
            false => {
                let version = VERSIONS.fetch_add(1, Ordering::Relaxed);
                (Verifiers::of(from, &roots, &lists), version)
            }
        };
        let parts = Parts { own, roots, lists };
        let renewed =
            verifiers.and_then(|verifiers| Self::of(from, subject, parts, verifiers, version));
        (renewed, (!troubles.is_empty()).then(|| troubles.join("; ")))
    }

    /// What the peer's own file says now, if it is of the role that the peer has.
    fn own_of(&self, from: &TlsFiles) -> Result<(Subject, Own), String> {
        let Identity { subject, chain, key } =
            Identity::read(&from.identity).map_err(|error| error.to_string())?;
        match subject.role == self.subject.role {
            true => Ok((subject, (chain, key))),
            false => Err(format!(
                "{} is now the certificate of a {}, and was that of a {}",
                from.identity.display(),
                subject.role,
                self.subject.role
            )),
        }
    }

    fn of(
        from: &TlsFiles,
        subject: Subject,
        parts: Parts,
        verifiers: Verifiers,
        version: u64,
    ) -> Result<Self, SecurityError> {
        let bad = of_file(&from.identity, words);
        let server = Arc::new(server(&verifiers, copy(&parts.own)).map_err(&bad)?);
        let client = Arc::new(client(&verifiers, copy(&parts.own)).map_err(&bad)?);
        Ok(Self { server, client, verifiers, parts, subject, version })
    }

    /// Whether a chain that was verified once still would be.
    pub(super) fn verify(
        &self,
        chain: &[CertificateDer<'static>],
        dialled: Option<&ServerName<'static>>,
    ) -> Result<(), rustls::Error> {
        let none = || rustls::Error::NoCertificatesPresented;
        let (first, others) = chain.split_first().ok_or_else(none)?;
        let (verifiers, now) = (&self.verifiers, UnixTime::now());
        match dialled {
            Some(name) => {
                verifiers.dialled.verify_server_cert(first, others, name, &[], now).map(drop)
            }
            None => verifiers.dialling.verify_client_cert(first, others, now).map(drop),
        }
    }
}

/// The authorities that are trusted, each of which rustls takes.
fn roots(from: &TlsFiles) -> Result<Vec<CertificateDer<'static>>, SecurityError> {
    let roots = files::authorities(&from.authority)?;
    store(from, &roots).map(|_| roots)
}

fn store(
    from: &TlsFiles,
    roots: &[CertificateDer<'static>],
) -> Result<RootCertStore, SecurityError> {
    let mut store = RootCertStore::empty();
    for root in roots {
        store.add(root.clone()).map_err(of_file(&from.authority, words))?;
    }
    Ok(store)
}

/// The revocation lists, if there are to be any, each of which rustls takes.
fn lists(
    from: &TlsFiles,
    roots: &[CertificateDer<'static>],
) -> Result<Vec<CertificateRevocationListDer<'static>>, SecurityError> {
    let Some(file) = from.revoked.as_deref() else {
        return Ok(Vec::new());
    };
    let lists = files::revocations(file)?;
    Verifiers::of(from, roots, &lists).map(|_| lists)
}

impl Verifiers {
    fn of(
        from: &TlsFiles,
        roots: &[CertificateDer<'static>],
        lists: &[CertificateRevocationListDer<'static>],
    ) -> Result<Self, SecurityError> {
        let (roots, lists) = (Arc::new(store(from, roots)?), lists.to_vec());
        let revoked = from.revoked.as_deref();
        let bad = of_file(revoked.unwrap_or(&from.authority), ToString::to_string);
        let dialling = WebPkiClientVerifier::builder_with_provider(Arc::clone(&roots), provider())
            .with_crls(lists.clone())
            // Who dials does not learn whose peers are let in.
            .clear_root_hint_subjects()
            .build()
            .map_err(&bad)?;
        let dialled = WebPkiServerVerifier::builder_with_provider(roots, provider());
        let dialled = dialled.with_crls(lists).build().map_err(&bad)?;
        Ok(Self { dialling, dialled })
    }
}

type Own = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

fn copy((chain, key): &Own) -> Own {
    (chain.clone(), key.clone_key())
}

fn server(verifiers: &Verifiers, (chain, key): Own) -> Result<ServerConfig, rustls::Error> {
    let mut server = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&TLS13])?
        .with_client_cert_verifier(Arc::clone(&verifiers.dialling))
        .with_single_cert(chain, key)?;
    server.alpn_protocols = vec![ALPN.to_vec()];
    server.send_tls13_tickets = 0;
    server.session_storage = Arc::new(NoServerSessionStorage {});
    Ok(server)
}

fn client(verifiers: &Verifiers, (chain, key): Own) -> Result<ClientConfig, rustls::Error> {
    let mut client = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&TLS13])?
        .with_webpki_verifier(Arc::clone(&verifiers.dialled))
        .with_client_auth_cert(chain, key)?;
    client.alpn_protocols = vec![ALPN.to_vec()];
    client.resumption = Resumption::disabled();
    Ok(client)
}

/// The cryptography that rustls recommends. One for the process.
fn provider() -> Arc<CryptoProvider> {
    static PROVIDER: OnceLock<Arc<CryptoProvider>> = OnceLock::new();
    Arc::clone(PROVIDER.get_or_init(|| Arc::new(rustls::crypto::aws_lc_rs::default_provider())))
}
