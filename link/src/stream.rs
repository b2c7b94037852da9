//! Any byte stream as the two halves of a link.

use dpfw_protocol::limits::{SILENCE, UNSENT};
use socket2::{SockRef, TcpKeepalive};
use std::fmt;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

/// The two directions of a byte stream: TCP, TLS, a pipe to another program, memory.
pub struct Stream {
    pub(crate) reader: Box<dyn AsyncRead + Send + Unpin>,
    pub(crate) writer: Box<dyn AsyncWrite + Send + Unpin>,
    pub(crate) peer: String,
    /// Whether both ends are this process.
    pub(crate) within: bool,
}

impl Stream {
    /// A stream of two halves; `peer` names its other end in logs and errors.
    pub fn new(
        reader: impl AsyncRead + Send + Unpin + 'static,
        writer: impl AsyncWrite + Send + Unpin + 'static,
        peer: impl Into<String>,
    ) -> Self {
        let (reader, writer) = (Box::new(reader), Box::new(writer));
        Self { reader, writer, peer: peer.into(), within: false }
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
        let end = |half| Self { within: true, ..Self::joined(half, "this process") };
        (end(a), end(b))
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
const UNACKNOWLEDGED: Duration = SILENCE;

/// Without a byte for so long, the system asks the peer's: heartbeats come sooner, so it
/// asks only where they do not.
const IDLE: Duration = Duration::from_secs(2);

/// Between two such questions. Unanswered for [`UNACKNOWLEDGED`] they end the connection.
const ASKED: Duration = Duration::from_secs(1);

/// The same for connections that were dialled and those that were accepted.
fn tune(stream: &TcpStream) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let socket = SockRef::from(stream);
    socket.set_tcp_keepalive(&TcpKeepalive::new().with_time(IDLE).with_interval(ASKED))?;
    socket.set_tcp_user_timeout(Some(UNACKNOWLEDGED))?;
    socket.set_tcp_notsent_lowat(UNSENT)
}

impl fmt::Debug for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Stream({})", self.peer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn f03_both_ends_notice_a_peer_that_is_gone() -> std::io::Result<()> {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let (dialled, accepted) = tokio::try_join!(TcpStream::connect(address), listener.accept())?;
        for stream in [dialled, accepted.0] {
            // The options are the connection's, whatever handle shows them.
            let other = SockRef::from(&stream).try_clone()?;
            assert!(!other.keepalive()?);
            let _tuned = Stream::tcp(stream);
            assert!(other.keepalive()? && other.tcp_nodelay()?);
            assert_eq!(other.tcp_keepalive_time()?, IDLE);
            assert_eq!(other.tcp_keepalive_interval()?, ASKED);
            assert_eq!(other.tcp_user_timeout()?, Some(SILENCE));
            assert_eq!(other.tcp_notsent_lowat()?, UNSENT);
        }
        Ok(())
    }
}
