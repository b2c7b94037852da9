//! Who watches the store of a thread, and what it was not told yet.
//!
//! Invariant: it answers as a slave does, but for a wait that nobody would end: that is told.

use super::{Answer, MEMORY, Version, answer};
use crate::wire;
use bytes::Bytes;
use dpfw_protocol::store::Key;
use std::collections::{BTreeMap, VecDeque};

/// Changes that wait for one watch, as at a slave.
const MOST_UNTAKEN: usize = 4096;

/// Watches that a task may have at once.
const MOST: usize = 16;

#[derive(Default)]
pub(super) struct Watchers {
    all: BTreeMap<u32, Watcher>,
    last: u32,
}

#[derive(Default)]
struct Watcher {
    prefix: String,
    changes: VecDeque<Row>,
    /// Lost behind these.
    missed: u64,
}

/// A change as a slave tells it.
type Row = (String, &'static str, Version, &'static str);

impl Watchers {
    /// An entry changed.
    pub(super) fn publish(&mut self, key: &str, version: Version, what: &'static str) {
        let meant = |watcher: &&mut Watcher| key.starts_with(&watcher.prefix);
        self.all.values_mut().filter(meant).for_each(|watcher| watcher.tell(key, version, what));
    }
}

impl Watcher {
    fn tell(&mut self, key: &str, version: Version, what: &'static str) {
        match self.missed == 0 && self.changes.len() < MOST_UNTAKEN {
            true => self.changes.push_back((key.to_owned(), "value", version, what)),
            false => self.missed += 1,
        }
    }
}

pub(in crate::store) fn begin(prefix: &str, present: bool) -> Result<Answer, String> {
    if !prefix.is_empty() {
        // No longer than a key may be.
        Key::new(prefix).map_err(|cause| cause.to_string())?;
    }
    MEMORY.with_borrow_mut(|memory| {
        memory.expire();
        if memory.watchers.all.len() >= MOST {
            return Err(format!("busy: {MOST} prefixes are watched: drop one of the watches"));
        }
        let mut watcher = Watcher { prefix: prefix.to_owned(), ..Watcher::default() };
        if present {
            let its = memory.entries.iter().filter(|(key, _)| key.starts_with(prefix));
            its.for_each(|(key, entry)| watcher.tell(key, entry.version, "present"));
        }
        memory.watchers.last += 1;
        let number = memory.watchers.last;
        memory.watchers.all.insert(number, watcher);
        Ok(answer(true, number.into()))
    })
}

pub(in crate::store) fn next(number: u32, waits: bool) -> Result<Answer, String> {
    MEMORY.with_borrow_mut(|memory| {
        memory.expire();
        let watcher = memory.watchers.all.get_mut(&number);
        let watcher = watcher.ok_or_else(|| format!("there is no watch {number}"))?;
        let rows = std::mem::take(&mut watcher.changes);
        // What was lost is told behind what was not.
        let missed = if rows.is_empty() { std::mem::take(&mut watcher.missed) } else { 0 };
        match rows.is_empty() && missed == 0 {
            true if waits => Err(format!(
                "nobody else changes what begins with `{}` here, so it would wait for ever",
                watcher.prefix
            )),
            true => Ok(answer(false, 0)),
            false => {
                Ok(Answer { there: true, bytes: wire::encode(&rows)?.into(), version: missed })
            }
        }
    })
}

pub(in crate::store) fn end(number: u32) -> Result<Answer, String> {
    MEMORY.with_borrow_mut(|memory| memory.watchers.all.remove(&number));
    Ok(Answer { there: true, bytes: Bytes::new(), version: 0 })
}
