//! The receiving end of a stream of bytes: what has arrived and is not read yet.
//!
//! Owns: the bytes that wait to be read, the credit that was granted for them. Does not:
//! wait; whoever polls is woken. Invariants: no more than [`WINDOW`] bytes wait here and may
//! still come, and what may come is no more than the link needs, once the first window has; a
//! stream that broke off is never taken for one that ended.

use crate::outbox::Outbox;
use bytes::BytesMut;
use dpfw_protocol::Bytes;
use dpfw_protocol::credit;
use dpfw_protocol::error::Cause;
use dpfw_protocol::ids::ConversationId;
use dpfw_protocol::limits::{CHUNK, WINDOW};
use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

/// Where a stream arrives. It may be attached anew, to a conversation that begins, as long
/// as nothing was read.
#[derive(Debug, Default)]
pub struct Inlet(Mutex<Inner>);

#[derive(Debug, Default)]
struct Inner {
    from: Option<(Outbox, ConversationId)>,
    pieces: VecDeque<Bytes>,
    /// Behind the pieces: small chunks, put together, so that they cost what they hold.
    tail: BytesMut,
    /// What the sender may still send.
    allowed: u64,
    /// Bytes that have come and are not read.
    waiting: u64,
    /// Whether nothing is granted before somebody wants to read.
    withheld: bool,
    /// Whether anything has come.
    begun: bool,
    end: Option<End>,
    reading: Reading,
    waker: Option<Waker>,
}

/// How a stream is over.
#[derive(Clone, Debug, PartialEq, Eq)]
enum End {
    Whole,
    Broken(String),
}

/// What becomes of the bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Reading {
    #[default]
    Wanted,
    /// They are taken and dropped.
    Discarded,
    /// Nobody takes them; whether the sender was told.
    Refused { told: bool },
}

/// A chunk below this is put together with others.
const SMALL: usize = CHUNK / 4;

/// When the sender may begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Begin {
    /// It has a window without being asked.
    AtOnce,
    /// It has one when somebody first wants to read.
    WhenRead,
}

/// What there is to read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Taken {
    /// These bytes; never none.
    Bytes(Bytes),
    /// Nothing yet.
    Nothing,
    /// Nothing more.
    End,
    /// Nothing more, although more was to come.
    Broken(String),
}

/// A peer broke the rules of streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a stream has {0}")]
pub struct StreamError(&'static str);

impl Inlet {
    /// One at which nothing ever arrives.
    pub fn ended() -> Self {
        let inlet = Self::default();
        inlet.lock().end = Some(End::Whole);
        inlet
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes what arrives in a conversation from now on, and forgets what came before.
    pub fn attach(&self, outbox: &Outbox, conversation: ConversationId, begin: Begin) {
        let mut inner = self.lock();
        inner.from = Some((outbox.clone(), conversation));
        inner.clear();
        (inner.end, inner.begun) = (None, false);
        (inner.allowed, inner.withheld) = match begin {
            Begin::AtOnce => (WINDOW, false),
            Begin::WhenRead => (0, true),
        };
        if let Reading::Refused { told } = &mut inner.reading {
            *told = false;
        }
    }

    /// Somebody wants to read after all, of a stream that begins anew.
    pub fn want(&self) {
        self.lock().reading = Reading::Wanted;
    }

    /// A chunk has arrived.
    ///
    /// # Errors
    /// [`StreamError`] if it is more than was granted, or comes after the end.
    pub fn push(&self, body: &[u8], last: bool) -> Result<(), StreamError> {
        let mut inner = self.lock();
        match inner.end {
            None => {}
            Some(End::Whole) => return Err(StreamError("a chunk behind its end")),
            // We broke it off; the sender may not have heard of it.
            Some(End::Broken(_)) => return Ok(()),
        }
        if body.is_empty() && !last {
            return Err(StreamError("an empty chunk"));
        }
        let allowed = inner.allowed.checked_sub(body.len() as u64);
        inner.allowed = allowed.ok_or(StreamError("more bytes than were granted"))?;
        inner.end = last.then_some(End::Whole);
        match inner.reading {
            Reading::Wanted => inner.keep(body),
            Reading::Discarded | Reading::Refused { .. } => {}
        }
        inner.grant();
        inner.begun = true;
        inner.tell();
        inner.wake();
        Ok(())
    }

    /// Takes at most `most` bytes, and lets as many more come.
    pub fn take(&self, most: usize) -> Taken {
        let mut inner = self.lock();
        if inner.pieces.is_empty() {
            inner.seal();
        }
        let Some(front) = inner.pieces.front_mut() else {
            return match &inner.end {
                None => Taken::Nothing,
                Some(End::Whole) => Taken::End,
                Some(End::Broken(why)) => Taken::Broken(why.clone()),
            };
        };
        let n = front.len().min(most);
        let bytes = front.split_to(n);
        if front.is_empty() {
            inner.pieces.pop_front();
        }
        inner.waiting -= n as u64;
        inner.grant();
        Taken::Bytes(bytes)
    }

    /// Completes when there is something to read, or the end.
    pub fn poll_ready(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut inner = self.lock();
        if inner.end.is_some() || !inner.pieces.is_empty() || !inner.tail.is_empty() {
            return Poll::Ready(());
        }
        inner.waker = Some(cx.waker().clone());
        inner.withheld = false;
        inner.grant();
        Poll::Pending
    }

    /// It ends in the middle, unless it has ended.
    pub fn fail(&self, why: &str) {
        let mut inner = self.lock();
        inner.end.get_or_insert_with(|| End::Broken(why.to_owned()));
        inner.wake();
    }

    /// Nobody reads it any more; what comes is dropped.
    pub fn discard(&self) {
        let mut inner = self.lock();
        inner.reading = Reading::Discarded;
        inner.clear();
        inner.waker = None;
        inner.grant();
    }

    /// Nobody reads it any more, and its sender will be told that it is over.
    pub fn close(&self) {
        self.lock().close();
    }

    /// Nobody reads it any more, and its sender is told so: as soon as it has sent something,
    /// for before that it may not know of the stream.
    pub fn refuse(&self) {
        let mut inner = self.lock();
        inner.close();
        inner.tell();
    }
}

impl Inner {
    fn close(&mut self) {
        self.reading = Reading::Refused { told: false };
        self.clear();
        self.waker = None;
    }

    fn clear(&mut self) {
        self.pieces.clear();
        self.tail = BytesMut::new();
        self.waiting = 0;
    }

    /// Keeps a chunk: a large one as it is, small ones together.
    fn keep(&mut self, body: &[u8]) {
        self.waiting += body.len() as u64;
        if body.len() >= SMALL {
            self.seal();
            self.pieces.push_back(Bytes::copy_from_slice(body));
            return;
        }
        self.tail.extend_from_slice(body);
        if self.tail.len() >= CHUNK {
            self.seal();
        }
    }

    fn seal(&mut self) {
        if !self.tail.is_empty() {
            self.pieces.push_back(std::mem::take(&mut self.tail).freeze());
        }
    }

    /// Tells the sender that nobody reads, if that is so and it was not told.
    fn tell(&mut self) {
        if let (Reading::Refused { told: told @ false }, true, None) =
            (&mut self.reading, self.begun, &self.end)
            && let Some((outbox, conversation)) = &self.from
        {
            *told = true;
            // It always fits a frame.
            let _ = outbox.abandon(*conversation, Cause::Cancelled);
        }
    }

    fn wake(&mut self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }

    /// Grants what is missing to what may be under way and has room here, if it is worth a frame.
    fn grant(&mut self) {
        let is_taken = !matches!(self.reading, Reading::Refused { .. });
        if self.withheld || self.end.is_some() || !is_taken {
            return;
        }
        let Some((outbox, conversation)) = &self.from else { return };
        let bytes = credit::grant(self.allowed, outbox.under_way(), WINDOW - self.waiting);
        if bytes > 0 {
            self.allowed += bytes;
            // It always fits a frame.
            let _ = outbox.grant(*conversation, bytes);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use dpfw_protocol::credit::LEAST;
    use dpfw_protocol::ids::{AttemptId, Port};
    use dpfw_protocol::limits::GRANT;
    use std::sync::atomic::Ordering;

    fn inlet(begin: Begin) -> Inlet {
        let inlet = Inlet::default();
        inlet.attach(&Outbox::nowhere(), AttemptId(1).port(Port::Input), begin);
        inlet
    }

    fn waits(inlet: &Inlet) -> bool {
        inlet.poll_ready(&mut Context::from_waker(Waker::noop())).is_pending()
    }

    fn bytes(text: &'static str) -> Taken {
        Taken::Bytes(Bytes::from_static(text.as_bytes()))
    }

    #[test]
    fn nothing_may_come_before_it_is_wanted() {
        let inlet = inlet(Begin::WhenRead);
        assert!(inlet.push(b"early", false).is_err());
        assert!(waits(&inlet));
        assert_eq!(inlet.push(b"now", false), Ok(()));
        assert!(!waits(&inlet));
        assert_eq!((inlet.take(2), inlet.take(9)), (bytes("no"), bytes("w")));
        assert_eq!(inlet.take(9), Taken::Nothing);
        assert_eq!((inlet.push(b"", true), inlet.take(9)), (Ok(()), Taken::End));
        assert!(inlet.push(b"late", false).is_err());
    }

    #[test]
    fn what_waits_is_never_more_than_the_window() {
        let inlet = inlet(Begin::AtOnce);
        let chunk = vec![0; CHUNK];
        for _ in 0..WINDOW as usize / CHUNK {
            assert_eq!(inlet.push(&chunk, false), Ok(()));
        }
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
    fn on_a_quick_link_no_more_is_under_way_than_it_needs_and_as_much_waits_here() {
        let (outbox, inlet) = (Outbox::nowhere(), Inlet::default());
        inlet.attach(&outbox, AttemptId(1).port(Port::Input), Begin::AtOnce);
        outbox.depth().store(LEAST, Ordering::Relaxed);
        let (chunk, allowed) = (vec![0; CHUNK], || inlet.lock().allowed);
        for _ in 0..(WINDOW - LEAST) as usize / CHUNK {
            assert_eq!(inlet.push(&chunk, false), Ok(()));
            assert!(matches!(inlet.take(usize::MAX), Taken::Bytes(_)));
        }
        assert_eq!(allowed(), LEAST, "of what it may send unasked nothing is granted anew");
        for n in 1..=(WINDOW - LEAST) as usize / CHUNK {
            assert_eq!(inlet.push(&chunk, false), Ok(()));
            assert_eq!(allowed(), LEAST, "granted as it comes, though {n} wait");
        }
        while allowed() > 0 {
            assert_eq!(inlet.push(&chunk, false), Ok(()));
        }
        assert!(inlet.push(b"x", false).is_err(), "a window waits");
        assert!(matches!(inlet.take(usize::MAX), Taken::Bytes(_)));
        assert_eq!(allowed(), CHUNK as u64);
        outbox.depth().store(WINDOW, Ordering::Relaxed);
        while let Taken::Bytes(_) = inlet.take(usize::MAX) {}
        assert!(allowed() > WINDOW - GRANT, "the link is a long one now");
    }

    #[test]
    fn a_stream_that_breaks_off_does_not_end() {
        let inlet = inlet(Begin::AtOnce);
        assert_eq!(inlet.push(b"half", false), Ok(()));
        inlet.fail("the link is lost");
        assert_eq!(inlet.take(9), bytes("half"));
        assert_eq!(inlet.take(9), Taken::Broken("the link is lost".into()));
        assert_eq!(inlet.take(9), Taken::Broken("the link is lost".into()), "and stays so");
        assert_eq!(Inlet::ended().take(1), Taken::End);
    }

    #[test]
    fn what_comes_late_to_a_stream_that_broke_off_is_harmless() {
        let inlet = inlet(Begin::AtOnce);
        inlet.fail("it was cancelled");
        assert_eq!(inlet.push(b"late", false), Ok(()));
        assert_eq!(inlet.take(9), Taken::Broken("it was cancelled".into()));
    }

    #[test]
    fn small_chunks_are_kept_together_and_in_order() {
        let inlet = inlet(Begin::AtOnce);
        for _ in 0..1000 {
            assert_eq!(inlet.push(b"x", false), Ok(()));
        }
        assert_eq!(inlet.push(&[b'y'; SMALL], false), Ok(()));
        assert_eq!(inlet.push(b"z", true), Ok(()));
        assert!(!waits(&inlet));
        let sizes: Vec<_> = std::iter::from_fn(|| match inlet.take(usize::MAX) {
            Taken::Bytes(bytes) => Some((bytes[0], bytes.len())),
            _ => None,
        })
        .collect();
        assert_eq!(sizes, [(b'x', 1000), (b'y', SMALL), (b'z', 1)]);
    }

    #[test]
    fn what_nobody_reads_is_taken_all_the_same() {
        let inlet = inlet(Begin::AtOnce);
        assert_eq!(inlet.push(&[0; CHUNK], false), Ok(()));
        inlet.discard();
        for _ in 0..3 * WINDOW as usize / CHUNK {
            assert_eq!(inlet.push(&[0; CHUNK], false), Ok(()));
        }
        assert_eq!(inlet.take(1), Taken::Nothing);
    }
}
