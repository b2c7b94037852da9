//! Executes dpfw's tasks.
//!
//! Owns: links to masters, slots, sandboxes, modules, the keyed store. Does not: decide
//! which task runs where, or try anything again; a slave does what it is told, within its
//! operator's limits.
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use dpfw_slave::Slave;
//!
//! let slave = Slave::builder().slots(2).build()?;
//! let address = slave.listen("127.0.0.1:0").await?;
//! println!("listening on {address}");
//! slave.drain(std::time::Duration::from_secs(30)).await;
//! # Ok(())
//! # }
//! ```

mod audit;
mod builder;
mod claims;
mod core;
mod describe;
mod drain;
mod engine;
mod fiber;
#[doc(hidden)]
pub mod fuzzing;
mod grants;
mod helm;
mod inspect;
mod job;
mod kept;
mod limits;
mod local;
mod module;
mod pacer;
mod principals;
mod private;
mod program;
mod queue;
mod raw;
mod reader;
mod relief;
mod residents;
mod sandbox;
mod scarce;
mod seldom;
mod session;
mod shares;
mod slave;
mod slot;
mod standing;
mod store;
mod watch;
mod watches;

pub use audit::{Audit, AuditError};
pub use builder::{Builder, StartError, cache_directory};
pub use dpfw_link::address::AddressError;
pub use dpfw_link::dial::{Dial, DialError};
pub use dpfw_link::listen::ListenError;
pub use dpfw_link::security;
pub use dpfw_link::{LinkError, Stream};
pub use dpfw_protocol::ids::{ModuleHash, PeerId};
pub use drain::{Drained, Unfinished};
pub use grants::{
    Clocks, Destination, Directory, Grants, GrantsError, Randomness, Rule, Variable, Who,
};
pub use inspect::{
    Depth, Export, Function, Import, Method, Need, Problem, Report, Resident, Want, Warming,
    inspect,
};
pub use limits::{Limits, LimitsError};
pub use local::{Local, LocalResident, LocalTask};
pub use module::confine::Confine;
pub use module::confine::child::compile_child;
pub use module::facts::{Facts, Kind};
pub use slave::Slave;
pub use store::DirectoryError;
