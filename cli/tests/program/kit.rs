//! Processes of the program, and modules for them.

use rustix::process::{Pid, Signal, kill_process};
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread::JoinHandle;
use std::time::Duration;

/// A process that takes longer is stuck; only then is this waited for.
const STUCK: Duration = Duration::from_secs(120);

/// A place that all tests share.
fn shared(name: &str) -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join(name)
}

/// The program with these arguments, and nothing of the environment that it looks at.
pub(crate) fn command(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_dpfw"));
    command.args(args).env("XDG_CACHE_HOME", shared("cache"));
    command.env_remove("DPFW_LOG").env_remove("NO_COLOR");
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// What a process left behind.
#[derive(Debug)]
pub(crate) struct Left {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

/// Runs the program to its end.
pub(crate) fn dpfw(args: &[&str], input: &str) -> Left {
    let mut process = Process::start(args);
    process.write(input);
    process.finish()
}

/// A process that runs; killed when dropped.
pub(crate) struct Process {
    child: Child,
    stdin: Option<ChildStdin>,
    pub(crate) stdout: Option<BufReader<ChildStdout>>,
    /// Lines of standard error that nobody has looked at.
    err: Receiver<String>,
    seen: String,
    _reader: JoinHandle<()>,
}

impl Process {
    pub(crate) fn start(args: &[&str]) -> Self {
        Self::of(command(args))
    }

    pub(crate) fn of(mut command: Command) -> Self {
        let mut child = command.spawn().expect("the program starts");
        let stderr = child.stderr.take().expect("piped");
        let (sender, err) = channel();
        let reader = std::thread::spawn(move || {
            for line in BufReader::new(stderr).split(b'\n') {
                let line = String::from_utf8_lossy(&line.expect("readable")).into_owned();
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        let (stdin, stdout) = (child.stdin.take(), child.stdout.take().map(BufReader::new));
        Self { child, stdin, stdout, err, seen: String::new(), _reader: reader }
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Writes to its standard input, which stays open.
    pub(crate) fn write(&mut self, input: &str) {
        let stdin = self.stdin.as_mut().expect("open");
        // It may have ended without reading all.
        let _ = stdin.write_all(input.as_bytes());
    }

    /// The standard input, to be written to elsewhere.
    pub(crate) fn take_stdin(&mut self) -> ChildStdin {
        self.stdin.take().expect("open")
    }

    /// The next line of its standard output; empty at the end.
    pub(crate) fn line(&mut self) -> String {
        let mut line = String::new();
        let stdout = self.stdout.as_mut().expect("piped");
        stdout.read_line(&mut line).expect("UTF-8");
        line.trim_end().to_owned()
    }

    /// Waits for a line of standard error that has this text.
    pub(crate) fn says(&mut self, text: &str) -> String {
        loop {
            match self.err.recv_timeout(STUCK) {
                Ok(line) => {
                    self.seen.push_str(&line);
                    self.seen.push('\n');
                    if line.contains(text) {
                        return line;
                    }
                }
                Err(_) => panic!("it never said {text:?}, but:\n{}", self.seen),
            }
        }
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).expect("it runs");
    }

    /// Closes standard input, reads the rest of standard output, and waits for the end.
    pub(crate) fn finish(mut self) -> Left {
        self.stdin = None;
        let mut out = String::new();
        if let Some(stdout) = &mut self.stdout {
            stdout.read_to_string(&mut out).expect("UTF-8");
        }
        loop {
            // The end of standard error is the end of the process.
            match self.err.recv_timeout(STUCK) {
                Ok(line) => self.seen = std::mem::take(&mut self.seen) + &line + "\n",
                Err(std::sync::mpsc::RecvTimeoutError::Disconnected) => break,
                Err(error) => panic!("{error}: it said:\n{}", self.seen),
            }
        }
        let status: ExitStatus = self.child.wait().expect("it was started");
        let code = status.code().unwrap_or(-1);
        Left { code, out, err: std::mem::take(&mut self.seen) }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A slave with its address.
pub(crate) struct Slave {
    pub(crate) process: Process,
    pub(crate) address: String,
}

/// Starts a slave that listens on a free port.
pub(crate) fn slave(args: &[&str]) -> Slave {
    let all = [&["slave", "--listen", "127.0.0.1:0"], args].concat();
    let mut process = Process::start(&all);
    let line = process.line();
    let address = line.strip_prefix("listening on ").expect("the address").to_owned();
    Slave { process, address }
}

/// An address where nobody listens.
pub(crate) fn nobody() -> String {
    let free = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    free.local_addr().expect("bound").to_string()
}

/// A directory with the modules that tests run.
pub(crate) struct Modules(tempfile::TempDir);

/// A plain module.
const PLAIN: &str = r#"(module
    (func (export "add") (param i64 i64) (result i64) local.get 0 local.get 1 i64.add)
    (func (export "swap") (param i32 f64) (result f64 i32) local.get 1 local.get 0)
    (func (export "nothing"))
    (func (export "divide") (param i64 i64) (result i64) local.get 0 local.get 1 i64.div_s)
    (func (export "spin") (loop br 0))
    (func (export "spin_if") (param i32) (loop (br_if 0 (local.get 0)))))"#;

/// A module that wants what nobody grants.
const GREEDY: &str = r#"(module (import "env" "everything" (func)) (func (export "f")))"#;

/// A task module whose tasks say things that act on a terminal.
const LOUD: &str = r#"(module
    (import "dpfw_1" "log" (func $log (param i32 i32 i32 i32 i32)))
    (import "dpfw_1" "panic" (func $panic (param i32 i32 i32 i32 i32 i32)))
    (memory (export "memory") 2)
    (data (i32.const 16) "\1b[31mred\nforged: line")
    (func (export "dpfw_alloc") (param i32) (result i32) i32.const 65536)
    (func $say
        (call $log (i32.const 2) (i32.const 16) (i32.const 5) (i32.const 16) (i32.const 21)))
    (data (i32.const 64) "\00\c0")
    (func (export "dpfw:say") (param i32 i32) (result i64) call $say (i64.const 0x4000000002))
    ;; Says it, counts to a thousand million, returns.
    (func (export "dpfw:linger") (param i32 i32) (result i64) (local $n i32)
        call $say
        (loop $more
            (local.tee $n (i32.add (local.get $n) (i32.const 1)))
            (br_if $more (i32.lt_u (i32.const 1000000000))))
        (i64.const 0x4000000002))
    (func (export "dpfw:spin") (param i32 i32) (result i64)
        call $say (loop br 0) unreachable)
    (func (export "dpfw:boom") (param i32 i32) (result i64)
        (call $panic (i32.const 16) (i32.const 21) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0))
        unreachable))"#;

/// A task module with an init: `fill(n)` keeps a number below 128, which `read` gives.
const IMAGED: &str = r#"(module
    (@custom "dpfw.tasks" "{\"init\":{\"name\":\"fill\",\"args\":[{\"name\":\"n\",\"type\":\"u8\"}],\"returns\":\"()\",\"fallible\":true}}\n{\"task\":{\"name\":\"read\",\"returns\":\"u8\",\"image\":\"fill\"}}\n{\"task\":{\"name\":\"plus\",\"args\":[{\"name\":\"n\",\"type\":\"u8\"}],\"returns\":\"u8\",\"image\":\"fill\"}}")
    (memory (export "memory") 2)
    (func (export "dpfw_alloc") (param i32) (result i32) i32.const 65536)
    ;; What there is to say: nothing, or why not.
    (data (i32.const 64) "\00\c0")
    (data (i32.const 80) "\01there is nothing to fill it with")
    (func (export "dpfw-init:fill") (param i32 i32) (result i64)
        (i32.store8 (i32.const 200) (i32.load8_u offset=1 (local.get 0)))
        (select (i64.const 0x4000000002) (i64.const 0x5000000021)
            (i32.load8_u (i32.const 200))))
    (func (export "dpfw:read") (param i32 i32) (result i64)
        (i32.store8 (i32.const 221) (i32.load8_u (i32.const 200)))
        (i64.const 0xdc00000002))
    (func (export "dpfw:plus") (param i32 i32) (result i64)
        (i32.store8 (i32.const 221)
            (i32.add (i32.load8_u (i32.const 200)) (i32.load8_u offset=1 (local.get 0))))
        (i64.const 0xdc00000002)))"#;

impl Modules {
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let modules = [("plain.wat", PLAIN), ("greedy.wat", GREEDY), ("loud.wat", LOUD)];
        let modules = modules.into_iter().chain([("imaged.wat", IMAGED)]);
        for (name, text) in modules.chain(crate::programs::FILES) {
            std::fs::write(dir.path().join(name), text).expect("written");
        }
        let tasks = quickstart_tasks::add::task().module().bytes().expect("embedded").clone();
        std::fs::write(dir.path().join("tasks.wasm"), tasks).expect("written");
        Self(dir)
    }

    /// One more file.
    pub(crate) fn write(&self, name: &str, text: &str) {
        std::fs::write(self.0.path().join(name), text).expect("written");
    }

    /// The path of a file.
    pub(crate) fn path(&self, name: &str) -> String {
        self.0.path().join(name).display().to_string()
    }

    /// What a person reads, without what differs from run to run.
    pub(crate) fn stable(&self, text: &str) -> String {
        let text = text.replace(&format!("{}/", self.0.path().display()), "");
        let mut parts = text.split("slave-");
        let first = parts.next().unwrap_or_default().to_owned();
        parts.fold(first, |out, part| {
            let name = part.find(|c: char| !c.is_ascii_hexdigit()).unwrap_or(part.len());
            out + "SLAVE" + &part[name..]
        })
    }
}
