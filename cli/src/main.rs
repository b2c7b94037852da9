//! The program `dpfw`: slaves as processes, tasks from the command line.
//!
//! Owns: parsing, rendering, exit codes. Does not: anything else; the crate `dpfw` does.
//! Invariants: standard output has results and the lines that programs wait for, and
//! nothing else; whatever ends it, the exit code is one of `exit::HELP`, or the code of the
//! program that `exec` ran.

#![forbid(unsafe_code)]

mod address;
mod escape;
mod exec;
mod exit;
mod inspect;
mod json;
mod log;
mod map;
mod master;
mod module;
mod progress;
mod run;
mod screen;
mod settings;
mod signals;
mod slave;
mod units;

use clap::{Parser, Subcommand};
use exit::{Exit, Failure};
use screen::Screen;
use std::process::ExitCode;

/// Dispatches tasks, compiled to WebAssembly, to slaves over TCP.
#[derive(Parser, Debug)]
#[command(version, name = "dpfw", after_help = exit::HELP, arg_required_else_help = true)]
struct Dpfw {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    log: log::LogOptions,
}

#[derive(Subcommand, Debug)]
enum Command {
    Slave(Box<slave::SlaveCommand>),
    Run(Box<run::Run>),
    Map(Box<map::Map>),
    Exec(Box<exec::Exec>),
    Inspect(Box<inspect::Inspect>),
}

fn main() -> ExitCode {
    // clap prints what is wrong with the command line and ends with code 2.
    let dpfw = Dpfw::parse();
    let screen = Screen::default();
    let stderr = match &dpfw.command {
        Command::Exec(_) => log::Stderr::PassedOn,
        _ => log::Stderr::Logged,
    };
    let started = dpfw.log.start(&screen, stderr);
    let code = started.and_then(|()| dispatch(&dpfw.command, &screen));
    let code = code.unwrap_or_else(|Failure { exit, text }| {
        screen.error(text);
        exit.code()
    });
    code.into()
}

/// Runs a command on this thread: the slave has threads of its own, and an idle process
/// stays small. Gives the exit code.
fn dispatch(command: &Command, screen: &Screen) -> Result<u8, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let code = runtime.block_on(async {
        let exit = match command {
            // It ends as its program does.
            Command::Exec(exec) => return exec.run(screen).await,
            Command::Slave(slave) => slave.run(screen).await,
            Command::Run(run) => run.run(screen).await,
            Command::Map(map) => map.run(screen).await,
            Command::Inspect(inspect) => inspect.run(),
        };
        exit.map(Exit::code)
    });
    // A name that is still being resolved is not waited for.
    runtime.shutdown_background();
    code
}
