//! Mapping compiled code: the one place of the slave with `unsafe`.

#![expect(unsafe_code, reason = "compiled code is trusted only here, on the cache's word")]

use super::cache::Artifact;
use wasmtime::{Engine, Module};

/// Maps a compiled module into an engine. Its pages are shared with the file, and so with
/// every other engine and process that maps it.
///
/// # Errors
/// What wasmtime says of a file of another version or configuration.
pub(crate) fn map(engine: &Engine, artifact: &Artifact) -> wasmtime::Result<Module> {
    // SAFETY: the file has to be unchanged output of this wasmtime's compiler. An
    // `Artifact` is made in two places, both in `cache.rs`: by `put`, which has just
    // written what the compiler gave, and by `get`, which has compared the code's hash
    // with a label whose keyed hash only this user's slaves can make. The directory is
    // closed to other users, and files in it are replaced, never written to.
    unsafe { Module::deserialize_file(engine, &artifact.code) }
}
