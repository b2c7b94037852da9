//! What is behind an outbox's lock: the queue, the stream, and who waits for either.
//!
//! Owns: writing as much as the stream takes, and waking those whose wishes that fulfils. Does not:
//! lock. Invariant: once it has failed nothing is queued any more, and everybody was woken.

use super::MOST;
use crate::error::LinkError;
use dpfw_protocol::ids::ConversationId;
use dpfw_protocol::send::SendQueue;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use tokio::io::AsyncWrite;

/// What is written at one go: some milliseconds' worth, however fast the peer reads.
const TURN: usize = 4 << 20;

pub(super) struct Inner {
    pub(super) queue: SendQueue,
    pub(super) writer: Option<Box<dyn AsyncWrite + Send + Unpin>>,
    /// The pump, which goes on where a flush could not.
    pub(super) pump: Waker,
    /// Who waits until there are fewer unwritten bytes of payloads than this.
    pub(super) below: Option<(usize, Waker)>,
    /// Who waits until there are fewer unwritten bytes of control frames than this.
    pub(super) control_below: Option<(usize, Waker)>,
    /// Who waits for streams within the link. Bounded by the streams there are.
    pub(super) waiting: Vec<Waiting>,
    /// Whether the stream may hold bytes that it was not told to pass on.
    pub(super) unflushed: bool,
    /// Bytes written since the last beat.
    pub(super) written: u64,
    /// Whether the pump has tried to write since the last beat.
    pub(super) pumped: bool,
    /// Whether the pump was woken to write, and has not yet.
    pub(super) soon: bool,
    /// Beats at which something waited that the stream took nothing of.
    pub(super) stuck: u32,
    pub(super) failure: Option<LinkError>,
}

/// Somebody who waits for a stream to take more, or to be over.
pub(super) struct Waiting {
    conversation: ConversationId,
    want: Want,
    waker: Waker,
}

/// What is waited for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Want {
    /// That the receiver allows more, and less than this is unsent.
    Room(usize),
    /// That all was sent, or it was abandoned.
    Over,
}

impl Inner {
    /// Writes what the stream takes now, for somebody who does not wait for the rest.
    pub(super) fn write_now(&mut self) {
        let pump = self.pump.clone();
        self.write(&mut Context::from_waker(&pump));
        if self.failure.is_some() {
            pump.wake();
        }
    }

    /// Writes until the queue is empty or the stream is full.
    pub(super) fn write(&mut self, cx: &mut Context<'_>) {
        match self.poll_write(cx) {
            Poll::Pending | Poll::Ready(Ok(())) => {}
            Poll::Ready(Err(error)) => self.fail(LinkError::Io(error)),
        }
        if let Some((_, waker)) = self.below.take_if(|(most, _)| self.queue.bulk_bytes() <= *most) {
            waker.wake();
        }
        let waiting = self.queue.control_bytes();
        if let Some((_, waker)) = self.control_below.take_if(|(most, _)| waiting <= *most) {
            waker.wake();
        }
        self.wake();
        if waiting > MOST {
            self.fail(LinkError::Overrun(waiting));
        }
    }

    pub(super) fn fail(&mut self, failure: LinkError) {
        self.writer = None;
        self.queue.clear();
        self.failure.get_or_insert(failure);
        self.wake();
    }

    /// Whether a stream is as somebody wants it. One that is over is as anybody does.
    pub(super) fn has(&mut self, conversation: ConversationId, want: Want) -> bool {
        match (self.queue.unsent(conversation), want) {
            (None, _) => true,
            (Some(unsent), Want::Room(buffer)) => room(unsent, buffer) > 0,
            (Some(_), Want::Over) => false,
        }
    }

    pub(super) fn wait(&mut self, cx: &mut Context<'_>, conversation: ConversationId, want: Want) {
        let waker = cx.waker().clone();
        self.waiting.retain(|other| other.conversation != conversation);
        self.waiting.push(Waiting { conversation, want, waker });
    }

    /// Wakes those whose streams are as they want them.
    pub(super) fn wake(&mut self) {
        let mut waiting = std::mem::take(&mut self.waiting);
        for it in waiting.extract_if(.., |it| self.has(it.conversation, it.want)) {
            it.waker.wake();
        }
        self.waiting = waiting;
    }

    fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Some(writer) = &mut self.writer else {
            return Poll::Ready(Ok(()));
        };
        let mut left = TURN;
        while !self.queue.is_idle() {
            if left == 0 {
                // Others wait for the lock, and for the thread; the pump goes on.
                self.pump.wake_by_ref();
                return Poll::Pending;
            }
            let mut slices: Vec<IoSlice<'_>> = Vec::new();
            self.queue.slices(&mut slices);
            if slices.is_empty() {
                break;
            }
            let n = match Pin::new(&mut *writer).poll_write_vectored(cx, &slices) {
                Poll::Ready(Ok(0)) => {
                    return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
                }
                Poll::Ready(Ok(n)) => n,
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => return Poll::Pending,
            };
            left = left.saturating_sub(n);
            self.queue.advance(n);
            self.written += n as u64;
            self.unflushed = true;
        }
        if self.unflushed {
            std::task::ready!(Pin::new(writer).poll_flush(cx))?;
            self.unflushed = false;
        }
        Poll::Ready(Ok(()))
    }
}

/// What a stream takes with so much unsent, and so much allowed.
pub(super) fn room((unsent, credit): (usize, u64), buffer: usize) -> usize {
    buffer.min(usize::try_from(credit).unwrap_or(usize::MAX)).saturating_sub(unsent)
}
