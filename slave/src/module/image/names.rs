//! What images are called in the store.
//!
//! Owns: which keys an image is under. Does not: decide how long it stays; the store does.
//! Invariants: an image is there under at least one key, and under every key that a master
//! chose for it; one that was sent serves its sender alone, and takes no name from the same
//! image that others may use.

use super::{ImageFacts, Kept};
use crate::core::Core;
use crate::job::Bound;
use crate::module::code::Wanted;
use crate::module::load::Loaded;
use crate::session::Session;
use dpfw_protocol::error::Cause;
use dpfw_protocol::message::Origin;
use dpfw_protocol::store::{EntryKind, FullKey, Key, StoreOp};
use std::sync::Arc;

/// A key that an image is under.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Name {
    key: FullKey,
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

/// The image under a key; this is no use of it.
pub(super) fn kept(core: &Core, key: &FullKey) -> Option<Arc<Kept>> {
    core.store.peek_image(key)?.downcast().ok()
}

/// The same, if it is this one.
fn same(core: &Core, key: &FullKey, loaded: &Loaded) -> Option<Arc<Kept>> {
    kept(core, key).filter(|kept| std::ptr::eq(&*kept.loaded, loaded))
}

/// The store learns that an image is used.
pub(super) fn touch(core: &Core, loaded: &Loaded) {
    let names = loaded.standing.names().clone();
    for Name { key, .. } in names {
        if same(core, &key, loaded).is_some() {
            // That it is asked for is its use.
            drop(core.store.image(&key));
        }
    }
}

/// Makes an image an entry of the store, under the key that its master chose, or under one that
/// says what it is.
///
/// # Errors
/// What the store says of it: that there is no room, for instance.
pub(in crate::module) fn keep(
    core: &Core,
    session: &Session,
    bound: &Bound,
    loaded: Arc<Loaded>,
    origin: Origin,
) -> Result<Arc<Loaded>, Cause> {
    let (Some(image), Some(wanted)) = (&loaded.artifact.image, &bound.image) else {
        return Ok(loaded);
    };
    let name = match chosen(core, session, image, wanted) {
        Some(name) => name,
        None => own_choice(session, image)?,
    };
    let kept = Kept { loaded: Arc::clone(&loaded), info: image.info(origin) };
    put(core, session, &name.key, Arc::new(kept))?;
    loaded.standing.names().push(name);
    Ok(loaded)
}

/// A task of an image that is there calls it by a name that it may not have yet.
///
/// # Errors
/// What the store says of the name: that it holds a value, for instance.
pub(crate) fn add(
    core: &Core,
    session: &Session,
    bound: &Bound,
    loaded: &Loaded,
) -> Result<(), Cause> {
    let (Some(image), Some(wanted)) = (&loaded.artifact.image, &bound.image) else {
        return Ok(());
    };
    let Some(name) = chosen(core, session, image, wanted) else { return Ok(()) };
    if same(core, &name.key, loaded).is_some() {
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
    let mut names = loaded.standing.names().clone();
    names.retain(|name| same(core, &name.key, loaded).is_some());
    // If it has just gone, who comes next makes it again, under the name.
    let held = names.first().and_then(|name| same(core, &name.key, loaded));
    let Some(held) = held else { return Ok(()) };
    // A name of the slave's own gives way to it: the image is charged once for each.
    let (given_up, mut names): (Vec<_>, Vec<_>) =
        names.into_iter().partition(|name| name.choice == Choice::Slave);
    for name in &given_up {
        core.store.remove(&name.key);
    }
    let done = put(core, session, &name.key, Arc::clone(&held));
    match &done {
        Ok(()) => names.push(name),
        Err(_) => {
            for name in given_up {
                if put(core, session, &name.key, Arc::clone(&held)).is_ok() {
                    names.push(name);
                }
            }
        }
    }
    *loaded.standing.names() = names;
    done
}

fn put(core: &Core, session: &Session, key: &FullKey, kept: Arc<Kept>) -> Result<(), Cause> {
    let info = kept.info.clone();
    core.store.put_image(key, &session.principal, info, kept).map(drop)
}

/// The name that a master chose, unless it is the same image's that others may use.
fn chosen(core: &Core, session: &Session, image: &ImageFacts, wanted: &Wanted) -> Option<Name> {
    let key = FullKey { namespace: session.namespace.clone(), key: wanted.key.clone()? };
    let is_taken = image.origin == Origin::Sent
        && kept(core, &key).is_some_and(|kept| kept.info.id == image.id);
    (!is_taken).then_some(Name { key, choice: Choice::Master })
}

/// The name that a slave gives an image: what it is, and whose if it was sent.
fn own_choice(session: &Session, image: &ImageFacts) -> Result<Name, Cause> {
    let init = &image.init[..image.init.floor_char_boundary(INIT_SHOWN)];
    let id = &image.id.to_hex()[..16];
    let text = match image.origin {
        Origin::Sent => format!("{init} {id} of {}", session.principal.0),
        Origin::There | Origin::Kept | Origin::Built => format!("{init} {id}"),
    };
    let key = FullKey { namespace: session.namespace.clone(), key: Key::new(text)? };
    Ok(Name { key, choice: Choice::Slave })
}
