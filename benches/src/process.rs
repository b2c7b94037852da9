//! Other processes: ended when dropped.

use anyhow::{Context, Result, bail};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

/// How long a line of a log is waited for.
const PATIENCE: Duration = Duration::from_secs(60);

/// A process that said where it listens.
pub(crate) struct Process {
    child: Child,
    pub(crate) address: String,
    /// Of the log, if it is listened to.
    lines: Option<Receiver<(Instant, String)>>,
}

impl Process {
    /// Starts a program and reads its address: the last word of its first line.
    pub(crate) fn start(program: &Path, args: &[&str]) -> Result<Self> {
        Self::begin(program, Command::new(program).args(args))
    }

    fn begin(program: &Path, command: &mut Command) -> Result<Self> {
        let child = command.stdout(Stdio::piped()).spawn();
        let mut child = child.with_context(|| format!("{} cannot start", program.display()))?;
        let mut line = String::new();
        if let Some(stdout) = child.stdout.take() {
            BufReader::new(stdout).read_line(&mut line)?;
        }
        match line.split_whitespace().last() {
            Some(address) => Ok(Self { address: address.to_owned(), child, lines: None }),
            None => {
                // It may have ended already.
                let _ = child.kill();
                bail!("{} did not say where it listens", program.display())
            }
        }
    }

    /// The other end of bare TCP: this program.
    pub(crate) fn tcp() -> Result<Self> {
        Self::start(&std::env::current_exe()?, &["tcp"])
    }

    /// A slave with one slot.
    pub(crate) fn slave(cache: &Path) -> Result<Self> {
        Self::slave_with(cache, &[])
    }

    /// The same, with more options.
    pub(crate) fn slave_with(cache: &Path, more: &[&str]) -> Result<Self> {
        let slave = slave(cache, 1);
        let args: Vec<&str> =
            slave.iter().map(String::as_str).chain(more.iter().copied()).collect();
        Self::start(&dpfw()?, &args)
    }

    /// A slave with so many slots.
    pub(crate) fn slave_of(cache: &Path, slots: u32) -> Result<Self> {
        let slave = slave(cache, slots);
        Self::start(&dpfw()?, &slave.each_ref().map(String::as_str))
    }

    /// The same, with its store in a directory.
    pub(crate) fn keeping(cache: &Path, store: &Path) -> Result<Self> {
        let store = store.display().to_string();
        let more = ["--store", &store, "--store-entries", "3000000", "--store-bytes", "4GiB"];
        Self::slave_with(cache, &more)
    }

    /// A slave with one slot and an empty cache, whose log is listened to.
    pub(crate) fn talking_slave(cache: &Path) -> Result<Self> {
        let program = dpfw()?;
        let mut command = Command::new(&program);
        command
            .args(slave(cache, 1))
            .args(["--log", "warn,dpfw_slave=debug"])
            .stderr(Stdio::piped());
        let mut slave = Self::begin(&program, &mut command)?;
        let log = slave.child.stderr.take().context("its log is a pipe")?;
        let (sender, lines) = channel();
        // It ends with the process.
        std::thread::spawn(move || {
            for line in BufReader::new(log).lines().map_while(Result::ok) {
                // Nobody listens any more.
                let _ = sender.send((Instant::now(), line));
            }
        });
        slave.lines = Some(lines);
        Ok(slave)
    }

    /// When the next line came that says this.
    pub(crate) fn heard(&self, what: &str) -> Result<Instant> {
        let lines = self.lines.as_ref().context("its log is not listened to")?;
        loop {
            let (at, line) = lines.recv_timeout(PATIENCE).with_context(|| what.to_owned())?;
            if line.contains(what) {
                return Ok(at);
            }
        }
    }

    /// Its number in the system.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Resident memory in MiB.
    pub(crate) fn resident_mib(&self) -> Result<f64> {
        mib(&self.child.id().to_string(), "VmRSS:")
    }

    /// Memory that is its own alone, and what maps it, in MiB: pages of an image are in the file
    /// that all share, and [`resident_mib`](Self::resident_mib) has them once for each mapping.
    pub(crate) fn own_memory_mib(&self) -> Result<f64> {
        let process = self.child.id().to_string();
        Ok(mib(&process, "RssAnon:")? + mib(&process, "VmPTE:")?)
    }

    /// The most resident memory since [`reset_peak`](Self::reset_peak), in MiB.
    pub(crate) fn peak_mib(&self) -> Result<f64> {
        mib(&self.child.id().to_string(), "VmHWM:")
    }

    /// Forgets what was resident before.
    pub(crate) fn reset_peak(&self) -> Result<()> {
        reset_peak(&self.child.id().to_string())
    }
}

/// Processor time that this process has had, in all of its threads.
pub(crate) fn own_cpu() -> Result<Duration> {
    let usage = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Ok(Duration::new(u64::try_from(usage.tv_sec)?, u32::try_from(usage.tv_nsec)?))
}

/// Allows this process as many descriptors as it may have.
pub(crate) fn raise_descriptors() -> Result<()> {
    let limit = getrlimit(Resource::Nofile);
    Ok(setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit })?)
}

/// Forgets what of this process was resident before; what is, in MiB.
pub(crate) fn reset_own_peak() -> Result<f64> {
    reset_peak("self")?;
    mib("self", "VmRSS:")
}

/// Resident memory of this process, in MiB.
pub(crate) fn own_mib() -> Result<f64> {
    mib("self", "VmRSS:")
}

/// The most resident memory of this process since then, in MiB.
pub(crate) fn own_peak_mib() -> Result<f64> {
    mib("self", "VmHWM:")
}

fn reset_peak(process: &str) -> Result<()> {
    // See proc_pid_clear_refs(5).
    Ok(std::fs::write(format!("/proc/{process}/clear_refs"), "5")?)
}

fn mib(process: &str, field: &str) -> Result<f64> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix(field));
    let kib = line.and_then(|rest| rest.split_whitespace().next());
    Ok(kib.with_context(|| format!("no {field}"))?.parse::<f64>()? / 1024.0)
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// How a slave is started, on a port of the system's choice.
fn slave(cache: &Path, slots: u32) -> [String; 7] {
    let (cache, slots) = (cache.display().to_string(), slots.to_string());
    ["slave", "--listen", "127.0.0.1:0", "--slots", &slots, "--cache", &cache].map(str::to_owned)
}

/// The program `dpfw`, built beside this one.
fn dpfw() -> Result<PathBuf> {
    let program = std::env::current_exe()?.with_file_name("dpfw");
    if !program.exists() {
        bail!("{} is not there: build dpfw-cli in the same profile", program.display());
    }
    Ok(program)
}
