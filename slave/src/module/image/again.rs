//! Images that are there again when a slave starts.
//!
//! Owns: the images that are in the store and on disk alone, which is what those are whose names
//! were kept. Does not: keep names; the cache does. Invariants: nothing is mapped, or read but the
//! names, before a task needs it; an image whose code is gone when a task needs it is in the store
//! no more.

use super::names::Name;
use super::{Kept, names};
use crate::core::Core;
use crate::module::cache::Again;
use crate::module::code::CodeId;
use crate::module::load::{Loaded, Modules};
use crate::store::NotBack;
use dpfw_protocol::message::Origin;
use dpfw_protocol::store::ImageInfo;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

/// See the module's page. Bounded by the entries of the store that were there at the start.
#[derive(Debug, Default)]
pub(in crate::module) struct Asleep(Mutex<HashMap<CodeId, Weak<Kept>>>);

impl Asleep {
    fn lock(&self) -> MutexGuard<'_, HashMap<CodeId, Weak<Kept>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One that is in the store still.
    pub(in crate::module) fn get(&self, code: CodeId) -> Option<Arc<Kept>> {
        self.lock().get(&code)?.upgrade()
    }

    /// Tasks start from it from now on; nothing if it is not here.
    pub(super) fn wake(&self, code: CodeId, loaded: &Arc<Loaded>) -> Option<Arc<Kept>> {
        let kept = self.lock().remove(&code)?.upgrade()?;
        kept.wake(loaded);
        Some(kept)
    }

    /// Its code is gone, and it with that.
    pub(in crate::module) fn lost(&self, core: &Core, code: CodeId) {
        let kept = self.lock().remove(&code).and_then(|kept| kept.upgrade());
        if let Some(kept) = kept {
            tracing::info!(%code, "an image is gone from the disk, and from the store with that");
            names::remove_all(core, &kept);
        }
    }
}

/// Puts the images into the store that were called something when the slave ended. They may be
/// evicted as they might before, and nothing goes for them.
pub(crate) fn restore(core: &Core, modules: &Modules) {
    let mut there = 0u64;
    for Again { code, image, namespace, names } in modules.cache.again() {
        let kept = Arc::new(Kept::new(code, ImageInfo { origin: Origin::Kept, ..image }));
        for name in names.into_iter().map(|named| Name::again(&namespace, named)) {
            let (key, owner, info) = (name.key.clone(), name.owner.clone(), kept.info.clone());
            kept.names().push(name);
            match core.store.take_image_back(&key, &owner, info, kept.held(), there) {
                Ok(()) => there += 1,
                // It is called so the next time, if there is room then.
                Err(NotBack::NoRoom) => kept.forget(&key),
                Err(NotBack::Taken) => {
                    kept.forget(&key);
                    modules.rename(code, &key);
                }
            }
        }
        modules.asleep.lock().insert(code, Arc::downgrade(&kept));
    }
    if there > 0 {
        tracing::info!(names = there, "images are there again by their names");
    }
}
