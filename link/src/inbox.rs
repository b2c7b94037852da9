//! Reading frames from a link.

use crate::error::LinkError;
use dpfw_protocol::frame::{Frame, FrameDecoder};
use dpfw_protocol::limits::SILENCE;
use std::pin::Pin;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::time::{Instant, Sleep};

/// The read half of a link. Any byte that arrives is a sign of life.
pub struct Inbox {
    reader: Box<dyn AsyncRead + Send + Unpin>,
    decoder: FrameDecoder,
    silence: Option<Silence>,
}

/// How long nothing came, measured only when reading has to wait: a runtime that was
/// busy elsewhere takes nobody for dead.
struct Silence {
    limit: Duration,
    last: Instant,
    alarm: Pin<Box<Sleep>>,
}

impl Inbox {
    pub(crate) fn new(reader: Box<dyn AsyncRead + Send + Unpin>, max_body: usize) -> Self {
        Self { reader, decoder: FrameDecoder::new(max_body), silence: None }
    }

    /// Allows what a known peer may send, and begins to listen for signs of life.
    pub(crate) fn open(&mut self, max_body: usize) {
        self.decoder.allow(max_body);
        let last = Instant::now();
        let alarm = Box::pin(tokio::time::sleep_until(last + SILENCE));
        self.silence = Some(Silence { limit: SILENCE, last, alarm });
    }

    /// Waits for more bytes. Cancel safe.
    ///
    /// # Errors
    /// [`LinkError`] if the stream ends, fails, or is silent for too long.
    pub async fn fill(&mut self) -> Result<(), LinkError> {
        let read = self.reader.read(self.decoder.space());
        let n = match &mut self.silence {
            None => read.await?,
            Some(silence) => silence.watch(read).await?,
        };
        if n == 0 {
            return Err(LinkError::Ended);
        }
        self.decoder.filled(n);
        Ok(())
    }

    /// The next whole frame, if it has arrived.
    ///
    /// # Errors
    /// [`LinkError::Frame`] if the peer's bytes are no frames.
    pub fn next_frame(&mut self) -> Result<Option<Frame<'_>>, LinkError> {
        Ok(self.decoder.next_frame()?)
    }

    /// Takes the bytes that precede all frames, if they have arrived.
    pub(crate) fn take(&mut self, n: usize) -> Option<&[u8]> {
        self.decoder.take(n)
    }
}

impl Silence {
    async fn watch(
        &mut self,
        read: impl Future<Output = std::io::Result<usize>>,
    ) -> Result<usize, LinkError> {
        tokio::pin!(read);
        loop {
            tokio::select! {
                biased;
                n = &mut read => {
                    self.last = Instant::now();
                    return Ok(n?);
                }
                () = &mut self.alarm => {
                    let due = self.last + self.limit;
                    if due <= Instant::now() {
                        return Err(LinkError::Silent(self.limit));
                    }
                    self.alarm.as_mut().reset(due);
                }
            }
        }
    }
}

impl std::fmt::Debug for Inbox {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Inbox")
    }
}
