//! Images: what they are made of, and what is told of them.
//!
//! Owns: an image's own facts, the words to masters, its place in the store. Does not: build
//! one; `build` does. Invariant: what was sent serves nobody but its sender.

pub(super) mod build;
pub(crate) mod fetch;

use super::load::Loaded;
use crate::core::Core;
use crate::job::Bound;
use crate::session::Session;
use dpfw_protocol::Bytes;
use dpfw_protocol::error::Cause;
use dpfw_protocol::ids::{ConversationId, ModuleHash};
use dpfw_protocol::image::ImageId;
use dpfw_protocol::message::{ImageReady, Origin};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
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

/// Of what code is made.
#[derive(Debug)]
pub(crate) enum Source {
    /// A module.
    Module(Bytes),
    /// A module, one of its inits, and what that is called with.
    Recipe { id: ImageId, init: String, wasm: Bytes, args: Bytes },
    /// An image, made elsewhere.
    Snapshot { id: ImageId, module: ModuleHash, wasm: Bytes, init_us: u64 },
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

/// Tells sessions, each once, that an image is ready; nothing if it is none.
pub(super) fn tell_ready<'a>(
    loaded: &Loaded,
    sessions: impl IntoIterator<Item = &'a Arc<Session>>,
    origin: Origin,
    took: Duration,
) {
    let Some(image) = &loaded.artifact.image else {
        return;
    };
    let ready = ImageReady {
        image: image.id,
        origin,
        hash: image.hash,
        snapshot: image.snapshot,
        memory: image.memory,
        init_us: image.init_us,
        took_us: u64::try_from(took.as_micros()).unwrap_or(u64::MAX),
    };
    let mut told: Vec<&Arc<Session>> = Vec::new();
    for session in sessions {
        if !told.iter().any(|other| Arc::ptr_eq(other, session)) {
            // It always fits a frame.
            let _ = session.outbox.message(ConversationId::LINK, &ready);
            session.outbox.flush();
            told.push(session);
        }
    }
}

/// Makes an image an entry of the store.
///
/// # Errors
/// What the store says of it.
pub(super) fn keep(
    _core: &Core,
    _session: &Session,
    _bound: &Bound,
    loaded: Arc<Loaded>,
) -> Result<Arc<Loaded>, Cause> {
    Ok(loaded)
}
