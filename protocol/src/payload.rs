//! Raw bytes behind a message: arguments, results, modules, values.
//!
//! A payload is a rope of shared pieces, so that a large piece that the caller already
//! holds is neither copied when it is encoded nor when it is sent. One of a few bytes holds them
//! itself: the arguments of most calls cost no allocation.

mod decode;
mod encode;
mod encoder;

pub(crate) use decode::whole;
pub use decode::{borrow, decode, decode_part};
pub(crate) use encode::encode_into;
pub use encode::{encode, share};

use bytes::Bytes;
use std::fmt;

/// Bytes in pieces. Cloning shares them.
#[derive(Clone)]
pub struct Payload(Repr);

#[derive(Clone)]
enum Repr {
    Small(Small),
    One(Bytes),
    /// At least two, none of which is empty.
    Many(Vec<Bytes>),
}

/// How many bytes a payload holds itself: four numbers of any size, and as many as leave it no
/// larger than what a piece and a tag take.
const SMALL: usize = 38;

/// A few bytes.
#[derive(Clone, Copy)]
struct Small {
    len: u8,
    bytes: [u8; SMALL],
}

impl Small {
    const EMPTY: Self = Self { len: 0, bytes: [0; SMALL] };

    fn as_slice(&self) -> &[u8] {
        self.bytes.get(..self.len.into()).unwrap_or(&self.bytes)
    }

    /// Room for so many bytes more, which are to be written there; none if there is not so much.
    #[inline(always)]
    fn place(&mut self, more: usize) -> Option<&mut [u8]> {
        let begin = usize::from(self.len);
        let place = self.bytes.get_mut(begin..begin.checked_add(more)?)?;
        // It is at most `SMALL`.
        self.len += more as u8;
        Some(place)
    }
}

impl Payload {
    /// The number of bytes in all pieces.
    pub fn len(&self) -> usize {
        match &self.0 {
            Repr::Small(small) => small.len.into(),
            Repr::One(piece) => piece.len(),
            Repr::Many(pieces) => pieces.iter().map(Bytes::len).sum(),
        }
    }

    /// Whether there are no bytes.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether it is MessagePack's nil: `()`.
    pub fn is_nil(&self) -> bool {
        self.as_slice() == Some(&[0xc0])
    }

    /// The pieces in order.
    pub fn pieces(&self) -> impl Iterator<Item = &[u8]> {
        let (one, many) = match &self.0 {
            Repr::Small(small) => (small.as_slice(), &[][..]),
            Repr::One(piece) => (&piece[..], &[][..]),
            Repr::Many(pieces) => (&[][..], &pieces[..]),
        };
        std::iter::once(one).chain(many.iter().map(|piece| &piece[..])).filter(|it| !it.is_empty())
    }

    /// The pieces in order, shared but for a few bytes.
    pub fn into_pieces(self) -> impl Iterator<Item = Bytes> {
        let (one, many) = match self.0 {
            Repr::Small(small) => (Bytes::copy_from_slice(small.as_slice()), Vec::new()),
            Repr::One(piece) => (piece, Vec::new()),
            Repr::Many(pieces) => (Bytes::new(), pieces),
        };
        std::iter::once(one).chain(many).filter(|piece| !piece.is_empty())
    }

    /// The bytes, if they lie in one piece.
    pub fn as_slice(&self) -> Option<&[u8]> {
        match &self.0 {
            Repr::Small(small) => Some(small.as_slice()),
            Repr::One(piece) => Some(piece),
            Repr::Many(_) => None,
        }
    }

    /// The same bytes in one piece; copies only if there are several, or few bytes.
    pub fn into_bytes(self) -> Bytes {
        match self.0 {
            Repr::Small(small) => Bytes::copy_from_slice(small.as_slice()),
            Repr::One(piece) => piece,
            Repr::Many(pieces) => pieces.concat().into(),
        }
    }

    /// Its bytes and how many they are, if it holds them itself; what is behind them is 0.
    pub(crate) fn as_small(&self) -> Option<(&[u8; SMALL], usize)> {
        match &self.0 {
            Repr::Small(small) => Some((&small.bytes, small.len.into())),
            _ => None,
        }
    }

    fn push(&mut self, piece: Bytes) {
        if piece.is_empty() {
            return;
        }
        if let Repr::Many(pieces) = &mut self.0 {
            return pieces.push(piece);
        }
        let first = std::mem::take(self);
        self.0 = match first.is_empty() {
            true => Repr::One(piece),
            false => Repr::Many(vec![first.into_bytes(), piece]),
        };
    }
}

impl Default for Payload {
    fn default() -> Self {
        Self(Repr::Small(Small::EMPTY))
    }
}

impl PartialEq for Payload {
    /// Whether the bytes are the same, in whatever pieces.
    fn eq(&self, other: &Self) -> bool {
        match (self.as_slice(), other.as_slice()) {
            (Some(one), Some(another)) => one == another,
            _ => self.len() == other.len() && self.pieces().flatten().eq(other.pieces().flatten()),
        }
    }
}

impl Eq for Payload {}

impl fmt::Debug for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.pieces().map(|piece| piece.escape_ascii().to_string())).finish()
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
    fn from(piece: Bytes) -> Self {
        Self(Repr::One(piece))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_the_bytes_in_whatever_pieces() {
        let pieces = |all: &[&'static [u8]]| -> Payload {
            all.iter().map(|piece| Bytes::from_static(piece)).collect()
        };
        let small = encode("abc").expect("encodes");
        assert!(small.as_small().is_some());
        for same in [pieces(&[b"\xa3abc"]), pieces(&[b"\xa3a", b"", b"bc"]), small.clone()] {
            assert_eq!((&small, small.len()), (&same, same.len()));
            assert_eq!(same.pieces().collect::<Vec<_>>().concat(), b"\xa3abc");
            assert_eq!(same.clone().into_pieces().collect::<Payload>(), small);
            assert_eq!(same.into_bytes(), b"\xa3abc"[..]);
        }
        assert_ne!(small, pieces(&[b"\xa3a", b"bd"]));
        assert_ne!(small, pieces(&[b"\xa3a", b"bcd"]));
        let mut more = small.clone();
        more.push(Bytes::from_static(b"d"));
        assert_eq!(more, pieces(&[b"\xa3abc", b"d"]));
        assert!(Payload::default().is_empty() && pieces(&[b""]).pieces().next().is_none());
    }
}
