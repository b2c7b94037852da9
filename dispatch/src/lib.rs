//! The master's policy: who runs what, when, how often, and what happens when a slave
//! goes.
//!
//! Owns: the queue of tasks, what is out at which slave, what slaves have measured,
//! reservations, suspicion. Does not: send, read clocks, hold arguments or results, or
//! know what a task does. [`Core::handle`] takes an [`Event`] and the time, and appends
//! [`Effect`]s for the driver to carry out, in order.
//!
//! Invariants, which [`Core::check_invariants`] checks: an unresolved task is in exactly
//! one queue or in one attempt at one slave, or, if it is free of effects, in two at two
//! slaves; every task resolves once; at most one result is accepted for it; nothing is sent
//! to a slave that drains, is taken, or runs a suspect.
//!
//! A slave is a session here: one that reconnects has a new [`SlaveId`], so that what
//! belongs to the old session is recognised as stale.

#![forbid(unsafe_code)]

#[macro_use]
mod mutation;

mod alarm;
#[cfg(any(test, feature = "audit"))]
pub mod audit;
mod check;
pub mod chunk;
mod config;
mod core;
mod cost;
mod effect;
mod ends;
mod event;
pub mod hash;
mod hedge;
mod keys;
mod lanes;
mod loading;
mod lost;
mod pair;
mod place;
mod recall;
mod reconcile;
mod reserve;
mod slave;
mod slaves;
mod stats;
mod suspect;
mod task;
mod time;

#[cfg(test)]
mod simulation;
#[cfg(test)]
mod testing;

pub use crate::config::Config;
pub use crate::core::Core;
pub use crate::effect::{Again, Effect, Outcome, ReserveError};
pub use crate::event::{
    End, Event, KeyId, KindId, Loss, Placement, ReservationId, SlaveId, TaskId, TaskSpec, Wait,
};
pub use crate::stats::Stats;
pub use crate::time::Time;
