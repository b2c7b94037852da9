//! Tasks that are built in many ways; `tests/system/variants.rs` says in which.

use dpfw_guest::task;
use std::collections::HashMap;
use std::fmt;
use std::sync::LazyLock;

static SQUARES: LazyLock<Vec<u64>> = LazyLock::new(|| (0..1000).map(|n| n * n).collect());

/// The square of a small number, from a table.
#[task(effect_free)]
pub fn square(n: u16) -> Option<u64> {
    SQUARES.get(usize::from(n)).copied()
}

/// How often each letter is in a text: a map whose order is random.
#[task(effect_free)]
pub fn letters(text: String) -> HashMap<char, u32> {
    let mut letters = HashMap::new();
    for letter in text.chars() {
        *letters.entry(letter).or_default() += 1;
    }
    letters
}

/// Floats, as integers too: what cannot be converted does not trap.
#[task(effect_free)]
pub fn floors(floats: Vec<f64>) -> Vec<i32> {
    floats.into_iter().map(|float| float.floor() as i32).collect()
}

/// Why there is no root.
#[derive(Debug)]
pub struct Negative(f64);

impl fmt::Display for Negative {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} has no root", self.0)
    }
}

/// An error value.
#[task(effect_free)]
pub fn root(of: f64) -> Result<f64, Negative> {
    if of < 0.0 { Err(Negative(of)) } else { Ok(of.sqrt()) }
}

/// A panic; nothing is caught where panics end a program.
#[task(effect_free)]
pub fn boom(text: String) -> u32 {
    let caught = std::panic::catch_unwind(|| panic!("boom: {text}"));
    caught.map_or(1, |()| 0)
}
