//! What a task's function gives back.

use super::imports::{Abi, placed, slice};
use dpfw_protocol::error::Cause;
use std::ops::Range;

/// The tags at the beginning of a region that a task returns.
mod tag {
    pub(super) const RESULT: u8 = 0;
    pub(super) const ERROR: u8 = 1;
    pub(super) const BAD_ARGUMENTS: u8 = 2;
    pub(super) const PIECES: u8 = 3;
    pub(super) const NOT_ENCODED: u8 = 4;
}

/// A result within the guest's memory.
pub(crate) enum Given<'a> {
    /// In one piece.
    Whole(&'a [u8]),
    /// In several, to be put together.
    Pieces(Vec<&'a [u8]>),
}

impl Given<'_> {
    /// Its length.
    pub(crate) fn len(&self) -> u64 {
        match self {
            Self::Whole(bytes) => bytes.len() as u64,
            Self::Pieces(pieces) => pieces.iter().map(|p| p.len() as u64).sum(),
        }
    }

    /// Where its pieces are within the memory that they were read from.
    pub(crate) fn ranges(&self, memory: &[u8]) -> Vec<Range<usize>> {
        let range = |piece: &[u8]| {
            let start = piece.as_ptr().addr().saturating_sub(memory.as_ptr().addr());
            start..start + piece.len()
        };
        match self {
            Self::Whole(bytes) => vec![range(bytes)],
            Self::Pieces(pieces) => pieces.iter().map(|piece| range(piece)).collect(),
        }
    }

    /// Appends the bytes.
    pub(crate) fn append_to(&self, out: &mut Vec<u8>) {
        match self {
            Self::Whole(bytes) => out.extend_from_slice(bytes),
            Self::Pieces(pieces) => pieces.iter().for_each(|p| out.extend_from_slice(p)),
        }
    }
}

/// Reads what a task returned: `(ptr << 32) | len` of a tag and what belongs to it.
///
/// # Errors
/// [`Cause::Failed`] and the like if the guest says so; [`Cause::GuestAbi`] if it breaks
/// the rules.
pub(crate) fn read(data: &[u8], packed: i64) -> Result<Given<'_>, Cause> {
    let (ptr, len) = ((packed as u64 >> 32) as u32, packed as u32);
    let region = slice(data, ptr, len).map_err(broken)?;
    let Some((&tag, body)) = region.split_first() else {
        return Err(Cause::GuestAbi { message: "it returned nothing, not even a tag".into() });
    };
    tagged(data, tag, body)
}

/// The first of the replies to the calls of a batch: records of a tag, a length and so many bytes.
/// What is no record is the last. That of a result is what it is on the wire.
pub(crate) fn reply<'a>(data: &'a [u8], region: &mut &'a [u8]) -> Option<Result<Given<'a>, Cause>> {
    let (&tag, rest) = region.split_first()?;
    let body = rest
        .split_first_chunk::<4>()
        .and_then(|(len, rest)| rest.split_at_checked(u32::from_le_bytes(*len) as usize));
    let Some((body, rest)) = body else {
        *region = &[];
        let message = "its replies to a batch are cut short".into();
        return Some(Err(Cause::GuestAbi { message }));
    };
    *region = rest;
    Some(tagged(data, tag, body))
}

/// What a tag says of the bytes behind it.
fn tagged<'a>(data: &'a [u8], tag: u8, body: &'a [u8]) -> Result<Given<'a>, Cause> {
    let text = || {
        let body = &body[..body.len().min(dpfw_protocol::limits::MAX_TEXT)];
        String::from_utf8_lossy(body).into_owned()
    };
    match tag {
        tag::RESULT => Ok(Given::Whole(body)),
        tag::PIECES => pieces(data, body).map(Given::Pieces),
        tag::ERROR => Err(Cause::Failed { message: text() }),
        tag::BAD_ARGUMENTS => Err(Cause::BadArguments { message: text() }),
        tag::NOT_ENCODED => Err(Cause::BadResult { message: text() }),
        other => Err(Cause::GuestAbi { message: format!("it returned the unknown tag {other}") }),
    }
}

/// Pieces that a result may have: a large value and what stands around it, many times.
const MOST_PIECES: usize = 4096;

fn pieces<'a>(data: &'a [u8], list: &[u8]) -> Result<Vec<&'a [u8]>, Cause> {
    let (pairs, rest) = list.as_chunks::<8>();
    if !rest.is_empty() || pairs.len() > MOST_PIECES {
        let message = format!("it returned a list of pieces of {} bytes", list.len());
        return Err(Cause::GuestAbi { message });
    }
    pairs.iter().map(|pair| placed(data, pair).map_err(broken)).collect()
}

pub(super) fn broken(error: wasmtime::Error) -> Cause {
    let message = match error.downcast_ref::<Abi>() {
        Some(Abi(message)) => message.clone(),
        None => error.to_string(),
    };
    Cause::GuestAbi { message }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packed(ptr: u32, len: u32) -> i64 {
        (u64::from(ptr) << 32 | u64::from(len)) as i64
    }

    #[test]
    fn results_and_errors_are_told_apart() {
        let mut data = vec![0u8; 64];
        data[8..12].copy_from_slice(&[0, 1, 2, 3]);
        data[16..20].copy_from_slice(&[1, b'w', b'h', b'y']);
        assert!(matches!(read(&data, packed(8, 4)), Ok(Given::Whole([1, 2, 3]))));
        let error = read(&data, packed(16, 4)).err();
        assert_eq!(error, Some(Cause::Failed { message: "why".into() }));
    }

    #[test]
    fn pieces_are_found_where_they_are() {
        let mut data = vec![0u8; 64];
        data[1..17].copy_from_slice(&[32, 0, 0, 0, 4, 0, 0, 0, 8, 0, 0, 0, 2, 0, 0, 0]);
        data[0] = 3;
        let given = read(&data, packed(0, 17)).expect("in order");
        assert_eq!((given.ranges(&data), given.len()), (vec![32..36, 8..10], 6));
    }

    #[test]
    fn replies_to_a_batch_end_with_the_first_that_is_none() {
        let region = [&[0, 1, 0, 0, 0, 7], &[1, 2, 0, 0, 0, b'n', b'o'][..], &[0, 9, 0, 0, 0, 1]];
        let region = region.concat();
        let mut region = &region[..];
        let mut all = std::iter::from_fn(|| reply(&[], &mut region));
        assert!(matches!(all.next(), Some(Ok(Given::Whole([7])))));
        let failed = all.next().and_then(Result::err);
        assert_eq!(failed, Some(Cause::Failed { message: "no".into() }));
        let cut = all.next().and_then(Result::err);
        assert!(matches!(cut, Some(Cause::GuestAbi { .. })), "{cut:?}");
        assert!(all.next().is_none());
    }

    #[test]
    fn forged_pointers_and_lengths_break_the_abi() {
        let mut data = vec![0u8; 64];
        data[0] = 3;
        data[1..9].copy_from_slice(&[0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff]);
        for forged in [packed(60, 5), packed(u32::MAX, u32::MAX), packed(5, 0), packed(0, 9)] {
            let error = read(&data, forged).err();
            assert!(matches!(error, Some(Cause::GuestAbi { .. })), "{error:?}");
        }
    }
}
