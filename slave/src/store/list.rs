//! Listings of the store, a page at a time.
//!
//! Invariant: a page looks at its own keys and at nothing else, and fits a frame.

use super::{Answer, Store, index};
use dpfw_protocol::hello::Namespace;
use dpfw_protocol::limits::{MAX_LISTED, MAX_MESSAGE};
use dpfw_protocol::store::{EntryInfo, FullKey, Key};

impl Store {
    pub(super) fn list(
        &self,
        namespace: &Namespace,
        prefix: &str,
        after: Option<&Key>,
        limit: u32,
    ) -> Answer {
        let mut page = Page::new((limit as usize).min(MAX_LISTED));
        let mut after = after.cloned();
        let now = self.clock.now();
        // An entry that is removed meanwhile leaves the page shorter, never empty before
        // the end: who asks goes on behind the last key.
        while !page.more {
            let keys = self.index.next(namespace, prefix, after.as_ref());
            let found = keys.iter().filter_map(|key| self.info(namespace, key, now));
            found.for_each(|info| page.take(info));
            match keys.into_iter().nth(index::STEP - 1) {
                Some(last) => after = Some(last),
                None => break,
            }
        }
        let Page { entries, more, .. } = page;
        Answer { hit: !entries.is_empty(), is_listing: true, entries, more, ..Answer::default() }
    }

    /// What is under a key, as a listing shows it.
    pub(super) fn look(&self, key: &FullKey) -> Answer {
        let info = self.info(&key.namespace, &key.key, self.clock.now());
        info.map_or_else(Answer::default, |info| Answer {
            hit: true,
            version: info.version,
            entries: vec![info],
            ..Answer::default()
        })
    }

    /// An entry as a listing shows it, if it is still there.
    fn info(&self, namespace: &Namespace, key: &Key, now: u64) -> Option<EntryInfo> {
        let full = FullKey { namespace: namespace.clone(), key: key.clone() };
        let entry = self.entries.get(&full).filter(|entry| !entry.is_gone(now))?;
        Some(entry.info(&full, now))
    }
}

/// What a listing gives at once: no more entries than were asked for, and than fit a frame.
struct Page {
    entries: Vec<EntryInfo>,
    left: usize,
    room: usize,
    /// There is another entry, for the next page.
    more: bool,
}

impl Page {
    fn new(limit: usize) -> Self {
        Self { entries: Vec::new(), left: limit, room: MAX_MESSAGE - 1024, more: false }
    }

    fn take(&mut self, entry: EntryInfo) {
        // The owner's name and the numbers: see `PeerId`, and 10 bytes a number.
        let size = entry.key.as_str().len() + entry.owner.0.as_str().len() + 96;
        // Three hashes and as many numbers.
        let image = entry.image.as_ref().map_or(0, |image| image.init.len() + 160);
        let size = size + image;
        if self.more || self.left == 0 || size > self.room {
            self.more = true;
            return;
        }
        self.left -= 1;
        self.room -= size;
        self.entries.push(entry);
    }
}
