//! The connection beneath TLS: how far it is read before its peer is known, and how far ahead of
//! TLS afterwards.
//!
//! Invariants: until it is opened, no more than its budget is read, whatever there is; a link that
//! is idle has no buffer here.

use dpfw_protocol::limits::MAX_TLS;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// A TCP connection with a budget of bytes.
#[derive(Debug)]
pub(crate) struct Metered {
    stream: TcpStream,
    /// What may still be read; `None` when the peer is known.
    left: Option<usize>,
    ahead: Ahead,
}

/// What was read of the connection and TLS has not asked for.
///
/// rustls reads 4 KiB at a time, so a record of 16 KiB would take five system calls. Where a read
/// was filled to the brim more is to be had, and so much is read at once.
#[derive(Debug, Default)]
struct Ahead {
    /// Empty unless there is more to be had.
    buffer: Vec<u8>,
    start: usize,
    end: usize,
    /// Whether the last read was filled to the brim.
    more: bool,
}

/// Bytes that are read at once where there is more to be had. Four times as many were no quicker.
const AHEAD: usize = 64 << 10;

impl Ahead {
    /// Gives what was read before; whether there was any.
    fn give(&mut self, buf: &mut ReadBuf<'_>) -> bool {
        let bytes = self.buffer.get(self.start..self.end).unwrap_or_default();
        if bytes.is_empty() {
            return false;
        }
        let n = bytes.len().min(buf.remaining());
        buf.put_slice(&bytes[..n]);
        self.start += n;
        if self.start == self.end && !self.more {
            *self = Self::default();
        }
        true
    }

    fn poll_read(
        &mut self,
        stream: &mut TcpStream,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.give(buf) {
            return Poll::Ready(Ok(()));
        }
        if !self.more {
            let room = buf.remaining();
            ready!(Pin::new(stream).poll_read(cx, buf))?;
            self.more = buf.remaining() == 0 && room > 0;
            return Poll::Ready(Ok(()));
        }
        self.buffer.resize(AHEAD, 0);
        let mut space = ReadBuf::new(&mut self.buffer);
        let read = Pin::new(stream).poll_read(cx, &mut space);
        let n = space.filled().len();
        // Whoever has to wait may have to for long.
        self.more = n == AHEAD;
        (self.start, self.end) = (0, n);
        if n == 0 {
            *self = Self::default();
        }
        ready!(read)?;
        self.give(buf);
        Poll::Ready(Ok(()))
    }
}

/// The error of a peer that says too much.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a peer that is not known sent more than {MAX_TLS} bytes")]
pub(crate) struct TooMuch;

impl Metered {
    /// A connection to a peer that is not known.
    pub(crate) fn new(stream: TcpStream) -> Self {
        Self { stream, left: Some(MAX_TLS), ahead: Ahead::default() }
    }

    /// The peer is known.
    pub(crate) fn open(&mut self) {
        self.left = None;
    }

    fn stream(self: Pin<&mut Self>) -> Pin<&mut TcpStream> {
        Pin::new(&mut self.get_mut().stream)
    }
}

impl AsyncRead for Metered {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let Some(left) = &mut this.left else {
            return this.ahead.poll_read(&mut this.stream, cx, buf);
        };
        if *left == 0 {
            return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, TooMuch)));
        }
        let mut few = buf.take(*left);
        ready!(Pin::new(&mut this.stream).poll_read(cx, &mut few))?;
        let n = few.filled().len();
        *left -= n;
        // Reading has filled so much of it.
        let filled = buf.filled().len() + n;
        buf.initialize_unfilled_to(n);
        buf.set_filled(filled);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Metered {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.stream().poll_write(cx, buf)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream().poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream().poll_shutdown(cx)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.stream().poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    #[tokio::test]
    async fn so_much_is_read_and_no_more_before_it_is_opened() -> io::Result<()> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let (mut peer, accepted) =
            tokio::try_join!(TcpStream::connect(address), listener.accept())?;
        let mut metered = Metered::new(accepted.0);
        let flood = async {
            peer.write_all(&[7; MAX_TLS + 5]).await?;
            peer.shutdown().await
        };
        let take = async {
            let mut all = vec![0; MAX_TLS];
            metered.read_exact(&mut all).await?;
            let error = metered.read(&mut all).await.expect_err("it is too much");
            assert_eq!(error.kind(), io::ErrorKind::InvalidData);
            assert!(error.to_string().contains("more than 65536 bytes"), "{error}");
            metered.open();
            metered.read_to_end(&mut all).await
        };
        let (flood, rest) = tokio::join!(flood, take);
        flood?;
        assert_eq!(rest?, 5);
        Ok(())
    }

    #[tokio::test]
    async fn what_is_read_ahead_comes_whole_and_in_order() -> io::Result<()> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let (mut peer, accepted) =
            tokio::try_join!(TcpStream::connect(address), listener.accept())?;
        let mut metered = Metered::new(accepted.0);
        metered.open();
        let sent: Vec<u8> = (0..3_000_000u32).map(|i| (i % 251) as u8).collect();
        let send = async {
            peer.write_all(&sent).await?;
            peer.shutdown().await
        };
        let take = async {
            let (mut all, mut some) = (Vec::new(), [0; 4096]);
            loop {
                match metered.read(&mut some).await? {
                    0 => break,
                    n => all.extend_from_slice(&some[..n]),
                }
            }
            assert!(metered.ahead.buffer.is_empty(), "an idle link keeps no buffer");
            io::Result::Ok(all)
        };
        let (sent_all, taken) = tokio::join!(send, take);
        sent_all?;
        assert!(taken? == sent);
        Ok(())
    }
}
