//! MessagePack in which large byte strings are shared, not copied.
//!
//! Owns: which of two implementations is used. On the host calls are encoded by
//! `dpfw_protocol::payload`; in the module `wire::guest` does the same without that
//! crate's weight. Invariant: both write the same bytes.

#[cfg(any(target_family = "wasm", test))]
pub(crate) mod guest;

#[cfg(not(target_family = "wasm"))]
pub(crate) use dpfw_protocol::payload::{borrow, share};
#[cfg(target_family = "wasm")]
pub(crate) use guest::{borrow, share};

use bytes::Bytes;
use serde::{Serialize, de::DeserializeOwned};

/// A value as one piece of bytes, structs by the names of their fields.
pub(crate) fn encode<T: Serialize + ?Sized>(value: &T) -> Result<Vec<u8>, String> {
    rmp_serde::to_vec_named(value).map_err(|error| error.to_string())
}

/// A value from all of these bytes, which it may borrow from.
pub(crate) fn decode<T: DeserializeOwned>(bytes: Bytes) -> Result<T, String> {
    #[cfg(target_family = "wasm")]
    let value = guest::decode(&bytes);
    #[cfg(not(target_family = "wasm"))]
    let value = dpfw_protocol::payload::decode(bytes).map_err(|error| error.to_string());
    value
}
