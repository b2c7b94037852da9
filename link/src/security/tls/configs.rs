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
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
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
    own: Own,
    pub(super) subject: Subject,
    /// Never 0, and never that of others.
    pub(super) version: u64,
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
        Self::of(from, Identity::read(&from.identity)?)
    }

    /// Reads them again, when a peer is something already: it stays that. If its own file cannot be
    /// used the others count all the same, or nobody who was revoked would be kept out meanwhile.
    pub(super) fn renewed(&self, from: &TlsFiles) -> (Result<Self, SecurityError>, Option<String>) {
        let trouble = match Identity::read(&from.identity) {
            Ok(identity) if identity.subject.role == self.subject.role => {
                return (Self::of(from, identity), None);
            }
            Ok(other) => format!(
                "{} is now the certificate of a {}, and was that of a {}",
                from.identity.display(),
                other.subject.role,
                self.subject.role
            ),
            Err(error) => error.to_string(),
        };
        let (chain, key) = (self.own.0.clone(), self.own.1.clone_key());
        (Self::of(from, Identity { subject: self.subject.clone(), chain, key }), Some(trouble))
    }

    fn of(from: &TlsFiles, identity: Identity) -> Result<Self, SecurityError> {
        let Identity { subject, chain, key } = identity;
        let verifiers = Verifiers::read(from)?;
        let (own, bad) = ((chain, key), of_file(&from.identity, words));
        let server =
            Arc::new(server(&verifiers, (own.0.clone(), own.1.clone_key())).map_err(&bad)?);
        let client = client(&verifiers, (own.0.clone(), own.1.clone_key())).map_err(&bad)?;
        let (client, version) = (Arc::new(client), VERSIONS.fetch_add(1, Ordering::Relaxed));
        Ok(Self { server, client, verifiers, own, subject, version })
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

impl Verifiers {
    fn read(from: &TlsFiles) -> Result<Self, SecurityError> {
        let mut roots = RootCertStore::empty();
        for root in files::authorities(&from.authority)? {
            roots.add(root).map_err(of_file(&from.authority, words))?;
        }
        let roots = Arc::new(roots);
        let revoked = from.revoked.as_deref();
        let lists = revoked.map(files::revocations).transpose()?.unwrap_or_default();
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
