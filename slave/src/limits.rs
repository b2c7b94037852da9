//! What a slave's operator allows.

use crate::module::load::Loaded;
use dpfw_protocol::limits::{MAX_MODULE, MAX_PAYLOAD};
use dpfw_protocol::task_limits::TaskLimits;
use serde::{Deserialize, Serialize};
use std::ops::RangeInclusive;
use std::time::Duration;

/// Limits of a slave, each with a name that its error carries.
///
/// What there is one of for all masters (sandboxes, residents, watches, modules, links, bytes of
/// arguments, of modules that are being made) is shared: one that is alone may have
/// eight ninths of it, and whoever comes beside it finds something, whatever the others do. A master
/// is known by its name, however many links it has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Limits {
    /// `memory`: linear memory of a sandbox in bytes, of all its memories together.
    pub memory: u64,
    /// `table`: elements of a sandbox's tables, of all of them together.
    pub table: usize,
    /// The wasm stack in bytes, 64 KiB to 1 GiB; a guest that exceeds it traps with "stack overflow".
    pub stack: usize,
    /// `time`: how long a task may run, whatever deadline its caller set.
    pub time: Duration,
    /// `host calls`: how often a task's guest may call the host.
    pub host_calls: u64,
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
    /// `imports`: what a module imports.
    pub imports: u32,
    /// `exports`: what a module exports.
    pub exports: u32,
    /// `names`: bytes of the names of what a module imports and exports, together.
    pub names: u64,
    /// `section`: bytes of the section in which a module describes its tasks.
    pub section: u64,
    /// `function size`: bytes of the body of one of a module's functions.
    pub function_size: u64,
    /// `locals`: locals of one of a module's functions.
    pub locals: u32,
    /// `compile time`: how long it may take to make of a module's bytes what runs, its start
    /// and warm-up included.
    pub compile: Duration,
    /// `compile memory`: bytes that compiling a module may take in a process of its own, beyond the
    /// module's own and those of a guest that is warmed.
    pub compile_memory: u64,
    /// `data segments`: bytes of all data segments of a module.
    pub data: u64,
    /// How long a module's start and warm-up may take.
    pub warm: Duration,
    /// `image time`: how long an init may run.
    pub image_time: Duration,
    /// `image memory`: bytes of memory that an image may have. Its tasks may have what `memory`
    /// allows beyond what they begin with.
    pub image_memory: u64,
    /// Bytes that making images takes together, beyond the memory of the inits that run: three
    /// times the memory of each. One that finds no room waits, and one that needs more than
    /// all of it is made alone.
    pub image_building: u64,
    /// `quota`: bytes of the keyed store.
    pub store_bytes: u64,
    /// `quota`: bytes of entries that may not be evicted which one master may have in the store,
    /// residents' states among them. As much as the store has unless told otherwise: where several
    /// masters that do not trust each other share a slave, it is to be less.
    pub store_share: u64,
    /// `entries of the store`: entries of the keyed store.
    pub store_entries: u64,
    /// Attempts that wait for a slot, of all sessions together. When they are so many, a master
    /// of which few wait still gets in.
    pub queued: usize,
    /// `attempts`: attempts, calls of residents and requests of one master, in all of its sessions
    /// together, that are not over.
    pub attempts: usize,
    /// `unsent`: bytes of results and values that may wait for one master, in equal parts for its
    /// sessions. While more do, nothing of that session starts.
    pub unsent: usize,
    /// `sandboxes`: sandboxes that may wait without a slot, at once: of WASI programs, and of
    /// tasks whose module imports a call that waits. Those beyond them begin when one is given
    /// back.
    pub sandboxes: usize,
    /// `residents`: residents at once. There are fewer where the system has no mappings for so
    /// many.
    pub residents: usize,
    /// `watches`: watches of the keyed store at once.
    pub watches: usize,
    /// `modules`: modules and images in memory at once.
    pub modules: usize,
    /// `links`: links at once.
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
            // Some seconds of nothing else; a task of an hour may make 28,000 a second.
            host_calls: 100_000_000,
            result: MAX_PAYLOAD,
            arguments: MAX_PAYLOAD,
            log: 64 * 1024,
            module: MAX_MODULE,
            // Debug builds of large programs have about 50,000.
            functions: 100_000,
            // There is nothing like as much to be imported that a slave has.
            imports: 1_000,
            // Whoever exports all functions of a large program has some thousands. They are looked
            // at, and kept, by the slave itself, as are their names.
            exports: 10_000,
            // C++ has names of a hundred bytes.
            names: 1 << 20,
            // A task and its types have some hundred bytes in it. It stays in memory as long as the
            // module, as it stands there and parsed.
            section: 1 << 20,
            // The interpreter loops and tables of large programs have some 100 KiB. What compiling
            // takes may grow with the square of it, and is not interrupted within a pass.
            function_size: 512 << 10,
            // Debug builds have a few thousand. In 64 KiB of loops over 46,000 of them, compiling
            // took a minute and 1 GiB.
            locals: 10_000,
            // Tens of MiB on a busy machine.
            compile: Duration::from_secs(120),
            // What the worst of functions takes that is within the limits above; large programs
            // take some hundred MiB.
            compile_memory: 1 << 30,
            // Embedded files and tables reach tens of MiB. Each segment is in the module, in
            // its compiled code, and, when it is copied, in the image of every sandbox.
            data: MAX_MODULE / 2,
            warm: Duration::from_secs(5),
            // An index over gigabytes takes minutes; it is done once.
            image_time: Duration::from_secs(600),
            // A wasm module can hold no more data.
            image_memory: 1 << 30,
            // One of 512 MiB beside small ones.
            image_building: 2 << 30,
            store_bytes: 1 << 30,
            store_share: u64::MAX,
            store_entries: 1_000_000,
            queued: 64 * 1024,
            // One master may fill the queue, from as many processes as it likes.
            attempts: 64 * 1024,
            unsent: 256 << 20,
            // Each has some tens of mappings, and the memory that it touches.
            sandboxes: 256,
            // What the mappings that a Linux process may have unless told otherwise are enough for.
            // One master that is alone may have 10,000 of them.
            residents: 11_250,
            // Each is looked at at every write.
            watches: 4096,
            modules: 1024,
            links: 1024,
        }
    }
}

/// Bytes of the tasks and methods that masters have declared, of all together. One of 500 bytes is
/// usual, and a session may have 65,536; each in a message of 64 KiB that becomes 1 MiB of fields
/// would be 64 GiB.
pub(crate) const MOST_DECLARED: u64 = 64 << 20;

/// What one attempt may use: what the operator allows, or its caller, whoever allows less.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Granted {
    pub(crate) memory: u64,
    pub(crate) table: usize,
    pub(crate) time: Duration,
    pub(crate) host_calls: u64,
    pub(crate) result: u64,
    pub(crate) log: u64,
}

impl Limits {
    /// Bytes of arguments, and of payloads that arrive, that the slave holds for all masters: what
    /// one may have is twice the largest arguments or image.
    pub(crate) fn held(&self) -> u64 {
        let twice = self.most_arriving();
        twice.saturating_add(twice / 8)
    }

    /// Bytes that may be arriving at once in one session.
    pub(crate) fn most_arriving(&self) -> u64 {
        self.arguments.max(self.of_images().module).saturating_mul(2)
    }

    /// Bytes that may wait to be made into code, of all masters together: any one thing fits.
    pub(crate) fn making(&self) -> u64 {
        let largest = self.module.saturating_add(self.arguments.max(self.image_memory));
        largest.max(1 << 30)
    }

    /// Bytes of images that are sent to whoever fetches them, of all masters together: any one fits.
    pub(crate) fn fetched(&self) -> u64 {
        self.of_images().module
    }

    /// What an image that was sent is held against: it is a module with more data in it.
    pub(crate) fn of_images(&self) -> Self {
        let most = self.image_memory;
        let module = self.module.saturating_add(most);
        Self { memory: most, data: self.data.saturating_add(most), module, ..*self }
    }

    /// What an attempt may use whose caller allows this.
    pub(crate) fn granted(&self, task: Option<&TaskLimits>) -> Granted {
        let own = Granted {
            memory: self.memory,
            table: self.table,
            time: self.time,
            host_calls: self.host_calls,
            result: self.result,
            log: self.log,
        };
        task.map_or(own, |task| own.lowered(task))
    }
}

impl Granted {
    /// The same for tasks on an image: what that brings along is not counted.
    pub(crate) fn beyond(self, module: &Loaded) -> Self {
        let image = module.artifact.image.as_ref().map_or(0, |image| image.memory);
        Self { memory: self.memory.saturating_add(image), ..self }
    }

    fn lowered(self, task: &TaskLimits) -> Self {
        let least = |own: u64, theirs: Option<u64>| theirs.map_or(own, |theirs| own.min(theirs));
        Self {
            memory: least(self.memory, task.memory),
            // It fits: it is no more than what the operator allows.
            table: least(self.table as u64, task.table) as usize,
            time: task.time_us.map_or(self.time, |us| self.time.min(Duration::from_micros(us))),
            host_calls: least(self.host_calls, task.host_calls),
            result: least(self.result, task.result),
            log: least(self.log, task.log),
        }
    }
}

/// A limit with which no slave could do anything.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the limit on {name} cannot be {given}: it has to be {range}")]
pub struct LimitsError {
    name: &'static str,
    given: u64,
    range: String,
}

/// Less is no stack that a guest could start on; more is taken from every slot's thread.
const STACKS: RangeInclusive<u64> = 64 << 10..=1 << 30;

/// wasm's own limit on a table's elements; the pools keep room for so many.
const MOST_ELEMENTS: u64 = 10_000_000;

/// Each has 6 GiB of addresses, of the 128 TiB that a process has.
const MOST_SANDBOXES: u64 = 4 << 10;

/// The same, beside those that wait.
const MOST_RESIDENTS: u64 = 16 << 10;

/// What a wasm module can hold.
const MOST_IMAGE: u64 = 1 << 30;

/// More descriptors than a process is ever given.
const MOST_LINKS: u64 = 1 << 20;

impl Limits {
    /// Whether a slave can work within them. That nothing may be stored or logged, or no
    /// table had, is for the operator to say.
    ///
    /// # Errors
    /// [`LimitsError`] with the first limit that cannot be.
    pub fn check(&self) -> Result<(), LimitsError> {
        let some = 1..=u64::MAX;
        let nanos = |time: Duration| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        let all = [
            ("memory", self.memory, some.clone()),
            ("table", self.table as u64, 0..=MOST_ELEMENTS),
            ("stack", self.stack as u64, STACKS),
            ("time", nanos(self.time), some.clone()),
            ("result", self.result, some.clone()),
            ("arguments", self.arguments, some.clone()),
            ("module size", self.module, some.clone()),
            ("functions", u64::from(self.functions), some.clone()),
            ("function size", self.function_size, some.clone()),
            ("compile time", nanos(self.compile), some.clone()),
            ("compile memory", self.compile_memory, some.clone()),
            ("warm-up", nanos(self.warm), some.clone()),
            ("image time", nanos(self.image_time), some.clone()),
            ("image memory", self.image_memory, 1..=MOST_IMAGE),
            ("image building", self.image_building, some.clone()),
            ("queued attempts", self.queued as u64, some.clone()),
            ("sandboxes", self.sandboxes as u64, 1..=MOST_SANDBOXES),
            ("attempts", self.attempts as u64, some.clone()),
            ("unsent", self.unsent as u64, some.clone()),
            ("watches", self.watches as u64, 0..=u64::MAX),
            ("residents", self.residents as u64, 0..=MOST_RESIDENTS),
            ("modules", self.modules as u64, some),
            ("links", self.links as u64, 1..=MOST_LINKS),
        ];
        match all.into_iter().find(|(_, given, range)| !range.contains(given)) {
            None => Ok(()),
            Some((name, given, range)) => {
                let range = match range.into_inner() {
                    (least, u64::MAX) => format!("{least} or more"),
                    (least, most) => format!("{least} to {most}"),
                };
                Err(LimitsError { name, given, range })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_allowed_and_so_is_a_store_of_nothing() {
        assert_eq!(Limits::default().check(), Ok(()));
        let frugal = Limits {
            log: 0,
            data: 0,
            table: 0,
            store_bytes: 0,
            store_entries: 0,
            ..Limits::default()
        };
        assert_eq!(frugal.check(), Ok(()));
    }

    #[test]
    fn a_caller_lowers_what_the_operator_allows_and_raises_nothing() {
        let own = Limits::default();
        assert_eq!(own.granted(None), own.granted(Some(&TaskLimits::new())));
        let most = TaskLimits {
            memory: Some(u64::MAX),
            table: Some(u64::MAX),
            time_us: Some(u64::MAX),
            host_calls: Some(u64::MAX),
            result: Some(u64::MAX),
            log: Some(u64::MAX),
        };
        assert_eq!(own.granted(Some(&most)), own.granted(None));
        let less = TaskLimits::new().memory(1).table(2).time(Duration::from_secs(3));
        let less = less.host_calls(4).result(5).log(6);
        let time = Duration::from_secs(3);
        let lowered = Granted { memory: 1, table: 2, time, host_calls: 4, result: 5, log: 6 };
        assert_eq!(own.granted(Some(&less)), lowered);
    }

    #[test]
    fn what_cannot_be_is_named() {
        let d = Limits::default();
        for (limits, name) in [
            (Limits { memory: 0, ..d }, "memory"),
            (Limits { table: usize::MAX, ..d }, "table"),
            (Limits { stack: 0, ..d }, "stack"),
            (Limits { stack: (1 << 30) + 1, ..d }, "stack"),
            (Limits { time: Duration::ZERO, ..d }, "time"),
            (Limits { function_size: 0, ..d }, "function size"),
            (Limits { compile: Duration::ZERO, ..d }, "compile time"),
            (Limits { compile_memory: 0, ..d }, "compile memory"),
            (Limits { warm: Duration::ZERO, ..d }, "warm-up"),
            (Limits { result: 0, ..d }, "result"),
            (Limits { arguments: 0, ..d }, "arguments"),
            (Limits { module: 0, ..d }, "module size"),
            (Limits { functions: 0, ..d }, "functions"),
            (Limits { image_building: 0, ..d }, "image building"),
            (Limits { queued: 0, ..d }, "queued attempts"),
            (Limits { sandboxes: 0, ..d }, "sandboxes"),
            (Limits { attempts: 0, ..d }, "attempts"),
            (Limits { unsent: 0, ..d }, "unsent"),
            (Limits { modules: 0, ..d }, "modules"),
            (Limits { links: 0, ..d }, "links"),
            (Limits { links: usize::MAX, ..d }, "links"),
        ] {
            assert_eq!(limits.check().expect_err(name).name, name);
        }
        let error = Limits { stack: 1, ..d }.check().expect_err("no stack");
        assert_eq!(
            error.to_string(),
            "the limit on stack cannot be 1: it has to be 65536 to 1073741824"
        );
        let error = Limits { queued: 0, ..d }.check().expect_err("no queue");
        assert_eq!(
            error.to_string(),
            "the limit on queued attempts cannot be 0: it has to be 1 or more"
        );
    }
}
