//! `dpfw run`: one call, its result on standard output.

use crate::exit::{Exit, Failure};
use crate::image;
use crate::json::{self, Json};
use crate::master::{self, Place};
use crate::module::{self, Function};
use crate::screen::Screen;
use crate::signals::Signals;
use crate::units::Span;
use clap::Args;
use dpfw::{CallExt, Kept, Master, Placed, Receipt, TaskError, TaskResult};
use serde::Serialize;
use std::io::{self, Write};
use std::path::PathBuf;
use std::time::Duration;

/// Runs a task and prints its result as JSON, in one line.
///
/// Several results of a plain function are an array, no result is null, bytes are an array
/// of numbers. Without --slave and --listen, a slave within the process runs it.
#[derive(Args, Debug)]
#[command(after_help = crate::help::RUN)]
pub(crate) struct Run {
    /// A WebAssembly module, or its text (.wat)
    module: PathBuf,
    /// A task's name, or an exported function of a plain module
    function: String,
    /// The arguments as a JSON array, an element for each; none if left out; `-` reads
    /// them from standard input
    #[arg(value_name = "ARGS", allow_hyphen_values = true)]
    args: Option<String>,
    /// At most so long from its dispatch to its end; it is interrupted then
    #[arg(long, value_name = "DURATION")]
    timeout: Option<Span>,
    /// Never tries it again once it may have run
    #[arg(long)]
    once: bool,
    /// Leaves the result at its slave, under this key of the keyed store, and prints where it
    /// is: {"slave": NAME, "key": KEY, "version": N, "bytes": N}
    #[arg(long, value_name = "KEY")]
    keep: Option<String>,
    /// Only on a slave that has an entry under this key, of all these if given repeatedly
    #[arg(long, value_name = "KEY")]
    near: Vec<String>,
    #[command(flatten)]
    from: image::From,
    /// Writes to standard error where and when it ran, as JSON in one line
    #[arg(long)]
    receipt: bool,
    #[command(flatten)]
    place: Place,
}

impl Run {
    /// Runs the command.
    ///
    /// # Errors
    /// A [`Failure`] with the exit code.
    pub(crate) async fn run(&self, screen: &Screen) -> Result<Exit, Failure> {
        let mut signals = Signals::new()?;
        let function = module::load(&self.module)?.function(&self.function)?;
        let call = self.call(&function)?;
        let master = self.place.build(screen, &mut signals).await?;
        let call = match self.from.find(&master).await? {
            Some(image) => call.image(&image),
            None => call,
        };
        let ended = match &self.keep {
            None => self.ended(&master, call, &mut signals).await?,
            Some(key) => self.ended(&master, call.keep(key), &mut signals).await?,
        };
        master::end(&master).await;
        let (result, receipt) = ended;
        let result = result.map_err(|error| failure(&function, &error))?;
        if let Some(receipt) = receipt.filter(|_| self.receipt) {
            screen.write(&json::line(&Told::new(&receipt))?);
        }
        write(&result)
    }

    /// Dispatches a call and waits for its end, unless a signal comes.
    async fn ended<T: TaskResult + Printable>(
        &self,
        master: &Master,
        call: Placed<T>,
        signals: &mut Signals,
    ) -> Result<(Result<Vec<u8>, TaskError>, Option<Receipt>), Failure> {
        let mut handle = master.dispatch(call);
        let result = tokio::select! {
            result = &mut handle => result,
            exit = signals.next() => {
                drop(handle);
                master::end(master).await;
                return Err(master::cancelled(exit));
            }
        };
        let receipt = handle.receipt();
        let line = match result {
            Ok(result) => Ok(result.line()?),
            Err(error) => Err(error),
        };
        Ok((line, receipt))
    }

    fn call(&self, function: &Function) -> Result<Placed<Json>, Failure> {
        let arguments = json::given(self.args.as_deref())?;
        let call = function.call(&arguments).map_err(|text| Failure::new(Exit::Call, text))?;
        let mut call = Placed::from(call);
        if let Some(timeout) = self.timeout {
            call = call.timeout(timeout.0);
        }
        if self.once {
            call = call.once();
        }
        if !self.near.is_empty() {
            call = call.near(&self.near[..]);
        }
        Ok(call)
    }
}

fn failure(function: &Function, error: &TaskError) -> Failure {
    let failure = Failure::of_task(error);
    let frames = function.located(&failure.frames);
    Failure { text: failure.text + &function.hint(error.cause()), frames, ..failure }
}

/// A receipt as it is printed; times in microseconds.
#[derive(Serialize)]
struct Told<'a> {
    slave: &'a str,
    attempts: u32,
    queued_here_us: u64,
    travelled_us: u64,
    queued_there_us: u64,
    initialised_us: u64,
    executed_us: u64,
    total_us: u64,
    memory_bytes: u64,
}

impl<'a> Told<'a> {
    fn new(receipt: &'a Receipt) -> Self {
        let us = |duration: Duration| u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        Self {
            slave: receipt.slave.as_str(),
            attempts: receipt.attempts,
            queued_here_us: us(receipt.queued_here),
            travelled_us: us(receipt.travelled),
            queued_there_us: us(receipt.queued_there),
            initialised_us: us(receipt.initialised),
            executed_us: us(receipt.executed),
            total_us: us(receipt.total()),
            memory_bytes: receipt.memory_bytes,
        }
    }
}

/// What is printed in one line.
trait Printable {
    fn line(self) -> Result<Vec<u8>, Failure>;
}

impl Printable for Json {
    fn line(self) -> Result<Vec<u8>, Failure> {
        let Self(mut line) = self;
        line.push(b'\n');
        Ok(line)
    }
}

impl Printable for Kept<Json> {
    fn line(self) -> Result<Vec<u8>, Failure> {
        let Self { slave, key, version, bytes, .. } = &self;
        let slave = slave.name().as_str();
        json::line(&ToldKept { slave, key, version: *version, bytes: *bytes })
    }
}

/// A result that stays at its slave, as it is printed.
#[derive(Serialize)]
struct ToldKept<'a> {
    slave: &'a str,
    key: &'a str,
    version: u64,
    bytes: u64,
}

/// Writes to standard output.
pub(crate) fn write(bytes: &[u8]) -> Result<Exit, Failure> {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(bytes).and_then(|()| stdout.flush()) {
        Ok(()) => Ok(Exit::Ok),
        Err(error) => output_failed(&error),
    }
}

/// What becomes of a failure to write to standard output.
pub(crate) fn output_failed(error: &io::Error) -> Result<Exit, Failure> {
    match error.kind() {
        io::ErrorKind::BrokenPipe => Ok(Exit::BrokenPipe),
        _ => Err(Failure::new(Exit::Output, format!("standard output cannot be written: {error}"))),
    }
}
