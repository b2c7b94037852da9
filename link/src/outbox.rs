//! Writing to a link, from any thread, in batches.
//!
//! Owns: the send queue and the stream's write half, behind one short lock. Whoever has
//! something to say appends it; whoever thinks that the batch is complete flushes it,
//! without waiting: what the stream does not take at once is written by the link's pump
//! when it can be. Invariants: frames leave in the order in which they were appended,
//! bulk behind control; a peer that does not read is cut off at [`MOST`] bytes.

use crate::error::LinkError;
use crate::heart::Patience;
use dpfw_protocol::Bytes;
use dpfw_protocol::error::Cause;
use dpfw_protocol::ids::ConversationId;
use dpfw_protocol::limits::{HEARTBEAT, STALL, WINDOW};
use dpfw_protocol::message::{Abandon, Close, Credit, Message, MessageError, close};
use dpfw_protocol::payload::Payload;
use dpfw_protocol::send::SendQueue;
use inner::{Inner, Want, room};
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use tokio::io::AsyncWrite;

mod inner;

/// Control frames that may wait for a peer: as many results of the largest inline size as
/// a session may have attempts. A peer that lets more pile up does not read.
pub(crate) const MOST: usize =
    dpfw_protocol::limits::MAX_ATTEMPTS * (dpfw_protocol::limits::INLINE + 1024);

/// Beats for which a peer may take nothing.
const STUCK: u32 = (STALL.as_secs() / HEARTBEAT.as_secs()) as u32;

/// A shared way to write to one link. Cloning shares it; the stream is closed when the
/// link ends.
#[derive(Clone)]
pub struct Outbox(Arc<Shared>);

struct Shared {
    inner: Mutex<Inner>,
    /// What the other direction may have under way, as its inbox finds out.
    depth: Arc<AtomicU64>,
}

/// When what was appended is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leaves {
    /// At once: nobody expects more.
    Now,
    /// When the runtime gets to the pump, with what is appended until then.
    Soon,
}

/// Bytes of control frames that do not wait for the pump any more: more of them would make no
/// system call cheaper.
const FULL: usize = 64 * 1024;

/// The link has ended, or its peer does not read: nothing more can be said to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the link has ended")]
pub struct Overrun;

impl Outbox {
    pub(crate) fn new(writer: Box<dyn AsyncWrite + Send + Unpin>) -> Self {
        let depth = Arc::new(AtomicU64::new(WINDOW));
        let inner = Mutex::new(Inner {
            queue: SendQueue::new(WINDOW),
            writer: Some(writer),
            pump: Waker::noop().clone(),
            below: None,
            control_below: None,
            waiting: Vec::new(),
            unflushed: false,
            written: 0,
            pumped: false,
            soon: false,
            stuck: 0,
            failure: None,
        });
        Self(Arc::new(Shared { inner, depth }))
    }

    /// An outbox of no link: what is appended is dropped with it.
    pub fn nowhere() -> Self {
        let outbox = Self::new(Box::new(tokio::io::sink()));
        outbox.lock().writer = None;
        outbox
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Where the link's inbox tells how much may be under way to it.
    pub(crate) fn depth(&self) -> &Arc<AtomicU64> {
        &self.0.depth
    }

    /// How many bytes of a conversation may be under way to this side.
    pub(crate) fn under_way(&self) -> u64 {
        self.0.depth.load(Ordering::Relaxed)
    }

    /// Appends to the queue, without writing.
    ///
    /// # Errors
    /// What the closure returns; appending to an ended link is accepted and forgotten.
    pub fn append<T>(
        &self,
        append: impl FnOnce(&mut SendQueue) -> Result<T, MessageError>,
    ) -> Result<T, MessageError> {
        let mut inner = self.lock();
        let appended = append(&mut inner.queue);
        if inner.writer.is_none() {
            inner.queue.clear();
        }
        appended
    }

    /// Appends to the queue, and has it written.
    ///
    /// # Errors
    /// What the closure returns; appending to an ended link is accepted and forgotten.
    pub fn say<T>(
        &self,
        leaves: Leaves,
        append: impl FnOnce(&mut SendQueue) -> Result<T, MessageError>,
    ) -> Result<T, MessageError> {
        let mut inner = self.lock();
        let appended = append(&mut inner.queue);
        if inner.writer.is_none() {
            inner.queue.clear();
            return appended;
        }
        if leaves == Leaves::Now || inner.queue.uncommitted_control() > FULL {
            inner.write_now();
        } else if !inner.soon {
            inner.soon = true;
            let pump = inner.pump.clone();
            drop(inner);
            pump.wake();
        }
        appended
    }

    /// Appends a message without payload.
    ///
    /// # Errors
    /// [`MessageError::TooLong`] if it does not fit a frame.
    pub fn message<M: Message>(
        &self,
        conversation: ConversationId,
        message: &M,
    ) -> Result<(), MessageError> {
        self.append(|queue| queue.message(conversation, message))
    }

    /// Appends a message with its payload.
    ///
    /// # Errors
    /// [`MessageError::TooLong`] if the message does not fit a frame.
    pub fn message_with<M: Message>(
        &self,
        conversation: ConversationId,
        message: &M,
        payload: Payload,
    ) -> Result<(), MessageError> {
        self.append(|queue| queue.message_with(conversation, message, payload))
    }

    /// The peer takes so many bytes more of a payload or a stream.
    pub fn credit(&self, conversation: ConversationId, bytes: u64) {
        self.lock().queue.credit(conversation, bytes);
        self.flush();
    }

    /// Begins a stream of bytes, of which the peer takes `credit` unasked.
    pub fn open(&self, conversation: ConversationId, credit: u64) {
        let mut inner = self.lock();
        if inner.writer.is_some() {
            inner.queue.open(conversation, credit);
        }
    }

    /// Appends to a stream; whether anybody still takes it. It leaves with the next flush.
    pub fn write(&self, conversation: ConversationId, bytes: &[u8]) -> bool {
        self.lock().queue.write(conversation, bytes)
    }

    /// The same with bytes that need not be copied.
    pub fn write_piece(&self, conversation: ConversationId, piece: Bytes) -> bool {
        self.lock().queue.write_piece(conversation, piece)
    }

    /// Says that nothing more comes of a stream.
    pub fn end(&self, conversation: ConversationId) {
        self.lock().queue.end(conversation);
    }

    /// How much a stream takes now, of which less than `buffer` bytes are to be unsent and
    /// nothing that its receiver has not allowed; not 0. `None` if it is over. One waits
    /// for a stream at a time.
    pub fn poll_room(
        &self,
        cx: &mut Context<'_>,
        conversation: ConversationId,
        buffer: usize,
    ) -> Poll<Option<usize>> {
        let mut inner = self.lock();
        let want = Want::Room(buffer);
        if !inner.has(conversation, want) {
            inner.wait(cx, conversation, want);
            return Poll::Pending;
        }
        Poll::Ready(inner.queue.unsent(conversation).map(|unsent| room(unsent, buffer)))
    }

    /// How much a stream takes now, without waiting; see [`poll_room`](Self::poll_room).
    pub fn room(&self, conversation: ConversationId, buffer: usize) -> Option<usize> {
        self.lock().queue.unsent(conversation).map(|unsent| room(unsent, buffer))
    }

    /// Whether a stream is over: all was sent, or it was abandoned.
    pub fn poll_over(&self, cx: &mut Context<'_>, conversation: ConversationId) -> Poll<()> {
        let mut inner = self.lock();
        if inner.has(conversation, Want::Over) {
            return Poll::Ready(());
        }
        inner.wait(cx, conversation, Want::Over);
        Poll::Pending
    }

    /// Lets the peer send so many bytes more of a payload.
    ///
    /// # Errors
    /// [`MessageError::TooLong`] if it does not fit a frame, which it always does.
    pub fn grant(&self, conversation: ConversationId, bytes: u64) -> Result<(), MessageError> {
        self.message(conversation, &Credit { bytes })?;
        self.flush();
        Ok(())
    }

    /// Forgets what of a payload or a stream is not committed yet; whether there was any.
    pub fn forget(&self, conversation: ConversationId) -> bool {
        let mut inner = self.lock();
        let was_there = inner.queue.abandon(conversation);
        if was_there {
            inner.wake();
        }
        was_there
    }

    /// Tells the peer that a payload goes no further, whoever sends it.
    ///
    /// # Errors
    /// [`MessageError::TooLong`] if it does not fit a frame; causes are cut so that they do.
    pub fn abandon(&self, conversation: ConversationId, why: Cause) -> Result<(), MessageError> {
        self.message(conversation, &Abandon { failure: why.into() })?;
        self.flush();
        Ok(())
    }

    /// Bytes of control frames that are not written yet.
    pub fn control_bytes(&self) -> usize {
        self.lock().queue.control_bytes()
    }

    /// Bytes of payloads that are not written yet.
    pub fn bulk_bytes(&self) -> usize {
        self.lock().queue.bulk_bytes()
    }

    /// Waits until no more than `most` bytes of payloads are unwritten. One at a time.
    pub async fn bulk_below(&self, most: usize) {
        std::future::poll_fn(|cx| {
            let mut inner = self.lock();
            if inner.queue.bulk_bytes() <= most {
                return Poll::Ready(());
            }
            inner.below = Some((most, cx.waker().clone()));
            Poll::Pending
        })
        .await;
    }

    /// Waits until no more than `most` bytes of control frames are unwritten. One task at a time.
    pub async fn control_below(&self, most: usize) {
        std::future::poll_fn(|cx| {
            let mut inner = self.lock();
            if inner.queue.control_bytes() <= most {
                return Poll::Ready(());
            }
            inner.control_below = Some((most, cx.waker().clone()));
            Poll::Pending
        })
        .await;
    }

    /// Writes what the stream takes now. Never waits; the pump does the rest.
    pub fn flush(&self) {
        self.lock().write_now();
    }

    /// Lets the pump write, when the runtime gets to it: for a batch that may still grow.
    pub fn flush_soon(&self) {
        let pump = self.lock().pump.clone();
        pump.wake();
    }

    /// Drives the writing until the stream fails. One at a time.
    pub(crate) async fn pump(&self) -> LinkError {
        std::future::poll_fn(|cx| {
            let mut inner = self.lock();
            inner.pump.clone_from(cx.waker());
            inner.soon = false;
            inner.write(cx);
            inner.pumped = true;
            match inner.failure.take() {
                Some(failure) => Poll::Ready(failure),
                None => Poll::Pending,
            }
        })
        .await
    }

    /// Waits until everything was written that does not wait for credit.
    ///
    /// # Errors
    /// [`LinkError`] if the stream failed before.
    pub async fn flushed(&self) -> Result<(), LinkError> {
        std::future::poll_fn(|cx| {
            let mut inner = self.lock();
            inner.pump.clone_from(cx.waker());
            inner.write(cx);
            match inner.failure.take() {
                Some(failure) => Poll::Ready(Err(failure)),
                None if inner.queue.is_idle() && !inner.unflushed => Poll::Ready(Ok(())),
                None => Poll::Pending,
            }
        })
        .await
    }

    /// Queues bytes that precede all frames.
    pub(crate) fn raw(&self, bytes: &[u8]) -> Result<(), LinkError> {
        Ok(self.append(|queue| {
            queue.raw(bytes);
            Ok(())
        })?)
    }

    /// The same, and waits until they were written.
    pub(crate) async fn say_raw(&self, bytes: &[u8]) -> Result<(), LinkError> {
        self.raw(bytes)?;
        self.flushed().await
    }

    /// Says why the link ends, as far as the stream takes it at once, and closes.
    pub fn close(&self, code: u16, reason: &str) {
        self.say_goodbye(code, reason);
        self.shut();
    }

    fn say_goodbye(&self, code: u16, reason: &str) {
        let mut reason = reason.to_owned();
        reason.truncate(reason.floor_char_boundary(dpfw_protocol::limits::MAX_TEXT));
        // A goodbye that does not fit a frame is left out; it fits, its text was cut.
        let _ = self.message(ConversationId::LINK, &Close { code, reason });
        self.flush();
    }

    /// The same to a peer that may not have the link any more, which is why it ends here.
    pub(crate) fn refuse(&self, why: &str) {
        self.say_goodbye(close::REFUSED, why);
        self.end_with(LinkError::Refused(why.to_owned()));
    }

    /// Closes the stream without a word.
    pub fn shut(&self) {
        self.end_with(LinkError::Local("closed"));
    }

    fn end_with(&self, with: LinkError) {
        let mut inner = self.lock();
        if let Some(mut writer) = inner.writer.take() {
            let mut cx = Context::from_waker(Waker::noop());
            // The peer learns of it by what the kernel sends when the stream is dropped.
            let _ = Pin::new(&mut writer).poll_shutdown(&mut cx);
        }
        inner.fail(with);
        inner.pump.wake_by_ref();
    }

    /// Looks after the link at a beat: whether nothing was written since the last one. A peer
    /// that takes nothing of what waits for it is cut off. The kernel's own limit
    /// (`TCP_USER_TIMEOUT`) does not end it where the peer still sends: its acknowledgements
    /// put the kernel's probes off again and again. Only tries of the pump count, so that a
    /// runtime that is busy elsewhere cuts nobody off.
    pub(crate) fn beat(&self, patience: Patience) -> bool {
        let mut inner = self.lock();
        let written = std::mem::take(&mut inner.written);
        let pumped = std::mem::take(&mut inner.pumped);
        let waits = inner.writer.is_some() && !inner.queue.is_idle();
        inner.stuck = match waits && written == 0 {
            true => inner.stuck + u32::from(pumped),
            false => 0,
        };
        if inner.stuck > STUCK && patience == Patience::Limited {
            let waiting = inner.queue.control_bytes() + inner.queue.bulk_bytes();
            inner.fail(LinkError::Overrun(waiting));
        }
        if waits {
            inner.pump.wake_by_ref();
        }
        written == 0
    }

    /// Whether the stream is gone.
    pub fn is_closed(&self) -> bool {
        self.lock().writer.is_none()
    }
}

impl std::fmt::Debug for Outbox {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Outbox")
    }
}
