//! The ports of one program, from its submission to its end.
//!
//! Owns: what goes to its stdin and what arrives from its stdout, whichever attempt it is.
//! Invariants: nothing is taken from a reader before a slave has asked for it; what is not
//! delivered whole ends with an error.

use crate::error::TaskError;
use crate::slave::Linked;
use bytes::{BufMut, BytesMut};
use dpfw_link::Outbox;
use dpfw_link::inlet::{Begin, Inlet, StreamError, Taken};
use dpfw_protocol::Bytes;
use dpfw_protocol::error::Cause;
use dpfw_protocol::ids::{AttemptId, ConversationId, Port};
use dpfw_protocol::limits::CHUNK;
use std::collections::HashMap;
use std::fmt;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::task::AbortHandle;

/// What goes to a program's stdin.
#[derive(Clone, Default)]
pub(crate) enum Input {
    /// It finds the end at once.
    #[default]
    Nothing,
    /// These bytes, in every attempt.
    Bytes(Bytes),
    /// What can be read, once.
    Reader(Arc<tokio::sync::Mutex<Reader>>),
}

/// Whatever a caller reads a program's stdin from.
pub(crate) type Reader = Box<dyn AsyncRead + Send + Unpin>;

/// See the module's page.
pub(crate) struct Ports {
    /// What the program is called in errors and in the log.
    pub(crate) name: Arc<str>,
    input: Input,
    pub(crate) output: Inlet,
    /// The whole of stdout, if it is to be collected.
    collected: Option<Mutex<Collected>>,
    attempt: Mutex<Option<Attached>>,
}

/// Stdout as a whole, and how much of it there may be.
#[derive(Debug)]
struct Collected {
    bytes: Vec<u8>,
    most: usize,
}

/// An attempt that the ports are attached to.
struct Attached {
    linked: Weak<Linked>,
    attempt: AttemptId,
    /// The task that feeds its stdin.
    pump: Option<AbortHandle>,
}

impl Drop for Attached {
    fn drop(&mut self) {
        if let Some(pump) = &self.pump {
            pump.abort();
        }
        if let Some(linked) = self.linked.upgrade() {
            linked.ports.remove(self.attempt);
            linked.outbox.forget(self.attempt.port(Port::Input));
        }
    }
}

impl Ports {
    /// Ports whose stdout somebody reads.
    pub(crate) fn streaming(name: Arc<str>, input: Input) -> Self {
        Self { name, input, output: Inlet::default(), collected: None, attempt: Mutex::default() }
    }

    /// Ports that keep all of stdout, up to `most` bytes of it.
    pub(crate) fn collecting(name: Arc<str>, input: Input, most: usize) -> Self {
        let collected = Collected { bytes: Vec::new(), most };
        Self { collected: Some(Mutex::new(collected)), ..Self::streaming(name, input) }
    }

    fn attempt(&self) -> MutexGuard<'_, Option<Attached>> {
        self.attempt.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// An attempt begins at a slave; any before it has come to nothing.
    pub(crate) fn attach(self: &Arc<Self>, linked: &Arc<Linked>, attempt: AttemptId) {
        let mut attached = self.attempt();
        attached.take();
        self.output.attach(&linked.outbox, attempt.port(Port::Output), Begin::AtOnce);
        if let Some(mut collected) = self.collected() {
            collected.bytes.clear();
            self.output.want();
        }
        linked.ports.insert(attempt, self);
        let pump = self.feed_input(&linked.outbox, attempt.port(Port::Input));
        *attached = Some(Attached { linked: Arc::downgrade(linked), attempt, pump });
    }

    fn collected(&self) -> Option<MutexGuard<'_, Collected>> {
        Some(self.collected.as_ref()?.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn feed_input(&self, outbox: &Outbox, conversation: ConversationId) -> Option<AbortHandle> {
        match &self.input {
            Input::Nothing => None,
            Input::Bytes(bytes) => {
                outbox.open(conversation, 0);
                outbox.write_piece(conversation, bytes.clone());
                outbox.end(conversation);
                None
            }
            Input::Reader(reader) => {
                outbox.open(conversation, 0);
                let pump = pump(Arc::clone(reader), outbox.clone(), conversation);
                Some(tokio::spawn(pump).abort_handle())
            }
        }
    }

    /// A chunk of stdout has arrived.
    fn arrived(&self, body: &[u8], last: bool) -> Result<(), StreamError> {
        self.output.push(body, last)?;
        if let Some(mut all) = self.collected() {
            while let Taken::Bytes(bytes) = self.output.take(usize::MAX) {
                let room = all.most.saturating_sub(all.bytes.len()) + 1;
                all.bytes.extend_from_slice(&bytes[..bytes.len().min(room)]);
            }
            if all.bytes.len() > all.most {
                // It need not write the rest.
                self.output.refuse();
            }
        }
        Ok(())
    }

    /// The task has resolved.
    pub(crate) fn end(&self, error: Option<&TaskError>) {
        self.attempt().take();
        match error {
            // What it wrote before it failed by itself is whole.
            Some(error) => self.output.fail(&error.to_string()),
            None => self.output.fail("the slave did not send all of it"),
        }
    }

    /// All of stdout.
    ///
    /// # Errors
    /// How much there may be, if there is more.
    pub(crate) fn take_collected(&self) -> Result<Bytes, usize> {
        let Some(mut all) = self.collected() else { return Ok(Bytes::new()) };
        match all.bytes.len() > all.most {
            true => Err(all.most),
            false => Ok(std::mem::take(&mut all.bytes).into()),
        }
    }
}

/// What is read ahead of what was written to the link.
const BUFFER: usize = 8 * CHUNK;

/// What is read at once: a few chunks, so that they leave in one system call.
const PIECE: usize = 4 * CHUNK;

/// Reads what the slave asks for, until there is no more, or it takes no more.
async fn pump(
    reader: Arc<tokio::sync::Mutex<Reader>>,
    outbox: Outbox,
    conversation: ConversationId,
) {
    // One attempt at a time: the one before was told to end.
    let mut reader = reader.lock().await;
    loop {
        let room = std::future::poll_fn(|cx| outbox.poll_room(cx, conversation, BUFFER)).await;
        let Some(room) = room else { return };
        let mut piece = BytesMut::with_capacity(room.min(PIECE));
        match reader.read_buf(&mut (&mut piece).limit(room.min(PIECE))).await {
            Ok(0) => break,
            // Little of a large piece must not keep all of it.
            Ok(n) if n < CHUNK => outbox.write(conversation, &piece),
            Ok(_) => outbox.write_piece(conversation, piece.freeze()),
            Err(error) => return broke_off(&outbox, conversation, &error),
        };
        outbox.flush();
    }
    outbox.end(conversation);
    outbox.flush();
}

/// The program must not take this for the end of its input.
fn broke_off(outbox: &Outbox, conversation: ConversationId, error: &io::Error) {
    outbox.forget(conversation);
    let message = format!("its stdin cannot be read: {error}");
    // It always fits a frame: causes are cut.
    let _ = outbox.abandon(conversation, Cause::Failed { message });
}

/// The ports of the programs that run at a slave.
#[derive(Debug, Default)]
pub(crate) struct PortTable(Mutex<HashMap<AttemptId, Arc<Ports>>>);

impl PortTable {
    fn lock(&self) -> MutexGuard<'_, HashMap<AttemptId, Arc<Ports>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn insert(&self, attempt: AttemptId, ports: &Arc<Ports>) {
        self.lock().insert(attempt, Arc::clone(ports));
    }

    fn remove(&self, attempt: AttemptId) {
        self.lock().remove(&attempt);
    }

    /// Bytes of a stdout. Those of a program that is over are passed over.
    ///
    /// # Errors
    /// What the slave did wrong.
    pub(crate) fn feed(
        &self,
        attempt: AttemptId,
        port: Port,
        body: &[u8],
        last: bool,
    ) -> Result<(), StreamError> {
        let ports = self.lock().get(&attempt).cloned();
        match ports.filter(|_| port == Port::Output) {
            Some(ports) => ports.arrived(body, last),
            None => Ok(()),
        }
    }
}

impl fmt::Debug for Ports {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ports").field("output", &self.output).finish_non_exhaustive()
    }
}
