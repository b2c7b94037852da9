//! A sandbox that stays: called again and again, on behalf of whoever calls.
//!
//! Owns: the functions of the guest once they were found, so that a call looks nothing up.
//! Invariant: nothing of a call is left in the host's state behind its end, but open files and
//! connections: the guest has them as it has its memory.

use super::{Ended, Returned, Sandbox, length, missing};
use crate::fiber::control::Control;
use crate::limits::Granted;
use crate::sandbox::abi::Given;
use crate::sandbox::host::Host;
use crate::sandbox::prepared::Prepared;
use crate::session::Session;
use dpfw_protocol::error::Cause;
use dpfw_protocol::ids::ConversationId;
use std::sync::Arc;
use wasmtime::TypedFunc;

/// See the module's page.
pub(crate) struct Lasting {
    sandbox: Sandbox,
    alloc: TypedFunc<u32, u32>,
    /// In the order of the module's list; those that were not called yet are not found yet.
    functions: Vec<Option<TypedFunc<(u32, u32), i64>>>,
    /// Whether its calls may wait, and so run on a stack of their own.
    waits: bool,
}

impl Lasting {
    /// A fresh sandbox.
    ///
    /// # Errors
    /// The [`Cause`] if there is none to be had, or its start traps; [`Cause::Cancelled`] if it
    /// had to stop, for a reason that whoever stopped it knows.
    pub(crate) async fn new(
        prepared: &Arc<Prepared>,
        host: Host,
        control: &Arc<Control>,
        waits: bool,
    ) -> Result<Self, Cause> {
        let mut sandbox = match waits {
            true => Sandbox::new_waiting(prepared, host, control).await?,
            false => Sandbox::new_guarded(prepared, host, control)?,
        };
        let alloc = sandbox.alloc().map_err(|error| sandbox.cause(&error, None))?;
        let functions = prepared.functions.iter().map(|_| None).collect();
        Ok(Self { sandbox, alloc, functions, waits })
    }

    /// What it is called with next is on behalf of this call.
    pub(crate) fn begin(&mut self, session: &Arc<Session>, call: ConversationId, left: &Granted) {
        self.sandbox.store.data_mut().begin_call(session, call, left);
    }

    /// That call is over. Gives how many lines of its log were not sent.
    pub(crate) fn end(&mut self) -> u64 {
        self.sandbox.store.data_mut().end_call()
    }

    /// Calls a function.
    pub(crate) async fn call(&mut self, function: usize, args: &[u8]) -> Ended {
        let called = match self.waits {
            true => self.call_waiting(function, args).await,
            false => self.call_at_once(function, args),
        };
        match called {
            Ok(packed) => Ended::Returned(Returned::Packed(packed)),
            Err(error) => Ended::Broken(error),
        }
    }

    fn call_at_once(&mut self, function: usize, args: &[u8]) -> wasmtime::Result<i64> {
        let function = self.function(function)?;
        let len = length(args)?;
        let ptr = self.alloc.call(&mut self.sandbox.store, len)?;
        self.sandbox.write(ptr, args)?;
        function.call(&mut self.sandbox.store, (ptr, len))
    }

    async fn call_waiting(&mut self, function: usize, args: &[u8]) -> wasmtime::Result<i64> {
        let function = self.function(function)?;
        let len = length(args)?;
        let ptr = self.alloc.call_async(&mut self.sandbox.store, len).await?;
        self.sandbox.write(ptr, args)?;
        function.call_async(&mut self.sandbox.store, (ptr, len)).await
    }

    fn function(&mut self, function: usize) -> wasmtime::Result<TypedFunc<(u32, u32), i64>> {
        let place = self.functions.get_mut(function).ok_or_else(missing)?;
        if let Some(found) = place {
            return Ok(found.clone());
        }
        let found = self.sandbox.task(function)?;
        Ok(place.insert(found).clone())
    }

    /// The bytes of what was returned.
    ///
    /// # Errors
    /// The guest's own error, or that it broke the ABI.
    pub(crate) fn result<'a>(&'a self, returned: &'a Returned) -> Result<Given<'a>, Cause> {
        self.sandbox.result(returned)
    }

    /// Why the guest ended.
    pub(crate) fn cause(&mut self, error: &wasmtime::Error) -> Cause {
        self.sandbox.cause(error, None)
    }

    /// Bytes of linear memory.
    pub(crate) fn memory_bytes(&self) -> u64 {
        self.sandbox.memory_bytes()
    }
}

impl Sandbox {
    /// A fresh sandbox of a module none of whose calls waits, in an engine that it shares.
    ///
    /// # Errors
    /// As [`Lasting::new`].
    fn new_guarded(
        prepared: &Arc<Prepared>,
        host: Host,
        control: &Arc<Control>,
    ) -> Result<Self, Cause> {
        let mut store = Self::guarded(prepared, host, control)?;
        let made = Self::instantiate(&mut store, prepared);
        Self::of(prepared, store, made, || None)
    }
}
