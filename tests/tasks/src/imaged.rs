//! Inits, and tasks on their images.

use dpfw_guest::store;
use dpfw_guest::{init, progress, task};
use std::collections::HashMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

static WORDS: Mutex<Vec<String>> = Mutex::new(Vec::new());
static LARGE: OnceLock<Vec<u64>> = OnceLock::new();
static NUMBERS: OnceLock<HashMap<u64, u64>> = OnceLock::new();

/// Keeps the words of a text.
///
/// # Errors
/// If there are none.
#[init]
pub fn words(text: String) -> Result<(), String> {
    let mut words = WORDS.lock().unwrap_or_else(PoisonError::into_inner);
    words.extend(text.split_whitespace().map(str::to_owned));
    if words.is_empty() { Err("there is no word in it".to_owned()) } else { Ok(()) }
}

/// One of the words.
#[task(image = words)]
pub fn word(n: u32) -> Option<String> {
    WORDS.lock().unwrap_or_else(PoisonError::into_inner).get(n as usize).cloned()
}

/// Adds a word; gives how many there are then.
#[task(image = words)]
pub fn add_word(word: String) -> u32 {
    let mut words = WORDS.lock().unwrap_or_else(PoisonError::into_inner);
    words.push(word);
    words.len() as u32
}

/// How many words there are, on an image or without one.
#[task]
pub fn count_words() -> u32 {
    WORDS.lock().unwrap_or_else(PoisonError::into_inner).len() as u32
}

/// Words of 8 bytes in a page of 4 KiB.
const PAGE: usize = 512;

/// Fills so many MiB, each page of 4 KiB with its number.
#[init]
pub fn large(mib: u32) {
    let mut words = vec![0u64; (mib as usize) << 17];
    for (n, page) in words.chunks_mut(PAGE).enumerate() {
        page.fill(n as u64 + 1);
    }
    // Once in an instance.
    let _ = LARGE.set(words);
}

/// The sum of all of it.
#[task(image = large)]
pub fn sum() -> u64 {
    LARGE.get().map_or(0, |words| words.iter().fold(0, |sum, word| sum.wrapping_add(*word)))
}

/// The same, and how often a task has run in this memory: once, if the sandbox is fresh.
#[task(image = large)]
pub fn sum_once() -> (u64, u32) {
    static RUNS: AtomicU32 = AtomicU32::new(0);
    (sum(), RUNS.fetch_add(1, Ordering::Relaxed) + 1)
}

/// Never returns.
#[init]
pub fn init_for_ever(word: String) {
    log::info!("{word}");
    loop {
        std::hint::black_box(0);
    }
}

/// Says a word, works for so long, and fails.
///
/// # Errors
/// Always.
#[init]
pub fn init_that_fails_late(word: String, millis: u64) -> Result<(), String> {
    log::info!("{word}");
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_millis(millis) {
        // Calls of the host are counted.
        (0..100_000).for_each(|n| _ = std::hint::black_box(n));
    }
    Err(format!("all that {word} is in vain"))
}

/// Takes all the memory that it is given.
#[init]
pub fn init_without_end(mib: u32) {
    let taken: Vec<Vec<u8>> = (0..mib).map(|n| vec![n as u8 | 1; 1 << 20]).collect();
    std::hint::black_box(&taken);
    std::mem::forget(taken);
}

/// Panics.
#[init]
pub fn init_that_panics(why: String) {
    progress(1, 2);
    panic!("{why}");
}

/// Asks the store.
///
/// # Errors
/// What that says.
#[init]
pub fn init_that_asks_the_store() -> Result<(), store::StoreError> {
    store::put("from an init", &1).map(drop)
}

/// Needs randomness: a map's keys are hashed with a seed.
#[init]
pub fn numbers(count: u64) {
    let _ = NUMBERS.set((0..count).map(|n| (n, n * n)).collect());
}

/// Looks a number up.
#[task(image = numbers)]
pub fn square(n: u64) -> Option<u64> {
    NUMBERS.get()?.get(&n).copied()
}
