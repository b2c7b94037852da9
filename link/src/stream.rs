//! Any byte stream as the two halves of a link.

use std::fmt;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

/// The two directions of a byte stream: TCP, TLS, a pipe to another program, memory.
pub struct Stream {
    pub(crate) reader: Box<dyn AsyncRead + Send + Unpin>,
    pub(crate) writer: Box<dyn AsyncWrite + Send + Unpin>,
    pub(crate) peer: String,
}

impl Stream {
    /// A stream of two halves; `peer` names its other end in logs and errors.
    pub fn new(
        reader: impl AsyncRead + Send + Unpin + 'static,
        writer: impl AsyncWrite + Send + Unpin + 'static,
        peer: impl Into<String>,
    ) -> Self {
        Self { reader: Box::new(reader), writer: Box::new(writer), peer: peer.into() }
    }

    /// A TCP connection, tuned for many small frames: nothing waits for more to send, and
    /// a peer that stopped acknowledging is noticed by the kernel as well.
    pub fn tcp(stream: TcpStream) -> Self {
        let peer = stream.peer_addr().map_or_else(|_| "a TCP peer".into(), |a| a.to_string());
        if let Err(error) = tune(&stream) {
            tracing::debug!(%peer, %error, "the connection keeps its default options");
        }
        let (reader, writer) = stream.into_split();
        Self::new(reader, writer, peer)
    }

    /// Two ends in this process, each with a buffer of `bytes`.
    pub fn pair(bytes: usize) -> (Self, Self) {
        let (a, b) = tokio::io::duplex(bytes);
        (Self::joined(a, "this process"), Self::joined(b, "this process"))
    }

    /// A stream whose two directions are one value.
    pub fn joined(
        stream: impl AsyncRead + AsyncWrite + Send + 'static,
        peer: impl Into<String>,
    ) -> Self {
        let (reader, writer) = tokio::io::split(stream);
        Self::new(reader, writer, peer)
    }

    /// What the other end is called.
    pub fn peer(&self) -> &str {
        &self.peer
    }
}

/// How long sent bytes may stay unacknowledged; the same as silence.
const UNACKNOWLEDGED: std::time::Duration = dpfw_protocol::limits::SILENCE;

fn tune(stream: &TcpStream) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    rustix::net::sockopt::set_socket_keepalive(stream, true)?;
    let unacknowledged = UNACKNOWLEDGED.as_millis() as u32;
    rustix::net::sockopt::set_tcp_user_timeout(stream, unacknowledged)?;
    Ok(())
}

impl fmt::Debug for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Stream({})", self.peer)
    }
}
