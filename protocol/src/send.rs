//! What is to be written to a link, in which order.
//!
//! Owns: encoded control frames, payloads waiting to be cut into chunks, the credit of
//! their conversations. Does not: write. Invariants: frames are never interleaved;
//! control frames overtake bulk ones; at most [`AHEAD`] bytes of bulk are committed at
//! once, so that a control frame waits for no more than that; a conversation never has
//! more bytes under way than its receiver allowed.

use crate::frame::{END, HEADER, Header};
use crate::ids::ConversationId;
use crate::limits::{CHUNK, INLINE};
use crate::message::{self, Message, MessageError, kind};
use crate::payload::Payload;
use bulk::Bulk;
use bytes::{Bytes, BytesMut};
use std::collections::{HashMap, VecDeque};
use std::io::IoSlice;

mod bulk;

/// Bytes of bulk that are committed to the stream at once: four chunks make one system
/// call worth its price.
pub const AHEAD: usize = 4 * CHUNK;

/// Slices that [`SendQueue::slices`] gives at most: the control frames, then head and
/// body of each committed chunk.
pub const SLICES: usize = 1 + 2 * (AHEAD / CHUNK);

/// Buffers for control frames that grew beyond this are given back when empty.
const KEEP: usize = 256 * 1024;

/// The queue of one link's outgoing bytes.
#[derive(Debug)]
pub struct SendQueue {
    control: Vec<u8>,
    spare: Vec<u8>,
    committed: VecDeque<Segment>,
    offset: usize,
    ready: VecDeque<Bulk>,
    stalled: HashMap<ConversationId, Bulk>,
    /// Streams that have nothing to send now.
    quiet: HashMap<ConversationId, Bulk>,
    bulk_bytes: usize,
    window: u64,
}

#[derive(Debug)]
enum Segment {
    Control(Vec<u8>),
    Head([u8; HEADER]),
    Data(Bytes),
}

impl Segment {
    fn bytes(&self) -> &[u8] {
        match self {
            Self::Control(bytes) => bytes,
            Self::Head(bytes) => bytes,
            Self::Data(bytes) => bytes,
        }
    }
}

impl SendQueue {
    /// An empty queue towards a peer that allows each conversation `window` bytes.
    pub fn new(window: u64) -> Self {
        Self {
            control: Vec::new(),
            spare: Vec::new(),
            committed: VecDeque::new(),
            offset: 0,
            ready: VecDeque::new(),
            stalled: HashMap::new(),
            quiet: HashMap::new(),
            bulk_bytes: 0,
            window,
        }
    }

    /// Takes the peer's window, once its hello is known.
    pub fn set_window(&mut self, window: u64) {
        self.window = window;
    }

    /// Queues bytes that are no message: the preface and the hello.
    pub fn raw(&mut self, bytes: &[u8]) {
        self.control.extend_from_slice(bytes);
    }

    /// Queues a message without payload.
    ///
    /// # Errors
    /// [`MessageError::TooLong`] if it does not fit a frame; nothing is queued.
    pub fn message<M: Message>(
        &mut self,
        conversation: ConversationId,
        message: &M,
    ) -> Result<(), MessageError> {
        message::encode(&mut self.control, conversation, message, &[], true)
    }

    /// Queues a message whose payload lies in one piece: in the same frame if it is
    /// small, else behind it in chunks. `own` makes the piece that is kept.
    ///
    /// # Errors
    /// [`MessageError::TooLong`] if the message does not fit a frame; nothing is queued.
    pub fn message_with_slice<M: Message>(
        &mut self,
        conversation: ConversationId,
        message: &M,
        payload: &[u8],
    ) -> Result<(), MessageError> {
        if payload.len() <= INLINE {
            return message::encode(&mut self.control, conversation, message, payload, true);
        }
        self.message_with(conversation, message, Bytes::copy_from_slice(payload).into())
    }

    /// Queues a message and its payload: in the same frame if it is small, else behind it
    /// in chunks.
    ///
    /// # Errors
    /// [`MessageError::TooLong`] if the message does not fit a frame; nothing is queued.
    pub fn message_with<M: Message>(
        &mut self,
        conversation: ConversationId,
        message: &M,
        payload: Payload,
    ) -> Result<(), MessageError> {
        let len = payload.len();
        if len <= INLINE {
            let mut whole = |bytes: &[u8]| {
                message::encode(&mut self.control, conversation, message, bytes, true)
            };
            return match payload.as_slice() {
                Some(bytes) => whole(bytes),
                None => whole(&payload.into_bytes()),
            };
        }
        message::encode(&mut self.control, conversation, message, &[], false)?;
        self.bulk_bytes += len;
        let pieces = payload.into_pieces().collect();
        let (tail, credit) = (BytesMut::new(), self.window);
        let bulk = Bulk { conversation, pieces, tail, left: len, credit, more: false, begun: true };
        self.ready.push_back(bulk);
        Ok(())
    }

    /// The receiver allows a conversation more bytes.
    pub fn credit(&mut self, conversation: ConversationId, bytes: u64) {
        if let Some(mut bulk) = self.stalled.remove(&conversation) {
            bulk.allow(bytes);
            self.ready.push_back(bulk);
        } else if let Some(bulk) = self.find(conversation) {
            bulk.allow(bytes);
        }
    }

    /// A payload or stream, wherever it is.
    fn find(&mut self, conversation: ConversationId) -> Option<&mut Bulk> {
        let ready = self.ready.iter_mut().find(|b| b.conversation == conversation);
        ready
            .or_else(|| self.stalled.get_mut(&conversation))
            .or_else(|| self.quiet.get_mut(&conversation))
    }

    /// Begins a stream of bytes whose length nobody knows yet, with so much credit. It is
    /// over when it was ended and sent, or abandoned.
    pub fn open(&mut self, conversation: ConversationId, credit: u64) {
        let (pieces, tail) = (VecDeque::new(), BytesMut::new());
        let begun = credit > 0;
        let bulk = Bulk { conversation, pieces, tail, left: 0, credit, more: true, begun };
        self.quiet.insert(conversation, bulk);
    }

    /// Appends to a stream; whether it is there and was not ended.
    pub fn write(&mut self, conversation: ConversationId, bytes: &[u8]) -> bool {
        self.extend(conversation, |bulk| {
            bulk.write(bytes);
            bytes.len()
        })
    }

    /// Appends a piece to a stream, which is not copied; whether it is there.
    pub fn write_piece(&mut self, conversation: ConversationId, piece: Bytes) -> bool {
        self.extend(conversation, |bulk| {
            let len = piece.len();
            bulk.seal();
            bulk.pieces.extend((len > 0).then_some(piece));
            bulk.left += len;
            len
        })
    }

    /// Says that nothing more comes of a stream.
    pub fn end(&mut self, conversation: ConversationId) {
        self.extend(conversation, |bulk| {
            bulk.more = false;
            0
        });
    }

    fn extend(
        &mut self,
        conversation: ConversationId,
        change: impl FnOnce(&mut Bulk) -> usize,
    ) -> bool {
        let Some(bulk) = self.find(conversation).filter(|bulk| bulk.more) else {
            return false;
        };
        let added = change(bulk);
        let has_news = bulk.left > 0 || !bulk.more;
        self.bulk_bytes += added;
        if has_news && let Some(bulk) = self.quiet.remove(&conversation) {
            self.ready.push_back(bulk);
        }
        true
    }

    /// Bytes of a stream that are not committed yet, and how many its receiver allows;
    /// `None` if it is over.
    pub fn unsent(&mut self, conversation: ConversationId) -> Option<(usize, u64)> {
        self.find(conversation).map(|bulk| (bulk.left, bulk.credit))
    }

    /// Drops what is left of a conversation's payload; says whether there was any.
    pub fn abandon(&mut self, conversation: ConversationId) -> bool {
        // As of nearly all: nothing of them is looked for by its number.
        if self.ready.is_empty() && self.stalled.is_empty() && self.quiet.is_empty() {
            return false;
        }
        let at = self.ready.iter().position(|b| b.conversation == conversation);
        let bulk = match at {
            Some(at) => self.ready.remove(at),
            None => self.stalled.remove(&conversation).or_else(|| self.quiet.remove(&conversation)),
        };
        self.bulk_bytes -= bulk.as_ref().map_or(0, |b| b.left);
        bulk.is_some()
    }

    /// Forgets everything that is queued.
    pub fn clear(&mut self) {
        *self = Self::new(self.window);
    }

    /// Whether there is nothing to write now. Payloads may still wait for credit.
    pub fn is_idle(&self) -> bool {
        self.control.is_empty() && self.committed.is_empty() && self.ready.is_empty()
    }

    /// Bytes of control frames that are not written yet.
    pub fn control_bytes(&self) -> usize {
        let committed: usize = self
            .committed
            .iter()
            .filter(|s| matches!(s, Segment::Control(_)))
            .map(|s| s.bytes().len())
            .sum();
        self.control.len() + committed
    }

    /// Bytes of control frames that no write has been tried for.
    pub fn uncommitted_control(&self) -> usize {
        self.control.len()
    }

    /// Bytes of payloads that are not committed yet.
    pub fn bulk_bytes(&self) -> usize {
        self.bulk_bytes
    }

    /// What to write next, in order. Fewer than [`SLICES`] slices; none if idle.
    pub fn slices<'a>(&'a mut self, out: &mut Vec<IoSlice<'a>>) {
        if self.committed.is_empty() {
            self.commit();
        }
        let mut skip = self.offset;
        for segment in &self.committed {
            out.push(IoSlice::new(&segment.bytes()[skip..]));
            skip = 0;
        }
    }

    /// Moves control frames, then chunks in turn, to what is written next.
    fn commit(&mut self) {
        if !self.control.is_empty() {
            let next = std::mem::take(&mut self.spare);
            self.committed.push_back(Segment::Control(std::mem::replace(&mut self.control, next)));
        }
        // Those without credit make room for others; each is passed over once.
        let mut room = AHEAD / CHUNK;
        while room > 0
            && let Some(mut bulk) = self.ready.pop_front()
        {
            // The end of a stream needs none, if there was any before.
            if bulk.credit == 0 && (bulk.left > 0 || !bulk.begun) {
                self.stall(bulk);
                continue;
            }
            room -= 1;
            let data = bulk.take(CHUNK);
            self.bulk_bytes -= data.len();
            let header = Header {
                len: data.len() as u32,
                kind: kind::CHUNK,
                flags: if bulk.left == 0 && !bulk.more { END } else { 0 },
                conversation: bulk.conversation,
            };
            self.committed.push_back(Segment::Head(header.to_bytes()));
            if !data.is_empty() {
                self.committed.push_back(Segment::Data(data));
            }
            if bulk.left > 0 {
                self.ready.push_back(bulk);
            } else if bulk.more {
                self.quiet.insert(bulk.conversation, bulk);
            }
        }
    }

    /// Sets a payload aside until its receiver grants more.
    fn stall(&mut self, bulk: Bulk) {
        // Of two payloads in one conversation, which is against the rules, one is dropped.
        if let Some(lost) = self.stalled.insert(bulk.conversation, bulk) {
            self.bulk_bytes -= lost.left;
        }
    }

    /// Says that `n` bytes of the slices were written.
    pub fn advance(&mut self, n: usize) {
        self.offset += n;
        while let Some(front) = self.committed.front() {
            let len = front.bytes().len();
            if self.offset < len {
                return;
            }
            self.offset -= len;
            if let Some(Segment::Control(mut buffer)) = self.committed.pop_front()
                && buffer.capacity() <= KEEP
            {
                buffer.clear();
                self.spare = buffer;
            }
        }
    }
}

#[cfg(test)]
mod tests;
