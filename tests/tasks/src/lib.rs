//! The tasks of the whole-system tests.
//!
//! Owns: one task for each thing that a task can do, or do wrong. Does not: assert; the
//! tests do. Invariant: a task that waits, waits for a key of the store and not for time,
//! so that a test decides when it goes on; but for `nap`, of which loads are made.

mod good;
mod hostile;
mod imaged;
mod kept;
mod keyed;
mod residents;
mod world;

pub use dpfw_guest::Bytes;
pub use good::*;
pub use hostile::*;
pub use imaged::*;
pub use kept::*;
pub use keyed::*;
pub use residents::*;
pub use world::*;

dpfw_guest::module!();
