//! Residents of every visibility, with types that only their place knows.

#![deny(warnings, missing_docs, unreachable_pub)]
#![forbid(unsafe_code)]

use dpfw_guest::{Class, MethodCall, Spawn, resident, task};

dpfw_guest::module!(b"\0asm\x01\0\0\0");

/// A module with types of its own.
pub mod shop {
    use dpfw_guest::{Bytes, resident};
    use std::collections::BTreeMap;

    #[derive(serde::Serialize, serde::Deserialize)]
    pub(crate) struct Item(pub(crate) u8);

    /// What is in store.
    pub struct Stock {
        items: BTreeMap<String, Bytes>,
    }

    #[resident(name = "stock_keeper")]
    impl Stock {
        /// The most.
        pub const LIMIT: usize = {
            const HALF: usize = 4;
            2 * HALF
        };

        /// Empty.
        pub const fn new() -> Self {
            Self { items: BTreeMap::new() }
        }

        /// With something in it.
        ///
        /// # Errors
        /// Never.
        pub fn filled(mut items: BTreeMap<String, Bytes>) -> std::result::Result<Stock, String> {
            items.retain(|_, bytes| !bytes.is_empty());
            Ok(Self { items })
        }

        /// Puts something in.
        pub fn put(&mut self, name: String, bytes: Bytes) -> Option<Bytes> {
            if self.is_full() { None } else { self.items.insert(name, bytes) }
        }

        pub(crate) fn item(self: &Self, item: Item) -> Item {
            item
        }

        fn is_full(&self) -> bool {
            self.items.len() >= Self::limit()
        }

        /// What callers cannot call.
        pub fn limit() -> usize {
            Self::LIMIT
        }

        /// Not there, and so is its call.
        #[cfg(any())]
        pub fn peek(&self, how: Nowhere) -> Nowhere {
            how
        }

        /// What there is.
        pub fn save(&self) -> BTreeMap<String, Bytes> {
            self.items.clone()
        }

        /// What there was.
        pub fn load(state: BTreeMap<String, Bytes>) -> Self {
            Self { items: state }
        }
    }

    impl Default for Stock {
        fn default() -> Self {
            Self::new()
        }
    }

    pub(crate) fn item() -> dpfw_guest::MethodCall<Stock, Item> {
        stock_keeper::item(Item(7))
    }
}

/// What only slaves use is not unused.
struct Hidden(u64);

#[resident]
impl Hidden {
    pub(crate) fn begin(r#type: u64) -> Self {
        Self(r#type)
    }

    pub(crate) fn take(self: &mut Self, other: Hidden) -> u64
    {
        self.0 += other.0;
        self.0
    }
}

impl serde::Serialize for Hidden {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(self.0)
    }
}

impl<'de> serde::Deserialize<'de> for Hidden {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        u64::deserialize(deserializer).map(Self)
    }
}

/// A type of parameters that are given, whose name is a word of the language.
pub enum Match<T> {
    /// The only one.
    It(T),
}

#[resident]
impl Match<u8> {
    /// One.
    pub fn r#type(value: u8) -> Self {
        Self::It(value)
    }

    /// The value, and what `Self` is in the middle of a type.
    pub fn r#match(&self) -> Result<(u8,), String> {
        let Self::It(value) = self;
        Ok((*value,))
    }
}

macro_rules! cell {
    ($name:ident, $ty:ty) => {
        #[doc = "A cell."]
        pub struct $name($ty);

        #[resident]
        impl $name {
            #[doc = "With a value."]
            pub fn new(value: $ty) -> Self {
                Self(value)
            }

            #[doc = "The value."]
            pub fn value(&self) -> $ty {
                self.0.clone()
            }
        }
    };
}

cell!(TextCell, String);

/// A task may be named as a method is.
#[task]
pub fn value() {}

fn main() {
    let spawn: Spawn<shop::Stock> = shop::stock_keeper::new();
    assert_eq!((spawn.class(), spawn.to_string().as_str()), ("stock_keeper", "stock_keeper.new()"));
    assert_eq!(<shop::Stock as Class>::NAME, "stock_keeper");
    assert_eq!(<shop::Stock as Class>::module(), value::task().module().clone());
    let filled = shop::stock_keeper::filled([("a".into(), b"b".into())].into());
    assert_eq!(filled.class(), "stock_keeper");
    let put: MethodCall<shop::Stock, Option<dpfw_guest::Bytes>> =
        shop::stock_keeper::put("a".into(), b"c".into());
    assert_eq!(put.class(), "stock_keeper");
    assert_eq!(shop::item().to_string(), "stock_keeper.item(7)");
    assert_eq!(hidden::begin(1).to_string(), "hidden.begin(1)");
    assert_eq!(hidden::take(Hidden(2)).to_string(), "hidden.take(2)");
    assert_eq!(r#match::r#type(3).to_string(), "match.type(3)");
    let of_match: MethodCall<Match<u8>, (u8,)> = r#match::r#match();
    assert_eq!(of_match.to_string(), "match.match()");
    assert_eq!(text_cell::new("x".into()).to_string(), r#"text_cell.new("x")"#);
    let _: MethodCall<TextCell, String> = text_cell::value();
    assert_eq!(Match::r#type(3).r#match(), Ok((3,)));
    assert_eq!(TextCell::new("x".into()).value(), "x");
}
