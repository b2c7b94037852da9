//! An encoder for which numbers cost nothing to speak of.
//!
//! Owns: how numbers, booleans and tuples of anything are encoded. `rmp_serde` encodes the rest.
//! Invariant: a value is the bytes that it would have been there.

use rmp_serde::Serializer as Any;
use rmp_serde::config::{DefaultConfig, StructMapConfig};
use rmp_serde::encode::Error;
use serde::Serialize;
use serde::ser::{SerializeTuple, Serializer};
use std::io::Write;

type Named = StructMapConfig<DefaultConfig>;

/// Writes MessagePack, with the names of fields.
pub(super) struct Encoder<W>(Any<W, Named>);

impl<W: Write> Encoder<W> {
    #[inline]
    pub(super) fn new(out: W) -> Self {
        Self(Any::new(out).with_struct_map())
    }

    /// What is announced by its first byte, `N` bytes.
    #[inline]
    fn put<const N: usize>(&mut self, head: u8, bytes: [u8; N]) -> Result<(), Error> {
        let out = self.0.get_mut();
        out.write_all(&[head]).and_then(|()| out.write_all(&bytes)).map_err(failed)
    }

    #[inline]
    fn unsigned(&mut self, number: u64) -> Result<(), Error> {
        match number {
            0..=0x7f => self.put(number as u8, []),
            0x80..=0xff => self.put(0xcc, [number as u8]),
            0x100..=0xffff => self.put(0xcd, (number as u16).to_be_bytes()),
            0x1_0000..=0xffff_ffff => self.put(0xce, (number as u32).to_be_bytes()),
            _ => self.put(0xcf, number.to_be_bytes()),
        }
    }

    #[inline]
    fn signed(&mut self, number: i64) -> Result<(), Error> {
        match number {
            0.. => self.unsigned(number.cast_unsigned()),
            -0x20..0 => self.put(number as u8, []),
            -0x80..-0x20 => self.put(0xd0, (number as i8).to_be_bytes()),
            -0x8000..-0x80 => self.put(0xd1, (number as i16).to_be_bytes()),
            -0x8000_0000..-0x8000 => self.put(0xd2, (number as i32).to_be_bytes()),
            _ => self.put(0xd3, number.to_be_bytes()),
        }
    }
}

#[cold]
fn failed(error: std::io::Error) -> Error {
    serde::ser::Error::custom(error)
}

/// Values of a tuple.
pub(super) struct Tuple<'a, W>(&'a mut Encoder<W>);

impl<W: Write> SerializeTuple for Tuple<'_, W> {
    type Ok = ();
    type Error = Error;

    #[inline]
    fn serialize_element<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Error> {
        value.serialize(&mut *self.0)
    }

    #[inline]
    fn end(self) -> Result<(), Error> {
        Ok(())
    }
}

/// Methods of a serializer for numbers: the type, and how it is put.
macro_rules! numbers {
    ($($method:ident($ty:ty) => $put:ident;)*) => {$(
        #[inline]
        fn $method(self, value: $ty) -> Result<(), Error> {
            self.$put(value.into())
        }
    )*};
}

/// Methods that leave it to `rmp_serde`.
macro_rules! others {
    ($($method:ident($($name:ident: $ty:ty),*) -> $out:ty;)*) => {$(
        #[inline]
        fn $method(self, $($name: $ty),*) -> Result<$out, Error> {
            self.0.$method($($name),*)
        }
    )*};
}

impl<'a, W: Write + 'a> Serializer for &'a mut Encoder<W> {
    type Ok = ();
    type Error = Error;
    type SerializeSeq = <&'a mut Any<W, Named> as Serializer>::SerializeSeq;
    type SerializeTuple = Tuple<'a, W>;
    type SerializeTupleStruct = <&'a mut Any<W, Named> as Serializer>::SerializeTupleStruct;
    type SerializeTupleVariant = <&'a mut Any<W, Named> as Serializer>::SerializeTupleVariant;
    type SerializeMap = <&'a mut Any<W, Named> as Serializer>::SerializeMap;
    type SerializeStruct = <&'a mut Any<W, Named> as Serializer>::SerializeStruct;
    type SerializeStructVariant = <&'a mut Any<W, Named> as Serializer>::SerializeStructVariant;

    numbers! {
        serialize_u8(u8) => unsigned;
        serialize_u16(u16) => unsigned;
        serialize_u32(u32) => unsigned;
        serialize_u64(u64) => unsigned;
        serialize_i8(i8) => signed;
        serialize_i16(i16) => signed;
        serialize_i32(i32) => signed;
        serialize_i64(i64) => signed;
    }

    #[inline]
    fn serialize_bool(self, value: bool) -> Result<(), Error> {
        self.put(if value { 0xc3 } else { 0xc2 }, [])
    }

    #[inline]
    fn serialize_f32(self, value: f32) -> Result<(), Error> {
        self.put(0xca, value.to_be_bytes())
    }

    #[inline]
    fn serialize_f64(self, value: f64) -> Result<(), Error> {
        self.put(0xcb, value.to_be_bytes())
    }

    #[inline]
    fn serialize_tuple(self, len: usize) -> Result<Tuple<'a, W>, Error> {
        match len {
            0..=0xf => self.put(0x90 | len as u8, [])?,
            0x10..=0xffff => self.put(0xdc, (len as u16).to_be_bytes())?,
            _ => self.put(0xdd, (len as u32).to_be_bytes())?,
        }
        Ok(Tuple(self))
    }

    others! {
        serialize_i128(value: i128) -> ();
        serialize_u128(value: u128) -> ();
        serialize_char(value: char) -> ();
        serialize_str(value: &str) -> ();
        serialize_bytes(value: &[u8]) -> ();
        serialize_none() -> ();
        serialize_unit() -> ();
        serialize_unit_struct(name: &'static str) -> ();
        serialize_unit_variant(name: &'static str, index: u32, variant: &'static str) -> ();
        serialize_seq(len: Option<usize>) -> Self::SerializeSeq;
        serialize_map(len: Option<usize>) -> Self::SerializeMap;
        serialize_struct(name: &'static str, len: usize) -> Self::SerializeStruct;
        serialize_tuple_struct(name: &'static str, len: usize) -> Self::SerializeTupleStruct;
        serialize_tuple_variant(
            name: &'static str, index: u32, variant: &'static str, len: usize
        ) -> Self::SerializeTupleVariant;
        serialize_struct_variant(
            name: &'static str, index: u32, variant: &'static str, len: usize
        ) -> Self::SerializeStructVariant;
    }

    #[inline]
    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<(), Error> {
        value.serialize(self)
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        name: &'static str,
        value: &T,
    ) -> Result<(), Error> {
        self.0.serialize_newtype_struct(name, value)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        name: &'static str,
        index: u32,
        variant: &'static str,
        value: &T,
    ) -> Result<(), Error> {
        self.0.serialize_newtype_variant(name, index, variant, value)
    }

    fn collect_seq<I: IntoIterator<Item: Serialize>>(self, all: I) -> Result<(), Error> {
        self.0.collect_seq(all)
    }

    fn is_human_readable(&self) -> bool {
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    fn same<T: Serialize>(value: T) {
        let (mut here, mut there) = (Vec::new(), Vec::new());
        value.serialize(&mut Encoder::new(&mut here)).expect("encodes");
        value.serialize(&mut Any::new(&mut there).with_struct_map()).expect("encodes");
        assert_eq!(here, there);
    }

    #[test]
    fn numbers_are_as_short_as_can_be() {
        let around = |power: u32| [-1i128, 0, 1].map(|near| (1i128 << power) + near);
        for number in (0..65).flat_map(around).flat_map(|n| [n, -n]).chain([0]) {
            u8::try_from(number).into_iter().for_each(same);
            u16::try_from(number).into_iter().for_each(same);
            u32::try_from(number).into_iter().for_each(same);
            u64::try_from(number).into_iter().for_each(same);
            i8::try_from(number).into_iter().for_each(same);
            i16::try_from(number).into_iter().for_each(same);
            i32::try_from(number).into_iter().for_each(same);
            i64::try_from(number).into_iter().for_each(same);
            same(number);
        }
        [0.0, -1.5, f64::MAX, f64::NAN].into_iter().for_each(|n| same((n, n as f32)));
    }

    #[test]
    fn whatever_there_is_is_as_rmp_serde_has_it() {
        #[derive(Serialize)]
        enum Kind {
            Unit,
            One(i16),
            Two(u8, bool),
            Named { a: i64, b: Option<(u8, f32)> },
        }
        #[derive(Serialize)]
        struct Unit;
        #[derive(Serialize)]
        struct New(i32);
        #[derive(Serialize)]
        struct Pair(i32, String);
        #[derive(Serialize)]
        struct Named {
            kinds: Vec<Kind>,
            #[serde(flatten)]
            rest: BTreeMap<String, i64>,
        }
        same((Unit, New(-7), Pair(300, "x".into()), 'y', (), [200u8; 32], [0i64; 3]));
        same(vec![Some((true, false)), None]);
        let kinds =
            vec![Kind::Unit, Kind::One(-300), Kind::Two(200, true), Kind::Named { a: 1, b: None }];
        same(Named { kinds, rest: [("z".to_owned(), -1)].into() });
        same(Kind::Named { a: -1, b: Some((1, 2.0)) });
        same(std::net::Ipv4Addr::LOCALHOST);
        same(serde_bytes::Bytes::new(&[1, 2, 3]));
    }
}
