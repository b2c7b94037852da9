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
    /// If they may be lent: what the guest had before.
    had: Option<usize>,
}

impl Sandbox {
    /// The guest is asked for room next.
    pub(super) fn begin_put<'a>(&mut self, args: Args<'a>) -> Putting<'a> {
        let is_large = matches!(&args, Args::Whole(payload) if payload.has_pages());
        let had = self.memory.filter(|_| is_large).map(|memory| memory.data_size(&self.store));
        if had.is_some() {
            self.store.data_mut().limiter.wait_with_pages();
        }
        Putting { args, had }
    }

    /// The guest has said where it has room.
    pub(super) fn end_put(
        &mut self,
        putting: Putting<'_>,
        ptr: wasmtime::Result<u32>,
    ) -> wasmtime::Result<(u32, u32)> {
        let Putting { mut args, had } = putting;
        let len = args.len() as u32;
        let mut is_lent = false;
        if let Some(had) = had {
            let loan = match (&ptr, &mut args) {
                (Ok(ptr), Args::Whole(payload)) => self.lend(*ptr, payload, had),
                _ => None,
            };
            is_lent = loan.is_some();
            self.store.data_mut().limiter.decide(loan);
        }
        let ptr = ptr?;
        if !is_lent {
            self.write(ptr, &args)?;
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
