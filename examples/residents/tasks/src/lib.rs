//! The residents of the example.
//!
//! Owns: what stays alive on a slave, as plain types that a test or a program without dpfw
//! uses just as well. Does not: know masters, or keys. Invariant: each saves all that it is, so
//! that one that was loaded again cannot be told from the one that was saved.

mod accounts;
mod numbers;
mod tuples;

pub use accounts::{Bank, Changed, Opened, bank};
pub use numbers::{Generator, generator};
pub use tuples::{TupleServer, Value, tuple_server};

dpfw_guest::module!();

#[cfg(test)]
mod tests;
