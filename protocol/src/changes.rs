//! Watching the keyed store: which entries changed, and how.
//!
//! A watch is a conversation of its own: [`Watch`] begins it, [`Changed`] answers at once and
//! then whenever something happened, [`Unwatch`] ends it.

use crate::error::Failure;
use crate::limits::{MAX_KEY, MAX_LISTED};
use crate::message::{Message, kind};
use crate::store::{EntryKind, Key, Version};
use serde::{Deserialize, Serialize};
use std::fmt;

/// Asks for the changes of all entries whose keys begin with a prefix.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Watch {
    /// The beginning of their keys.
    pub prefix: String,
    /// Whether the entries that are there are told first.
    pub present: bool,
}

/// Ends a watch. What was said before may still arrive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unwatch {}

/// What changed since the last one; the first is sent when the watch has begun.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Changed {
    /// Why there is no watch. Nothing follows then.
    pub failure: Option<Failure>,
    /// Changes that were lost before these, because they were not taken quickly enough.
    pub missed: u64,
    /// What changed; those of one key in the order of its versions.
    pub changes: Vec<Change>,
}

/// One change of an entry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// The entry's name.
    pub key: Key,
    /// What it is, or was.
    pub kind: EntryKind,
    /// The version that the change made. The end of an entry has one of its own.
    pub version: Version,
    /// What happened.
    pub what: What,
}

/// What happened to an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum What {
    /// Nothing: it was there when the watch began.
    Present,
    /// It was written.
    Put,
    /// Somebody removed it.
    Removed,
    /// Its time was over.
    Expired,
    /// It was removed to make room.
    Evicted,
}

impl What {
    /// The word on the wire and in messages.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Present => "present",
            Self::Put => "put",
            Self::Removed => "removed",
            Self::Expired => "expired",
            Self::Evicted => "evicted",
        }
    }

    /// Whether the entry is there now.
    pub fn is_there(self) -> bool {
        matches!(self, Self::Present | Self::Put)
    }
}

impl fmt::Display for What {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl Message for Watch {
    const KIND: u8 = kind::WATCH;

    fn is_bounded(&self) -> bool {
        self.prefix.len() <= MAX_KEY
    }
}

impl Message for Unwatch {
    const KIND: u8 = kind::UNWATCH;
}

impl Message for Changed {
    const KIND: u8 = kind::CHANGED;

    fn is_bounded(&self) -> bool {
        self.changes.len() <= MAX_LISTED
            && self.changes.iter().all(|change| change.key.is_bounded())
            && self.failure.as_ref().is_none_or(Failure::is_bounded)
    }
}
