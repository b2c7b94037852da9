//! The whole wasmtime configuration, with a reason for each line.
//!
//! Invariant: all engines of a process have one configuration, so that a module compiled
//! once can be mapped into each of them. A slot has an engine of its own: on a shared one
//! the pool's locks and reference counts move between cores, which costs more than half
//! of the speed.

use crate::limits::Limits;
use crate::raw::pages::Pages;
use crate::scarce;
use dpfw_protocol::error::Cause;
use wasmtime::{
    Config, Enabled, Engine, InstanceAllocationStrategy, OptLevel, PoolingAllocationConfig,
    ProfilingStrategy, Strategy, WasmBacktraceDetails, WasmFeatures,
};

/// How many instances the pools of a slave's engines hold.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pools {
    /// Sandboxes of a slot: the one that runs, those that wait to be used again, those whose
    /// results are being sent, and room for those that will wait.
    pub(crate) slot: u32,
    /// Residents of a pool, of which there are as many as it takes.
    pub(crate) residents: u32,
}

impl Pools {
    /// Of a slave.
    pub(crate) const SLAVE: Self = Self { slot: 16, residents: 1024 };
    /// Of who runs one module, one task or resident at a time: for what watches a process, and
    /// gives it few addresses.
    pub(crate) const ALONE: Self = Self { slot: 4, residents: 1 };
}

/// Whether sandboxes are put back by what `PAGEMAP_SCAN` says of their pages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Scan {
    /// Where the kernel has it.
    #[default]
    WherePossible,
    /// Each is made for its task, and thrown away.
    Never,
}

/// Makes engines of one configuration.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Engines {
    limits: Limits,
    scan: bool,
    pools: Pools,
}

impl Engines {
    /// Finds out what this machine can do, and says once what it cannot.
    pub(crate) fn new(limits: Limits, scan: Scan) -> Self {
        Self::with_pools(limits, scan, Pools::SLAVE)
    }

    /// The same, with other pools.
    pub(crate) fn with_pools(limits: Limits, scan: Scan, pools: Pools) -> Self {
        let scan = scan == Scan::WherePossible;
        if scan && Pages::of_process().is_none() {
            tracing::warn!(
                "sandboxes are made anew for each task, which is slower: this kernel has no \
                 PAGEMAP_SCAN (Linux 6.7 has it), or does not let this process read its pagemap"
            );
        }
        Self { limits, scan, pools }
    }

    /// What is known of pages, if sandboxes are put back.
    pub(crate) fn pages(&self) -> Option<&'static Pages> {
        Pages::of_process().filter(|_| self.scan)
    }

    /// Names the configuration, the compiler and what modules are held against when they are
    /// loaded: code compiled under another name is not for these engines, or was never held
    /// against these limits.
    pub(crate) fn fingerprint(&self) -> Result<u64, Cause> {
        Ok(self.fingerprint_with(&self.pooled()?))
    }

    /// The same, of who compiles and runs nothing, and so needs no pool.
    pub(crate) fn fingerprint_of_compiler(&self) -> Result<u64, Cause> {
        Ok(self.fingerprint_with(&self.on_demand()?))
    }

    fn fingerprint_with(&self, engine: &Engine) -> u64 {
        use std::hash::{DefaultHasher, Hash, Hasher};
        let mut hasher = DefaultHasher::new();
        engine.precompile_compatibility_hash().hash(&mut hasher);
        // What is warmed, and how, is this crate's own.
        env!("CARGO_PKG_VERSION").hash(&mut hasher);
        let Limits { memory, table, stack, module, .. } = self.limits;
        (memory, table, stack, module).hash(&mut hasher);
        let Limits { functions, function_size, locals, data, warm, .. } = self.limits;
        (functions, function_size, locals, data, warm).hash(&mut hasher);
        let Limits { imports, exports, names, section, .. } = self.limits;
        (imports, exports, names, section).hash(&mut hasher);
        self.limits.image_memory.hash(&mut hasher);
        hasher.finish()
    }

    /// An engine for one slot, with its pool.
    pub(crate) fn pooled(&self) -> Result<Engine, Cause> {
        self.engine(Allocation::Pooled(self.pools.slot))
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

    /// An engine of residents, with a pool, and for how many. If their calls may wait, as many may
    /// at once as there may be sandboxes that wait.
    pub(crate) fn residents(&self, waits: bool) -> Result<(Engine, u32), Cause> {
        let most = self.pools.residents;
        let sandboxes = u32::try_from(self.limits.sandboxes).unwrap_or(u32::MAX);
        let waiting = if waits { sandboxes } else { 1 };
        Ok((self.engine(Allocation::Lasting { most, waiting })?, most))
    }

    /// An engine for modules that do not fit a pool.
    pub(crate) fn on_demand(&self) -> Result<Engine, Cause> {
        self.engine(Allocation::OnDemand)
    }

    /// An engine for warming: its code runs once, so it is compiled quickly.
    pub(crate) fn warming(&self) -> Result<Engine, Cause> {
        let mut config = self.config(Allocation::OnDemand);
        config.cranelift_opt_level(OptLevel::None);
        // It has one instance. To copy its data once is cheaper than a file of memory, and
        // whoever compiles in a process of its own may write none.
        config.memory_init_cow(false);
        make(&config)
    }

    fn engine(&self, allocation: Allocation) -> Result<Engine, Cause> {
        make(&self.config(allocation))
    }

    /// The configuration of all engines; they differ in where they put what they run, and in
    /// what `of_images` and `warming` say.
    fn config(&self, allocation: Allocation) -> Config {
        let mut config = Config::new();
        features(&mut config);
        self.compiled_code(&mut config);
        self.memories_and_stacks(&mut config);
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
                pool.table_keep_resident(0);
                config.allocation_strategy(InstanceAllocationStrategy::Pooling(pool))
            }
        };
        config
    }

    /// How code is compiled, and what of it is kept beside it.
    fn compiled_code(&self, config: &mut Config) {
        // Nothing else is built in: no interpreter, no baseline compiler.
        config.strategy(Strategy::Cranelift);
        // A module is compiled once and runs many times.
        config.cranelift_opt_level(OptLevel::Speed);
        // Its checks are for those who change Cranelift; they double the time.
        config.cranelift_debug_verifier(false);
        // The bits of a NaN may differ from one processor to another; making them the same would
        // slow down all arithmetic on floats.
        config.cranelift_nan_canonicalization(false);
        // On the threads that `compile` gives it.
        config.parallel_compilation(true);
        // Interruption costs a load and a branch at loops and calls; fuel would cost more.
        config.epoch_interruption(true);
        config.consume_fuel(false);
        // A fault is a trap, and costs nothing until it comes; checks in the code would.
        config.signals_based_traps(true);
        // Frames of a backtrace, with the places in the wasm that the map of addresses has;
        // nothing else needs to unwind guests.
        config.wasm_backtrace_max_frames(std::num::NonZeroUsize::new(
            dpfw_protocol::limits::MAX_BACKTRACE,
        ));
        config.generate_address_map(true);
        config.native_unwind_info(false);
        // Debug information is not read here, whatever the environment says: a guest could
        // bring some that takes minutes. Whoever has the module reads it; see `sandbox::trap`.
        config.debug_info(false);
        config.wasm_backtrace_details(WasmBacktraceDetails::Disable);
        // No profiler is told of guests' code, whatever the environment says.
        config.profiler(ProfilingStrategy::None);
    }

    /// What an instance has around it.
    fn memories_and_stacks(&self, config: &mut Config) {
        // On its slot's thread, which has `HOST_STACK` more and Rust's own.
        config.max_wasm_stack(self.limits.stack);
        // Fibers, for host calls that wait; their stacks come from the pool. What the host has
        // is the same as on a thread.
        config.async_stack_size(self.limits.stack.saturating_add(HOST_STACK));
        // Compiled code reads nothing of its stack that it has not written.
        config.async_stack_zeroing(false);
        // 4 GiB of address space for each memory: no bounds check is ever compiled, and a
        // memory never moves.
        config.memory_reservation(4 << 30);
        config.memory_may_move(false);
        // An offset in an instruction reaches 4 GiB beyond an index; from 2 GiB on it is checked.
        config.memory_guard_size(2 << 30);
        // Against a compiler that takes an index for a signed number, as one has.
        config.guard_before_linear_memory(true);
        // What a sandbox begins with is mapped from the compiled file, and a page of it copied when it
        // is written: making one, and putting one back, costs what the guest touches.
        config.memory_init_cow(true);
        // Images of up to a whole memory are mapped, dense or not.
        config.memory_guaranteed_dense_image_size(16 << 20);
        // What a task does not call is not put into its tables either.
        config.table_lazy_init(true);
        // Memories are one instance's own.
        config.shared_memory(false);
    }

    fn pool(&self, most: u32) -> PoolingAllocationConfig {
        let mut pool = PoolingAllocationConfig::default();
        // An instance is all that a sandbox has; and of memories and tables one each, for what has more
        // is made outside of the pool (`fits_pool`).
        pool.total_core_instances(most);
        pool.total_memories(most);
        pool.total_tables(most);
        // For those whose calls are run on one; what is not touched is not taken.
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
        // What an instance has written is dropped by the kernel, all of it, whatever it was. Only
        // a table that is no longer than a page is written over.
        pool.pagemap_scan(Enabled::No);
        pool.linear_memory_keep_resident(0);
        pool.table_keep_resident(4096);
        pool
    }
}

/// What of WebAssembly there is: nothing but what is named here with its reason. What a later
/// wasmtime brings along is off until somebody needs it.
///
/// So these are off, and are refused when a module is loaded: threads and shared memory (a guest
/// has one thread, and is interrupted by its engine's epoch), 64-bit memories (bounds would have
/// to be checked at each access), several memories (no compiler makes any, and only one fits a
/// pool), garbage collection, function references and exceptions (a heap and an unwinder of
/// wasmtime's own that guests could attack; languages that need them have a mode without), stack
/// switching, relaxed SIMD (its results differ between processors), wide arithmetic, pages of
/// other sizes, hints of branches, and components.
fn features(config: &mut Config) {
    config.wasm_features(WasmFeatures::all(), false);
    for (feature, _reason) in FEATURES {
        config.wasm_features(feature, true);
    }
    // A guest's hints to the compiler are not worth a reader of one more section.
    config.wasm_branch_hinting(false);
    // There is no heap for values that are collected.
    config.gc_support(false);
}

/// The features that are on, each with its reason.
const FEATURES: [(WasmFeatures, &str); 10] = [
    (WasmFeatures::MUTABLE_GLOBAL, "the stack pointer of C and Rust, shared with the host"),
    (WasmFeatures::SATURATING_FLOAT_TO_INT, "on by default in Rust and C: `as` and casts"),
    (WasmFeatures::SIGN_EXTENSION, "on by default in Rust and C"),
    (WasmFeatures::MULTI_VALUE, "on by default in Rust; plain functions of several results"),
    (WasmFeatures::REFERENCE_TYPES, "on by default in Rust: how calls name their table"),
    (WasmFeatures::BULK_MEMORY, "on by default in Rust: memcpy and memset"),
    (WasmFeatures::FLOATS, "part of WebAssembly from the start"),
    (WasmFeatures::EXTENDED_CONST, "what linkers write for code that can be moved"),
    (WasmFeatures::SIMD, "guests that are built for speed; its results are the same everywhere"),
    (WasmFeatures::TAIL_CALL, "functional languages and interpreters, which recurse without end"),
];

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
    use crate::local::Local;

    #[test]
    fn f38_a_feature_that_is_off_is_refused_at_load_by_its_name() {
        for (text, name) in [
            ("(memory 1 1 shared)", "threads must be enabled"),
            ("(memory i64 1)", "memory64 must be enabled"),
            ("(memory 1) (memory 1)", "multiple memories"),
            ("(type (struct))", "without the gc feature"),
            ("(func (param (ref func)))", "function references required"),
            ("(tag)", "exceptions proposal not enabled"),
            ("(func try end)", "legacy_exceptions feature required"),
            ("(type $f (func)) (type (cont $f))", "stack switching"),
            (
                "(func (param v128 v128) (result v128)
                   (i8x16.relaxed_swizzle (local.get 0) (local.get 1)))",
                "relaxed SIMD support is not enabled",
            ),
            (
                "(func (param i64 i64 i64 i64) (result i64 i64)
                   (i64.add128 (local.get 0) (local.get 1) (local.get 2) (local.get 3)))",
                "wide arithmetic support is not enabled",
            ),
            ("(memory 1 (pagesize 1))", "custom page sizes proposal must be enabled"),
        ] {
            let wasm = wat::parse_str(format!("(module {text})")).expect(text);
            let refused = Local::new(&wasm, Limits::default()).err();
            let is_named =
                matches!(&refused, Some(Cause::Rejected { reason }) if reason.contains(name));
            assert!(is_named, "{text}: {refused:?} instead of {name}");
        }
    }

    #[test]
    fn what_is_compiled_on_demand_is_for_every_pool() {
        let engines = Engines::new(Limits::default(), Scan::Never);
        let all = [engines.pooled(), engines.on_demand(), engines.waiting()];
        let names = all.map(|engine| engines.fingerprint_with(&engine.expect("an engine")));
        assert_eq!(names, [engines.fingerprint_of_compiler().expect("an engine"); 3]);
    }

    #[test]
    fn where_there_is_no_engine_whoever_makes_one_is_told() {
        for stack in [1 << 62, usize::MAX] {
            let engines = Engines::new(Limits { stack, ..Limits::default() }, Scan::default());
            let error = engines.fingerprint().expect_err("no such stack");
            assert!(matches!(&error, Cause::Internal { .. }), "{error}");
        }
    }
}
