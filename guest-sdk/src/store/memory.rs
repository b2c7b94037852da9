//! A store in memory for the host, where tasks are tested.
//!
//! Owns: one thread's entries. Does not: evict, or forget versions. Invariant: it answers
//! as a slave does, so that a task cannot tell.

use super::{Answer, Terms, Version};
use crate::wire;
use bytes::Bytes;
use dpfw_protocol::store::Key;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::time::Instant;

pub(super) mod watchers;

#[derive(Default)]
struct Memory {
    entries: BTreeMap<String, Entry>,
    /// The last version given out; shared by all keys, so that none is used again.
    version: Version,
    /// Values that are being written in pieces, by their numbers.
    drafts: BTreeMap<u32, (String, Terms, Vec<u8>)>,
    last_draft: u32,
    watchers: watchers::Watchers,
}

struct Entry {
    bytes: Bytes,
    version: Version,
    evictable: bool,
    pinned: bool,
    /// When its time is over.
    gone_at: Option<Instant>,
}

thread_local! {
    static MEMORY: RefCell<Memory> = RefCell::default();
}

/// Values that a task may be writing in pieces at once.
const MOST_DRAFTS: usize = 16;

/// Does something to the entry of that key, whose version is the second argument.
fn with(key: &str, operate: impl FnOnce(&mut Memory, Version) -> Answer) -> Result<Answer, String> {
    let key = Key::new(key).map_err(|cause| cause.to_string())?;
    MEMORY.with_borrow_mut(|memory| {
        memory.expire();
        let version = memory.entries.get(key.as_str()).map_or(0, |entry| entry.version);
        Ok(operate(memory, version))
    })
}

fn answer(there: bool, version: Version) -> Answer {
    Answer { there, bytes: Bytes::new(), version }
}

pub(super) fn get(key: &str) -> Result<Answer, String> {
    get_range(key, 0, u64::MAX)
}

pub(super) fn get_range(key: &str, offset: u64, len: u64) -> Result<Answer, String> {
    with(key, |memory, version| {
        let part = |bytes: &Bytes| {
            let from = usize::try_from(offset).unwrap_or(usize::MAX).min(bytes.len());
            let len = usize::try_from(len).unwrap_or(usize::MAX);
            bytes.slice(from..from.saturating_add(len).min(bytes.len()))
        };
        let bytes = memory.entries.get(key).map(|entry| part(&entry.bytes));
        Answer { there: bytes.is_some(), bytes: bytes.unwrap_or_default(), version }
    })
}

pub(super) fn put(key: &str, value: &[u8]) -> Result<Answer, String> {
    put_on(Terms::default(), key, value, None)
}

pub(super) fn put_if_absent(key: &str, value: &[u8]) -> Result<Answer, String> {
    compare_and_swap(key, value, 0)
}

pub(super) fn compare_and_swap(
    key: &str,
    value: &[u8],
    expected: Version,
) -> Result<Answer, String> {
    put_on(Terms::default(), key, value, Some(expected))
}

pub(super) fn put_on(
    terms: Terms,
    key: &str,
    value: &[u8],
    expected: Option<Version>,
) -> Result<Answer, String> {
    with(key, |memory, version| match expected.is_none_or(|expected| expected == version) {
        true => memory.write(key, value, terms),
        false => answer(false, version),
    })
}

pub(super) fn update(key: &str, value: &[u8], expected: Version) -> Result<Answer, String> {
    with(key, |memory, version| {
        if expected != version {
            return answer(false, version);
        }
        let kept = memory.entries.get(key).map(|entry| (entry.evictable, entry.gone_at));
        let written = memory.write(key, value, Terms::default());
        if let Some((kept, entry)) = kept.zip(memory.entries.get_mut(key)) {
            (entry.evictable, entry.gone_at) = kept;
        }
        written
    })
}

pub(super) fn remove(key: &str) -> Result<Answer, String> {
    with(key, |memory, _| {
        let there = memory.entries.remove(key).is_some();
        if there {
            memory.ended(key, "removed");
        }
        answer(there, 0)
    })
}

pub(super) fn pin(key: &str, pinned: bool) -> Result<Answer, String> {
    with(key, |memory, version| {
        let entry = memory.entries.get_mut(key);
        let there = entry.is_some();
        if let Some(entry) = entry {
            entry.pinned = pinned;
        }
        answer(there, version)
    })
}

pub(super) fn list(prefix: &str, after: &str, limit: u32) -> Result<Answer, String> {
    MEMORY.with_borrow_mut(|memory| {
        memory.expire();
        let now = Instant::now();
        let left = |entry: &Entry| entry.gone_at.map(|at| (at - now).as_millis() as u64);
        let rows: Vec<_> = memory
            .entries
            .iter()
            .filter(|(key, _)| key.starts_with(prefix) && key.as_str() > after)
            .take(limit as usize)
            .map(|(key, e)| {
                let (len, left) = (e.bytes.len(), left(e));
                (key, "value", len, e.version, 0, "host", e.pinned, e.evictable, left)
            })
            .collect();
        Ok(Answer { there: true, bytes: wire::encode(&rows)?.into(), version: 0 })
    })
}

pub(super) fn write_begin(terms: Terms, key: &str) -> Result<Answer, String> {
    with(key, |memory, _| {
        memory.last_draft += 1;
        let number = memory.last_draft;
        memory.drafts.insert(number, (key.to_owned(), terms, Vec::new()));
        answer(memory.drafts.len() <= MOST_DRAFTS, number.into())
    })
    .and_then(|begun| match begun.there {
        true => Ok(begun),
        false => {
            write_drop(begun.version as u32)?;
            let advice = "finish one, or drop it";
            Err(format!("busy: {MOST_DRAFTS} values are being written: {advice}"))
        }
    })
}

fn draft<T>(number: u32, of: impl FnOnce(&mut Memory) -> Option<T>) -> Result<T, String> {
    let missing = || format!("no value is being written under the number {number}");
    MEMORY.with_borrow_mut(of).ok_or_else(missing)
}

pub(super) fn write_append(number: u32, piece: &[u8]) -> Result<Answer, String> {
    draft(number, |memory| {
        memory.drafts.get_mut(&number)?.2.extend_from_slice(piece);
        Some(answer(true, 0))
    })
}

pub(super) fn write_end(number: u32) -> Result<Answer, String> {
    let (key, terms, bytes) = draft(number, |memory| memory.drafts.remove(&number))?;
    put_on(terms, &key, &bytes, None)
}

pub(super) fn write_drop(number: u32) -> Result<Answer, String> {
    draft(number, |memory| memory.drafts.remove(&number).map(|_| answer(true, 0)))
}

impl Memory {
    fn write(&mut self, key: &str, value: &[u8], terms: Terms) -> Answer {
        self.version += 1;
        let entry = Entry {
            bytes: Bytes::copy_from_slice(value),
            version: self.version,
            evictable: terms.evictable || terms.ttl.is_some(),
            pinned: self.entries.get(key).is_some_and(|entry| entry.pinned),
            // What is too far away is never.
            gone_at: terms.ttl.and_then(|ttl| Instant::now().checked_add(ttl)),
        };
        self.entries.insert(key.to_owned(), entry);
        self.watchers.publish(key, self.version, "put");
        answer(true, self.version)
    }

    fn expire(&mut self) {
        let now = Instant::now();
        let is_gone = |_: &String, entry: &mut Entry| entry.gone_at.is_some_and(|at| at <= now);
        let gone: Vec<_> = self.entries.extract_if(.., is_gone).map(|(key, _)| key).collect();
        gone.iter().for_each(|key| self.ended(key, "expired"));
    }

    /// The end of an entry has a version of its own.
    fn ended(&mut self, key: &str, what: &'static str) {
        self.version += 1;
        self.watchers.publish(key, self.version, what);
    }
}
