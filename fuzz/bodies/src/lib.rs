//! What the fuzz targets do with bytes.
//!
//! Owns: a body for each target, which takes any bytes and panics if a promise is broken.
//! Does not: choose bytes; the fuzzer does (`cargo xtask fuzz`), and the tests take those of
//! `fuzz/corpus`. Invariant: a body's outcome depends on its bytes alone, but for randomness
//! and clocks that a guest asks for.

#![forbid(unsafe_code)]

pub mod arrivals;
pub mod certificate;
pub mod dispatch;
#[cfg(feature = "slave")]
pub mod facts;
pub mod frames;
pub mod hello;
#[cfg(feature = "slave")]
pub mod host;
pub mod knock;
pub mod messages;

/// What a target does with bytes.
pub type Body = fn(&[u8]);

/// The targets by their names, which are those of their corpora as well.
pub const TARGETS: &[(&str, Body)] = &[
    ("arrivals", arrivals::body),
    ("certificate", certificate::body),
    ("dispatch", dispatch::body),
    #[cfg(feature = "slave")]
    ("facts", facts::body),
    ("frames", frames::body),
    ("hello", hello::body),
    #[cfg(feature = "slave")]
    ("host", host::body),
    ("knock", knock::body),
    ("messages", messages::body),
];

/// Takes a number off the front; 0 when nothing is left.
fn number(data: &mut &[u8]) -> u8 {
    let Some((&first, rest)) = data.split_first() else { return 0 };
    *data = rest;
    first
}

/// Takes up to so many bytes off the front.
fn bytes<'a>(data: &mut &'a [u8], most: usize) -> &'a [u8] {
    let (taken, rest) = data.split_at(most.min(data.len()));
    *data = rest;
    taken
}
