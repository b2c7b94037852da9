//! What a listing shows.

use dpfw_protocol::ids::{ImageId, ModuleHash, PeerId};
use dpfw_protocol::message::Origin;
use dpfw_protocol::store::{EntryInfo, EntryKind, ImageInfo, Version};
use std::time::Duration;

/// An entry as a listing shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Listed {
    /// Its key.
    pub key: String,
    /// What it is.
    pub kind: EntryKind,
    /// Its size in bytes.
    pub bytes: u64,
    /// Its version.
    pub version: Version,
    /// Seconds since it was last read or written.
    pub idle_s: u64,
    /// Who put it there.
    pub owner: PeerId,
    /// Whether it is kept from being evicted.
    pub pinned: bool,
    /// Whether it may be evicted, once it is not pinned.
    pub evictable: bool,
    /// How long it lives on, if its time is limited.
    pub ttl: Option<Duration>,
    /// What it is an image of, if it is one.
    pub image: Option<ListedImage>,
}

/// An image as a listing shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ListedImage {
    /// What it is called: whoever has the same module, init and arguments makes the same.
    pub id: ImageId,
    /// The module that it is of.
    pub module: ModuleHash,
    /// The name of its init.
    pub init: String,
    /// BLAKE3 of the snapshot.
    pub hash: ModuleHash,
    /// Bytes that are sent, if it is.
    pub snapshot_bytes: u64,
    /// Bytes of memory that tasks begin with.
    pub memory_bytes: u64,
    /// How it came to the slave. One that was sent serves the tasks of its owner alone.
    pub origin: Origin,
    /// What its init took, where it ran.
    pub init_time: Duration,
}

impl From<EntryInfo> for Listed {
    fn from(entry: EntryInfo) -> Self {
        Self {
            key: entry.key.as_str().into(),
            kind: entry.kind,
            bytes: entry.bytes,
            version: entry.version,
            idle_s: entry.idle_s,
            owner: entry.owner.0,
            pinned: entry.pinned,
            evictable: entry.evictable,
            ttl: entry.ttl_ms.map(Duration::from_millis),
            image: entry.image.map(|image| (*image).into()),
        }
    }
}

impl From<ImageInfo> for ListedImage {
    fn from(image: ImageInfo) -> Self {
        let ImageInfo { id, module, init, hash, snapshot, memory, origin, init_us } = image;
        let init_time = Duration::from_micros(init_us);
        let (snapshot_bytes, memory_bytes) = (snapshot, memory);
        Self { id, module, init, hash, snapshot_bytes, memory_bytes, origin, init_time }
    }
}
