//! `dpfw exec --each`: a program for every line, results in the order of the lines.
//!
//! Owns: which programs are out, and what becomes of each. Invariants: at most `--jobs` of
//! them are out, and what is in memory is theirs; every line has its result in its place,
//! or is listed.

mod report;

use super::lines::{End, Line, lines};
use super::{Exec, template};
use crate::exit::{Exit, Failure};
use crate::map::concerns_all;
use crate::master;
use crate::progress::Bar;
use crate::run::output_failed;
use crate::screen::Screen;
use crate::signals::Signals;
use clap::Args;
use dpfw::{Master, Output, Program, TaskError};
use futures_util::stream::{FuturesOrdered, StreamExt};
use report::{Form, Report};
use std::io;
use tokio::io::{AsyncWriteExt, BufReader, Stdout};

/// How a program is run for every line.
#[derive(Args, Debug)]
#[command(next_help_heading = "A program for every line")]
pub(super) struct Each {
    /// Runs the program once for every line of standard input, in the place of {} in its
    /// arguments, or behind them. Outputs are written whole, in the order of the lines
    #[arg(long)]
    each: bool,
    /// Lines end with NUL, not with a newline, as `find -print0` writes them
    #[arg(short = '0', long, requires = "each")]
    null: bool,
    /// How many run, or wait for those before them, at once; as many as the slaves have
    /// slots and some more unless told
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..), requires = "each")]
    jobs: Option<u32>,
    /// Ends at the first line that fails: no more are started, and what runs is cancelled
    #[arg(long, requires = "each")]
    halt: bool,
}

impl Each {
    pub(super) fn is_wanted(&self) -> bool {
        self.each
    }
}

/// Programs beyond the slots that are out: on their way, or waiting at the slaves.
const MORE: usize = 4;

/// The most that are out unless told: each holds its output until those before it are
/// written.
const MOST: usize = 1024;

/// Runs the program for every line.
pub(super) async fn run(exec: &Exec, screen: &Screen) -> Result<Exit, Failure> {
    let mut signals = Signals::new()?;
    let program = exec.program()?;
    let master = exec.place.build(screen, &mut signals).await?;
    let form = if screen.is_json() { Form::Json } else { Form::Plain };
    let mut session = Session {
        exec,
        master: &master,
        program,
        bar: Bar::new(screen, crate::map::length()?),
        report: Report::new(form),
        stdout: tokio::io::stdout(),
    };
    let ended = tokio::select! {
        ended = session.run() => ended,
        exit = signals.next() => Ended::Failed(master::cancelled(exit)),
    };
    let (done, _) = session.bar.counts();
    let report = session.report;
    drop(session.bar);
    master::end(&master).await;
    report.list(screen);
    match ended {
        Ended::Over => report.exit(done),
        Ended::Unread => Ok(Exit::BrokenPipe),
        Ended::Failed(failure) => Err(failure),
    }
}

/// How all of it ended.
enum Ended {
    /// All lines are done.
    Over,
    /// Nobody reads the results any more.
    Unread,
    Failed(Failure),
}

impl From<Failure> for Ended {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

struct Session<'a> {
    exec: &'a Exec,
    master: &'a Master,
    program: Program,
    bar: Bar,
    report: Report,
    stdout: Stdout,
}

impl Session<'_> {
    /// Runs programs until the lines are over.
    async fn run(&mut self) -> Ended {
        match self.run_lines().await {
            Ok(()) => Ended::Over,
            Err(ended) => ended,
        }
    }

    async fn run_lines(&mut self) -> Result<(), Ended> {
        let end = if self.exec.each.null { End::Nul } else { End::Newline };
        let (exec, master, program) = (self.exec, self.master, self.program.clone());
        let mut lines = std::pin::pin!(lines(BufReader::new(tokio::io::stdin()), end));
        let (mut out, mut is_over) = (FuturesOrdered::new(), false);
        loop {
            tokio::select! {
                biased;
                line = lines.next(), if !is_over && out.len() < self.jobs() => match line {
                    Some(Ok(line)) => out.push_back(start(exec, master, &program, line)),
                    Some(Err(error)) => {
                        let text = format!("standard input cannot be read: {error}");
                        return Err(Failure::usage(text).into());
                    }
                    None => is_over = true,
                },
                Some((line, outcome)) = out.next() => self.take(&line, outcome).await?,
                else => return Ok(()),
            }
        }
    }

    /// How many programs may be out.
    fn jobs(&self) -> usize {
        let slots = || -> usize {
            let slaves = self.master.slaves();
            let slots: usize = slaves.iter().map(|slave| slave.slots() as usize).sum();
            (slots + MORE).min(MOST)
        };
        self.exec.each.jobs.map_or_else(slots, |jobs| jobs as usize)
    }

    /// Takes what became of a line.
    async fn take(&mut self, line: &Line, outcome: Outcome) -> Result<(), Ended> {
        let text = self.report.result(line, &outcome)?;
        self.write(&text).await?;
        let has_failed = self.report.note(line, &outcome);
        self.bar.add(line.bytes, has_failed);
        self.bar.show();
        match outcome {
            Outcome::Failed(error) if concerns_all(error.cause()) => {
                let failure = Failure::of_task(&error);
                let text = format!("line {}: {}; the rest was not run", line.number, failure.text);
                Err(Failure { text, ..failure }.into())
            }
            _ if has_failed && self.exec.each.halt => {
                let text = format!("line {} failed; the rest was not run", line.number);
                Err(Failure::new(Exit::Lines, text).into())
            }
            _ => Ok(()),
        }
    }

    async fn write(&mut self, text: &[u8]) -> Result<(), Ended> {
        let mut write = async || -> io::Result<()> {
            self.stdout.write_all(text).await?;
            self.stdout.flush().await
        };
        write().await.map_err(|error| match output_failed(&error) {
            Ok(_) => Ended::Unread,
            Err(failure) => Ended::Failed(failure),
        })
    }
}

/// What became of a line.
#[derive(Debug)]
enum Outcome {
    /// The program ended by itself, with whatever status.
    Ended(Output),
    Failed(TaskError),
    /// It cannot be an argument.
    Refused(String),
}

/// Runs the program for a line.
async fn start(exec: &Exec, master: &Master, program: &Program, line: Line) -> (Line, Outcome) {
    let outcome = match &line.text {
        Err(why) => Outcome::Refused(why.clone()),
        Ok(text) => {
            let program = program.clone().args(template::arguments(exec.args(), text));
            match master.output(program).await {
                Ok(output) => Outcome::Ended(output),
                Err(error) => Outcome::Failed(error),
            }
        }
    };
    (line, outcome)
}
