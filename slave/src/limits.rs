//! What a slave's operator allows.

use dpfw_protocol::limits::{MAX_MODULE, MAX_PAYLOAD};
use std::time::Duration;

/// Limits of a slave, each with a name that its error carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// `memory`: linear memory of a sandbox in bytes, of all its memories together.
    pub memory: u64,
    /// `table`: elements of a sandbox's tables, of all of them together.
    pub table: usize,
    /// The wasm stack in bytes; a guest that exceeds it traps with "stack overflow".
    pub stack: usize,
    /// `time`: how long a task may run, whatever deadline its caller set.
    pub time: Duration,
    /// `result`: bytes of a result.
    pub result: u64,
    /// `arguments`: bytes of a task's arguments.
    pub arguments: u64,
    /// `log bytes`: bytes of log lines of a task. The line that exceeds them says so in its
    /// place, and the rest is dropped.
    pub log: u64,
    /// `module size`: bytes of a module.
    pub module: u64,
    /// `functions`: functions that a module defines.
    pub functions: u32,
    /// `data segments`: bytes of all data segments of a module.
    pub data: u64,
    /// How long a module's start and warm-up may take.
    pub warm: Duration,
    /// `quota`: bytes of the keyed store.
    pub store_bytes: u64,
    /// `entries of the store`: entries of the keyed store.
    pub store_entries: u64,
    /// Attempts that wait for a slot, of all sessions together.
    pub queued: usize,
    /// Modules in memory at once.
    pub modules: usize,
    /// Links at once.
    pub links: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            // Enough for most work, and a machine of 1 GiB survives a few at once.
            memory: 512 << 20,
            // A C# debug build has more than 10,000 elements; wasmtime's own default.
            table: 20_000,
            // wasmtime's own default is 512 KiB; deep parsers need more.
            stack: 1 << 20,
            time: Duration::from_secs(3600),
            result: MAX_PAYLOAD,
            arguments: MAX_PAYLOAD,
            log: 64 * 1024,
            module: MAX_MODULE,
            // Debug builds of large programs have about 50,000.
            functions: 100_000,
            // Embedded files and tables reach tens of MiB. Each segment is in the module, in
            // its compiled code, and, when it is copied, in the image of every sandbox.
            data: MAX_MODULE / 2,
            warm: Duration::from_secs(5),
            store_bytes: 1 << 30,
            store_entries: 1_000_000,
            queued: 64 * 1024,
            modules: 1024,
            links: 1024,
        }
    }
}
