//! A program from its start to its end, as a future: it waits where its host calls wait.
//!
//! Invariant: what the program wrote has left before its end is known; its memory is given
//! back before that is waited for.

use super::Ports;
use super::wasi::State;
use crate::fiber::Ended;
use crate::fiber::control::Control;
use crate::sandbox::trap;
use crate::slot::micros;
use dpfw_protocol::error::{Cause, Trap};
use dpfw_protocol::message::Timing;
use dpfw_protocol::payload::Payload;
use std::sync::Arc;
use std::time::Instant;
use wasmtime::{Engine, InstancePre, Store};

/// A program whose imports are resolved.
pub(crate) struct Prepared {
    pub(crate) engine: Engine,
    pub(crate) instances: InstancePre<State>,
}

/// A program ended itself with this status.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("exit with status {0}")]
pub(super) struct Exit(pub(super) u32);

/// Runs a program to its end.
pub(super) async fn run(
    prepared: Arc<Prepared>,
    state: State,
    ports: Ports,
    control: Arc<Control>,
    deadline: Option<Instant>,
) -> Ended {
    let mut timing = Timing::default();
    let outcome = {
        let whole = async {
            let outcome = execute(&prepared, state, &control, &mut timing).await;
            // The stdout of one that was interrupted has not ended.
            if outcome != Err(Cause::Cancelled) {
                ports.output.finish().await;
            }
            outcome.or_else(|cause| explain(cause, &ports))
        };
        match deadline {
            None => whole.await,
            Some(deadline) => match tokio::time::timeout_at(deadline.into(), whole).await {
                Ok(outcome) => outcome,
                Err(_) => Err(Cause::DeadlineExceeded),
            },
        }
    };
    Ended { outcome: outcome.map(|()| Payload::default()), timing, calls: 1 }
}

/// Runs it in a fresh sandbox, which is gone when this returns.
async fn execute(
    prepared: &Prepared,
    state: State,
    control: &Arc<Control>,
    timing: &mut Timing,
) -> Result<(), Cause> {
    let started = Instant::now();
    let mut store = Store::new(&prepared.engine, state);
    store.limiter(|state| &mut state.limiter);
    if !control.guard(&mut store) {
        return Err(Cause::Cancelled);
    }
    let mut began = false;
    let outcome = async {
        let instance = prepared.instances.instantiate_async(&mut store).await?;
        began = true;
        let start = instance.get_typed_func::<(), ()>(&mut store, super::START)?;
        timing.init_us = micros(started.elapsed());
        let outcome = start.call_async(&mut store, ()).await;
        let memory = instance.get_memory(&mut store, "memory");
        timing.memory = memory.map_or(0, |memory| memory.data_size(&store) as u64);
        outcome
    };
    match outcome.await {
        Ok(()) => Ok(()),
        Err(error) => match error.downcast_ref::<Exit>() {
            Some(Exit(0)) => Ok(()),
            Some(Exit(code)) => Err(Cause::Exit { code: *code, stderr: Vec::new() }),
            None => Err(trap::of_program(&error, store.data().refused(), began)),
        },
    }
}

/// Adds what the program said itself. One that gives up writes why to stderr, then executes
/// `unreachable`: that is how Rust's and C's runtimes panic and abort.
fn explain(cause: Cause, ports: &Ports) -> Result<(), Cause> {
    let said = ports.last_lines();
    Err(match cause {
        Cause::Exit { code, .. } => Cause::Exit { code, stderr: said },
        Cause::Trap { kind: Trap::Unreachable, backtrace } if !said.is_empty() => {
            Cause::Panic { message: said.join("\n"), location: None, backtrace }
        }
        other => other,
    })
}
