//! Values of the store: JSON, a text, or bytes outside, MessagePack inside.
//!
//! Invariant: a value that is read in one form and written in the same is the same value.

use crate::exit::{Exit, Failure};
use crate::json::Json;
use clap::Args;
use serde::de::{self, Deserializer, Visitor};
use serde::{Deserialize, Serialize, Serializer};
use std::io::{self, Read};

/// How a value is given and printed; JSON unless told.
#[derive(Args, Clone, Copy, Debug)]
pub(super) struct Form {
    /// The value is a text, given and printed as it stands
    #[arg(long, conflicts_with = "raw")]
    text: bool,
    /// The value is bytes, given and printed as they are
    #[arg(long)]
    raw: bool,
}

/// A value of the store.
#[derive(Debug, PartialEq)]
pub(super) enum Value {
    /// To be written.
    Json(serde_json::Value),
    /// Read: any value but a text or bytes, as JSON.
    Read(Json),
    Text(String),
    Bytes(Vec<u8>),
}

impl Default for Value {
    fn default() -> Self {
        Self::Json(serde_json::Value::Null)
    }
}

/// The largest value that is read from standard input: more than any store takes.
const MOST: u64 = 1 << 30;

/// A value has not the form that was asked for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Unfit(&'static str);

impl Unfit {
    /// As the failure to read this entry.
    pub(super) fn of(self, key: &str) -> Failure {
        let hint = "without --text and --raw it is printed as JSON";
        Failure::new(Exit::Usage, format!("`{key}` is {}", self.0)).hint(hint)
    }
}

impl Form {
    /// Reads a value from the command line, or from standard input.
    pub(super) fn read(self, given: Option<&str>) -> Result<Value, Failure> {
        let bytes = match given {
            Some(text) if text != "-" => text.as_bytes().to_vec(),
            _ => standard_input()?,
        };
        if self.raw {
            return Ok(Value::Bytes(bytes));
        }
        if self.text {
            let text = String::from_utf8(bytes);
            let text = text.map_err(|e| Failure::usage(format!("the value is no text: {e}")));
            return text.map(Value::Text).map_err(|f| f.hint("--raw takes any bytes"));
        }
        let value = serde_json::from_slice(&bytes);
        value.map(Value::Json).map_err(|e| {
            Failure::usage(format!("the value is no JSON: {e}"))
                .hint("--text takes a text as it stands, --raw any bytes")
        })
    }

    /// The bytes that are printed of a value.
    pub(super) fn print(self, value: &Value) -> Result<Vec<u8>, Unfit> {
        match value {
            Value::Text(text) if self.text || self.raw => Ok(text.clone().into_bytes()),
            Value::Bytes(bytes) if self.raw => Ok(bytes.clone()),
            Value::Bytes(_) if self.text => Err(Unfit("bytes, not a text")),
            _ if self.text => Err(Unfit("not a text")),
            _ if self.raw => Err(Unfit("neither bytes nor a text")),
            value => Ok(line(value)),
        }
    }

    /// A value as part of a line of JSON.
    pub(super) fn json(self, value: &Value) -> Result<serde_json::Value, Failure> {
        serde_json::from_slice(&line(value)).map_err(|e| Failure::new(Exit::Internal, e))
    }
}

/// A value as a line of JSON; bytes are an array of numbers.
fn line(value: &Value) -> Vec<u8> {
    let written = match value {
        Value::Read(Json(text)) => Ok([text, &b"\n"[..]].concat()),
        Value::Json(value) => crate::json::line(value),
        Value::Text(text) => crate::json::line(text),
        Value::Bytes(bytes) => crate::json::line(bytes),
    };
    // All of these have a form in JSON.
    written.unwrap_or_default()
}

fn standard_input() -> Result<Vec<u8>, Failure> {
    let mut bytes = Vec::new();
    let read = io::stdin().lock().take(MOST + 1).read_to_end(&mut bytes);
    read.map_err(|e| Failure::usage(format!("standard input cannot be read: {e}")))?;
    match bytes.len() as u64 > MOST {
        true => Err(Failure::usage(format!("the value is longer than {MOST} bytes"))),
        false => Ok(bytes),
    }
}

impl Serialize for Value {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Json(value) => value.serialize(serializer),
            Self::Text(text) => serializer.serialize_str(text),
            Self::Bytes(bytes) => serializer.serialize_bytes(bytes),
            Self::Read(_) => Err(serde::ser::Error::custom("it was read to be printed")),
        }
    }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Any)
    }
}

/// Takes texts and bytes as they are, and passes everything else on.
struct Any;

macro_rules! pass_on {
    ($($visit:ident($ty:ty)),* $(,)?) => {
        $(fn $visit<E: de::Error>(self, value: $ty) -> Result<Value, E> {
            Json::deserialize(de::IntoDeserializer::into_deserializer(value)).map(Value::Read)
        })*
    };
}

impl<'de> Visitor<'de> for Any {
    type Value = Value;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a value")
    }

    pass_on! {
        visit_bool(bool), visit_i64(i64), visit_u64(u64), visit_f32(f32), visit_f64(f64),
    }

    fn visit_str<E>(self, text: &str) -> Result<Value, E> {
        Ok(Value::Text(text.to_owned()))
    }

    fn visit_bytes<E>(self, bytes: &[u8]) -> Result<Value, E> {
        Ok(Value::Bytes(bytes.to_vec()))
    }

    fn visit_byte_buf<E>(self, bytes: Vec<u8>) -> Result<Value, E> {
        Ok(Value::Bytes(bytes))
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Read(Json(b"null".to_vec())))
    }

    fn visit_none<E: de::Error>(self) -> Result<Value, E> {
        self.visit_unit()
    }

    fn visit_some<D: Deserializer<'de>>(self, inner: D) -> Result<Value, D::Error> {
        Value::deserialize(inner)
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(self, inner: D) -> Result<Value, D::Error> {
        Value::deserialize(inner)
    }

    fn visit_seq<A: de::SeqAccess<'de>>(self, list: A) -> Result<Value, A::Error> {
        Json::deserialize(de::value::SeqAccessDeserializer::new(list)).map(Value::Read)
    }

    fn visit_map<A: de::MapAccess<'de>>(self, map: A) -> Result<Value, A::Error> {
        Json::deserialize(de::value::MapAccessDeserializer::new(map)).map(Value::Read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const JSON: Form = Form { text: false, raw: false };
    const TEXT: Form = Form { text: true, raw: false };
    const RAW: Form = Form { text: false, raw: true };

    /// What a slave has, and what is printed of it.
    fn stored(written: &Value) -> Value {
        let bytes = rmp_serde::to_vec_named(written).expect("encodes");
        rmp_serde::from_slice(&bytes).expect("decodes")
    }

    #[test]
    fn what_is_written_in_a_form_is_read_in_the_same() {
        for json in [
            "null",
            "true",
            "-1",
            "18446744073709551615",
            "1.5",
            "\"a\"",
            "[1,[2]]",
            r#"{"a":{"b":[null]}}"#,
        ] {
            let value = stored(&JSON.read(Some(json)).expect("JSON"));
            assert_eq!(JSON.print(&value).expect("printed"), format!("{json}\n").as_bytes());
        }
        let value = stored(&TEXT.read(Some("a\n\"b\"")).expect("a text"));
        assert_eq!(TEXT.print(&value).expect("a text"), b"a\n\"b\"");
        assert_eq!(RAW.print(&value).expect("a text"), b"a\n\"b\"");
        assert_eq!(JSON.print(&value).expect("a text"), b"\"a\\n\\\"b\\\"\"\n");
        let value = stored(&RAW.read(Some("ab")).expect("bytes"));
        assert_eq!(RAW.print(&value).expect("bytes"), b"ab");
        assert_eq!(JSON.print(&value).expect("bytes"), b"[97,98]\n");
    }

    #[test]
    fn what_has_another_form_is_told() {
        let number = stored(&JSON.read(Some("1")).expect("JSON"));
        assert!(TEXT.print(&number).is_err() && RAW.print(&number).is_err());
        let bytes = stored(&RAW.read(Some("ab")).expect("bytes"));
        insta::assert_snapshot!(
            TEXT.print(&bytes).expect_err("bytes").of("k").text,
            @"`k` is bytes, not a text"
        );
        let failure = JSON.read(Some("blue")).expect_err("no JSON");
        insta::assert_snapshot!(failure.text, @"the value is no JSON: expected value at line 1 column 1");
    }
}
