//! Mutual TLS 1.3, and nothing older.
//!
//! Owns: a peer's own certificate, the authority that others are held against, and reading both
//! again when the files change. `shake` makes a stream of a connection. Does not: know what
//! certificates say (`dpfw-certs` does). Invariants: nothing is resumed and nothing is sent
//! early, so that nothing can be replayed and each handshake looks at the certificates anew;
//! files that cannot be used change nothing.

use crate::security::SecurityError;
use dpfw_certs::files::{self, Identity};
use dpfw_certs::{CertRole, Subject};
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use rustls::version::TLS13;
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use std::fs::Metadata;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

pub(crate) mod chain;
pub(crate) mod shake;
mod words;

pub(crate) use chain::Chain;
pub(crate) use words::words;

/// How often the files are looked at.
const LOOK: Duration = Duration::from_secs(1);

/// What is spoken within TLS (RFC 7301).
const ALPN: &[u8] = b"dpfw/1";

/// The files of one peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// Its certificate, those that lead to its authority, and its key, in PEM; of mode 0600.
    pub identity: PathBuf,
    /// The certificates of the authorities whose peers are let in, in PEM.
    pub authority: PathBuf,
    /// The authority's revocation lists, in PEM, if it has any.
    pub revoked: Option<PathBuf>,
}

/// A certificate and an authority. Cloning shares them.
///
/// A thread looks at the files once a second and reads them again when they have changed: what was
/// renewed or revoked needs no restart. It ends within a second of the last clone. Links that
/// stand end when their peer's certificate is revoked or has expired.
#[derive(Clone, Debug)]
pub struct Tls(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    files: TlsFiles,
    /// Held to take or to swap what is in it, and for nothing else.
    current: Mutex<Arc<Configs>>,
}

/// What the files said.
#[derive(Debug)]
pub(crate) struct Configs {
    pub(crate) server: Arc<ServerConfig>,
    pub(crate) client: Arc<ClientConfig>,
    masters: Arc<dyn ClientCertVerifier>,
    servers: Arc<dyn ServerCertVerifier>,
    subject: Subject,
    /// Never 0, and never that of others.
    version: u64,
}

static VERSIONS: AtomicU64 = AtomicU64::new(1);

/// A version of a file. When it was last changed is more than its contents: who may read it counts.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Stamp(Option<[u64; 6]>);

impl Stamp {
    fn of(path: &Path) -> Self {
        let stamp = |about: Metadata| {
            let changed = [about.ctime() as u64, about.ctime_nsec() as u64];
            let [seconds, nanoseconds] = changed;
            [about.dev(), about.ino(), about.size(), u64::from(about.mode()), seconds, nanoseconds]
        };
        Self(std::fs::metadata(path).ok().map(stamp))
    }
}

impl TlsFiles {
    fn stamps(&self) -> Vec<Stamp> {
        let all = [&self.identity, &self.authority].into_iter().chain(&self.revoked);
        all.map(|path| Stamp::of(path)).collect()
    }
}

impl Tls {
    /// Reads the files.
    ///
    /// # Errors
    /// [`SecurityError`] if one cannot be read, does not hold what it should, may be read by
    /// others, or does not fit the others.
    pub fn open(files: TlsFiles) -> Result<Self, SecurityError> {
        let stamps = files.stamps();
        let current = Mutex::new(Arc::new(Configs::read(&files)?));
        let this = Self(Arc::new(Inner { files, current }));
        let (watched, identity) = (Arc::downgrade(&this.0), this.0.files.identity.clone());
        let watch = std::thread::Builder::new().name("dpfw-certificates".into());
        let cannot = |source| SecurityError::File { path: identity, source };
        watch.spawn(move || watch_files(&watched, stamps)).map_err(cannot)?;
        Ok(this)
    }

    /// What its own certificate says.
    pub fn subject(&self) -> Subject {
        self.current().subject.clone()
    }

    /// Holds its own certificate against what it is used for.
    ///
    /// # Errors
    /// [`SecurityError::Role`].
    pub fn check(&self, wanted: CertRole) -> Result<(), SecurityError> {
        let role = self.current().subject.role;
        let fits = match wanted {
            CertRole::Slave => role == CertRole::Slave,
            CertRole::Master | CertRole::Observer => role != CertRole::Slave,
        };
        let path = self.0.files.identity.clone();
        if fits { Ok(()) } else { Err(SecurityError::Role { path, role, wanted }) }
    }

    /// What the files said when they could last be used.
    pub(crate) fn current(&self) -> Arc<Configs> {
        self.0.current()
    }
}

impl Inner {
    fn lock(&self) -> MutexGuard<'_, Arc<Configs>> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn current(&self) -> Arc<Configs> {
        Arc::clone(&self.lock())
    }

    /// Reads the files again; what is wrong with them if they cannot be used.
    fn renew(&self) -> Result<(), String> {
        let configs = Configs::read(&self.files).map_err(|error| error.to_string())?;
        let until = configs.subject.validity.until;
        tracing::info!(identity = %self.files.identity.display(), %until, "certificates were renewed");
        *self.lock() = Arc::new(configs);
        Ok(())
    }
}

/// Looks at the files as long as anybody has them. Those that cannot be used are tried again.
fn watch_files(of: &Weak<Inner>, mut seen: Vec<Stamp>) {
    let mut told = String::new();
    loop {
        std::thread::sleep(LOOK);
        let Some(inner) = of.upgrade() else { return };
        let stamps = inner.files.stamps();
        if stamps == seen {
            continue;
        }
        match inner.renew() {
            Ok(()) => {
                seen = stamps;
                told.clear();
            }
            Err(error) if error == told => {}
            Err(error) => {
                tracing::warn!(
                    error,
                    "certificates have changed and cannot be used; those from before are"
                );
                told = error;
            }
        }
    }
}

impl Configs {
    fn read(from: &TlsFiles) -> Result<Self, SecurityError> {
        let bad = |path: &Path| {
            let path = path.to_owned();
            move |what: String| SecurityError::Tls { path, what }
        };
        let Identity { subject, chain, key } = Identity::read(&from.identity)?;
        let mut roots = RootCertStore::empty();
        for root in files::certificates(&from.authority)? {
            roots.add(root).map_err(|error| bad(&from.authority)(words(&error)))?;
        }
        let (roots, provider) = (Arc::new(roots), provider());
        let revoked = from.revoked.as_deref();
        let lists = revoked.map(files::revocations).transpose()?.unwrap_or_default();
        let blame = revoked.unwrap_or(&from.authority);
        let masters =
            WebPkiClientVerifier::builder_with_provider(Arc::clone(&roots), Arc::clone(&provider))
                .with_crls(lists.clone())
                // Who asks does not learn whose peers are let in.
                .clear_root_hint_subjects()
                .build()
                .map_err(|error| bad(blame)(error.to_string()))?;
        let servers = WebPkiServerVerifier::builder_with_provider(roots, Arc::clone(&provider))
            .with_crls(lists)
            .build()
            .map_err(|error| bad(blame)(error.to_string()))?;
        let tls13 = |error: rustls::Error| bad(&from.identity)(words(&error));
        let mut server = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(&[&TLS13])
            .map_err(tls13)?
            .with_client_cert_verifier(Arc::clone(&masters))
            .with_single_cert(chain.clone(), key.clone_key())
            .map_err(|error| bad(&from.identity)(words(&error)))?;
        server.alpn_protocols = vec![ALPN.to_vec()];
        server.send_tls13_tickets = 0;
        server.session_storage = Arc::new(rustls::server::NoServerSessionStorage {});
        let mut client = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&TLS13])
            .map_err(|error| bad(&from.identity)(words(&error)))?
            .with_webpki_verifier(Arc::clone(&servers))
            .with_client_auth_cert(chain, key)
            .map_err(|error| bad(&from.identity)(words(&error)))?;
        client.alpn_protocols = vec![ALPN.to_vec()];
        client.resumption = rustls::client::Resumption::disabled();
        let version = VERSIONS.fetch_add(1, Ordering::Relaxed);
        let (server, client) = (Arc::new(server), Arc::new(client));
        Ok(Self { server, client, masters, servers, subject, version })
    }

    /// Whether a chain that was verified once still would be.
    pub(crate) fn verify(
        &self,
        chain: &[CertificateDer<'static>],
        dialled: Option<&ServerName<'static>>,
    ) -> Result<(), rustls::Error> {
        let none = || rustls::Error::NoCertificatesPresented;
        let (first, others) = chain.split_first().ok_or_else(none)?;
        match dialled {
            Some(name) => {
                self.servers.verify_server_cert(first, others, name, &[], UnixTime::now()).map(drop)
            }
            None => self.masters.verify_client_cert(first, others, UnixTime::now()).map(drop),
        }
    }
}

/// The cryptography that rustls recommends. One for the process.
fn provider() -> Arc<CryptoProvider> {
    static PROVIDER: std::sync::OnceLock<Arc<CryptoProvider>> = std::sync::OnceLock::new();
    Arc::clone(PROVIDER.get_or_init(|| Arc::new(rustls::crypto::aws_lc_rs::default_provider())))
}
