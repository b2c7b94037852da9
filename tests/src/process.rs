//! A slave in a process of its own, which can be killed.
//!
//! Invariant: the process ends when its value is dropped, and when the test's process
//! does, however that ends: it holds the other end of the slave's standard input.

use crate::wait::within;
use anyhow::{Context, Result, ensure};
use rustix::process::{Pid, Signal, kill_process};
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};

/// A running `dpfw-test-slave`.
#[derive(Debug)]
pub struct Process {
    child: Child,
    /// Where it listens.
    pub address: String,
}

impl Process {
    /// Starts the program as a slave of this name with so many slots.
    ///
    /// # Errors
    /// If it does not say where it listens.
    pub async fn start(program: &str, name: &str, slots: usize) -> Result<Self> {
        Self::with(Command::new(program).args([name, &slots.to_string()])).await
    }

    /// The same, of a slave that dials a master at this address as well, again and again.
    ///
    /// # Errors
    /// If it does not say where it listens.
    pub async fn dialling(program: &Path, name: &str, slots: usize, address: &str) -> Result<Self> {
        let mut command = Command::new(program);
        Self::with(command.args([name, &slots.to_string()]).env("DPFW_TEST_DIAL", address)).await
    }

    /// The same, of a slave with one slot that keeps its store in a directory. If `longest` is
    /// given no file that it writes may be longer, until it is allowed by `prlimit`.
    ///
    /// # Errors
    /// If it does not say where it listens.
    pub async fn keeping(
        program: &str,
        name: &str,
        directory: &Path,
        longest: Option<u64>,
    ) -> Result<Self> {
        let mut command = Command::new(program);
        command.args([name, "1"]).env("DPFW_TEST_STORE", directory);
        if let Some(bytes) = longest {
            command.env("DPFW_TEST_LONGEST_FILE", bytes.to_string());
        }
        Self::with(&mut command).await
    }

    async fn with(command: &mut Command) -> Result<Self> {
        Self::with_cache(command, &crate::fleet::cache()?).await
    }

    /// The program as this command starts it, but for its last argument: where compiled modules
    /// are kept.
    ///
    /// # Errors
    /// If it does not say where it listens.
    pub async fn with_cache(command: &mut Command, cache: &Path) -> Result<Self> {
        let child = command.arg(cache).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
        let mut child = child.with_context(|| format!("{command:?} does not start"))?;
        let stdout = child.stdout.take().context("its output is a pipe")?;
        let mut process = Self { child, address: String::new() };
        let line = tokio::task::spawn_blocking(move || {
            let mut line = String::new();
            BufReader::new(stdout).read_line(&mut line).map(|_| line)
        });
        let line = within("the slave to say where it listens", line).await???;
        let address = line.trim().strip_prefix("listening on ");
        ensure!(address.is_some(), "{command:?} said {line:?}");
        process.address = address.unwrap_or_default().to_owned();
        Ok(process)
    }

    /// Its number.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// `SIGKILL`.
    ///
    /// # Errors
    /// What the system says.
    pub fn kill(&mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// Its number in the system.
    pub fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    /// Sends a signal.
    ///
    /// # Errors
    /// What the system says.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        Ok(kill_process(self.pid(), signal)?)
    }

    /// Waits for its end.
    ///
    /// # Errors
    /// If it does not end.
    pub async fn ended(mut self) -> Result<ExitStatus> {
        self.end().await
    }

    /// The same of one that is still needed.
    ///
    /// # Errors
    /// If it does not end.
    pub async fn end(&mut self) -> Result<ExitStatus> {
        crate::wait::until("the slave's process to end", async || {
            Ok(self.child.try_wait()?.is_some())
        })
        .await?;
        Ok(self.child.wait()?)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
