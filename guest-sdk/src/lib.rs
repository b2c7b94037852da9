//! What tasks are written with.
//!
//! A tasks crate is compiled twice: to WebAssembly, for the slaves, and for the host,
//! where every task has a typed call beside it. Its build script does the first:
//!
//! ```no_run
//! // build.rs
//! fn main() {
//!     dpfw_guest_build::build();
//! }
//! ```
//!
//! ```standalone_crate
//! // src/lib.rs
//! use dpfw_guest::task;
//!
//! # #[cfg(any())]
//! dpfw_guest::module!(); // once, at the crate's root
//! # dpfw_guest::module!(b"\0asm\x01\0\0\0");
//!
//! /// Adds two numbers.
//! #[task]
//! pub fn add(a: i64, b: i64) -> i64 {
//!     a + b
//! }
//!
//! fn main() {
//!     assert_eq!(add(2, 3), 5); // a plain function
//!     assert_eq!(add::call(2, 3).to_string(), "add(2, 3)"); // what a master dispatches
//! }
//! ```
//!
//! [`macro@init`] makes a function that fills memory from which tasks then start, and
//! [`macro@resident`] a type whose instances stay alive on one slave and keep their state from call
//! to call:
//!
//! ```standalone_crate
//! use dpfw_guest::resident;
//! # dpfw_guest::module!(b"\0asm\x01\0\0\0");
//!
//! pub struct Counter {
//!     n: u64,
//! }
//!
//! #[resident]
//! impl Counter {
//!     pub fn new(start: u64) -> Self {
//!         Self { n: start }
//!     }
//!
//!     pub fn bump(&mut self) -> u64 {
//!         self.n += 1;
//!         self.n
//!     }
//! }
//!
//! fn main() {
//!     assert_eq!(Counter::new(7).bump(), 8); // a plain type
//!     assert_eq!(counter::bump().to_string(), "counter.bump()"); // what it is called by
//! }
//! ```
//!
//! Within a task the [`log`] crate logs to the master (up to `Debug`), [`progress`]
//! reports how far it is, [`store`] is the slave's keyed store, and [`net`] connects to where the
//! slave's operator has granted that. All of them work on the host as well, so that tasks have ordinary unit tests.
//!
//! Owns: the guest's side of the ABI, version 1. Does not: compile anything, or run it.
//! Invariant: every task starts from the same memory, so nothing here draws randomness,
//! reads clocks or the environment; an instance has at most one resident.

#![deny(unsafe_code)]
#![expect(clippy::needless_doctest_main, reason = "a build script has a `main`")]

mod bytes;
mod export;
mod module;
pub mod net;
mod progress;
#[cfg(any(target_family = "wasm", test))]
#[cfg_attr(not(target_family = "wasm"), expect(unreachable_pub, reason = "macros use it on wasm"))]
mod resident;
mod shape;
pub mod store;
mod wire;

#[cfg(target_family = "wasm")]
mod abi;
#[cfg(target_family = "wasm")]
mod warm;

pub use bytes::Bytes;
pub use dpfw_guest_macros::{Shape, init, resident, task};
pub use progress::progress;
pub use shape::Shape;

#[cfg(not(target_family = "wasm"))]
pub use dpfw_protocol::{
    call::{Call, Task},
    image::Init,
    module::Module,
    resident::{Class, MethodCall, Spawn},
};

/// What the macros' code needs; no part of the interface.
#[doc(hidden)]
pub mod __private {
    pub use crate::export::Fallible;
    pub use serde::{Serialize, de::DeserializeOwned};

    #[cfg(target_family = "wasm")]
    pub use crate::{
        abi::{run, run_batch},
        export::{Arguments, BadArguments, Reply, fallible, infallible},
        resident::{construct, method, try_construct},
    };

    #[cfg(not(target_family = "wasm"))]
    pub use {
        crate::module::{Embedded, module},
        dpfw_protocol::call::StaticTask,
        std::sync::OnceLock,
    };
}
