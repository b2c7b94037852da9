//! The kit that the tests of the whole system are written with.
//!
//! Owns: starting masters and slaves in one process and slaves in processes of their own,
//! peers that speak the wire by hand, modules made of text, the log as something to wait
//! for, and waiting itself. Does not: assert anything about dpfw. Invariant: everything
//! waits for an event or a state, under one generous limit that names what was waited for.

#![forbid(unsafe_code)]

pub mod certs;
pub mod fleet;
pub mod hostile;
pub mod knock;
pub mod lines;
pub mod memory;
pub mod others;
pub mod peer;
pub mod process;
pub mod programs;
pub mod proxy;
pub mod soak;
pub mod wait;
pub mod wasm;
