//! Modules: found out, warmed, compiled once, kept on disk, mapped into each slot's engine.

pub(crate) mod cache;
mod compile;
pub(crate) mod facts;
pub(crate) mod load;
pub(crate) mod loader;
pub(crate) mod warm;
