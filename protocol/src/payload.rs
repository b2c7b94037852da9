//! Raw bytes behind a message: arguments, results, modules, values.
//!
//! A payload is a rope of shared pieces, so that a large piece that the caller already
//! holds is neither copied when it is encoded nor when it is sent.

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use std::cell::RefCell;
use std::io::Write;

/// Bytes in pieces. Cloning shares them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Payload {
    first: Bytes,
    rest: Vec<Bytes>,
}

impl Payload {
    /// The number of bytes in all pieces.
    pub fn len(&self) -> usize {
        self.first.len() + self.rest.iter().map(Bytes::len).sum::<usize>()
    }

    /// Whether there are no bytes.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether it is MessagePack's nil: `()`.
    pub fn is_nil(&self) -> bool {
        self.rest.is_empty() && self.first[..] == [0xc0]
    }

    /// The pieces in order.
    pub fn pieces(&self) -> impl Iterator<Item = &Bytes> {
        std::iter::once(&self.first).chain(&self.rest).filter(|piece| !piece.is_empty())
    }

    /// The bytes, if they lie in one piece.
    pub fn as_slice(&self) -> Option<&[u8]> {
        self.rest.is_empty().then_some(&self.first)
    }

    /// The same bytes in one piece; copies only if there are several.
    pub fn into_bytes(self) -> Bytes {
        if self.rest.is_empty() {
            return self.first;
        }
        let mut all = Vec::with_capacity(self.len());
        self.pieces().for_each(|piece| all.extend_from_slice(piece));
        all.into()
    }

    fn push(&mut self, piece: Bytes) {
        if piece.is_empty() {
            return;
        }
        if self.first.is_empty() {
            self.first = piece;
        } else {
            self.rest.push(piece);
        }
    }
}

impl FromIterator<Bytes> for Payload {
    fn from_iter<I: IntoIterator<Item = Bytes>>(pieces: I) -> Self {
        let mut payload = Self::default();
        pieces.into_iter().for_each(|piece| payload.push(piece));
        payload
    }
}

impl From<Bytes> for Payload {
    fn from(first: Bytes) -> Self {
        Self { first, rest: Vec::new() }
    }
}

impl From<Vec<u8>> for Payload {
    fn from(bytes: Vec<u8>) -> Self {
        Bytes::from(bytes).into()
    }
}

impl From<&'static [u8]> for Payload {
    fn from(bytes: &'static [u8]) -> Self {
        Bytes::from_static(bytes).into()
    }
}

/// Pieces of at least this size are shared rather than copied into the payload.
const SHARE: usize = 32 * 1024;

thread_local! {
    /// The large pieces that a value being encoded has announced, in order.
    static SHARED: RefCell<Option<Vec<Bytes>>> = const { RefCell::new(None) };
}

/// Announces that the bytes about to be serialised on this thread are `piece`, so that
/// [`encode`] can share them. Without an [`encode`] around it, nothing happens.
pub fn share(piece: &Bytes) {
    if piece.len() < SHARE {
        return;
    }
    SHARED.with_borrow_mut(|shared| {
        if let Some(pieces) = shared {
            pieces.push(piece.clone());
        }
    });
}

/// Encodes a value as MessagePack with named fields, sharing the large byte strings in it
/// that were announced by [`share`].
///
/// # Errors
/// What the value's `Serialize` returns.
pub fn encode<T: Serialize + ?Sized>(value: &T) -> Result<Payload, rmp_serde::encode::Error> {
    let _sharing = Sharing(SHARED.replace(Some(Vec::new())));
    let mut rope = Rope { payload: Payload::default(), tail: SCRATCH.take() };
    let mut serializer = rmp_serde::Serializer::new(&mut rope).with_struct_map();
    value.serialize(&mut serializer)?;
    Ok(rope.finish())
}

thread_local! {
    /// What small values are encoded into, before they are copied to where they stay: so that each
    /// costs one allocation, of its size.
    static SCRATCH: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// What is no longer than this is encoded in [`SCRATCH`], and copied.
const SMALL: usize = 4096;

/// Puts back what was announced to the [`encode`] around this one, even if a value panics.
struct Sharing(Option<Vec<Bytes>>);

impl Drop for Sharing {
    fn drop(&mut self) {
        SHARED.set(self.0.take());
    }
}

struct Rope {
    payload: Payload,
    tail: Vec<u8>,
}

impl Rope {
    fn cut(&mut self) {
        if !self.tail.is_empty() {
            self.payload.push(std::mem::take(&mut self.tail).into());
        }
    }

    fn finish(mut self) -> Payload {
        if self.tail.len() > SMALL {
            self.cut();
            return self.payload;
        }
        self.payload.push(Bytes::copy_from_slice(&self.tail));
        self.tail.clear();
        if self.tail.capacity() <= 2 * SMALL {
            SCRATCH.set(self.tail);
        }
        self.payload
    }
}

impl Write for Rope {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let shared = (bytes.len() >= SHARE)
            .then(|| SHARED.with_borrow_mut(|pieces| take_same(pieces, bytes)))
            .flatten();
        match shared {
            Some(piece) => {
                self.cut();
                self.payload.push(piece);
            }
            None => self.tail.extend_from_slice(bytes),
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// The announced piece that is this very memory.
fn take_same(pieces: &mut Option<Vec<Bytes>>, bytes: &[u8]) -> Option<Bytes> {
    let pieces = pieces.as_mut()?;
    let same = |p: &Bytes| p.as_ptr() == bytes.as_ptr() && p.len() == bytes.len();
    let at = pieces.iter().position(same)?;
    Some(pieces.swap_remove(at))
}

thread_local! {
    /// The payload that is being decoded on this thread.
    static SOURCE: RefCell<Option<Bytes>> = const { RefCell::new(None) };
}

/// Byte strings of smaller payloads are copied.
const BORROW: usize = 1024;

/// Decodes a value; byte strings in it can [`borrow`] from the payload without a copy.
///
/// # Errors
/// What the value's `Deserialize` returns, or that bytes are left over.
pub fn decode<T: serde::de::DeserializeOwned>(
    payload: Bytes,
) -> Result<T, rmp_serde::decode::Error> {
    // To share a small one costs more than to copy a part of it.
    let source = (payload.len() >= BORROW).then(|| payload.clone());
    let outer = SOURCE.replace(source);
    let outcome = whole(&payload, MAX_VALUE_DEPTH);
    SOURCE.set(outer);
    outcome
}

/// The same of a part of a payload.
///
/// # Errors
/// As [`decode`].
pub fn decode_part<T: serde::de::DeserializeOwned>(
    payload: &Bytes,
    part: &[u8],
) -> Result<T, rmp_serde::decode::Error> {
    match part.len() < BORROW {
        true => whole(part, MAX_VALUE_DEPTH),
        false => decode(payload.slice_ref(part)),
    }
}

/// Values of users nest no deeper than this; the stack has room for more.
const MAX_VALUE_DEPTH: usize = 256;

/// Decodes a value that takes up all the bytes.
pub(crate) fn whole<'a, T: serde::Deserialize<'a>>(
    bytes: &'a [u8],
    depth: usize,
) -> Result<T, rmp_serde::decode::Error> {
    use rmp_serde::decode::Error;
    let mut deserializer = rmp_serde::Deserializer::from_read_ref(bytes);
    deserializer.set_max_depth(depth);
    let value = T::deserialize(&mut deserializer)?;
    // A scalar, so that only the end itself is taken for the end: an array that is cut
    // short fails to read a marker as well.
    match bool::deserialize(&mut deserializer) {
        Err(Error::InvalidMarkerRead(_)) => Ok(value),
        _ => Err(Error::Uncategorized("bytes are left over behind the value".into())),
    }
}

/// The given part of the payload that is being decoded on this thread, shared; a copy if
/// it is not part of one.
pub fn borrow(part: &[u8]) -> Bytes {
    SOURCE.with_borrow(|source| match source {
        Some(whole) if whole.as_ptr_range().contains(&part.as_ptr()) => whole.slice_ref(part),
        _ => Bytes::copy_from_slice(part),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Serializer;

    struct Blob(Bytes);

    impl Serialize for Blob {
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            share(&self.0);
            serializer.serialize_bytes(&self.0)
        }
    }

    #[test]
    fn large_pieces_are_shared_and_the_bytes_are_the_same() {
        let big = Bytes::from(vec![7u8; 3 * SHARE]);
        let value = (1u8, Blob(big.clone()), "x", Blob(Bytes::from_static(b"small")));
        let payload = encode(&value).expect("encodes");
        assert!(payload.pieces().any(|piece| piece.as_ptr() == big.as_ptr()));
        assert_eq!(payload.pieces().count(), 3);
        let plain = rmp_serde::to_vec_named(&value).expect("encodes");
        assert_eq!(payload.len(), plain.len());
        assert_eq!(payload.into_bytes(), plain);
    }

    #[test]
    fn whatever_stands_behind_a_value_is_refused() {
        assert_eq!(decode::<u8>(Bytes::from_static(&[7])).expect("whole"), 7);
        for tail in [&[0xc0][..], &[0x91], &[0x81], &[0xdc, 0, 1], &[0xcd], &[0xa1], &[0xc1]] {
            let bytes = [&[7], tail].concat();
            assert!(decode::<u8>(bytes.into()).is_err(), "{tail:x?} is taken for the end");
        }
    }

    #[test]
    fn an_announcement_that_is_not_followed_does_no_harm() {
        let big = Bytes::from(vec![7u8; 2 * SHARE]);
        share(&big);
        let payload = encode(&serde_bytes::Bytes::new(&big)).expect("encodes");
        assert_eq!(payload.pieces().count(), 1);
    }
}
