//! The program `dpfw`: slaves as processes, tasks from the command line.
//!
//! Owns: parsing, rendering, exit codes. Does not: anything else; the crate `dpfw` does.
//! Invariants: standard output has results and the lines that programs wait for, and
//! nothing else; whatever ends it, the exit code is one of those that `help` lists, or the
//! code of the program that `exec` ran.

#![forbid(unsafe_code)]

mod address;
mod advice;
mod build;
mod certs;
mod complete;
mod drain;
mod escape;
mod exec;
mod exit;
mod frames;
mod grants;
mod help;
mod image;
mod inspect;
mod json;
mod linked;
mod log;
mod map;
mod master;
mod module;
mod new;
mod progress;
mod report;
mod resident;
mod run;
mod screen;
mod security;
mod settings;
mod signals;
mod slave;
mod slaves;
mod store;
mod table;
mod units;

use clap::{Parser, Subcommand};
use exit::{Exit, Failure};
use screen::{Form, Screen};
use std::process::ExitCode;

/// Dispatches tasks, compiled to WebAssembly, to slaves over TCP.
#[derive(Parser, Debug)]
#[command(version, name = "dpfw", after_help = help::ALL, arg_required_else_help = true)]
pub(crate) struct Dpfw {
    #[command(subcommand)]
    command: Command,
    /// For programs: what is printed, errors and the log are JSON, one value a line
    #[arg(long, global = true)]
    json: bool,
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
    New(new::New),
    Build(build::BuildCommand),
    Store(Box<store::StoreCommand>),
    Image(Box<image::ImageCommand>),
    Resident(Box<resident::ResidentCommand>),
    Slaves(slaves::Slaves),
    Drain(drain::DrainCommand),
    Certs(certs::CertsCommand),
    Completions(complete::Completions),
    Man(complete::Man),
}

fn main() -> ExitCode {
    // A slave starts this program again for each module that it compiles confined.
    dpfw::compile_child();
    let dpfw = match Dpfw::try_parse() {
        Ok(dpfw) => dpfw,
        Err(error) => return unusable(&error),
    };
    let form = if dpfw.json { Form::Json } else { Form::Text };
    let screen = Screen::new(form, dpfw.log.verbose());
    let stderr = match &dpfw.command {
        Command::Exec(_) => log::Stderr::PassedOn,
        _ => log::Stderr::Logged,
    };
    let started = dpfw.log.start(&screen, stderr);
    let code = started.and_then(|()| dispatch(&dpfw.command, &screen));
    let code = code.unwrap_or_else(|failure| {
        screen.failure(&failure);
        failure.exit.code()
    });
    code.into()
}

/// The command line cannot be used, or asks for help.
fn unusable(error: &clap::Error) -> ExitCode {
    let is_json = std::env::args_os().take_while(|arg| arg != "--").any(|arg| arg == "--json");
    if error.use_stderr() && is_json {
        let text = error.render().to_string();
        let text = text.trim().trim_start_matches("error: ");
        Screen::new(Form::Json, 0).failure(&Failure::usage(text));
        return Exit::Usage.code().into();
    }
    // Prints it where it belongs, and ends with 0 or 2.
    error.exit()
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
            Command::Inspect(inspect) => inspect.run(screen),
            Command::New(new) => new.run(screen),
            Command::Build(build) => build.run(screen),
            Command::Store(store) => store.run(screen).await,
            Command::Image(image) => image.run(screen).await,
            Command::Resident(resident) => resident.run(screen).await,
            Command::Slaves(slaves) => slaves.run(screen).await,
            Command::Drain(drain) => drain.run(screen).await,
            Command::Certs(certs) => certs.run(screen),
            Command::Completions(completions) => completions.run(),
            Command::Man(man) => man.run(screen),
        };
        exit.map(Exit::code)
    });
    // A name that is still being resolved is not waited for.
    runtime.shutdown_background();
    code
}
