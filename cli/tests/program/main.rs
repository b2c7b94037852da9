//! The program as a process: what it prints, how it ends, what it does on signals.
//!
//! Every test runs the built binary, on port 0 and with a cache of the tests' own, and
//! waits for what it prints, never for time.

#![forbid(unsafe_code)]

mod certs;
mod each;
mod exec;
mod forms;
mod grants;
mod image;
mod inspect;
mod kit;
mod map;
mod network;
mod new;
mod programs;
mod resident;
mod run;
mod security;
mod slave;
mod store;
mod watch;
