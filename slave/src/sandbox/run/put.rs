//! Arguments on their way into a guest's memory.
//!
//! Large ones are not copied: the pages that they arrived in are lent to the guest, if its memory
//! has just grown to where it wants them, and they lie alike within a page there.

use super::{Sandbox, missing};
use crate::raw::moving::Loan;
use crate::sandbox::imports::Abi;
use dpfw_protocol::recycle::Arrived;
use std::ops::Deref;

/// Arguments of a call.
pub(crate) enum Args<'a> {
    /// To be copied.
    Part(&'a [u8]),
    /// All of a task's, whose pages may be lent.
    Whole(Arrived),
}

impl Deref for Args<'_> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Self::Part(bytes) => bytes,
            Self::Whole(bytes) => bytes,
        }
    }
}

/// Arguments for which a guest is asked for room.
pub(super) struct Putting<'a> {
    args: Args<'a>,
    /// How it was before, if they may be lent.
    before: Option<Before>,
}

struct Before {
    /// Bytes of the guest's memory.
    size: usize,
    /// Whether large growths were given pages.
    backs: bool,
}

impl Sandbox {
    /// The guest is asked for room next.
    pub(super) fn begin_put<'a>(&mut self, args: Args<'a>) -> Putting<'a> {
        let is_large = matches!(&args, Args::Whole(payload) if payload.has_pages());
        let before = self.memory.filter(|_| is_large).map(|memory| {
            let size = memory.data_size(&self.store);
            // What it grows by now is for what is lent to it.
            Before { size, backs: self.store.data_mut().limiter.back(false) }
        });
        Putting { args, before }
    }

    /// The guest has said where it has room.
    pub(super) fn end_put(
        &mut self,
        putting: Putting<'_>,
        ptr: wasmtime::Result<u32>,
    ) -> wasmtime::Result<(u32, u32)> {
        let Putting { mut args, before } = putting;
        if let Some(before) = &before {
            self.store.data_mut().limiter.back(before.backs);
        }
        let (ptr, len) = (ptr?, args.len() as u32);
        let loan = match (&mut args, before) {
            (Args::Whole(payload), Some(before)) => self.lend(ptr, payload, before.size),
            _ => None,
        };
        match loan {
            Some(loan) => self.store.data_mut().limiter.hold(loan),
            None => self.write(ptr, &args)?,
        }
        Ok((ptr, len))
    }

    /// Lends a payload, which is gone then, if it can be.
    fn lend(&mut self, ptr: u32, payload: &mut Arrived, had: usize) -> Option<Loan> {
        let (memory, start) = (self.memory?, ptr as usize);
        let end = start.checked_add(payload.len())?;
        let room = memory.data_mut(&mut self.store).get_mut(start..end)?;
        // What was there before may be more than zeros.
        Loan::of(payload, room, had.saturating_sub(start))
    }

    /// Writes arguments to where the guest has said that it has room for them.
    pub(super) fn write(&mut self, ptr: u32, args: &[u8]) -> wasmtime::Result<()> {
        let memory = self.memory.ok_or_else(missing)?;
        memory.write(&mut self.store, ptr as usize, args).map_err(|_| {
            let len = args.len();
            Abi(format!("`dpfw_alloc({len})` gave {ptr}, where its memory has no such room")).into()
        })
    }
}
