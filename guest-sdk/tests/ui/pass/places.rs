//! Tasks of every visibility, with types that only their place knows.

#![deny(warnings, missing_docs, unreachable_pub)]
#![forbid(unsafe_code)]

use dpfw_guest::{Call, Shape, task};

dpfw_guest::module!(b"\0asm\x01\0\0\0");

/// A module with types of its own.
pub mod shop {
    use dpfw_guest::{Bytes, task};
    use std::collections::BTreeMap as Map;

    mod inner {
        use serde::{Deserialize, Serialize};

        #[derive(Debug, PartialEq, Serialize, Deserialize)]
        pub(crate) struct Local(pub(crate) u8);

        #[dpfw_guest::task]
        pub(super) fn above(local: super::inner::Local) -> self::Local {
            local
        }

        #[dpfw_guest::task]
        pub(in super::super) fn two_above(local: Local) -> Local {
            local
        }

        #[dpfw_guest::task]
        pub(in crate::shop) fn by_path(local: Local) -> Local {
            local
        }

        #[dpfw_guest::task]
        pub(self) fn here() {}

        #[dpfw_guest::task(name = "never called")]
        fn unused(mut list: Vec<Local>) {
            list.clear();
            let _ = here::call();
        }
    }

    #[task(once, name = "mapped")]
    pub(crate) fn map(names: Map<String, Bytes>) -> Map<Bytes, String> {
        names.into_iter().map(|(name, bytes)| (bytes, name)).collect()
    }

    pub(crate) fn calls() -> Vec<String> {
        use inner::Local;
        let two: fn(Local) -> dpfw_guest::Call<Local> = inner::two_above::call;
        vec![
            inner::above::call(Local(1)).to_string(),
            inner::by_path::call(Local(2)).to_string(),
            two(Local(3)).to_string(),
            super::private(4).to_string(),
            super::private::call(4).to_string(),
        ]
    }
}

#[task]
fn private(n: u8) -> u8 {
    n
}

type Outcome<T> = std::result::Result<T, std::num::TryFromIntError>;

mod alias {
    pub(crate) type Result = std::result::Result<u8, String>;
}

/// By an alias that is not called `Result`: its error would travel as a part of the value.
#[task]
pub fn shrink(n: u64) -> std::result::Result<u8, std::num::TryFromIntError> {
    let outcome: Outcome<u8> = n.try_into();
    outcome
}

#[task]
pub(crate) fn aliased(r#type: u8, shrink: u8) -> alias::Result {
    Ok(r#type + shrink)
}

#[task]
fn r#match(r#match: u8) -> (u8,) {
    (r#match,)
}

/// A generic type with fields.
#[derive(serde::Serialize, serde::Deserialize, Shape)]
pub struct Pair<T>(T, T)
where
    T: Clone;

macro_rules! tasks {
    ($($name:ident: $ty:ty),*) => { $(
        #[task]
        fn $name(value: $ty) -> $ty {
            value
        }
    )* };
}

tasks!(of_bytes: Vec<u8>, of_pairs: Pair<Option<i8>>);

fn main() {
    assert_eq!(
        shop::calls(),
        ["above(1)", "by_path(2)", "two_above(3)", "4", "private(4)"]
    );
    let call: Call<u8> = aliased::call(1, 2);
    assert_eq!(call.to_string(), "aliased(1, 2)");
    let call: Call<u8> = shrink::call(300);
    assert_eq!(call.task().name(), "shrink");
    assert_eq!(shop::map::call([("a".into(), b"b".into())].into()).task().name(), "mapped");
    assert_eq!(r#match::call(1).to_string(), "match(1)");
    assert_eq!(of_bytes::call(vec![1]).to_string(), "of_bytes([1])");
    assert_eq!(of_pairs::call(Pair(None, Some(1))).to_string(), "of_pairs([null,1])");
    assert!(shrink(300).is_err() && aliased(1, 2) == Ok(3));
}
