//! The whole wasmtime configuration, with a reason for each line.
//!
//! Invariant: all engines of a process have one configuration, so that a module compiled
//! once can be mapped into each of them. A slot has an engine of its own: on a shared one
//! the pool's locks and reference counts move between cores, which costs more than half
//! of the speed.

use crate::limits::Limits;
use crate::{scarce, swap};
use dpfw_protocol::error::Cause;
use wasmtime::{
    Config, Enabled, Engine, InstanceAllocationStrategy, OptLevel, PoolingAllocationConfig,
    WasmBacktraceDetails,
};

/// Sandboxes that an engine's pool holds: the one that runs, the one that is being cleared
/// up, those whose results are being sent, and room for those that will wait.
pub(crate) const POOLED: u32 = 16;

/// Bytes of a memory that stay resident from task to task and are reset page by page.
/// Above it the kernel drops the pages, which costs a fault for each when next touched.
const RESIDENT_SCANNED: usize = 8 << 20;

/// The same where pages cannot be scanned: these bytes are written over after each task,
/// touched or not, so it has to be little.
const RESIDENT_BLIND: usize = 64 << 10;

/// Whether `PAGEMAP_SCAN` finds the pages that a task has written to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Scan {
    /// Where it is safe and the kernel has it.
    #[default]
    WherePossible,
    /// What is not known to be untouched is written over or dropped.
    Never,
}

/// Makes engines of one configuration.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Engines {
    limits: Limits,
    scan: bool,
}

impl Engines {
    /// Finds out what this machine can do, and says once what it cannot. Where there is no
    /// engine at all, whoever makes the first one is told why.
    pub(crate) fn new(limits: Limits, scan: Scan) -> Self {
        let mut engines = Self { limits, scan: false };
        if scan == Scan::Never {
            return engines;
        }
        match swap::can_swap() {
            Some(why) => tracing::warn!(
                why,
                "sandboxes are reset more slowly: PAGEMAP_SCAN does not see pages that were \
                 swapped out (give this process's group a swap limit of zero to have it)"
            ),
            None => engines.try_scan(),
        }
        engines
    }

    /// Has pages scanned, unless there is an engine only without it.
    fn try_scan(&mut self) {
        self.scan = true;
        let Err(error) = Engine::new(&self.config(Allocation::Pooled(POOLED))) else {
            return;
        };
        self.scan = false;
        if Engine::new(&self.config(Allocation::Pooled(POOLED))).is_ok() {
            tracing::warn!(
                %error,
                "sandboxes are reset more slowly: this kernel has no PAGEMAP_SCAN \
                 (Linux 6.7 has it)"
            );
        }
    }

    /// Names the configuration, the compiler and what modules are held against when they are
    /// loaded: code compiled under another name is not for these engines, or was never held
    /// against these limits.
    pub(crate) fn fingerprint(&self) -> Result<u64, Cause> {
        use std::hash::{DefaultHasher, Hash, Hasher};
        let mut hasher = DefaultHasher::new();
        self.pooled()?.precompile_compatibility_hash().hash(&mut hasher);
        // What is warmed, and how, is this crate's own.
        env!("CARGO_PKG_VERSION").hash(&mut hasher);
        let Limits { memory, table, stack, module, .. } = self.limits;
        (memory, table, stack, module).hash(&mut hasher);
        let Limits { functions, function_size, locals, data, warm, .. } = self.limits;
        (functions, function_size, locals, data, warm).hash(&mut hasher);
        self.limits.image_memory.hash(&mut hasher);
        Ok(hasher.finish())
    }

    /// An engine for one slot, with its pool.
    pub(crate) fn pooled(&self) -> Result<Engine, Cause> {
        self.engine(Allocation::Pooled(POOLED))
    }

    /// An engine that compiles images. They are laid out densely whatever there is in them, so
    /// that they are mapped, and never copied.
    pub(crate) fn of_images(&self) -> Result<Engine, Cause> {
        let mut config = self.config(Allocation::OnDemand);
        config.memory_guaranteed_dense_image_size(self.limits.image_memory);
        make(&config)
    }

    /// The engine of those who wait, which all slots share, with a pool for as many as there
    /// may be.
    pub(crate) fn waiting(&self) -> Result<Engine, Cause> {
        let most = u32::try_from(self.limits.sandboxes).unwrap_or(u32::MAX);
        self.engine(Allocation::Pooled(most))
    }

    /// An engine of residents, with a pool for so many. If their calls may wait, as many may at
    /// once as there may be sandboxes that wait.
    pub(crate) fn residents(&self, most: u32, waits: bool) -> Result<Engine, Cause> {
        let sandboxes = u32::try_from(self.limits.sandboxes).unwrap_or(u32::MAX);
        let waiting = if waits { sandboxes } else { 1 };
        self.engine(Allocation::Lasting { most, waiting })
    }

    /// An engine for modules that do not fit a pool.
    pub(crate) fn on_demand(&self) -> Result<Engine, Cause> {
        self.engine(Allocation::OnDemand)
    }

    /// An engine for warming: its code runs once, so it is compiled quickly.
    pub(crate) fn warming(&self) -> Result<Engine, Cause> {
        let mut config = self.config(Allocation::OnDemand);
        config.cranelift_opt_level(OptLevel::None);
        make(&config)
    }

    fn engine(&self, allocation: Allocation) -> Result<Engine, Cause> {
        make(&self.config(allocation))
    }

    fn config(&self, allocation: Allocation) -> Config {
        let mut config = Config::new();
        // Interruption costs a load and a branch at loops and calls; fuel would cost more.
        config.epoch_interruption(true);
        config.max_wasm_stack(self.limits.stack);
        // Fibers, for host calls that wait; their stacks come from the pool.
        config.async_stack_size(self.limits.stack.saturating_add(HOST_STACK));
        config.cranelift_opt_level(OptLevel::Speed);
        // 4 GiB of address space for each memory: no bounds check is ever compiled, and a
        // memory never moves.
        config.memory_reservation(4 << 30);
        config.memory_guard_size(2 << 30);
        config.memory_init_cow(true);
        // Images of up to a whole memory are mapped, dense or not.
        config.memory_guaranteed_dense_image_size(16 << 20);
        // Frames of a backtrace; nothing else needs to unwind guests.
        config.wasm_backtrace_max_frames(std::num::NonZeroUsize::new(
            dpfw_protocol::limits::MAX_BACKTRACE,
        ));
        config.native_unwind_info(false);
        // Debug information is not read here, whatever the environment says: a guest could
        // bring some that takes minutes. Whoever has the module reads it; see `sandbox::trap`.
        config.wasm_backtrace_details(WasmBacktraceDetails::Disable);
        // What no guest of ours needs is code that nobody should be able to reach.
        config.wasm_memory64(false);
        config.wasm_multi_memory(true);
        config.wasm_relaxed_simd(false);
        config.wasm_wide_arithmetic(false);
        config.wasm_custom_page_sizes(false);
        config.wasm_tail_call(true);
        config.wasm_simd(true);
        match allocation {
            Allocation::OnDemand => {
                config.allocation_strategy(InstanceAllocationStrategy::OnDemand)
            }
            Allocation::Pooled(most) => {
                config.allocation_strategy(InstanceAllocationStrategy::Pooling(self.pool(most)))
            }
            Allocation::Lasting { most, waiting } => {
                let mut pool = self.pool(most);
                pool.total_stacks(waiting);
                // Whoever ends leaves nothing behind that stays resident: its place may be
                // needed by nobody for long.
                pool.linear_memory_keep_resident(0);
                pool.table_keep_resident(0);
                config.allocation_strategy(InstanceAllocationStrategy::Pooling(pool))
            }
        };
        config
    }

    fn pool(&self, most: u32) -> PoolingAllocationConfig {
        let mut pool = PoolingAllocationConfig::default();
        pool.total_core_instances(most);
        pool.total_memories(most);
        pool.total_tables(most);
        pool.total_stacks(most);
        pool.max_memories_per_module(1);
        pool.max_tables_per_module(1);
        pool.table_elements(self.limits.table);
        // What an instance is described by is allocated for it alone; no module that was loaded
        // has more, whatever it imports and defines.
        pool.max_core_instance_size(64 << 20);
        pool.max_memory_size(4 << 30);
        // The slot's one running sandbox and its successor stay warm.
        pool.max_unused_warm_slots(2);
        pool.pagemap_scan(if self.scan { Enabled::Yes } else { Enabled::No });
        let resident = if self.scan { RESIDENT_SCANNED } else { RESIDENT_BLIND };
        pool.linear_memory_keep_resident(resident);
        pool.table_keep_resident(if self.scan { 1 << 20 } else { 4096 });
        pool
    }
}

fn make(config: &Config) -> Result<Engine, Cause> {
    Engine::new(config).map_err(|error| scarce::cause("no wasm engine", &error))
}

/// Stack for the host's own frames above a guest's.
pub(crate) const HOST_STACK: usize = 512 << 10;

#[derive(Clone, Copy)]
enum Allocation {
    /// For so many sandboxes at once.
    Pooled(u32),
    /// For so many that stay, of which so many may be on a stack of their own at once.
    Lasting {
        most: u32,
        waiting: u32,
    },
    OnDemand,
}

/// Whether a module's memories and tables fit the pools.
pub(crate) fn fits_pool(memories: u32, tables: u32, table_elements: u64, limits: &Limits) -> bool {
    memories <= 1 && tables <= 1 && table_elements <= limits.table as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_there_is_no_engine_whoever_makes_one_is_told() {
        for stack in [1 << 62, usize::MAX] {
            let engines = Engines::new(Limits { stack, ..Limits::default() }, Scan::default());
            let error = engines.fingerprint().expect_err("no such stack");
            assert!(matches!(&error, Cause::Internal { .. }), "{error}");
        }
    }
}
