//! The same on a fiber: what a guest calls may wait, and its sandbox with it.
//!
//! Invariant: what is suspended can be dropped at any point, and nothing of it is left then.

use super::put::Args;
use super::{Ended, Returned, Sandbox, before, length, memory_of};
use crate::fiber::control::Control;
use crate::sandbox::host::Host;
use crate::sandbox::prepared::Prepared;
use dpfw_protocol::error::Cause;
use std::sync::Arc;
use wasmtime::{Instance, Memory, Store};

impl Sandbox {
    /// A fresh sandbox of a task module.
    ///
    /// # Errors
    /// As [`new`](Self::new). [`Cause::Cancelled`] if it had to stop, for a reason that
    /// whoever stopped it knows.
    pub(crate) async fn new_waiting(
        prepared: &Arc<Prepared>,
        host: Host,
        control: &Arc<Control>,
    ) -> Result<Self, Cause> {
        let mut store = Self::guarded(prepared, host, control)?;
        let made = Self::instantiate_waiting(&mut store, prepared).await;
        Self::of(prepared, store, made, || None)
    }

    async fn instantiate_waiting(
        store: &mut Store<Host>,
        prepared: &Prepared,
    ) -> wasmtime::Result<(Instance, Option<Memory>)> {
        let instance = prepared.instances.instantiate_async(&mut *store).await?;
        let memory = memory_of(store, prepared, instance);
        for export in &prepared.before {
            if let Some(before) = before(store, instance, export)? {
                before.call_async(&mut *store, ()).await?;
            }
        }
        Ok((instance, memory))
    }

    /// Calls a task.
    pub(crate) async fn call_waiting(&mut self, function: usize, args: Args<'_>) -> Ended {
        match self.task_waiting(function, args).await {
            Ok(packed) => Ended::Returned(Returned::Packed(packed)),
            Err(error) => Ended::Broken(error),
        }
    }

    async fn task_waiting(&mut self, function: usize, args: Args<'_>) -> wasmtime::Result<i64> {
        let place = self.put_waiting(args).await?;
        self.task(function)?.call_async(&mut self.store, place).await
    }

    /// Writes arguments where the guest has room for them; gives their address and length.
    pub(super) async fn put_waiting(&mut self, args: Args<'_>) -> wasmtime::Result<(u32, u32)> {
        let len = length(&args)?;
        let alloc = self.alloc()?;
        let putting = self.begin_put(args);
        let ptr = alloc.call_async(&mut self.store, len).await;
        self.end_put(putting, ptr)
    }
}
