//! Frames: a header of sixteen bytes and a body.
//!
//! ```text
//!  0      4    5     6        8               16
//!  | len  |kind|flags|reserved| conversation  | body (len bytes)
//! ```
//!
//! All numbers are little endian. A body is a message (a `u16` length, MessagePack) with
//! raw payload bytes behind it, or, for a chunk, payload alone. Invariant: nothing is
//! allocated for a body before its length was held against a limit.

use crate::ids::ConversationId;

/// The size of a header.
pub const HEADER: usize = 16;

/// The body ends its conversation's payload.
pub const END: u8 = 1;

/// What precedes every body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// The length of the body.
    pub len: u32,
    /// Which message; see [`crate::message::kind`].
    pub kind: u8,
    /// [`END`], or nothing.
    pub flags: u8,
    /// The conversation that the frame belongs to.
    pub conversation: ConversationId,
}

impl Header {
    /// The bytes on the wire.
    pub fn to_bytes(self) -> [u8; HEADER] {
        let mut bytes = [0; HEADER];
        bytes[0..4].copy_from_slice(&self.len.to_le_bytes());
        bytes[4] = self.kind;
        bytes[5] = self.flags;
        bytes[8..16].copy_from_slice(&self.conversation.0.to_le_bytes());
        bytes
    }

    /// Reads a header.
    ///
    /// # Errors
    /// [`FrameError::Reserved`] if bits are set that version 1 leaves clear.
    pub fn from_bytes(bytes: [u8; HEADER]) -> Result<Self, FrameError> {
        let [l0, l1, l2, l3, kind, flags, r0, r1, c @ ..] = bytes;
        if r0 != 0 || r1 != 0 || flags & !END != 0 {
            return Err(FrameError::Reserved);
        }
        Ok(Self {
            len: u32::from_le_bytes([l0, l1, l2, l3]),
            kind,
            flags,
            conversation: ConversationId(u64::from_le_bytes(c)),
        })
    }
}

/// A frame that has arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame<'a> {
    /// Its header.
    pub header: Header,
    /// Its body, of the header's length.
    pub body: &'a [u8],
}

/// Bytes are no frames.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FrameError {
    /// The header announces more than is allowed.
    #[error("a frame of {len} bytes is announced, {allowed} are allowed")]
    Oversized {
        /// The length in the header.
        len: u32,
        /// The limit.
        allowed: usize,
    },
    /// Bits of the header are set that have no meaning.
    #[error("reserved bits of a frame header are set")]
    Reserved,
}

/// Cuts a stream of bytes into frames.
///
/// The reader asks for [`space`](Self::space), fills some of it, says how much with
/// [`filled`](Self::filled), and takes frames with [`next_frame`](Self::next_frame) until
/// there are none. The buffer starts small and grows only when reads fill it, so that an
/// idle link costs little.
#[derive(Debug)]
pub struct FrameDecoder {
    buffer: Vec<u8>,
    start: usize,
    end: usize,
    max_body: usize,
}

/// What an idle link holds.
const SMALL: usize = 16 * 1024;

/// What a busy link reads at once: four chunks. More than fits a core's cache is slower.
const LARGE: usize = 4 * (crate::limits::CHUNK + HEADER);

impl FrameDecoder {
    /// A decoder that refuses bodies above `max_body` bytes.
    pub fn new(max_body: usize) -> Self {
        Self { buffer: vec![0; SMALL], start: 0, end: 0, max_body }
    }

    /// Allows larger bodies from now on, once the peer is known.
    pub fn allow(&mut self, max_body: usize) {
        self.max_body = max_body;
    }

    /// Room to read into; never empty.
    pub fn space(&mut self) -> &mut [u8] {
        if self.start == self.end {
            self.start = 0;
            self.end = 0;
        }
        let wanted = self.wanted();
        if self.start + wanted > self.buffer.len() || self.end == self.buffer.len() {
            self.buffer.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
        }
        let least = wanted.max(self.end + 1);
        if least > self.buffer.len() {
            self.buffer.resize(least.max(LARGE), 0);
        }
        &mut self.buffer[self.end..]
    }

    /// The whole length of the frame that is arriving; its header was checked by
    /// [`next_frame`](Self::next_frame).
    fn wanted(&self) -> usize {
        match self.peek() {
            Some(Ok(header)) => HEADER + (header.len as usize).min(self.max_body),
            _ => HEADER,
        }
    }

    /// Says that `n` bytes of the space were filled.
    pub fn filled(&mut self, n: usize) {
        if n == self.buffer.len() - self.end && self.buffer.len() < LARGE {
            self.buffer.resize(LARGE, 0);
        }
        self.end = (self.end + n).min(self.buffer.len());
    }

    fn peek(&self) -> Option<Result<Header, FrameError>> {
        let bytes = self.buffer[self.start..self.end].first_chunk::<HEADER>()?;
        Some(Header::from_bytes(*bytes))
    }

    /// The next whole frame, if it has arrived.
    ///
    /// # Errors
    /// [`FrameError`] if the header is not one, or announces too much; the link cannot go
    /// on after that.
    pub fn next_frame(&mut self) -> Result<Option<Frame<'_>>, FrameError> {
        let Some(header) = self.peek().transpose()? else {
            return Ok(None);
        };
        if header.len as usize > self.max_body {
            return Err(FrameError::Oversized { len: header.len, allowed: self.max_body });
        }
        let body = self.start + HEADER;
        let end = body + header.len as usize;
        if end > self.end {
            return Ok(None);
        }
        self.start = end;
        Ok(Some(Frame { header, body: &self.buffer[body..end] }))
    }

    /// The header of a frame that has not arrived whole, after
    /// [`next_frame`](Self::next_frame) has checked it.
    pub fn begun(&self) -> Option<Header> {
        self.peek().and_then(Result::ok)
    }

    /// Takes what there is of the body of the frame that has [`begun`](Self::begun). The
    /// rest of it is the caller's to read.
    pub fn split(&mut self) -> &[u8] {
        let body = (self.start + HEADER).min(self.end);
        self.start = self.end;
        &self.buffer[body..self.end]
    }

    /// Passes over as many of the next `n` bytes as have arrived; how many that were.
    pub fn skip(&mut self, n: usize) -> usize {
        let skipped = n.min(self.buffered());
        self.start += skipped;
        skipped
    }

    /// Takes `n` bytes that precede all frames: the preface.
    pub fn take(&mut self, n: usize) -> Option<&[u8]> {
        let from = self.start;
        if self.end - from < n {
            return None;
        }
        self.start += n;
        Some(&self.buffer[from..from + n])
    }

    /// How many bytes have arrived that are not part of a frame taken so far.
    pub fn buffered(&self) -> usize {
        self.end - self.start
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn frame(kind: u8, conversation: u64, body: &[u8]) -> Vec<u8> {
        let header = Header {
            len: body.len() as u32,
            kind,
            flags: 0,
            conversation: ConversationId(conversation),
        };
        [&header.to_bytes()[..], body].concat()
    }

    fn feed(decoder: &mut FrameDecoder, mut bytes: &[u8], step: usize) -> Vec<(Header, Vec<u8>)> {
        let mut out = Vec::new();
        while !bytes.is_empty() {
            let space = decoder.space();
            let n = bytes.len().min(step).min(space.len());
            space[..n].copy_from_slice(&bytes[..n]);
            decoder.filled(n);
            bytes = &bytes[n..];
            while let Some(frame) = decoder.next_frame().expect("well formed") {
                out.push((frame.header, frame.body.to_vec()));
            }
        }
        out
    }

    #[test]
    fn a_frame_that_has_begun_can_be_read_elsewhere() {
        let mut decoder = FrameDecoder::new(100);
        let bytes = frame(4, 9, b"twelve bytes");
        assert!(feed(&mut decoder, &bytes[..HEADER + 6], 7).is_empty());
        assert_eq!(decoder.begun().map(|header| header.len), Some(12));
        assert_eq!(decoder.split(), b"twelve");
        assert_eq!((decoder.begun(), decoder.buffered()), (None, 0));
        let then = frame(1, 0, b"x");
        assert_eq!(feed(&mut decoder, &then, 100).len(), 1);
        decoder.space()[..3].copy_from_slice(b"abc");
        decoder.filled(3);
        assert_eq!((decoder.skip(2), decoder.skip(5)), (2, 1));
    }

    #[test]
    fn an_oversized_length_is_refused_on_the_header() {
        let mut decoder = FrameDecoder::new(100);
        let header = Header { len: u32::MAX, kind: 1, flags: 0, conversation: ConversationId(0) };
        decoder.space()[..HEADER].copy_from_slice(&header.to_bytes());
        decoder.filled(HEADER);
        let before = decoder.buffer.len();
        let error = decoder.next_frame().expect_err("oversized");
        assert_eq!(error, FrameError::Oversized { len: u32::MAX, allowed: 100 });
        decoder.space();
        assert!(decoder.buffer.len() <= before.max(LARGE));
    }

    #[test]
    fn reserved_bits_are_refused() {
        let mut bytes = frame(1, 1, b"x");
        bytes[6] = 1;
        let mut decoder = FrameDecoder::new(100);
        decoder.space()[..bytes.len()].copy_from_slice(&bytes);
        decoder.filled(bytes.len());
        assert_eq!(decoder.next_frame(), Err(FrameError::Reserved));
    }

    proptest! {
        #[test]
        fn frames_come_out_as_they_went_in(
            bodies in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..5000), 1..40),
            step in 1usize..9000,
        ) {
            let mut bytes = Vec::new();
            for (i, body) in bodies.iter().enumerate() {
                bytes.extend(frame(i as u8, i as u64, body));
            }
            let mut decoder = FrameDecoder::new(5000);
            let out = feed(&mut decoder, &bytes, step);
            prop_assert_eq!(out.len(), bodies.len());
            for (i, (header, body)) in out.into_iter().enumerate() {
                prop_assert_eq!(header.conversation.0, i as u64);
                prop_assert_eq!(&body, &bodies[i]);
            }
            prop_assert_eq!(decoder.buffered(), 0);
        }

        #[test]
        fn no_bytes_make_it_panic(
            bytes in prop::collection::vec(any::<u8>(), 0..4000),
            step in 1usize..500,
        ) {
            let mut decoder = FrameDecoder::new(1000);
            let mut rest = &bytes[..];
            'all: while !rest.is_empty() {
                let space = decoder.space();
                prop_assert!(!space.is_empty());
                let n = rest.len().min(step).min(space.len());
                space[..n].copy_from_slice(&rest[..n]);
                decoder.filled(n);
                rest = &rest[n..];
                loop {
                    match decoder.next_frame() {
                        Ok(Some(_)) => {}
                        Ok(None) => break,
                        Err(_) => break 'all,
                    }
                }
            }
        }
    }
}
