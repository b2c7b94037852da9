//! Reading frames from a link.

use crate::error::LinkError;
use bytes::BufMut;
use dpfw_protocol::credit::Depth;
use dpfw_protocol::frame::{END, Frame, FrameDecoder, Header};
use dpfw_protocol::hello::Role;
use dpfw_protocol::ids::ConversationId;
use dpfw_protocol::message::kind;
use dpfw_protocol::receive::{ArrivalError, Arrivals, Step};
use eager::Eager;
use hollow::Hollow;
use silence::Silence;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::io::{AsyncRead, AsyncReadExt};

mod eager;
mod hollow;
mod silence;

/// The read half of a link. Any byte that arrives is a sign of life.
pub struct Inbox {
    reader: Box<dyn AsyncRead + Send + Unpin>,
    decoder: FrameDecoder,
    silence: Option<Silence>,
    /// The chunk that is being read right into its payload.
    direct: Option<Direct>,
    /// Whether another chunk follows the last one: then little is read ahead of it.
    more: bool,
    /// Of a master's.
    eager: Option<Eager>,
    hollow: Hollow,
    /// How much is to be under way, and where that is told.
    depth: Depth,
    told: Arc<AtomicU64>,
    /// Whether a frame, or a part of a payload that is known, has come since the last read.
    whole: bool,
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

impl Inbox {
    pub(crate) fn new(reader: Box<dyn AsyncRead + Send + Unpin>, max_body: usize) -> Self {
        Self {
            reader,
            decoder: FrameDecoder::new(max_body),
            silence: None,
            direct: None,
            more: false,
            eager: None,
            hollow: Hollow::new(),
            depth: Depth::default(),
            told: Arc::default(),
            whole: false,
        }
    }

    /// Allows what a known peer may send, and begins to listen for signs of life.
    pub(crate) fn open(&mut self, max_body: usize, told: &Arc<AtomicU64>, role: Role) {
        self.eager = (role == Role::Master).then(Eager::default);
        self.told = Arc::clone(told);
        self.decoder.allow(max_body);
        self.silence = Some(Silence::new());
    }

    /// Waits for more bytes, which become frames. Cancel safe.
    ///
    /// # Errors
    /// [`LinkError`] if the stream ends, fails, or is silent for too long.
    pub async fn fill(&mut self) -> Result<(), LinkError> {
        let most = if self.more { AHEAD } else { usize::MAX };
        let eager = self.eager.as_mut().filter(|_| self.more);
        let space = self.decoder.space();
        let most = space.len().min(most);
        let mut space = &mut space[..most];
        let (n, waited) = read(&mut self.reader, &mut self.silence, eager, &mut space).await?;
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
        let (mut rest, eager) = (room.limit(direct.left), self.eager.as_mut());
        let (n, waited) = read(&mut self.reader, &mut self.silence, eager, &mut rest).await?;
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
        match &mut self.silence {
            Some(silence) => silence.look_for_stall(std::mem::take(&mut self.whole)),
            None => Ok(()),
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
/// or credits them, nor a sign of life or of how a slave stands.
fn is_small(kind: u8, flags: u8) -> bool {
    let is_told_beside = matches!(kind, kind::HEARTBEAT | kind::STATUS | kind::STARTED);
    flags & END != 0 && !is_told_beside && !matches!(kind, kind::CHUNK | kind::CREDIT)
}

/// Reads once, with an eye on the time; and whether that had to wait.
async fn read(
    reader: &mut (dyn AsyncRead + Send + Unpin),
    silence: &mut Option<Silence>,
    mut eager: Option<&mut Eager>,
    buffer: &mut (impl BufMut + Send),
) -> Result<(usize, bool), LinkError> {
    let (mut read, mut waited) = (pin!(reader.read_buf(buffer)), false);
    let read = std::future::poll_fn(|cx| {
        let read = read.as_mut().poll(cx);
        waited |= read.is_pending();
        if let Some(eager) = &mut eager {
            match read.is_ready() {
                true => eager.found(),
                false if eager.looks_again() => cx.waker().wake_by_ref(),
                false => {}
            }
        }
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

impl std::fmt::Debug for Inbox {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Inbox")
    }
}
