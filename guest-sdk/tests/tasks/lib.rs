//! Tasks for `tests/wasm.rs`: whatever the quickstart does not have.

#![forbid(unsafe_code)]
#![deny(warnings, missing_docs, unreachable_pub)]

use dpfw_guest::{Bytes, task};

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
