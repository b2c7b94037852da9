//! Tasks on the keyed store, and tasks that wait for it.

use dpfw_guest::store::{self, StoreError, Versioned};
use dpfw_guest::{Bytes, Shape, task};
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::time::Duration;

/// Reads a value.
///
/// # Errors
/// [`StoreError`].
#[task]
pub fn get(key: String) -> Result<Option<String>, StoreError> {
    store::get(&key)
}

/// Writes a value; gives its version.
///
/// # Errors
/// [`StoreError`].
#[task]
pub fn put(key: String, value: String) -> Result<u64, StoreError> {
    store::put(&key, &value)
}

/// Writes a value unless there is one.
///
/// # Errors
/// [`StoreError`].
#[task]
pub fn put_if_absent(key: String, value: String) -> Result<bool, StoreError> {
    Ok(store::put_if_absent(&key, &value)?.is_some())
}

/// Writes a value if the version is the expected one.
///
/// # Errors
/// [`StoreError`].
#[task]
pub fn swap(key: String, value: String, expected: u64) -> Result<Option<u64>, StoreError> {
    store::compare_and_swap(&key, &value, expected)
}

/// Removes an entry.
///
/// # Errors
/// [`StoreError`].
#[task]
pub fn remove(key: String) -> Result<bool, StoreError> {
    store::remove(&key)
}

/// An operation on an entry, and what it writes there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, Shape)]
pub enum Op {
    /// Reads it.
    Get,
    /// Writes it.
    Put(u64),
    /// Writes it unless it is there.
    PutIfAbsent(u64),
    /// Writes it if it has the version that the task has seen last, or that it was told.
    Swap(u64),
    /// Removes it.
    Remove,
}

/// What was answered to an [`Op`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, Shape)]
pub struct Answered {
    /// Whether the entry was there, or was written.
    pub hit: bool,
    /// The version, if it was told.
    pub version: Option<u64>,
    /// What was read.
    pub value: u64,
    /// The version that was expected.
    pub expected: u64,
}

/// Does one after the other, each on a key and with a version that its caller has seen there.
///
/// # Errors
/// [`StoreError`].
#[task(once)]
pub fn operate(all: Vec<(String, Op, u64)>) -> Result<Vec<Answered>, StoreError> {
    let mut seen = HashMap::new();
    let mut answers = Vec::new();
    for (key, op, told) in all {
        let seen = seen.entry(key.clone()).or_insert(told);
        let expected = *seen;
        let written = |version: Option<u64>| (version.is_some(), version, 0);
        let (hit, version, value) = match op {
            Op::Get => match store::get_versioned::<u64>(&key)? {
                Some(Versioned { value, version }) => (true, Some(version), value),
                None => (false, None, 0),
            },
            Op::Put(value) => written(Some(store::put(&key, &value)?)),
            Op::PutIfAbsent(value) => written(store::put_if_absent(&key, &value)?),
            Op::Swap(value) => written(store::compare_and_swap(&key, &value, expected)?),
            Op::Remove => (store::remove(&key)?, None, 0),
        };
        *seen = version.unwrap_or(*seen);
        answers.push(Answered { hit, version, value, expected });
    }
    Ok(answers)
}

/// The keys that begin like this.
///
/// # Errors
/// [`StoreError`].
#[task]
pub fn keys(prefix: String) -> Result<Vec<String>, StoreError> {
    store::list(&prefix).map(|entry| Ok(entry?.key)).collect()
}

/// Puts so many bytes under a key.
///
/// # Errors
/// [`StoreError`].
#[task]
pub fn fill(key: String, len: usize) -> Result<(), StoreError> {
    store::put_bytes(&key, &vec![1; len]).map(drop)
}

/// The length of the bytes under a key, and how often this has run at the slave.
///
/// # Errors
/// [`StoreError`].
#[task]
pub fn measure(key: String) -> Result<(u64, u64), StoreError> {
    let runs = store::get::<u64>("runs")?.unwrap_or(0) + 1;
    store::put("runs", &runs)?;
    let bytes = store::get::<Bytes>(&key)?.unwrap_or_default();
    Ok((bytes.len() as u64, runs))
}

/// Adds one to a number so many times, by compare-and-swap.
///
/// # Errors
/// [`StoreError`].
#[task]
pub fn increment(key: String, times: u32) -> Result<(), StoreError> {
    for _ in 0..times {
        loop {
            let before = store::get_versioned::<u64>(&key)?;
            let Versioned { value, version } = before.unwrap_or(Versioned { value: 0, version: 0 });
            if store::compare_and_swap(&key, &(value + 1), version)?.is_some() {
                break;
            }
        }
    }
    Ok(())
}

/// Between two looks at the store. Short: a test waits for it.
const PAUSE: Duration = Duration::from_millis(1);

fn await_key(key: &str) -> Result<(), StoreError> {
    while store::get_bytes(key)?.is_none() {
        std::thread::sleep(PAUSE);
    }
    Ok(())
}

/// Says that it is there by writing `arrived`, and gives `value` when `go` is there.
///
/// # Errors
/// [`StoreError`].
#[task]
pub fn gate(arrived: String, go: String, value: u64) -> Result<u64, StoreError> {
    store::put(&arrived, &value)?;
    await_key(&go)?;
    Ok(value)
}

/// The same, and never tried again.
///
/// # Errors
/// [`StoreError`].
#[task(once)]
pub fn gate_once(arrived: String, go: String, value: u64) -> Result<u64, StoreError> {
    store::put(&arrived, &value)?;
    await_key(&go)?;
    Ok(value)
}

/// Takes so many bytes of memory, writes `hoards`, and gives a value when `go` is there.
///
/// # Errors
/// [`StoreError`].
#[task]
pub fn hoard_and_wait(len: u64, value: u64, go: String) -> Result<u64, StoreError> {
    let hoard = std::hint::black_box(vec![1u8; len as usize]);
    store::put("hoards", &value)?;
    await_key(&go)?;
    Ok(value + u64::from(hoard.is_empty()))
}

/// Tells how far it is, writes `arrived`, and ends when `go` is there.
///
/// # Errors
/// [`StoreError`].
#[task]
pub fn report(done: u64, total: u64, arrived: String, go: String) -> Result<(), StoreError> {
    dpfw_guest::progress(done, total);
    store::put(&arrived, &done)?;
    await_key(&go)
}

/// Writes `arrived` and loops for ever, without calling the host again.
///
/// # Errors
/// [`StoreError`].
#[task]
pub fn spin(arrived: String) -> Result<(), StoreError> {
    store::put(&arrived, &0u64)?;
    super::hostile::endless()
}

/// Keeps its slot busy while there is an entry `stuck`, then gives `value`: at a slave without one,
/// at once.
///
/// # Errors
/// [`StoreError`].
#[task(effect_free)]
pub fn unless_stuck(value: u64) -> Result<u64, StoreError> {
    while store::list("stuck").next().is_some() {
        (0..100_000).for_each(|n| _ = std::hint::black_box(n));
    }
    Ok(value)
}

/// The same, not declared to be free of effects.
///
/// # Errors
/// [`StoreError`].
#[task]
pub fn unless_stuck_and_alone(value: u64) -> Result<u64, StoreError> {
    unless_stuck(value)
}

/// Writes `arrived` and sleeps for a day, in one call of the host.
///
/// # Errors
/// [`StoreError`].
#[task]
pub fn sleep(arrived: String) -> Result<(), StoreError> {
    store::put(&arrived, &0u64)?;
    std::thread::sleep(Duration::from_secs(86_400));
    Ok(())
}
