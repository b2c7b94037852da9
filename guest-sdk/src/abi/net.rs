//! Connections, as the slave offers them.
//!
//! Apart from the rest, because a module that imports `connect` is refused where no connection is
//! granted. Invariant: a connection has its number from the slave until it is dropped.

use super::store::failure;
use std::io::{self, ErrorKind};

#[link(wasm_import_module = "dpfw_1")]
unsafe extern "C" {
    fn connect(name: *const u8, name_len: usize) -> i32;
    fn connection_read(number: i32, to: *mut u8, to_len: usize) -> i32;
    fn connection_write(number: i32, from: *const u8, from_len: usize) -> i32;
    safe fn connection_end(number: i32) -> i32;
    safe fn connection_close(number: i32);
}

/// One connection.
pub(crate) struct Connection(i32);

impl Connection {
    pub(crate) fn connect(name: &str) -> io::Result<Self> {
        // SAFETY: the pointer comes with the length of the name it was taken from, and the slave
        // reads it before it waits or returns.
        done(unsafe { connect(name.as_ptr(), name.len()) }).map(Self)
    }

    pub(crate) fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        // SAFETY: the slave writes no more than the buffer's length, before it returns; nobody
        // else has the buffer until then.
        let read = unsafe { connection_read(self.0, buffer.as_mut_ptr(), buffer.len()) };
        Ok(done(read)?.cast_unsigned() as usize)
    }

    pub(crate) fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // SAFETY: the slave reads no more than that length, before it returns.
        let written = unsafe { connection_write(self.0, bytes.as_ptr(), bytes.len()) };
        Ok(done(written)?.cast_unsigned() as usize)
    }

    pub(crate) fn end(&mut self) -> io::Result<()> {
        done(connection_end(self.0)).map(drop)
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        connection_close(self.0);
    }
}

/// A number, or the error that the slave's reply has.
fn done(outcome: i32) -> io::Result<i32> {
    if outcome >= 0 {
        return Ok(outcome);
    }
    let (number, text) = failure();
    // Numbers of WASI preview 1.
    let kind = match number {
        2 => ErrorKind::PermissionDenied,
        13 => ErrorKind::ConnectionAborted,
        14 => ErrorKind::ConnectionRefused,
        15 => ErrorKind::ConnectionReset,
        23 => ErrorKind::HostUnreachable,
        64 => ErrorKind::BrokenPipe,
        73 => ErrorKind::TimedOut,
        _ => ErrorKind::Other,
    };
    Err(io::Error::new(kind, text))
}
