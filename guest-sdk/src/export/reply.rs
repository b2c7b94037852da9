//! Arguments in, reply out.
//!
//! Owns: the tags of the ABI. Invariant: arguments are decoded one by one, so that what
//! is wrong names the argument.

use super::Fallible;
use crate::wire::guest::{self, Decoder, Rope};
use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fmt::Display;

/// What the first byte of a reply says of the rest.
mod tag {
    /// The result.
    pub(crate) const RESULT: u8 = 0;
    /// The text of the task's error.
    pub(crate) const FAILED: u8 = 1;
    /// Why the arguments do not decode.
    pub(crate) const BAD_ARGUMENTS: u8 = 2;
    /// Addresses and lengths of the result's pieces.
    #[cfg(target_family = "wasm")]
    pub(crate) const PIECES: u8 = 3;
    /// Why the result cannot be encoded.
    pub(crate) const BAD_RESULT: u8 = 4;
}

#[cfg(target_family = "wasm")]
pub(crate) use tag::PIECES;

/// Why arguments do not decode.
#[derive(Debug)]
pub struct BadArguments(String);

/// The arguments of a call, to be taken in order.
#[derive(Debug)]
pub struct Arguments<'a> {
    decoder: Decoder<'a>,
    given: usize,
}

impl<'a> Arguments<'a> {
    fn read(bytes: &'a [u8]) -> Result<Self, BadArguments> {
        let (given, rest) =
            array(bytes).ok_or_else(|| BadArguments("they are no MessagePack array".to_owned()))?;
        Ok(Self { decoder: guest::decoder(rest), given })
    }

    /// Refuses all but `count` arguments.
    pub fn expect(&self, count: usize) -> Result<(), BadArguments> {
        if self.given == count {
            return Ok(());
        }
        let plural = if count == 1 { "" } else { "s" };
        let given = self.given;
        Err(BadArguments(format!("the task takes {count} argument{plural}, {given} were given")))
    }

    /// The next argument, which the source has as `name: type`.
    pub fn take<T: DeserializeOwned>(&mut self, written: &str) -> Result<T, BadArguments> {
        T::deserialize(&mut self.decoder).map_err(|error| bad_argument(written, &error))
    }
}

fn bad_argument(written: &str, error: &rmp_serde::decode::Error) -> BadArguments {
    use rmp_serde::decode::Error;
    BadArguments(match error {
        Error::TypeMismatch(marker) => {
            format!("argument `{written}`: {} does not fit", kind(&format!("{marker:?}")))
        }
        error => format!("argument `{written}`: {error}"),
    })
}

/// What a MessagePack marker stands for, in words.
fn kind(marker: &str) -> &'static str {
    let marker = marker.strip_prefix("Fix").unwrap_or(marker);
    let kinds = [
        ("Str", "a string"),
        ("Bin", "a byte string"),
        ("Array", "an array"),
        ("Map", "a map"),
        ("Ext", "an extension"),
        ("Null", "null"),
        ("True", "a boolean"),
        ("False", "a boolean"),
        ("F32", "a float"),
        ("F64", "a float"),
    ];
    let known = kinds.iter().find(|(prefix, _)| marker.starts_with(prefix));
    known.map_or("an integer", |(_, kind)| kind)
}

/// The length of an array, and what follows its header.
fn array(bytes: &[u8]) -> Option<(usize, &[u8])> {
    let (&first, rest) = bytes.split_first()?;
    match first {
        0x90..=0x9f => Some((usize::from(first & 0x0f), rest)),
        0xdc => {
            let (len, rest) = rest.split_first_chunk()?;
            Some((usize::from(u16::from_be_bytes(*len)), rest))
        }
        0xdd => {
            let (len, rest) = rest.split_first_chunk()?;
            Some((u32::from_be_bytes(*len) as usize, rest))
        }
        _ => None,
    }
}

/// Where a reply is written: a tag and what it announces. What was there before is gone.
#[derive(Debug)]
pub struct Reply(Rope);

impl Reply {
    /// One whose large parts stay where they are: in pieces, the first of which begins with the
    /// tag.
    pub(crate) fn in_pieces() -> Self {
        Self(Rope::new(true))
    }

    /// One of a single piece, to be used again and again.
    #[cfg(any(target_family = "wasm", test))]
    pub(crate) fn whole() -> Self {
        Self(Rope::new(false))
    }

    /// Writes the reply to these arguments: `decode` takes them apart, `run` is the task. The
    /// arguments' bytes are let go in between, unless an argument borrows from them.
    pub(crate) fn to<A>(
        &mut self,
        arguments: Bytes,
        decode: impl FnOnce(&mut Arguments<'_>) -> Result<A, BadArguments>,
        run: impl FnOnce(A, &mut Self),
    ) {
        let decoded = guest::borrowing(&arguments, || {
            let mut open = Arguments::read(&arguments)?;
            let values = decode(&mut open)?;
            match guest::finished(&mut open.decoder) {
                true => Ok(values),
                false => Err(BadArguments("bytes are left over behind them".to_owned())),
            }
        });
        drop(arguments);
        match decoded {
            Ok(values) => run(values, self),
            Err(BadArguments(why)) => self.text(tag::BAD_ARGUMENTS, &why),
        }
    }

    fn result<T: Serialize>(&mut self, value: &T) {
        self.0.begin(tag::RESULT);
        if let Err(error) = self.0.encode(value) {
            self.text(tag::BAD_RESULT, &error.to_string());
        }
    }

    fn text(&mut self, tag: u8, text: &str) {
        self.0.begin(tag);
        self.0.text(text);
    }

    /// A task, or a constructor, has failed.
    pub(crate) fn failed(&mut self, error: impl Display) {
        self.text(tag::FAILED, &error.to_string());
    }

    /// The pieces; there is at least one.
    pub(crate) fn into_pieces(self) -> Vec<Bytes> {
        self.0.finish()
    }

    /// The tag and the rest of one in a single piece, as a record of a batch's replies.
    #[cfg(any(target_family = "wasm", test))]
    pub(crate) fn append_to(&self, replies: &mut Vec<u8>) {
        let Some((tag, rest)) = self.0.tail().split_first() else { return };
        replies.reserve(rest.len() + 5);
        replies.push(*tag);
        // Linear memory has no more.
        replies.extend_from_slice(&(rest.len() as u32).to_le_bytes());
        replies.extend_from_slice(rest);
    }
}

/// Replies as a task that cannot fail.
pub fn infallible<T: Serialize>(value: T, reply: &mut Reply) {
    reply.result(&value);
}

/// Replies as a task that returns a `Result`.
pub fn fallible<R: Fallible<Value: Serialize>>(outcome: R, reply: &mut Reply) {
    match outcome.into_result() {
        Ok(value) => reply.result(&value),
        Err(error) => reply.failed(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    fn divide(arguments: &[u8]) -> Vec<u8> {
        let mut reply = Reply::in_pieces();
        reply.to(
            Bytes::copy_from_slice(arguments),
            |open| {
                open.expect(2)?;
                Ok((open.take::<i64>("a: i64")?, open.take::<i64>("b: i64")?))
            },
            |(a, b), reply| fallible(a.checked_div(b).ok_or("division by zero"), reply),
        );
        reply.into_pieces().concat()
    }

    fn told(tag: u8, text: &str) -> Vec<u8> {
        [&[tag], text.as_bytes()].concat()
    }

    #[test]
    fn a_reply_says_how_it_went() {
        assert_eq!(divide(&[0x92, 6, 2]), [tag::RESULT, 3]);
        assert_eq!(divide(&[0xdc, 0, 2, 6, 2]), [tag::RESULT, 3]);
        assert_eq!(divide(&[0x92, 6, 0]), told(tag::FAILED, "division by zero"));
    }

    #[test]
    fn bad_arguments_are_named() {
        for (bytes, why) in [
            (&[][..], "they are no MessagePack array"),
            (&[0xc0], "they are no MessagePack array"),
            (&[0xdd, 0, 0], "they are no MessagePack array"),
            (&[0x91, 6], "the task takes 2 arguments, 1 were given"),
            (&[0x92, 6, 2, 7], "bytes are left over behind them"),
            (&[0x92, 6, 0xa1, b'x'], "argument `b: i64`: a string does not fit"),
            (&[0x92, 6, 0xc3], "argument `b: i64`: invalid type: boolean `true`, expected i64"),
            (&[0x92, 0xc0, 6], "argument `a: i64`: invalid type: unit value, expected i64"),
        ] {
            assert_eq!(
                String::from_utf8_lossy(&divide(bytes)),
                String::from_utf8_lossy(&told(tag::BAD_ARGUMENTS, why))
            );
        }
        assert!(
            String::from_utf8_lossy(&divide(&[0x92, 6])).starts_with("\u{2}argument `b: i64`: ")
        );
    }

    #[test]
    fn a_result_that_cannot_be_encoded_is_told() {
        struct Never;
        impl Serialize for Never {
            fn serialize<S: serde::Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
                Err(serde::ser::Error::custom("not today"))
            }
        }
        let mut reply = Reply::whole();
        infallible((1, Never), &mut reply);
        assert_eq!(reply.0.tail(), told(tag::BAD_RESULT, "not today"));
        let mut replies = Vec::new();
        reply.append_to(&mut replies);
        infallible(BTreeMap::from([("a", 1)]), &mut reply);
        reply.append_to(&mut replies);
        let first = [&[tag::BAD_RESULT, 9, 0, 0, 0], &b"not today"[..]].concat();
        assert_eq!(replies, [&first[..], &[tag::RESULT, 4, 0, 0, 0, 0x81, 0xa1, b'a', 1]].concat());
    }
}
