//! `dpfw map`: a line in, a line out.
//!
//! Owns: the pairing of results with lines. Does not: read or write; `input` and `output`
//! do, on threads of their own, so that neither a slow pipe nor a slow disk holds up the
//! links. Invariants: line N of the results belongs to line N of the input; what is in
//! memory is bounded by the window of the map and by the queues to and from the threads.

mod input;
mod output;
mod pairing;

pub(crate) use input::length;

use crate::exit::{Exit, Failure};
use crate::image;
use crate::json::{self, Json};
use crate::master::{self, Place};
use crate::module::{self, Function};
use crate::progress::Bar;
use crate::run::output_failed;
use crate::screen::Screen;
use crate::signals::Signals;
use crate::units::Span;
use clap::Args;
use dpfw::{Cause, TaskError};
use futures_core::Stream;
use output::Output;
use pairing::{Line, Outcome, Paired, Step, Wait};
use serde::Serialize;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// Runs a task for every line of standard input, and prints the results in the order of
/// the lines.
///
/// A line is a JSON array, the arguments of one call; a line of the results is JSON. A
/// line that fails is told on standard error with its number, and its place in the results
/// is taken by {"dpfw_error": {"line": N, "code": N, "message": TEXT}}; the others go on.
#[derive(Args, Debug)]
#[command(after_help = crate::help::MAP)]
pub(crate) struct Map {
    /// A WebAssembly module, or its text (.wat)
    module: PathBuf,
    /// A task's name, or an exported function of a plain module
    function: String,
    /// Each line gets a sandbox of its own. Otherwise lines that go together as one task
    /// share one, which is faster
    #[arg(long)]
    isolated: bool,
    /// How many lines go together as one task; learnt from what they cost unless told
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    chunk: Option<u32>,
    /// A line's task is interrupted after this time. Lines do not go together then, unless
    /// --chunk says so; the time is the chunk's then
    #[arg(long, value_name = "DURATION")]
    timeout: Option<Span>,
    /// Only on slaves that have an entry under this key, of all these if given repeatedly
    #[arg(long, value_name = "KEY")]
    near: Vec<String>,
    #[command(flatten)]
    from: image::From,
    #[command(flatten)]
    place: Place,
}

impl Map {
    /// Runs the command.
    ///
    /// # Errors
    /// A [`Failure`] with the exit code.
    pub(crate) async fn run(&self, screen: &Screen) -> Result<Exit, Failure> {
        let mut signals = Signals::new()?;
        let function = Arc::new(module::load(&self.module)?.function(&self.function)?);
        let master = self.place.build(screen, &mut signals).await?;
        let image = self.from.find(&master).await?;
        let input = input::read(Arc::clone(&function))?;
        let bar = Bar::new(screen, input.total_bytes);
        let (lines, calls) = pairing::new(input.entries);
        let mut results = master.map_stream(calls, |call| call);
        if self.isolated {
            results = results.isolated();
        }
        if let Some(chunk) = self.chunk {
            results = results.chunk(chunk);
        }
        if let Some(timeout) = self.timeout {
            results = results.timeout(timeout.0);
        }
        if !self.near.is_empty() {
            results = results.near(&self.near[..]);
        }
        if let Some(image) = &image {
            results = results.image(image);
        }
        let output = Output::start()?;
        let mut session = Session { screen, function: &function, bar, output, piece: Vec::new() };
        let ended = session.run(lines.pair(results), &mut signals).await;
        let ended = session.end(ended, &mut signals).await;
        master::end(&master).await;
        ended
    }
}

/// A map under way.
struct Session<'a> {
    screen: &'a Screen,
    function: &'a Function,
    bar: Bar,
    output: Output,
    /// Results that the writing thread does not have yet.
    piece: Vec<u8>,
}

/// Results are handed to the writing thread in pieces of about this size.
const PIECE: usize = 64 * 1024;

/// How long the writing thread may still take once a signal came.
const PATIENCE: Duration = Duration::from_secs(1);

impl Session<'_> {
    /// Takes results until the input is over, or nothing more can come of it.
    async fn run<S>(&mut self, mut lines: Paired<S>, signals: &mut Signals) -> Result<(), Failure>
    where
        S: Stream<Item = Result<Json, TaskError>> + Unpin,
    {
        loop {
            let wait = if self.piece.is_empty() { Wait::Yes } else { Wait::No };
            let step = tokio::select! {
                biased;
                exit = signals.next() => return Err(master::cancelled(exit)),
                step = lines.step(wait) => step,
            };
            let is_idle = matches!(step, Step::Idle);
            match step {
                Step::Line(line, outcome) => self.take(line, outcome)?,
                Step::Idle => {}
                Step::Over(outcome) => return outcome.map_err(Failure::usage),
            }
            if is_idle || self.piece.len() >= PIECE {
                self.bar.show();
                let piece = std::mem::take(&mut self.piece);
                let is_read = tokio::select! {
                    biased;
                    exit = signals.next() => return Err(master::cancelled(exit)),
                    is_read = self.output.write(piece) => is_read,
                };
                if !is_read {
                    return Ok(());
                }
            }
        }
    }

    /// Takes what became of a line.
    fn take(&mut self, line: Line, outcome: Outcome) -> Result<(), Failure> {
        let failed = match outcome {
            Outcome::Result(Json(text)) => {
                self.piece.extend_from_slice(&text);
                self.piece.push(b'\n');
                self.bar.add(line.bytes, false);
                return Ok(());
            }
            Outcome::Refused(failure) => failure,
            Outcome::Failed(error) => {
                let failure = failure(self.function, &error);
                if concerns_all(error.cause()) {
                    let text =
                        format!("line {}: {}; the rest was not run", line.number, failure.text);
                    return Err(Failure { text, ..failure });
                }
                failure
            }
        };
        self.bar.add(line.bytes, true);
        self.screen.line_failure(line.number, &failed);
        let dpfw_error =
            Told { line: line.number, code: failed.exit.code(), message: &failed.text };
        self.piece.extend(json::line(&InPlace { dpfw_error })?);
        Ok(())
    }

    /// Writes what is left, and says how it went.
    async fn end(self, ended: Result<(), Failure>, signals: &mut Signals) -> Result<Exit, Failure> {
        let (lines, failed) = self.bar.counts();
        drop(self.bar);
        let patience = match &ended {
            Err(Failure { exit: Exit::Interrupted | Exit::Terminated, .. }) => PATIENCE,
            _ => Duration::MAX,
        };
        let write = async {
            // Whether anybody reads it is found out right below.
            self.output.write(self.piece).await;
            self.output.end().await
        };
        let written = tokio::select! {
            written = tokio::time::timeout(patience, write) => written.unwrap_or(Ok(())),
            exit = signals.next() => return Err(master::cancelled(exit)),
        };
        ended?;
        if let Err(error) = written {
            return output_failed(&error);
        }
        if failed > 0 {
            let text = format!("{failed} of {lines} lines failed");
            return Err(Failure::new(Exit::Lines, text));
        }
        Ok(Exit::Ok)
    }
}

/// What stands in the place of a result.
#[derive(Serialize)]
struct InPlace<'a> {
    dpfw_error: Told<'a>,
}

#[derive(Serialize)]
struct Told<'a> {
    line: u64,
    code: u8,
    message: &'a str,
}

/// What is said of a line: its task's error without the frames, which would be the same
/// for many lines.
fn failure(function: &Function, error: &TaskError) -> Failure {
    let text = format!("{error}{}", function.hint(error.cause()));
    Failure { text, frames: Vec::new(), ..Failure::of_task(error) }
}

/// Whether every other line would fail of the same.
pub(crate) fn concerns_all(cause: &Cause) -> bool {
    matches!(
        cause,
        Cause::MissingTask { .. }
            | Cause::NeedsImage { .. }
            | Cause::ImageGone { .. }
            | Cause::NoSlaves
            | Cause::Shutdown
    ) || Exit::of(cause) == Exit::Module
}
