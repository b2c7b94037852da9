//! A decoder for which numbers cost nothing to speak of.
//!
//! Owns: which values are read here: numbers and booleans, up to the first value of another kind,
//! from which on `rmp_serde` reads. Invariant: a value is what it would have been there, and so is
//! an error.

use rmp_serde::Deserializer as Any;
use rmp_serde::decode::{Error, ReadRefReader};
use serde::de::{Deserialize, Deserializer, Visitor};

/// Values nest no deeper than this; the same bound as on the host.
const MAX_DEPTH: usize = 256;

/// The decoder of one buffer.
#[derive(Debug)]
pub(crate) struct Decoder<'a> {
    /// What is to be read, as long as there is no `any`.
    rest: &'a [u8],
    any: Option<Any<ReadRefReader<'a, [u8]>>>,
}

impl<'a> Decoder<'a> {
    /// Of these bytes.
    pub(crate) fn new(rest: &'a [u8]) -> Self {
        Self { rest, any: None }
    }

    /// Whether nothing is left to decode.
    pub(crate) fn is_finished(&mut self) -> bool {
        match &mut self.any {
            None => self.rest.is_empty(),
            // A scalar, so that only the end itself is taken for the end: an array that is cut
            // short fails to read a marker as well.
            Some(any) => matches!(bool::deserialize(any), Err(Error::InvalidMarkerRead(_))),
        }
    }

    fn any(&mut self) -> &mut Any<ReadRefReader<'a, [u8]>> {
        self.any.get_or_insert_with(|| {
            let mut any = Any::from_read_ref(self.rest);
            any.set_max_depth(MAX_DEPTH);
            any
        })
    }

    /// The head of the next value, and `N` bytes behind it.
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (bytes, rest) = self.rest.get(1..)?.split_first_chunk()?;
        self.rest = rest;
        Some(*bytes)
    }

    /// The next value, if it is a number or a boolean and nothing else was before it; what `other`
    /// makes of it, if not.
    #[inline]
    fn scalar<V: Visitor<'a>>(
        &mut self,
        visitor: V,
        other: impl FnOnce(&mut Any<ReadRefReader<'a, [u8]>>, V) -> Result<V::Value, Error>,
    ) -> Result<V::Value, Error> {
        let head = if self.any.is_some() { None } else { self.rest.first() };
        let Some(&head) = head else { return other(self.any(), visitor) };
        macro_rules! wide {
            ($number:ident, $visit:ident) => {
                match self.take() {
                    Some(bytes) => return visitor.$visit($number::from_be_bytes(bytes)),
                    None => {}
                }
            };
        }
        match head {
            0x00..=0x7f => {
                self.rest = &self.rest[1..];
                return visitor.visit_u8(head);
            }
            0xe0..=0xff => {
                self.rest = &self.rest[1..];
                return visitor.visit_i8(head.cast_signed());
            }
            0xc2 | 0xc3 => {
                self.rest = &self.rest[1..];
                return visitor.visit_bool(head == 0xc3);
            }
            0xca => wide!(f32, visit_f32),
            0xcb => wide!(f64, visit_f64),
            0xcc => wide!(u8, visit_u8),
            0xcd => wide!(u16, visit_u16),
            0xce => wide!(u32, visit_u32),
            0xcf => wide!(u64, visit_u64),
            0xd0 => wide!(i8, visit_i8),
            0xd1 => wide!(i16, visit_i16),
            0xd2 => wide!(i32, visit_i32),
            0xd3 => wide!(i64, visit_i64),
            _ => {}
        }
        other(self.any(), visitor)
    }
}

/// Methods of a deserializer that read the next value as [`Decoder::scalar`] does.
macro_rules! scalars {
    ($($method:ident)*) => {$(
        #[inline]
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
            self.scalar(visitor, |any, visitor| any.$method(visitor))
        }
    )*};
}

/// Methods that leave it to `rmp_serde`.
macro_rules! others {
    ($($method:ident($($name:ident: $ty:ty),*))*) => {$(
        #[inline]
        fn $method<V: Visitor<'de>>(
            self,
            $($name: $ty,)*
            visitor: V,
        ) -> Result<V::Value, Error> {
            self.any().$method($($name,)* visitor)
        }
    )*};
}

impl<'de> Deserializer<'de> for &mut Decoder<'de> {
    type Error = Error;

    scalars! {
        deserialize_bool deserialize_i8 deserialize_i16 deserialize_i32 deserialize_i64
        deserialize_u8 deserialize_u16 deserialize_u32 deserialize_u64 deserialize_f32
        deserialize_f64
    }

    others! {
        deserialize_any() deserialize_i128() deserialize_u128() deserialize_char()
        deserialize_str() deserialize_string() deserialize_bytes() deserialize_byte_buf()
        deserialize_option() deserialize_unit() deserialize_seq() deserialize_map()
        deserialize_identifier() deserialize_ignored_any()
        deserialize_unit_struct(name: &'static str)
        deserialize_newtype_struct(name: &'static str)
        deserialize_tuple(len: usize)
        deserialize_tuple_struct(name: &'static str, len: usize)
        deserialize_struct(name: &'static str, fields: &'static [&'static str])
        deserialize_enum(name: &'static str, variants: &'static [&'static str])
    }

    fn is_human_readable(&self) -> bool {
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fmt::Debug;

    /// What comes of two values, and whether something is left; by both decoders.
    fn both<'a, T: Deserialize<'a> + Debug>(bytes: &'a [u8]) {
        let told = |result: Result<T, Error>| result.map_err(|error| format!("{error:?}"));
        let mut decoder = Decoder::new(bytes);
        let here = [told(T::deserialize(&mut decoder)), told(T::deserialize(&mut decoder))];
        let mut any = Any::from_read_ref(bytes);
        any.set_max_depth(MAX_DEPTH);
        let there = [told(T::deserialize(&mut any)), told(T::deserialize(&mut any))];
        assert_eq!(format!("{here:?}"), format!("{there:?}"), "{bytes:x?}");
        if here.iter().all(Result::is_ok) {
            let is_over = matches!(bool::deserialize(&mut any), Err(Error::InvalidMarkerRead(_)));
            assert_eq!(decoder.is_finished(), is_over, "{bytes:x?}");
        }
    }

    #[test]
    fn values_and_errors_are_those_of_rmp_serde() {
        for head in 0..=0xffu8 {
            for len in 0..24u8 {
                let first: Vec<u8> =
                    std::iter::once(head).chain((0..len).map(|n| n.wrapping_mul(37))).collect();
                let second = [&[0x07, head][..], &first[1..]].concat();
                for bytes in [&first, &second] {
                    both::<i64>(bytes);
                    both::<u8>(bytes);
                    both::<f64>(bytes);
                    both::<f32>(bytes);
                    both::<bool>(bytes);
                    both::<Option<i16>>(bytes);
                    both::<(u16, i8)>(bytes);
                    both::<String>(bytes);
                    both::<Vec<Option<(i8, String)>>>(bytes);
                }
            }
        }
    }
}
