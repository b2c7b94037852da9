//! How a slave is, for people and programs that watch it.
//!
//! Owns: what is read of the machine and of this process for it. Invariant: what the
//! system does not tell is 0; a master that asks never fails the slave.

use crate::core::Core;
use crate::session::Session;
use dpfw_protocol::message::{Description, Status};
use std::sync::Arc;

/// The program and its version, in the hello and in descriptions.
pub(crate) const AGENT: &str = concat!("dpfw ", env!("CARGO_PKG_VERSION"));

impl Core {
    /// How the slave is, as a session sees it.
    pub(crate) fn describe(&self, session: &Arc<Session>) -> Description {
        let Status { slots, running, waiting, sandboxes, queued, .. } = self.status(session);
        let (store_entries, store_bytes) = self.store.size();
        Description {
            slots,
            running,
            waiting,
            queued,
            sandboxes,
            load_milli: load_milli(),
            memory: resident_bytes(),
            store_bytes,
            store_entries,
            store_evicted: self.store.evicted(),
            residents: u32::try_from(self.residents.len()).unwrap_or(u32::MAX),
            modules: u32::try_from(self.loaded()).unwrap_or(u32::MAX),
            links: u32::try_from(self.linked().len()).unwrap_or(u32::MAX),
            uptime_s: self.started.elapsed().as_secs(),
            agent: AGENT.into(),
            draining: self.is_draining(),
            disk: self.store.disk(),
        }
    }
}

/// The machine's load average over the last minute, in thousandths.
fn load_milli() -> u32 {
    // In 65536ths; see sysinfo(2).
    let load = u128::from(rustix::system::sysinfo().loads[0]);
    u32::try_from((load * 1000) >> 16).unwrap_or(u32::MAX)
}

/// Bytes of memory that this process has resident: the second number of `statm`, in pages.
fn resident_bytes() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages = statm.split_whitespace().nth(1).and_then(|pages| pages.parse::<u64>().ok());
    pages.unwrap_or(0).saturating_mul(rustix::param::page_size() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_system_is_asked_in_its_own_units() {
        // More than a page for each page counted, less than the machine has.
        let resident = resident_bytes();
        assert!((1 << 20..1 << 40).contains(&resident), "{resident} bytes");
        assert!(load_milli() < 10_000_000);
    }
}
