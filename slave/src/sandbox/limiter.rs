//! How much memory and how large tables a sandbox may have.

use crate::raw::Huge;
use dpfw_protocol::error::{Cause, Limit};
use wasmtime::ResourceLimiter;

/// Refuses growth beyond the limits, and remembers that it did: a guest that fails after
/// a refusal failed of it.
#[derive(Debug)]
pub(crate) struct Limiter {
    memory: u64,
    table: usize,
    refused: Option<Limit>,
    /// Where the memory begins, once it is known.
    base: Option<usize>,
    /// Bounded by the growths of [`LARGE`] bytes that the limit on memory allows.
    huge: Vec<Huge>,
}

/// Memory that grows by so much at once is about to hold a large payload.
const LARGE: usize = 4 << 20;

impl Limiter {
    /// Allows this much.
    pub(crate) fn new(memory: u64, table: usize) -> Self {
        Self { memory, table, refused: None, base: None, huge: Vec::new() }
    }

    /// Says where the memory begins.
    pub(crate) fn set_base(&mut self, base: *const u8) {
        self.base = Some(base.expose_provenance());
    }

    /// The limit that was hit last, as an error.
    pub(crate) fn refused(&self) -> Option<Cause> {
        let limit = self.refused.clone()?;
        let allowed = match limit {
            Limit::Table => self.table as u64,
            _ => self.memory,
        };
        Some(Cause::Limit { limit, allowed })
    }
}

impl ResourceLimiter for Limiter {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let allowed = desired as u64 <= self.memory;
        if !allowed || maximum.is_some_and(|most| desired > most) {
            self.refused = Some(Limit::Memory);
            return Ok(allowed);
        }
        if desired - current >= LARGE {
            let huge = self.base.and_then(|base| Huge::within(base, current, desired));
            self.huge.extend(huge);
        }
        Ok(allowed)
    }

    fn table_growing(
        &mut self,
        _current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let allowed = desired <= self.table;
        if !allowed {
            self.refused = Some(Limit::Table);
        }
        Ok(allowed)
    }
}
