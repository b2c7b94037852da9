//! Slaves as processes of their own.
//!
//! Owns: the processes and the directories of their compiled modules. Invariant: none of them
//! outlives this value.

use anyhow::{Context, Result, bail, ensure};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;
use tempfile::TempDir;

/// How long a slave may take to say where it listens; it takes milliseconds.
const START: Duration = Duration::from_secs(30);

/// Running slaves, each the program `dpfw` in a process of its own; ended when dropped.
#[derive(Debug)]
pub struct Slaves {
    processes: Vec<Process>,
    /// Removed when the processes have ended: fields are dropped in their order.
    _cache: TempDir,
}

#[derive(Debug)]
struct Process {
    child: Child,
    address: String,
    /// Kept open, so that the slave can go on writing.
    _stdout: BufReader<ChildStdout>,
}

/// Where slaves keep compiled modules and images.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Caches {
    /// All in one directory, as slaves of one user on one machine do.
    Shared,
    /// Each in a directory of its own, as slaves on different machines do.
    Apart,
}

impl Slaves {
    /// Starts so many slaves of one slot each, with these options of `dpfw slave` beside.
    ///
    /// # Errors
    /// If the program is not built, or a slave does not say where it listens.
    pub fn start(number: usize, caches: Caches, options: &[&str]) -> Result<Self> {
        let program = program()?;
        let cache = tempfile::tempdir()?;
        let start = |n| {
            let name = match caches {
                Caches::Shared => "modules".to_owned(),
                Caches::Apart => format!("modules-{n}"),
            };
            Process::start(&program, &cache.path().join(name), options)
        };
        let processes = (0..number).map(start).collect::<Result<_>>()?;
        Ok(Self { processes, _cache: cache })
    }

    /// How many there are.
    #[expect(clippy::len_without_is_empty, reason = "there are as many as were started")]
    pub fn len(&self) -> usize {
        self.processes.len()
    }

    /// Where they listen.
    pub fn addresses(&self) -> impl Iterator<Item = &str> {
        self.processes.iter().map(|process| process.address.as_str())
    }

    /// Kills one with SIGKILL, which it cannot catch, and gives its address.
    ///
    /// # Errors
    /// If there is none left.
    pub fn kill_one(&mut self) -> Result<String> {
        let mut process = self.processes.pop().context("there is no slave left to kill")?;
        process.child.kill().context("the slave cannot be killed")?;
        Ok(std::mem::take(&mut process.address))
    }
}

impl Process {
    fn start(program: &Path, cache: &Path, options: &[&str]) -> Result<Self> {
        let mut command = Command::new(program);
        command.args(["slave", "--listen", "127.0.0.1:0", "--slots", "1", "--cache"]).arg(cache);
        command.args(options);
        let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn();
        let mut child = child.with_context(|| format!("{} cannot start", program.display()))?;
        let stdout = child.stdout.take().context("the slave has no stdout")?;
        match first_line(stdout) {
            Ok((line, stdout)) if line.starts_with("listening on ") => {
                let address = line.trim_start_matches("listening on ").trim().to_owned();
                Ok(Self { child, address, _stdout: stdout })
            }
            other => {
                // It may have ended already.
                let _ = child.kill();
                let _ = child.wait();
                let (line, _) = other?;
                bail!("{} said {line:?}, not where it listens", program.display())
            }
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The first line that a slave prints; an empty one if it ends without.
fn first_line(stdout: ChildStdout) -> Result<(String, BufReader<ChildStdout>)> {
    let (sender, receiver) = mpsc::sync_channel(1);
    // It ends with the line, or with the process, which is killed when the time is over.
    std::thread::spawn(move || {
        let (mut stdout, mut line) = (BufReader::new(stdout), String::new());
        let read = stdout.read_line(&mut line).map(|_| (line, stdout));
        // Nobody waits any more if the time is over.
        let _ = sender.send(read);
    });
    let read = receiver.recv_timeout(START).context("a slave does not say where it listens")?;
    read.context("a slave's output cannot be read")
}

/// The program `dpfw`, built beside this one.
fn program() -> Result<PathBuf> {
    let program = std::env::current_exe()?.with_file_name("dpfw");
    ensure!(
        program.is_file(),
        "{} is not there: build it in the same profile, with `cargo build --workspace` \
         (and `--release`, if this is one)",
        program.display()
    );
    Ok(program)
}
