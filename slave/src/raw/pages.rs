//! Asking the kernel which pages of a memory were written.

use super::moving::Place;
use rustix::ioctl::{Ioctl, IoctlOutput, Opcode, ioctl, opcode};
use rustix::mm::Advice;
use std::ffi::c_void;
use std::fs::File;
use std::io;
use std::mem::MaybeUninit;
use std::ops::Range;
use std::sync::OnceLock;
use std::thread::ThreadId;

/// Ranges that are told at once.
pub(crate) const MOST: usize = 64;

/// A range of pages, by its addresses; `page_region` of `linux/fs.h`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Region {
    start: u64,
    end: u64,
    categories: u64,
}

/// What is asked; `pm_scan_arg` of `linux/fs.h`.
#[repr(C)]
#[derive(Debug)]
struct Scan {
    size: u64,
    flags: u64,
    start: u64,
    end: u64,
    walk_end: u64,
    vec: u64,
    vec_len: u64,
    max_pages: u64,
    category_inverted: u64,
    category_mask: u64,
    category_anyof_mask: u64,
    return_mask: u64,
}

// `PAGE_IS_...` of `linux/fs.h`.
const WRITTEN: u64 = 1 << 1;
const FILE: u64 = 1 << 2;
const PRESENT: u64 = 1 << 3;
const SWAPPED: u64 = 1 << 4;
const PFNZERO: u64 = 1 << 5;

/// The pages of this process.
#[derive(Debug)]
pub(crate) struct Pages(File);

impl Pages {
    /// Those of this process, for as long as it is. `None` if the kernel does not tell.
    pub(crate) fn of_process() -> Option<&'static Self> {
        static PAGES: OnceLock<Option<Pages>> = OnceLock::new();
        PAGES.get_or_init(Self::open).as_ref()
    }

    /// `None` if the kernel does not tell, or not reliably: Linux 6.7 does, unless it merges this
    /// process's pages.
    pub(crate) fn open() -> Option<Self> {
        // Where the kernel merges pages that are alike it may take one for the page of zeros that
        // was written.
        let merged = std::fs::read_to_string("/proc/self/ksm_stat").unwrap_or_default();
        if merged.lines().any(|line| line.trim_start_matches("ksm_merge_any:").trim() == "yes") {
            return None;
        }
        // Others than Linux that look like it may not count.
        if !Faults::are_counted() {
            return None;
        }
        let this = Self(File::open("/proc/self/pagemap").ok()?);
        this.written(&[], &mut [Region::default(); MOST]).ok()?;
        Some(this)
    }

    /// The ranges of a memory, from its beginning on, that are no longer what was mapped; their
    /// number, and how far was looked.
    ///
    /// A page that was only read is still the file's, or the one page of zeros. One that is being
    /// moved, or was swapped out, is not present, and has an entry in its place that counts as
    /// swapped: it is told as well. A page that was never touched is neither, and since some
    /// version of the kernel counts as written.
    pub(crate) fn written(
        &self,
        memory: &[u8],
        found: &mut [Region; MOST],
    ) -> io::Result<(usize, usize)> {
        // What has no bytes is nowhere; to ask for nothing is allowed.
        let start = match memory.is_empty() {
            true => 0,
            false => memory.as_ptr().expose_provenance(),
        };
        self.look(start..start + memory.len(), found)
    }

    /// How many bytes of a place are in pages that are no longer what was mapped.
    pub(crate) fn count_written(&self, place: &Place) -> Option<usize> {
        let (mut range, mut count) = (place.addresses(), 0);
        while !range.is_empty() {
            let mut found = [Region::default(); MOST];
            let (told, looked) = self.look(range.clone(), &mut found).ok()?;
            let lengths =
                found[..told].iter().map(|region| region.end.saturating_sub(region.start));
            count += lengths.sum::<u64>() as usize;
            range.start += Some(looked).filter(|looked| *looked > 0)?;
        }
        Some(count)
    }

    fn look(&self, range: Range<usize>, found: &mut [Region; MOST]) -> io::Result<(usize, usize)> {
        let mut scan = Scan {
            size: size_of::<Scan>() as u64,
            flags: 0,
            start: range.start as u64,
            end: range.end as u64,
            walk_end: 0,
            vec: found.as_mut_ptr().expose_provenance() as u64,
            vec_len: MOST as u64,
            max_pages: 0,
            category_inverted: PFNZERO | FILE,
            category_mask: WRITTEN | PFNZERO | FILE,
            category_anyof_mask: PRESENT | SWAPPED,
            return_mask: 0,
        };
        // SAFETY: the kernel reads the struct, of the size that it says, writes `walk_end` to it,
        // and writes no more regions than `vec_len` to `vec`, which has as many and is borrowed for
        // as long. It looks at page tables only, and changes none without a flag.
        let count = unsafe { ioctl(&self.0, &mut scan) }?;
        let looked = scan.walk_end.clamp(scan.start, scan.end) - scan.start;
        Ok((count.min(MOST), looked as usize))
    }
}

/// How many page faults a thread has had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Faults {
    thread: ThreadId,
    count: i64,
}

impl Faults {
    /// Those of this thread so far. As long as there is no other, it has written to no page that was
    /// not its process's own before: one that is a file's, the page of zeros, or not there at all
    /// takes a fault to be written.
    pub(crate) fn so_far() -> Option<Self> {
        let mut usage = MaybeUninit::<libc::rusage>::uninit();
        // SAFETY: the kernel fills the whole struct if it gives 0, and touches nothing else.
        let usage = unsafe {
            match libc::getrusage(libc::RUSAGE_THREAD, usage.as_mut_ptr()) {
                0 => usage.assume_init(),
                _ => return None,
            }
        };
        let count = usage.ru_minflt.wrapping_add(usage.ru_majflt);
        Some(Self { thread: std::thread::current().id(), count })
    }
}

impl Faults {
    /// Whether a page that is written for the first time is seen to take a fault.
    fn are_counted() -> bool {
        let size = rustix::param::page_size();
        let mut memory = vec![0u8; 2 * size];
        let first = memory.as_ptr().addr().next_multiple_of(size) - memory.as_ptr().addr();
        let page = &mut memory[first..first + size];
        if !super::give_back(page) {
            return false;
        }
        let before = Self::so_far();
        std::hint::black_box(&mut *page)[0] = 1;
        before.is_some() && before != std::hint::black_box(Self::so_far())
    }
}

/// Has the kernel back a memory page by page: it would make pages writable without a fault where it
/// puts small ones together to a large one. Whether it will.
pub(crate) fn keep_small(memory: &mut [u8]) -> bool {
    let start = memory.as_mut_ptr().cast();
    // SAFETY: the advice leaves contents and protection of every page as they are.
    unsafe { rustix::mm::madvise(start, memory.len(), Advice::LinuxNoHugepage) }.is_ok()
}

impl Region {
    /// Where it is within this memory, which it was found in.
    pub(crate) fn within(&self, memory: &[u8]) -> Range<usize> {
        let base = memory.as_ptr().addr() as u64;
        let at = |address: u64| (address.saturating_sub(base) as usize).min(memory.len());
        at(self.start)..at(self.end)
    }
}

// SAFETY: the opcode's argument is a pointer to a `pm_scan_arg`, which `Scan` is laid out as, and
// its output is the number of regions.
unsafe impl Ioctl for &mut Scan {
    type Output = usize;

    const IS_MUTATING: bool = true;

    fn opcode(&self) -> Opcode {
        opcode::read_write::<Scan>(b'f', 16)
    }

    fn as_ptr(&mut self) -> *mut c_void {
        std::ptr::from_mut::<Scan>(self).cast()
    }

    unsafe fn output_from_ptr(out: IoctlOutput, _: *mut c_void) -> rustix::io::Result<usize> {
        Ok(usize::try_from(out).unwrap_or(0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_is_told_and_nothing_else() {
        let Some(pages) = Pages::open() else { return };
        let page = rustix::param::page_size();
        let mut memory = vec![0u8; 64 * page];
        let first = memory.as_ptr().addr().next_multiple_of(page) - memory.as_ptr().addr();
        let memory = &mut memory[first..first + 32 * page];
        let told = |memory: &[u8]| {
            let mut found = [Region::default(); MOST];
            let (count, looked) = pages.written(memory, &mut found).expect("told");
            assert_eq!(looked, memory.len());
            found[..count].iter().map(|region| region.within(memory)).collect::<Vec<_>>()
        };
        // What the allocator gives may have been used.
        assert!(super::super::give_back(memory));
        assert_eq!(told(memory), []);
        let sum: u8 = memory.iter().step_by(page).fold(0, |sum, byte| sum.wrapping_add(*byte));
        assert_eq!((sum, told(memory)), (0, vec![]), "it was only read");
        memory[3 * page] = 1;
        memory[5 * page] = 1;
        memory[6 * page] = 1;
        assert_eq!(told(memory), [3 * page..4 * page, 5 * page..7 * page]);
    }
}
