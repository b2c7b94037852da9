//! A store in memory for the host, where tasks are tested.
//!
//! Owns: one thread's entries. Does not: evict, or forget versions. Invariant: it answers
//! as a slave does, so that a task cannot tell.

use super::{Answer, Version};
use crate::wire;
use bytes::Bytes;
use dpfw_protocol::store::Key;
use std::cell::RefCell;
use std::collections::BTreeMap;

#[derive(Default)]
struct Memory {
    entries: BTreeMap<String, (Bytes, Version)>,
    /// The last version given out; shared by all keys, so that none is used again.
    version: Version,
}

thread_local! {
    static MEMORY: RefCell<Memory> = RefCell::default();
}

/// Does something to the entry of that key, whose version is the second argument.
fn with(key: &str, operate: impl FnOnce(&mut Memory, Version) -> Answer) -> Result<Answer, String> {
    let key = Key::new(key).map_err(|cause| cause.to_string())?;
    MEMORY.with_borrow_mut(|memory| {
        let version = memory.entries.get(key.as_str()).map_or(0, |(_, version)| *version);
        Ok(operate(memory, version))
    })
}

fn answer(there: bool, version: Version) -> Answer {
    Answer { there, bytes: Bytes::new(), version }
}

pub(super) fn get(key: &str) -> Result<Answer, String> {
    with(key, |memory, version| {
        let bytes = memory.entries.get(key).map(|(bytes, _)| bytes.clone());
        Answer { there: bytes.is_some(), bytes: bytes.unwrap_or_default(), version }
    })
}

pub(super) fn put(key: &str, value: &[u8]) -> Result<Answer, String> {
    with(key, |memory, _| memory.write(key, value))
}

pub(super) fn put_if_absent(key: &str, value: &[u8]) -> Result<Answer, String> {
    compare_and_swap(key, value, 0)
}

pub(super) fn compare_and_swap(
    key: &str,
    value: &[u8],
    expected: Version,
) -> Result<Answer, String> {
    with(key, |memory, version| match version == expected {
        true => memory.write(key, value),
        false => answer(false, version),
    })
}

pub(super) fn remove(key: &str) -> Result<Answer, String> {
    with(key, |memory, _| answer(memory.entries.remove(key).is_some(), 0))
}

pub(super) fn list(prefix: &str, after: &str, limit: u32) -> Result<Answer, String> {
    MEMORY.with_borrow(|memory| {
        let rows: Vec<_> = memory
            .entries
            .iter()
            .filter(|(key, _)| key.starts_with(prefix) && key.as_str() > after)
            .take(limit as usize)
            .map(|(key, (bytes, version))| {
                let ttl: Option<u64> = None;
                (key, "value", bytes.len(), version, 0, "host", false, false, ttl)
            })
            .collect();
        Ok(Answer { there: true, bytes: wire::encode(&rows)?.into(), version: 0 })
    })
}

impl Memory {
    fn write(&mut self, key: &str, value: &[u8]) -> Answer {
        self.version += 1;
        self.entries.insert(key.to_owned(), (Bytes::copy_from_slice(value), self.version));
        answer(true, self.version)
    }
}
