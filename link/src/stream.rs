//! Any byte stream as the two halves of a link.

use crate::error::LinkError;
use crate::security::Lock;
use crate::security::proof::Proof;
use crate::security::tls::shake;
use crate::security::token::Token;
use dpfw_protocol::limits::{SILENCE, UNSENT};
use socket2::{SockRef, TcpKeepalive};
use std::fmt;
use std::net::IpAddr;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

/// The two directions of a byte stream: TCP, TLS, a pipe to another program, memory.
///
/// A stream that somebody made and attaches is not asked who is at its other end: whoever made
/// it vouches for that.
pub struct Stream {
    way: Way,
    pub(crate) peer: String,
    /// Of a connection.
    address: Option<IpAddr>,
}

/// How far a stream is made.
enum Way {
    Open(Halves, Proof),
    /// Nothing was read or written yet.
    Locked(TcpStream, Lock, End),
}

/// Which end of a connection this side is.
#[derive(Clone, Debug)]
pub(crate) enum End {
    /// It has dialled this host.
    Dialled(String),
    Accepted,
}

/// Both directions.
pub(crate) struct Halves {
    pub(crate) reader: Box<dyn AsyncRead + Send + Unpin>,
    pub(crate) writer: Box<dyn AsyncWrite + Send + Unpin>,
}

/// A stream that can be read and written.
pub(crate) struct Opened {
    pub(crate) halves: Halves,
    /// What is known of the peer, if the token that is still to be shown is right.
    pub(crate) proof: Proof,
    pub(crate) token: Option<(Token, End)>,
}

impl Stream {
    /// A stream of two halves; `peer` names its other end in logs and errors.
    pub fn new(
        reader: impl AsyncRead + Send + Unpin + 'static,
        writer: impl AsyncWrite + Send + Unpin + 'static,
        peer: impl Into<String>,
    ) -> Self {
        let halves = Halves { reader: Box::new(reader), writer: Box::new(writer) };
        Self { way: Way::Open(halves, Proof::Vouched), peer: peer.into(), address: None }
    }

    /// A TCP connection, tuned for many small frames: nothing waits for more to send, and
    /// a peer that stopped acknowledging is noticed by the kernel as well.
    pub fn tcp(stream: TcpStream) -> Self {
        let (peer, address) = tuned(&stream);
        let (reader, writer) = stream.into_split();
        Self { address, ..Self::new(reader, writer, peer) }
    }

    /// A TCP connection that is opened by the handshake.
    pub(crate) fn locked(stream: TcpStream, lock: Lock, end: End) -> Self {
        let (peer, address) = tuned(&stream);
        Self { way: Way::Locked(stream, lock, end), peer, address }
    }

    /// Two ends in this process, each with a buffer of `bytes`.
    pub fn pair(bytes: usize) -> (Self, Self) {
        let (a, b) = tokio::io::duplex(bytes);
        let end = |half| {
            let (reader, writer) = tokio::io::split(half);
            let halves = Halves { reader: Box::new(reader), writer: Box::new(writer) };
            let peer = "this process".into();
            Self { way: Way::Open(halves, Proof::Within), peer, address: None }
        };
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

    /// Whether it will be encrypted.
    pub fn is_encrypted(&self) -> bool {
        matches!(self.way, Way::Locked(_, Lock::Tls(_), _))
    }

    /// Whether its other end is this very process.
    pub fn is_within(&self) -> bool {
        matches!(self.way, Way::Open(_, Proof::Within))
    }

    /// Where the other end is, if this is a connection.
    pub fn address(&self) -> Option<IpAddr> {
        self.address
    }

    /// Encrypts it, if it is to be.
    pub(crate) async fn open(self) -> Result<Opened, LinkError> {
        let (stream, lock, end) = match self.way {
            Way::Open(halves, proof) => return Ok(Opened { halves, proof, token: None }),
            Way::Locked(stream, lock, end) => (stream, lock, end),
        };
        let tls = match lock {
            Lock::None => return Ok(Opened::plain(stream, Proof::None, None)),
            Lock::Token(token) => {
                return Ok(Opened::plain(stream, Proof::Token, Some((token, end))));
            }
            Lock::Tls(tls) => tls,
        };
        let (stream, chain) = match end {
            End::Dialled(host) => shake::dial(&tls, stream, &host).await?,
            End::Accepted => shake::accept(&tls, stream).await?,
        };
        let (reader, writer) = tokio::io::split(stream);
        let halves = Halves { reader: Box::new(reader), writer: Box::new(writer) };
        Ok(Opened { halves, proof: Proof::Certificate(chain), token: None })
    }
}

/// How long sent bytes may stay unacknowledged; the same as silence.
const UNACKNOWLEDGED: Duration = SILENCE;

/// Without a byte for so long, the system asks the peer's: heartbeats come sooner, so it
/// asks only where they do not.
const IDLE: Duration = Duration::from_secs(2);

/// Between two such questions. Unanswered for [`UNACKNOWLEDGED`] they end the connection.
const ASKED: Duration = Duration::from_secs(1);

impl Opened {
    fn plain(stream: TcpStream, proof: Proof, token: Option<(Token, End)>) -> Self {
        let (reader, writer) = stream.into_split();
        let halves = Halves { reader: Box::new(reader), writer: Box::new(writer) };
        Self { halves, proof, token }
    }
}

/// Tunes a connection; what its other end is called, and where it is.
fn tuned(stream: &TcpStream) -> (String, Option<IpAddr>) {
    let peer = stream.peer_addr();
    let address = peer.as_ref().ok().map(|peer| peer.ip());
    let peer = peer.map_or_else(|_| "a TCP peer".into(), |peer| peer.to_string());
    if let Err(error) = tune(stream) {
        tracing::debug!(%peer, %error, "the connection keeps its default options");
    }
    (peer, address)
}

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
