//! The marker of types that tell their fields.

/// A type whose fields are told in the module, so that two versions of it can be held
/// against each other before anything runs. Derive it on the types that tasks take and
/// give:
///
/// ```
/// use dpfw_guest::Shape;
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Serialize, Deserialize, Shape)]
/// pub enum Order {
///     Sell { amount: u64 },
///     Cancel(String),
///     Hold,
/// }
/// ```
///
/// A caller that was built from another version is then refused with what differs:
/// `` `Order` is { .. } to the caller and { .. } to the module ``.
pub trait Shape {}
