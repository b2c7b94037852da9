//! The loop that a fresh sandbox for each task has without dpfw: wasmtime alone, in this process,
//! with its pool of instances, one made for each call. What the call does is the same.

use anyhow::{Context, Result, ensure};
use std::time::Instant;
use wasmtime::{
    Config, Enabled, Engine, InstanceAllocationStrategy, InstancePre, Linker, Module,
    PoolingAllocationConfig, Store,
};

/// A task module, ready to be instantiated.
pub(crate) struct Plain {
    engine: Engine,
    instances: InstancePre<()>,
    task: String,
}

impl Plain {
    /// Compiles a module for its pool.
    pub(crate) fn new(wasm: &[u8], task: &str) -> Result<Self> {
        let task = format!("dpfw:{task}");
        let of = || -> wasmtime::Result<(Engine, InstancePre<()>)> {
            let mut pool = PoolingAllocationConfig::default();
            pool.total_core_instances(1).total_memories(1).total_tables(1);
            // What an instance has written is dropped by the kernel. To have the kernel asked which
            // pages that are takes longer, where those that were never touched count as written.
            pool.pagemap_scan(Enabled::No);
            let mut config = Config::new();
            config.allocation_strategy(InstanceAllocationStrategy::Pooling(pool));
            let engine = Engine::new(&config)?;
            let module = Module::new(&engine, wasm)?;
            let mut linker = Linker::new(&engine);
            // The task calls none of them.
            linker.define_unknown_imports_as_traps(&module)?;
            Ok((engine.clone(), linker.instantiate_pre(&module)?))
        };
        let (engine, instances) = of().map_err(|e| anyhow::anyhow!("wasmtime alone: {e:#}"))?;
        Ok(Self { engine, instances, task })
    }

    /// Calls a second, each in an instance of its own, of so many; `args` gives the arguments of
    /// one, and `check` looks at its result.
    pub(crate) fn rate(
        &self,
        calls: usize,
        args: impl Fn(usize) -> Vec<u8>,
        check: impl Fn(&[u8]) -> bool,
    ) -> Result<f64> {
        let start = Instant::now();
        for n in 0..calls {
            let reply = self.call(&args(n)).map_err(|e| anyhow::anyhow!("call {n}: {e:#}"))?;
            let (tag, result) = reply.split_first().context("no reply")?;
            ensure!(*tag == 0 && check(result), "call {n}: {reply:?}");
        }
        Ok(calls as f64 / start.elapsed().as_secs_f64())
    }

    fn call(&self, args: &[u8]) -> wasmtime::Result<Vec<u8>> {
        let mut store = Store::new(&self.engine, ());
        let instance = self.instances.instantiate(&mut store)?;
        let memory = instance.get_memory(&mut store, "memory").ok_or_else(|| missing("memory"))?;
        let alloc = instance.get_typed_func::<u32, u32>(&mut store, "dpfw_alloc")?;
        let task = instance.get_typed_func::<(u32, u32), u64>(&mut store, &self.task)?;
        let len = args.len() as u32;
        let at = alloc.call(&mut store, len)?;
        memory.write(&mut store, at as usize, args)?;
        let reply = task.call(&mut store, (at, len))?;
        let (at, len) = ((reply >> 32) as usize, reply as u32 as usize);
        let reply = memory.data(&store).get(at..at + len).ok_or_else(|| missing("reply"))?;
        Ok(reply.to_vec())
    }
}

fn missing(what: &str) -> wasmtime::Error {
    wasmtime::Error::msg(format!("it has no {what}"))
}
