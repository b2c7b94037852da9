//! What is known of a peer, and how.

use crate::security::tls::Chain;
use dpfw_certs::{CertRole, Subject};
use dpfw_protocol::hello::{Hello, Role};
use std::fmt;

/// How a peer was proved to be who it is.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Proof {
    /// Both ends of the stream are this process.
    Within,
    /// Whoever made the stream vouches for its other end.
    Vouched,
    /// It has the token of this user.
    Token,
    /// By its certificate.
    Certificate(Chain),
    /// Not at all: see [`Security::insecure`](crate::security::Security::insecure).
    None,
}

/// A peer says that it is something else than its certificate does.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ProofError {
    /// Another role.
    #[error("the certificate of {name} is for a {theirs}, and links here are to {wanted}s")]
    Role {
        /// Whose it is.
        name: String,
        /// What it is for.
        theirs: CertRole,
        /// What is at the other end of every link of this side.
        wanted: Role,
    },
}

impl Proof {
    /// What the peer's certificate says, if it has one.
    pub fn subject(&self) -> Option<&Subject> {
        match self {
            Self::Certificate(chain) => Some(chain.subject()),
            _ => None,
        }
    }

    /// Whether the peer may be at the other end of a link, before anything is said to it.
    pub(crate) fn may_be(&self, wanted: Role) -> Result<(), ProofError> {
        match self.subject() {
            Some(subject) if !subject.role.may_be(wanted) => Err(ProofError::Role {
                name: subject.name.to_string(),
                theirs: subject.role,
                wanted,
            }),
            _ => Ok(()),
        }
    }

    /// Holds a hello against what was proved; the name becomes the one that was.
    pub(crate) fn hold(&self, hello: &mut Hello) -> Result<(), ProofError> {
        let Some(subject) = self.subject() else { return Ok(()) };
        self.may_be(hello.role)?;
        hello.peer = subject.name.clone();
        Ok(())
    }
}

impl fmt::Display for Proof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Within => "within the process",
            Self::Vouched => "vouched for",
            Self::Token => "token",
            Self::Certificate(_) => "certificate",
            Self::None => "not at all",
        })
    }
}
