//! What is told of grants that are used.

use crate::session::Session;
use dpfw_protocol::ids::AttemptId;

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

/// A sandbox has used a grant for the first time.
pub(crate) fn used(session: &Session, attempt: AttemptId, what: Used<'_>) {
    tracing::debug!(master = %session.principal.0, %attempt, ?what, "a grant is used");
}
