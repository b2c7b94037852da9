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
    AddressError, Asked, BuildError as LinkBuildError, ByteStream, Call, CallExt, CallHandle,
    Calls, Cast, Cause, Class, Conditional, Description, Dial, DialError, EncodeError, End,
    ExitStatus, FirstError, Image, ImageAt, ImageId, ImageUse, Init, Initialise, Kept, Keys, Limit,
    LinkLost, Listed, ListedImage, ListenError, Location, Lookup, LookupError, Map, MethodCall,
    MethodExt, Module, Named, Origin, Output, Placed, Policy, Program, ProgramHandle, Progress,
    Receipt, ReserveError, Reserved, Resident, ResidentInfo, Restart, Saving, Slave as LinkedSlave,
    Spawn, Spawning, Stage, Stats, Stdout, Storage, Store, StoreError, Stored, Task, TaskError,
    TaskHandle, TaskLimits, TaskResult, Transfer, Trap, Unended, Untyped,
};
/// What watching, writing and listing a keyed store tell and take.
pub mod store {
    pub use dpfw_master::{
        Change, Changes, Disk, EntryKind, Event, Everywhere, Update, Watch, WatchEverywhere, What,
        Write,
    };
}
/// How links are secured.
pub mod security {
    pub use dpfw_master::security::{
        CertRole, Security, SecurityError, Subject, Tls, TlsFiles, token_file,
    };
    pub use dpfw_protocol::hello::Role;
}
pub use dpfw_master::security::Security;
pub use dpfw_protocol::hello::Namespace;
pub use dpfw_protocol::ids::{ModuleHash, PeerId};
pub use dpfw_protocol::signature::{Field, Signature, TaskRecord, TypeRecord};
pub use dpfw_protocol::text::{acts_on_terminal, escaped};
pub use dpfw_slave::{
    Audit, AuditError, Builder as SlaveBuilder, Confine, Depth, DirectoryError, Drained, Facts,
    Kind, Limits, LimitsError, Slave, StartError, Unfinished, cache_directory, compile_child,
    inspect,
};
/// What guests are granted of the world outside.
pub mod grants {
    pub use dpfw_slave::{
        Clocks, Destination, Directory, Grants, GrantsError, Randomness, Rule, Variable, Who,
    };
}
/// What an inspection finds.
pub mod inspection {
    pub use dpfw_slave::{
        Export, Function, Import, Method, Need, Problem, Report, Resident, Want, Warming,
    };
}
pub use embedded::{BuildError, Master, MasterBuilder, Running};
