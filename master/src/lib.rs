//! Dispatches dpfw's tasks.
//!
//! Owns: links to slaves, the tasks that are not resolved, their handles, and the driver
//! around the pure policy of `dpfw-dispatch`. Does not: decide who runs what, or run a
//! guest. Users depend on the crate `dpfw`, which adds slaves within the process.

#![forbid(unsafe_code)]

mod builder;
mod crew;
mod describe;
mod drain;
mod driver;
mod entries;
mod error;
mod gather;
mod handle;
mod home;
mod image;
mod images;
mod inbox;
mod kept;
mod keys;
mod kinds;
mod link;
mod log;
mod lookup;
mod map;
mod master;
mod noted;
mod parallel;
mod peers;
mod pending;
mod placed;
mod places;
mod program;
mod receipt;
mod reserve;
mod resident;
mod results;
mod slave;
mod source;
mod store;
mod submit;
mod ticket;
mod told;

pub use builder::{BuildError, Builder, Running};
pub use describe::{Description, LinkLost};
pub use dpfw_dispatch::{Config as Policy, ReserveError, Stats};
pub use dpfw_link::Stream as ByteStream;
pub use dpfw_link::address::AddressError;
pub use dpfw_link::dial::{Dial, DialError};
pub use dpfw_link::listen::ListenError;
pub use dpfw_link::security;
pub use dpfw_protocol::call::{Call, EncodeError, Task};
pub use dpfw_protocol::changes::What;
pub use dpfw_protocol::error::{Cause, Limit, Location, Storage, Trap};
pub use dpfw_protocol::ids::ImageId;
pub use dpfw_protocol::image::Init;
pub use dpfw_protocol::message::Origin;
pub use dpfw_protocol::module::Module;
pub use dpfw_protocol::resident::{Class, MethodCall, Saving, Spawn, Stage};
pub use dpfw_protocol::restart::Restart;
pub use dpfw_protocol::store::{Disk, EntryKind};
pub use dpfw_protocol::task_limits::TaskLimits;
pub use drain::{Named, Unended};
pub use error::TaskError;
pub use handle::{TaskHandle, TaskResult};
pub use image::{Image, ImageAt, ImageUse, Initialise, Transfer};
pub use kept::{Kept, Keys};
pub use lookup::{Lookup, LookupError};
pub use map::Map;
pub use master::Master;
pub use parallel::{Calls, IsCall};
pub use placed::{CallExt, Placed};
pub use program::{ExitStatus, Output, Program, ProgramHandle, Stdout};
pub use receipt::{Progress, Receipt};
pub use reserve::Reserved;
pub use resident::{
    Asked, CallHandle, Cast, End, MethodExt, Resident, ResidentInfo, Spawning, Untyped,
};
pub use slave::Slave;
pub use source::FirstError;
pub use store::{
    Change, Changes, Conditional, Event, Everywhere, Listed, ListedImage, Store, StoreError,
    Stored, Update, Watch, WatchEverywhere, Write,
};
