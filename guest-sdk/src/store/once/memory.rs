//! The same on the host, where a thread is alone with its store.
//!
//! Invariant: it answers as a slave does, but for what would wait for ever: that is told.

use crate::store::{Answer, Terms, Version, evictable, memory};
use bytes::Bytes;
use std::cell::RefCell;
use std::collections::BTreeSet;

thread_local! {
    /// The keys that are being built.
    static BUILT: RefCell<BTreeSet<String>> = RefCell::default();
}

pub(super) fn claim(key: &str) -> Result<Answer, String> {
    let found = memory::get(key)?;
    if !found.there {
        let is_new = BUILT.with_borrow_mut(|built| built.insert(key.to_owned()));
        assert!(is_new, "the task waits for itself: it builds the entry `{key}` that it asks for");
    }
    Ok(found)
}

pub(super) fn settle(key: &str, value: &[u8]) -> Result<Answer, String> {
    // A slave may evict it as well.
    settle_on(evictable(), key, value)
}

pub(super) fn settle_on(terms: Terms, key: &str, value: &[u8]) -> Result<Answer, String> {
    BUILT.with_borrow_mut(|built| built.remove(key));
    let settled = memory::put_on(terms, key, value, Some(0))?;
    match settled.there {
        true => Ok(settled),
        // It was put by the one who built, beside what it builds.
        false => memory::get(key).map(|other| Answer { there: false, ..other }),
    }
}

pub(super) fn forgo(key: &str, _: &str) -> Result<Answer, String> {
    BUILT.with_borrow_mut(|built| built.remove(key));
    Ok(Answer { there: true, bytes: Bytes::new(), version: 0 })
}

pub(super) fn wait(key: &str, version: Version) -> Result<Answer, String> {
    let found = memory::get(key)?;
    match found.version != version {
        true => Ok(found),
        false => Err(format!("nobody else changes `{key}` here, so it would wait for ever")),
    }
}

/// Nothing is kept beyond the thread, so nothing is waited for.
pub(crate) fn sync(_: bool) -> Result<Answer, String> {
    Ok(Answer { there: true, bytes: Bytes::new(), version: 0 })
}
