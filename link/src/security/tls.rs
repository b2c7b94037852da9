//! Mutual TLS 1.3, and nothing older.
//!
//! Owns: a peer's files, and reading them again when they change. `configs` is what they say,
//! `shake` makes a stream of a connection, `chain` is what a peer has shown. Does not: know what
//! certificates say (`dpfw-certs` does). Invariant: a file that cannot be used changes nothing,
//! whatever the others say, and nobody who shakes hands waits for one.

use crate::security::SecurityError;
use dpfw_certs::Subject;
use dpfw_protocol::hello::Role;
use std::fs::Metadata;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

pub(crate) mod chain;
mod configs;
pub(crate) mod shake;
mod words;

pub(crate) use chain::Chain;
use configs::Configs;
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
///
/// ```no_run
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use dpfw_link::security::{Security, Tls, TlsFiles};
///
/// let tls = Tls::open(TlsFiles {
///     identity: "certs/master-1.pem".into(),
///     authority: "certs/ca.pem".into(),
///     revoked: Some("certs/crl.pem".into()),
/// })?;
/// println!("this is {}", tls.subject().name);
/// let security = Security::tls(tls);
/// # drop(security);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Tls(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    files: TlsFiles,
    /// Held to take or to swap what is in it, and for nothing else.
    current: Mutex<Arc<Configs>>,
}

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
    pub fn check(&self, wanted: Role) -> Result<(), SecurityError> {
        let role = self.current().subject.role;
        let path = self.0.files.identity.clone();
        match role.may_be(wanted) {
            true => Ok(()),
            false => Err(SecurityError::Role { path, role, wanted }),
        }
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

    /// Reads the files again; what is wrong with them if not all can be used.
    fn renew(&self) -> Result<(), String> {
        let before = self.current();
        let (configs, trouble) = before.renewed(&self.files);
        let configs = configs.map_err(|error| error.to_string())?;
        if configs.subject.name != before.subject.name {
            let (was, is) = (&before.subject.name, &configs.subject.name);
            tracing::warn!(%was, %is, "the certificate has another name: links that stand keep theirs");
        }
        let until = configs.subject.validity.until;
        *self.lock() = Arc::new(configs);
        if let Some(trouble) = trouble {
            return Err(trouble);
        }
        tracing::info!(identity = %self.files.identity.display(), %until, "certificates were renewed");
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
                    "certificates have changed and cannot all be used; where not, those from before are"
                );
                told = error;
            }
        }
    }
}
