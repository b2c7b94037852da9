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
use bytes::{Buf, Bytes, BytesMut};
use std::collections::{HashMap, VecDeque};
use std::io::IoSlice;

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

/// A payload, or what of a stream has not been sent.
#[derive(Debug)]
struct Bulk {
    conversation: ConversationId,
    pieces: VecDeque<Bytes>,
    /// Behind the pieces: small writes to a stream, put together.
    tail: BytesMut,
    left: usize,
    credit: u64,
    /// Whether more may come: it is a stream that has not ended.
    more: bool,
    /// Whether its receiver has ever allowed anything.
    begun: bool,
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
            let bytes = payload.into_bytes();
            return message::encode(&mut self.control, conversation, message, &bytes, true);
        }
        message::encode(&mut self.control, conversation, message, &[], false)?;
        self.bulk_bytes += len;
        let pieces = payload.pieces().cloned().collect();
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

impl Bulk {
    fn allow(&mut self, bytes: u64) {
        self.credit = self.credit.saturating_add(bytes);
        self.begun = true;
    }

    fn write(&mut self, mut bytes: &[u8]) {
        self.left += bytes.len();
        while !bytes.is_empty() {
            self.tail.reserve(bytes.len().min(CHUNK));
            let (now, rest) = bytes.split_at(bytes.len().min(CHUNK - self.tail.len()));
            self.tail.extend_from_slice(now);
            if self.tail.len() == CHUNK {
                self.seal();
            }
            bytes = rest;
        }
    }

    /// Makes a piece of the small writes.
    fn seal(&mut self) {
        if !self.tail.is_empty() {
            self.pieces.push_back(self.tail.split().freeze());
        }
    }

    /// The next bytes: of one piece, within the credit.
    fn take(&mut self, most: usize) -> Bytes {
        let credit = usize::try_from(self.credit).unwrap_or(usize::MAX);
        if self.pieces.is_empty() {
            self.seal();
        }
        let Some(front) = self.pieces.front_mut() else {
            return Bytes::new();
        };
        let n = front.len().min(most).min(credit);
        let data = front.copy_to_bytes(n);
        if front.is_empty() {
            self.pieces.pop_front();
        }
        self.left -= n;
        self.credit -= n as u64;
        data
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::FrameDecoder;
    use crate::ids::ModuleHash;
    use crate::limits::MAX_BODY;
    use crate::message::{Heartbeat, ModuleBytes};

    fn offer(payload: usize) -> ModuleBytes {
        ModuleBytes { module: ModuleHash::of(b""), payload: payload as u64 }
    }

    /// Writes at most `most` bytes, in steps, and gives what came out.
    fn write(queue: &mut SendQueue, most: usize, step: usize) -> Vec<u8> {
        let mut out = Vec::new();
        while out.len() < most && !queue.is_idle() {
            let mut slices = Vec::new();
            queue.slices(&mut slices);
            assert!(slices.len() <= SLICES);
            let all: Vec<u8> = slices.iter().flat_map(|s| s.iter().copied()).collect();
            drop(slices);
            let n = all.len().min(step).min(most - out.len());
            out.extend_from_slice(&all[..n]);
            queue.advance(n);
            if all.is_empty() {
                break;
            }
        }
        out
    }

    fn frames(bytes: &[u8]) -> Vec<Header> {
        let mut decoder = FrameDecoder::new(MAX_BODY);
        let mut out = Vec::new();
        let mut rest = bytes;
        while !rest.is_empty() {
            let space = decoder.space();
            let n = space.len().min(rest.len());
            space[..n].copy_from_slice(&rest[..n]);
            decoder.filled(n);
            rest = &rest[n..];
            while let Some(frame) = decoder.next_frame().expect("well formed") {
                out.push(frame.header);
            }
        }
        out
    }

    #[test]
    fn small_payloads_share_the_messages_frame() {
        let mut queue = SendQueue::new(u64::MAX);
        queue.message_with(ConversationId(1), &offer(3), vec![1, 2, 3].into()).expect("fits");
        let headers = frames(&write(&mut queue, usize::MAX, 7));
        assert_eq!(headers.len(), 1);
        assert_eq!(headers[0].flags, END);
    }

    #[test]
    fn a_control_frame_waits_for_no_more_than_what_is_committed() {
        let mut queue = SendQueue::new(u64::MAX);
        let big = vec![0u8; 100 * CHUNK];
        queue.message_with(ConversationId(1), &offer(big.len()), big.into()).expect("fits");
        let mut out = write(&mut queue, 10_000, 10_000);
        queue.message(ConversationId::LINK, &Heartbeat {}).expect("fits");
        out.extend(write(&mut queue, usize::MAX, 100_000));
        let headers = frames(&out);
        let at = headers.iter().position(|h| h.kind == kind::HEARTBEAT).expect("sent");
        assert!(at <= 1 + AHEAD / CHUNK, "it was frame {at}");
        assert_eq!(headers.last().map(|h| h.flags), Some(END));
    }

    #[test]
    fn conversations_take_turns_and_keep_to_their_credit() {
        let mut queue = SendQueue::new(2 * CHUNK as u64);
        for id in [1, 2] {
            let big = vec![0u8; 3 * CHUNK];
            queue.message_with(ConversationId(id), &offer(big.len()), big.into()).expect("fits");
        }
        let headers = frames(&write(&mut queue, usize::MAX, usize::MAX));
        let chunks: Vec<_> =
            headers.iter().filter(|h| h.kind == kind::CHUNK).map(|h| h.conversation.0).collect();
        assert_eq!(chunks, [1, 2, 1, 2]);
        assert!(queue.is_idle());
        assert_eq!(queue.bulk_bytes(), 2 * CHUNK);

        queue.credit(ConversationId(2), 1 << 30);
        let headers = frames(&write(&mut queue, usize::MAX, usize::MAX));
        assert_eq!(
            headers.iter().map(|h| (h.conversation.0, h.flags)).collect::<Vec<_>>(),
            [(2, END)]
        );
        assert!(queue.abandon(ConversationId(1)));
        assert_eq!(queue.bulk_bytes(), 0);
    }

    #[test]
    fn a_stream_sends_what_it_has_and_says_when_it_ends() {
        let id = ConversationId(9);
        let mut queue = SendQueue::new(u64::MAX);
        queue.open(id, 5);
        assert!(queue.is_idle() && queue.write(id, b"abc") && queue.write(id, b"def"));
        assert_eq!(queue.bulk_bytes(), 6);
        let sent = write(&mut queue, usize::MAX, usize::MAX);
        assert_eq!((&sent[HEADER..], queue.unsent(id)), (&b"abcde"[..], Some((1, 0))));
        assert!(queue.is_idle(), "there is no credit for the rest");

        queue.credit(id, 1);
        let sent = write(&mut queue, usize::MAX, usize::MAX);
        assert_eq!((frames(&sent)[0].flags, &sent[HEADER..]), (0, &b"f"[..]));
        queue.end(id);
        let sent = write(&mut queue, usize::MAX, usize::MAX);
        let headers = frames(&sent);
        assert_eq!((headers[0].flags, headers[0].len), (END, 0), "which needs no credit");
        assert!(queue.unsent(id).is_none() && !queue.write(id, b"late"));
        assert_eq!(queue.bulk_bytes(), 0);
    }

    #[test]
    fn nothing_of_a_stream_leaves_before_it_is_asked_for() {
        let id = ConversationId(9);
        let mut queue = SendQueue::new(u64::MAX);
        queue.open(id, 0);
        queue.end(id);
        assert_eq!(write(&mut queue, usize::MAX, usize::MAX), [0u8; 0]);
        queue.credit(id, 1);
        assert_eq!(frames(&write(&mut queue, usize::MAX, usize::MAX))[0].flags, END);
    }

    #[test]
    fn small_writes_to_a_stream_leave_together() {
        let id = ConversationId(9);
        let mut queue = SendQueue::new(u64::MAX);
        queue.open(id, u64::MAX);
        for _ in 0..3 * CHUNK / 64 {
            assert!(queue.write(id, &[7; 64]));
        }
        assert!(queue.write_piece(id, Bytes::from_static(b"a piece")));
        queue.end(id);
        let headers = frames(&write(&mut queue, usize::MAX, usize::MAX));
        let lens: Vec<_> = headers.iter().map(|h| h.len as usize).collect();
        assert_eq!(lens, [CHUNK, CHUNK, CHUNK, 7]);
        queue.open(id, u64::MAX);
        assert!(queue.write(id, &[7; 64]) && queue.abandon(id));
        assert_eq!((queue.bulk_bytes(), queue.unsent(id)), (0, None));
    }

    #[test]
    fn those_without_credit_do_not_hold_up_those_with() {
        let mut queue = SendQueue::new(CHUNK as u64);
        let add = |queue: &mut SendQueue, id, payload: usize| {
            let payload = vec![0u8; payload];
            queue
                .message_with(ConversationId(id), &offer(payload.len()), payload.into())
                .expect("fits");
        };
        (1..=8).for_each(|id| add(&mut queue, id, 2 * CHUNK));
        // Two commits: each conversation has sent what it may, and none is set aside yet.
        for _ in 0..2 {
            let mut slices = Vec::new();
            queue.slices(&mut slices);
            let n = slices.iter().map(|s| s.len()).sum();
            queue.advance(n);
        }
        assert_eq!((queue.bulk_bytes(), queue.stalled.len()), (8 * CHUNK, 0));
        queue.set_window(u64::MAX);
        add(&mut queue, 9, CHUNK);
        let then = frames(&write(&mut queue, usize::MAX, usize::MAX));
        assert_eq!(then.last().map(|h| (h.conversation.0, h.flags)), Some((9, END)));
        assert!(queue.is_idle());
        assert_eq!(queue.bulk_bytes(), 8 * CHUNK);
    }
}
