//! The owner of a program in flight, and what is left of it.

use super::ports::Ports;
use crate::error::TaskError;
use crate::handle::Raw;
use crate::receipt::Receipt;
use dpfw_link::inlet::Taken;
use dpfw_protocol::Bytes;
use dpfw_protocol::error::Cause;
use std::fmt;
use std::future::IntoFuture;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, ReadBuf};

/// How a program ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExitStatus {
    code: u32,
    stderr: Vec<String>,
}

impl ExitStatus {
    /// What it gave to `exit`; 0 if it returned from `main`.
    pub fn code(&self) -> u32 {
        self.code
    }

    /// Whether that is 0.
    pub fn is_success(&self) -> bool {
        self.code == 0
    }

    /// The last lines that it wrote to stderr, if it failed.
    pub fn stderr(&self) -> &[String] {
        &self.stderr
    }
}

impl fmt::Display for ExitStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "exit status {}", self.code)
    }
}

/// What a program has written, and how it ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Output {
    /// How it ended.
    pub status: ExitStatus,
    /// All of its stdout.
    pub stdout: Bytes,
}

/// The owner of a program in flight.
///
/// Awaiting it waits for the program's end: `Ok` if it exited with 0, and a [`TaskError`] with
/// [`Cause::Exit`] if not. [`status`](Self::status) gives the exit status as a value.
/// Dropping it cancels the program, in the middle of whatever it does.
#[must_use = "dropping a handle cancels its program"]
pub struct ProgramHandle {
    raw: Raw,
    ports: Arc<Ports>,
    /// Whether somebody was given stdout.
    taken: bool,
}

impl ProgramHandle {
    pub(super) fn new(raw: Raw, ports: Arc<Ports>) -> Self {
        Self { raw, ports, taken: false }
    }

    /// What the program was told to be called.
    pub fn name(&self) -> &str {
        &self.ports.name
    }

    /// Its stdout, as it writes it. To be taken once (a second one gives an error when it is
    /// read), before the end is waited for: what nobody has taken by then is dropped.
    ///
    /// A program is held up while what it wrote is not read: at most 4 MiB wait here. So read
    /// to the end before, or while, its end is awaited.
    pub fn stdout(&mut self) -> Stdout {
        let is_first = !std::mem::replace(&mut self.taken, true);
        Stdout { ports: is_first.then(|| Arc::clone(&self.ports)) }
    }

    /// Asks the program to stop. The handle then resolves with [`Cause::Cancelled`], unless it
    /// was quicker.
    pub fn cancel(&self) {
        self.raw.cancel();
    }

    /// Whether it has ended.
    pub fn is_finished(&self) -> bool {
        self.raw.ticket.is_complete()
    }

    /// What it cost and where it ran, once it has ended at a slave. The time in which it
    /// waited for its input is not counted as execution.
    pub fn receipt(&self) -> Option<Receipt> {
        self.raw.ticket.receipt()
    }

    /// Waits for its end, and gives its exit status, whatever it is.
    ///
    /// # Errors
    /// [`TaskError`] if it did not come to its end: it trapped, was stopped, or lost.
    pub async fn status(mut self) -> Result<ExitStatus, TaskError> {
        std::future::poll_fn(|cx| self.poll_status(cx)).await
    }

    /// The same where stdout is being collected.
    pub(super) async fn collected(mut self) -> Result<ExitStatus, TaskError> {
        self.taken = true;
        self.status().await
    }

    fn poll_status(&mut self, cx: &mut Context<'_>) -> Poll<Result<ExitStatus, TaskError>> {
        if !std::mem::replace(&mut self.taken, true) {
            self.ports.output.discard();
        }
        let outcome = ready!(self.raw.poll(cx));
        Poll::Ready(match outcome {
            Ok(_) => Ok(ExitStatus { code: 0, stderr: Vec::new() }),
            Err(error) => match error.cause() {
                Cause::Exit { code, stderr } => {
                    Ok(ExitStatus { code: *code, stderr: stderr.clone() })
                }
                _ => Err(error),
            },
        })
    }

    async fn succeed(self) -> Result<(), TaskError> {
        let ports = Arc::clone(&self.ports);
        match self.status().await? {
            ExitStatus { code: 0, .. } => Ok(()),
            ExitStatus { code, stderr } => {
                Err(TaskError::new(&ports.name, None, 1, Cause::Exit { code, stderr }))
            }
        }
    }
}

impl IntoFuture for ProgramHandle {
    type Output = Result<(), TaskError>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.succeed())
    }
}

impl fmt::Debug for ProgramHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = if self.is_finished() { "ended" } else { "in flight" };
        write!(f, "ProgramHandle({}, {state})", self.name())
    }
}

/// The stdout of a program, to be read while it runs.
///
/// It ends where the program's stdout ended. If that cannot be known, because the program was
/// stopped or its slave is lost, reading gives an error and not an end. Dropping it before
/// closes the program's stdout: if it writes on, it is told that nobody reads.
pub struct Stdout {
    /// None if another one was taken before.
    ports: Option<Arc<Ports>>,
}

impl AsyncRead for Stdout {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let Some(ports) = &self.ports else {
            return Poll::Ready(Err(io::Error::other("stdout was taken before")));
        };
        ready!(ports.output.poll_ready(cx));
        match ports.output.take(buffer.remaining()) {
            Taken::Bytes(bytes) => buffer.put_slice(&bytes),
            Taken::Nothing | Taken::End => {}
            Taken::Broken(why) => return Poll::Ready(Err(io::Error::other(why))),
        }
        Poll::Ready(Ok(()))
    }
}

impl Drop for Stdout {
    fn drop(&mut self) {
        if let Some(ports) = &self.ports {
            ports.output.refuse();
        }
    }
}

impl fmt::Debug for Stdout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Stdout")
    }
}
