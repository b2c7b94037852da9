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
mod helm;
mod inspect;
mod job;
mod kept;
mod limits;
mod local;
mod module;
mod pacer;
mod program;
mod queue;
mod raw;
mod reader;
mod relief;
mod residents;
mod sandbox;
mod scarce;
mod session;
mod slave;
mod slot;
mod store;
mod swap;
mod watch;
mod watches;

pub use audit::{Audit, AuditError};
pub use builder::{Builder, StartError, cache_directory};
pub use dpfw_link::address::{AddressError, Network};
pub use dpfw_link::dial::{Dial, DialError};
pub use dpfw_link::listen::ListenError;
pub use dpfw_link::{LinkError, Stream};
pub use drain::{Drained, Unfinished};
pub use inspect::{
    Depth, Function, Import, Method, Need, Problem, Report, Resident, Warming, inspect,
};
pub use limits::{Limits, LimitsError};
pub use local::{Local, LocalResident, LocalTask};
pub use module::facts::{Facts, Kind};
pub use slave::Slave;
pub use store::DirectoryError;
