//! Reading frames from a link.

use crate::error::LinkError;
use bytes::BufMut;
use dpfw_protocol::credit::Depth;
use dpfw_protocol::frame::{END, Frame, FrameDecoder, Header};
use dpfw_protocol::ids::ConversationId;
use dpfw_protocol::limits::SILENCE;
use dpfw_protocol::message::kind;
use dpfw_protocol::receive::{ArrivalError, Arrivals, Step};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
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
    hollow: Hollow,
    /// How much is to be under way, and where that is told.
    depth: Depth,
    told: Arc<AtomicU64>,
    /// Whether a frame, or a part of a payload that is known, has come since the last read.
    whole: bool,
}

/// What frames without content have cost. Others pay it back.
struct Hollow {
    cost: u32,
    since: Instant,
}

/// What frames without content may cost within [`SPAN`]: a hundred thousand of them. Honest
/// peers send one a second, and at most one for each frame that has some.
const MOST_COST: u32 = 100_000 * FULL;

/// See [`MOST_COST`].
const SPAN: Duration = Duration::from_secs(10);

/// The cost of a frame without content. Credit costs [`LITTLE`]: a peer may grant it for each
/// chunk that it takes.
const FULL: u32 = 16;
const LITTLE: u32 = 1;

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
    /// When there was last anything whole, and how often something came since.
    whole: Instant,
    reads: u32,
    alarm: Pin<Box<Sleep>>,
}

/// How long a frame may take while its bytes come. One of 16 KiB needs less at 300 bytes a
/// second; one whose length is wrong would swallow all that follows it.
const SLOWEST: Duration = Duration::from_secs(60);

/// If fewer than this came meanwhile, it was this side that did not read.
const FEW: u32 = 16;

impl Inbox {
    pub(crate) fn new(reader: Box<dyn AsyncRead + Send + Unpin>, max_body: usize) -> Self {
        Self {
            reader,
            decoder: FrameDecoder::new(max_body),
            silence: None,
            direct: None,
            more: false,
            hollow: Hollow { cost: 0, since: Instant::now() },
            depth: Depth::default(),
            told: Arc::default(),
            whole: false,
        }
    }

    /// Allows what a known peer may send, and begins to listen for signs of life.
    pub(crate) fn open(&mut self, max_body: usize, told: &Arc<AtomicU64>) {
        self.told = Arc::clone(told);
        self.decoder.allow(max_body);
        let last = Instant::now();
        let alarm = Box::pin(tokio::time::sleep_until(last + SILENCE));
        self.silence = Some(Silence { limit: SILENCE, last, whole: last, reads: 0, alarm });
    }

    /// Waits for more bytes, which become frames. Cancel safe.
    ///
    /// # Errors
    /// [`LinkError`] if the stream ends, fails, or is silent for too long.
    pub async fn fill(&mut self) -> Result<(), LinkError> {
        let most = if self.more { AHEAD } else { usize::MAX };
        let space = self.decoder.space();
        let most = space.len().min(most);
        let (n, waited) =
            read(&mut self.reader, &mut self.silence, &mut &mut space[..most]).await?;
        self.decoder.filled(n);
        self.learn(n, waited);
        self.look_for_stall()
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
        let (n, waited) = read(&mut self.reader, &mut self.silence, &mut rest).await?;
        self.whole = true;
        direct.left -= n;
        let (is_whole, last) = (direct.left == 0, direct.last);
        if is_whole {
            self.direct = None;
            self.more = !last;
        }
        arrivals.set_depth(self.learn(n, waited));
        Ok(Some((conversation, arrivals.appended(conversation, n, is_whole && last))))
    }

    /// Takes note of how bytes have come; gives how much is to be under way.
    fn learn(&mut self, n: usize, waited: bool) -> u64 {
        let depth = self.depth.arrived(n, waited);
        self.told.store(depth, Ordering::Relaxed);
        depth
    }

    /// Gives up a frame that comes and comes, and is never whole.
    fn look_for_stall(&mut self) -> Result<(), LinkError> {
        let Some(silence) = &mut self.silence else { return Ok(()) };
        if std::mem::take(&mut self.whole) {
            (silence.whole, silence.reads) = (silence.last, 0);
        }
        silence.reads += 1;
        let is_slow = silence.last.duration_since(silence.whole) > SLOWEST;
        match is_slow && silence.reads > FEW {
            true => Err(LinkError::Broken(format!("a frame took longer than {SLOWEST:?}"))),
            false => Ok(()),
        }
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
            self.hollow.charge(kind, frame.body)?;
            if is_small(kind, flags) {
                self.depth.beside();
            }
            self.whole = true;
        }
        Ok(frame)
    }

    /// Waits for the bytes that precede all frames. Cancel safe.
    pub(crate) async fn hear<const N: usize>(&mut self) -> Result<[u8; N], LinkError> {
        loop {
            if let Some(bytes) = self.decoder.take(N) {
                let mut heard = [0; N];
                heard.copy_from_slice(bytes);
                return Ok(heard);
            }
            self.fill().await?;
        }
    }
}

/// Whether it is a frame that must not stand behind large ones: no part of them, nor what begins
/// or credits them, nor a sign of life.
fn is_small(kind: u8, flags: u8) -> bool {
    flags & END != 0 && !matches!(kind, kind::CHUNK | kind::CREDIT | kind::HEARTBEAT)
}

impl Hollow {
    fn charge(&mut self, kind: u8, body: &[u8]) -> Result<(), LinkError> {
        let cost = match kind {
            kind::HEARTBEAT | kind::CANCEL | kind::RECALL | kind::RELEASE | kind::ABANDON => FULL,
            kind::CREDIT => LITTLE,
            kind::CHUNK if body.is_empty() => FULL,
            _ => {
                self.cost = self.cost.saturating_sub(FULL);
                return Ok(());
            }
        };
        self.cost += cost;
        if self.cost < MOST_COST {
            return Ok(());
        }
        let now = Instant::now();
        if now.duration_since(self.since) < SPAN {
            return Err(LinkError::Broken("frames without content, without end".into()));
        }
        *self = Self { cost: 0, since: now };
        Ok(())
    }
}

/// Reads once, with an eye on the time; and whether that had to wait.
async fn read(
    reader: &mut (dyn AsyncRead + Send + Unpin),
    silence: &mut Option<Silence>,
    buffer: &mut (impl BufMut + Send),
) -> Result<(usize, bool), LinkError> {
    let (mut read, mut waited) = (pin!(reader.read_buf(buffer)), false);
    let read = std::future::poll_fn(|cx| {
        let read = read.as_mut().poll(cx);
        waited |= read.is_pending();
        read
    });
    let n = match silence {
        None => read.await?,
        Some(silence) => silence.watch(read).await?,
    };
    match n {
        0 => Err(LinkError::Ended),
        n => Ok((n, waited)),
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
