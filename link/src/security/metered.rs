//! A connection that may be read from only so far before its peer is known.
//!
//! Invariant: until it is opened, no more than its budget is read, whatever there is.

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
}

/// The error of a peer that says too much.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a peer that is not known sent more than {MAX_TLS} bytes")]
pub(crate) struct TooMuch;

impl Metered {
    /// A connection to a peer that is not known.
    pub(crate) fn new(stream: TcpStream) -> Self {
        Self { stream, left: Some(MAX_TLS) }
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
            return Pin::new(&mut this.stream).poll_read(cx, buf);
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
}
