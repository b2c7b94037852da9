//! Numbers for keys, which the policy knows nothing else of.
//!
//! Owns: which number stands for which name. Does not: know where what is under a key is; the
//! policy does. Invariant: a number that a task waits with stands for its name; of those that
//! no task waits with as many are remembered as [`MOST_IDLE`], the last that were used.

use dpfw_dispatch::KeyId;
use dpfw_dispatch::hash::IdMap;
use dpfw_protocol::ids::ImageId;
use dpfw_protocol::store::Key;
use std::collections::{BTreeMap, HashMap};

/// Keys that are remembered though no task waits with them. What is forgotten is asked for
/// again when it is needed.
const MOST_IDLE: usize = 16 * 1024;

/// What a number stands for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Name {
    /// An entry of the keyed store, in the master's namespace.
    Entry(Key),
    /// An image, whatever it is called in the store.
    Image(ImageId),
}

impl Name {
    /// The key of an entry.
    pub(crate) fn entry(&self) -> Option<&Key> {
        match self {
            Self::Entry(key) => Some(key),
            Self::Image(_) => None,
        }
    }
}

#[derive(Debug)]
struct Known {
    name: Name,
    /// Tasks that wait with it.
    users: u32,
    /// When it was last used, if there is none.
    idle: Option<u64>,
}

/// See the module's page.
#[derive(Debug, Default)]
pub(crate) struct Keys {
    ids: HashMap<Name, KeyId>,
    known: IdMap<KeyId, Known>,
    /// In the order in which they fell idle.
    idle: BTreeMap<u64, KeyId>,
    last: u64,
}

impl Keys {
    /// The number of a name, a new one the first time.
    pub(crate) fn intern(&mut self, name: Name) -> KeyId {
        let id = self.take(name);
        self.give(id);
        id
    }

    /// The same, for a task that waits with it until it is given back.
    pub(crate) fn take(&mut self, name: Name) -> KeyId {
        let id = match self.ids.get(&name) {
            Some(id) => *id,
            None => {
                self.last += 1;
                let id = KeyId(self.last);
                self.ids.insert(name.clone(), id);
                self.known.insert(id, Known { name, users: 0, idle: None });
                id
            }
        };
        if let Some(known) = self.known.get_mut(&id) {
            known.users += 1;
            known.idle.take().map(|since| self.idle.remove(&since));
        }
        id
    }

    /// A task waits with it no longer; whether none does.
    pub(crate) fn give(&mut self, id: KeyId) -> bool {
        let Some(known) = self.known.get_mut(&id) else { return true };
        known.users = known.users.saturating_sub(1);
        if known.users == 0 && known.idle.is_none() {
            self.last += 1;
            known.idle = Some(self.last);
            self.idle.insert(self.last, id);
        }
        known.users == 0
    }

    /// The number of a name that has one.
    pub(crate) fn find(&self, name: &Name) -> Option<KeyId> {
        self.ids.get(name).copied()
    }

    /// What a number stands for.
    pub(crate) fn name(&self, id: KeyId) -> Option<&Name> {
        self.known.get(&id).map(|known| &known.name)
    }

    /// Forgets one of too many that no task waits with.
    pub(crate) fn forget(&mut self) -> Option<KeyId> {
        if self.idle.len() <= MOST_IDLE {
            return None;
        }
        let (_, id) = self.idle.pop_first()?;
        let known = self.known.remove(&id)?;
        self.ids.remove(&known.name);
        Some(id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(n: usize) -> Name {
        Name::Entry(Key::new(format!("key {n}")).expect("short"))
    }

    #[test]
    fn a_name_has_one_number_while_it_is_known() {
        let mut keys = Keys::default();
        let id = keys.take(name(1));
        assert_eq!((keys.intern(name(1)), keys.find(&name(1))), (id, Some(id)));
        assert_ne!(keys.intern(name(2)), id);
        assert_eq!(keys.name(id), Some(&name(1)));
    }

    #[test]
    fn of_too_many_the_one_unused_for_longest_is_forgotten_and_none_that_is_used() {
        let mut keys = Keys::default();
        let used = keys.take(name(0));
        let first = keys.intern(name(1));
        for n in 2..=MOST_IDLE {
            keys.intern(name(n));
        }
        keys.intern(name(1));
        assert_eq!(keys.forget(), None);
        keys.intern(name(MOST_IDLE + 1));
        let forgotten = keys.forget().expect("one too many");
        assert!(forgotten != used && forgotten != first && keys.name(forgotten).is_none());
        assert_eq!(keys.find(&name(2)), None);
        assert_eq!(keys.forget(), None);
        assert!(keys.give(used));
        assert!(keys.forget().is_some_and(|forgotten| forgotten != used));
    }
}
