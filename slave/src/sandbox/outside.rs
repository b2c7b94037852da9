//! What one sandbox has of the world outside, and how that stands.
//!
//! Owns: its clock, its randomness, its connections; what it has used already. Does not: decide what
//! it was granted; its directories are in `files`. Invariant: a sandbox that was granted nothing has none of
//! this.

use super::connections::Connections;
use crate::grants::{Clock, Grant, Seeded};
use std::sync::Arc;

/// See the module's page.
#[derive(Debug)]
pub(crate) struct Outside {
    pub(crate) grant: Arc<Grant>,
    clock: Option<Clock>,
    seeded: Option<Seeded>,
    pub(crate) connections: Connections,
    told: Told,
}

/// What was told to be used.
#[derive(Debug, Default)]
struct Told {
    environment: bool,
    directories: bool,
    /// By what the guest called them; each is granted, so there are no more than it may have.
    connections: Vec<String>,
}

impl Outside {
    /// As it is in the beginning.
    pub(super) fn new(grant: &Arc<Grant>) -> Self {
        Self {
            clock: grant.clock.as_ref().map(Clock::afresh),
            seeded: grant.seed.map(Seeded::of),
            connections: Connections::new(&grant.connections),
            told: Told::default(),
            grant: Arc::clone(grant),
        }
    }

    /// The fixed clock, if it is fixed.
    pub(super) fn clock(&self) -> Option<&Clock> {
        self.clock.as_ref()
    }

    /// The randomness that follows from a number, if it does.
    pub(super) fn seeded(&mut self) -> Option<&mut Seeded> {
        self.seeded.as_mut()
    }

    /// Whether it is the first time that it uses its environment.
    pub(super) fn is_first_environment(&mut self) -> bool {
        !std::mem::replace(&mut self.told.environment, true)
    }

    /// Whether it is the first time that it uses its directories.
    pub(super) fn is_first_directory(&mut self) -> bool {
        !std::mem::replace(&mut self.told.directories, true)
    }

    /// Whether it is the first time that it connects there. Where there are many, further ones are
    /// told each time.
    pub(super) fn is_first_connection(&mut self, there: &str) -> bool {
        let told = &mut self.told.connections;
        let is_first = !told.iter().any(|one| one == there);
        if is_first && told.len() < MOST_TOLD {
            told.push(there.to_owned());
        }
        is_first
    }
}

/// Destinations of a sandbox that are remembered: `HOST:*` covers 65,535.
const MOST_TOLD: usize = 64;
