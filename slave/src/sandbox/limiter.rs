//! How much memory and how large tables a sandbox may have.

use super::shelf::{Growth, LARGE};
use crate::raw::moving::Loan;
use dpfw_protocol::error::{Cause, Limit};
use std::ops::Range;
use wasmtime::ResourceLimiter;

/// Refuses growth beyond the limits, and remembers that it did: a guest that fails after
/// a refusal failed of it.
///
/// The limits are on all memories and on all tables together: a module may have many of
/// each. Growth that was allowed stays counted where the system then has no memory for it;
/// nothing of a sandbox ever shrinks.
#[derive(Debug)]
pub(crate) struct Limiter {
    memory: Total,
    table: Total,
    refused: Option<Limit>,
    /// How often a memory began to grow from nothing: each does when it is made.
    begun: u32,
    /// Where the memory begins, once it is known and the only one.
    base: Option<usize>,
    /// Bounded by the growths of [`LARGE`] bytes that the limit on memory allows.
    grown: Vec<Growth>,
    /// What stands in memory that has grown. Bounded likewise.
    loans: Vec<Loan>,
    growing: Growing,
    /// Whether the last of `grown` is of the growth that was allowed last.
    is_backed: bool,
}

/// What becomes of large growths.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
enum Growing {
    /// They are given pages that are there already.
    #[default]
    Backed,
    /// They are waited with, and here is where the memory grew to.
    Noted(Range<usize>),
    /// Nothing is done for them.
    Bare,
}

/// How much there is of what is limited, and how much there may be.
#[derive(Debug)]
struct Total {
    used: u64,
    allowed: u64,
}

impl Total {
    fn of(allowed: u64) -> Self {
        Self { used: 0, allowed }
    }

    /// Takes what a part grows by, if it is there.
    fn take(&mut self, current: usize, desired: usize) -> bool {
        let used = self.used.saturating_add(desired.saturating_sub(current) as u64);
        let fits = used <= self.allowed;
        if fits {
            self.used = used;
        }
        fits
    }
}

/// What a memory of 32 bits can have at most.
const MOST: usize = 4 << 30;

impl Limiter {
    /// Allows this much.
    pub(crate) fn new(memory: u64, table: usize) -> Self {
        Self {
            memory: Total::of(memory),
            table: Total::of(table as u64),
            refused: None,
            begun: 0,
            base: None,
            grown: Vec::new(),
            loans: Vec::new(),
            growing: Growing::Backed,
            is_backed: false,
        }
    }

    /// Memory that grows is the kernel's business alone.
    pub(crate) fn back_nothing(&mut self) {
        self.growing = Growing::Bare;
    }

    /// Memory that grows from now on may be for what is lent to it.
    pub(crate) fn wait_with_pages(&mut self) {
        if self.growing == Growing::Backed {
            self.growing = Growing::Noted(0..0);
        }
    }

    /// Holds what was lent to where memory has grown since; if nothing was, that memory is given
    /// pages of its own.
    pub(crate) fn decide(&mut self, loan: Option<Loan>) {
        let noted = match &self.growing {
            Growing::Noted(noted) => Some(noted.clone()),
            Growing::Backed | Growing::Bare => None,
        };
        if noted.is_some() {
            self.growing = Growing::Backed;
        }
        match (loan, noted) {
            (Some(loan), _) => self.loans.push(loan),
            (None, Some(range)) => self.grown.extend(Growth::to(range)),
            (None, None) => {}
        }
    }

    /// Says where the memory begins. Of a sandbox with several it is not told which one
    /// grows, so that none is taken for another.
    pub(crate) fn set_base(&mut self, base: *const u8) {
        self.base = (self.begun <= 1).then(|| base.expose_provenance());
    }

    /// How much memory there is, and how large the tables are.
    pub(crate) fn used(&self) -> (u64, u64) {
        (self.memory.used, self.table.used)
    }

    /// Begins with what is there already: one memory, which begins there. Whether that is allowed.
    pub(crate) fn begin(&mut self, (memory, table): (u64, u64), base: *const u8) -> bool {
        if memory > self.memory.allowed || table > self.table.allowed {
            return false;
        }
        (self.memory.used, self.table.used, self.begun) = (memory, table, 1);
        self.set_base(base);
        true
    }

    /// What was refused before is no reason for what comes.
    pub(crate) fn forgive(&mut self) {
        self.refused = None;
    }

    /// The limit that was hit last, as an error.
    pub(crate) fn refused(&self) -> Option<Cause> {
        let limit = self.refused.clone()?;
        let allowed = match limit {
            Limit::Table => self.table.allowed,
            _ => self.memory.allowed,
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
        self.begun = self.begun.saturating_add(u32::from(current == 0));
        self.is_backed = false;
        // What wasmtime would refuse in any case is not counted.
        let allowed = desired <= maximum.unwrap_or(MOST) && self.memory.take(current, desired);
        if !allowed {
            self.refused = Some(Limit::Memory);
        } else if desired - current >= LARGE
            && let Some(base) = self.base
        {
            let range = base.saturating_add(current)..base.saturating_add(desired);
            match &mut self.growing {
                Growing::Backed => {
                    let growth = Growth::to(range);
                    self.is_backed = growth.is_some();
                    self.grown.extend(growth);
                }
                Growing::Noted(noted) => *noted = range,
                Growing::Bare => {}
            }
        }
        Ok(allowed)
    }

    fn memory_grow_failed(&mut self, error: wasmtime::Error) -> wasmtime::Result<()> {
        tracing::debug!(%error, "a guest's memory did not grow");
        if std::mem::take(&mut self.is_backed)
            && let Some(growth) = self.grown.pop()
        {
            growth.undo();
        }
        if let Growing::Noted(noted) = &mut self.growing {
            *noted = 0..0;
        }
        Ok(())
    }

    fn table_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        if maximum.is_some_and(|most| desired > most && desired as u64 <= self.table.allowed) {
            return Ok(false);
        }
        let allowed = self.table.take(current, desired);
        if !allowed {
            self.refused = Some(Limit::Table);
        }
        Ok(allowed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_memories_together_are_held_to_the_limit() -> wasmtime::Result<()> {
        let mut limiter = Limiter::new(10 << 16, 0);
        for _ in 0..4 {
            assert!(limiter.memory_growing(0, 2 << 16, None)?);
        }
        assert!(limiter.memory_growing(2 << 16, 4 << 16, None)?);
        assert_eq!(limiter.refused(), None);
        assert!(!limiter.memory_growing(2 << 16, 3 << 16, None)?);
        let limit = Limit::Memory;
        assert_eq!(limiter.refused(), Some(Cause::Limit { limit, allowed: 10 << 16 }));
        Ok(())
    }

    #[test]
    fn all_tables_together_are_held_to_the_limit() -> wasmtime::Result<()> {
        let mut limiter = Limiter::new(0, 100);
        assert!(limiter.table_growing(0, 60, None)? && limiter.table_growing(0, 30, None)?);
        assert!(limiter.table_growing(30, 40, None)?);
        assert!(!limiter.table_growing(60, 61, None)?);
        let limit = Limit::Table;
        assert_eq!(limiter.refused(), Some(Cause::Limit { limit, allowed: 100 }));
        Ok(())
    }

    #[test]
    fn what_is_beyond_a_parts_own_maximum_is_not_counted() -> wasmtime::Result<()> {
        let mut limiter = Limiter::new(10 << 16, 100);
        assert!(!limiter.memory_growing(0, 2 << 16, Some(1 << 16))?);
        assert!(!limiter.table_growing(0, 20, Some(10))?);
        assert!(limiter.memory_growing(0, 10 << 16, None)? && limiter.table_growing(0, 100, None)?);
        Ok(())
    }

    #[test]
    fn of_several_memories_none_is_taken_for_another() -> wasmtime::Result<()> {
        let memory = [0u8; 1];
        for (memories, is_known) in [(1, true), (2, false)] {
            let mut limiter = Limiter::new(10 << 16, 0);
            for _ in 0..memories {
                assert!(limiter.memory_growing(0, 1 << 16, None)?);
            }
            limiter.set_base(memory.as_ptr());
            assert_eq!(limiter.base.is_some(), is_known);
        }
        Ok(())
    }
}
