//! The arguments of a call.
//!
//! Invariant: they are decoded one by one, so that what is wrong names the argument. Nothing of
//! what is said then stands in the way of arguments that are in order.

use crate::wire::guest::Decoder;
use serde::de::DeserializeOwned;

/// Why arguments do not decode.
#[derive(Debug)]
pub struct BadArguments(pub(super) String);

/// The arguments of a call, to be taken in order.
#[derive(Debug)]
pub struct Arguments<'a> {
    decoder: Decoder<'a>,
    given: usize,
}

impl<'a> Arguments<'a> {
    /// Takes all arguments from these bytes.
    pub(crate) fn all<A>(
        bytes: &'a [u8],
        decode: impl FnOnce(&mut Self) -> Result<A, BadArguments>,
    ) -> Result<A, BadArguments> {
        let Some((given, rest)) = array(bytes) else {
            return Err(BadArguments("they are no MessagePack array".to_owned()));
        };
        let mut open = Self { decoder: Decoder::new(rest), given };
        let values = decode(&mut open)?;
        match open.decoder.is_finished() {
            true => Ok(values),
            false => Err(BadArguments("bytes are left over behind them".to_owned())),
        }
    }

    /// Refuses all but `count` arguments.
    pub fn expect(&self, count: usize) -> Result<(), BadArguments> {
        if self.given == count {
            return Ok(());
        }
        Err(too_many_or_few(count, self.given))
    }

    /// The next argument, which the source has as `name: type`.
    pub fn take<T: DeserializeOwned>(&mut self, written: &str) -> Result<T, BadArguments> {
        T::deserialize(&mut self.decoder).map_err(|error| bad_argument(written, &error))
    }
}

#[cold]
fn too_many_or_few(count: usize, given: usize) -> BadArguments {
    let plural = if count == 1 { "" } else { "s" };
    BadArguments(format!("the task takes {count} argument{plural}, {given} were given"))
}

#[cold]
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
