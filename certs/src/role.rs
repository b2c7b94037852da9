//! What a certificate lets its peer be.

use dpfw_protocol::hello;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// What a peer may be, by its certificate.
///
/// ```
/// use dpfw_certs::CertRole;
/// use dpfw_protocol::hello::Role;
///
/// assert!(CertRole::Master.may_be(Role::Master));
/// assert!(!CertRole::Slave.may_be(Role::Master));
/// // Whoever only looks speaks as a master does, and may not dispatch.
/// assert!(CertRole::Observer.may_be(Role::Master) && !CertRole::Observer.may_dispatch());
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CertRole {
    /// Dispatches tasks to slaves.
    Master,
    /// Executes tasks of masters.
    Slave,
    /// Looks at slaves as a master does, and dispatches nothing.
    Observer,
}

/// A text is no role.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no role: a certificate's is master, slave or observer")]
pub struct BadRole(String);

impl CertRole {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Master, Self::Slave, Self::Observer];

    /// The role as certificates spell it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Master => "master",
            Self::Slave => "slave",
            Self::Observer => "observer",
        }
    }

    /// Whether the peer may say in its hello that it is this.
    pub fn may_be(self, role: hello::Role) -> bool {
        match role {
            hello::Role::Master => self != Self::Slave,
            hello::Role::Slave => self == Self::Slave,
        }
    }

    /// Whether the peer may dispatch tasks.
    pub fn may_dispatch(self) -> bool {
        self == Self::Master
    }
}

impl fmt::Display for CertRole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for CertRole {
    type Err = BadRole;
    fn from_str(text: &str) -> Result<Self, BadRole> {
        let role = Self::ALL.into_iter().find(|role| role.as_str() == text);
        role.ok_or_else(|| BadRole(text.to_owned()))
    }
}
