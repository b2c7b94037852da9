//! What the larger examples share: slaves as processes of their own, the Rust files of the cargo
//! registry, progress and tables.
//!
//! Owns: nothing of dpfw; that is what the examples show. Invariant: what is started here is
//! ended here.

#![forbid(unsafe_code)]

mod bar;
pub mod registry;
mod report;
mod slaves;

pub use bar::{Bar, Unit};
pub use report::{Report, grouped};
pub use slaves::{Caches, Slaves};
