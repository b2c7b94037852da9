//! The tasks of the whole-system tests that wait without a slot.
//!
//! A crate of its own: its module imports what waits, so all of its tasks run where they can.
//!
//! Owns: one task for each thing that waits, and for what a task can do besides. Does not:
//! assert; the tests do. Invariant: what is built waits for a key of the store and not for
//! time, so that a test decides when it goes on.

use dpfw_guest::store::{self, Event, StoreError, Versioned, Watch};
use dpfw_guest::{Bytes, init, resident, task};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

dpfw_guest::module!();

/// How a builder ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, dpfw_guest::Shape)]
pub enum End {
    /// With a value.
    Value,
    /// With an error.
    Fails,
    /// With a panic.
    Panics,
    /// Never, and it holds its slot.
    Spins,
}

/// Why there is no value.
#[derive(Debug)]
pub enum Failed {
    /// The store has refused.
    Store(StoreError),
    /// It was not built, and by whom.
    NotBuilt(String),
}

impl From<StoreError> for Failed {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Store(error) => error.fmt(f),
            Self::NotBuilt(by) => write!(f, "{by} did not build it"),
        }
    }
}

/// Adds one to a number.
fn count(key: &str) -> Result<(), StoreError> {
    loop {
        let before = store::get_versioned::<u64>(key)?;
        let Versioned { value, version } = before.unwrap_or(Versioned { value: 0, version: 0 });
        if store::compare_and_swap(key, &(value + 1), version)?.is_some() {
            return Ok(());
        }
    }
}

/// Waits until there is an entry.
fn arrival(key: &str) -> Result<(), StoreError> {
    while store::wait(key, 0)? == 0 {}
    Ok(())
}

/// Says that `me` builds and waits for `me/go`.
fn gate(me: &str) -> Result<(), StoreError> {
    count("+builds")?;
    store::put(me, &0u64)?;
    arrival(&format!("{me}/go"))
}

/// Needs an entry, and builds it if it has to: writes `me`, waits for `me/go`, and ends so.
/// `+builds` counts how often. What is built is `me`.
///
/// # Errors
/// [`Failed`].
#[task]
pub fn need(key: String, me: String, end: End) -> Result<String, Failed> {
    store::get_or_try_init(&key, || {
        gate(&me)?;
        match end {
            End::Value => Ok(me.clone()),
            End::Fails => Err(Failed::NotBuilt(me.clone())),
            End::Panics => panic!("{me} panics"),
            End::Spins => loop {
                std::hint::spin_loop();
            },
        }
    })
}

/// Needs an entry, and builds it if it has to: writes `me`, naps until there is `me/go`. Napping it
/// waits for nobody but itself. What is built is `me`; `+builds` counts how often.
///
/// # Errors
/// [`Failed`].
#[task]
pub fn need_nap(key: String, me: String) -> Result<String, Failed> {
    store::get_or_try_init(&key, || {
        count("+builds")?;
        store::put(&me, &0u64)?;
        let go = format!("{me}/go");
        while store::get_bytes(&go)?.is_none() {
            std::thread::sleep(Duration::from_millis(1));
        }
        Ok::<_, Failed>(me.clone())
    })
}

/// Needs an entry for which it needs another: builds the first, writes `me`, waits for `me/go`,
/// needs the second.
///
/// # Errors
/// [`Failed`].
#[task]
pub fn need_both(first: String, second: String, me: String) -> Result<String, Failed> {
    store::get_or_try_init(&first, || {
        gate(&me)?;
        store::get_or_try_init(&second, || Ok::<_, Failed>(me.clone()))
    })
}

/// Needs an entry that is quick to build; `+builds` counts how often it was.
///
/// # Errors
/// [`Failed`].
#[task]
pub fn need_number(key: String) -> Result<u64, Failed> {
    store::get_or_try_init(&key, || {
        count("+builds")?;
        Ok::<_, Failed>(key.len() as u64)
    })
}

/// Builds an entry that the store has no room for.
///
/// # Errors
/// [`Failed`].
#[task]
pub fn need_too_much(key: String, len: u64) -> Result<u64, Failed> {
    let text = store::get_or_try_init(&key, || {
        count("+builds")?;
        Ok::<_, Failed>("x".repeat(len as usize))
    })?;
    Ok(text.len() as u64)
}

/// Writes `me`, then waits until an entry has another version than this.
///
/// # Errors
/// [`StoreError`].
#[task]
pub fn change(key: String, version: u64, me: String) -> Result<u64, StoreError> {
    store::put(&me, &0u64)?;
    store::wait(&key, version)
}

/// Watches what begins with `prefix`, from what is there on if it is to be told, and writes `me`;
/// gives what it hears up to a change of `end`: the key, what happened and the version, or how many
/// were missed.
///
/// # Errors
/// [`StoreError`].
#[task]
pub fn hear(
    prefix: String,
    present: bool,
    me: String,
    end: String,
) -> Result<Vec<String>, StoreError> {
    let watch = if present { store::watch_with_present } else { store::watch };
    let mut changes = watch(&prefix)?;
    store::put(&me, &0u64)?;
    let mut heard = Vec::new();
    loop {
        let event = changes.next().transpose()?;
        let is_last = matches!(&event, Some(Event::Changed(change)) if change.key == end);
        heard.extend(event.map(said));
        if is_last {
            return Ok(heard);
        }
    }
}

/// An event in a line.
fn said(event: Event) -> String {
    match event {
        Event::Changed(it) => format!("{} {} {}", it.key, it.what, it.version),
        Event::Missed(count) => format!("missed {count}"),
        other => format!("{other:?}"),
    }
}

/// Watches, writes `me`, waits for `go`, and hears only then what has happened: how many changes,
/// and how many were missed.
///
/// # Errors
/// [`StoreError`].
#[task]
pub fn hear_late(prefix: String, me: String, go: String) -> Result<(u64, u64), StoreError> {
    let mut changes = store::watch(&prefix)?;
    store::put(&me, &0u64)?;
    arrival(&go)?;
    let (mut told, mut missed) = (0, 0);
    while let Some(event) = changes.try_next()? {
        match event {
            Event::Missed(count) => missed += count,
            _ => told += 1,
        }
    }
    Ok((told, missed))
}

/// Begins so many watches; writes `me` and waits for `go` if it has them all.
///
/// # Errors
/// [`StoreError`].
#[task]
pub fn hear_much(watches: u32, me: String, go: String) -> Result<(), StoreError> {
    let watches = (0..watches).map(|_| store::watch("")).collect::<Result<Vec<_>, _>>()?;
    store::put(&me, &0u64)?;
    arrival(&go)?;
    drop(watches);
    Ok(())
}

/// Needs a number, and builds one that is gone after a while, or never goes.
///
/// # Errors
/// [`StoreError`].
#[task]
pub fn need_on(key: String, ttl_ms: Option<u64>, number: u64) -> Result<u64, StoreError> {
    let ttl = ttl_ms.map(Duration::from_millis);
    let terms = ttl.map_or_else(store::Terms::default, store::ttl);
    terms.get_or_init(&key, || number)
}

/// Sleeps, and gives a value.
#[task]
pub fn doze(millis: u64, value: u64) -> u64 {
    std::thread::sleep(Duration::from_millis(millis));
    value
}

/// So many bytes.
#[task]
pub fn bytes(len: u64) -> Bytes {
    vec![7; len as usize].into()
}

/// Logs a line that it does not end, and then panics or waits for ever.
///
/// # Errors
/// [`StoreError`].
#[task]
pub fn mutter(text: String, panics: bool) -> Result<u64, StoreError> {
    print!("{text}");
    // Rust's own buffer is flushed at the end of a line, or here.
    let _ = std::io::Write::flush(&mut std::io::stdout());
    assert!(!panics, "it mutters no more");
    store::put("mutters", &0u64)?;
    store::wait("nobody", 0)
}

/// The memory that it was given, in bytes that it took.
#[task]
pub fn hoard(len: u64) -> u64 {
    std::hint::black_box(vec![1u8; len as usize]).len() as u64
}

/// A resident whose calls wait.
#[derive(Debug)]
pub struct Sleeper {
    calls: u64,
    watch: Option<Watch>,
}

#[resident]
impl Sleeper {
    /// At once.
    pub fn new() -> Self {
        Self { calls: 0, watch: None }
    }

    /// When there is an entry under that key.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn once_there(key: String) -> Result<Self, StoreError> {
        arrival(&key)?;
        Ok(Self::new())
    }

    /// Writes `me`, then waits until there is an entry; gives how often it was called.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn wait(&mut self, key: String, me: String) -> Result<u64, StoreError> {
        self.calls += 1;
        store::put(&me, &self.calls)?;
        arrival(&key)?;
        Ok(self.calls)
    }

    /// Sleeps; gives how often it was called.
    pub fn doze(&mut self, millis: u64) -> u64 {
        self.calls += 1;
        std::thread::sleep(Duration::from_millis(millis));
        self.calls
    }

    /// Begins to watch, and keeps what it watches with.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn listen(&mut self, prefix: String) -> Result<(), StoreError> {
        self.watch = Some(store::watch(&prefix)?);
        Ok(())
    }

    /// What it has heard since, in a line.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn heard(&mut self) -> Result<Option<String>, StoreError> {
        self.watch.as_mut().map_or(Ok(None), |watch| Ok(watch.try_next()?.map(said)))
    }

    /// Does not wait; gives how often it was called.
    pub fn tick(&mut self) -> u64 {
        self.calls += 1;
        self.calls
    }
}

impl Default for Sleeper {
    fn default() -> Self {
        Self::new()
    }
}

/// Puts a number, which is on disk when the task ends.
///
/// # Errors
/// [`StoreError`].
#[task]
pub fn put_durable(key: String, value: u64) -> Result<u64, StoreError> {
    store::durable().put(&key, &value)
}

/// Removes an entry, which is gone from the disk when the task ends.
///
/// # Errors
/// [`StoreError`].
#[task]
pub fn remove_durable(key: String) -> Result<bool, StoreError> {
    store::durable().remove(&key)
}

/// Waits until all is on disk.
///
/// # Errors
/// [`StoreError`].
#[task]
pub fn sync() -> Result<(), StoreError> {
    store::sync()
}

/// What an init fills, and tasks write to.
static WORDS: Mutex<Vec<u64>> = Mutex::new(Vec::new());

/// Words of 8 bytes in a page of 4 KiB.
const PAGE: usize = 512;

/// Fills every so many-th page of so many MiB; those of another seed are others.
#[init]
pub fn fill(mib: u32, stride: u32, seed: u64) {
    let mut words = vec![0; (mib as usize) << 17];
    for (number, page) in words.chunks_mut(PAGE).enumerate().step_by(stride.max(1) as usize) {
        page.iter_mut().zip(number as u64..).for_each(|(word, n)| *word = (n ^ seed) | 1);
    }
    *WORDS.lock().unwrap_or_else(PoisonError::into_inner) = words;
}

/// Watches the store, which an init may not, and gives the error that it gets.
///
/// # Errors
/// [`StoreError`].
#[init]
pub fn fill_and_watch(mib: u32) -> Result<(), StoreError> {
    let watch = store::watch("")?;
    fill(mib, 1, 0);
    drop(watch);
    Ok(())
}

/// Reads all of it, adds one to a word of every so many-th page, writes `me`, waits for an entry,
/// and reads all of it again: both sums.
///
/// # Errors
/// [`StoreError`].
#[task(image = fill)]
pub fn read_and_write(stride: u32, me: String, go: String) -> Result<(u64, u64), StoreError> {
    let mut words = WORDS.lock().unwrap_or_else(PoisonError::into_inner);
    let sum = |words: &[u64]| words.iter().fold(0, |sum: u64, word| sum.wrapping_add(*word));
    let before = sum(&words);
    for page in words.chunks_mut(PAGE).step_by(stride.max(1) as usize) {
        page[0] = page[0].wrapping_add(1);
    }
    store::put(&me, &0u64)?;
    arrival(&go)?;
    Ok((before, sum(&words)))
}
