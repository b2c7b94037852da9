//! Many calls at one go: the guest makes them, and writes down how far it is.
//!
//! Entering a guest costs several times what a small call does there. Invariant: what the guest says
//! of its replies is read from its memory after it has returned or trapped, and held against what
//! is there.

use super::{Sandbox, typed};
use crate::sandbox::abi::broken;
use crate::sandbox::imports::{placed, slice};
use crate::sandbox::run::put::Args;
use dpfw_protocol::error::Cause;
use wasmtime::TypedFunc;

/// How a batch ended in a sandbox.
pub(crate) struct Many {
    /// Where the guest keeps the address and the length of its replies, once it has said so.
    at: Option<u32>,
    pub(crate) ended: wasmtime::Result<()>,
}

impl Many {
    /// Whether the guest had room for the calls.
    pub(crate) fn has_calls(&self) -> bool {
        self.at.is_some()
    }
}

impl Sandbox {
    /// Whether the guest makes many calls of this function at one go.
    pub(crate) fn takes_batches(&self, function: usize) -> bool {
        self.prepared.functions.get(function).is_some_and(|function| function.batch.is_some())
    }

    /// Has the guest make the calls of a batch, or as many as it comes to.
    pub(crate) fn call_batch(&mut self, function: usize, calls: &[u8]) -> Many {
        let mut at = None;
        let ended = self.make(function, calls, &mut at);
        Many { at, ended }
    }

    fn make(
        &mut self,
        function: usize,
        calls: &[u8],
        at: &mut Option<u32>,
    ) -> wasmtime::Result<()> {
        let place = self.put(Args::Part(calls))?;
        *at = Some(self.replies()?.call(&mut self.store, ())?);
        self.batch(function)?.call(&mut self.store, place)
    }

    /// The same on a fiber.
    pub(crate) async fn call_batch_waiting(&mut self, function: usize, calls: &[u8]) -> Many {
        let mut at = None;
        let ended = self.make_waiting(function, calls, &mut at).await;
        Many { at, ended }
    }

    async fn make_waiting(
        &mut self,
        function: usize,
        calls: &[u8],
        at: &mut Option<u32>,
    ) -> wasmtime::Result<()> {
        let place = self.put_waiting(Args::Part(calls)).await?;
        *at = Some(self.replies()?.call_async(&mut self.store, ()).await?);
        self.batch(function)?.call_async(&mut self.store, place).await
    }

    fn replies(&mut self) -> wasmtime::Result<TypedFunc<(), u32>> {
        typed(&mut self.store, self.instance, self.prepared.replies.as_ref())
    }

    fn batch(&mut self, function: usize) -> wasmtime::Result<TypedFunc<(u32, u32), ()>> {
        let function = self.prepared.functions.get(function);
        let batch = function.and_then(|function| function.batch.as_ref());
        typed(&mut self.store, self.instance, batch)
    }

    /// The guest's memory, and within it the replies that it has written.
    ///
    /// # Errors
    /// [`Cause::GuestAbi`] if they are not there.
    pub(crate) fn answered(&self, many: &Many) -> Result<(&[u8], &[u8]), Cause> {
        let (Some(at), Some(memory)) = (many.at, self.memory) else { return Ok((&[], &[])) };
        let data = memory.data(&self.store);
        let replies = slice(data, at, 8).and_then(|place| placed(data, place.try_into()?));
        Ok((data, replies.map_err(broken)?))
    }
}
