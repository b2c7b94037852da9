//! Final failures, of which whoever spawned a resident is told.
//!
//! Owns: whether a resident that is not reached is lost. Invariants: the hook is called once at
//! most; never while the resident may live on, at its slave or where it has moved.

use super::window::Window;
use super::{End, Resident};
use crate::error::TaskError;
use crate::home::Back;
use dpfw_protocol::error::Cause;
use std::sync::Arc;

/// What is called.
pub(super) type Hook = Box<dyn FnOnce(TaskError) + Send>;

impl<R> Resident<R> {
    /// Calls the hook if it fails for good.
    pub(super) fn tell_of_failure(&self, hook: Hook) {
        let window = Arc::clone(&self.window);
        self.window.home.spawn(async move {
            if let Some(cause) = window.final_failure().await {
                let slave = window.place().linked.hello.peer.clone();
                hook(TaskError::new(&window.key.to_string(), Some(slave), 1, cause));
            }
        });
    }
}

impl Window {
    /// Waits until it fails for good or is lost; `None` if it ends otherwise.
    async fn final_failure(self: &Arc<Self>) -> Option<Cause> {
        // The link over which it was looked for last, in vain.
        let mut tried = None;
        loop {
            let cause = match self.end().await {
                Ok(End::Failed(cause)) => return Some(cause),
                Ok(End::Stopped | End::Drained) | Err(Cause::Shutdown) => return None,
                // A link that is lost is no failure of the resident, and nor is a move.
                Err(cause @ (Cause::ResidentLost { .. } | Cause::ResidentMoved { .. })) => cause,
                Err(cause) => return Some(cause),
            };
            match self.back(tried).await {
                Back::Again(linked) => tried = Some(linked.id),
                // It lives on, at a slave to which there is no link yet.
                Back::Never if matches!(cause, Cause::ResidentMoved { .. }) => {}
                Back::Never | Back::Gone => return Some(cause),
            }
        }
    }
}
