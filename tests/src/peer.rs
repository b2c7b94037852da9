//! Peers that speak the wire by hand, and may lie.
//!
//! Owns: a stream, and frames cut out of it. Does not: know what may be said when; the
//! test decides. Invariant: reading ends when the other side closes.

use crate::knock::{answer, knock};
use crate::wait::within;
use anyhow::{Context, Result, bail, ensure};
use dpfw::{ByteStream, Namespace, PeerId};
use dpfw_protocol::frame::{END, FrameDecoder, Header};
use dpfw_protocol::hello::{Features, Hello, PREFACE, PeerLimits, Role};
use dpfw_protocol::ids::{ConversationId, Incarnation, SessionId};
use dpfw_protocol::limits::{MAX_BODY, PROTOCOL};
use dpfw_protocol::message::{self, Bind, BindImage, Close, Message, kind};
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// A stream in both directions.
trait Both: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Both for T {}

/// One end of a link, spoken by hand.
pub struct Wire {
    stream: Box<dyn Both>,
    decoder: FrameDecoder,
}

/// A frame that the other side sent.
#[derive(Clone, Debug)]
pub struct Said {
    /// Its header.
    pub header: Header,
    /// Its body.
    pub body: Vec<u8>,
}

impl Said {
    /// The message and the payload behind it.
    ///
    /// # Errors
    /// If it is another message.
    pub fn read<M: Message>(&self) -> Result<(M, Vec<u8>)> {
        ensure!(self.header.kind == M::KIND, "kind {} came, not {}", self.header.kind, M::KIND);
        let frame = dpfw_protocol::frame::Frame { header: self.header, body: &self.body };
        let (message, payload) = message::decode::<M>(&frame)?;
        Ok((message, payload.to_vec()))
    }
}

/// What a peer says of itself unless a test changes it. Each time it is another peer, as of
/// another process.
///
/// # Errors
/// If the name is none.
pub fn hello(role: Role, name: &str) -> Result<Hello> {
    static INCARNATIONS: AtomicU64 = AtomicU64::new(1);
    Ok(Hello {
        protocol: PROTOCOL,
        role,
        peer: PeerId::new(name)?,
        incarnation: Incarnation(INCARNATIONS.fetch_add(1, Ordering::Relaxed)),
        serial: 0,
        session: (role == Role::Master).then_some(SessionId(1)),
        features: Features::default(),
        namespace: Namespace::default(),
        limits: PeerLimits::default(),
        slots: u32::from(role == Role::Slave),
        agent: "by hand".into(),
    })
}

impl Wire {
    fn over(stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static) -> Self {
        Self { stream: Box::new(stream), decoder: FrameDecoder::new(MAX_BODY) }
    }

    /// Two ends in memory: one to be attached, one to be spoken by hand.
    pub fn memory() -> (ByteStream, Self) {
        let (ours, theirs) = tokio::io::duplex(1 << 20);
        (ByteStream::joined(theirs, "memory"), Self::over(ours))
    }

    /// Dials a port, and shows the user's token.
    ///
    /// # Errors
    /// What the system says, or that the listener has another token.
    pub async fn dial(address: &str) -> Result<Self> {
        let mut stream = TcpStream::connect(address).await?;
        within("an answer to the knock", knock(&mut stream)).await??;
        Ok(Self::over(stream))
    }

    /// Takes the next one who dials, and has the user's token.
    ///
    /// # Errors
    /// If nobody does, or another one.
    pub async fn accept(listener: &TcpListener) -> Result<Self> {
        let (mut stream, _) = within("somebody to dial", listener.accept()).await??;
        within("the knock", answer(&mut stream)).await??;
        Ok(Self::over(stream))
    }

    /// Dials a slave and shakes hands as a master of this name.
    ///
    /// # Errors
    /// If it does not answer.
    pub async fn master(address: &str, name: &str) -> Result<Self> {
        let mut wire = Self::dial(address).await?;
        wire.greet(&hello(Role::Master, name)?).await?;
        Ok(wire)
    }

    /// Says hello, and hears the other's.
    ///
    /// # Errors
    /// If none comes.
    pub async fn greet(&mut self, ours: &Hello) -> Result<Hello> {
        self.raw(&ours.to_bytes()?).await?;
        self.preface().await?;
        let said = self.next().await?.context("the link ended before the hello")?;
        ensure!(said.header.kind == kind::HELLO, "{said:?} instead of a hello");
        Ok(Hello::from_body(&said.body)?)
    }

    /// Reads the bytes that precede all frames.
    ///
    /// # Errors
    /// If they are others.
    pub async fn preface(&mut self) -> Result<()> {
        loop {
            if let Some(bytes) = self.decoder.take(PREFACE.len()) {
                ensure!(bytes == PREFACE, "{bytes:?} is no preface");
                return Ok(());
            }
            ensure!(self.fill().await?, "the link ended before the preface");
        }
    }

    /// Whether there was anything to read.
    async fn fill(&mut self) -> Result<bool> {
        let read = self.stream.read(self.decoder.space());
        // A reset is an end as well: the other side had not read everything.
        let n = within("bytes from the other side", read).await?.unwrap_or(0);
        self.decoder.filled(n);
        Ok(n > 0)
    }

    /// Writes bytes as they are.
    ///
    /// # Errors
    /// What the system says.
    pub async fn raw(&mut self, bytes: &[u8]) -> Result<()> {
        self.stream.write_all(bytes).await?;
        Ok(self.stream.flush().await?)
    }

    /// Writes a message with all of its payload.
    ///
    /// # Errors
    /// What the system says.
    pub async fn send<M: Message>(&mut self, id: u64, message: &M, payload: &[u8]) -> Result<()> {
        let mut bytes = Vec::new();
        message::encode(&mut bytes, ConversationId(id), message, payload, true)?;
        self.raw(&bytes).await
    }

    /// Writes a message that announces a payload in chunks.
    ///
    /// # Errors
    /// What the system says.
    pub async fn announce<M: Message>(&mut self, id: u64, message: &M) -> Result<()> {
        let mut bytes = Vec::new();
        message::encode(&mut bytes, ConversationId(id), message, &[], false)?;
        self.raw(&bytes).await
    }

    /// Writes a frame of any kind and body.
    ///
    /// # Errors
    /// What the system says.
    pub async fn frame(&mut self, kind: u8, id: u64, body: &[u8], last: bool) -> Result<()> {
        let flags = if last { END } else { 0 };
        let conversation = ConversationId(id);
        let header = Header { len: body.len() as u32, kind, flags, conversation };
        self.raw(&[&header.to_bytes()[..], body].concat()).await
    }

    /// Declares a task of a module.
    ///
    /// # Errors
    /// What the system says.
    pub async fn bind(&mut self, bind: u32, module: &dpfw::Module, task: &str) -> Result<()> {
        let bind = dpfw_protocol::ids::BindId(bind);
        let bind = Bind { bind, module: module.hash(), task: task.into(), expects: None };
        self.send(0, &bind, &[]).await
    }

    /// Declares a task of an image, under no name.
    ///
    /// # Errors
    /// What the system says.
    pub async fn bind_image(
        &mut self,
        bind: u32,
        image: dpfw_protocol::ids::ImageId,
        module: dpfw::ModuleHash,
        task: &str,
    ) -> Result<()> {
        let (bind, task) = (dpfw_protocol::ids::BindId(bind), task.into());
        let bind = BindImage { bind, image, module, key: None, task, expects: None };
        self.send(0, &bind, &[]).await
    }

    /// The next frame; none if the link has ended.
    ///
    /// # Errors
    /// If the other side's bytes are no frames, or nothing comes.
    pub async fn next(&mut self) -> Result<Option<Said>> {
        loop {
            if let Some(frame) = self.decoder.next_frame()? {
                return Ok(Some(Said { header: frame.header, body: frame.body.to_vec() }));
            }
            if !self.fill().await? {
                return Ok(None);
            }
        }
    }

    /// Waits for a message, passing over what may come at any time.
    ///
    /// # Errors
    /// If another one comes, or none.
    pub async fn expect<M: Message>(&mut self) -> Result<(u64, M, Vec<u8>)> {
        loop {
            let said = self.next().await?.context("the link ended")?;
            let is_aside = matches!(
                said.header.kind,
                kind::HEARTBEAT
                    | kind::STATUS
                    | kind::STARTED
                    | kind::LOADING
                    | kind::QUEUED
                    | kind::CREDIT
                    | kind::LOG
            );
            if said.header.kind == M::KIND {
                let (message, payload) = said.read::<M>()?;
                return Ok((said.header.conversation.0, message, payload));
            }
            if !is_aside {
                let close = said.read::<Close>().ok();
                bail!("kind {} came instead of {}: {close:?}", said.header.kind, M::KIND);
            }
        }
    }

    /// Reads to the end of the link: with what it was closed, if it was said.
    ///
    /// # Errors
    /// If the link does not end.
    pub async fn closed(&mut self) -> Result<Option<Close>> {
        let mut close = None;
        while let Some(said) = self.next().await? {
            if said.header.kind == kind::CLOSE {
                close = Some(said.read::<Close>()?.0);
            }
        }
        Ok(close)
    }
}

impl std::fmt::Debug for Wire {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Wire")
    }
}
