//! A module as one slot runs it: mapped into the slot's engine, its imports resolved, its
//! exports found.

use super::clearing::Clearing;
use super::host::Host;
use super::imports;
use super::run::Sandbox;
use crate::engine::{Engines, Pools};
use crate::module::facts::{Facts, Kind};
use crate::module::globals;
use crate::module::load::Loaded;
use crate::module::warm::RUN_ONCE;
use crate::raw::pages::Pages;
use crate::watch::Stop;
use crate::{raw, scarce};
use dpfw_protocol::error::Cause;
use dpfw_protocol::image::INIT_PREFIX;
use dpfw_protocol::resident::RESIDENT_PREFIX;
use dpfw_protocol::signature::{BATCH_PREFIX, EXPORT_PREFIX};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use wasmtime::{Engine, FuncType, InstancePre, Linker, Module, ModuleExport, ValType};

/// What a slot needs to run a module's tasks.
pub(crate) struct Prepared {
    pub(crate) engine: Engine,
    pub(crate) instances: InstancePre<Host>,
    pub(crate) kind: Kind,
    /// To be called in each sandbox before its task, in this order, if the module is not
    /// warmed.
    pub(crate) before: Vec<ModuleExport>,
    /// The guest's memory and allocator; of task modules.
    pub(crate) memory: Option<ModuleExport>,
    pub(crate) alloc: Option<ModuleExport>,
    /// Says where the replies to the calls of a batch are.
    pub(crate) replies: Option<ModuleExport>,
    /// In the order of the module's function list.
    pub(crate) functions: Vec<Function>,
    /// What putting its sandboxes back takes, if that can be done.
    pub(crate) again: Option<Again>,
}

/// See [`Prepared::again`].
pub(crate) struct Again {
    pub(crate) pages: &'static Pages,
    /// Those that a guest can change.
    pub(crate) globals: Vec<ModuleExport>,
    pub(crate) clearing: Clearing,
}

impl Again {
    fn of(module: &Module, loaded: &Loaded, pages: &'static Pages) -> Option<Self> {
        let facts = loaded.facts();
        // What runs at the start of each sandbox is no part of what is mapped.
        if facts.kind != Kind::Task || !facts.pooled || !loaded.artifact.warmed {
            return None;
        }
        let globals = (0..facts.resets?).map(|n| module.get_export_index(&globals::name(n)));
        Some(Self {
            pages,
            globals: globals.collect::<Option<_>>()?,
            clearing: Clearing::default(),
        })
    }
}

/// An exported function.
pub(crate) struct Function {
    pub(crate) export: ModuleExport,
    pub(crate) ty: FuncType,
    /// Makes many calls of it at one go.
    pub(crate) batch: Option<ModuleExport>,
}

/// The engines of one slot.
pub(crate) struct SlotEngines {
    engines: Engines,
    pooled: (Engine, Linker<Host>),
    /// Made when the first module comes that does not fit the pool.
    on_demand: Option<(Engine, Linker<Host>)>,
    /// By the module's number. Those that the slave has let go are dropped when another one
    /// is prepared.
    prepared: HashMap<usize, (Weak<Loaded>, Arc<Prepared>)>,
    /// Sandboxes that were put back, those used last behind the others.
    spares: Mutex<Vec<Sandbox>>,
}

/// Sandboxes that wait to be used again: of the modules whose tasks come in turn.
const SPARES: usize = Pools::SLAVE.slot as usize / 4;

pub(crate) fn with_linker(engine: Engine) -> Result<(Engine, Linker<Host>), Cause> {
    let mut linker = Linker::new(&engine);
    imports::link(&mut linker).map_err(internal)?;
    Ok((engine, linker))
}

fn internal(error: wasmtime::Error) -> Cause {
    scarce::cause("the module cannot be mapped", &error)
}

impl SlotEngines {
    /// Makes the slot's engine.
    pub(crate) fn new(engines: Engines) -> Result<Self, Cause> {
        let pooled = with_linker(engines.pooled()?)?;
        let (prepared, spares) = (HashMap::new(), Mutex::default());
        Ok(Self { engines, pooled, on_demand: None, prepared, spares })
    }

    /// The engine that most guests run in.
    pub(crate) fn engine(&self) -> &Engine {
        &self.pooled.0
    }

    pub(crate) fn spares(&self) -> MutexGuard<'_, Vec<Sandbox>> {
        self.spares.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A sandbox in which a task of a module begins: one that was put back, or a new one.
    ///
    /// # Errors
    /// As [`Sandbox::new`].
    pub(crate) fn sandbox(
        &self,
        prepared: &Arc<Prepared>,
        mut host: Host,
        stop: impl Fn() -> Option<Stop>,
    ) -> Result<Sandbox, Cause> {
        let mut spares = self.spares();
        let at = spares.iter().rposition(|spare| spare.is_of(prepared));
        let spare = at.map(|at| spares.remove(at));
        drop(spares);
        match spare.filter(|spare| spare.is_allowed(&mut host)) {
            Some(spare) => spare.begin(host, stop),
            None => Sandbox::new(prepared, host, stop),
        }
    }

    /// Takes a sandbox that has run, to be used again if it can be put back; nobody waits for that.
    pub(crate) fn keep(&self, sandbox: Sandbox, nobody: Host) {
        let Some(sandbox) = sandbox.put_back(nobody) else { return };
        let mut spares = self.spares();
        let oldest = (spares.len() >= SPARES).then(|| spares.remove(0));
        spares.push(sandbox);
        drop((spares, oldest));
    }

    /// What guests of the pool may import.
    #[cfg(test)]
    pub(crate) fn linker(&mut self) -> &mut Linker<Host> {
        &mut self.pooled.1
    }

    /// The module in this slot; mapped when it first comes.
    pub(crate) fn prepare(&mut self, module: &Arc<Loaded>) -> Result<Arc<Prepared>, Cause> {
        if let Some((_, prepared)) = self.prepared.get(&module.number) {
            return Ok(Arc::clone(prepared));
        }
        let (engine, linker) = match (module.facts().pooled, &self.on_demand) {
            (true, _) => &self.pooled,
            (false, Some(made)) => made,
            (false, None) => {
                let made = with_linker(self.engines.on_demand()?)?;
                self.on_demand.insert(made)
            }
        };
        let prepared = Arc::new(Prepared::new(engine, linker, module, self.engines.pages())?);
        self.prepared.retain(|_, (module, _)| module.strong_count() > 0);
        let is_known =
            |spare: &Sandbox| self.prepared.values().any(|(_, known)| spare.is_of(known));
        self.spares().retain(is_known);
        let kept = (Arc::downgrade(module), Arc::clone(&prepared));
        self.prepared.insert(module.number, kept);
        Ok(prepared)
    }
}

impl Prepared {
    /// An init of a module, as the one function there is.
    pub(crate) fn of_init(
        engine: &Engine,
        linker: &Linker<Host>,
        module: &Module,
        init: &str,
    ) -> Result<Self, Cause> {
        let instances = linker.instantiate_pre(module).map_err(|e| rejected(format!("{e:#}")))?;
        let (memory, alloc) = abi_exports(module)?;
        let functions = vec![function(module, &format!("{INIT_PREFIX}{init}"), true)?];
        Ok(Self {
            engine: engine.clone(),
            instances,
            kind: Kind::Task,
            before: RUN_ONCE.iter().filter_map(|name| module.get_export_index(name)).collect(),
            memory: Some(memory),
            alloc: Some(alloc),
            replies: None,
            functions,
            again: None,
        })
    }

    /// The residents of a module: their constructors and methods are what can be called.
    pub(crate) fn of_residents(
        engine: &Engine,
        linker: &Linker<Host>,
        loaded: &Loaded,
    ) -> Result<Self, Cause> {
        let module = raw::map(engine, &loaded.artifact).map_err(internal)?;
        let instances = linker.instantiate_pre(&module).map_err(|e| rejected(format!("{e:#}")))?;
        let (memory, alloc) = abi_exports(&module)?;
        let names = loaded.facts().residents.iter();
        let named = |name: &String| function(&module, &format!("{RESIDENT_PREFIX}{name}"), true);
        Ok(Self {
            engine: engine.clone(),
            instances,
            kind: Kind::Task,
            before: before(&module, loaded),
            memory: Some(memory),
            alloc: Some(alloc),
            replies: None,
            functions: names.map(named).collect::<Result<_, _>>()?,
            again: None,
        })
    }

    /// Of a module, mapped into an engine whose guests may import this; whose sandboxes are put
    /// back by what is known of pages.
    pub(crate) fn new(
        engine: &Engine,
        linker: &Linker<Host>,
        loaded: &Loaded,
        pages: Option<&'static Pages>,
    ) -> Result<Self, Cause> {
        let facts = loaded.facts();
        let module = raw::map(engine, &loaded.artifact).map_err(internal)?;
        let instances = linker.instantiate_pre(&module).map_err(|e| rejected(format!("{e:#}")))?;
        let mut functions = functions(&module, facts)?;
        let (memory, alloc) = match facts.kind {
            Kind::Task => {
                let (memory, alloc) = abi_exports(&module)?;
                (Some(memory), Some(alloc))
            }
            Kind::Plain | Kind::Program => (None, None),
        };
        let before = before(&module, loaded);
        let replies = replies(&module)?;
        if replies.is_some() {
            add_batches(&module, facts, &mut functions)?;
        }
        let again = pages.and_then(|pages| Again::of(&module, loaded, pages));
        let (engine, kind) = (engine.clone(), facts.kind);
        Ok(Self { engine, instances, kind, before, memory, alloc, replies, functions, again })
    }
}

/// What says where the replies of batches are, if the module makes any.
fn replies(module: &Module) -> Result<Option<ModuleExport>, Cause> {
    typed(module, "dpfw_batch", (&[], &[ValType::I32]), "() -> i32")
}

/// Finds for each task what makes many calls of it.
fn add_batches(module: &Module, facts: &Facts, functions: &mut [Function]) -> Result<(), Cause> {
    for (name, function) in facts.functions.iter().zip(functions) {
        let ty: (&[_], &[_]) = (&[ValType::I32, ValType::I32], &[]);
        function.batch = typed(module, &format!("{BATCH_PREFIX}{name}"), ty, "(i32, i32)")?;
    }
    Ok(())
}

/// An export that may be missing, and is a function of this type if it is there.
fn typed(
    module: &Module,
    name: &str,
    (params, results): (&[ValType], &[ValType]),
    written: &str,
) -> Result<Option<ModuleExport>, Cause> {
    let Some(ty) = function_type(module, name) else { return Ok(None) };
    match has_type(&ty, params, results) {
        true => Ok(module.get_export_index(name)),
        false => Err(rejected(format!("its export `{name}` is no {written}"))),
    }
}

/// What is to be called in each sandbox before anything else: nothing if the module is warmed.
fn before(module: &Module, loaded: &Loaded) -> Vec<ModuleExport> {
    match loaded.artifact.warmed {
        true => Vec::new(),
        false => RUN_ONCE.iter().filter_map(|name| module.get_export_index(name)).collect(),
    }
}

fn rejected(reason: impl Into<String>) -> Cause {
    Cause::Rejected { reason: reason.into() }
}

/// The module's tasks or functions, in the order of their names.
fn functions(module: &Module, facts: &Facts) -> Result<Vec<Function>, Cause> {
    let is_task = facts.kind == Kind::Task;
    let prefix = if is_task { EXPORT_PREFIX } else { "" };
    let names = facts.functions.iter();
    names.map(|name| function(module, &format!("{prefix}{name}"), is_task)).collect()
}

/// An exported function; one that is called with bytes has the type for it.
fn function(module: &Module, name: &str, takes_bytes: bool) -> Result<Function, Cause> {
    let export = module.get_export_index(name);
    let function = export.zip(function_type(module, name));
    let (export, ty) = function.ok_or_else(|| rejected(format!("it lost its `{name}`")))?;
    match takes_bytes && !has_type(&ty, &[ValType::I32, ValType::I32], &[ValType::I64]) {
        true => Err(rejected(format!("its export `{name}` is no (i32, i32) -> i64"))),
        false => Ok(Function { export, ty, batch: None }),
    }
}

/// The memory and the allocator that every task module exports.
fn abi_exports(module: &Module) -> Result<(ModuleExport, ModuleExport), Cause> {
    let is_memory = module.get_export("memory").is_some_and(|e| e.memory().is_some());
    let memory = module.get_export_index("memory").filter(|_| is_memory);
    let memory = memory.ok_or_else(|| rejected("it exports no memory named `memory`"))?;
    let ty = function_type(module, "dpfw_alloc");
    let is_alloc = ty.is_some_and(|ty| has_type(&ty, &[ValType::I32], &[ValType::I32]));
    let alloc = module.get_export_index("dpfw_alloc").filter(|_| is_alloc);
    let alloc = alloc.ok_or_else(|| rejected("it exports no function `dpfw_alloc(i32) -> i32`"))?;
    Ok((memory, alloc))
}

fn function_type(module: &Module, name: &str) -> Option<FuncType> {
    module.get_export(name)?.func().cloned()
}

fn has_type(ty: &FuncType, params: &[ValType], results: &[ValType]) -> bool {
    let same = |a: &[ValType], b: Vec<ValType>| {
        a.len() == b.len() && a.iter().zip(&b).all(|(a, b)| ValType::eq(a, b))
    };
    same(params, ty.params().collect()) && same(results, ty.results().collect())
}
