//! The stdout of a program: what leaves it.
//!
//! Owns: nothing; what waits to leave is in the link's outbox. Invariant: nothing is taken
//! from the program that the master has not allowed, and little that cannot be written.

use dpfw_link::Outbox;
use dpfw_protocol::ids::ConversationId;
use dpfw_protocol::limits::CHUNK;
use std::task::{Context, Poll};

/// Where a program's stdout leaves.
#[derive(Debug)]
pub(crate) struct Outlet {
    outbox: Outbox,
    conversation: ConversationId,
}

/// What may wait to be written, within what the master allows: enough for a system call to
/// be worth its price.
const BUFFER: usize = 4 * CHUNK;

impl Outlet {
    /// A stdout of which the master takes `window` bytes unasked.
    pub(crate) fn new(outbox: &Outbox, conversation: ConversationId, window: u64) -> Self {
        outbox.open(conversation, window);
        Self { outbox: outbox.clone(), conversation }
    }

    /// How much it takes now; `None` if the master takes no more.
    pub(crate) fn room(&self) -> Option<usize> {
        self.outbox.room(self.conversation, BUFFER)
    }

    /// Completes when it takes something, or nothing any more.
    pub(crate) fn poll_room(&self, cx: &mut Context<'_>) -> Poll<()> {
        let polled = self.outbox.poll_room(cx, self.conversation, BUFFER);
        if polled.is_pending() {
            self.outbox.flush();
            return self.outbox.poll_room(cx, self.conversation, BUFFER).map(drop);
        }
        polled.map(drop)
    }

    /// Appends bytes; whether the master still takes them.
    pub(crate) fn write(&self, bytes: &[u8]) -> bool {
        self.outbox.write(self.conversation, bytes)
    }

    /// Says that nothing more comes, and completes when all has left or is not wanted.
    pub(crate) async fn finish(&self) {
        self.outbox.end(self.conversation);
        self.outbox.flush();
        std::future::poll_fn(|cx| self.outbox.poll_over(cx, self.conversation)).await;
    }

    /// Forgets what has not left: the attempt was stopped.
    pub(crate) fn forget(&self) {
        self.outbox.forget(self.conversation);
    }
}
