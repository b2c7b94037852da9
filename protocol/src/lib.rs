//! The wire of dpfw and the values that cross it.
//!
//! Owns: ids, frames, messages, limits, errors with their numbers, the description of a
//! module's tasks, and `Call`, the value that describes a task. Does not: read sockets,
//! clocks or files, or decide who runs what. Everything here is a function of its input,
//! and nothing that a peer sends can make it panic or allocate more than its limits.
//!
//! The layout of the bytes is written down in `docs/protocol.md`; the tests under
//! `tests/golden.rs` hold it.

#![forbid(unsafe_code)]

pub mod attempts;
pub mod batch;
pub mod call;
pub mod changes;
pub mod credit;
pub mod error;
pub mod frame;
pub mod hello;
pub mod ids;
pub mod image;
pub mod limits;
pub mod message;
pub mod module;
pub mod payload;
pub mod program;
pub mod receive;
pub mod recycle;
pub mod resident;
pub mod restart;
pub mod send;
mod shared;
pub mod signature;
pub mod store;
pub mod task_limits;
pub mod text;

pub use bytes::Bytes;
