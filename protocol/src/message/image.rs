//! What masters and slaves say of images.

use super::{Message, kind};
use crate::error::Failure;
use crate::ids::{BindId, ImageId, ModuleHash};
use crate::limits::MAX_NAME;
use crate::signature::Signature;
use crate::store::Key;
use serde::{Deserialize, Serialize};
use std::fmt;

/// Declares a task that the session will call against an image, as [`Bind`](super::Bind) does
/// one of a module.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BindImage {
    /// The number, in the same count as those of modules.
    pub bind: BindId,
    /// The image.
    pub image: ImageId,
    /// The module that it is of.
    pub module: ModuleHash,
    /// The key under which the image is to be kept, if not the slave's own choice.
    pub key: Option<Key>,
    /// The task; the empty text for one that does nothing but need the image.
    pub task: String,
    /// What the caller believes the task to be, if that is not the module's own word.
    pub expects: Option<Signature>,
}

/// Asks for what an image is made of, or for the image.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NeedImage {
    /// Which image.
    pub image: ImageId,
    /// Whether the snapshot that was sent is of no use: what the image is made of is needed.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub refused: bool,
}

/// What a master has of an image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Offer {
    /// Nothing.
    Nothing,
    /// What it is made of: the payload is the module's bytes and, behind them, the arguments.
    Recipe {
        /// The name of the init.
        init: String,
        /// Bytes of the module.
        module: u64,
    },
    /// The image itself: the payload is the snapshot, a module.
    Snapshot {
        /// The module that it is of.
        module: ModuleHash,
        /// The name of its init.
        init: String,
        /// What building it took where it was built, in microseconds.
        init_us: u64,
    },
}

/// Answers [`NeedImage`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageBytes {
    /// Of which image.
    pub image: ImageId,
    /// What it is.
    pub offer: Offer,
    /// The length of the payload.
    pub payload: u64,
}

/// How a slave came by an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Origin {
    /// It was in memory.
    There,
    /// It was on the slave's disk.
    Kept,
    /// It was built.
    Built,
    /// It was sent.
    Sent,
}

impl Origin {
    /// The word on the wire and in messages.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::There => "there",
            Self::Kept => "kept",
            Self::Built => "built",
            Self::Sent => "sent",
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// An image is ready at a slave. Said to every session that needs it, before the tasks that
/// waited for it begin.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageReady {
    /// Which image.
    pub image: ImageId,
    /// How the slave came by it.
    pub origin: Origin,
    /// Of the snapshot, which is a module: the same wherever it was made if the init used neither
    /// clock nor randomness.
    pub hash: ModuleHash,
    /// Bytes of the snapshot.
    pub snapshot: u64,
    /// Bytes of memory that its tasks begin with.
    pub memory: u64,
    /// What the init itself took where it was run, in microseconds.
    pub init_us: u64,
    /// What it took to have it ready here, from the first task that needed it.
    pub took_us: u64,
    /// Whether the slave has made it itself, and can give the snapshot away.
    pub own: bool,
}

/// An image is not at the slave any more: evicted, or removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageGone {
    /// Which image.
    pub image: ImageId,
}

/// Asks a slave for the snapshot of an image that it has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FetchImage {
    /// Which image.
    pub image: ImageId,
}

/// Answers [`FetchImage`] in its conversation; the payload is the snapshot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Snapshot {
    /// Why there is none.
    pub failure: Option<Failure>,
    /// The length of the payload.
    pub payload: u64,
}

impl Message for BindImage {
    const KIND: u8 = kind::BIND_IMAGE;
    fn is_bounded(&self) -> bool {
        self.task.len() <= MAX_NAME && self.key.as_ref().is_none_or(Key::is_bounded)
    }
}

impl Message for ImageBytes {
    const KIND: u8 = kind::IMAGE_BYTES;
    fn is_bounded(&self) -> bool {
        match &self.offer {
            Offer::Recipe { init, module } => init.len() <= MAX_NAME && *module <= self.payload,
            Offer::Nothing => self.payload == 0,
            Offer::Snapshot { init, .. } => init.len() <= MAX_NAME,
        }
    }
}

impl Message for Snapshot {
    const KIND: u8 = kind::SNAPSHOT;
    fn is_bounded(&self) -> bool {
        self.failure.as_ref().is_none_or(Failure::is_bounded)
    }
}

macro_rules! messages {
    ($($name:ident = $kind:ident),* $(,)?) => {
        $(impl Message for $name { const KIND: u8 = kind::$kind; })*
    };
}

messages! {
    NeedImage = NEED_IMAGE, ImageReady = IMAGE_READY, ImageGone = IMAGE_GONE, FetchImage = FETCH_IMAGE,
}
