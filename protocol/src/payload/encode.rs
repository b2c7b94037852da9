//! Encoding into a payload.
//!
//! Owns: which pieces are shared. Invariant: one is shared only if it is the very memory that was
//! announced.

use super::encoder::Encoder;
use super::{Payload, Repr};
use bytes::Bytes;
use rmp_serde::encode::Error;
use serde::Serialize;
use std::cell::{Cell, RefCell};
use std::io::Write;

/// Pieces of at least this size are shared rather than copied into the payload.
pub(super) const SHARE: usize = 32 * 1024;

/// Whether a value is being encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Idle,
    Encoding,
    /// And there are pieces in [`SHARED`].
    Announced,
}

thread_local! {
    /// Of this thread. That [`SHARED`] is not touched unless it has to be is because what is to be
    /// dropped with its thread costs more to reach than a small value costs to encode.
    static STATE: Cell<State> = const { Cell::new(State::Idle) };

    /// The large pieces that values being encoded have announced, in order.
    static SHARED: RefCell<Vec<Bytes>> = const { RefCell::new(Vec::new()) };

    /// What values are encoded into that are neither small nor long, before they are copied to where
    /// they stay: so that each costs one allocation, of its size.
    static SCRATCH: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// Announces that the bytes about to be serialised on this thread are `piece`, so that
/// [`encode`] can share them. Without an [`encode`] around it, nothing happens.
pub fn share(piece: &Bytes) {
    if piece.len() < SHARE || STATE.get() == State::Idle {
        return;
    }
    SHARED.with_borrow_mut(|pieces| pieces.push(piece.clone()));
    STATE.set(State::Announced);
}

/// Encodes a value as MessagePack with named fields, sharing the large byte strings in it
/// that were announced by [`share`].
///
/// # Errors
/// What the value's `Serialize` returns.
pub fn encode<T: Serialize + ?Sized>(value: &T) -> Result<Payload, Error> {
    let mut payload = Payload::default();
    encode_into(&mut payload, value).map(|()| payload)
}

/// The same where the payload is to be, which is empty: to move bytes that were written one by one
/// takes as long as to write them. What is in it after an error is not to be used.
#[inline]
pub(crate) fn encode_into<T: Serialize + ?Sized>(
    payload: &mut Payload,
    value: &T,
) -> Result<(), Error> {
    let _sharing = Sharing::begin();
    let mut rope = Rope { payload, tail: Vec::new() };
    value.serialize(&mut Encoder::new(&mut rope))?;
    rope.finish();
    Ok(())
}

/// What is no longer than this is encoded in [`SCRATCH`], and copied.
const SHORT: usize = 4096;

/// While a value is being encoded; forgets what was announced with the last of those that are
/// around each other, even if a value panics.
struct Sharing {
    is_first: bool,
}

impl Sharing {
    #[inline]
    fn begin() -> Self {
        let is_first = STATE.get() == State::Idle;
        if is_first {
            STATE.set(State::Encoding);
        }
        Self { is_first }
    }
}

impl Drop for Sharing {
    #[inline]
    fn drop(&mut self) {
        if self.is_first && STATE.replace(State::Idle) == State::Announced {
            SHARED.set(Vec::new());
        }
    }
}

/// The payload in the making: small, or the pieces that are whole, and the beginning of the next.
struct Rope<'a> {
    payload: &'a mut Payload,
    tail: Vec<u8>,
}

impl Rope<'_> {
    /// Writes what is not small, or not small any more.
    #[inline(never)]
    fn write_long(&mut self, bytes: &[u8]) {
        if let Repr::Small(small) = &self.payload.0 {
            self.tail = SCRATCH.take();
            self.tail.extend_from_slice(small.as_slice());
            self.payload.0 = Repr::Many(Vec::new());
        }
        let shared = if bytes.len() < SHARE { None } else { take_same(bytes) };
        match shared {
            Some(piece) => {
                self.cut();
                self.payload.push(piece);
            }
            None => self.tail.extend_from_slice(bytes),
        }
    }

    fn cut(&mut self) {
        if !self.tail.is_empty() {
            self.payload.push(std::mem::take(&mut self.tail).into());
        }
    }

    #[inline]
    fn finish(self) {
        if !matches!(self.payload.0, Repr::Small(_)) {
            self.finish_long();
        }
    }

    #[inline(never)]
    fn finish_long(mut self) {
        if self.tail.len() > SHORT {
            self.cut();
        } else {
            self.payload.push(Bytes::copy_from_slice(&self.tail));
            self.tail.clear();
            if self.tail.capacity() <= 2 * SHORT {
                SCRATCH.set(self.tail);
            }
        }
        if let Repr::Many(pieces) = &mut self.payload.0
            && pieces.len() < 2
        {
            self.payload.0 = Repr::One(pieces.pop().unwrap_or_default());
        }
    }
}

impl Write for Rope<'_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.write_all(bytes)?;
        Ok(bytes.len())
    }

    // How many bytes they are the compiler knows mostly, so that they are stored, and not copied by
    // a call.
    #[inline(always)]
    fn write_all(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        let place = match &mut self.payload.0 {
            Repr::Small(small) => small.place(bytes.len()),
            _ => None,
        };
        match place {
            Some(place) => place.copy_from_slice(bytes),
            None => self.write_long(bytes),
        }
        Ok(())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// The announced piece that is this very memory.
fn take_same(bytes: &[u8]) -> Option<Bytes> {
    SHARED.with_borrow_mut(|pieces| {
        let same = |p: &Bytes| p.as_ptr() == bytes.as_ptr() && p.len() == bytes.len();
        let at = pieces.iter().position(same)?;
        Some(pieces.swap_remove(at))
    })
}

#[cfg(test)]
mod tests {
    use super::super::SMALL;
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
    fn values_of_every_length_are_the_same_bytes() {
        for len in (0..3 * SMALL).chain([SHORT - 1, SHORT, SHORT + 1, 3 * SHORT, 2 * SHARE]) {
            let value = (1u64 << 40, "x".repeat(len), 2.5f64, len);
            let payload = encode(&value).expect("encodes");
            let plain = rmp_serde::to_vec_named(&value).expect("encodes");
            assert_eq!(payload.as_small().is_some(), plain.len() <= SMALL, "{len}");
            assert_eq!(payload.into_bytes(), plain, "{len}");
        }
    }

    #[test]
    fn an_announcement_that_is_not_followed_does_no_harm() {
        let big = Bytes::from(vec![7u8; 2 * SHARE]);
        share(&big);
        let payload = encode(&serde_bytes::Bytes::new(&big)).expect("encodes");
        assert_eq!(payload.pieces().count(), 1);
    }

    #[test]
    fn nothing_that_was_announced_outlives_the_value() {
        struct Inside(Bytes);
        impl Serialize for Inside {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                share(&self.0);
                encode(&7).expect("a value within one");
                share(&self.0);
                serializer.serialize_bytes(&self.0)
            }
        }
        let big = Bytes::from(vec![7u8; SHARE]);
        let payload = encode(&Inside(big.clone())).expect("encodes");
        assert_eq!(payload.pieces().nth(1).map(<[u8]>::as_ptr), Some(big.as_ptr()));
        drop(payload);
        assert!(big.is_unique());
    }
}
