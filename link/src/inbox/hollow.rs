//! What frames without content may cost their receiver.

use crate::error::LinkError;
use dpfw_protocol::message::kind;
use std::time::Duration;
use tokio::time::Instant;

/// What frames without content have cost. Others pay it back.
pub(super) struct Hollow {
    cost: u32,
    since: Instant,
}

/// What frames without content may cost within [`SPAN`]: a hundred thousand of them. Honest
/// peers send one a second, and at most one for each frame that has some.
const MOST_COST: u32 = 100_000 * FULL;

/// See [`MOST_COST`].
const SPAN: Duration = Duration::from_secs(10);

/// The cost of a frame without content. Credit costs [`LITTLE`]: a peer may grant it for each
/// chunk that it takes.
const FULL: u32 = 16;
const LITTLE: u32 = 1;

impl Hollow {
    pub(super) fn new() -> Self {
        Self { cost: 0, since: Instant::now() }
    }

    /// A frame has come.
    ///
    /// # Errors
    /// [`LinkError::Broken`] if there were too many without content.
    pub(super) fn charge(&mut self, kind: u8, body: &[u8]) -> Result<(), LinkError> {
        let cost = match kind {
            kind::HEARTBEAT | kind::CANCEL | kind::RECALL | kind::RELEASE | kind::ABANDON => FULL,
            kind::CREDIT => LITTLE,
            kind::CHUNK if body.is_empty() => FULL,
            _ => {
                self.cost = self.cost.saturating_sub(FULL);
                return Ok(());
            }
        };
        self.cost += cost;
        if self.cost < MOST_COST {
            return Ok(());
        }
        let now = Instant::now();
        if now.duration_since(self.since) < SPAN {
            return Err(LinkError::Broken("frames without content, without end".into()));
        }
        *self = Self { cost: 0, since: now };
        Ok(())
    }
}
