//! The kinds in a frame's header.
//!
//! Invariant: a number that was given is never given to another kind.

/// [`Hello`](crate::hello::Hello).
pub const HELLO: u8 = 1;
/// A message of [this module](super).
pub const CLOSE: u8 = 2;
/// A message of [this module](super).
pub const HEARTBEAT: u8 = 3;
/// Payload without a message.
pub const CHUNK: u8 = 4;
/// A message of [this module](super).
pub const CREDIT: u8 = 5;
/// A message of [this module](super).
pub const ABANDON: u8 = 6;
/// A message of [this module](super), to a slave.
pub const BIND: u8 = 16;
/// A message of [this module](super), to a slave.
pub const DISPATCH: u8 = 17;
/// A message of [this module](super), to a slave.
pub const CANCEL: u8 = 18;
/// A message of [this module](super), to a slave.
pub const RECALL: u8 = 19;
/// A message of [this module](super), to a slave.
pub const MODULE_BYTES: u8 = 20;
/// A message of [this module](super), to a slave.
pub const STORE_REQUEST: u8 = 21;
/// A message of [this module](super), to a slave.
pub const RESERVE: u8 = 22;
/// A message of [this module](super), to a slave.
pub const RELEASE: u8 = 23;
/// A message of [this module](super), to a slave.
pub const DESCRIBE: u8 = 24;
/// A message of [this module](super), to a slave.
pub const DRAIN: u8 = 25;
/// A message of [this module](super), to a slave.
pub const BIND_IMAGE: u8 = 26;
/// A message of [this module](super), to a slave.
pub const IMAGE_BYTES: u8 = 30;
/// A message of [this module](super), to a slave.
pub const FETCH_IMAGE: u8 = 31;
/// A message of [`changes`](crate::changes), to a slave.
pub const WATCH: u8 = 27;
/// A message of [`changes`](crate::changes), to a slave.
pub const UNWATCH: u8 = 28;
/// A message of [this module](super), to a slave.
pub const LOCATE: u8 = 29;
/// A message of [this module](super), to a master.
pub const NEED_MODULE: u8 = 32;
/// A message of [this module](super), to a master.
pub const STARTED: u8 = 33;
/// A message of [this module](super), to a master.
pub const DONE: u8 = 34;
/// A message of [this module](super), to a master.
pub const FAILED: u8 = 35;
/// A message of [this module](super), to a master.
pub const RETURNED: u8 = 36;
/// A message of [this module](super), to a master.
pub const LOG: u8 = 37;
/// A message of [this module](super), to a master.
pub const PROGRESS: u8 = 38;
/// A message of [this module](super), to a master.
pub const STORE_REPLY: u8 = 39;
/// A message of [this module](super), to a master.
pub const RESERVED: u8 = 40;
/// A message of [this module](super), to a master.
pub const STATUS: u8 = 41;
/// A message of [this module](super), to a master.
pub const DRAINING: u8 = 42;
/// A message of [this module](super), to a master.
pub const DESCRIPTION: u8 = 43;
/// A message of [this module](super), to a master.
pub const WAITING: u8 = 44;
/// A message of [this module](super), to a master.
pub const LOADING: u8 = 45;
/// A message of [this module](super), to a master.
pub const QUEUED: u8 = 46;
/// A message of [this module](super), to a master.
pub const NEED_IMAGE: u8 = 47;
/// A message of [this module](super), to a master.
pub const IMAGE_READY: u8 = 48;
/// A message of [this module](super), to a master.
pub const IMAGE_GONE: u8 = 51;
/// A message of [this module](super), to a master.
pub const SNAPSHOT: u8 = 52;
/// A message of [`changes`](crate::changes), to a master.
pub const CHANGED: u8 = 49;
/// A message of [this module](super), to a master.
pub const LOCATED: u8 = 50;
/// A message of this module, to a slave.
pub const BIND_RESIDENT: u8 = 64;
/// A message of this module, to a slave.
pub const BIND_METHOD: u8 = 65;
/// A message of this module, to a slave.
pub const CALL_RESIDENT: u8 = 66;
/// A message of this module, to a slave.
pub const RESIDENT_REQUEST: u8 = 67;
/// A message of this module, to a slave.
pub const WITHDRAW: u8 = 68;
/// A message of this module, to a master.
pub const RESIDENT_REPLY: u8 = 80;
