//! The ports of a program: what has arrived for its stdin, and what leaves by its stdout.
//!
//! Owns: the bytes that wait to be read, the credit that was granted for them. Does not:
//! wait; whoever polls is woken. Invariants: no more than [`WINDOW`] bytes wait; nothing is
//! granted before the program has read for the first time, so that of what has not begun
//! nothing was taken; a stream that broke off is never taken for one that ended.

use bytes::{Buf, Bytes};
use dpfw_link::Outbox;
use dpfw_protocol::ids::ConversationId;
use dpfw_protocol::limits::{CHUNK, GRANT, WINDOW};
use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

/// Where a program's stdin arrives.
#[derive(Debug)]
pub(crate) struct Inlet {
    outbox: Outbox,
    conversation: ConversationId,
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    pieces: VecDeque<Bytes>,
    /// What the master may still send.
    allowed: u64,
    /// What was read and is not granted again yet.
    read: u64,
    begun: bool,
    ended: bool,
    waker: Option<Waker>,
}

/// What there is to read.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Taken {
    Bytes(Bytes),
    Nothing,
    End,
}

/// The master broke the rules of streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the input of a program: {0}")]
pub(crate) struct Broken(&'static str);

impl Inlet {
    /// The stdin of a program that has one, or of one that finds the end at once.
    pub(crate) fn new(outbox: &Outbox, conversation: ConversationId, has_input: bool) -> Self {
        let inner = Inner { ended: !has_input, ..Inner::default() };
        Self { outbox: outbox.clone(), conversation, inner: Mutex::new(inner) }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A chunk has arrived.
    ///
    /// # Errors
    /// [`Broken`] if it is more than was granted, or comes after the end.
    pub(crate) fn push(&self, body: &[u8], last: bool) -> Result<(), Broken> {
        let mut inner = self.lock();
        if inner.ended {
            return Err(Broken("a chunk comes after its end"));
        }
        if body.is_empty() && !last {
            return Err(Broken("an empty chunk"));
        }
        inner.allowed = inner
            .allowed
            .checked_sub(body.len() as u64)
            .ok_or(Broken("more bytes than were granted"))?;
        if !body.is_empty() {
            inner.pieces.push_back(Bytes::copy_from_slice(body));
        }
        inner.ended = last;
        let waker = inner.waker.take();
        drop(inner);
        if let Some(waker) = waker {
            waker.wake();
        }
        Ok(())
    }

    /// Takes at most `most` bytes, and lets as many more come.
    pub(crate) fn take(&self, most: usize) -> Taken {
        let mut inner = self.lock();
        let Some(front) = inner.pieces.front_mut() else {
            return if inner.ended { Taken::End } else { Taken::Nothing };
        };
        let n = front.len().min(most);
        let bytes = front.copy_to_bytes(n);
        if front.is_empty() {
            inner.pieces.pop_front();
        }
        inner.read += n as u64;
        let grant = if inner.read >= GRANT && !inner.ended { inner.read } else { 0 };
        inner.read -= grant;
        inner.allowed += grant;
        drop(inner);
        self.grant(grant);
        Taken::Bytes(bytes)
    }

    fn grant(&self, bytes: u64) {
        if bytes > 0 {
            // It always fits a frame.
            let _ = self.outbox.grant(self.conversation, bytes);
        }
    }

    /// Completes when there is something to read, or the end. The first time it lets the
    /// master begin.
    pub(crate) fn poll_ready(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut inner = self.lock();
        if inner.ended || !inner.pieces.is_empty() {
            return Poll::Ready(());
        }
        inner.waker = Some(cx.waker().clone());
        let first = if inner.begun { 0 } else { WINDOW };
        inner.begun = true;
        inner.allowed += first;
        drop(inner);
        self.grant(first);
        Poll::Pending
    }

    /// Nobody reads it any more.
    pub(crate) fn close(&self) {
        let mut inner = self.lock();
        inner.pieces.clear();
        inner.waker = None;
    }
}

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

#[cfg(test)]
mod tests {
    use super::*;
    use dpfw_protocol::ids::{AttemptId, Port};

    fn inlet() -> Inlet {
        Inlet::new(&Outbox::nowhere(), AttemptId(1).port(Port::Input), true)
    }

    fn wait(inlet: &Inlet) -> bool {
        inlet.poll_ready(&mut Context::from_waker(Waker::noop())).is_pending()
    }

    #[test]
    fn nothing_may_come_before_it_was_asked_for() {
        let inlet = inlet();
        assert!(inlet.push(b"early", false).is_err());
        assert!(wait(&inlet));
        assert_eq!(inlet.push(b"now", false), Ok(()));
        assert!(!wait(&inlet));
        assert_eq!(inlet.take(2), Taken::Bytes("no".into()));
        assert_eq!(inlet.take(9), Taken::Bytes("w".into()));
        assert_eq!(inlet.take(9), Taken::Nothing);
        assert_eq!((inlet.push(b"", true), inlet.take(9)), (Ok(()), Taken::End));
        assert!(inlet.push(b"late", false).is_err());
    }

    #[test]
    fn what_waits_is_never_more_than_the_window() {
        let inlet = inlet();
        assert!(wait(&inlet));
        let chunk = vec![0; CHUNK];
        let most = WINDOW as usize / CHUNK;
        for _ in 0..most {
            assert_eq!(inlet.push(&chunk, false), Ok(()));
        }
        assert!(inlet.push(b"x", false).is_err());
        for _ in 0..GRANT as usize / CHUNK {
            assert!(inlet.push(b"x", false).is_err());
            assert!(matches!(inlet.take(usize::MAX), Taken::Bytes(_)));
        }
        for _ in 0..GRANT as usize / CHUNK {
            assert_eq!(inlet.push(&chunk, false), Ok(()), "as much as was read");
        }
        assert!(inlet.push(b"x", false).is_err());
        assert!(inlet.push(b"", false).is_err(), "an empty chunk");
    }

    #[test]
    fn without_input_the_end_is_found_at_once() {
        let inlet = Inlet::new(&Outbox::nowhere(), ConversationId(1 << 63), false);
        assert!(!wait(&inlet));
        assert_eq!(inlet.take(1), Taken::End);
    }
}
