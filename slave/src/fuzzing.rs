//! The host's side of the guest ABI, for fuzzing: not a part of what the crate offers.
//!
//! Owns: a store without a slot, and calling what guests may import with pointers and lengths
//! of anybody's choice. Does not: choose them. Invariant: nothing here waits, and what a guest
//! may keep in the store is bounded.

use crate::core::Core;
use crate::engine::{Engines, Scan};
use crate::limits::Limits;
use crate::sandbox::host::{Allowance, Holder, Host, Lent};
use crate::sandbox::{abi, imports};
use crate::session::Session;
use dpfw_link::{Outbox, identity};
use dpfw_protocol::ids::AttemptId;
use std::fmt;
use std::sync::Arc;
use wasmtime::{
    Engine, Extern, Instance, InstancePre, Linker, Module, Result, Store, Val, ValType,
};

/// What a guest may import.
#[derive(Clone, Debug)]
pub struct Imported {
    /// The name of the module.
    pub module: String,
    /// The function's name.
    pub name: String,
    /// Its parameters, as text.
    pub params: Vec<&'static str>,
    /// Its results, as text.
    pub results: Vec<&'static str>,
}

/// The host, and a guest that passes on what it is called with.
pub struct HostSide {
    lent: Arc<Lent>,
    guest: InstancePre<Host>,
}

/// Little, so that a store that is full is met as well.
const STORE: u64 = 1 << 20;

fn limits() -> Limits {
    Limits { store_bytes: STORE, store_entries: 100, log: 4 << 10, ..Limits::default() }
}

fn linker(engine: &Engine) -> Result<Linker<Host>> {
    let mut linker = Linker::new(engine);
    imports::link(&mut linker)?;
    Ok(linker)
}

fn text(ty: &ValType) -> &'static str {
    match ty {
        ValType::I64 => "i64",
        ValType::F32 => "f32",
        ValType::F64 => "f64",
        _ => "i32",
    }
}

impl HostSide {
    /// Everything that a guest may import.
    ///
    /// # Errors
    /// What wasmtime says.
    pub fn imports() -> Result<Vec<Imported>> {
        let engine = Engine::default();
        let linker = linker(&engine)?;
        let mut store = Store::new(&engine, host(&lent()?));
        let named: Vec<_> =
            linker.iter(&mut store).map(|(m, n, e)| (m.to_owned(), n.to_owned(), e)).collect();
        let function = |(module, name, it): (String, String, Extern)| {
            let ty = it.into_func()?.ty(&store);
            let params = ty.params().map(|ty| text(&ty)).collect();
            let results = ty.results().map(|ty| text(&ty)).collect();
            Some(Imported { module, name, params, results })
        };
        Ok(named.into_iter().filter_map(function).collect())
    }

    /// With this guest, a module that exports its memory and its functions.
    ///
    /// # Errors
    /// It is no module, or imports something else.
    pub fn new(guest: &[u8]) -> Result<Self> {
        let engine = Engine::default();
        let guest = linker(&engine)?.instantiate_pre(&Module::new(&engine, guest)?)?;
        Ok(Self { lent: lent()?, guest })
    }

    /// A fresh sandbox of the guest.
    ///
    /// # Errors
    /// What wasmtime says.
    pub fn start(&self) -> Result<Started> {
        let mut store = Store::new(self.guest.module().engine(), host(&self.lent));
        let instance = self.guest.instantiate(&mut store)?;
        Ok(Started { store, instance })
    }
}

impl fmt::Debug for HostSide {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HostSide").finish_non_exhaustive()
    }
}

fn lent() -> Result<Arc<Lent>> {
    let core = Arc::new(Core::new(limits(), Engines::new(limits(), Scan::default()), 1)?);
    Ok(Arc::new(Lent { core, holder: Holder::Slot(Arc::default()) }))
}

fn host(lent: &Arc<Lent>) -> Host {
    let session = Arc::new(Session::detached(identity("fuzz").peer, Outbox::nowhere()));
    Host::new(lent, &session, AttemptId(1), Allowance::of(&limits().granted(None)))
}

/// A sandbox of the guest.
pub struct Started {
    store: Store<Host>,
    instance: Instance,
}

impl Started {
    /// The guest's memory.
    pub fn memory(&mut self) -> &mut [u8] {
        match self.instance.get_memory(&mut self.store, "memory") {
            Some(memory) => memory.data_mut(&mut self.store),
            None => &mut [],
        }
    }

    /// Calls a function of the guest's with these numbers, cut to its parameters' types.
    ///
    /// # Errors
    /// What the host says of them. It is never a panic.
    pub fn call(&mut self, function: &str, numbers: &[u64]) -> Result<()> {
        let Some(function) = self.instance.get_func(&mut self.store, function) else {
            return Ok(());
        };
        let ty = function.ty(&self.store);
        let numbers = numbers.iter().copied().chain(std::iter::repeat(0));
        let value = |(ty, number): (ValType, u64)| match ty {
            ValType::I64 => Val::I64(number.cast_signed()),
            _ => Val::I32((number as u32).cast_signed()),
        };
        let params: Vec<_> = ty.params().zip(numbers).map(value).collect();
        let mut results = vec![Val::I32(0); ty.results().len()];
        function.call(&mut self.store, &params, &mut results)
    }

    /// Reads the memory as if a task had returned this. The length of the result, and
    /// where its pieces are.
    ///
    /// # Errors
    /// The text of the cause.
    pub fn returned(&mut self, packed: i64) -> Result<(u64, Vec<std::ops::Range<usize>>), String> {
        let memory = self.memory();
        let given = abi::read(memory, packed).map_err(|cause| cause.to_string())?;
        Ok((given.len(), given.ranges(memory)))
    }
}

impl fmt::Debug for Started {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Started").finish_non_exhaustive()
    }
}
