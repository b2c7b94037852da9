//! Numbers for task functions, by which the policy and the links know them.
//!
//! Owns: which number stands for which function. Does not: tell slaves of it; `told` does.
//! Invariants: a number that a task waits with stands for its function. Functions of modules
//! are as many as the program calls, and are remembered; those on images would grow with the
//! images, so of those that no task waits with as many are remembered as [`MOST_IDLE`], the last
//! that were used.

use dpfw_dispatch::KindId;
use dpfw_protocol::ids::{ImageId, ModuleHash};
use dpfw_protocol::module::Module;
use dpfw_protocol::signature::Signature;
use dpfw_protocol::store::Key;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

/// Functions on images that are remembered though no task waits with them: few beside what a
/// link may be told of. One that is forgotten gets another number when it is called again.
const MOST_IDLE: usize = 4 * 1024;

/// A task function, whoever calls it.
#[derive(Clone)]
pub(crate) struct Kind {
    pub(crate) module: Module,
    pub(crate) name: Arc<str>,
    pub(crate) expects: Option<Signature>,
    pub(crate) of: KindOf,
}

/// What a task function is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum KindOf {
    /// A task that starts from its module.
    Plain,
    /// One that starts from an image.
    Image(KindImage),
    /// A constructor of a resident.
    Constructor,
}

/// The image that a task starts from, as slaves are told of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct KindImage {
    pub(crate) id: ImageId,
    pub(crate) key: Option<Key>,
}

struct Known {
    kind: Kind,
    /// Tasks that wait with it.
    users: u32,
    /// When it was last used, if there is none and it may be forgotten.
    idle: Option<u64>,
}

/// See the module's page.
#[derive(Default)]
pub(crate) struct Kinds {
    known: Vec<Option<Known>>,
    ids: HashMap<(ModuleHash, Arc<str>, bool), Vec<KindId>>,
    /// In the order in which they fell idle.
    idle: BTreeMap<u64, KindId>,
    /// Numbers of what was forgotten.
    free: Vec<KindId>,
    last: u64,
}

impl Kinds {
    /// The number of a function, for a task that waits with it until it is given back.
    pub(crate) fn take(&mut self, kind: Kind) -> KindId {
        let id = self.find(&kind).unwrap_or_else(|| self.insert(kind));
        if let Some(known) = self.known_mut(id) {
            known.users += 1;
            let idle = known.idle.take();
            idle.map(|since| self.idle.remove(&since));
        }
        id
    }

    /// A task waits with it no longer.
    pub(crate) fn give(&mut self, id: KindId) {
        let now = self.last + 1;
        let Some(known) = self.known_mut(id) else { return };
        known.users = known.users.saturating_sub(1);
        if known.users == 0 && known.idle.is_none() && matches!(known.kind.of, KindOf::Image(_)) {
            known.idle = Some(now);
            self.last = now;
            self.idle.insert(now, id);
        }
    }

    /// Forgets one of too many that no task waits with.
    pub(crate) fn forget(&mut self) -> Option<KindId> {
        if self.idle.len() <= MOST_IDLE {
            return None;
        }
        let (_, id) = self.idle.pop_first()?;
        let Known { kind, .. } = self.known.get_mut(id.0 as usize)?.take()?;
        let name = name_of(&kind);
        if let Some(same) = self.ids.get_mut(&name) {
            same.retain(|other| *other != id);
            if same.is_empty() {
                self.ids.remove(&name);
            }
        }
        self.free.push(id);
        Some(id)
    }

    /// What a number stands for.
    pub(crate) fn get(&self, id: KindId) -> Option<&Kind> {
        Some(&self.known.get(id.0 as usize)?.as_ref()?.kind)
    }

    /// The bytes of a module that tasks are of.
    pub(crate) fn module(&self, hash: ModuleHash) -> Option<&Module> {
        let mut modules = self.known.iter().flatten().map(|known| &known.kind.module);
        modules.find(|module| module.hash() == hash && module.bytes().is_some())
    }

    fn known_mut(&mut self, id: KindId) -> Option<&mut Known> {
        self.known.get_mut(id.0 as usize)?.as_mut()
    }

    fn find(&mut self, kind: &Kind) -> Option<KindId> {
        let same = self.ids.get(&name_of(kind))?;
        let known = &mut self.known;
        same.iter().copied().find(|id| {
            let Some(Some(known)) = known.get_mut(id.0 as usize) else { return false };
            let is_same = known.kind.expects == kind.expects && known.kind.of == kind.of;
            // A later call may carry the bytes that an earlier one lacked.
            if is_same && known.kind.module.bytes().is_none() {
                known.kind.module = kind.module.clone();
            }
            is_same
        })
    }

    fn insert(&mut self, kind: Kind) -> KindId {
        let id = self.free.pop().unwrap_or(KindId(self.known.len() as u32));
        if id.0 as usize == self.known.len() {
            self.known.push(None);
        }
        self.ids.entry(name_of(&kind)).or_default().push(id);
        self.known[id.0 as usize] = Some(Known { kind, users: 0, idle: None });
        id
    }
}

/// What most functions differ in.
fn name_of(kind: &Kind) -> (ModuleHash, Arc<str>, bool) {
    (kind.module.hash(), Arc::clone(&kind.name), kind.expects.is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(image: Option<u32>) -> Kind {
        let of = image.map_or(KindOf::Plain, |n| {
            let mut id = [0; 32];
            id[..4].copy_from_slice(&n.to_le_bytes());
            KindOf::Image(KindImage { id: ImageId::from_bytes(id), key: None })
        });
        Kind { module: Module::new(&b"m"[..]), name: "task".into(), expects: None, of }
    }

    #[test]
    fn a_function_has_one_number_while_it_is_known() {
        let mut kinds = Kinds::default();
        let plain = kinds.take(kind(None));
        let one = kinds.take(kind(Some(1)));
        assert_eq!((kinds.take(kind(None)), kinds.take(kind(Some(1)))), (plain, one));
        assert!(plain != one && kinds.take(kind(Some(2))) != one);
        let bare = Kind { module: Module::known(kind(None).module.hash()), ..kind(Some(3)) };
        let id = kinds.take(bare);
        assert_eq!(kinds.take(kind(Some(3))), id);
        assert!(kinds.get(id).is_some_and(|kind| kind.module.bytes().is_some()));
    }

    #[test]
    fn of_too_many_on_images_the_one_unused_for_longest_is_forgotten_and_none_that_is_used() {
        let mut kinds = Kinds::default();
        let plain = kinds.take(kind(None));
        kinds.give(plain);
        let used = kinds.take(kind(Some(0)));
        for n in 1..=MOST_IDLE as u32 {
            let id = kinds.take(kind(Some(n)));
            kinds.give(id);
        }
        let first = kinds.take(kind(Some(1)));
        kinds.give(first);
        assert_eq!(kinds.forget(), None);
        let id = kinds.take(kind(Some(u32::MAX)));
        kinds.give(id);
        let forgotten = kinds.forget().expect("one too many");
        assert!(![plain, used, first, id].contains(&forgotten));
        assert!(kinds.get(forgotten).is_none() && kinds.get(plain).is_some());
        assert_eq!(kinds.forget(), None);
        // Its number is used again, for another or for the same.
        assert_eq!(kinds.take(kind(Some(2))), forgotten);
    }
}
