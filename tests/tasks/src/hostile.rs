//! Tasks that do wrong.

use crate::good::count;
use dpfw_guest::task;
use std::hint::black_box;

/// Panics with a text. The test knows this line.
#[task]
pub fn boom(text: String) {
    panic!("{text}!") // line 10
}

/// Counts, then traps; gives nothing.
#[task]
pub fn count_then_trap() {
    count();
    abort();
}

/// Traps at 13.
#[task]
pub fn traps_at(n: u64, bad: u64) -> u64 {
    if n == bad {
        abort();
    }
    n
}

pub(crate) fn abort() -> ! {
    #[cfg(target_family = "wasm")]
    core::arch::wasm32::unreachable();
    #[cfg(not(target_family = "wasm"))]
    std::process::abort();
}

pub(crate) fn endless() -> ! {
    let mut n = 0u64;
    loop {
        n = black_box(n.wrapping_add(1));
    }
}

/// Loops for ever.
#[task]
pub fn forever() {
    endless()
}

/// Calls itself for ever.
#[task]
pub fn recurse(n: u64) -> u64 {
    descend(n)
}

#[expect(unconditional_recursion, reason = "that is the point")]
#[inline(never)]
fn descend(n: u64) -> u64 {
    black_box(descend(black_box(n) + 1)) + 1
}

/// Takes memory until there is none.
#[task]
pub fn hoard() -> usize {
    let mut all: Vec<Vec<u8>> = Vec::new();
    loop {
        all.push(black_box(vec![1; 1 << 20]));
        if all.len() == usize::MAX {
            return all.len();
        }
    }
}

/// Ends the process that it takes itself for.
#[task]
pub fn exit(code: i32) {
    std::process::exit(code)
}

/// What no encoder takes.
#[derive(Debug)]
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

/// Gives what cannot be encoded.
#[task]
pub fn unencodable() -> Never {
    Never
}

/// Takes what cannot be encoded.
#[task]
pub fn takes_unencodable(never: Never) {
    let _ = never;
}
