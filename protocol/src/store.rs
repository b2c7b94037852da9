//! Keys, operations and listings of the keyed store.

use crate::error::{Cause, Limit};
use crate::hello::Namespace;
use crate::ids::{ImageId, ModuleHash, PeerId};
use crate::limits::{MAX_KEY, MAX_NAME};
use crate::message::Origin;
use serde::{Deserialize, Serialize};
use std::borrow::Borrow;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// An entry's name: any UTF-8 of 1 to [`MAX_KEY`] bytes; no character is special. Cloning it
/// copies no text.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Key(#[serde(with = "crate::shared")] Arc<str>);

impl Key {
    /// Takes a text as a key.
    ///
    /// # Errors
    /// [`Cause::Limit`] if it is empty or too long.
    pub fn new(text: impl Into<Arc<str>>) -> Result<Self, Cause> {
        let key = Self(text.into());
        match key.is_bounded() {
            true => Ok(key),
            false => Err(Cause::Limit { limit: Limit::Key, allowed: MAX_KEY as u64 }),
        }
    }

    /// The key as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    pub(crate) fn is_bounded(&self) -> bool {
        (1..=MAX_KEY).contains(&self.0.len())
    }
}

impl Borrow<str> for Key {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A key with the namespace that it lives in.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FullKey {
    /// The part of the store.
    pub namespace: Namespace,
    /// The name within it.
    pub key: Key,
}

/// Who put an entry: the peer's name, which its certificate says if it has one; never its session.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Principal(pub PeerId);

/// How often an entry has changed; 0 stands for an entry that is not there. A version is
/// never used again for a key, so that a compare-and-swap cannot mistake a new entry for
/// an old one.
pub type Version = u64;

/// What to do to the store. Values travel as the request's payload.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum StoreOp {
    /// Reads a value.
    Get {
        /// Which entry.
        key: Key,
    },
    /// Writes a value, whatever was there.
    Put {
        /// Which entry.
        key: Key,
    },
    /// Writes a value unless there is one.
    PutIfAbsent {
        /// Which entry.
        key: Key,
    },
    /// Writes a value if the entry's version is the expected one.
    CompareAndSwap {
        /// Which entry.
        key: Key,
        /// The version it must have; 0 for none.
        expected: Version,
    },
    /// Writes a value if the entry's version is the expected one, on the terms that the entry
    /// has; if there is to be none, on those of the request.
    Update {
        /// Which entry.
        key: Key,
        /// The version it must have; 0 for none.
        expected: Version,
    },
    /// Removes an entry.
    Remove {
        /// Which entry.
        key: Key,
    },
    /// Reads a part of a value.
    GetRange {
        /// Which entry.
        key: Key,
        /// Where the part begins; behind the value's end there is nothing.
        offset: u64,
        /// How many bytes it has; fewer if the value ends before.
        len: u64,
    },
    /// Keeps an entry from being evicted, or lets it be evicted again.
    Pin {
        /// Which entry.
        key: Key,
        /// Whether it is to be kept.
        pinned: bool,
    },
    /// Says what an entry is, whatever its kind, as a listing does. That is no use of it. If it
    /// is an image that tasks of this session may start from, the session is told so as well.
    Look {
        /// Which entry.
        key: Key,
    },
    /// Lists entries in the order of their keys.
    List {
        /// Only keys that begin like this.
        prefix: String,
        /// Only keys behind this one.
        after: Option<Key>,
        /// At most so many.
        limit: u32,
    },
}

impl StoreOp {
    /// Whether keys and prefix are within their limits.
    pub(crate) fn is_bounded(&self) -> bool {
        match self {
            Self::Get { key }
            | Self::Put { key }
            | Self::PutIfAbsent { key }
            | Self::CompareAndSwap { key, .. }
            | Self::Update { key, .. }
            | Self::Remove { key }
            | Self::GetRange { key, .. }
            | Self::Pin { key, .. }
            | Self::Look { key } => key.is_bounded(),
            Self::List { prefix, after, .. } => {
                prefix.len() <= MAX_KEY && after.as_ref().is_none_or(Key::is_bounded)
            }
        }
    }
}

/// On what terms a value is kept, and a change of an entry is answered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Terms {
    /// Whether it may be evicted to make room: somebody can make it again.
    pub evictable: bool,
    /// Milliseconds after which it is gone. Until then it may be evicted.
    pub ttl_ms: Option<u64>,
    /// Whether the change is answered only when it is on disk. Not there if it is answered at
    /// once.
    #[serde(default, skip_serializing_if = "is_false")]
    pub durable: bool,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes references")]
fn is_false(flag: &bool) -> bool {
    !flag
}

impl Terms {
    /// Whether the value stays until it is removed, and is answered at once.
    pub fn is_plain(&self) -> bool {
        *self == Self::default()
    }

    /// The value is gone after this long, in whole milliseconds.
    pub fn set_ttl(&mut self, ttl: Duration) {
        self.ttl_ms = Some(u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX));
    }

    /// Whether the value may be evicted.
    pub fn may_go(&self) -> bool {
        self.evictable || self.ttl_ms.is_some()
    }
}

/// Whether a store's values outlive its slave's process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
#[non_exhaustive]
pub enum Disk {
    /// They are in memory only.
    #[default]
    Memory,
    /// They are on disk as well.
    Durable,
    /// The disk is full: nothing is written until there is room.
    Full,
    /// The disk failed: nothing is written until the slave starts again.
    Failed,
    /// A word that this version does not know.
    Unknown,
}

impl Disk {
    const ALL: [Self; 4] = [Self::Memory, Self::Durable, Self::Full, Self::Failed];

    /// The word on the wire and in messages.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Durable => "durable",
            Self::Full => "full",
            Self::Failed => "failed",
            Self::Unknown => "unknown",
        }
    }

    /// Whether nothing is kept on disk, and nothing was to be.
    pub fn is_memory(&self) -> bool {
        *self == Self::Memory
    }
}

impl From<String> for Disk {
    fn from(word: String) -> Self {
        Self::ALL.into_iter().find(|disk| disk.as_str() == word).unwrap_or(Self::Unknown)
    }
}

impl From<Disk> for String {
    fn from(disk: Disk) -> Self {
        disk.as_str().into()
    }
}

impl fmt::Display for Disk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// What an entry is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EntryKind {
    /// Bytes.
    Value,
    /// The memory of a module after its init.
    Image,
    /// A live instance.
    Resident,
}

impl EntryKind {
    /// The word on the wire and in messages.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Value => "value",
            Self::Image => "image",
            Self::Resident => "resident",
        }
    }

    /// The kind of that word.
    pub fn of(word: &str) -> Option<Self> {
        [Self::Value, Self::Image, Self::Resident].into_iter().find(|kind| kind.as_str() == word)
    }
}

impl fmt::Display for EntryKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// An entry as a listing shows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EntryInfo {
    /// Its name.
    pub key: Key,
    /// What it is.
    pub kind: EntryKind,
    /// Its size in bytes.
    pub bytes: u64,
    /// Its version.
    pub version: Version,
    /// Seconds since it was last read or written.
    pub idle_s: u64,
    /// Who put it there.
    pub owner: Principal,
    /// Whether it is kept from being evicted.
    pub pinned: bool,
    /// Whether it may be evicted, once it is not pinned.
    pub evictable: bool,
    /// Milliseconds until it is gone, if it will be.
    pub ttl_ms: Option<u64>,
    /// What it is an image of, if it is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<Box<ImageInfo>>,
}

impl EntryInfo {
    pub(crate) fn is_bounded(&self) -> bool {
        let is_named = |image: &ImageInfo| image.init.len() <= MAX_NAME;
        self.key.is_bounded() && self.image.as_deref().is_none_or(is_named)
    }
}

/// An image as a listing shows it, beside what it shows of every entry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageInfo {
    /// What it is called.
    pub id: ImageId,
    /// The module that it is of.
    pub module: ModuleHash,
    /// The name of its init.
    pub init: String,
    /// Of the snapshot, which is a module.
    pub hash: ModuleHash,
    /// Bytes of the snapshot.
    pub snapshot: u64,
    /// Bytes of memory that its tasks begin with.
    pub memory: u64,
    /// How the slave came by it. One that was sent serves the tasks of its owner alone.
    pub origin: Origin,
    /// What the init itself took where it was run, in microseconds.
    pub init_us: u64,
}
