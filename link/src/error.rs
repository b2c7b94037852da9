//! Why a link ended, and who ended it.

use crate::security::knock::TokenError;
use crate::security::proof::ProofError;
use crate::security::tls::shake::{TlsError, explain};
use dpfw_protocol::frame::FrameError;
use dpfw_protocol::hello::HelloError;
use dpfw_protocol::limits::MAX_TEXT;
use dpfw_protocol::message::{MessageError, close};
use dpfw_protocol::text::printable;
use std::io;
use std::time::Duration;

/// Why a link could not be made, or ended.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LinkError {
    /// The stream failed.
    #[error("the connection failed: {0}")]
    Io(#[source] io::Error),
    /// The stream ended without a goodbye: the peer's process may have died.
    #[error("the peer closed the connection without a goodbye")]
    Ended,
    /// Nothing came for too long.
    #[error("the peer was silent for {0:?}")]
    Silent(Duration),
    /// The handshake took too long.
    #[error("the handshake took longer than {0:?}")]
    SlowHandshake(Duration),
    /// The peer said why it ends the link.
    #[error("the peer closed the link: {reason}")]
    Closed {
        /// One of [`close`].
        code: u16,
        /// The peer's words.
        reason: String,
    },
    /// The peers have no token in common.
    #[error(transparent)]
    Token(#[from] TokenError),
    /// The peers could not agree on an encrypted stream, or somebody changed what is on it.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The peer is not what its certificate says.
    #[error(transparent)]
    Proof(#[from] ProofError),
    /// The peers cannot work together.
    #[error(transparent)]
    Hello(#[from] HelloError),
    /// The peer's bytes are no frames.
    #[error("the peer broke the protocol: {0}")]
    Frame(#[from] FrameError),
    /// The peer's frames are no messages.
    #[error("the peer broke the protocol: {0}")]
    Message(#[from] MessageError),
    /// The peer broke a rule of a conversation.
    #[error("the peer broke the protocol: {0}")]
    Broken(String),
    /// The peer does not read what it asked for.
    #[error("the peer does not read: {0} bytes wait for it")]
    Overrun(usize),
    /// This side lets the peer in no further, for now.
    #[error("{0}")]
    Refused(String),
    /// A newer link of the same peer took over.
    #[error("a newer link of the same peer took over")]
    Superseded,
    /// This side ended the link.
    #[error("this side closed the link: {0}")]
    Local(&'static str),
}

impl From<io::Error> for LinkError {
    fn from(error: io::Error) -> Self {
        explain(error)
    }
}

impl LinkError {
    /// The peer's goodbye; its words are shown as they may be.
    pub fn closed(code: u16, reason: &str) -> Self {
        Self::Closed { code, reason: printable(reason, MAX_TEXT) }
    }

    /// Whether a newer link of the same peer took over: there is one, or will be as soon as its
    /// handshake has ended on this side as well.
    pub fn is_superseded(&self) -> bool {
        match self {
            Self::Superseded => true,
            Self::Closed { code, .. } => *code == close::SUPERSEDED,
            _ => false,
        }
    }

    /// The code and words with which the peer is told, if it is to be told at all.
    pub fn goodbye(&self) -> Option<(u16, String)> {
        match self {
            Self::Hello(error) => Some((close::REFUSED, error.to_string())),
            Self::Proof(_) | Self::Token(TokenError::Unshown | TokenError::Wrong) => {
                Some((close::REFUSED, self.to_string()))
            }
            Self::Frame(_) | Self::Message(_) | Self::Broken(_) => {
                Some((close::PROTOCOL, self.to_string()))
            }
            Self::SlowHandshake(_) | Self::Refused(_) => Some((close::REFUSED, self.to_string())),
            Self::Superseded => Some((close::SUPERSEDED, self.to_string())),
            // It may be heard: of two ways one may be cut. Whoever only loses the connection
            // would take this side's process for dead.
            Self::Silent(limit) => {
                Some((close::SILENT, format!("nothing was heard of this side for {limit:?}")))
            }
            Self::Overrun(_) => Some((close::OVERRUN, self.to_string())),
            Self::Io(_) | Self::Ended | Self::Closed { .. } => None,
            Self::Token(_) | Self::Tls(_) | Self::Local(_) => None,
        }
    }

    /// Whether the peer closed the link for this reason, one of [`close`].
    pub fn is_closed_with(&self, reason: u16) -> bool {
        matches!(self, Self::Closed { code, .. } if *code == reason)
    }

    /// Whether the other process may have died: its end of the connection is gone.
    pub fn is_death(&self) -> bool {
        matches!(self, Self::Ended | Self::Io(_))
    }
}
