//! The tasks of the quickstart.
//!
//! Owns: what slaves run. Does not: know masters; they call `add::call(2, 3)` and dispatch
//! it. Invariant: each task is a plain function, tested like any other.

use dpfw_guest::task;
use dpfw_guest::{Shape, resident, store, store::StoreError};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;

dpfw_guest::module!();

/// Adds two numbers.
#[task(effect_free)]
pub fn add(a: i64, b: i64) -> i64 {
    a + b
}

/// Counts how often each word is in a text, in lower case.
#[task(effect_free)]
pub fn count_words(text: String) -> BTreeMap<String, u64> {
    let mut counts = BTreeMap::new();
    for word in text.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()) {
        *counts.entry(word.to_lowercase()).or_default() += 1;
    }
    counts
}

/// The word at a place in a text, counted from 0.
///
/// # Panics
/// If there is none: the caller gets the message, the file and the line.
#[task(effect_free)]
pub fn word_at(text: String, at: u32) -> String {
    let words: Vec<_> = text.split_whitespace().collect();
    match words.get(at as usize) {
        Some(word) => (*word).to_owned(),
        None => panic!("no word {at} in a text of {}", words.len()),
    }
}

/// Divides two numbers, rounding down.
///
/// # Errors
/// [`DivideError`] if there is no such number.
#[task(effect_free)]
pub fn divide(a: i64, b: i64) -> Result<i64, DivideError> {
    match b {
        0 => Err(DivideError::ByZero { a }),
        b => a.checked_div_euclid(b).ok_or(DivideError::TooLarge),
    }
}

/// Why two numbers cannot be divided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DivideError {
    /// The second number is zero.
    ByZero {
        /// The first.
        a: i64,
    },
    /// The result does not fit.
    TooLarge,
}

impl fmt::Display for DivideError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ByZero { a } => write!(f, "{a} cannot be divided by zero"),
            Self::TooLarge => f.write_str("the result does not fit into 64 bits"),
        }
    }
}

impl std::error::Error for DivideError {}

/// A point of the plane.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, Shape)]
pub struct Point {
    /// To the right.
    pub x: f64,
    /// Upwards.
    pub y: f64,
}

/// A rectangle with sides along the axes.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, Shape)]
pub struct Frame {
    /// The lowest corner on the left.
    pub low: Point,
    /// The highest corner on the right.
    pub high: Point,
}

/// The smallest frame around all points; none around no points.
#[task(effect_free)]
pub fn frame(points: Vec<Point>) -> Option<Frame> {
    let first = *points.first()?;
    let around = Frame { low: first, high: first };
    Some(points.iter().fold(around, |around, point| Frame {
        low: Point { x: around.low.x.min(point.x), y: around.low.y.min(point.y) },
        high: Point { x: around.high.x.max(point.x), y: around.high.y.max(point.y) },
    }))
}

/// Remembers a text under a name in the slave's keyed store, and gives what was
/// remembered there before.
///
/// # Errors
/// [`StoreError`] if the store refuses.
#[task]
pub fn remember(name: String, text: String) -> Result<Option<String>, StoreError> {
    let key = format!("remembered/{name}");
    let before = store::get(&key)?;
    store::put(&key, &text)?;
    log::info!("{name} is now {text}");
    Ok(before)
}

/// The word that was counted most often, of counts that lie in the slave's keyed store.
///
/// # Errors
/// [`StoreError`] if they are no counts.
#[task]
pub fn commonest(key: String) -> Result<Option<String>, StoreError> {
    let counts: BTreeMap<String, u64> = store::get(&key)?.unwrap_or_default();
    Ok(counts.into_iter().max_by_key(|(_, count)| *count).map(|(word, _)| word))
}

/// What is remembered under a name.
///
/// # Errors
/// [`StoreError`] if it is no text.
#[task]
pub fn recall(name: String) -> Result<Option<String>, StoreError> {
    store::get(&format!("remembered/{name}"))
}

/// Adds up the numbers below `limit`, telling how far it is.
#[task(effect_free)]
pub fn sum_below(limit: u64) -> u64 {
    const STEP: u64 = 1 << 20;
    let mut sum = 0u64;
    for start in (0..limit).step_by(STEP as usize) {
        dpfw_guest::progress(start, limit);
        sum = (start..limit.min(start + STEP)).fold(sum, u64::wrapping_add);
    }
    sum
}

/// Gives the next number, each time it is asked.
#[derive(Debug)]
pub struct Counter {
    n: u64,
}

#[resident]
impl Counter {
    /// Begins behind this number.
    pub fn new(start: u64) -> Self {
        Self { n: start }
    }

    /// The next number.
    pub fn bump(&mut self) -> u64 {
        self.n += 1;
        self.n
    }
}

#[cfg(test)]
mod tests;
