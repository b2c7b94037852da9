//! The keys of the store in their order.
//!
//! Owns: the names, by namespace. Does not: know whether an entry is still there when its
//! key is given away. Invariant: the lock is held for one step, whatever the store's size.

use dpfw_protocol::hello::Namespace;
use dpfw_protocol::store::{FullKey, Key};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Keys that are given away at once.
pub(super) const STEP: usize = 64;

/// See the module's page.
#[derive(Debug, Default)]
pub(super) struct Index(Mutex<Names>);

/// They are looked for as texts: a prefix is where it would stand.
type Names = BTreeMap<Namespace, BTreeSet<Key>>;

impl Index {
    fn lock(&self) -> MutexGuard<'_, Names> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// An entry is there now.
    pub(super) fn insert(&self, key: &FullKey) {
        let mut names = self.lock();
        let name = key.key.clone();
        match names.get_mut(&key.namespace) {
            Some(names) => names.insert(name),
            None => names.entry(key.namespace.clone()).or_default().insert(name),
        };
    }

    /// All these entries are there, in the order of their keys.
    pub(super) fn fill(&self, keys: &[FullKey]) {
        let mut all = self.lock();
        for its in keys.chunk_by(|one, next| one.namespace == next.namespace) {
            let Some(first) = its.first() else { continue };
            // What is in order is built at once.
            let mut names = its.iter().map(|key| key.key.clone()).collect();
            all.entry(first.namespace.clone()).or_default().append(&mut names);
        }
    }

    /// An entry is gone.
    pub(super) fn remove(&self, key: &FullKey) {
        let mut all = self.lock();
        let Some(names) = all.get_mut(&key.namespace) else {
            return;
        };
        names.remove(key.key.as_str());
        if names.is_empty() {
            all.remove(&key.namespace);
        }
    }

    /// The next [`STEP`] keys with this prefix, behind `after`; fewer if there are no more.
    pub(super) fn next(
        &self,
        namespace: &Namespace,
        prefix: &str,
        after: Option<&Key>,
    ) -> Vec<Key> {
        self.next_with(namespace, prefix, after, |_| {})
    }

    /// The same; the keys are seen before another one is added or taken away.
    pub(super) fn next_with(
        &self,
        namespace: &Namespace,
        prefix: &str,
        after: Option<&Key>,
        see: impl FnOnce(&[Key]),
    ) -> Vec<Key> {
        let all = self.lock();
        let keys = all.get(namespace).map(|names| step(names, prefix, after)).unwrap_or_default();
        see(&keys);
        keys
    }
}

fn step(names: &BTreeSet<Key>, prefix: &str, after: Option<&Key>) -> Vec<Key> {
    let from = match after.map(Key::as_str) {
        Some(after) if after >= prefix => Bound::Excluded(after),
        _ => Bound::Included(prefix),
    };
    let within = names.range::<str, _>((from, Bound::Unbounded));
    within.take_while(|name| name.as_str().starts_with(prefix)).take(STEP).cloned().collect()
}
