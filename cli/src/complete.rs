//! `dpfw completions` and `dpfw man`: what clap knows of the program, for shells and for man.

use crate::Dpfw;
use crate::exit::{Exit, Failure};
use crate::run::write;
use crate::screen::Screen;
use clap::{Args, Command, CommandFactory};
use clap_complete::Shell;
use std::io;
use std::path::{Path, PathBuf};

/// Prints completions for a shell.
#[derive(Args, Debug)]
#[command(after_help = crate::help::COMPLETIONS)]
pub(crate) struct Completions {
    /// Which shell
    shell: Shell,
}

impl Completions {
    /// Runs the command.
    ///
    /// # Errors
    /// A [`Failure`] if standard output cannot be written.
    pub(crate) fn run(&self) -> Result<Exit, Failure> {
        let mut text = Vec::new();
        clap_complete::generate(self.shell, &mut Dpfw::command(), "dpfw", &mut text);
        write(&text)
    }
}

/// Writes the man pages, one for each command, into a directory.
///
/// Without a directory it prints the first of them.
#[derive(Args, Debug)]
#[command(after_help = crate::help::MAN)]
pub(crate) struct Man {
    /// Where to; it is made if it is not there
    #[arg(value_name = "DIR")]
    directory: Option<PathBuf>,
}

impl Man {
    /// Runs the command.
    ///
    /// # Errors
    /// A [`Failure`] if something cannot be written.
    pub(crate) fn run(&self, screen: &Screen) -> Result<Exit, Failure> {
        let Some(directory) = &self.directory else {
            let mut page = Vec::new();
            clap_mangen::Man::new(command()).render(&mut page)?;
            return write(&page);
        };
        pages(directory).map_err(|error| {
            let text = format!("{}: the pages cannot be written: {error}", directory.display());
            Failure::new(Exit::Internal, text)
        })?;
        screen.line(format_args!("man pages are in {}", directory.display()));
        Ok(Exit::Ok)
    }
}

/// `dpfw help run` is `dpfw run --help`, and no page.
fn command() -> Command {
    Dpfw::command().disable_help_subcommand(true)
}

/// Writes a page for each command: `dpfw.1`, `dpfw-run.1` and so on.
fn pages(directory: &Path) -> io::Result<()> {
    std::fs::create_dir_all(directory)?;
    clap_mangen::generate_to(command(), directory)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_has_a_page() {
        let dir = tempfile::tempdir().expect("a directory");
        pages(&dir.path().join("man")).expect("written");
        for name in ["dpfw", "dpfw-run", "dpfw-store", "dpfw-store-cas", "dpfw-man"] {
            let page = std::fs::read_to_string(dir.path().join(format!("man/{name}.1")));
            let page = page.expect(name);
            assert!(page.contains(&format!(".TH {name} 1")), "{name}: {page}");
        }
    }
}
