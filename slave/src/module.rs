//! Modules and images: found out, warmed or initialised, compiled once, kept on disk, mapped into
//! each slot's engine.

mod audited;
pub(crate) mod cache;
mod cell;
pub(crate) mod code;
mod compile;
pub(crate) mod confine;
pub(crate) mod facts;
pub(crate) mod globals;
pub(crate) mod image;
pub(crate) mod load;
pub(crate) mod loader;
mod offers;
mod owners;
pub(crate) mod snapshot;
mod waiting;
pub(crate) mod warm;
