//! Sandboxes: what a guest may call, and how one task is run in one.

pub(crate) mod abi;
pub(crate) mod batch;
pub(crate) mod clearing;
mod connections;
pub(crate) mod files;
pub(crate) mod host;
pub(crate) mod imports;
pub(crate) mod journal;
pub(crate) mod limiter;
pub(crate) mod outside;
pub(crate) mod plain;
pub(crate) mod prepared;
mod reset;
pub(crate) mod run;
mod shelf;
pub(crate) mod trap;
mod wasi;
pub(crate) mod watches;

#[cfg(test)]
mod tests;
