//! The settings of a slave: its slots, its cache, its limits.
//!
//! Invariant: every limit that is not given is the library's own.

use crate::units::{Size, Span};
use clap::Args;
use dpfw::{Audit, Limits, Slave, SlaveBuilder};
use std::path::PathBuf;
use std::sync::LazyLock;

static DEFAULTS: LazyLock<Limits> = LazyLock::new(Limits::default);

/// A slave's slots and its cache.
#[derive(Args, Debug)]
pub(crate) struct SlotOptions {
    /// How many tasks run at once; as many as there are cores unless told
    #[arg(long, value_name = "N")]
    pub(crate) slots: Option<usize>,
    /// Where compiled modules are kept between runs; `dpfw` in the user's cache directory
    /// unless told. Only a directory of mode 0700 is trusted
    #[arg(long, value_name = "DIR")]
    pub(crate) cache: Option<PathBuf>,
    /// Bytes of compiled modules and images that are kept there; what was not used for longest goes
    /// first
    #[arg(long, value_name = "SIZE", default_value = "4GiB")]
    pub(crate) cache_bytes: Size,
    /// Each task has a sandbox that is made for it, which is slower, as where the kernel has no
    /// PAGEMAP_SCAN; otherwise sandboxes are put back to their beginning and used again
    #[arg(long)]
    pub(crate) no_pagemap_scan: bool,
    /// Compiled modules are not kept
    #[arg(long, conflicts_with = "cache")]
    pub(crate) no_cache: bool,
}

/// A slave's audit log.
#[derive(Args, Debug)]
#[command(next_help_heading = "Audit log")]
pub(crate) struct AuditOptions {
    /// Keeps an audit log: a line of JSON for each connection, module load, grant used and
    /// refusal. The file has mode 0600
    #[arg(long, value_name = "FILE")]
    audit: Option<PathBuf>,
    /// How large the file becomes; a full one is FILE.1, the one before FILE.2
    #[arg(long, value_name = "SIZE", requires = "audit", default_value = "64MiB")]
    #[arg(value_parser = audit_bytes)]
    audit_bytes: Size,
    /// How many full ones are kept
    #[arg(long, value_name = "N", requires = "audit", default_value_t = 8)]
    audit_keep: u32,
}

impl AuditOptions {
    /// The audit log, if there is to be one.
    pub(crate) fn audit(&self) -> Option<Audit> {
        let file = self.audit.as_ref()?;
        let (most_bytes, keep) = (self.audit_bytes.0, self.audit_keep);
        Some(Audit { most_bytes, keep, ..Audit::new(file) })
    }
}

/// What guests and masters may use of a slave.
#[derive(Args, Debug)]
#[command(next_help_heading = "Limits of the slave")]
pub(crate) struct LimitOptions {
    /// Linear memory of a sandbox
    #[arg(long, value_name = "SIZE", default_value_t = Size(DEFAULTS.memory))]
    memory: Size,
    /// Elements of a sandbox's tables
    #[arg(long, value_name = "N", default_value_t = DEFAULTS.table)]
    table: usize,
    /// The wasm stack, 64KiB to 1GiB
    #[arg(long, value_name = "SIZE", default_value_t = Size(DEFAULTS.stack as u64))]
    #[arg(value_parser = stack)]
    stack: Size,
    /// How long a task may run, whatever its caller says
    #[arg(long, value_name = "DURATION", default_value_t = Span(DEFAULTS.time))]
    time: Span,
    /// How often a task's guest may call the host
    #[arg(long, value_name = "N", default_value_t = DEFAULTS.host_calls)]
    host_calls: u64,
    /// Bytes of a result
    #[arg(long, value_name = "SIZE", default_value_t = Size(DEFAULTS.result))]
    result: Size,
    /// Bytes of a task's arguments
    #[arg(long, value_name = "SIZE", default_value_t = Size(DEFAULTS.arguments))]
    arguments: Size,
    /// Bytes of log lines of a task
    #[arg(long, value_name = "SIZE", default_value_t = Size(DEFAULTS.log))]
    log_bytes: Size,
    /// Bytes of a module
    #[arg(long, value_name = "SIZE", default_value_t = Size(DEFAULTS.module))]
    module_size: Size,
    /// Functions of a module
    #[arg(long, value_name = "N", default_value_t = DEFAULTS.functions)]
    functions: u32,
    /// Imports of a module
    #[arg(long, value_name = "N", default_value_t = DEFAULTS.imports)]
    imports: u32,
    /// Exports of a module
    #[arg(long, value_name = "N", default_value_t = DEFAULTS.exports)]
    exports: u32,
    /// Bytes of the names of a module's imports and exports
    #[arg(long, value_name = "SIZE", default_value_t = Size(DEFAULTS.names))]
    names: Size,
    /// Bytes of the section in which a module describes its tasks
    #[arg(long, value_name = "SIZE", default_value_t = Size(DEFAULTS.section))]
    section: Size,
    /// Bytes of the body of one of a module's functions
    #[arg(long, value_name = "SIZE", default_value_t = Size(DEFAULTS.function_size))]
    function_size: Size,
    /// Locals of one of a module's functions
    #[arg(long, value_name = "N", default_value_t = DEFAULTS.locals)]
    locals: u32,
    /// How long loading a module may take, its start and warm-up included
    #[arg(long, value_name = "DURATION", default_value_t = Span(DEFAULTS.compile))]
    compile: Span,
    /// What compiling a module may take where it is confined, beyond the module's own size
    #[arg(long, value_name = "SIZE", default_value_t = Size(DEFAULTS.compile_memory))]
    compile_memory: Size,
    /// Bytes of a module's data segments
    #[arg(long, value_name = "SIZE", default_value_t = Size(DEFAULTS.data))]
    data: Size,
    /// How long a module's start and warm-up may take
    #[arg(long, value_name = "DURATION", default_value_t = Span(DEFAULTS.warm))]
    warm: Span,
    /// How long an init may run, which is what an image is made by
    #[arg(long, value_name = "DURATION", default_value_t = Span(DEFAULTS.image_time))]
    image_time: Span,
    /// Bytes of memory that an image may have; its tasks may have that of `--memory` beyond it
    #[arg(long, value_name = "SIZE", default_value_t = Size(DEFAULTS.image_memory))]
    image_memory: Size,
    /// Bytes that making images takes together, three times the memory of each; more wait
    #[arg(long, value_name = "SIZE", default_value_t = Size(DEFAULTS.image_building))]
    image_building: Size,
    /// Bytes of the keyed store
    #[arg(long, value_name = "SIZE", default_value_t = Size(DEFAULTS.store_bytes))]
    store_bytes: Size,
    /// Bytes of the keyed store that one master may have of entries that may not be evicted: all
    /// unless told
    #[arg(long, value_name = "SIZE")]
    store_share: Option<Size>,
    /// Entries of the keyed store
    #[arg(long, value_name = "N", default_value_t = DEFAULTS.store_entries)]
    store_entries: u64,
    /// Attempts that wait for a slot
    #[arg(long, value_name = "N", default_value_t = DEFAULTS.queued)]
    queued: usize,
    /// Attempts, calls and requests of one master that are not over, in all of its sessions
    #[arg(long, value_name = "N", default_value_t = DEFAULTS.attempts)]
    attempts: usize,
    /// Bytes of results and values that may wait for one master, in equal parts for its sessions
    #[arg(long, value_name = "SIZE", default_value_t = Size(DEFAULTS.unsent as u64))]
    unsent: Size,
    /// Sandboxes that may wait without a slot, at once: of programs, and of tasks that wait
    #[arg(long, value_name = "N", default_value_t = DEFAULTS.sandboxes)]
    sandboxes: usize,
    /// Residents at once; fewer where the system has not the mappings (vm.max_map_count)
    #[arg(long, value_name = "N", default_value_t = DEFAULTS.residents)]
    residents: usize,
    /// Watches of the keyed store at once
    #[arg(long, value_name = "N", default_value_t = DEFAULTS.watches)]
    watches: usize,
    /// Modules in memory at once
    #[arg(long, value_name = "N", default_value_t = DEFAULTS.modules)]
    modules: usize,
    /// Links at once
    #[arg(long, value_name = "N", default_value_t = DEFAULTS.links)]
    links: usize,
}

impl LimitOptions {
    /// The limits of a slave with these options.
    pub(crate) fn limits(&self) -> Limits {
        let mut limits = *DEFAULTS;
        limits.memory = self.memory.0;
        limits.table = self.table;
        // `stack` has seen to it that it fits.
        limits.stack = usize::try_from(self.stack.0).unwrap_or(usize::MAX);
        limits.time = self.time.0;
        limits.host_calls = self.host_calls;
        limits.result = self.result.0;
        limits.arguments = self.arguments.0;
        limits.log = self.log_bytes.0;
        limits.module = self.module_size.0;
        limits.functions = self.functions;
        limits.imports = self.imports;
        limits.exports = self.exports;
        limits.names = self.names.0;
        limits.section = self.section.0;
        limits.function_size = self.function_size.0;
        limits.locals = self.locals;
        limits.compile = self.compile.0;
        limits.compile_memory = self.compile_memory.0;
        limits.data = self.data.0;
        limits.warm = self.warm.0;
        limits.image_time = self.image_time.0;
        limits.image_memory = self.image_memory.0;
        limits.image_building = self.image_building.0;
        limits.store_bytes = self.store_bytes.0;
        limits.store_share = self.store_share.map_or(limits.store_share, |share| share.0);
        limits.store_entries = self.store_entries;
        limits.queued = self.queued;
        limits.attempts = self.attempts;
        limits.unsent = usize::try_from(self.unsent.0).unwrap_or(usize::MAX);
        limits.sandboxes = self.sandboxes;
        limits.residents = self.residents;
        limits.watches = self.watches;
        limits.modules = self.modules;
        limits.links = self.links;
        limits
    }
}

/// A file of an audit log that holds a few hundred lines at least, so that the last of them are there.
fn audit_bytes(text: &str) -> Result<Size, String> {
    let size: Size = text.parse()?;
    match (64 << 10..=1 << 40).contains(&size.0) {
        true => Ok(size),
        false => Err("it has to be 64KiB to 1TiB".into()),
    }
}

/// A stack that every slot's thread can have: on less no guest starts.
fn stack(text: &str) -> Result<Size, String> {
    let size: Size = text.parse()?;
    match (64 << 10..=1 << 30).contains(&size.0) {
        true => Ok(size),
        false => Err("it has to be 64KiB to 1GiB".into()),
    }
}

/// A slave with these settings.
pub(crate) fn slave(slots: &SlotOptions, limits: &LimitOptions) -> SlaveBuilder {
    let mut builder = Slave::builder().limits(limits.limits()).cache_bytes(slots.cache_bytes.0);
    if let Some(slots) = slots.slots {
        builder = builder.slots(slots);
    }
    if let Some(directory) = &slots.cache {
        builder = builder.cache(directory);
    }
    if slots.no_pagemap_scan {
        builder = builder.pagemap_scan(false);
    }
    if slots.no_cache {
        builder = builder.no_cache();
    }
    builder
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Command {
        #[command(flatten)]
        limits: LimitOptions,
        #[command(flatten)]
        audit: AuditOptions,
    }

    #[test]
    fn an_audit_log_of_nothing_is_refused() {
        let of =
            |bytes: &str| Command::try_parse_from(["x", "--audit", "a", "--audit-bytes", bytes]);
        for silly in ["0", "1", "65535", "2TiB"] {
            let error = of(silly).err().expect(silly).to_string();
            assert!(error.contains("64KiB to 1TiB"), "{error}");
        }
        let audit = of("64KiB").ok().and_then(|command| command.audit.audit()).expect("allowed");
        assert_eq!(audit.most_bytes, 64 << 10);
    }

    #[test]
    fn without_options_the_limits_are_the_librarys() {
        let command = Command::parse_from(["x"]);
        assert_eq!(command.limits.limits(), Limits::default());
        let command = Command::parse_from(["x", "--memory", "1GiB", "--time", "5s"]);
        let limits = command.limits.limits();
        assert_eq!((limits.memory, limits.time.as_secs()), (1 << 30, 5));
    }
}
