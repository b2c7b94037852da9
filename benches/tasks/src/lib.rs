//! The tasks that are measured.

pub use dpfw_guest::Bytes;
use dpfw_guest::store::{self, StoreError};
use dpfw_guest::{init, resident, task};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

dpfw_guest::module!();

static COUNT: AtomicU32 = AtomicU32::new(0);

/// Adds, and says how often a task has run in this memory: once, if the sandbox is fresh.
#[task]
pub fn fresh_add(a: i64, b: i64) -> (u32, i64) {
    (COUNT.fetch_add(1, Ordering::Relaxed) + 1, a + b)
}

/// The integer after this one.
#[task]
pub fn successor(n: i64) -> i64 {
    n.wrapping_add(1)
}

/// Holds its slot for so many microseconds by the clock; gives its number.
#[task]
pub fn hold(number: u64, micros: u64) -> u64 {
    let (begun, length) = (Instant::now(), Duration::from_micros(micros));
    while begun.elapsed() < length {
        std::hint::spin_loop();
    }
    number
}

/// The same, declared to have no effect but its result.
#[task(effect_free)]
pub fn hold_freely(number: u64, micros: u64) -> u64 {
    hold(number, micros)
}

static HEAP: OnceLock<Vec<u64>> = OnceLock::new();

/// Initialises so many MiB, with other numbers for each seed.
#[init]
pub fn heap(mib: u32, seed: u64) {
    let words = (0..u64::from(mib) << 17).map(|n| (n ^ seed).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    // Once in an instance.
    let _ = HEAP.set(words.collect());
}

/// Reads a word of each of so many pages, somewhere in the heap.
#[task(image = heap)]
pub fn peek(seed: u64, pages: u32) -> u64 {
    let words = HEAP.get().map_or(&[][..], |words| words);
    let mut at = seed;
    (0..pages).fold(0, |sum: u64, _| {
        at = at.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
        let word = (at >> 33).checked_rem(words.len() as u64).map(|place| words[place as usize]);
        sum.wrapping_add(word.unwrap_or(0))
    })
}

/// Takes bytes; gives their number.
#[task]
pub fn take(bytes: Bytes) -> u64 {
    bytes.len() as u64
}

/// The number of the bytes under a key.
///
/// # Errors
/// [`StoreError`] if they cannot be read.
#[task]
pub fn measure(key: String) -> Result<u64, StoreError> {
    Ok(store::get::<Bytes>(&key)?.map_or(0, |bytes| bytes.len() as u64))
}

/// Gives so many bytes.
#[task]
pub fn give(len: u64) -> Bytes {
    vec![7u8; len as usize].into()
}

/// A sum.
#[derive(Debug)]
pub struct Tally {
    sum: u64,
}

#[resident]
impl Tally {
    /// Nothing yet.
    pub fn new() -> Self {
        Self { sum: 0 }
    }

    /// Adds to it, and gives it.
    pub fn add(&mut self, more: u64) -> u64 {
        self.sum += more;
        self.sum
    }
}

impl Default for Tally {
    fn default() -> Self {
        Self::new()
    }
}
