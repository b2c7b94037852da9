//! The connections of one sandbox.
//!
//! Owns: their numbers, and that they are counted. Invariant: no more are open than a sandbox, and
//! a slave, may have; they are closed with the sandbox.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::net::TcpStream;

/// Connections that a sandbox may have open at once.
pub(crate) const MOST: usize = 16;

/// Connections that all sandboxes of a slave may have open at once: descriptors are the process's.
pub(crate) const MOST_OF_ALL: usize = 1024;

/// See the module's page.
#[derive(Debug)]
pub(crate) struct Connections {
    /// By their numbers.
    open: [Option<Connection>; MOST],
    of_all: Arc<AtomicUsize>,
}

/// A place for a connection, and the connection once there is one.
#[derive(Debug)]
struct Connection {
    stream: Option<Arc<TcpStream>>,
    /// Given back when it is dropped.
    _room: Room,
}

#[derive(Debug)]
struct Room(Arc<AtomicUsize>);

impl Drop for Room {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Connections {
    /// None yet; they are counted there.
    pub(super) fn new(of_all: &Arc<AtomicUsize>) -> Self {
        Self { open: Default::default(), of_all: Arc::clone(of_all) }
    }

    /// A place for one more: its number.
    ///
    /// # Errors
    /// Why there is none.
    pub(super) fn take_place(&mut self) -> Result<usize, String> {
        let free = self.open.iter().position(Option::is_none);
        let number =
            free.ok_or_else(|| format!("a sandbox may have {MOST} connections at once"))?;
        let room = Room(Arc::clone(&self.of_all));
        if self.of_all.fetch_add(1, Ordering::AcqRel) >= MOST_OF_ALL {
            drop(room);
            return Err(format!("the slave's guests have {MOST_OF_ALL} connections already"));
        }
        self.open[number] = Some(Connection { stream: None, _room: room });
        Ok(number)
    }

    /// The connection of that place is there.
    pub(super) fn put(&mut self, number: usize, stream: TcpStream) {
        if let Some(Some(connection)) = self.open.get_mut(number) {
            connection.stream = Some(Arc::new(stream));
        }
    }

    /// An open connection.
    pub(super) fn find(&self, number: u32) -> Option<Arc<TcpStream>> {
        self.open.get(number as usize)?.as_ref()?.stream.clone()
    }

    /// Closes one, or gives its place back; whether there was one.
    pub(super) fn close(&mut self, number: u32) -> bool {
        self.open.get_mut(number as usize).is_some_and(|place| place.take().is_some())
    }
}
