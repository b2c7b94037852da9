//! Decoding of a payload, or of a part of one.
//!
//! Owns: what may be borrowed from it. Invariant: bytes are shared only if they are the very memory
//! that is being decoded; anything else is copied.

use bytes::Bytes;
use serde::Deserialize;
use std::cell::RefCell;

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

    #[test]
    fn whatever_stands_behind_a_value_is_refused() {
        assert_eq!(decode::<u8>(Bytes::from_static(&[7])).expect("whole"), 7);
        for tail in [&[0xc0][..], &[0x91], &[0x81], &[0xdc, 0, 1], &[0xcd], &[0xa1], &[0xc1]] {
            let bytes = [&[7], tail].concat();
            assert!(decode::<u8>(bytes.into()).is_err(), "{tail:x?} is taken for the end");
        }
    }
}
