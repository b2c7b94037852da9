//! How much memory and how large tables a sandbox may have.

use super::shelf::{Growth, LARGE};
use crate::raw::moving::Loan;
use dpfw_protocol::error::{Cause, Limit};
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
    /// Whether large growths are given pages that are there already.
    backs: bool,
    /// Whether the last of `grown` is of the growth that was allowed last.
    is_backed: bool,
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
            backs: true,
            is_backed: false,
        }
    }

    /// Whether large growths from now on are given pages that are there already; and whether they
    /// were. It is decided before memory grows: afterwards the guest may have written there.
    pub(crate) fn back(&mut self, backs: bool) -> bool {
        std::mem::replace(&mut self.backs, backs)
    }

    /// Holds what was lent to where memory has grown.
    pub(crate) fn hold(&mut self, loan: Loan) {
        self.loans.push(loan);
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
            && self.backs
            && let Some(base) = self.base
        {
            let growth = Growth::to(base.saturating_add(current)..base.saturating_add(desired));
            self.is_backed = growth.is_some();
            self.grown.extend(growth);
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
