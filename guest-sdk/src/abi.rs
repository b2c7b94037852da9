//! The guest's side of the ABI, version 1. The only module with `unsafe`,
//! with its two parts below.
//!
//! Owns: exports that the slave calls by name, the memory handed over in both directions,
//! the imports. Does not: decode, encode or decide anything. Invariant: memory that the
//! slave writes to or reads from is owned by a value here: arguments from `dpfw_alloc`
//! until their call, a reply until the next call into the instance.

#![expect(unsafe_code, reason = "the slave and the guest exchange addresses")]

use crate::export::{Arguments, BadArguments, PIECES, Reply};
use crate::wire::guest::borrowing;
use bytes::Bytes;
use std::cell::RefCell;
use std::mem::MaybeUninit;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering, compiler_fence};

mod imports;
pub(crate) mod net;
pub(crate) mod store;
pub(crate) mod wait;
pub(crate) mod watch;

pub(crate) use imports::{log, panic, progress};

/// Room for arguments.
struct Room {
    place: Place,
    len: usize,
}

/// Where the room is.
enum Place {
    /// Words, so that it is aligned to 8.
    Words(Box<[MaybeUninit<u64>]>),
    Pages(Box<[MaybeUninit<Page>]>),
}

/// What begins with a page: the slave can have a guest's memory refer to its own pages then, and
/// copies nothing.
#[repr(align(4096))]
struct Page(#[expect(dead_code, reason = "it stands for its bytes")] [u8; 4096]);

/// Room of so many bytes begins with a page.
const LARGE: usize = 1 << 20;

impl Room {
    fn new(len: usize) -> Self {
        let place = match len >= LARGE {
            true => Place::Pages(Box::new_uninit_slice(len.div_ceil(size_of::<Page>()))),
            false => Place::Words(Box::new_uninit_slice(len.div_ceil(size_of::<u64>()))),
        };
        Self { place, len }
    }

    fn begin(&self) -> *const u8 {
        match &self.place {
            Place::Words(words) => words.as_ptr().cast(),
            Place::Pages(pages) => pages.as_ptr().cast(),
        }
    }

    fn address(&self) -> usize {
        self.begin().addr()
    }
}

impl AsRef<[u8]> for Room {
    fn as_ref(&self) -> &[u8] {
        // SAFETY: the place has at least `len` bytes, by `new`, and lives as long as `self`;
        // bytes have no alignment. They are initialised: `as_ref` is called only through
        // `run`, which the slave calls after it wrote them, and linear memory that it did
        // not write to has a value as well.
        unsafe { std::slice::from_raw_parts(self.begin(), self.len) }
    }
}

thread_local! {
    /// Rooms that the slave asked for and has not passed to a task yet. It asks for one
    /// before each call.
    static ROOMS: RefCell<Vec<Room>> = const { RefCell::new(Vec::new()) };

    /// What the slave may still be reading.
    static KEPT: RefCell<Kept> = const { RefCell::new(Kept { region: Bytes::new(), pieces: Vec::new() }) };
}

/// The reply of the last call.
struct Kept {
    region: Bytes,
    pieces: Vec<Bytes>,
}

unsafe extern "C" {
    /// The constructors of statics, put together by the linker.
    fn __wasm_call_ctors();
}

/// `_initialize`: what makes the module a reactor. Without it the linker takes it for a
/// command, and has every export run constructors before and destructors after.
// SAFETY: no other symbol has this name: rustc links no object for reactors into a cdylib.
#[unsafe(no_mangle)]
extern "C" fn _initialize() {
    static DONE: AtomicBool = AtomicBool::new(false);
    if !DONE.swap(true, Ordering::Relaxed) {
        // SAFETY: constructors run once, here, before any other export is called; this
        // function uses nothing that they construct.
        unsafe { __wasm_call_ctors() }
    }
}

/// `dpfw_alloc`: room for `len` bytes of arguments, never at 0. Traps if there is none.
// SAFETY: no other symbol has this name: the prefix is the ABI's.
#[unsafe(no_mangle)]
extern "C" fn dpfw_alloc(len: i32) -> i32 {
    release();
    let room = Room::new(len.cast_unsigned() as usize);
    let address = room.address();
    ROOMS.with_borrow_mut(|rooms| rooms.push(room));
    address as i32
}

/// `dpfw_warm`: what every task needs, before the memory is snapshotted.
// SAFETY: no other symbol has this name: the prefix is the ABI's.
#[unsafe(no_mangle)]
extern "C" fn dpfw_warm() {
    crate::warm::up();
}

/// The body of every export that is called with arguments: `dpfw:NAME`, `dpfw-init:NAME` and
/// `dpfw-resident:CLASS.NAME`.
///
/// # Panics
/// If `dpfw_alloc` did not give that room: whoever calls does not keep to the ABI.
pub fn run<A>(
    at: i32,
    len: i32,
    decode: impl FnOnce(&mut Arguments<'_>) -> Result<A, BadArguments>,
    task: impl FnOnce(A, &mut Reply),
) -> i64 {
    crate::warm::up();
    let arguments = Bytes::from_owner(take(at, len));
    release();
    let mut reply = Reply::in_pieces();
    reply.to(arguments, decode, task);
    keep(reply.into_pieces())
}

/// Where the replies to the calls of a batch are so far: address and length.
static REPLIES: [AtomicU32; 2] = [const { AtomicU32::new(0) }; 2];

/// `dpfw_batch`: where the address and the length of a batch's replies stand.
// SAFETY: no other symbol has this name: the prefix is the ABI's.
#[unsafe(no_mangle)]
extern "C" fn dpfw_batch() -> i32 {
    REPLIES.as_ptr().addr() as i32
}

/// Writes down where the replies are, as many as were written down before. Whoever looks does it when
/// this instance has stopped, wherever that was: nothing of what is done before or after may be put
/// off or brought forward beyond it.
fn replies_are_at(bytes: &[u8]) {
    compiler_fence(Ordering::SeqCst);
    REPLIES[0].store(bytes.as_ptr().addr() as u32, Ordering::Relaxed);
    compiler_fence(Ordering::SeqCst);
}

/// Writes down how long the replies are.
fn replies_have(len: usize) {
    compiler_fence(Ordering::SeqCst);
    REPLIES[1].store(len as u32, Ordering::Relaxed);
    compiler_fence(Ordering::SeqCst);
}

/// Replies of a batch that have so many bytes are given before the next call is made, which the
/// slave asks for then.
const MOST_REPLIES: usize = 1 << 20;

/// The body of every export `dpfw-batch:NAME`: the task is called for each record of the
/// arguments, and how long the replies are is written down after each call.
///
/// # Panics
/// As [`run`], or if there is a record that is not whole.
pub fn run_batch<A>(
    at: i32,
    len: i32,
    decode: impl Fn(&mut Arguments<'_>) -> Result<A, BadArguments>,
    task: impl Fn(A, &mut Reply),
) {
    crate::warm::up();
    let calls = Bytes::from_owner(take(at, len));
    release();
    replies_have(0);
    let mut replies = Reply::records(calls.len().min(MOST_REPLIES), replies_are_at);
    borrowing(&calls, || {
        let mut rest = &calls[..];
        while !rest.is_empty() && replies.len() < MOST_REPLIES {
            let Some((arguments, behind)) = record(rest) else {
                panic!("a batch that is cut short")
            };
            replies.record_to(arguments, &decode, &task);
            replies_have(replies.len());
            rest = behind;
        }
    });
    KEPT.set(Kept { region: Bytes::new(), pieces: replies.into_pieces() });
}

/// The arguments of the next call, a length, little endian, and so many bytes; and what is behind
/// them.
fn record(calls: &[u8]) -> Option<(&[u8], &[u8])> {
    let (len, rest) = calls.split_first_chunk()?;
    rest.split_at_checked(u32::from_le_bytes(*len) as usize)
}

/// The room that was given out for these arguments.
fn take(at: i32, len: i32) -> Room {
    let (at, len) = (at.cast_unsigned() as usize, len.cast_unsigned() as usize);
    let room = ROOMS.with_borrow_mut(|rooms| {
        let index = rooms.iter().position(|room| room.address() == at && room.len == len)?;
        Some(rooms.swap_remove(index))
    });
    match room {
        Some(room) => room,
        None => panic!("dpfw_alloc gave no room of {len} bytes at {at}"),
    }
}

/// Lets the last reply go.
fn release() {
    KEPT.with_borrow_mut(|kept| {
        kept.region = Bytes::new();
        kept.pieces.clear();
    });
}

/// Keeps a reply for the slave to read, and says where it is.
fn keep(pieces: Vec<Bytes>) -> i64 {
    let (region, pieces) = match <[Bytes; 1]>::try_from(pieces) {
        Ok([whole]) => (whole, Vec::new()),
        Err(pieces) => (list(&pieces), pieces),
    };
    let (at, len) = (region.as_ptr().addr() as u64, region.len() as u64);
    KEPT.set(Kept { region, pieces });
    (at << 32 | len).cast_signed()
}

/// Where the pieces of a result are. The first begins with its tag, which is left out.
fn list(pieces: &[Bytes]) -> Bytes {
    let mut list = vec![PIECES];
    for (index, piece) in pieces.iter().enumerate() {
        let piece = if index == 0 { &piece[1..] } else { piece };
        list.extend_from_slice(&(piece.as_ptr().addr() as u32).to_le_bytes());
        list.extend_from_slice(&(piece.len() as u32).to_le_bytes());
    }
    list.into()
}
