//! MessagePack within a module.
//!
//! Owns: what `Bytes` shares with the buffers it is decoded from and encoded into. Does
//! not: know the ABI. Invariant: a byte string is shared only if it is the very memory
//! that was announced or decoded; anything else is copied.

mod decoder;

pub(crate) use decoder::Decoder;

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::cell::RefCell;
use std::io::Write;

/// Byte strings of at least this size are shared: below, a copy costs less than a piece.
pub(crate) const SHARE: usize = 16 * 1024;

thread_local! {
    /// The buffer that is being decoded.
    static SOURCE: RefCell<Option<Bytes>> = const { RefCell::new(None) };

    /// The byte strings that the value being encoded has announced.
    static SHARED: RefCell<Option<Vec<Bytes>>> = const { RefCell::new(None) };
}

/// Decodes with `decode`, within which [`borrow`] shares the buffer.
pub(crate) fn borrowing<R>(buffer: &Bytes, decode: impl FnOnce() -> R) -> R {
    let outer = SOURCE.replace(Some(buffer.clone()));
    let value = decode();
    SOURCE.set(outer);
    value
}

/// A value from all bytes of a buffer.
pub(crate) fn decode<T: DeserializeOwned>(buffer: &Bytes) -> Result<T, String> {
    borrowing(buffer, || {
        let mut decoder = Decoder::new(buffer);
        let value = T::deserialize(&mut decoder).map_err(|error| error.to_string())?;
        decoder.is_finished().then_some(value).ok_or_else(|| "bytes are left over".to_owned())
    })
}

/// A part of the buffer that is being decoded, shared; a copy of anything else.
pub(crate) fn borrow(part: &[u8]) -> Bytes {
    SOURCE.with_borrow(|source| match source {
        Some(whole) if part.len() >= SHARE && whole.as_ptr_range().contains(&part.as_ptr()) => {
            whole.slice_ref(part)
        }
        _ => Bytes::copy_from_slice(part),
    })
}

/// Announces that the bytes about to be serialised are this piece.
pub(crate) fn share(piece: &Bytes) {
    if piece.len() >= SHARE {
        SHARED.with_borrow_mut(|shared| shared.iter_mut().for_each(|s| s.push(piece.clone())));
    }
}

/// Room for a small result, so that it is allocated once.
const FIRST: usize = 64;

/// What values are encoded into: pieces, of which the large ones are shared, or one piece, whose
/// owner is told where it is.
#[derive(Debug)]
pub(crate) struct Rope {
    pieces: Vec<Bytes>,
    tail: Vec<u8>,
    moved: Option<Moved>,
}

/// Is told where the bytes of a rope are, before they cease to be where they were.
pub(crate) type Moved = fn(&[u8]);

impl Rope {
    /// In pieces.
    pub(crate) fn in_pieces() -> Self {
        Self { pieces: Vec::new(), tail: Vec::with_capacity(FIRST), moved: None }
    }

    /// In one piece, with room for so many bytes.
    #[cfg(any(target_family = "wasm", test))]
    pub(crate) fn whole(room: usize, moved: Moved) -> Self {
        let tail = Vec::with_capacity(room);
        moved(&tail);
        Self { pieces: Vec::new(), tail, moved: Some(moved) }
    }

    /// Forgets all but the first bytes of the last piece, which is the only one then.
    pub(crate) fn keep(&mut self, first: usize) {
        self.pieces.clear();
        self.tail.truncate(first);
    }

    /// Encodes a value behind what is there; a part of it, if that fails.
    pub(crate) fn encode<T: Serialize + ?Sized>(
        &mut self,
        value: &T,
    ) -> Result<(), rmp_serde::encode::Error> {
        // Nothing is shared in one piece, and nothing announced.
        let outer = self.moved.is_none().then(|| SHARED.replace(Some(Vec::new())));
        let outcome =
            value.serialize(&mut rmp_serde::Serializer::new(&mut *self).with_struct_map());
        if let Some(outer) = outer {
            SHARED.set(outer);
        }
        outcome
    }

    /// Appends bytes. How many they are the compiler knows mostly, so that they are stored, and not
    /// copied by a call.
    #[inline(always)]
    pub(crate) fn put(&mut self, bytes: &[u8]) {
        if self.tail.capacity() - self.tail.len() < bytes.len() {
            self.grow(bytes.len());
        }
        self.tail.extend_from_slice(bytes);
    }

    /// Writes over what was put at a place.
    pub(crate) fn put_at<const N: usize>(&mut self, at: usize, bytes: [u8; N]) {
        if let Some(place) = self.tail.get_mut(at..).and_then(<[u8]>::first_chunk_mut) {
            *place = bytes;
        }
    }

    #[cold]
    fn grow(&mut self, more: usize) {
        let Some(moved) = self.moved else { return self.tail.reserve(more) };
        let room = self.tail.len().saturating_add(more).max(2 * self.tail.capacity());
        let mut larger = Vec::with_capacity(room);
        larger.extend_from_slice(&self.tail);
        moved(&larger);
        self.tail = larger;
    }

    /// All of it, if nothing was shared.
    pub(crate) fn tail(&self) -> &[u8] {
        &self.tail
    }

    fn cut(&mut self) {
        if !self.tail.is_empty() {
            self.pieces.push(std::mem::take(&mut self.tail).into());
        }
    }

    /// The pieces; there is at least one.
    pub(crate) fn finish(mut self) -> Vec<Bytes> {
        self.cut();
        self.pieces
    }
}

impl Write for Rope {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.write_all(bytes)?;
        Ok(bytes.len())
    }

    #[inline(always)]
    fn write_all(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        let shared = if bytes.len() < SHARE { None } else { take_same(bytes) };
        match shared {
            Some(piece) => {
                self.cut();
                self.pieces.push(piece);
            }
            None => self.put(bytes),
        }
        Ok(())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// The announced piece that is this very memory.
fn take_same(bytes: &[u8]) -> Option<Bytes> {
    SHARED.with_borrow_mut(|shared| {
        let pieces = shared.as_mut()?;
        let same = |p: &Bytes| p.as_ptr() == bytes.as_ptr() && p.len() == bytes.len();
        let at = pieces.iter().position(same)?;
        Some(pieces.swap_remove(at))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Bytes as Blob;
    use serde::Deserialize;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Plain(#[serde(with = "plain")] Bytes);

    /// A byte string by this module's sharing; the crate's own type has the host's here.
    mod plain {
        use super::*;
        use serde::{Deserializer, Serializer};

        pub(super) fn serialize<S: Serializer>(bytes: &Bytes, s: S) -> Result<S::Ok, S::Error> {
            share(bytes);
            s.serialize_bytes(bytes)
        }

        pub(super) fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<Bytes, D::Error> {
            <&[u8]>::deserialize(d).map(borrow)
        }
    }

    #[test]
    fn pieces_are_the_bytes_that_the_host_writes() {
        let big = Bytes::from(vec![7u8; 3 * SHARE]);
        let value = (1u8, Plain(big.clone()), "x", Plain(Bytes::from_static(b"small")));
        let encode = |mut rope: Rope| {
            rope.put(&[9]);
            rope.encode(&value).expect("encodes");
            rope.finish()
        };
        let pieces = encode(Rope::in_pieces());
        assert_eq!(pieces.len(), 3);
        assert_eq!(pieces[1].as_ptr(), big.as_ptr(), "shared");
        let theirs = (1u8, Blob::from(big), "x", Blob::from(b"small"));
        let host = dpfw_protocol::payload::encode(&theirs).expect("encodes").into_bytes();
        assert_eq!(pieces.concat(), [&[9], &host[..]].concat());
        let whole = encode(Rope::whole(0, |_| ()));
        assert_eq!(whole, [pieces.concat()], "in one piece if it is to be");
    }

    #[test]
    fn decoding_shares_the_buffer() {
        let value = (Plain(vec![7u8; SHARE].into()), Plain(Bytes::from_static(b"small")));
        let buffer = Bytes::from(rmp_serde::to_vec(&value).expect("encodes"));
        let back: (Plain, Plain) = decode(&buffer).expect("decodes");
        assert_eq!(back, value);
        assert!(buffer.as_ptr_range().contains(&back.0.0.as_ptr()));
        assert!(!buffer.as_ptr_range().contains(&back.1.0.as_ptr()), "small ones are copied");
        let longer = Bytes::from([&buffer[..], &[0]].concat());
        assert_eq!(decode::<(Plain, Plain)>(&longer), Err("bytes are left over".into()));
    }
}
