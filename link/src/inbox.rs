//! Reading frames from a link.

use crate::error::LinkError;
use bytes::BufMut;
use dpfw_protocol::frame::{END, Frame, FrameDecoder, Header};
use dpfw_protocol::ids::ConversationId;
use dpfw_protocol::limits::SILENCE;
use dpfw_protocol::message::kind;
use dpfw_protocol::receive::{ArrivalError, Arrivals, Step};
use std::pin::Pin;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::time::{Instant, Sleep};

/// The read half of a link. Any byte that arrives is a sign of life.
pub struct Inbox {
    reader: Box<dyn AsyncRead + Send + Unpin>,
    decoder: FrameDecoder,
    silence: Option<Silence>,
    /// The chunk that is being read right into its payload.
    direct: Option<Direct>,
    /// Whether another chunk follows the last one: then little is read ahead of it.
    more: bool,
}

/// The rest of a chunk whose header has been read.
#[derive(Clone, Copy)]
struct Direct {
    conversation: ConversationId,
    left: usize,
    last: bool,
}

/// What is read ahead where a chunk is expected: its header, and a few small frames. All
/// the rest of it is copied once, from the kernel into its payload.
const AHEAD: usize = 4096;

/// How a payload goes on.
pub(crate) type Arrived<T> = (ConversationId, Result<Step<T>, ArrivalError<T>>);

/// How long nothing came, measured only when reading has to wait: a runtime that was
/// busy elsewhere takes nobody for dead.
struct Silence {
    limit: Duration,
    last: Instant,
    alarm: Pin<Box<Sleep>>,
}

impl Inbox {
    pub(crate) fn new(reader: Box<dyn AsyncRead + Send + Unpin>, max_body: usize) -> Self {
        Self {
            reader,
            decoder: FrameDecoder::new(max_body),
            silence: None,
            direct: None,
            more: false,
        }
    }

    /// Allows what a known peer may send, and begins to listen for signs of life.
    pub(crate) fn open(&mut self, max_body: usize) {
        self.decoder.allow(max_body);
        let last = Instant::now();
        let alarm = Box::pin(tokio::time::sleep_until(last + SILENCE));
        self.silence = Some(Silence { limit: SILENCE, last, alarm });
    }

    /// Waits for more bytes, which become frames. Cancel safe.
    ///
    /// # Errors
    /// [`LinkError`] if the stream ends, fails, or is silent for too long.
    pub async fn fill(&mut self) -> Result<(), LinkError> {
        let most = if self.more { AHEAD } else { usize::MAX };
        let space = self.decoder.space();
        let most = space.len().min(most);
        let n = read(&mut self.reader, &mut self.silence, &mut &mut space[..most]).await?;
        self.decoder.filled(n);
        Ok(())
    }

    /// Waits for more bytes. Those of a chunk go right into their payload, which is then
    /// told of; all others become frames. Call it when there is no whole frame. Cancel safe.
    ///
    /// # Errors
    /// [`LinkError`] if the stream ends, fails, or is silent for too long.
    pub async fn fill_payloads<T>(
        &mut self,
        arrivals: &mut Arrivals<T>,
    ) -> Result<Option<Arrived<T>>, LinkError> {
        if self.direct.is_none()
            && let Some(arrived) = self.begin(arrivals)
        {
            return Ok(Some(arrived));
        }
        let Some(direct) = &mut self.direct else {
            self.fill().await?;
            return Ok(None);
        };
        let conversation = direct.conversation;
        let room = match arrivals.room(conversation, direct.left) {
            Ok(Some(room)) => room,
            Ok(None) => {
                // Nobody wants it any more.
                self.fill().await?;
                self.pass_over();
                return Ok(None);
            }
            Err(error) => return Ok(Some((conversation, Err(error)))),
        };
        let mut rest = room.limit(direct.left);
        let n = read(&mut self.reader, &mut self.silence, &mut rest).await?;
        direct.left -= n;
        let (is_whole, last) = (direct.left == 0, direct.last);
        if is_whole {
            self.direct = None;
            self.more = !last;
        }
        Ok(Some((conversation, arrivals.appended(conversation, n, is_whole && last))))
    }

    /// Moves what has arrived of a chunk into its payload.
    fn begin<T>(&mut self, arrivals: &mut Arrivals<T>) -> Option<Arrived<T>> {
        let header = self.decoder.begun().filter(|header| header.kind == kind::CHUNK)?;
        let conversation = header.conversation;
        let room = match arrivals.room(conversation, header.len as usize) {
            Ok(room) => room?,
            Err(error) => return Some((conversation, Err(error))),
        };
        let body = self.decoder.split();
        room.extend_from_slice(body);
        let (n, last) = (body.len(), header.flags & END != 0);
        self.direct = Some(Direct { conversation, left: header.len as usize - n, last });
        (n > 0).then(|| (conversation, arrivals.appended(conversation, n, false)))
    }

    fn pass_over(&mut self) {
        if let Some(direct) = &mut self.direct {
            direct.left -= self.decoder.skip(direct.left);
            self.direct.take_if(|direct| direct.left == 0);
        }
        self.more = false;
    }

    /// The next whole frame, if it has arrived.
    ///
    /// # Errors
    /// [`LinkError::Frame`] if the peer's bytes are no frames.
    pub fn next_frame(&mut self) -> Result<Option<Frame<'_>>, LinkError> {
        if self.direct.is_some() {
            // What has arrived belongs to a chunk.
            return Ok(None);
        }
        let frame = self.decoder.next_frame()?;
        if let Some(frame) = &frame {
            let Header { kind, flags, conversation, .. } = frame.header;
            // Those of ports are copied: what is at a port is gone before the next comes.
            self.more = kind == kind::CHUNK && flags & END == 0 && conversation.port().is_none();
        }
        Ok(frame)
    }

    /// Takes the bytes that precede all frames, if they have arrived.
    pub(crate) fn take(&mut self, n: usize) -> Option<&[u8]> {
        self.decoder.take(n)
    }
}

/// Reads once, with an eye on the time.
async fn read(
    reader: &mut (dyn AsyncRead + Send + Unpin),
    silence: &mut Option<Silence>,
    buffer: &mut (impl BufMut + Send),
) -> Result<usize, LinkError> {
    let read = reader.read_buf(buffer);
    let n = match silence {
        None => read.await?,
        Some(silence) => silence.watch(read).await?,
    };
    match n {
        0 => Err(LinkError::Ended),
        n => Ok(n),
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
