//! What waits to be written: of each key the latest, and who waits for it.
//!
//! Invariant: its bytes are those of the values in it, which are shared with the entries.

use super::{Change, Done, Part};
use dpfw_protocol::store::FullKey;
use std::collections::HashMap;
use std::time::Instant;

/// Bytes of values that wait, at which they are written without waiting for more, and from which
/// on a change is answered when it is on disk: so whoever waits for answers is slowed down.
const MANY_BYTES: u64 = 64 << 20;

/// Changes that wait, at which it is the same.
const MANY_CHANGES: usize = 64 << 10;

/// Bytes of values that may wait. Who writes more is told that the slave is busy.
const MOST_BYTES: u64 = 4 * MANY_BYTES;

/// Changes that may wait. Those that remove something are not refused: there are no more of them
/// than there were entries.
const MOST_CHANGES: usize = 4 * MANY_CHANGES;

/// What waits to be written.
#[derive(Default)]
pub(super) struct Pending {
    pub(super) changes: HashMap<(Part, FullKey), Change>,
    /// Of their values.
    pub(super) bytes: u64,
    pub(super) waiting: Vec<Done>,
    /// So many who wait are enough not to wait for more.
    pub(super) enough: usize,
    /// When the first of the changes came.
    pub(super) since: Option<Instant>,
    pub(super) closing: bool,
}

impl Pending {
    /// Takes a change, in place of an older one of its key.
    pub(super) fn note(&mut self, key: (Part, FullKey), change: Change) {
        let size = |change: &Change| change.as_ref().map_or(0, |it| it.content.len() as u64);
        self.bytes += size(&change);
        if let Some(older) = self.changes.insert(key, change) {
            self.bytes -= size(&older);
        }
    }

    /// Whether so much waits that it is written at once, and changes are answered late.
    pub(super) fn is_many(&self) -> bool {
        self.bytes >= MANY_BYTES || self.changes.len() >= MANY_CHANGES
    }

    /// Whether no value is taken any more.
    pub(super) fn is_full(&self) -> bool {
        self.bytes >= MOST_BYTES || self.changes.len() >= MOST_CHANGES
    }
}
