//! Dispatches tasks, compiled to WebAssembly, to slaves over TCP, and joins their handles.
//!
//! A tasks crate is written with `dpfw-guest`; its functions become typed calls. A
//! [`Master`] dispatches them. Without any address it runs a slave within the process, so
//! that there is nothing to start by hand:
//!
//! ```
//! # #[tokio::main]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use dpfw::Master;
//! use quickstart_tasks::add;
//!
//! let master = Master::builder().build().await?;
//! let task = master.dispatch(add::call(2, 3));
//! assert_eq!(task.await?, 5);
//!
//! let [x, y] = master.parallel([add::call(2, 1), add::call(5, 5)]).await?;
//! assert_eq!((x, y), (3, 10));
//! # Ok(())
//! # }
//! ```
//!
//! With addresses it uses slaves elsewhere, started with `dpfw slave` or embedded in other
//! programs as a [`Slave`].

#![forbid(unsafe_code)]

mod embedded;

pub use dpfw_master::{
    AddressError, BuildError as LinkBuildError, ByteStream, Call, CallExt, Calls, Cause,
    Conditional, Description, Dial, DialError, EncodeError, ExitStatus, FirstError, Image, ImageAt,
    ImageId, ImageUse, Init, Initialise, Kept, Keys, Limit, LinkLost, Listed, ListenError,
    Location, Map, Module, Named, Network, Origin, Output, Placed, Policy, Program, ProgramHandle,
    Progress, Receipt, ReserveError, Reserved, Slave as LinkedSlave, Stats, Stdout, Storage, Store,
    StoreError, Stored, Task, TaskError, TaskHandle, TaskLimits, TaskResult, Transfer, Trap,
    Unended,
};
/// What watching, writing and listing a keyed store tell and take.
pub mod store {
    pub use dpfw_master::{
        Change, Changes, Disk, EntryKind, Event, Everywhere, Watch, WatchEverywhere, What, Write,
    };
}
pub use dpfw_protocol::hello::Namespace;
pub use dpfw_protocol::ids::{ModuleHash, PeerId};
pub use dpfw_protocol::signature::{Field, TaskRecord, TypeRecord};
pub use dpfw_protocol::text::{acts_on_terminal, escaped};
pub use dpfw_slave::{
    Builder as SlaveBuilder, Depth, DirectoryError, Drained, Facts, Kind, Limits, LimitsError,
    Slave, StartError, Unfinished, cache_directory, inspect,
};
/// What an inspection finds.
pub mod inspection {
    pub use dpfw_slave::{Function, Import, Need, Problem, Report, Warming};
}
pub use embedded::{BuildError, Master, MasterBuilder, Running};
