//! The reply to a call, or the replies to many.
//!
//! Owns: the tags of the ABI, and how replies stand one behind the other.

use super::Fallible;
use super::arguments::{Arguments, BadArguments};
#[cfg(any(target_family = "wasm", test))]
use crate::wire::guest::Moved;
use crate::wire::guest::{Rope, borrowing};
use bytes::Bytes;
use serde::Serialize;
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

/// Where a reply is written: a tag and what it announces. Behind a tag in a record there is the
/// length of the rest.
#[derive(Debug)]
pub struct Reply {
    rope: Rope,
    /// Where this one begins, behind those to other calls.
    begin: usize,
    head: Head,
}

/// What stands before what a tag announces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Head {
    Tag,
    /// A tag, and a length.
    Record,
}

/// The tag and the length of a record.
const RECORD: usize = 5;

impl Reply {
    /// One whose large parts stay where they are: in pieces, the first of which begins with the
    /// tag.
    pub(crate) fn in_pieces() -> Self {
        Self { rope: Rope::in_pieces(), begin: 0, head: Head::Tag }
    }

    /// One after the other, as records, with room for so many bytes; where they are is told when
    /// it changes, before what was told last ceases to be true.
    #[cfg(any(target_family = "wasm", test))]
    pub(crate) fn records(room: usize, moved: Moved) -> Self {
        Self { rope: Rope::whole(room, moved), begin: 0, head: Head::Record }
    }

    /// Writes the reply to these arguments: `decode` takes them apart, `run` is the task. The
    /// arguments' bytes are let go in between, unless an argument borrows from them.
    pub(crate) fn to<A>(
        &mut self,
        arguments: Bytes,
        decode: impl FnOnce(&mut Arguments<'_>) -> Result<A, BadArguments>,
        run: impl FnOnce(A, &mut Self),
    ) {
        let decoded = borrowing(&arguments, || Arguments::all(&arguments, decode));
        drop(arguments);
        self.reply_to(decoded, run);
    }

    /// Appends a record, the reply to these arguments. They may be a part of what is
    /// [borrowed from](borrowing).
    #[cfg(any(target_family = "wasm", test))]
    #[inline]
    pub(crate) fn record_to<A>(
        &mut self,
        arguments: &[u8],
        decode: impl FnOnce(&mut Arguments<'_>) -> Result<A, BadArguments>,
        run: impl FnOnce(A, &mut Self),
    ) {
        self.reply_to(Arguments::all(arguments, decode), run);
        let len = self.rope.tail().len() - self.begin - RECORD;
        // Linear memory has no more.
        self.rope.put_at(self.begin + 1, (len as u32).to_le_bytes());
        self.begin = self.rope.tail().len();
    }

    #[inline]
    fn reply_to<A>(&mut self, decoded: Result<A, BadArguments>, run: impl FnOnce(A, &mut Self)) {
        match decoded {
            Ok(values) => run(values, self),
            Err(BadArguments(why)) => self.text(tag::BAD_ARGUMENTS, &why),
        }
    }

    /// Begins anew.
    #[inline]
    fn begin(&mut self, tag: u8) {
        self.rope.keep(self.begin);
        match self.head {
            Head::Tag => self.rope.put(&[tag]),
            Head::Record => self.rope.put(&[tag, 0, 0, 0, 0]),
        }
    }

    #[inline]
    fn result<T: Serialize>(&mut self, value: &T) {
        self.begin(tag::RESULT);
        if let Err(error) = self.rope.encode(value) {
            self.text(tag::BAD_RESULT, &error.to_string());
        }
    }

    #[cold]
    fn text(&mut self, tag: u8, text: &str) {
        self.begin(tag);
        self.rope.put(text.as_bytes());
    }

    /// A task, or a constructor, has failed.
    pub(crate) fn failed(&mut self, error: impl Display) {
        self.text(tag::FAILED, &error.to_string());
    }

    /// The pieces; there is at least one.
    pub(crate) fn into_pieces(self) -> Vec<Bytes> {
        self.rope.finish()
    }

    /// How long the records are, all of them together.
    #[cfg(target_family = "wasm")]
    pub(crate) fn len(&self) -> usize {
        self.begin
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
    use std::cell::Cell;

    struct Never;

    impl Serialize for Never {
        fn serialize<S: serde::Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
            Err(serde::ser::Error::custom("not today"))
        }
    }

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
            (&[0x92, 6, 2, 0x94], "bytes are left over behind them"),
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
        let mut reply = Reply::in_pieces();
        infallible((1, Never), &mut reply);
        assert_eq!(reply.into_pieces().concat(), told(tag::BAD_RESULT, "not today"));
    }

    #[test]
    fn records_stand_one_behind_the_other_and_where_they_are_is_told() {
        thread_local! {
            static AT: Cell<*const u8> = const { Cell::new(std::ptr::null()) };
        }
        let mut replies = Reply::records(12, |tail| AT.set(tail.as_ptr()));
        let mut expected = Vec::new();
        for n in 0..9u8 {
            replies.record_to(
                &[0x91, n],
                |open| open.take::<u8>("n: u8"),
                |n, reply| fallible((n != 3).then(|| "x".repeat(n.into())).ok_or("three"), reply),
            );
            let rest = match n {
                3 => b"three".to_vec(),
                n => [&[0xa0 | n][..], &vec![b'x'; n.into()]].concat(),
            };
            expected.extend([u8::from(n == 3), rest.len() as u8, 0, 0, 0]);
            expected.extend(rest);
            assert_eq!((AT.get(), replies.begin), (replies.rope.tail().as_ptr(), expected.len()));
        }
        assert_eq!(replies.rope.tail(), expected);
    }

    #[test]
    fn a_record_that_cannot_be_encoded_leaves_those_before_it() {
        let mut replies = Reply::records(0, |_| ());
        replies.record_to(&[0x90], |_| Ok(()), |(), reply| infallible(7, reply));
        replies.record_to(&[0x90], |_| Ok(()), |(), reply| infallible((1, Never), reply));
        replies.record_to(&[0xc0], |_| Ok(()), |(), reply| infallible(7, reply));
        let mut all = replies.rope.tail();
        for (tag, rest) in [
            (tag::RESULT, &[7][..]),
            (tag::BAD_RESULT, b"not today"),
            (tag::BAD_ARGUMENTS, b"they are no MessagePack array"),
        ] {
            let record = [&[tag, rest.len() as u8, 0, 0, 0], rest].concat();
            all = all.strip_prefix(&record[..]).expect("the record");
        }
        assert!(all.is_empty(), "{all:?}");
    }
}
