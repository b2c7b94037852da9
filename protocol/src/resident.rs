//! Residents: live instances under keys, as values.
//!
//! Owns: what names a resident, the calls of its constructor and its methods, the words about
//! it. Does not: run one; a slave does. Invariant: what is called of a resident is named
//! `class.method`, and the module exports it behind [`RESIDENT_PREFIX`].

use crate::call::Call;
use crate::ids::{ModuleHash, PeerId, ResidentId};
use crate::limits::MAX_NAME;
use crate::module::Module;
use crate::store::{Key, Principal};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::marker::PhantomData;
use std::num::NonZeroU64;

/// The prefix of the exports that are constructors and methods of residents.
pub const RESIDENT_PREFIX: &str = "dpfw-resident:";

/// The method whose result is what a resident is made of again; see [`LOAD`].
pub const SAVE: &str = "save";

/// The constructor that is given what [`SAVE`] gave.
pub const LOAD: &str = "load";

/// What the description of a constructor says that it returns: it gives nil, and what it made
/// stays where it is.
pub const MAKES: &str = "Self";

/// A type whose instances can be residents. The guest SDK's `#[resident]` implements it.
pub trait Class: 'static {
    /// Its name in the module.
    const NAME: &'static str;

    /// The module that it is of.
    fn module() -> Module;
}

/// A call of a resident's constructor: what it is spawned by. A value like any [`Call`]; it
/// does nothing until a master is given it.
///
/// ```
/// use dpfw_protocol::{call::Task, module::Module, resident::Spawn};
///
/// let module = Module::new(&b"\0asm\x01\0\0\0"[..]);
/// let spawn = Spawn::<()>::new(Task::new(module, "counter.new").call(&(7,))?);
/// assert_eq!((spawn.class(), spawn.to_string().as_str()), ("counter", "counter.new(7)"));
/// # Ok::<(), dpfw_protocol::call::EncodeError>(())
/// ```
#[must_use = "a resident is spawned when a master is given this"]
pub struct Spawn<R> {
    call: Call<()>,
    class: PhantomData<fn() -> R>,
}

/// A call of a resident's method, whose result is a `T`.
#[must_use = "a method is called when a resident is given this"]
pub struct MethodCall<R, T> {
    call: Call<T>,
    class: PhantomData<fn() -> R>,
}

impl<R> Spawn<R> {
    /// The constructor that this call names, as if it were a task. For modules that are known
    /// only at run time; the guest SDK's macros make typed ones.
    pub fn new(call: Call<()>) -> Self {
        Self { call, class: PhantomData }
    }

    /// The name of the class.
    pub fn class(&self) -> &str {
        class_of(self.call.task().name())
    }

    /// The call of the constructor.
    pub fn into_call(self) -> Call<()> {
        self.call
    }
}

impl<R, T> MethodCall<R, T> {
    /// The method that this call names, as if it were a task.
    pub fn new(call: Call<T>) -> Self {
        Self { call, class: PhantomData }
    }

    /// The name of the class.
    pub fn class(&self) -> &str {
        class_of(self.call.task().name())
    }

    /// The call as one of a task.
    pub fn call(&self) -> &Call<T> {
        &self.call
    }

    /// The call as one of a task.
    pub fn into_call(self) -> Call<T> {
        self.call
    }
}

/// The class in the name of a constructor or a method.
pub fn class_of(name: &str) -> &str {
    name.split_once('.').map_or(name, |(class, _)| class)
}

macro_rules! shown {
    ($name:ident<$($generic:ident),*>) => {
        impl<$($generic),*> Clone for $name<$($generic),*> {
            fn clone(&self) -> Self {
                Self { call: self.call.clone(), class: PhantomData }
            }
        }

        impl<$($generic),*> fmt::Display for $name<$($generic),*> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.call.fmt(f)
            }
        }

        impl<$($generic),*> fmt::Debug for $name<$($generic),*> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({} of {})"), self, self.call.task().module())
            }
        }
    };
}

shown!(Spawn<R>);
shown!(MethodCall<R, T>);

/// Where a resident is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Stage {
    /// It takes calls.
    Alive,
    /// It has failed, and is begun again after a pause.
    Restarting,
    /// It is on its way to another slave, or has come and was not let go yet.
    Moving,
    /// It was saved before it failed for good or its slave was started again, and is begun with that
    /// by whoever spawns it under its key and takes what is there. Until then it has no number, and its memory is
    /// what was saved.
    Asleep,
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Alive => "alive",
            Self::Restarting => "restarting",
            Self::Moving => "moving",
            Self::Asleep => "asleep",
        })
    }
}

/// A resident as its slave describes it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResidentInfo {
    /// Its number at the slave.
    pub resident: ResidentId,
    /// Its key.
    pub key: Key,
    /// The name of its class.
    pub class: String,
    /// The module that it is of.
    pub module: ModuleHash,
    /// Who spawned it.
    pub owner: Principal,
    /// Where it is in its life.
    pub stage: Stage,
    /// Calls and casts that have come to their end.
    pub served: u64,
    /// Calls and casts in its mailbox.
    pub waiting: u32,
    /// How many of one session may be in it.
    pub mailbox: u32,
    /// Bytes of its linear memory.
    pub memory: u64,
    /// Milliseconds since it was spawned.
    pub age_ms: u64,
    /// How often it was begun again.
    pub restarts: u32,
    /// Whether it offers [`SAVE`] and [`LOAD`].
    pub saves: bool,
    /// One number for all that it is over moves, failures and restarts of slaves, which no other
    /// has. None of one that does not save.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lineage: Option<NonZeroU64>,
}

impl ResidentInfo {
    pub(crate) fn is_bounded(&self) -> bool {
        self.key.is_bounded() && self.class.len() <= MAX_NAME
    }
}

/// What becomes of calls in the mailbox when a resident is begun again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mailbox {
    /// They stay, and are answered by the one that was begun again.
    #[default]
    Keep,
    /// They fail; none of them has run.
    Tell,
}

/// When the state of a resident that offers [`SAVE`] is taken, to be carried over restarts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Saving {
    /// After each call that ended well, before its caller is answered.
    EachCall,
    /// So many milliseconds after the first call since it was taken last, and when the slave
    /// drains. It is on disk half a second later, if its slave has one.
    After(u64),
}

impl Default for Saving {
    /// After half a second, so that within a second it is on disk, as whatever is not durable.
    fn default() -> Self {
        Self::After(500)
    }
}

/// How a resident ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum End {
    /// It was stopped, or its entry was removed.
    Stopped,
    /// It failed, and is not begun again; the failure says how.
    Failed,
    /// It went to another slave.
    Moved(PeerId),
    /// Its slave ended.
    Drained,
}
