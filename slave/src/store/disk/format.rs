//! How entries stand in the database.
//!
//! Three tables: values and saved states, each under `namespace NUL key`, so that they are read
//! in the order in which the store lists them, and what the store remembers of itself. A record
//! is a head of fixed size, its owner's name, and the bytes of the value. Invariant: what cannot
//! be read is an error that names the key, never a panic and never another value.

use super::{Record, Time};
use dpfw_protocol::Bytes;
use dpfw_protocol::hello::Namespace;
use dpfw_protocol::ids::PeerId;
use dpfw_protocol::store::{FullKey, Key, Principal, Version};
use redb::TableDefinition;

/// Keys and records.
pub(super) type Records = TableDefinition<'static, &'static [u8], &'static [u8]>;

pub(super) const VALUES: Records = TableDefinition::new("values");
pub(super) const SAVED: Records = TableDefinition::new("saved");

/// Numbers by their names.
pub(super) const NUMBERS: TableDefinition<'static, &'static str, u64> =
    TableDefinition::new("numbers");

/// The number of this format.
pub(super) const FORMAT: &str = "format";
pub(super) const THIS_FORMAT: u64 = 1;

/// The first version that was not used yet.
pub(super) const VERSIONS: &str = "versions";

/// Between a namespace, which is printable, and a key.
const NUL: u8 = 0;

const EVICTABLE: u8 = 1;
const PINNED: u8 = 2;
const TIMED: u8 = 4;

/// Version, flags, time left, when that was, length of the owner's name.
const HEAD: usize = 8 + 1 + 8 + 8 + 1;

/// An entry as it was read.
#[derive(Debug)]
pub(in super::super) struct Stored {
    pub(in super::super) version: Version,
    pub(in super::super) owner: Principal,
    pub(in super::super) evictable: bool,
    pub(in super::super) pinned: bool,
    pub(in super::super) time: Option<Time>,
    pub(in super::super) content: Bytes,
}

pub(super) fn key_bytes(key: &FullKey) -> Vec<u8> {
    let (namespace, key) = (key.namespace.as_str(), key.key.as_str());
    let mut bytes = Vec::with_capacity(namespace.len() + 1 + key.len());
    bytes.extend_from_slice(namespace.as_bytes());
    bytes.push(NUL);
    bytes.extend_from_slice(key.as_bytes());
    bytes
}

/// The length of a record.
pub(super) fn len(record: &Record) -> usize {
    HEAD + record.owner.principal.0.as_str().len() + record.content.len()
}

/// Writes a record to a place of its length.
pub(super) fn write(record: &Record, to: &mut [u8]) {
    let owner = record.owner.principal.0.as_str().as_bytes();
    let (head, rest) = to.split_at_mut(HEAD);
    let time = record.time.unwrap_or(Time { left_ms: 0, at_ms: 0 });
    head[..8].copy_from_slice(&record.version.to_le_bytes());
    let flag = |is_set: bool, flag: u8| if is_set { flag } else { 0 };
    head[8] = flag(record.evictable, EVICTABLE)
        | flag(record.pinned, PINNED)
        | flag(record.time.is_some(), TIMED);
    head[9..17].copy_from_slice(&time.left_ms.to_le_bytes());
    head[17..25].copy_from_slice(&time.at_ms.to_le_bytes());
    // A name has 64 bytes at most.
    head[25] = owner.len() as u8;
    rest[..owner.len()].copy_from_slice(owner);
    rest[owner.len()..].copy_from_slice(&record.content);
}

/// Reads entries, one after the other. Names that are the same are one in memory.
#[derive(Debug, Default)]
pub(super) struct Reader {
    namespace: Option<Namespace>,
    owner: Option<Principal>,
}

impl Reader {
    /// An entry, of its key and its record.
    pub(super) fn entry(&mut self, key: &[u8], record: &[u8]) -> Option<(FullKey, Stored)> {
        Some((self.key(key)?, self.record(record)?))
    }

    fn key(&mut self, bytes: &[u8]) -> Option<FullKey> {
        let at = bytes.iter().position(|byte| *byte == NUL)?;
        let namespace = std::str::from_utf8(&bytes[..at]).ok()?;
        let namespace = match &self.namespace {
            Some(last) if last.as_str() == namespace => last,
            _ => self.namespace.insert(Namespace::new(namespace).ok()?),
        };
        let key = Key::new(std::str::from_utf8(&bytes[at + 1..]).ok()?).ok()?;
        Some(FullKey { namespace: namespace.clone(), key })
    }

    fn record(&mut self, bytes: &[u8]) -> Option<Stored> {
        let (head, rest) = bytes.split_at_checked(HEAD)?;
        let number = |at: usize| Some(u64::from_le_bytes(*head.get(at..)?.first_chunk()?));
        let (owner, content) = rest.split_at_checked(head[25].into())?;
        let owner = std::str::from_utf8(owner).ok()?;
        let owner = match &self.owner {
            Some(last) if last.0.as_str() == owner => last,
            _ => self.owner.insert(Principal(PeerId::new(owner).ok()?)),
        };
        let flags = head[8];
        let time = Time { left_ms: number(9)?, at_ms: number(17)? };
        Some(Stored {
            version: number(0)?,
            owner: owner.clone(),
            evictable: flags & EVICTABLE != 0,
            pinned: flags & PINNED != 0,
            time: (flags & TIMED != 0).then_some(time),
            content: Bytes::copy_from_slice(content),
        })
    }
}
