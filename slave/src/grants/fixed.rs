//! Clocks and randomness that are the same in each sandbox.
//!
//! Invariant: what a guest reads here follows from what was fixed and from how often it has read,
//! and from nothing of the machine.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use wasmtime_wasi::{HostMonotonicClock, HostWallClock};

/// A fixed time, which goes on by a step whenever it is read.
#[derive(Clone, Debug)]
pub(crate) struct Clock {
    /// Since 1970.
    start: Duration,
    /// How often it was read. One count for both clocks, so that they go on together.
    read: Arc<AtomicU64>,
}

/// By how much it goes on.
const STEP: u64 = 1_000;

impl Clock {
    /// One that begins so many seconds after 1970.
    pub(super) fn at(seconds: u64) -> Self {
        Self { start: Duration::from_secs(seconds), read: Arc::default() }
    }

    /// The same time, of another sandbox.
    pub(crate) fn afresh(&self) -> Self {
        Self { start: self.start, read: Arc::default() }
    }

    /// Nanoseconds since the sandbox began.
    pub(crate) fn monotonic(&self) -> u64 {
        self.read.fetch_add(1, Ordering::Relaxed).saturating_mul(STEP)
    }

    /// The time since 1970.
    pub(crate) fn wall(&self) -> Duration {
        self.start.saturating_add(Duration::from_nanos(self.monotonic()))
    }
}

impl HostWallClock for Clock {
    fn resolution(&self) -> Duration {
        Duration::from_nanos(STEP)
    }

    fn now(&self) -> Duration {
        self.wall()
    }
}

impl HostMonotonicClock for Clock {
    fn resolution(&self) -> u64 {
        STEP
    }

    fn now(&self) -> u64 {
        self.monotonic()
    }
}

/// Bytes that follow from a number.
pub(crate) struct Seeded(blake3::OutputReader);

/// Keeps these bytes apart from all others.
const CONTEXT: &str = "dpfw 2026 randomness of a guest: seed";

impl Seeded {
    /// All that follows from this number.
    pub(crate) fn of(seed: u64) -> Self {
        let mut hasher = blake3::Hasher::new_derive_key(CONTEXT);
        hasher.update(&seed.to_le_bytes());
        Self(hasher.finalize_xof())
    }

    /// The next bytes.
    pub(crate) fn fill(&mut self, bytes: &mut [u8]) {
        self.0.fill(bytes);
    }
}

impl std::fmt::Debug for Seeded {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Seeded")
    }
}
