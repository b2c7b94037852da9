//! Bytes that travel as bytes.
//!
//! Owns: the type and its conversions. Does not: decide what is shared; `wire` does.
//! Invariant: its serialised form is MessagePack's bin, whatever its length.

use crate::wire;
use serde::de::{SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::ops::{Deref, RangeBounds};

/// Bytes as argument, result or field of one: large ones are not copied on their way.
///
/// serde makes a sequence of numbers of a `Vec<u8>`, which works and is slow; this type
/// travels as raw bytes. It is a shared buffer: clones and slices share it.
///
/// ```
/// use dpfw_guest::Bytes;
///
/// fn head(file: Bytes) -> Bytes {
///     file.slice(..file.len().min(4))
/// }
///
/// assert_eq!(head(b"\x7fELF...".into()), b"\x7fELF"[..]);
/// assert_eq!(Vec::from(head(vec![1, 2].into())), [1, 2]);
/// ```
#[derive(Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Bytes(bytes::Bytes);

impl Bytes {
    /// No bytes.
    pub const fn new() -> Self {
        Self(bytes::Bytes::new())
    }

    /// A part of the bytes, shared with the whole.
    ///
    /// # Panics
    /// If the range is not within the bytes, as slicing does.
    #[must_use]
    pub fn slice(&self, range: impl RangeBounds<usize>) -> Self {
        Self(self.0.slice(range))
    }
}

impl Deref for Bytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl AsRef<[u8]> for Bytes {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl PartialEq<[u8]> for Bytes {
    fn eq(&self, other: &[u8]) -> bool {
        self.0 == other
    }
}

impl PartialEq<Vec<u8>> for Bytes {
    fn eq(&self, other: &Vec<u8>) -> bool {
        self.0 == other
    }
}

impl From<bytes::Bytes> for Bytes {
    fn from(bytes: bytes::Bytes) -> Self {
        Self(bytes)
    }
}

impl From<Bytes> for bytes::Bytes {
    fn from(bytes: Bytes) -> Self {
        bytes.0
    }
}

impl From<Vec<u8>> for Bytes {
    fn from(bytes: Vec<u8>) -> Self {
        Self(bytes.into())
    }
}

impl From<String> for Bytes {
    fn from(text: String) -> Self {
        Self(text.into())
    }
}

impl From<&[u8]> for Bytes {
    /// Copies.
    fn from(bytes: &[u8]) -> Self {
        Self(bytes::Bytes::copy_from_slice(bytes))
    }
}

impl<const N: usize> From<&[u8; N]> for Bytes {
    /// Copies.
    fn from(bytes: &[u8; N]) -> Self {
        bytes[..].into()
    }
}

impl From<Bytes> for Vec<u8> {
    /// Copies only if the bytes are shared.
    fn from(bytes: Bytes) -> Self {
        bytes.0.into()
    }
}

impl FromIterator<u8> for Bytes {
    fn from_iter<I: IntoIterator<Item = u8>>(bytes: I) -> Self {
        Self(bytes.into_iter().collect())
    }
}

impl Serialize for Bytes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        wire::share(&self.0);
        serializer.serialize_bytes(&self.0)
    }
}

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_bytes(AnyBytes)
    }
}

struct AnyBytes;

impl<'de> Visitor<'de> for AnyBytes {
    type Value = Bytes;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("bytes")
    }

    fn visit_bytes<E>(self, bytes: &[u8]) -> Result<Bytes, E> {
        Ok(Bytes(wire::borrow(bytes)))
    }

    fn visit_byte_buf<E>(self, bytes: Vec<u8>) -> Result<Bytes, E> {
        Ok(bytes.into())
    }

    /// Callers that know only JSON have no bytes: their text is taken as it is.
    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Bytes, E> {
        self.visit_bytes(text.as_bytes())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut numbers: A) -> Result<Bytes, A::Error> {
        let mut bytes = Vec::new();
        while let Some(byte) = numbers.next_element()? {
            bytes.push(byte);
        }
        Ok(bytes.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_travels_as_bytes_and_is_read_from_what_json_has() {
        let encoded = wire::encode(&Bytes::from(b"abc")).expect("encodes");
        assert_eq!(encoded, [0xc4, 3, b'a', b'b', b'c']);
        for other in [encoded, b"\xa3abc".to_vec(), b"\x93abc".to_vec()] {
            assert_eq!(wire::decode::<Bytes>(other.into()).expect("decodes"), b"abc"[..]);
        }
    }
}
