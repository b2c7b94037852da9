//! Images: what they are made of, and what is told of them.
//!
//! Owns: an image's own facts, the words to masters, what its end brings. Does not: build one;
//! `build` does, and `turn` has them wait for memory; name it; `names` does; or bring it back when
//! a slave starts; `again` does. Invariant: what was sent serves nobody but its sender.

pub(crate) mod again;
pub(super) mod build;
pub(crate) mod fetch;
pub(crate) mod names;
pub(super) mod turn;

use super::code::{CodeId, Wanted};
use super::load::Loaded;
use crate::core::Core;
use crate::seldom::Seldom;
use crate::session::Session;
use crate::store::{Held, Shared};
use dpfw_protocol::Bytes;
use dpfw_protocol::error::Cause;
use dpfw_protocol::ids::{ConversationId, ImageId, ModuleHash};
use dpfw_protocol::message::{ImageGone, ImageReady, Origin};
use dpfw_protocol::store::{FullKey, ImageInfo, Key};
use names::Name;
use serde::{Deserialize, Serialize};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::time::Duration;

/// What is known of an image beyond what is known of a module.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ImageFacts {
    /// What masters call it.
    pub(crate) id: ImageId,
    /// The module that it is of.
    pub(crate) module: ModuleHash,
    /// The name of its init.
    pub(crate) init: String,
    /// How this slave came by it first.
    pub(crate) origin: Origin,
    /// Of the snapshot, which is a module.
    pub(crate) hash: ModuleHash,
    /// Bytes of the snapshot.
    pub(crate) snapshot: u64,
    /// Bytes of memory that its tasks begin with.
    pub(crate) memory: u64,
    /// What the init itself took, in microseconds.
    pub(crate) init_us: u64,
}

impl ImageFacts {
    /// What a listing shows of it, which came to be here like this.
    fn info(&self, origin: Origin) -> ImageInfo {
        let Self { id, module, hash, snapshot, memory, init_us, .. } = *self;
        ImageInfo { id, module, init: self.init.clone(), hash, snapshot, memory, origin, init_us }
    }
}

/// Of what code is made.
#[derive(Debug)]
pub(crate) enum Source {
    /// A module.
    Module(Bytes),
    /// A module, one of its inits, and what that is called with.
    Recipe { id: ImageId, init: String, wasm: Bytes, args: Bytes },
    /// An image, made elsewhere.
    Snapshot { id: ImageId, module: ModuleHash, init: String, wasm: Bytes, init_us: u64 },
}

impl Source {
    /// A module, if these bytes are it.
    pub(crate) fn module(hash: ModuleHash, wasm: Bytes) -> Result<Self, Cause> {
        let reason = match () {
            () if wasm.is_empty() => {
                format!("neither this slave nor the master has the bytes of module {hash}")
            }
            () if ModuleHash::of(&wasm) != hash => "its bytes do not have its hash".into(),
            () => return Ok(Self::Module(wasm)),
        };
        Err(Cause::Rejected { reason })
    }

    /// What an image is made of, if it is made of this.
    pub(crate) fn recipe(
        id: ImageId,
        init: String,
        wasm: Bytes,
        args: Bytes,
    ) -> Result<Self, Cause> {
        match ImageId::of(ModuleHash::of(&wasm), &init, &args.clone().into()) == id {
            true => Ok(Self::Recipe { id, init, wasm, args }),
            false => {
                Err(Cause::Rejected { reason: "what it is made of does not have its id".into() })
            }
        }
    }

    /// Its length in bytes.
    pub(super) fn len(&self) -> u64 {
        let bytes = match self {
            Self::Module(wasm) | Self::Snapshot { wasm, .. } => wasm.len(),
            Self::Recipe { wasm, args, .. } => wasm.len() + args.len(),
        };
        bytes as u64
    }

    /// Bytes of wasm that the compiler is given.
    pub(super) fn wasm_len(&self) -> usize {
        match self {
            // Its data is not compiled.
            Self::Snapshot { .. } => 0,
            Self::Module(wasm) | Self::Recipe { wasm, .. } => wasm.len(),
        }
    }

    /// Whether it is somebody's word, and does not follow from its id.
    pub(super) fn is_sent(&self) -> bool {
        matches!(self, Self::Snapshot { .. })
    }
}

/// A loaded image's place in the store.
#[derive(Debug, Default)]
pub(crate) struct Standing {
    /// Nothing if it was never in the store.
    kept: OnceLock<Weak<Kept>>,
    /// Of the store, that it is used.
    used: Seldom,
}

/// The store learns of uses this often: it evicts what was not used for longest.
const USED: Duration = Duration::from_secs(1);

impl Standing {
    /// What the store has of it, if it has it still.
    pub(super) fn kept(&self) -> Option<Arc<Kept>> {
        self.kept.get()?.upgrade()
    }
}

/// An image as an entry of the store; the same under each of its names.
pub(crate) struct Kept {
    pub(super) code: CodeId,
    info: ImageInfo,
    /// Nothing while it is on disk alone: it is mapped when the first task needs it.
    loaded: OnceLock<Arc<Loaded>>,
    /// What it costs in the store, under whatever names.
    shared: Arc<Shared>,
    names: Mutex<Vec<Name>>,
    /// Who was told that it is ready. Bounded by the links there are.
    told: Mutex<Vec<Weak<Session>>>,
}

impl Kept {
    /// One that is on disk alone, and has no name yet.
    fn new(code: CodeId, info: ImageInfo) -> Self {
        let (loaded, names, told) = Default::default();
        let shared = Shared::new(info.memory);
        Self { code, info, loaded, shared, names, told }
    }

    /// Tasks start from this from now on.
    fn wake(self: &Arc<Self>, loaded: &Arc<Loaded>) {
        // Both once: it is asleep once, and this has just been loaded.
        let _ = self.loaded.set(Arc::clone(loaded));
        let _ = loaded.standing.kept.set(Arc::downgrade(self));
    }

    /// The hash of its snapshot, and how long that is.
    pub(super) fn snapshot(&self) -> (ModuleHash, u64) {
        (self.info.hash, self.info.snapshot)
    }

    /// As the store takes it.
    fn held(self: &Arc<Self>) -> (Held, Arc<Shared>) {
        (Arc::clone(self) as Held, Arc::clone(&self.shared))
    }

    fn names(&self) -> MutexGuard<'_, Vec<Name>> {
        self.names.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn told(&self) -> MutexGuard<'_, Vec<Weak<Session>>> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells sessions that it is ready: that it is there, to each of them once; how it came, to
    /// all who waited for that.
    fn tell<'a>(
        &self,
        sessions: impl IntoIterator<Item = &'a Arc<Session>>,
        origin: Origin,
        took: Duration,
    ) {
        let ImageInfo { id, hash, snapshot, memory, init_us, .. } = self.info;
        let ready = ImageReady {
            image: id,
            origin,
            hash,
            snapshot,
            memory,
            init_us,
            took_us: u64::try_from(took.as_micros()).unwrap_or(u64::MAX),
            own: self.info.origin != Origin::Sent,
        };
        let mut told = self.told();
        told.retain(|session| session.strong_count() > 0);
        let mut now: Vec<&Arc<Session>> = Vec::new();
        for session in sessions {
            let is_known = told.iter().any(|other| other.as_ptr() == Arc::as_ptr(session));
            let is_new = !now.iter().any(|other| Arc::ptr_eq(other, session));
            if is_new && (!is_known || origin != Origin::There) {
                // It always fits a frame.
                let _ = session.outbox.message(ConversationId::LINK, &ready);
                session.outbox.flush();
                now.push(session);
            }
            if !is_known {
                told.push(Arc::downgrade(session));
            }
        }
    }
}

impl Drop for Kept {
    /// It was evicted, removed or replaced: who comes next makes it again.
    fn drop(&mut self) {
        if let Some(loaded) = self.loaded.get() {
            loaded.let_go();
        }
        for session in self.told().drain(..).filter_map(|told| told.upgrade()) {
            let gone = ImageGone { image: self.info.id };
            // It always fits a frame.
            let _ = session.outbox.message(ConversationId::LINK, &gone);
            session.outbox.flush();
        }
    }
}

/// An image is used at this time of the slave's life: the store learns of it now and then.
pub(crate) fn used(core: &Core, loaded: &Loaded, now: Duration) {
    if loaded.standing.used.is_due(now, USED) {
        names::touch(core, loaded);
    }
}

/// A master has looked at a key. If there is an image that its tasks may start from, it is told
/// so, and will be told when that is gone.
pub(crate) fn looked_at(core: &Core, session: &Arc<Session>, key: &Key) {
    let key = FullKey { namespace: session.namespace.clone(), key: key.clone() };
    let Some(kept) = names::kept(core, &key) else {
        return;
    };
    match core.image(&Wanted::new(kept.info.id, None, session)) {
        Some((_, loaded)) => tell_ready(&loaded, [session], Origin::There, Duration::ZERO),
        None if kept.loaded.get().is_none() => {
            kept.tell([session], Origin::There, Duration::ZERO);
        }
        None => {}
    }
}

/// Tells sessions that an image is ready; nothing if it is none, or has gone already.
pub(super) fn tell_ready<'a>(
    loaded: &Loaded,
    sessions: impl IntoIterator<Item = &'a Arc<Session>>,
    origin: Origin,
    took: Duration,
) {
    if let Some(kept) = loaded.standing.kept() {
        kept.tell(sessions, origin, took);
    }
}
