//! What happens between the arguments' bytes and the reply's.
//!
//! Owns: taking arguments apart, and the reply's tags. Does not: touch memory by address;
//! `abi` does. Invariant: whatever the arguments' bytes are, the answer is a reply.

#[cfg(any(target_family = "wasm", test))]
#[cfg_attr(not(target_family = "wasm"), expect(unreachable_pub, reason = "macros use it on wasm"))]
mod arguments;
#[cfg(any(target_family = "wasm", test))]
#[cfg_attr(not(target_family = "wasm"), expect(unreachable_pub, reason = "macros use it on wasm"))]
mod reply;
#[cfg(target_family = "wasm")]
pub use arguments::{Arguments, BadArguments};
#[cfg(target_family = "wasm")]
pub(crate) use reply::PIECES;
#[cfg(target_family = "wasm")]
pub use reply::fallible;
#[cfg(any(target_family = "wasm", test))]
#[cfg_attr(
    not(target_family = "wasm"),
    expect(unreachable_pub, reason = "macros use it on wasm")
)]
pub use reply::{Reply, infallible};

use std::fmt::Display;

/// A `Result`, by whatever name.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is called `Result` and is none",
    label = "not a `Result` with an error that has `Display`"
)]
pub trait Fallible {
    /// The type of success.
    type Value;
    /// The type of failure.
    type Error: Display;

    /// As the `Result` that it is.
    fn into_result(self) -> Result<Self::Value, Self::Error>;
}

impl<T, E: Display> Fallible for Result<T, E> {
    type Value = T;
    type Error = E;

    fn into_result(self) -> Self {
        self
    }
}
