//! What is under a key.
//!
//! Owns: an entry's content, its cost, when it is gone. Invariant: what it costs does not
//! change while it is there, so that what was charged for it is what is given back.

use super::clock::MILLISECOND;
use super::ledger::Account;
use super::shared::Shared;
use dpfw_protocol::Bytes;
use dpfw_protocol::error::Cause;
use dpfw_protocol::store::{EntryInfo, EntryKind, FullKey, ImageInfo, Terms, Version};
use std::any::Any;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Something resident, whose maker knows what it is.
pub(crate) type Held = Arc<dyn Any + Send + Sync>;

/// What an entry is.
pub(super) enum Content {
    Value(Bytes),
    /// The memory of a module, what is told of it, and what it costs under all of its keys.
    Image(Held, Box<ImageInfo>, Arc<Shared>),
    /// A live instance, and the bytes that it is charged.
    Resident(Held, u64),
}

impl Content {
    pub(super) fn kind(&self) -> EntryKind {
        match self {
            Self::Value(_) => EntryKind::Value,
            Self::Image(..) => EntryKind::Image,
            Self::Resident(..) => EntryKind::Resident,
        }
    }

    pub(super) fn bytes(&self) -> u64 {
        match self {
            Self::Value(value) => value.len() as u64,
            Self::Image(_, info, _) => info.memory,
            Self::Resident(_, bytes) => *bytes,
        }
    }

    /// What it is one of, if it is of several.
    pub(super) fn shared(&self) -> Option<&Arc<Shared>> {
        match self {
            Self::Image(_, _, shared) => Some(shared),
            Self::Value(_) | Self::Resident(..) => None,
        }
    }

    /// What it costs whether or not it is there under another key.
    fn own_bytes(&self) -> u64 {
        if self.shared().is_some() { 0 } else { self.bytes() }
    }

    fn image(&self) -> Option<Box<ImageInfo>> {
        match self {
            Self::Value(_) | Self::Resident(..) => None,
            Self::Image(_, info, _) => Some(info.clone()),
        }
    }
}

impl fmt::Debug for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {} bytes", self.kind(), self.bytes())
    }
}

/// What an entry is to be.
pub(super) struct New {
    pub(super) content: Content,
    pub(super) cost: u64,
    pub(super) life: Life,
    pub(super) now: u64,
}

/// How long an entry is there, if nobody removes it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Life {
    /// Whether it may be evicted, once it is not pinned.
    pub(super) evictable: bool,
    /// When its time is over.
    pub(super) gone_at: Option<u64>,
}

impl Life {
    /// Until it is removed.
    pub(super) const ENDLESS: Self = Self { evictable: false, gone_at: None };

    /// Of what is written now on these terms.
    pub(super) fn new(terms: Terms, now: u64) -> Self {
        let ends = |ttl_ms: u64| now.saturating_add(ttl_ms.saturating_mul(MILLISECOND));
        Self { evictable: terms.may_go(), gone_at: terms.ttl_ms.map(ends) }
    }
}

/// An entry.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) content: Content,
    pub(super) version: Version,
    pub(super) owner: Arc<Account>,
    /// What it was charged.
    pub(super) cost: u64,
    pub(super) evictable: bool,
    pub(super) pinned: bool,
    /// When its time is over.
    pub(super) gone_at: Option<u64>,
    /// When it was last read or written, or what it shares with others was. Readers set it, several
    /// at once.
    used: AtomicU64,
    /// Where it is in its owner's line; changed only while its shard is locked for writing.
    place: AtomicU64,
}

/// What every entry costs beside its key and value, so that many empty ones count.
const OVERHEAD: u64 = 128;

/// What an entry costs in bytes, without what it shares with others.
pub(super) fn cost(key: &FullKey, content: &Content, life: Life) -> u64 {
    // The key is in the index once more, and in the line and the times if it is in those.
    let copies = 2 + u64::from(life.evictable) + u64::from(life.gone_at.is_some());
    (OVERHEAD + copies * key.key.as_str().len() as u64).saturating_add(content.own_bytes())
}

impl Entry {
    pub(super) fn new(new: New, owner: Arc<Account>, version: Version) -> Self {
        let New { content, cost, life: Life { evictable, gone_at }, now } = new;
        let entry = Self {
            content,
            version,
            owner,
            cost,
            evictable,
            pinned: false,
            gone_at,
            used: AtomicU64::new(now),
            place: AtomicU64::new(now),
        };
        entry.touch(now);
        entry
    }

    /// Is written again, by another owner if there is one; gives what is to be cleared up. It
    /// stays pinned, unless its time was over.
    pub(super) fn renew(
        &mut self,
        new: New,
        owner: Option<Arc<Account>>,
        version: Version,
    ) -> (Content, Option<Arc<Account>>) {
        let New { content, cost, life, now } = new;
        self.pinned &= !self.is_gone(now);
        self.version = version;
        self.cost = cost;
        (self.evictable, self.gone_at) = (life.evictable, life.gone_at);
        let owner = owner.map(|owner| std::mem::replace(&mut self.owner, owner));
        let content = std::mem::replace(&mut self.content, content);
        self.touch(now);
        (content, owner)
    }

    pub(super) fn life(&self) -> Life {
        Life { evictable: self.evictable, gone_at: self.gone_at }
    }

    pub(super) fn is_gone(&self, now: u64) -> bool {
        self.gone_at.is_some_and(|at| at <= now)
    }

    /// Whether it is in its owner's line of what may be evicted.
    pub(super) fn is_lined(&self) -> bool {
        self.evictable && !self.pinned
    }

    pub(super) fn touch(&self, now: u64) {
        match self.content.shared() {
            Some(shared) => {
                shared.used.fetch_max(now, Ordering::Relaxed);
            }
            None => self.used.store(now, Ordering::Relaxed),
        }
    }

    pub(super) fn used(&self) -> u64 {
        let used = self.content.shared().map_or(&self.used, |shared| &shared.used);
        used.load(Ordering::Relaxed)
    }

    pub(super) fn place(&self) -> u64 {
        self.place.load(Ordering::Relaxed)
    }

    pub(super) fn set_place(&self, place: u64) {
        self.place.store(place, Ordering::Relaxed);
    }

    /// Its bytes, if it is a value.
    pub(super) fn as_value(&self, key: &FullKey) -> Result<&Bytes, Cause> {
        match &self.content {
            Content::Value(value) => Ok(value),
            Content::Image(..) | Content::Resident(..) => Err(self.wrong_kind(key)),
        }
    }

    /// What it holds, if it is an image whose time is not over.
    pub(super) fn as_image(&self, now: u64) -> Option<Held> {
        match &self.content {
            Content::Image(held, ..) if !self.is_gone(now) => Some(Arc::clone(held)),
            _ => None,
        }
    }

    pub(super) fn wrong_kind(&self, key: &FullKey) -> Cause {
        Cause::WrongKind { key: key.key.to_string(), kind: self.content.kind() }
    }

    pub(super) fn info(&self, key: &FullKey, now: u64) -> EntryInfo {
        EntryInfo {
            key: key.key.clone(),
            kind: self.content.kind(),
            bytes: self.content.bytes(),
            version: self.version,
            idle_s: now.saturating_sub(self.used()) / (1000 * MILLISECOND),
            owner: self.owner.principal.clone(),
            pinned: self.pinned,
            evictable: self.evictable,
            ttl_ms: self.gone_at.map(|at| at.saturating_sub(now).div_ceil(MILLISECOND)),
            image: self.content.image(),
        }
    }
}
