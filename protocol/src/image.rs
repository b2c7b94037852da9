//! Images: the memory of a module after its init, as values.
//!
//! Owns: what an image is called, the recipe that it is made by, the call of an init. Does
//! not: build one; a slave does. Invariant: an image's id follows from the module, the init
//! and its arguments, and from nothing else, so that whoever has the recipe can tell whether it
//! is the one that was asked for.

use crate::call::Call;
use crate::error::Cause;
use crate::ids::{ImageId, ModuleHash};
use crate::module::Module;
use crate::payload::Payload;
use std::fmt;
use std::sync::Arc;

/// The prefix of the exports that are inits.
pub const INIT_PREFIX: &str = "dpfw-init:";

/// Keeps these hashes apart from all others.
const CONTEXT: &str = "dpfw 2026 image: module, init, arguments";

impl ImageId {
    /// The id of the image that this init of this module makes of these arguments.
    pub fn of(module: ModuleHash, init: &str, args: &Payload) -> Self {
        let mut hasher = blake3::Hasher::new_derive_key(CONTEXT);
        hasher.update(module.as_bytes());
        hasher.update(&(init.len() as u64).to_le_bytes()).update(init.as_bytes());
        args.pieces().for_each(|piece| {
            hasher.update(piece);
        });
        Self::from_bytes(*hasher.finalize().as_bytes())
    }
}

/// A call of an init: what an image is made by. A value like any [`Call`]; it does nothing
/// until a master is given it.
///
/// ```
/// use dpfw_protocol::{call::Task, image::Init, module::Module};
///
/// let module = Module::new(&b"\0asm\x01\0\0\0"[..]);
/// let init = Init::new(Task::new(module, "build_index").call(&(["a", "b"],))?);
/// assert_eq!(init.to_string(), r#"build_index(["a","b"])"#);
/// # Ok::<(), dpfw_protocol::call::EncodeError>(())
/// ```
#[derive(Clone)]
#[must_use = "an init does nothing until a master is given it"]
pub struct Init(Call<()>);

impl Init {
    /// The init that this call names, as if it were a task. For modules that are known only
    /// at run time; the guest SDK's macros make typed ones.
    pub fn new(call: Call<()>) -> Self {
        Self(call)
    }

    /// Its name in the module.
    pub fn name(&self) -> &str {
        self.0.task().name()
    }

    /// The recipe.
    ///
    /// # Errors
    /// [`Cause::BadArguments`] if the arguments could not be encoded.
    pub fn recipe(self) -> Result<Recipe, Cause> {
        let (task, args) = self.0.into_parts();
        let args = args.map_err(|message| Cause::BadArguments { message })?;
        Ok(Recipe::new(task.module().clone(), task.shared_name(), args))
    }
}

impl fmt::Display for Init {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for Init {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Init({self} of {})", self.0.task().module())
    }
}

/// What an image is made of.
#[derive(Clone, Debug)]
pub struct Recipe {
    /// What it is called.
    pub id: ImageId,
    /// The module.
    pub module: Module,
    /// The name of its init.
    pub init: Arc<str>,
    /// The init's arguments, encoded.
    pub args: Payload,
}

impl Recipe {
    /// The recipe of the image that this init of this module makes of these arguments.
    pub fn new(module: Module, init: Arc<str>, args: Payload) -> Self {
        let id = ImageId::of(module.hash(), &init, &args);
        Self { id, module, init, args }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_is_named_by_all_that_it_is_made_of() {
        let (one, two) = (ModuleHash::of(b"1"), ModuleHash::of(b"2"));
        let args = |bytes: &'static [u8]| Payload::from(bytes);
        let id = ImageId::of(one, "build", &args(b"ab"));
        let in_pieces = [crate::Bytes::from_static(b"a"), crate::Bytes::from_static(b"b")];
        assert_eq!(id, ImageId::of(one, "build", &in_pieces.into_iter().collect()));
        for other in [
            ImageId::of(two, "build", &args(b"ab")),
            ImageId::of(one, "buil", &args(b"dab")),
            ImageId::of(one, "build", &args(b"abc")),
        ] {
            assert_ne!(id, other);
        }
    }
}
