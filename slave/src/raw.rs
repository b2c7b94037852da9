//! The one place of the slave with `unsafe`: mapping compiled code, and advising the
//! kernel on a guest's memory, or giving it back.

#![expect(unsafe_code, reason = "what cannot be said otherwise is said only here")]

pub(crate) mod pages;

use crate::module::cache::Artifact;
use rustix::mm::Advice;
use std::ffi::c_void;
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

/// Pages that a guest's memory gets at once.
const HUGE: usize = 2 << 20;

/// A range of a guest's memory that is to be backed by huge pages until it is dropped: a
/// large payload then costs 32 page faults, not 16,384. Advice only; where the kernel has
/// no huge page, it takes small ones.
#[derive(Debug)]
pub(crate) struct Huge {
    start: usize,
    len: usize,
}

impl Huge {
    /// Takes the whole huge pages within a range that memory is about to grow by. `base`
    /// is where the memory begins; `None` if there are none in it.
    pub(crate) fn within(base: usize, current: usize, desired: usize) -> Option<Self> {
        let start = base.checked_add(current)?.next_multiple_of(HUGE);
        let end = base.checked_add(desired)? / HUGE * HUGE;
        let len = end.checked_sub(start).filter(|len| *len > 0)?;
        let this = Self { start, len };
        this.advise(Advice::LinuxHugepage).then_some(this)
    }

    fn advise(&self, advice: Advice) -> bool {
        let start = std::ptr::with_exposed_provenance_mut::<c_void>(self.start);
        // SAFETY: both advices used here leave the contents and the protection of every
        // page as they are, wherever they point; at worst they change how the kernel backs
        // a mapping. They point into a guest's own memory: it never moves, for 4 GiB of
        // addresses are reserved for it (`engine.rs`), and it is still reserved when this
        // value is dropped, for that is part of a sandbox's host state, and wasmtime's
        // `Store` drops that before it gives its instances' memories back.
        unsafe { rustix::mm::madvise(start, self.len, advice) }.is_ok()
    }
}

impl Drop for Huge {
    fn drop(&mut self) {
        // Small tasks that use this memory later must not be given 2 MiB for a byte.
        self.advise(Advice::LinuxNoHugepage);
    }
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
