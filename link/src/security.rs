//! How links are secured: what is asked of every peer before a byte of it is believed.
//!
//! Owns: the three ways, and which addresses each may reach. `token` is the file, `knock` how
//! two peers show each other that they have it, `tls` the certificates and their renewal,
//! `proof` what is known of a peer then. Does not: open streams. Invariant: unless somebody
//! said [`Security::insecure`], nothing that a peer says is parsed before it was proved.

use crate::address::Reach;
use dpfw_protocol::hello::Role;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use token::Token;

pub(crate) mod knock;
pub(crate) mod metered;
pub(crate) mod proof;
pub(crate) mod tls;
pub(crate) mod token;

pub use dpfw_certs::{CertRole, Subject};
pub use tls::{Tls, TlsFiles};
pub use token::token_file;

/// How the links of a master or a slave are secured. Cloning shares it.
///
/// The default is a token: links reach this machine only, and each peer has to show that it
/// can read the user's token file, so that another user of the machine cannot dispatch.
/// Streams that are attached are not asked: whoever made them vouches for their other ends.
///
/// ```
/// use dpfw_link::security::Security;
///
/// // Another file than the usual one; it is made when it is first needed.
/// let security = Security::token("/run/my-service/dpfw-token");
/// assert!(!security.is_insecure());
/// ```
#[derive(Clone, Debug)]
pub struct Security(Arc<Way>);

#[derive(Debug)]
enum Way {
    Token { file: Option<PathBuf>, token: OnceLock<Token> },
    Tls(Tls),
    Insecure,
}

impl Default for Security {
    /// The token of the usual file, [`token_file`].
    fn default() -> Self {
        Self(Arc::new(Way::Token { file: None, token: OnceLock::new() }))
    }
}

/// How a stream is to be opened.
#[derive(Clone, Debug)]
pub(crate) enum Lock {
    Token(Token),
    Tls(Tls),
    None,
}

/// Links cannot be secured.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SecurityError {
    /// A file cannot be read or made.
    #[error("{}: {source}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A file holds no token that may be used.
    #[error(
        "the token file {} {what}; remove it, start again what has to link, and a new one is made",
        path.display()
    )]
    Token {
        /// Which.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// There is no usual place for a token.
    #[error(
        "there is no place for the token that peers on this machine show each other: neither \
         XDG_CONFIG_HOME nor HOME is an absolute path; name a file with --token FILE (Security::token)"
    )]
    NoPlace,
    /// Certificates cannot be used.
    #[error(transparent)]
    Certificates(#[from] dpfw_certs::files::FileError),
    /// TLS cannot be configured with them.
    #[error("{}: {what}", path.display())]
    Tls {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// A certificate is for something else.
    #[error(
        "{} is a certificate of role {role}, and this is a {wanted}; issue one with \
         `dpfw certs issue --role {wanted} --name NAME`",
        path.display()
    )]
    Role {
        /// The file.
        path: PathBuf,
        /// What it is for.
        role: CertRole,
        /// What it is used for.
        wanted: Role,
    },
}

impl Security {
    /// The token of this file, which is made, for its user alone, when it is first needed.
    pub fn token(file: impl Into<PathBuf>) -> Self {
        Self(Arc::new(Way::Token { file: Some(file.into()), token: OnceLock::new() }))
    }

    /// Mutual TLS 1.3. Links may reach any address.
    pub fn tls(tls: Tls) -> Self {
        Self(Arc::new(Way::Tls(tls)))
    }

    /// Nothing: links may reach any address, nothing on them is encrypted, and no peer is asked
    /// who it is. Whoever reaches a port can run code there.
    pub fn insecure() -> Self {
        Self(Arc::new(Way::Insecure))
    }

    /// Whether peers are asked for nothing.
    pub fn is_insecure(&self) -> bool {
        matches!(*self.0, Way::Insecure)
    }

    /// The certificates, if links are encrypted.
    pub fn as_tls(&self) -> Option<&Tls> {
        match &*self.0 {
            Way::Tls(tls) => Some(tls),
            Way::Token { .. } | Way::Insecure => None,
        }
    }

    pub(crate) fn reach(&self) -> Reach {
        match &*self.0 {
            Way::Token { .. } => Reach::Loopback,
            Way::Tls(_) | Way::Insecure => Reach::Anywhere,
        }
    }

    /// What streams are opened with. Reads or makes the token the first time.
    pub(crate) fn lock(&self) -> Result<Lock, SecurityError> {
        match &*self.0 {
            Way::Insecure => Ok(Lock::None),
            Way::Tls(tls) => Ok(Lock::Tls(tls.clone())),
            Way::Token { file, token } => {
                if let Some(token) = token.get() {
                    return Ok(Lock::Token(token.clone()));
                }
                let file = file.clone().or_else(token_file).ok_or(SecurityError::NoPlace)?;
                let read = Token::of_file(&file)?;
                Ok(Lock::Token(token.get_or_init(|| read).clone()))
            }
        }
    }
}
