//! A call: the value that describes a task.
//!
//! The guest SDK's macros make typed calls; [`Task`] makes them for modules that are
//! known only at run time. A call can be printed, kept, serialised and placed; it does
//! nothing until a master dispatches it.

use crate::ids::ModuleHash;
use crate::message::TaskFlags;
use crate::module::Module;
use crate::payload::{self, Payload};
use crate::signature::Signature;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::marker::PhantomData;
use std::ops::Deref;
use std::sync::{Arc, OnceLock};

/// A task of a module, whose result is a `T`.
///
/// ```
/// use dpfw_protocol::{call::Task, module::Module};
///
/// let module = Module::new(&b"\0asm\x01\0\0\0"[..]);
/// let add = Task::<i64>::new(module, "add");
/// assert_eq!(add.call(&(2, 3))?.to_string(), "add(2, 3)");
/// # Ok::<(), dpfw_protocol::call::EncodeError>(())
/// ```
pub struct Task<T> {
    inner: Inner,
    result: PhantomData<fn() -> T>,
}

/// What a task is. Of those that the guest SDK's macros make each call has one: none of them
/// counts who has it.
#[derive(Clone)]
enum Inner {
    Static(&'static TaskInner),
    Shared(Arc<TaskInner>),
}

impl Deref for Inner {
    type Target = TaskInner;

    fn deref(&self) -> &TaskInner {
        match self {
            Self::Static(inner) => inner,
            Self::Shared(inner) => inner,
        }
    }
}

#[derive(Debug)]
struct TaskInner {
    module: Module,
    name: Arc<str>,
    flags: TaskFlags,
    /// The init of the image that it runs on.
    needs: Option<Arc<str>>,
    expects: Option<Signature>,
}

/// Arguments cannot be encoded: a `Serialize` refused.
#[derive(Debug, thiserror::Error)]
#[error("the arguments of `{task}` cannot be encoded: {source}")]
pub struct EncodeError {
    task: String,
    source: rmp_serde::encode::Error,
}

impl TaskInner {
    fn new(module: Module, name: Arc<str>) -> Self {
        let record = module.tasks().ok().and_then(|table| table.task(&name));
        let flags = record.map_or(TaskFlags::default(), |r| r.flags());
        let needs = record.and_then(|r| r.needs()).map(Arc::from);
        Self { module, name, flags, needs, expects: None }
    }
}

impl<T> Task<T> {
    /// The task or function of that name in a module. Its flags are what the module says.
    pub fn new(module: Module, name: impl Into<String>) -> Self {
        Self::from_inner(TaskInner::new(module, name.into().into()))
    }

    fn from_inner(inner: TaskInner) -> Self {
        Self { inner: Inner::Shared(Arc::new(inner)), result: PhantomData }
    }

    /// The same task in another module: a newer build, or one written in another
    /// language. The slave compares the two descriptions before anything runs.
    #[must_use]
    pub fn via(&self, module: Module) -> Self {
        let own = &self.inner.module;
        let expects = match own == &module {
            true => self.inner.expects.clone(),
            false => own.tasks().ok().and_then(|table| table.signature(&self.inner.name)),
        };
        let (name, flags) = (self.inner.name.clone(), self.inner.flags);
        let needs = self.inner.needs.clone();
        Self::from_inner(TaskInner { module, name, flags, needs, expects })
    }

    /// A call with these arguments, which are encoded as MessagePack: a tuple or a
    /// sequence has an element for each argument, `()` has none.
    ///
    /// ```
    /// use dpfw_protocol::{call::Task, module::Module};
    ///
    /// let module = Module::new(&b"\0asm\x01\0\0\0"[..]);
    /// let add = Task::<i64>::new(module.clone(), "add").call(&(2, 3))?;
    /// assert_eq!(add.to_string(), "add(2, 3)");
    /// assert_eq!(Task::<i64>::new(module, "now").call(&())?.to_string(), "now()");
    /// # Ok::<(), dpfw_protocol::call::EncodeError>(())
    /// ```
    ///
    /// # Errors
    /// [`EncodeError`] if the arguments' `Serialize` fails.
    pub fn call<A: Serialize + ?Sized>(&self, args: &A) -> Result<Call<T>, EncodeError> {
        let args = payload::encode(args)
            .map(|args| if args.is_nil() { Payload::from(NO_ARGUMENTS) } else { args })
            .map_err(|source| EncodeError { task: self.inner.name.to_string(), source })?;
        Ok(Call { task: self.clone(), args: Ok(args) })
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.inner.name
    }

    /// Its name, shared.
    pub fn shared_name(&self) -> Arc<str> {
        Arc::clone(&self.inner.name)
    }

    /// Whether the other is this very task, as the caller believes it to be.
    pub fn is_same(&self, other: &Self) -> bool {
        std::ptr::eq(&*self.inner, &*other.inner)
            || (self.inner.module == other.inner.module
                && self.inner.name == other.inner.name
                && self.inner.flags == other.inner.flags
                && self.inner.expects == other.inner.expects)
    }

    /// Its module.
    pub fn module(&self) -> &Module {
        &self.inner.module
    }

    /// The init of the image that it runs on, if it needs one.
    pub fn needs(&self) -> Option<&str> {
        self.inner.needs.as_deref()
    }

    /// How it may be tried.
    pub fn flags(&self) -> TaskFlags {
        self.inner.flags
    }

    /// What the caller believes it to be, if that is not the module's own word.
    pub fn expects(&self) -> Option<&Signature> {
        self.inner.expects.as_ref()
    }
}

impl<T> Clone for Task<T> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone(), result: PhantomData }
    }
}

impl<T> fmt::Debug for Task<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Task({} of {})", self.inner.name, self.inner.module)
    }
}

/// A task of an embedded module, made once. What the guest SDK's macros put beside each
/// function; not meant to be written by hand.
#[derive(Debug)]
pub struct StaticTask<T> {
    module: fn() -> Module,
    name: &'static str,
    inner: OnceLock<TaskInner>,
    task: OnceLock<Task<T>>,
}

impl<T> StaticTask<T> {
    /// Names a task of an embedded module.
    pub const fn new(module: fn() -> Module, name: &'static str) -> Self {
        Self { module, name, inner: OnceLock::new(), task: OnceLock::new() }
    }

    /// The task.
    pub fn task(&'static self) -> &'static Task<T> {
        self.task.get_or_init(|| self.made())
    }

    #[inline]
    fn made(&'static self) -> Task<T> {
        let make = || TaskInner::new((self.module)(), self.name.into());
        Task { inner: Inner::Static(self.inner.get_or_init(make)), result: PhantomData }
    }

    /// A call. Arguments that cannot be encoded are told when the call is dispatched, so
    /// that typed calls stay plain values.
    pub fn call<A: Serialize + ?Sized>(&'static self, args: &A) -> Call<T> {
        let mut call = Call { task: self.made(), args: Ok(Payload::default()) };
        if let Ok(payload) = &mut call.args
            && let Err(error) = payload::encode_into(payload, args)
        {
            call.args = Err(error.to_string());
        }
        call
    }
}

/// An array of nothing.
const NO_ARGUMENTS: &[u8] = &[0x90];

/// A task with its arguments: a value that a master can dispatch, whose result is a `T`.
#[must_use = "a call does nothing until a master dispatches it"]
pub struct Call<T> {
    task: Task<T>,
    args: Result<Payload, String>,
}

impl<T> Call<T> {
    /// The task.
    pub fn task(&self) -> &Task<T> {
        &self.task
    }

    /// The encoded arguments.
    ///
    /// # Errors
    /// What their `Serialize` said when the call was made.
    pub fn args(&self) -> Result<&Payload, &str> {
        self.args.as_ref().map_err(String::as_str)
    }

    /// The same call to another module that has the task; see [`Task::via`].
    pub fn via(self, module: Module) -> Self {
        Self { task: self.task.via(module), args: self.args }
    }

    /// The same call, whose result is taken for something else: for who knows what becomes of
    /// it on the way.
    #[doc(hidden)]
    pub fn retype<U>(self) -> Call<U> {
        Call { task: Task { inner: self.task.inner, result: PhantomData }, args: self.args }
    }

    /// Takes the call apart.
    pub fn into_parts(self) -> (Task<T>, Result<Payload, String>) {
        (self.task, self.args)
    }
}

impl<T> Clone for Call<T> {
    fn clone(&self) -> Self {
        Self { task: self.task.clone(), args: self.args.clone() }
    }
}

/// Arguments longer than this are not printed.
const PRINTED: usize = 200;

impl<T> fmt::Display for Call<T> {
    /// Source-like: `add(2, 3)`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.task.name();
        let Ok(args) = &self.args else {
            return write!(f, "{name}(?)");
        };
        if args.len() > PRINTED {
            return write!(f, "{name}({} bytes)", args.len());
        }
        match rmp_serde::from_slice(&args.clone().into_bytes()) {
            Ok(serde_json::Value::Array(values)) => {
                let values: Vec<_> = values.iter().map(ToString::to_string).collect();
                write!(f, "{name}({})", values.join(", "))
            }
            _ => write!(f, "{name}({} bytes)", args.len()),
        }
    }
}

impl<T> fmt::Debug for Call<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Call({self} of {})", self.task.module())
    }
}

/// A call as it is kept or sent: the module is named, not carried.
#[derive(Serialize, Deserialize)]
struct Kept {
    module: ModuleHash,
    task: String,
    flags: TaskFlags,
    expects: Option<Signature>,
    #[serde(with = "serde_bytes")]
    args: Vec<u8>,
}

impl<T> Serialize for Call<T> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let args = self.args.as_ref().map_err(serde::ser::Error::custom)?;
        let inner = &self.task.inner;
        Kept {
            module: inner.module.hash(),
            task: inner.name.to_string(),
            flags: inner.flags,
            expects: inner.expects.clone(),
            args: args.clone().into_bytes().into(),
        }
        .serialize(serializer)
    }
}

impl<'de, T> Deserialize<'de> for Call<T> {
    /// The module's bytes are not there: the call runs where the module has been, or
    /// after [`Call::via`].
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Kept { module, task, flags, expects, args } = Kept::deserialize(deserializer)?;
        let module = Module::known(module);
        let task = Task::from_inner(TaskInner {
            module,
            name: task.into(),
            flags,
            // The slave knows.
            needs: None,
            expects,
        });
        Ok(Self { task, args: Ok(args.into()) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_is_a_value() {
        let task = Task::<i64>::new(Module::new(&b"\0asm\x01\0\0\0"[..]), "add");
        let call = task.call(&(2, "x")).expect("encodes");
        assert_eq!(call.to_string(), r#"add(2, "x")"#);
        let kept = rmp_serde::to_vec_named(&call).expect("encodes");
        let back: Call<i64> = rmp_serde::from_slice(&kept).expect("decodes");
        assert_eq!(back.task().module(), call.task().module());
        assert_eq!(back.args(), call.args());
        assert!(back.task().module().bytes().is_none());
    }

    #[test]
    fn a_static_task_is_made_once() {
        static ADD: StaticTask<i64> =
            StaticTask::new(|| Module::new(&b"\0asm\x01\0\0\0"[..]), "add");
        let (call, other) = (ADD.call(&(2, 3)), ADD.call(&(4, 5)));
        assert!(std::ptr::eq(&*call.task.inner, &*other.task.inner));
        assert!(call.task().is_same(ADD.task()) && call.task().is_same(&ADD.task().clone()));
        let module = call.task().module().clone();
        assert!(call.task().is_same(&Task::new(module.clone(), "add")), "the same by what it is");
        assert!(!call.task().is_same(&Task::new(module, "subtract")));
        assert_eq!(call.to_string(), "add(2, 3)");
    }

    #[test]
    fn large_arguments_print_their_size() {
        let task = Task::<()>::new(Module::new(&b""[..]), "take");
        let call = task.call(&(vec![0u8; 1000],)).expect("encodes");
        assert_eq!(call.to_string(), "take(1004 bytes)");
    }
}
