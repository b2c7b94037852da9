//! What images are called in the store.
//!
//! Owns: which keys an image is under, and that this is written down. Does not: decide how long it
//! stays; the store does.
//! Invariants: an image is there under at least one key, and under every key that a master
//! chose for it; one that was sent serves its sender alone, and takes no name from the same
//! image that others may use.

use super::{ImageFacts, Kept};
use crate::core::Core;
use crate::job::Bound;
use crate::module::cache::{Cache, Named};
use crate::module::code::{CodeId, Wanted};
use crate::module::load::{Loaded, Modules};
use crate::session::Session;
use crate::store::Held;
use dpfw_protocol::changes::What;
use dpfw_protocol::error::Cause;
use dpfw_protocol::hello::Namespace;
use dpfw_protocol::message::Origin;
use dpfw_protocol::store::{EntryKind, FullKey, Key, Principal, StoreOp};
use std::sync::Arc;

/// A key that an image is under.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Name {
    pub(super) key: FullKey,
    pub(super) owner: Principal,
    choice: Choice,
}

/// Who chose a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Choice {
    Master,
    Slave,
}

/// Bytes of an init's name in the name that a slave chooses: keys have an end.
const INIT_SHOWN: usize = 512;

impl Name {
    fn new(session: &Session, key: Key, choice: Choice) -> Self {
        let key = FullKey { namespace: session.namespace.clone(), key };
        Self { key, owner: session.principal.clone(), choice }
    }

    /// As it was written down.
    pub(super) fn again(namespace: &Namespace, named: Named) -> Self {
        let Named { key, owner, is_chosen } = named;
        let choice = if is_chosen { Choice::Master } else { Choice::Slave };
        Self { key: FullKey { namespace: namespace.clone(), key }, owner, choice }
    }

    fn written(&self) -> Named {
        let (key, owner) = (self.key.key.clone(), self.owner.clone());
        Named { key, owner, is_chosen: self.choice == Choice::Master }
    }
}

impl Kept {
    /// Whether it is called anything.
    pub(in crate::module) fn is_named(&self) -> bool {
        !self.names().is_empty()
    }

    /// It is not called so any more.
    pub(super) fn forget(&self, key: &FullKey) {
        self.names().retain(|name| name.key != *key);
    }
}

/// The image under a key; this is no use of it.
pub(super) fn kept(core: &Core, key: &FullKey) -> Option<Arc<Kept>> {
    core.store.peek_image(key)?.downcast().ok()
}

/// Whether a key is an image's.
fn is_of(core: &Core, key: &FullKey, image: &Arc<Kept>) -> bool {
    kept(core, key).is_some_and(|kept| Arc::ptr_eq(&kept, image))
}

/// The store learns that an image is used.
pub(super) fn touch(core: &Core, loaded: &Loaded) {
    let Some(kept) = loaded.standing.kept() else { return };
    let names = kept.names().clone();
    for Name { key, .. } in names {
        if is_of(core, &key, &kept) {
            // That it is asked for is its use.
            drop(core.store.image(&key));
        }
    }
}

/// Takes all of its names from an image.
pub(super) fn remove_all(core: &Core, image: &Arc<Kept>) {
    let names = std::mem::take(&mut *image.names());
    for Name { key, .. } in names {
        if is_of(core, &key, image) {
            core.store.remove(&key);
        }
    }
}

/// What was under a key is not any more. One whose last name somebody removed is not wanted on disk
/// either; one that was evicted, or replaced, may be.
pub(crate) fn left(core: &Core, modules: &Modules, (held, what): (Held, What), key: &FullKey) {
    let Ok(kept) = held.downcast::<Kept>() else { return };
    if !is_of(core, key, &kept) {
        kept.forget(key);
    }
    modules.renamed(kept.code, key);
    if what == What::Removed && !kept.is_named() {
        modules.discarded(kept.code);
    }
}

/// Writes down that an image is called so, or is not any more. One that was sent is not on disk.
pub(in crate::module) fn write_down(core: &Core, cache: &Cache, code: CodeId, key: &FullKey) {
    cache.rename(code, &key.key, || {
        let kept = kept(core, key).filter(|kept| kept.code == code)?;
        let name = kept.names().iter().find(|name| name.key == *key).map(Name::written)?;
        let is_own = kept.info.origin != Origin::Sent;
        is_own.then(|| (kept.info.clone(), key.namespace.clone(), name))
    });
}

/// Makes an image an entry of the store, under the key that its master chose, or under one that
/// says what it is. One that is in the store and was on disk alone has its names.
///
/// # Errors
/// What the store says of it: that there is no room, for instance.
pub(in crate::module) fn keep(
    core: &Core,
    modules: &Modules,
    (session, bound): (&Session, &Bound),
    (code, loaded): (CodeId, &Arc<Loaded>),
    origin: Origin,
) -> Result<(), Cause> {
    let (Some(image), Some(wanted)) = (&loaded.artifact.image, &bound.image) else {
        return Ok(());
    };
    // What else those call it who wait for it is added as if it had been there.
    if modules.asleep.wake(code, loaded).is_some() {
        return Ok(());
    }
    let name = match chosen(core, session, image, wanted) {
        Some(name) => name,
        None => own_choice(session, image)?,
    };
    let kept = Arc::new(Kept::new(code, image.info(origin)));
    kept.wake(loaded);
    let key = name.key.clone();
    put(core, &kept, name)?;
    // Before anybody is told that it is there.
    modules.rename(code, &key);
    Ok(())
}

/// A task of an image that is there calls it by a name that it may not have yet.
///
/// # Errors
/// What the store says of the name: that it holds a value, for instance.
pub(crate) fn add(
    core: &Core,
    modules: &Modules,
    session: &Session,
    bound: &Bound,
    loaded: &Loaded,
) -> Result<(), Cause> {
    let (Some(image), Some(wanted)) = (&loaded.artifact.image, &bound.image) else {
        return Ok(());
    };
    let Some(name) = chosen(core, session, image, wanted) else { return Ok(()) };
    // If it has just gone, who comes next makes it again, under the name.
    let Some(held) = loaded.standing.kept() else { return Ok(()) };
    if is_of(core, &name.key, &held) {
        return Ok(());
    }
    let present = core.store.apply(
        &name.key.namespace,
        &session.principal,
        StoreOp::Look { key: name.key.key.clone() },
        dpfw_protocol::Bytes::new(),
    )?;
    if let Some(kind) = present.entries.first().map(|entry| entry.kind)
        && kind != EntryKind::Image
    {
        return Err(Cause::WrongKind { key: name.key.key.to_string(), kind });
    }
    let key = name.key.clone();
    put(core, &held, name)?;
    modules.renamed(held.code, &key);
    // A name of the slave's own gives way to it.
    let own = |name: &&Name| name.choice == Choice::Slave && is_of(core, &name.key, &held);
    let given_up: Vec<_> = held.names().iter().filter(own).cloned().collect();
    for name in &given_up {
        core.store.remove(&name.key);
    }
    Ok(())
}

fn put(core: &Core, kept: &Arc<Kept>, name: Name) -> Result<(), Cause> {
    let (key, owner) = (name.key.clone(), name.owner.clone());
    // Before it is there: what takes it away comes after that.
    kept.forget(&key);
    kept.names().push(name);
    let put = core.store.put_image(&key, &owner, kept.info.clone(), kept.held());
    if put.is_err() {
        kept.forget(&key);
    }
    put.map(drop)
}

/// The name that a master chose, unless it is the same image's that others may use.
fn chosen(core: &Core, session: &Session, image: &ImageFacts, wanted: &Wanted) -> Option<Name> {
    let name = Name::new(session, wanted.key.clone()?, Choice::Master);
    let is_taken = image.origin == Origin::Sent
        && kept(core, &name.key).is_some_and(|kept| kept.info.id == image.id);
    (!is_taken).then_some(name)
}

/// The name that a slave gives an image: what it is, and whose if it was sent.
fn own_choice(session: &Session, image: &ImageFacts) -> Result<Name, Cause> {
    let init = &image.init[..image.init.floor_char_boundary(INIT_SHOWN)];
    let id = &image.id.to_hex()[..16];
    let text = match image.origin {
        Origin::Sent => format!("{init} {id} of {}", session.principal.0),
        Origin::There | Origin::Kept | Origin::Built => format!("{init} {id}"),
    };
    Ok(Name::new(session, Key::new(text)?, Choice::Slave))
}
