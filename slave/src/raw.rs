//! The one place of the slave with `unsafe`: mapping compiled code, and what the kernel does with
//! the pages of a guest's memory.

#![expect(unsafe_code, reason = "what cannot be said otherwise is said only here")]

pub(crate) mod moving;
pub(crate) mod pages;

use crate::module::cache::Artifact;
use rustix::mm::Advice;
use wasmtime::{Engine, Module};

/// Maps a compiled module into an engine. Its pages are shared with the file, and so with
/// every other engine and process that maps it.
///
/// # Errors
/// What wasmtime says of a file of another version or configuration.
pub(crate) fn map(engine: &Engine, artifact: &Artifact) -> wasmtime::Result<Module> {
    let code = artifact.code.try_clone()?;
    // SAFETY: the file has to be unchanged output of this wasmtime's compiler. An
    // `Artifact` is made in two places, both in `cache.rs`: by `put`, which has just
    // written what the compiler gave, and by `get`, which has compared the hash of this
    // very file's content with a label whose keyed hash only this user's slaves can make.
    // The directory is closed to other users, and files in it are replaced or deleted,
    // never written to; an open file stays what it is.
    unsafe { Module::deserialize_open_file(engine, code) }
}

/// Gives the pages of a guest's memory back to the kernel. It then is what it was when it was
/// mapped: the image, or zeros. Whether that was done: nothing is to what does not begin with a page
/// and consist of them, or if the kernel refuses.
pub(crate) fn give_back(memory: &mut [u8]) -> bool {
    let page = rustix::param::page_size();
    if !memory.as_ptr().addr().is_multiple_of(page) || !memory.len().is_multiple_of(page) {
        return false;
    }
    // SAFETY: the range is this slice, to the byte, which nobody else sees while it is borrowed;
    // its pages stay mapped, and whatever is in them afterwards are bytes.
    let given = unsafe {
        rustix::mm::madvise(memory.as_mut_ptr().cast(), memory.len(), Advice::LinuxDontNeed)
    };
    given.is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use wasmtime::{Memory, MemoryType, Store};

    #[test]
    fn memory_that_is_given_back_is_as_it_was_mapped() {
        let mut store = Store::new(&Engine::default(), ());
        let memory = Memory::new(&mut store, MemoryType::new(2, None)).expect("a memory");
        memory.data_mut(&mut store).fill(7);
        let page = rustix::param::page_size();
        // Not whole pages: nothing is done.
        give_back(&mut memory.data_mut(&mut store)[1..]);
        give_back(&mut memory.data_mut(&mut store)[..page + 1]);
        assert!(memory.data(&store).iter().all(|byte| *byte == 7));
        give_back(&mut memory.data_mut(&mut store)[page..2 * page]);
        let (given, kept) =
            (&memory.data(&store)[page..2 * page], &memory.data(&store)[2 * page..]);
        assert!(given.iter().all(|byte| *byte == 0) && kept.iter().all(|byte| *byte == 7));
    }
}
