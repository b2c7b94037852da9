//! WASI programs as tasks.
//!
//! Owns: what a program is started with, and what becomes of its ports. Does not: run it; a
//! program is a task like any other.

mod handle;
pub(crate) mod ports;

use crate::error::TaskError;
use crate::handle::Raw;
use crate::master::Master;
use crate::placed::limited;
use crate::reserve::Reserved;
use crate::slave::Slave;
use crate::submit::Terms;
use dpfw_dispatch::Placement;
use dpfw_protocol::Bytes;
use dpfw_protocol::call::Task;
use dpfw_protocol::error::{Cause, Limit};
use dpfw_protocol::message::TaskFlags;
use dpfw_protocol::module::Module;
use dpfw_protocol::program::{Invocation, START};
use dpfw_protocol::task_limits::TaskLimits;
pub use handle::{ExitStatus, Output, ProgramHandle, Stdout};
use ports::{Input, Ports};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::AsyncRead;

/// A WASI program (a `wasm32-wasip1` command, from any language) and what it is to be started
/// with.
///
/// It finds its arguments, the environment that it is given here and nothing of the slave's,
/// its stdin, clocks and randomness; no file and no network. What it writes to stderr becomes
/// log lines of the task.
///
/// ```no_run
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use dpfw::{Master, Program};
///
/// let master = Master::builder().slave("127.0.0.1:10000").build().await?;
/// let program = Program::new(std::fs::read("hexyl.wasm")?)
///     .args(["--length", "32"])
///     .env("NO_COLOR", "1")
///     .stdin(tokio::io::stdin());
/// let mut running = master.run(program);
/// let mut stdout = running.stdout();
/// tokio::io::copy(&mut stdout, &mut tokio::io::stdout()).await?;
/// running.await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Program {
    module: Module,
    name: String,
    args: Vec<String>,
    env: Vec<(String, String)>,
    input: Input,
    placement: Placement,
    timeout: Option<Duration>,
    limits: Option<Box<TaskLimits>>,
}

impl Program {
    /// A program of these bytes, without arguments, environment or input.
    pub fn new(wasm: impl Into<Bytes>) -> Self {
        Self::of(Module::new(wasm))
    }

    /// The same of a module, which is not hashed again.
    pub fn of(module: Module) -> Self {
        Self {
            module,
            name: "program".into(),
            args: Vec::new(),
            env: Vec::new(),
            input: Input::Nothing,
            placement: Placement::Anywhere,
            timeout: None,
            limits: None,
        }
    }

    /// What it is told to be called: its first argument, `program` unless told otherwise.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }

    /// One more argument.
    pub fn arg(mut self, arg: impl Into<String>) -> Self {
        self.args.push(arg.into());
        self
    }

    /// More arguments.
    pub fn args<A: Into<String>>(mut self, args: impl IntoIterator<Item = A>) -> Self {
        self.args.extend(args.into_iter().map(Into::into));
        self
    }

    /// One more variable of its environment.
    pub fn env(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.env.push((name.into(), value.into()));
        self
    }

    /// What it reads from its stdin. It is read when the program reads, once; a program that
    /// has begun to is never tried again. Of clones, only one should be run.
    pub fn stdin(mut self, reader: impl AsyncRead + Send + Unpin + 'static) -> Self {
        self.input = Input::Reader(Arc::new(tokio::sync::Mutex::new(Box::new(reader))));
        self
    }

    /// The bytes at its stdin, however often it is tried.
    pub fn input(mut self, bytes: impl Into<Bytes>) -> Self {
        let bytes = bytes.into();
        // The end of a stream needs no credit: alone, it would be at the slave before the
        // attempt has a port to hear it.
        self.input = if bytes.is_empty() { Input::Nothing } else { Input::Bytes(bytes) };
        self
    }

    /// Only on this slave. If the slave is lost, so is the task.
    pub fn on(mut self, slave: &Slave) -> Self {
        self.placement = Placement::On(slave.id());
        self
    }

    /// At most so long from its dispatch to its end; the slave interrupts it then.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// May use less than its slave allows.
    pub fn limits(mut self, limits: TaskLimits) -> Self {
        self.limits = Some(Box::new(limits));
        self
    }

    fn invocation(&self) -> Invocation {
        let args = std::iter::once(&self.name).chain(&self.args).cloned().collect();
        let input = !matches!(self.input, Input::Nothing);
        Invocation { args, env: self.env.clone(), input }
    }

    fn submit(self, master: &Master, ports: &Arc<Ports>, flags: TaskFlags) -> Raw {
        let args = self.invocation().encode().map(Into::into);
        let task = Task::<()>::new(self.module, START);
        let (timeout, extras, placement) =
            (self.timeout, self.limits.map(|l| limited(*l)), self.placement);
        let ports = Some(Arc::clone(ports));
        let (calls, refused, image) = (1, None, None);
        let terms = Terms { flags, calls, timeout, extras, placement, ports, refused, image };
        let room = master.0.inbox.take_room();
        master.submit(&task, args, terms, room)
    }
}

/// The largest stdout that [`Master::output`] collects.
const MOST_COLLECTED: usize = 1 << 30;

impl Master {
    /// Runs a program. Never waits: the task is queued, and its handle returned.
    ///
    /// Its stdin and stdout flow while it runs, a few MiB of them in memory at most. It runs
    /// **at most once**: if its slave is lost when it may have begun, its handle resolves with
    /// [`Cause::SlaveLost`], for what it has read and written cannot be taken back.
    ///
    /// ```no_run
    /// # async fn example(master: dpfw::Master, wasm: Vec<u8>) -> Result<(), dpfw::TaskError> {
    /// use dpfw::Program;
    ///
    /// let status = master.run(Program::new(wasm).arg("--version")).status().await?;
    /// println!("{}", status.code());
    /// # Ok(())
    /// # }
    /// ```
    pub fn run(&self, program: Program) -> ProgramHandle {
        let ports = Ports::streaming(program.name.clone().into(), program.input.clone());
        let ports = Arc::new(ports);
        let raw = program.submit(self, &ports, TaskFlags::ONCE);
        ProgramHandle::new(raw, ports)
    }

    /// Runs a program to its end, and gives all that it wrote to stdout.
    ///
    /// Like any task it is dispatched again if its slave is lost (**at least once**), unless
    /// its stdin is a reader.
    ///
    /// ```no_run
    /// # async fn example(master: dpfw::Master, wasm: Vec<u8>) -> Result<(), dpfw::TaskError> {
    /// use dpfw::Program;
    ///
    /// let output = master.output(Program::new(wasm).input("to be or not to be")).await?;
    /// println!("{}: {} bytes", output.status.code(), output.stdout.len());
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`TaskError`] if it did not come to its end. Any exit status is a result.
    pub async fn output(&self, program: Program) -> Result<Output, TaskError> {
        let flags = match program.input {
            Input::Reader(_) => TaskFlags::ONCE,
            Input::Nothing | Input::Bytes(_) => TaskFlags::default(),
        };
        let name: Arc<str> = program.name.clone().into();
        let ports = Ports::collecting(name, program.input.clone(), MOST_COLLECTED);
        let ports = Arc::new(ports);
        let raw = program.submit(self, &ports, flags);
        let handle = ProgramHandle::new(raw, Arc::clone(&ports));
        let status = handle.collected().await?;
        let stdout = ports.take_collected().map_err(|allowed| {
            let cause = Cause::Limit { limit: Limit::Result, allowed: allowed as u64 };
            TaskError::new(&ports.name, None, 1, cause)
        })?;
        Ok(Output { status, stdout })
    }
}

impl Reserved {
    /// Runs a program on the reserved slave; see [`Master::run`].
    pub fn run(&self, program: Program) -> ProgramHandle {
        let placement = self.placement();
        self.master().run(Program { placement, ..program })
    }
}

impl fmt::Debug for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Program({}", self.name)?;
        self.args.iter().try_for_each(|arg| write!(f, " {arg:?}"))?;
        f.write_str(")")
    }
}
