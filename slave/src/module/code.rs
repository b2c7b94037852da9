//! What compiled code is found by: a module, or an image of one.
//!
//! Invariant: what one session can make of an image never becomes what another one's tasks
//! start from. An image that this slave built follows from its recipe, and is shared by all of
//! a namespace; one that was sent is its sender's word, and is for the sender's tasks alone.

use crate::session::Session;
use dpfw_protocol::hello::Namespace;
use dpfw_protocol::ids::{ImageId, ModuleHash};
use dpfw_protocol::store::Key;
use std::fmt;

/// Names compiled code.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum CodeId {
    /// Of a module.
    Module(ModuleHash),
    /// Of an image.
    Image(ImageKey),
}

/// An image as a slave tells it from others.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct ImageKey([u8; 32]);

/// How the files of images are called, before the hash.
const IMAGE: &str = "image-";

/// Keeps these hashes apart from all others.
const CONTEXT: &str = "dpfw 2026 image of a slave: id, namespace, sender";

impl ImageKey {
    fn of(image: ImageId, namespace: &Namespace, sender: &str) -> Self {
        let mut hasher = blake3::Hasher::new_derive_key(CONTEXT);
        hasher.update(image.as_bytes());
        for part in [namespace.as_str(), sender] {
            hasher.update(&(part.len() as u64).to_le_bytes()).update(part.as_bytes());
        }
        Self(*hasher.finalize().as_bytes())
    }
}

/// An image that a session's tasks need.
#[derive(Clone, Debug)]
pub(crate) struct Wanted {
    /// What its master calls it.
    pub(crate) id: ImageId,
    /// As it was built here.
    pub(crate) built: ImageKey,
    /// As the session's master sent it.
    pub(crate) sent: ImageKey,
    /// Its key in the store, if its master chose one.
    pub(crate) key: Option<Key>,
}

impl Wanted {
    /// What this session means by an image.
    pub(crate) fn new(id: ImageId, key: Option<Key>, session: &Session) -> Self {
        let built = ImageKey::of(id, &session.namespace, "");
        let sent = ImageKey::of(id, &session.namespace, session.principal.0.as_str());
        Self { id, built, sent, key }
    }
}

impl CodeId {
    /// An image of a namespace that this slave built.
    pub(crate) fn built(id: ImageId, namespace: &Namespace) -> Self {
        Self::Image(ImageKey::of(id, namespace, ""))
    }

    /// The image whose files are called so, without an extension.
    pub(crate) fn of_image_file(name: &str) -> Option<Self> {
        let hash = ModuleHash::from_hex(name.strip_prefix(IMAGE)?)?;
        let code = Self::Image(ImageKey(*hash.as_bytes()));
        // There is one way to write it.
        (code.file_name() == name).then_some(code)
    }

    /// The bytes that tell it from all others, but for its kind.
    pub(crate) fn as_bytes(&self) -> &[u8; 32] {
        match self {
            Self::Module(hash) => hash.as_bytes(),
            Self::Image(ImageKey(hash)) => hash,
        }
    }

    /// What its files are called, without an extension.
    pub(crate) fn file_name(&self) -> String {
        let hex = ModuleHash::from_bytes(*self.as_bytes()).to_hex();
        match self {
            Self::Module(_) => hex,
            Self::Image(_) => format!("{IMAGE}{hex}"),
        }
    }
}

impl fmt::Display for CodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hash = ModuleHash::from_bytes(*self.as_bytes());
        match self {
            Self::Module(_) => write!(f, "module {hash}"),
            Self::Image(_) => write!(f, "image {hash}"),
        }
    }
}

impl fmt::Debug for CodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CodeId({self})")
    }
}

impl fmt::Debug for ImageKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ImageKey({})", ModuleHash::from_bytes(self.0))
    }
}
