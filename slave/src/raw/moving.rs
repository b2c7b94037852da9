//! Pages that change places: a guest's memory gets bytes without a copy and without a page fault.
//!
//! Owns: the loans of pages to guests, and memory that is kept to be lent. Does not: choose who
//! gets any. Invariants: pages are lent by one owner to one guest, who gives them back when the
//! loan is dropped; what a guest has when its loan is over is zeros; no byte of anybody else is in
//! a page that is lent.

use dpfw_protocol::recycle::Arrived;
use rustix::mm::{MapFlags, MremapFlags, ProtFlags, mmap_anonymous, mremap_fixed, munmap};
use std::ffi::c_void;
use std::ops::Range;

/// Whole pages of a guest's memory, by their addresses, which stay its own as long as its sandbox
/// is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    start: usize,
    len: usize,
}

impl Place {
    /// The whole pages of a range of addresses.
    pub(crate) fn within(range: Range<usize>) -> Option<Self> {
        let page = rustix::param::page_size();
        let start = range.start.checked_next_multiple_of(page)?;
        let len = (range.end / page * page).checked_sub(start).filter(|len| *len > 0)?;
        Some(Self { start, len })
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Where it begins and ends.
    pub(crate) fn addresses(&self) -> Range<usize> {
        self.start..self.start + self.len
    }

    fn first(&self, len: usize) -> Self {
        Self { start: self.start, len: len.min(self.len) }
    }

    fn pointer(&self) -> *mut c_void {
        std::ptr::with_exposed_provenance_mut(self.start)
    }
}

/// What a guest may do with its memory.
const OPEN: ProtFlags = ProtFlags::READ.union(ProtFlags::WRITE);

/// Moves the pages at one place to another of the same length, whose own are gone then. Those
/// that are not touched again where they came from cost nothing there.
///
/// If it fails, what is at the other place may be gone or not, and reads as zeros or as before.
///
/// # Safety
/// Both are whole pages of private memory of this process without a file behind it, and nobody has
/// a reference to either.
unsafe fn move_pages(from: &Place, to: &Place) -> bool {
    let flags = MremapFlags::MAYMOVE | MremapFlags::DONTUNMAP;
    // SAFETY: the caller's; both have the length of the first.
    let moved =
        unsafe { mremap_fixed(from.pointer(), from.len, from.len, flags, to.pointer()) }.is_ok();
    if !moved {
        // The kernel (`mremap_to` of `mm/mremap.c`) refuses what it can foresee, such as too many
        // mappings, before it unmaps anything: then this changes nothing, for it replaces nothing.
        // SAFETY: it does not touch what is mapped; what is not is the caller's.
        let _ = unsafe { map(to, OPEN, MapFlags::FIXED_NOREPLACE) };
    }
    moved
}

/// # Safety
/// What is mapped there, if the flags replace it, is the caller's, and nobody has a reference to it.
unsafe fn map(
    place: &Place,
    protection: ProtFlags,
    flags: MapFlags,
) -> rustix::io::Result<*mut c_void> {
    let flags = MapFlags::PRIVATE | MapFlags::NORESERVE | flags;
    // SAFETY: the caller's.
    unsafe { mmap_anonymous(place.pointer(), place.len, protection, flags) }
}

/// Pages that stand in a guest's memory until this is dropped.
#[derive(Debug)]
pub(crate) struct Loan {
    /// The owner of the pages.
    _payload: Arrived,
    /// Where they belong.
    home: Place,
    at: Place,
}

impl Loan {
    /// Lends a guest a payload instead of copying it, and takes it: `room` is where it is to be in
    /// its memory. What comes before the place `from` in it is copied all the same, for there may
    /// be what was mapped with contents. `None` if all has to be copied.
    ///
    /// The caller drops the loan before the sandbox.
    pub(crate) fn of(payload: &mut Arrived, room: &mut [u8], from: usize) -> Option<Self> {
        let page = rustix::param::page_size();
        let from = from.checked_next_multiple_of(page).filter(|from| *from < room.len())?;
        if payload.len() != room.len() || !payload.has_pages() {
            return None;
        }
        let lent = payload.get(from..)?.as_ptr().expose_provenance();
        let to = room.get_mut(from..)?.as_mut_ptr().expose_provenance();
        let home = Place::within(lent..lent + room.len() - from)?;
        let at = Place::within(to..to + room.len() - from)?;
        if home.start != lent || at.start != to || home.len != at.len {
            return None;
        }
        // SAFETY: the payload is an allocation of its own, which nobody else has: nobody reads it
        // until the loan is dropped, which has it from here on and gives the pages back before it
        // is dropped itself. The room is within a guest's memory, which nobody else has a reference
        // to while it is borrowed here.
        if !unsafe { move_pages(&home, &at) } {
            return None;
        }
        room[..from].copy_from_slice(&payload[..from]);
        // The last page may have more in it than bytes of this payload.
        let rest = from + home.len;
        room[rest..].copy_from_slice(&payload[rest..]);
        Some(Self { _payload: std::mem::take(payload), home, at })
    }
}

impl Drop for Loan {
    fn drop(&mut self) {
        // SAFETY: as when they were lent. The sandbox is still there, for the loan is a part of its
        // host's state, which wasmtime's `Store` drops before it gives its instances' memories
        // back; its guest does not run while that is dropped.
        unsafe { end(&self.at, &self.home, OPEN) };
    }
}

/// Moves a guest's pages to where they belong, or else gives them to the kernel, and leaves zeros.
/// Whether they were moved.
///
/// # Safety
/// As of [`move_pages`].
unsafe fn end(at: &Place, home: &Place, protection: ProtFlags) -> bool {
    // SAFETY: the caller's.
    let moved = unsafe { move_pages(at, home) };
    // Mapped anew, it is one mapping with what is around it, as it was.
    // SAFETY: the same; what is replaced is the guest's.
    let renewed = unsafe { map(at, protection, MapFlags::FIXED) };
    if let Err(error) = renewed {
        // Its pages go with the sandbox, whose memory is given back to the kernel.
        tracing::warn!(%error, "a guest's memory cannot be mapped anew");
    }
    moved
}

/// Resident zeros that belong to nobody.
#[derive(Debug)]
pub(crate) struct Spare(Place);

impl Spare {
    /// Takes the pages at a place in a guest's memory, which has zeros then.
    ///
    /// The caller knows that the sandbox is there and that its guest does not run.
    pub(crate) fn from_guest(at: &Place) -> Option<Self> {
        let anywhere = Place { start: 0, len: at.len };
        // SAFETY: a mapping anywhere replaces none.
        let start = unsafe { map(&anywhere, OPEN, MapFlags::empty()) }.ok()?;
        let mut spare = Self(Place { start: start.expose_provenance(), len: at.len });
        // SAFETY: both are whole pages, of the mapping just made and of the guest's memory.
        let moved = unsafe { end(at, &spare.0, OPEN) };
        moved.then(|| {
            spare.clear(at.len);
            spare
        })
    }

    /// How long it is.
    pub(crate) fn len(&self) -> usize {
        self.0.len
    }

    fn clear(&mut self, len: usize) {
        let len = len.min(self.0.len);
        // SAFETY: the mapping is this value's, readable and writable, and nobody has a reference
        // to it.
        unsafe { std::ptr::write_bytes(self.0.pointer().cast::<u8>(), 0, len) };
    }

    /// Lends them to a guest's memory, which is about to grow to there: as many as it has room for.
    ///
    /// # Errors
    /// The same spare, if they cannot be moved.
    pub(crate) fn lend(self, to: &Place) -> Result<Lent, Self> {
        let at = to.first(self.0.len);
        // SAFETY: the spare's pages are nobody else's, and the guest has no memory there yet.
        match unsafe { move_pages(&self.0.first(at.len), &at) } {
            true => Ok(Lent { spare: self, at }),
            false => Err(self),
        }
    }
}

impl Drop for Spare {
    fn drop(&mut self) {
        // SAFETY: the mapping is this value's, and nobody has a reference to it.
        let _ = unsafe { munmap(self.0.pointer(), self.0.len) };
    }
}

/// A spare in a guest's memory.
#[derive(Debug)]
pub(crate) struct Lent {
    spare: Spare,
    at: Place,
}

impl Lent {
    /// The guest's memory did not grow to there: it may not see what is there.
    pub(crate) fn undo(self) {
        let home = self.spare.0.first(self.at.len);
        // SAFETY: as when they were lent.
        unsafe { end(&self.at, &home, ProtFlags::empty()) };
    }

    /// Takes it back, zeros again; `None` if that fails. The caller knows that the sandbox is
    /// there and that its guest does not run.
    pub(crate) fn take_back(mut self) -> Option<Spare> {
        let home = self.spare.0.first(self.at.len);
        // SAFETY: as when they were lent.
        let moved = unsafe { end(&self.at, &home, OPEN) };
        moved.then(|| {
            self.spare.clear(home.len);
            self.spare
        })
    }
}

#[cfg(test)]
mod tests;
