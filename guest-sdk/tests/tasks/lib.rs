//! Tasks for `tests/wasm.rs`: whatever the quickstart does not have.

#![forbid(unsafe_code)]
#![deny(warnings, missing_docs, unreachable_pub)]

use dpfw_guest::{Bytes, resident, task};

dpfw_guest::module!();

/// Adds "two" numbers \ and more.
///
/// Second paragraph.
#[task]
pub fn add(a: i64, b: i64) -> i64 {
    a + b
}

#[task(name = "echo")]
pub(crate) fn give_back(bytes: Bytes) -> Bytes {
    bytes
}

/// Takes 256 KiB of the heap for itself.
#[task]
fn takes() -> usize {
    std::hint::black_box(vec![1u8; 256 * 1024]).len()
}

#[task(once)]
fn boom(text: String) {
    panic!("{text}!")
}

#[task]
fn any() {
    std::panic::panic_any(7)
}

/// What no encoder takes.
pub struct Never;

impl serde::Serialize for Never {
    fn serialize<S: serde::Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
        Err(serde::ser::Error::custom("not today"))
    }
}

impl<'de> serde::Deserialize<'de> for Never {
    fn deserialize<D: serde::Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
        Ok(Self)
    }
}

#[task]
fn bad() -> Never {
    Never
}

/// A resident.
#[derive(Debug, Default)]
pub struct Tally {
    all: Vec<i64>,
}

#[resident]
impl Tally {
    /// An empty one.
    pub fn new() -> Self {
        Self::default()
    }

    /// One with a number in it.
    ///
    /// # Errors
    /// Below zero.
    pub fn of(first: i64) -> Result<Self, String> {
        if first < 0 { Err("below zero".to_owned()) } else { Ok(Self { all: vec![first] }) }
    }

    /// Adds a number; gives how many there are.
    pub fn add(&mut self, number: i64, r#as: Option<String>) -> usize {
        self.all.extend(r#as.is_none().then_some(number));
        self.all.len()
    }

    /// Its numbers.
    pub fn all(&self) -> Vec<i64> {
        self.all.clone()
    }

    /// Its numbers.
    pub fn save(&self) -> Vec<i64> {
        self.all()
    }

    /// From its numbers.
    pub fn load(all: Vec<i64>) -> Self {
        Self { all }
    }
}
