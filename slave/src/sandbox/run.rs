//! One sandbox: made, called, put back or thrown away.

mod again;
pub(crate) mod lasting;
pub(crate) mod many;
pub(crate) mod put;
mod waiting;

use super::abi::{Given, read};
use super::host::{Allowance, Host};
use super::imports::Abi;
use super::plain;
use super::prepared::Prepared;
use super::trap;
use crate::fiber::control::Control;
use crate::module::facts::Kind;
use crate::module::snapshot::Takeable;
use crate::watch::Stop;
use again::Beginning;
use dpfw_protocol::Bytes;
use dpfw_protocol::error::Cause;
use dpfw_protocol::payload::Payload;
use put::Args;
use std::sync::Arc;
use wasmtime::{Instance, Memory, ModuleExport, Store, TypedFunc, WasmParams, WasmResults};

/// An instance with its limits and host state.
pub(crate) struct Sandbox {
    store: Store<Host>,
    instance: Instance,
    memory: Option<Memory>,
    prepared: Arc<Prepared>,
    /// What it was, if it can be put back to that.
    beginning: Option<Beginning>,
    found: Found,
}

/// A task: takes where its arguments are, and gives where its reply is.
type TaskFunc = TypedFunc<(u32, u32), i64>;

/// Functions of the guest that were looked up, to be called again.
#[derive(Default)]
struct Found {
    alloc: Option<TypedFunc<u32, u32>>,
    /// The task that was called last, by its number.
    task: Option<(usize, TaskFunc)>,
}

/// A sandbox that has run, and whose memory holds a result that is being sent.
struct Kept {
    sandbox: Sandbox,
    memory: Memory,
    _held: Arc<()>,
}

impl AsRef<[u8]> for Kept {
    fn as_ref(&self) -> &[u8] {
        self.memory.data(&self.sandbox.store)
    }
}

fn missing() -> Abi {
    Abi("an export is gone".into())
}

fn length(args: &[u8]) -> Result<u32, Abi> {
    let too_long = |_| Abi("its arguments are longer than 4 GiB".into());
    u32::try_from(args.len()).map_err(too_long)
}

/// The memory of an instance that was just made.
fn memory_of(store: &mut Store<Host>, prepared: &Prepared, instance: Instance) -> Option<Memory> {
    let export = prepared.memory.as_ref()?;
    let memory = instance.get_module_export(&mut *store, export)?.into_memory()?;
    let base = memory.data_ptr(&*store);
    store.data_mut().limiter.set_base(base);
    Some(memory)
}

/// What is to be called before a task, if the instance has it.
fn before(
    store: &mut Store<Host>,
    instance: Instance,
    export: &ModuleExport,
) -> wasmtime::Result<Option<TypedFunc<(), ()>>> {
    let function = instance.get_module_export(&mut *store, export);
    let function = function.and_then(wasmtime::Extern::into_func);
    function.map(|function| function.typed(&*store)).transpose()
}

/// An exported function of an instance.
fn typed<P: WasmParams, R: WasmResults>(
    store: &mut Store<Host>,
    instance: Instance,
    export: Option<&ModuleExport>,
) -> wasmtime::Result<TypedFunc<P, R>> {
    let export = export.ok_or_else(missing)?;
    let function = instance.get_module_export(&mut *store, export).ok_or_else(missing)?;
    function.into_func().ok_or_else(missing)?.typed(&*store)
}

/// How a call ended, as far as the sandbox is concerned.
pub(crate) enum Ended {
    /// The guest returned; the bytes are still in its memory.
    Returned(Returned),
    /// The guest cannot go on.
    Broken(wasmtime::Error),
    /// The guest was not entered.
    Refused(Cause),
}

/// What a guest returned.
pub(crate) enum Returned {
    /// Where its memory holds the result.
    Packed(i64),
    /// The numbers of a plain function, encoded.
    Encoded(Vec<u8>),
}

impl Sandbox {
    /// A fresh sandbox of a module.
    ///
    /// # Errors
    /// The [`Cause`] if there is none to be had, or its start traps; `stop` tells why the
    /// attempt was stopped, if it was.
    pub(crate) fn new(
        prepared: &Arc<Prepared>,
        host: Host,
        stop: impl Fn() -> Option<Stop>,
    ) -> Result<Self, Cause> {
        let mut store = Self::store(prepared, host);
        store.set_epoch_deadline(1);
        // From here on a stop raises the epoch above the deadline. One that came before has
        // raised it already, and will not again.
        if let Some(stop) = stop() {
            return Err(stop.into());
        }
        let made = Self::instantiate(&mut store, prepared);
        let mut sandbox = Self::of(prepared, store, made, stop)?;
        sandbox.note_beginning();
        Ok(sandbox)
    }

    /// What a sandbox is made in, under the limits of its host.
    fn store(prepared: &Prepared, host: Host) -> Store<Host> {
        let mut store = Store::new(&prepared.engine, host);
        store.limiter(|host| &mut host.limiter);
        store
    }

    /// The same, which its control stops.
    fn guarded(
        prepared: &Prepared,
        host: Host,
        control: &Arc<Control>,
    ) -> Result<Store<Host>, Cause> {
        let mut store = Self::store(prepared, host);
        control.guard(&mut store).then_some(store).ok_or(Cause::Cancelled)
    }

    /// What was made in the store, or why it was not.
    fn of(
        prepared: &Arc<Prepared>,
        mut store: Store<Host>,
        made: wasmtime::Result<(Instance, Option<Memory>)>,
        stop: impl FnOnce() -> Option<Stop>,
    ) -> Result<Self, Cause> {
        match made {
            Ok((instance, memory)) => {
                let prepared = Arc::clone(prepared);
                let found = Found::default();
                Ok(Self { store, instance, memory, prepared, beginning: None, found })
            }
            Err(error) => Err(trap::cause(&error, store.data_mut(), stop())),
        }
    }

    fn instantiate(
        store: &mut Store<Host>,
        prepared: &Prepared,
    ) -> wasmtime::Result<(Instance, Option<Memory>)> {
        let instance = prepared.instances.instantiate(&mut *store)?;
        let memory = memory_of(store, prepared, instance);
        for export in &prepared.before {
            if let Some(before) = before(store, instance, export)? {
                before.call(&mut *store, ())?;
            }
        }
        Ok((instance, memory))
    }

    /// Calls a function.
    pub(crate) fn call(&mut self, function: usize, args: Args<'_>) -> Ended {
        match self.prepared.kind {
            Kind::Task => match self.call_task(function, args) {
                Ok(packed) => Ended::Returned(Returned::Packed(packed)),
                Err(error) => Ended::Broken(error),
            },
            Kind::Plain | Kind::Program => self.call_plain(function, &args),
        }
    }

    fn call_task(&mut self, function: usize, args: Args<'_>) -> wasmtime::Result<i64> {
        let place = self.put(args)?;
        let known = self.found.task.take().filter(|(known, _)| *known == function);
        let task = match known {
            Some((_, task)) => task,
            None => self.task(function)?,
        };
        let called = task.call(&mut self.store, place);
        self.found.task = Some((function, task));
        called
    }

    fn task(&mut self, function: usize) -> wasmtime::Result<TaskFunc> {
        let function = self.prepared.functions.get(function);
        typed(&mut self.store, self.instance, function.map(|function| &function.export))
    }

    fn alloc(&mut self) -> wasmtime::Result<TypedFunc<u32, u32>> {
        typed(&mut self.store, self.instance, self.prepared.alloc.as_ref())
    }

    /// Writes arguments where the guest has room for them; gives their address and length.
    pub(crate) fn put(&mut self, args: Args<'_>) -> wasmtime::Result<(u32, u32)> {
        let len = length(&args)?;
        let alloc = match self.found.alloc.take() {
            Some(alloc) => alloc,
            None => self.alloc()?,
        };
        let putting = self.begin_put(args);
        let ptr = alloc.call(&mut self.store, len);
        self.found.alloc = Some(alloc);
        self.end_put(putting, ptr)
    }

    fn call_plain(&mut self, function: usize, args: &[u8]) -> Ended {
        let gone = || Ended::Refused(Cause::Internal { message: "a function is gone".into() });
        let Some(function) = self.prepared.functions.get(function) else {
            return gone();
        };
        let prepare = || Ok((plain::arguments(&function.ty, args)?, plain::results(&function.ty)?));
        let (args, mut results) = match prepare() {
            Ok(ready) => ready,
            Err(cause) => return Ended::Refused(cause),
        };
        let export = self.instance.get_module_export(&mut self.store, &function.export);
        let Some(callee) = export.and_then(wasmtime::Extern::into_func) else {
            return gone();
        };
        match callee.call(&mut self.store, &args, &mut results) {
            Ok(()) => match plain::encode(&results) {
                Ok(bytes) => Ended::Returned(Returned::Encoded(bytes)),
                Err(cause) => Ended::Refused(cause),
            },
            Err(error) => Ended::Broken(error),
        }
    }

    /// The bytes of what was returned.
    ///
    /// # Errors
    /// The guest's own error, or that it broke the ABI.
    pub(crate) fn result<'a>(&'a self, returned: &'a Returned) -> Result<Given<'a>, Cause> {
        match (returned, self.memory) {
            (Returned::Encoded(bytes), _) => Ok(Given::Whole(bytes)),
            (Returned::Packed(packed), Some(memory)) => read(memory.data(&self.store), *packed),
            (Returned::Packed(_), None) => {
                Err(Cause::GuestAbi { message: "its memory is gone".into() })
            }
        }
    }

    /// The bytes of what was returned, where they are: the sandbox is thrown away when the
    /// last of them is dropped, and `held` with it.
    ///
    /// # Errors
    /// The guest's own error, or that it broke the ABI.
    pub(crate) fn into_result(self, returned: &Returned, held: Arc<()>) -> Result<Payload, Cause> {
        let (Some(memory), Returned::Packed(packed)) = (self.memory, returned) else {
            let mut bytes = Vec::new();
            self.result(returned)?.append_to(&mut bytes);
            return Ok(bytes.into());
        };
        let ranges = read(memory.data(&self.store), *packed)?.ranges(memory.data(&self.store));
        let whole = Bytes::from_owner(Kept { sandbox: self, memory, _held: held });
        Ok(ranges.into_iter().map(|range| whole.slice(range)).collect())
    }

    /// Why the guest ended.
    pub(crate) fn cause(&mut self, error: &wasmtime::Error, stop: Option<Stop>) -> Cause {
        trap::cause(error, self.store.data_mut(), stop)
    }

    /// Sends what the guest wrote without ending the line, and how far it came. Gives what
    /// the attempt may still send from another sandbox.
    pub(crate) fn finish(&mut self) -> Allowance {
        self.store.data_mut().finish()
    }

    /// The module that starts where this sandbox is, which ends with it.
    ///
    /// # Errors
    /// Why it cannot be taken.
    pub(crate) fn taken(self, takeable: &Takeable<'_>) -> wasmtime::Result<Vec<u8>> {
        takeable.take(self.store, self.instance)
    }

    /// Bytes of linear memory.
    pub(crate) fn memory_bytes(&self) -> u64 {
        self.memory.map_or(0, |memory| memory.data_size(&self.store) as u64)
    }
}
