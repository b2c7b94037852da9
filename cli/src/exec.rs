//! `dpfw exec`: a WASI program, its streams and its exit code passed on.
//!
//! Owns: the command's options, and the program that they describe. Does not: run it;
//! `one` and `each` do. Invariant: what dpfw itself has to say of one program is told apart
//! from what the program says: it has exit codes of its own, and its lines begin with
//! `error: `.

mod each;
mod lines;
mod one;
pub(crate) mod stderr;
mod template;

use crate::exit::{Exit, Failure};
use crate::master::Place;
use crate::screen::Screen;
use crate::units::Span;
use clap::Args;
use dpfw::Program;
use each::Each;
use std::path::Path;

/// Runs a WASI program: standard input, output, error and exit code are the program's.
///
/// The program has its arguments and what --env gives it, and nothing else: no files, no
/// network. With --each it runs once for every line of standard input. Without, the exit code
/// is the program's, or 124, 125 or 134.
#[derive(Args, Debug)]
#[command(after_help = crate::help::EXEC)]
pub(crate) struct Exec {
    /// A WASI program (a .wasm file compiled for wasm32-wasip1, or its text, .wat), and
    /// its arguments, also those that begin with a hyphen
    #[arg(value_names = ["PROGRAM", "ARGS"], required = true, trailing_var_arg = true)]
    #[arg(num_args = 1..)]
    command: Vec<String>,
    /// Sets a variable of the program's environment, which is empty otherwise. May be
    /// given several times
    #[arg(long, value_name = "NAME=VALUE", value_parser = variable)]
    env: Vec<(String, String)>,
    /// The program is interrupted after this time; with --each, this is for each line
    #[arg(long, value_name = "DURATION")]
    timeout: Option<Span>,
    #[command(flatten)]
    each: Each,
    #[command(flatten)]
    place: Place,
}

fn variable(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("write NAME=VALUE, for instance TZ=UTC".into()),
    }
}

impl Exec {
    /// Runs the command; gives the exit code.
    ///
    /// # Errors
    /// A [`Failure`] with the exit code.
    pub(crate) async fn run(&self, screen: &Screen) -> Result<u8, Failure> {
        if self.each.is_wanted() {
            return Ok(each::run(self, screen).await?.code());
        }
        one::run(self, screen)
            .await
            .map_err(|failure| Failure { exit: own(failure.exit), ..failure })
    }

    /// The program without arguments and input.
    fn program(&self) -> Result<Program, Failure> {
        let path = Path::new(self.path());
        let module = crate::module::program(path)?;
        let name = path.file_stem().map_or_else(|| "program".into(), |name| name.to_string_lossy());
        let mut program = Program::of(module).name(name);
        for (name, value) in &self.env {
            program = program.env(name, value);
        }
        Ok(match self.timeout {
            Some(timeout) => program.timeout(timeout.0),
            None => program,
        })
    }

    fn path(&self) -> &str {
        self.command.first().map_or("", String::as_str)
    }

    fn args(&self) -> &[String] {
        self.command.get(1..).unwrap_or_default()
    }
}

/// The exit code of a failure of dpfw's own, where those of the program are passed on.
fn own(exit: Exit) -> Exit {
    match exit {
        Exit::Deadline => Exit::ExecDeadline,
        Exit::Task => Exit::ExecTrap,
        Exit::Interrupted | Exit::Terminated | Exit::BrokenPipe => exit,
        _ => Exit::Exec,
    }
}
