//! A sandbox that is used again, put back to its beginning.
//!
//! Making an instance and throwing it away costs more than all that a small task does. All that a
//! guest can change in an instance is its memory, its globals, its tables, and which segments there
//! still are. A module whose code has nothing that changes tables or drops segments is put back by
//! its memory and its globals; see [`Facts::resets`](crate::module::facts::Facts). Invariants: what
//! is used again is, to the guest, what a new one is; what was not put back whole is thrown away, as
//! is what has trapped, or has grown. All that the host keeps of a sandbox is made anew.

use super::Sandbox;
use crate::raw::pages::keep_small;
use crate::sandbox::host::Host;
use crate::sandbox::prepared::Prepared;
use crate::sandbox::reset::{Pristine, is_untouched};
use crate::watch::Stop;
use dpfw_protocol::error::Cause;
use std::sync::Arc;
use wasmtime::{Global, Val};

/// What a sandbox was in the beginning.
pub(super) struct Beginning {
    globals: Vec<(Global, Val)>,
    pristine: Pristine,
    /// Bytes of memory, and elements of tables.
    used: (u64, u64),
}

impl Sandbox {
    /// Notes what it is in the beginning, if it can be put back to that.
    pub(super) fn note_beginning(&mut self) {
        let Some(again) = &self.prepared.again else { return };
        let Some(memory) = self.memory else { return };
        if !keep_small(memory.data_mut(&mut self.store)) {
            return;
        }
        // Memory that was not mapped but written, by its data or at its start, has no original.
        if !is_untouched(again.pages, memory.data(&self.store)) {
            return;
        }
        let global =
            |export| self.instance.get_module_export(&mut self.store, export)?.into_global();
        let Some(globals) = again.globals.iter().map(global).collect::<Option<Vec<_>>>() else {
            return;
        };
        let value = |global: Global| (global, global.get(&mut self.store));
        let globals = globals.into_iter().map(value).collect();
        let (used, pristine) = (self.store.data().limiter.used(), Pristine::default());
        self.beginning = Some(Beginning { globals, pristine, used });
    }

    /// Puts it back to its beginning, and leaves it to nobody; if that cannot be done it is gone.
    pub(crate) fn put_back(mut self, nobody: Host) -> Option<Self> {
        let (mut beginning, memory) = (self.beginning.take()?, self.memory?);
        let prepared = Arc::clone(&self.prepared);
        let again = prepared.again.as_ref()?;
        *self.store.data_mut() = nobody;
        let bytes = memory.data_size(&self.store) as u64;
        if bytes != beginning.used.0 {
            return None;
        }
        if again.clearing.is_due(bytes) {
            again.clearing.threw_away();
            return None;
        }
        let data = memory.data_mut(&mut self.store);
        let is_back = again.clearing.time(bytes, || beginning.pristine.reset(again.pages, data));
        for (global, value) in &beginning.globals {
            global.set(&mut self.store, *value).ok()?;
        }
        self.beginning = Some(beginning);
        is_back.then_some(self)
    }

    /// Whether it is one of this module.
    pub(crate) fn is_of(&self, prepared: &Prepared) -> bool {
        std::ptr::eq(&*self.prepared, prepared)
    }

    /// Whether somebody may have what is there already, which then counts as theirs.
    pub(crate) fn is_allowed(&self, host: &mut Host) -> bool {
        let there = self.beginning.as_ref().zip(self.memory);
        there.is_some_and(|(beginning, memory)| {
            host.limiter.begin(beginning.used, memory.data_ptr(&self.store))
        })
    }

    /// Begins anew, on behalf of somebody else.
    ///
    /// # Errors
    /// The [`Cause`] if the attempt was stopped.
    pub(crate) fn begin(
        mut self,
        host: Host,
        stop: impl Fn() -> Option<Stop>,
    ) -> Result<Self, Cause> {
        *self.store.data_mut() = host;
        self.store.set_epoch_deadline(1);
        // As of a new one: a stop that came before has raised the epoch already.
        match stop() {
            Some(stop) => Err(stop.into()),
            None => Ok(self),
        }
    }
}

#[cfg(test)]
mod tests;
