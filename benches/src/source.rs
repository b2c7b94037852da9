//! Bytes to be sent, made at once.

use std::pin::Pin;
use std::task::{self, Poll};
use tokio::io::{AsyncRead, ReadBuf};

/// So many bytes.
pub(crate) struct Source(u64);

impl Source {
    pub(crate) fn of(bytes: u64) -> Self {
        Self(bytes)
    }
}

impl AsyncRead for Source {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut task::Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        static BYTES: [u8; 64 << 10] = [5; 64 << 10];
        while self.0 > 0 && buffer.remaining() > 0 {
            let n = buffer.remaining().min(BYTES.len()).min(self.0 as usize);
            buffer.put_slice(&BYTES[..n]);
            self.0 -= n as u64;
        }
        Poll::Ready(Ok(()))
    }
}
