//! Connections from within a task, to where the slave's operator has granted them.
//!
//! Owns: the type that tasks see. Does not: resolve names or decide what is granted; the slave
//! does. On the host it is a plain connection, so that tasks have ordinary unit tests.

use std::fmt;
use std::io::{self, Read, Write};

#[cfg(target_family = "wasm")]
use crate::abi::net::Connection;
#[cfg(not(target_family = "wasm"))]
use std::net::TcpStream as Connection;

/// A TCP connection, closed when it is dropped.
///
/// Whoever waits for the other side holds no slot meanwhile. A module that connects is refused by
/// a slave whose operator has granted it no connections.
///
/// ```no_run
/// use dpfw_guest::net::TcpStream;
/// use std::io::{Read, Write};
///
/// #[dpfw_guest::task]
/// pub fn fetch() -> Result<String, std::io::Error> {
///     let mut stream = TcpStream::connect("db.example:5432")?;
///     stream.write_all(b"hello\n")?;
///     stream.end()?;
///     let mut answer = String::new();
///     stream.read_to_string(&mut answer)?;
///     Ok(answer)
/// }
/// # dpfw_guest::module!(b"\0asm\x01\0\0\0");
/// # fn main() {}
/// ```
pub struct TcpStream(Connection);

impl TcpStream {
    /// Connects to `HOST:PORT`, by the name of the host that was granted.
    ///
    /// # Errors
    /// [`PermissionDenied`](io::ErrorKind::PermissionDenied) if that was not granted; else what
    /// the slave's system says.
    pub fn connect(address: &str) -> io::Result<Self> {
        Connection::connect(address).map(Self)
    }

    /// Nothing more will be written; the other side reads the end. Reading goes on.
    ///
    /// # Errors
    /// If the connection is over.
    pub fn end(&mut self) -> io::Result<()> {
        #[cfg(target_family = "wasm")]
        return self.0.end();
        #[cfg(not(target_family = "wasm"))]
        self.0.shutdown(std::net::Shutdown::Write)
    }
}

impl Read for TcpStream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer)
    }
}

impl Write for TcpStream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    /// Does nothing: what is written is on its way.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl fmt::Debug for TcpStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TcpStream")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    #[test]
    fn on_the_host_it_is_a_plain_connection() -> io::Result<()> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?.to_string();
        let echo = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept()?;
            let mut all = Vec::new();
            stream.read_to_end(&mut all)?;
            stream.write_all(&all)
        });
        let mut stream = TcpStream::connect(&address)?;
        stream.write_all(b"as it was")?;
        stream.end()?;
        let mut back = String::new();
        stream.read_to_string(&mut back)?;
        assert_eq!(back, "as it was");
        echo.join().expect("it ends")
    }
}
