//! What is told of grants that are used.

use crate::audit::Event;
use crate::core::Core;
use crate::grants::Grant;
use crate::session::Session;
use dpfw_protocol::ids::AttemptId;
use std::fmt;

/// Something granted that a sandbox has used for the first time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Used<'a> {
    /// It has read its environment.
    Environment,
    /// It has looked at its directories.
    Directories,
    /// It has connected to this host and port.
    Connection(&'a str),
}

impl fmt::Display for Used<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Environment => f.write_str("environment"),
            Self::Directories => f.write_str("directories"),
            Self::Connection(to) => write!(f, "connection to {to}"),
        }
    }
}

/// A sandbox has used a grant for the first time.
pub(crate) fn used(
    core: &Core,
    session: &Session,
    attempt: AttemptId,
    grant: &Grant,
    what: Used<'_>,
) {
    let master = &session.principal.0;
    tracing::debug!(%master, %attempt, ?what, "a grant is used");
    core.audit.tell(|| Event::Grant {
        what: what.to_string(),
        module: grant.module.map(|module| module.to_string()),
        master: master.clone(),
        attempt: attempt.0,
    });
}
