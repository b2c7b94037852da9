//! JSON on the outside, MessagePack on the inside.
//!
//! Owns: reading arguments, writing results. Does not: know a task's types; `hint` does.
//! Invariants: an integer of 64 bits stays what it is in both directions; the text of a
//! result has nothing in it that acts on a terminal.

pub(crate) mod encode;
pub(crate) mod hint;

use crate::escape;
use crate::exit::{Exit, Failure};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;
use serde_json::ser::{CompactFormatter, Formatter};
use std::io::{self, Read, Write};

/// Reads the arguments of a call: a JSON array with an element for each.
///
/// # Errors
/// What the text is instead.
pub(crate) fn arguments(text: &[u8]) -> Result<Vec<Value>, String> {
    let hint = "write an array with an element for each argument, for instance [2, 3]";
    if text.trim_ascii().is_empty() {
        return Err(format!("it is empty; {hint}, or [] for none"));
    }
    match serde_json::from_slice(text) {
        Ok(Value::Array(arguments)) => Ok(arguments),
        Ok(other) => Err(format!("it is {}, not an array; {hint}", noun(&other))),
        Err(error) => Err(format!("it is no JSON: {error}; {hint}")),
    }
}

/// The arguments as they are given on the command line: none, `-` for standard input, or the
/// text itself.
///
/// # Errors
/// A [`Failure`] that says what the text is instead.
pub(crate) fn given(text: Option<&str>) -> Result<Vec<Value>, Failure> {
    let usable = |from: &str, text: &[u8]| {
        arguments(text).map_err(|why| Failure::usage(format!("{from} cannot be used: {why}")))
    };
    match text {
        None => Ok(Vec::new()),
        Some("-") => {
            let mut text = Vec::new();
            let read = io::stdin().lock().read_to_end(&mut text);
            read.map_err(|e| Failure::usage(format!("standard input cannot be read: {e}")))?;
            usable("standard input", &text)
        }
        Some(text) => usable("ARGS", text.as_bytes()),
    }
}

fn noun(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}

/// A result as JSON text, in one line: read from MessagePack without a value in between,
/// so that nothing is rounded and fields keep their order.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Json(pub(crate) Vec<u8>);

impl<'de> Deserialize<'de> for Json {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut text = Vec::new();
        let mut serializer = serde_json::Serializer::with_formatter(&mut text, Harmless);
        serde_transcode::transcode(deserializer, &mut serializer)
            .map_err(|e| D::Error::custom(format_args!("it has no form in JSON: {e}")))?;
        Ok(Self(text))
    }
}

/// Any value as a line of JSON.
///
/// # Errors
/// An internal [`Failure`]: what the program itself writes has a form in JSON.
pub(crate) fn line<T: Serialize + ?Sized>(value: &T) -> Result<Vec<u8>, Failure> {
    let mut text = Vec::new();
    value
        .serialize(&mut serde_json::Serializer::with_formatter(&mut text, Harmless))
        .map_err(|e| Failure::new(Exit::Internal, e))?;
    text.push(b'\n');
    Ok(text)
}

/// Compact JSON in which characters that act on a terminal are escaped, which JSON itself
/// asks for the first 32 only.
struct Harmless;

impl Formatter for Harmless {
    fn write_string_fragment<W: ?Sized + Write>(
        &mut self,
        writer: &mut W,
        fragment: &str,
    ) -> io::Result<()> {
        let mut rest = fragment;
        while let Some((at, c)) = rest.char_indices().find(|(_, c)| escape::acts(*c)) {
            CompactFormatter.write_string_fragment(writer, &rest[..at])?;
            for unit in c.encode_utf16(&mut [0; 2]) {
                write!(writer, "\\u{unit:04x}")?;
            }
            rest = &rest[at + c.len_utf8()..];
        }
        CompactFormatter.write_string_fragment(writer, rest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    fn result<T: Serialize>(value: &T) -> String {
        let bytes = rmp_serde::to_vec_named(value).expect("encodes");
        let Json(text) = rmp_serde::from_slice(&bytes).expect("decodes");
        String::from_utf8(text).expect("UTF-8")
    }

    #[test]
    fn results_are_exact() {
        assert_eq!(
            result(&(u64::MAX, i64::MIN, (1u64 << 53) + 1)),
            "[18446744073709551615,-9223372036854775808,9007199254740993]"
        );
        assert_eq!(result(&(5.0, 0.1f32)), "[5.0,0.1]");
        assert_eq!(result(&((), None::<u8>, Some(true), f64::NAN)), "[null,null,true,null]");
        assert_eq!(
            result(&BTreeMap::from([(10u64, "ten"), (9, "nine")])),
            r#"{"9":"nine","10":"ten"}"#
        );
        assert_eq!(result(&serde_bytes::Bytes::new(&[0, 255])), "[0,255]");
        #[derive(Serialize)]
        struct Order {
            z: u8,
            a: u8,
        }
        assert_eq!(result(&Order { z: 1, a: 2 }), r#"{"z":1,"a":2}"#);
    }

    #[test]
    fn nothing_in_a_result_acts_on_a_terminal() {
        let text = result(&"\u{1b}[31m\u{7f}\u{9b}\u{202e}ä\"\\");
        assert_eq!(text, r#""\u001b[31m\u007f\u009b\u202eä\"\\""#);
        let back: String = serde_json::from_str(&text).expect("JSON");
        assert_eq!(back, "\u{1b}[31m\u{7f}\u{9b}\u{202e}ä\"\\");
    }

    #[test]
    fn what_has_no_form_in_json_is_an_error() {
        let bytes = rmp_serde::to_vec(&BTreeMap::from([((1, 2), 3)])).expect("encodes");
        let error = rmp_serde::from_slice::<Json>(&bytes).expect_err("a list as a key");
        assert!(error.to_string().contains("no form in JSON"), "{error}");
    }

    #[test]
    fn arguments_are_an_array() {
        assert_eq!(arguments(b" [2, \"x\"]\r\n").expect("an array").len(), 2);
        for (text, part) in [
            ("", "it is empty"),
            ("{}", "it is an object, not an array"),
            ("7", "it is a number"),
            ("[1,", "it is no JSON: EOF while parsing"),
            ("[1] 2", "it is no JSON: trailing characters"),
        ] {
            let error = arguments(text.as_bytes()).expect_err(text);
            assert!(error.starts_with(part), "{error}");
        }
        let deep = "[".repeat(100_000);
        assert!(arguments(deep.as_bytes()).is_err());
    }
}
