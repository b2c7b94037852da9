//! Making a link of a stream: the handshake.

use crate::error::LinkError;
use crate::gate::{Admit, Gate, Turn};
use crate::heart::{self, Beat, Patience};
use crate::inbox::Inbox;
use crate::outbox::Outbox;
use crate::security::knock;
use crate::security::proof::Proof;
use crate::security::token::Token;
use crate::stream::{End, Opened, Stream};
use dpfw_protocol::frame::Frame;
use dpfw_protocol::hello::{Hello, HelloError, Identity, PREFACE};
use dpfw_protocol::ids::{Incarnation, PeerId};
use dpfw_protocol::limits::{HANDSHAKE, MAX_BODY, MAX_HELLO, WINDOW};
use dpfw_protocol::message::{Close, Message, close, decode, kind};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use tokio::time::Instant;

/// An established link. Dropping it, or what is left of it, closes it with code 0.
#[derive(Debug)]
pub struct Link {
    /// What the peer is and allows. Its name is the one that was proved, if one was.
    pub theirs: Hello,
    /// How it was proved to be that.
    pub proof: Proof,
    /// The protocol version that both speak.
    pub version: u16,
    /// Where the other end is, for people.
    pub peer: String,
    /// Frames from the peer.
    pub inbox: Inbox,
    /// Frames to the peer.
    pub outbox: Outbox,
    /// What keeps it alive while it lives.
    pub heart: Beat,
    _goodbye: Goodbye,
}

/// Says goodbye when it is dropped, if nobody has: a side that ends while it shakes hands, or
/// before anybody serves the link, is not to be taken for one that has died.
#[derive(Debug)]
struct Goodbye(Outbox);

impl Drop for Goodbye {
    fn drop(&mut self) {
        self.0.close(close::DONE, "this side has ended");
    }
}

impl Link {
    /// Says hello and hears the peer's. Takes at most [`HANDSHAKE`].
    ///
    /// # Errors
    /// [`LinkError`] if the peer does not speak dpfw, or not with us; it has been told.
    pub async fn establish(stream: Stream, ours: &Hello) -> Result<Self, LinkError> {
        Self::establish_at(stream, ours, &mut Gate::open()).await
    }

    /// The same for a side that was dialled, and does not link everybody.
    ///
    /// # Errors
    /// [`LinkError`] if the peer does not speak dpfw, or not with us, or is not admitted; it
    /// has been told.
    pub async fn establish_at(
        stream: Stream,
        ours: &Hello,
        gate: &mut Gate<'_>,
    ) -> Result<Self, LinkError> {
        let due = Instant::now() + HANDSHAKE;
        let Gate { hears_first, admit, turn } = gate;
        let peer = stream.peer().to_owned();
        // A peer that speaks no TLS is told nothing at all.
        let Opened { halves, proof, token } = in_time(due, turn, stream.open()).await?;
        let mut inbox = Inbox::new(halves.reader, MAX_HELLO);
        let outbox = Outbox::new(halves.writer);
        if let Err(error) = proof.may_be(ours.role.opposite()) {
            let error = LinkError::from(error);
            not_let_in(&outbox, &error);
            return Err(error);
        }
        if let Some((token, end)) = token {
            let knocked = in_time(due, turn, knocked(&mut inbox, &outbox, &token, &end)).await;
            knocked.inspect_err(|error| match end {
                End::Accepted => not_let_in(&outbox, error),
                End::Dialled(_) => outbox.shut(),
            })?;
        }
        let goodbye = Goodbye(outbox.clone());
        let shake = hands(&mut inbox, &outbox, ours, (*hears_first, *admit), &proof);
        match in_time(due, turn, shake).await {
            Ok((theirs, version)) => {
                inbox.open(MAX_BODY, outbox.depth(), ours.role);
                // More would let a peer that reads fast keep a thread of ours writing.
                let window = theirs.limits.window.min(WINDOW);
                outbox.append(|queue| {
                    queue.set_window(window);
                    Ok(())
                })?;
                let patience = match proof {
                    Proof::Within => Patience::Endless,
                    _ => Patience::Limited,
                };
                let heart = heart::beat(&outbox, patience, &proof);
                Ok(Self { theirs, proof, version, peer, inbox, outbox, heart, _goodbye: goodbye })
            }
            Err(error) => {
                if let Some((code, reason)) = error.goodbye() {
                    outbox.close(code, &reason);
                }
                outbox.shut();
                Err(error)
            }
        }
    }

    /// Writes until the stream fails. To be run beside the reading.
    pub async fn pump(outbox: &Outbox) -> LinkError {
        outbox.pump().await
    }

    /// Writes beside a reading that goes on until the link ends, and says how that ended.
    ///
    /// A peer that closes while bytes for it are under way resets the connection: then writing
    /// fails first, and what it said last, its goodbye among it, is still to be read.
    pub async fn drive(outbox: &Outbox, reading: impl Future<Output = LinkError>) -> LinkError {
        let mut reading = std::pin::pin!(reading);
        let unwritten = tokio::select! {
            biased;
            ended = &mut reading => return ended,
            failed = Self::pump(outbox) => failed,
        };
        match unwritten {
            LinkError::Io(error) => {
                tokio::time::timeout(LAST_WORDS, reading).await.unwrap_or(LinkError::Io(error))
            }
            other => other,
        }
    }
}

/// How long what a peer said last is listened to that nothing can be written to any more. It
/// has arrived already, or its connection is gone: this is for a stream that neither ends.
const LAST_WORDS: Duration = Duration::from_secs(1);

async fn hands(
    inbox: &mut Inbox,
    outbox: &Outbox,
    ours: &Hello,
    (hears_first, admit): (bool, Admit<'_>),
    proof: &Proof,
) -> Result<(Hello, u16), LinkError> {
    let bytes = ours.to_bytes()?;
    let (preface, hello) = bytes.split_at(PREFACE.len());
    let hear = async {
        let (mut theirs, version) = hear(inbox, ours).await?;
        proof.hold(&mut theirs)?;
        admit(&theirs, proof)?;
        Ok((theirs, version))
    };
    if hears_first {
        outbox.say_raw(preface).await?;
        let agreed = hear.await?;
        outbox.say_raw(hello).await?;
        return Ok(agreed);
    }
    // Both at once: on a narrow stream each side's hello waits until the other reads.
    let ((), agreed) = tokio::try_join!(outbox.say_raw(&bytes), hear)?;
    Ok(agreed)
}

/// Carries out a part of the handshake, unless its time is over or others wait for its place.
async fn in_time<T>(
    due: Instant,
    turn: &mut Option<Turn>,
    part: impl Future<Output = Result<T, LinkError>>,
) -> Result<T, LinkError> {
    let part = async {
        tokio::select! {
            outcome = part => outcome,
            error = given_way(turn) => Err(error),
        }
    };
    let slow = |_| LinkError::SlowHandshake(HANDSHAKE);
    tokio::time::timeout_at(due, part).await.map_err(slow)?
}

/// Shows the token, and sees the peer's.
async fn knocked(
    inbox: &mut Inbox,
    outbox: &Outbox,
    token: &Token,
    end: &End,
) -> Result<(), LinkError> {
    match end {
        End::Dialled(_) => knock::dial(inbox, outbox, token).await,
        End::Accepted => knock::accept(inbox, outbox, token).await,
    }
}

/// Tells a peer why it is not let in, if it speaks dpfw at all; and nothing else.
fn not_let_in(outbox: &Outbox, error: &LinkError) {
    let is_told = !matches!(error, LinkError::Hello(_));
    if let (true, Some((code, reason))) = (is_told, error.goodbye()) {
        // A stream that is gone takes nothing.
        let _ = outbox.raw(&PREFACE);
        outbox.close(code, &reason);
    }
    outbox.shut();
}

/// Resolves when others wait for this handshake's place.
async fn given_way(turn: &mut Option<Turn>) -> LinkError {
    match turn {
        Some(turn) => turn.is_over().await,
        None => std::future::pending().await,
    }
}

/// Hears the peer's preface and hello, and gives the version to speak with it.
async fn hear(inbox: &mut Inbox, ours: &Hello) -> Result<(Hello, u16), LinkError> {
    if inbox.hear().await? != PREFACE {
        return Err(HelloError::NotDpfw.into());
    }
    let theirs = hear_hello(inbox).await?;
    let version = ours.agree(&theirs)?;
    Ok((theirs, version))
}

/// Hears the frame behind the preface: the hello, or why there is none.
pub(crate) async fn hear_hello(inbox: &mut Inbox) -> Result<Hello, LinkError> {
    loop {
        if let Some(frame) = inbox.next_frame()? {
            return hello_of(&frame);
        }
        inbox.fill().await?;
    }
}

fn hello_of(frame: &Frame<'_>) -> Result<Hello, LinkError> {
    match frame.header.kind {
        kind::HELLO => Ok(Hello::from_body(frame.body)?),
        Close::KIND => {
            let (Close { code, reason }, _) = decode(frame)?;
            Err(LinkError::closed(code, &reason))
        }
        other => Err(HelloError::Malformed(format!("a frame of kind {other} came first")).into()),
    }
}

/// Who a new master or slave of this process is; its name is one that was given to nobody,
/// `kind-xxxxxxxx`.
pub fn identity(kind: &str) -> Identity {
    static INCARNATION: OnceLock<u64> = OnceLock::new();
    static SERIAL: AtomicU32 = AtomicU32::new(0);
    let incarnation = Incarnation(*INCARNATION.get_or_init(random));
    let name = format!("{kind}-{:08x}", random() as u32);
    // Any word of ASCII letters makes a printable name.
    let peer = PeerId::new(name).unwrap_or_else(|_| unreachable!("{kind} is a word"));
    Identity { peer, incarnation, serial: SERIAL.fetch_add(1, Ordering::Relaxed) }
}

/// Eight bytes of the system's randomness; of the clock and the process where there are
/// none, since an id needs to be new, not secret.
pub(crate) fn random() -> u64 {
    getrandom::u64().unwrap_or_else(|_| {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        now.map_or(0, |d| d.as_nanos() as u64) ^ u64::from(std::process::id()) << 32
    })
}
