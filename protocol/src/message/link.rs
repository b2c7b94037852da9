//! What either side says of the link, and of what flows on it.

use crate::error::Failure;
use serde::{Deserialize, Serialize};

/// The link ends, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Close {
    /// The reason's number; see [`close`].
    pub code: u16,
    /// The reason in words.
    pub reason: String,
}

/// Reasons for closing a link.
pub mod close {
    /// The work is done: nothing is lost by this.
    pub const DONE: u16 = 0;
    /// The peers cannot work together.
    pub const REFUSED: u16 = 1;
    /// The peer broke the protocol.
    pub const PROTOCOL: u16 = 2;
    /// A newer session of the same peer took over.
    pub const SUPERSEDED: u16 = 3;
    /// The slave has drained.
    pub const DRAINED: u16 = 4;
    /// The peer does not read what it asked for.
    pub const OVERRUN: u16 = 5;
    /// Nothing was heard of the peer for too long.
    pub const SILENT: u16 = 6;
}

/// The sender is alive. Any byte is a sign of life; this one is sent when there is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Heartbeat {}

/// The receiver of a conversation's payload takes so many bytes more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Credit {
    /// How many.
    pub bytes: u64,
}

/// The sender of a conversation's payload gives up in the middle of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Abandon {
    /// Why.
    pub failure: Failure,
}

/// Raw payload; a frame without a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Chunk {
    /// Whether the payload is complete.
    pub last: bool,
}
