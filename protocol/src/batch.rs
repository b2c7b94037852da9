//! Many calls of one task in one attempt.
//!
//! The payload of a batch is the calls one after the other, each a `u32` length (little
//! endian) and that many bytes of arguments. The payload of its result has the outcomes in
//! the same order: a byte (0 a result, 1 a failure), a `u32` length, and the result or the
//! MessagePack of a [`Failure`].

use crate::error::{Cause, Failure};
use crate::message::MAX_DEPTH;
use crate::payload::{Payload, whole};

/// A batch's bytes are cut short.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a batch is truncated or malformed")]
pub struct BadBatch;

const RESULT: u8 = 0;
const FAILURE: u8 = 1;

/// Appends a call's arguments to a batch.
pub fn push_call(batch: &mut Vec<u8>, args: &Payload) {
    let len = (args.len() as u32).to_le_bytes();
    let Some((bytes, few)) = args.as_small() else {
        batch.extend_from_slice(&len);
        return args.pieces().for_each(|piece| batch.extend_from_slice(piece));
    };
    // A number of bytes that the compiler knows is a few stores, any other a call.
    let end = batch.len() + len.len() + few;
    batch.extend_from_slice(&len);
    batch.extend_from_slice(bytes);
    batch.truncate(end);
}

/// A batch's first call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct First<'a> {
    /// Its arguments.
    pub args: &'a [u8],
    /// What is behind it.
    pub rest: &'a [u8],
}

/// The first call of a batch; `None` if there is none.
///
/// # Errors
/// [`BadBatch`] if it is not whole.
#[inline]
pub fn first(batch: &[u8]) -> Result<Option<First<'_>>, BadBatch> {
    let mut rest = batch;
    match batch.is_empty() {
        true => Ok(None),
        false => Ok(Some(First { args: take(&mut rest)?, rest })),
    }
}

/// The calls of a batch.
pub fn calls(batch: &[u8]) -> impl Iterator<Item = Result<&[u8], BadBatch>> {
    let mut rest = batch;
    std::iter::from_fn(move || match first(rest) {
        Ok(next) => {
            let next = next?;
            rest = next.rest;
            Some(Ok(next.args))
        }
        Err(error) => {
            rest = &[];
            Some(Err(error))
        }
    })
}

#[inline]
fn take<'a>(rest: &mut &'a [u8]) -> Result<&'a [u8], BadBatch> {
    let (len, after) = rest.split_first_chunk::<4>().ok_or(BadBatch)?;
    let len = u32::from_le_bytes(*len) as usize;
    let (bytes, after) = after.split_at_checked(len).ok_or(BadBatch)?;
    *rest = after;
    Ok(bytes)
}

/// What is behind an outcome, if it is a result and whole.
#[inline]
pub fn behind_result(outcomes: &[u8]) -> Option<&[u8]> {
    match outcomes.split_first() {
        Some((&RESULT, mut rest)) => take(&mut rest).ok().map(|_| rest),
        _ => None,
    }
}

/// Appends a call's result; `write` appends its bytes.
pub fn push_result(outcomes: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
    push(outcomes, RESULT, write);
}

/// Appends a call's failure.
pub fn push_failure(outcomes: &mut Vec<u8>, cause: Cause) {
    push(outcomes, FAILURE, |out| {
        // Plain numbers and texts always encode.
        let _ = rmp_serde::encode::write(out, &Failure::from(cause));
    });
}

fn push(outcomes: &mut Vec<u8>, tag: u8, write: impl FnOnce(&mut Vec<u8>)) {
    outcomes.extend_from_slice(&[tag, 0, 0, 0, 0]);
    let start = outcomes.len();
    write(outcomes);
    let len = (outcomes.len() - start) as u32;
    outcomes[start - 4..start].copy_from_slice(&len.to_le_bytes());
}

/// The outcome of a call: its result's bytes, or why there is none.
pub type Outcome<'a> = Result<&'a [u8], Cause>;

/// The outcomes of a batch.
pub fn outcomes(payload: &[u8]) -> impl Iterator<Item = Result<Outcome<'_>, BadBatch>> {
    let mut rest = payload;
    std::iter::from_fn(move || outcome(&mut rest))
}

/// Takes the first of the outcomes; `None` if there is none. Behind one that is not whole there is
/// nothing.
#[inline]
pub fn outcome<'a>(outcomes: &mut &'a [u8]) -> Option<Result<Outcome<'a>, BadBatch>> {
    let (&tag, mut rest) = outcomes.split_first()?;
    let Ok(bytes) = take(&mut rest) else { return Some(malformed(outcomes)) };
    if tag == RESULT {
        *outcomes = rest;
        return Some(Ok(Ok(bytes)));
    }
    Some(match failed(tag, bytes) {
        Ok(cause) => {
            *outcomes = rest;
            Ok(Err(cause))
        }
        Err(BadBatch) => malformed(outcomes),
    })
}

#[cold]
fn malformed<T>(outcomes: &mut &[u8]) -> Result<T, BadBatch> {
    *outcomes = &[];
    Err(BadBatch)
}

/// Why a call failed.
#[cold]
fn failed(tag: u8, bytes: &[u8]) -> Result<Cause, BadBatch> {
    let failure = (tag == FAILURE).then(|| whole::<Failure>(bytes, MAX_DEPTH).ok()).flatten();
    match failure {
        Some(failure) if failure.is_bounded() => Ok(failure.into()),
        _ => Err(BadBatch),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn calls_and_outcomes_come_back_in_order() {
        let mut batch = Vec::new();
        let pieces = [&b"a"[..], b"b"].map(crate::Bytes::from_static);
        push_call(&mut batch, &pieces.into_iter().collect());
        push_call(&mut batch, &Payload::default());
        push_call(&mut batch, &crate::payload::encode(&("few", 7)).expect("encodes"));
        let back: Result<Vec<_>, _> = calls(&batch).collect();
        assert_eq!(back, Ok(vec![&b"ab"[..], b"", b"\x92\xa3few\x07"]));

        let mut payload = Vec::new();
        push_result(&mut payload, |out| out.extend_from_slice(b"xyz"));
        push_failure(&mut payload, Cause::Failed { message: "why".into() });
        let behind = behind_result(&payload).expect("a result");
        assert_eq!(outcomes(behind).count(), 1);
        assert_eq!((behind_result(behind), behind_result(&payload[..7])), (None, None));
        let back: Vec<_> = outcomes(&payload).collect();
        assert_eq!(back[0], Ok(Ok(&b"xyz"[..])));
        assert_eq!(back[1], Ok(Err(Cause::Failed { message: "why".into() })));
        assert_eq!(outcomes(&payload[..6]).last(), Some(Err(BadBatch)));
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            calls(&bytes).for_each(drop);
            outcomes(&bytes).for_each(drop);
        }
    }
}
