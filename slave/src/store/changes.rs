//! Who is told of changes: watchers, who hear of every change below a prefix, and waiters, who
//! are called once when one key changes.
//!
//! Owns: watchers and what they have not taken, waiters. Does not: send anything. Invariants:
//! whoever writes never waits for who watches: what a watcher does not take is counted and
//! dropped; changes of one key are told in the order of its versions, because they are
//! published while its shard is locked; waiters are called while nothing is locked. While
//! nobody watches or waits, a write pays for two loads. Locks: a shard before the index before a
//! watcher.

use super::index::{Index, STEP};
use dpfw_protocol::changes::{Change, What};
use dpfw_protocol::hello::Namespace;
use dpfw_protocol::store::{EntryKind, FullKey, Key, Version};
use std::collections::{BTreeSet, HashMap, VecDeque};
use std::fmt;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

/// Changes that wait for one watcher. What is beyond them is lost to it.
pub(super) const MOST_UNTAKEN: usize = 4096;

/// See the module's page.
#[derive(Default)]
pub(crate) struct Changes {
    watched: AtomicUsize,
    watchers: RwLock<Vec<Arc<Watcher>>>,
    waited: AtomicUsize,
    waiters: Mutex<HashMap<FullKey, Vec<(u64, Call)>>>,
    next: AtomicU64,
}

type Call = Box<dyn FnOnce() + Send>;

impl fmt::Debug for Changes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (watched, waited) = (&self.watched, &self.waited);
        f.debug_struct("Changes").field("watched", watched).field("waited", waited).finish()
    }
}

impl Changes {
    /// An entry changed. Its shard is locked for writing.
    pub(super) fn publish(&self, key: &FullKey, kind: EntryKind, version: Version, what: What) {
        if self.watched.load(Ordering::SeqCst) == 0 {
            return;
        }
        let watchers = self.watchers.read().unwrap_or_else(PoisonError::into_inner);
        for watcher in watchers.iter().filter(|watcher| watcher.means(key)) {
            watcher.tell(&key.key, kind, version, what);
        }
    }

    /// Whether anybody waits for a key, asked while the shard of the one that changes is locked.
    pub(super) fn has_waiters(&self) -> bool {
        self.waited.load(Ordering::SeqCst) > 0
    }

    /// Calls who waits for a key that has changed. Nothing is locked.
    pub(super) fn wake(&self, key: &FullKey) {
        if !self.has_waiters() {
            return;
        }
        let mut waiters = self.waiters();
        let called = waiters.remove(key).unwrap_or_default();
        self.waited.fetch_sub(called.len(), Ordering::SeqCst);
        drop(waiters);
        called.into_iter().for_each(|(_, call)| call());
    }

    fn waiters(&self) -> MutexGuard<'_, HashMap<FullKey, Vec<(u64, Call)>>> {
        self.waiters.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Calls `call` once, on whichever thread changes the key next, unless what is returned is
    /// dropped before; one that is under way is not waited for. Who looks at the key after this
    /// misses nothing. What waits is bounded by the attempts that do.
    pub(crate) fn on_change(self: &Arc<Self>, key: FullKey, call: Call) -> Waiting {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let mut waiters = self.waiters();
        waiters.entry(key.clone()).or_default().push((id, call));
        self.waited.fetch_add(1, Ordering::SeqCst);
        drop(waiters);
        Waiting { changes: Arc::clone(self), key, id }
    }

    /// Begins to watch; what changes from now on is told.
    pub(super) fn watch(self: &Arc<Self>, watcher: Watcher) -> Watching {
        let watcher = Arc::new(watcher);
        let mut watchers = self.watchers.write().unwrap_or_else(PoisonError::into_inner);
        watchers.push(Arc::clone(&watcher));
        self.watched.store(watchers.len(), Ordering::SeqCst);
        Watching { changes: Arc::clone(self), watcher }
    }
}

/// Somebody waits for a key to change, until this is dropped.
#[derive(Debug)]
#[must_use = "nobody is called once it is dropped"]
pub(crate) struct Waiting {
    changes: Arc<Changes>,
    key: FullKey,
    id: u64,
}

impl Drop for Waiting {
    fn drop(&mut self) {
        let mut waiters = self.changes.waiters();
        let Some(calls) = waiters.get_mut(&self.key) else {
            return;
        };
        let before = calls.len();
        // Dropped behind the lock: it may hold anything.
        let taken: Vec<_> = calls.extract_if(.., |(id, _)| *id == self.id).collect();
        self.changes.waited.fetch_sub(before - calls.len(), Ordering::SeqCst);
        if calls.is_empty() {
            waiters.remove(&self.key);
        }
        drop(waiters);
        drop(taken);
    }
}

/// A watch, until it is dropped.
#[must_use = "nothing is told once it is dropped"]
pub(crate) struct Watching {
    changes: Arc<Changes>,
    pub(super) watcher: Arc<Watcher>,
}

impl Drop for Watching {
    fn drop(&mut self) {
        let changes = &self.changes;
        let mut watchers = changes.watchers.write().unwrap_or_else(PoisonError::into_inner);
        watchers.retain(|watcher| !Arc::ptr_eq(watcher, &self.watcher));
        changes.watched.store(watchers.len(), Ordering::SeqCst);
    }
}

/// Who watches, and what it has not taken.
pub(super) struct Watcher {
    pub(super) namespace: Namespace,
    pub(super) prefix: String,
    queue: Mutex<Queue>,
    /// Called when there is something to take, while a shard is locked: it does no more than
    /// wake somebody. A guest that waits is put into the queue of the slots by that, for which
    /// its attempt's lock is taken and the queue's: under neither is the store asked for anything.
    wake: Box<dyn Fn() + Send + Sync>,
}

#[derive(Default)]
struct Queue {
    changes: VecDeque<Change>,
    /// Changes that were lost behind these.
    missed: u64,
    gathering: Option<Gathering>,
}

/// What is there is being told, in the order of the keys.
#[derive(Default)]
struct Gathering {
    upto: Upto,
    /// The keys of this step that were not told yet, and did not change since it began.
    step: BTreeSet<Key>,
}

/// Up to which key a watcher hears of changes: what is behind it is told when it is gathered.
#[derive(Clone, Default)]
enum Upto {
    #[default]
    Nothing,
    Key(Key),
    All,
}

impl Queue {
    /// Whether it was empty.
    fn push(&mut self, change: Change) -> bool {
        let was_empty = self.changes.is_empty() && self.missed == 0;
        // Once something is lost, so is what comes behind it, until that was said.
        match self.missed == 0 && self.changes.len() < MOST_UNTAKEN {
            true => self.changes.push_back(change),
            false => self.missed += 1,
        }
        was_empty
    }
}

impl Watcher {
    pub(super) fn new(
        namespace: Namespace,
        prefix: String,
        present: bool,
        wake: Box<dyn Fn() + Send + Sync>,
    ) -> Self {
        let gathering = present.then(Gathering::default);
        let queue = Mutex::new(Queue { gathering, ..Queue::default() });
        Self { namespace, prefix, queue, wake }
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn means(&self, key: &FullKey) -> bool {
        key.namespace == self.namespace && key.key.as_str().starts_with(&self.prefix)
    }

    fn tell(&self, key: &Key, kind: EntryKind, version: Version, what: What) {
        let mut queue = self.queue();
        if let Some(gathering) = &mut queue.gathering {
            let is_gathered = match &gathering.upto {
                Upto::Nothing => false,
                Upto::Key(last) => key <= last,
                Upto::All => true,
            };
            if !is_gathered {
                return;
            }
            gathering.step.remove(key);
        }
        if queue.push(Change { key: key.clone(), kind, version, what }) {
            drop(queue);
            (self.wake)();
        }
    }

    /// Takes what waits, as long as there is room for it: changes, or how many were lost.
    pub(super) fn take(&self, mut has_room: impl FnMut(&Change) -> bool) -> (u64, Vec<Change>) {
        let mut queue = self.queue();
        if queue.changes.is_empty() {
            return (std::mem::take(&mut queue.missed), Vec::new());
        }
        let count = queue.changes.iter().take_while(|change| has_room(change)).count();
        (0, queue.changes.drain(..count).collect())
    }

    /// The next keys to gather; nothing if all are. From here on changes of keys up to the last
    /// of them are told as they happen: the mark is set while the index is locked, so no key
    /// comes between.
    pub(super) fn next_step(&self, index: &Index) -> Option<Vec<Key>> {
        let after = match &self.queue().gathering.as_ref()?.upto {
            Upto::Nothing => None,
            Upto::Key(last) => Some(last.clone()),
            Upto::All => {
                // The last step was told.
                return None;
            }
        };
        let mark = |keys: &[Key]| {
            let upto = match keys.last() {
                Some(last) if keys.len() == STEP => Upto::Key(last.clone()),
                _ => Upto::All,
            };
            let step = keys.iter().cloned().collect();
            self.queue().gathering = Some(Gathering { upto, step });
        };
        Some(index.next_with(&self.namespace, &self.prefix, after.as_ref(), mark))
    }

    /// An entry of the step is there, in this version. Its shard is locked for reading.
    pub(super) fn tell_present(&self, key: &Key, kind: EntryKind, version: Version) {
        let mut queue = self.queue();
        // Else it has changed meanwhile, which was told.
        if queue.gathering.as_mut().is_some_and(|gathering| gathering.step.remove(key)) {
            queue.push(Change { key: key.clone(), kind, version, what: What::Present });
        }
    }

    /// All is gathered.
    pub(super) fn end_gathering(&self) {
        self.queue().gathering = None;
    }
}
