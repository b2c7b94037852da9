//! A stand-in's link to its master.
//!
//! Owns: the stream, what is said on it and when: as docs/protocol.md says, as far as a master
//! goes that dispatches tasks with small arguments. Does not: have modules, a store, or guests;
//! a frame that would need them ends it. Invariant: what is said in one wake-up is written at
//! its end, in one system call; but a status goes with what is written next, where something was
//! written since the last one, as a slave's does.

use super::slots::{Asked, Slots, Word};
use super::timer::Timer;
use crate::within::within;
use anyhow::{Context, Result, bail, ensure};
use dpfw_protocol::attempts::AttemptSet;
use dpfw_protocol::error::Cause;
use dpfw_protocol::frame::{END, Frame, FrameDecoder};
use dpfw_protocol::hello::{Hello, PREFACE, Role};
use dpfw_protocol::ids::{AttemptId, ConversationId};
use dpfw_protocol::limits::{HEARTBEAT, MAX_BODY, MAX_LISTED};
use dpfw_protocol::message::{
    Close, Dispatch, Done, Draining, Failed, Message, Recall, Reserved, Returned, Started, Status,
    Timing, close, decode, encode, kind,
};
use dpfw_tests::knock::knock;
use dpfw_tests::peer::hello;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::MissedTickBehavior;

/// How long linking may take: the master may have a thousand to link.
const PATIENCE: Duration = Duration::from_secs(30);

/// How a stand-in leaves.
#[derive(Clone, Copy, Debug)]
pub(super) enum Manner {
    /// It drains, and says so.
    Polite,
    /// Without a word, as a process that was killed.
    Abrupt,
}

/// A stand-in that is linked.
#[derive(Debug)]
pub(super) struct Link {
    stream: TcpStream,
    decoder: FrameDecoder,
    timer: Timer,
    count: u32,
    slots: Slots,
    /// The last attempt that it has taken in.
    upto: AttemptId,
    /// What became due in this wake-up.
    words: Vec<Word>,
    /// What is said in this wake-up.
    out: Vec<u8>,
    /// Whether something was written since the last status.
    is_busy: bool,
}

/// What woke it.
enum Woken {
    ByBytes(usize),
    ByTime,
    BySecond,
    ToLeave(Manner),
}

/// Whether it goes on.
#[derive(PartialEq, Eq)]
enum Course {
    On,
    Ended,
}

impl Link {
    /// Dials a master and shakes hands as a slave of this name.
    ///
    /// # Errors
    /// If there is no link within some time.
    pub(super) async fn dial(master: &str, name: &str, slots: u32, slowness: u32) -> Result<Self> {
        let hello = Hello { slots, agent: "a stand-in".into(), ..hello(Role::Slave, name)? };
        within(PATIENCE, "a link to the master", async {
            let mut stream = TcpStream::connect(master).await?;
            stream.set_nodelay(true)?;
            knock(&mut stream).await?;
            stream.write_all(&hello.to_bytes()?).await?;
            let mut link = Self {
                stream,
                decoder: FrameDecoder::new(MAX_BODY),
                timer: Timer::default(),
                count: slots,
                slots: Slots::new(slots, slowness),
                upto: AttemptId(0),
                words: Vec::new(),
                out: Vec::new(),
                is_busy: false,
            };
            link.greeted().await?;
            Ok(link)
        })
        .await
    }

    /// Hears the master's preface and hello.
    async fn greeted(&mut self) -> Result<()> {
        let mut has_preface = false;
        loop {
            if !has_preface && let Some(preface) = self.decoder.take(PREFACE.len()) {
                ensure!(preface == PREFACE, "{preface:?} is no preface");
                has_preface = true;
            }
            if has_preface && let Some(frame) = self.decoder.next_frame()? {
                match frame.header.kind {
                    kind::HELLO => {
                        return Hello::from_body(frame.body).map(drop).map_err(Into::into);
                    }
                    kind::CLOSE => bail!("no link: {:?}", decode::<Close>(&frame)?.0),
                    other => bail!("kind {other} came instead of a hello"),
                }
            }
            let n = self.stream.read(self.decoder.space()).await?;
            ensure!(n > 0, "the master ended the link before its hello");
            self.decoder.filled(n);
        }
    }

    /// Serves until the master ends the link, or until it is to leave.
    ///
    /// # Errors
    /// If the master says what a stand-in does not understand, or closes the link for a reason.
    pub(super) async fn serve(mut self, leave: impl Future<Output = Manner>) -> Result<()> {
        let mut second = tokio::time::interval(HEARTBEAT);
        second.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut leave = std::pin::pin!(leave);
        let mut waits = false;
        loop {
            if !self.out.is_empty() && !std::mem::take(&mut waits) {
                self.stream.write_all(&self.out).await?;
                self.out.clear();
                self.is_busy = true;
            }
            let woken = tokio::select! {
                // Those that are seldom ready go first.
                biased;
                manner = &mut leave => Woken::ToLeave(manner),
                _ = second.tick() => Woken::BySecond,
                due = self.timer.until(self.slots.next()) => due.map(|()| Woken::ByTime)?,
                read = self.stream.read(self.decoder.space()) => Woken::ByBytes(read?),
            };
            let now = Instant::now();
            match woken {
                // It has gone without a word.
                Woken::ByBytes(0) => return Ok(()),
                Woken::ByBytes(n) => {
                    if self.hear(n, now)? == Course::Ended {
                        return Ok(());
                    }
                }
                Woken::ByTime => {}
                Woken::BySecond => {
                    waits = std::mem::take(&mut self.is_busy);
                    self.say_status()?;
                }
                Woken::ToLeave(Manner::Abrupt) => return Ok(()),
                Woken::ToLeave(Manner::Polite) => return self.leave().await,
            }
            self.slots.advance(now, &mut self.words);
            waits &= self.words.is_empty();
            self.say_words()?;
        }
    }

    /// Understands all frames that have arrived.
    fn hear(&mut self, bytes: usize, now: Instant) -> Result<Course> {
        let Self { decoder, slots, words, out, upto, .. } = self;
        decoder.filled(bytes);
        while let Some(frame) = decoder.next_frame()? {
            let conversation = frame.header.conversation;
            match frame.header.kind {
                kind::DISPATCH => {
                    *upto = AttemptId(conversation.0);
                    slots.take(asked(&frame, now)?);
                }
                kind::CANCEL => slots.cancel(AttemptId(conversation.0), now, words),
                kind::RECALL => {
                    let attempts = slots.recall(&decode::<Recall>(&frame)?.0.attempts);
                    if !attempts.is_empty() {
                        say(out, ConversationId::LINK, &Returned { attempts })?;
                    }
                }
                kind::RESERVE => say(out, conversation, &Reserved { granted: false })?,
                kind::BIND | kind::HEARTBEAT | kind::RELEASE => {}
                kind::CLOSE => {
                    let close = decode::<Close>(&frame)?.0;
                    ensure!(close.code == close::DONE, "the master closed the link: {close:?}");
                    return Ok(Course::Ended);
                }
                other => bail!("a stand-in does not understand kind {other}"),
            }
        }
        Ok(Course::On)
    }

    /// Says what has become of attempts.
    fn say_words(&mut self) -> Result<()> {
        let mut started = Vec::new();
        for word in self.words.drain(..) {
            match word {
                Word::Started(attempt) => started.push(attempt),
                Word::Done { attempt, number, timing } => {
                    let result = rmp_serde::to_vec(&number)?;
                    let done = Done { timing, payload: result.len() as u64, kept: None };
                    encode(&mut self.out, attempt.conversation(), &done, &result, true)?;
                }
                Word::Cancelled(attempt) => {
                    let failure = Cause::Cancelled.into();
                    let failed = Failed { timing: Timing::default(), failure };
                    say(&mut self.out, attempt.conversation(), &failed)?;
                }
            }
        }
        // No more than there are slots, and those that ended since.
        for attempts in started.chunks(MAX_LISTED).map(<[_]>::to_vec) {
            say(&mut self.out, ConversationId::LINK, &Started { attempts })?;
        }
        Ok(())
    }

    fn say_status(&mut self) -> Result<()> {
        let (running, waiting) = (self.slots.running(), self.slots.waiting());
        let status = Status {
            slots: self.count,
            running: running.len() as u32,
            waiting: 0,
            sandboxes: running.len() as u32,
            queued: waiting.len() as u32,
            taken: false,
            upto: self.upto,
            attempts: running.collect::<AttemptSet>(),
            others: waiting.collect::<AttemptSet>(),
        };
        say(&mut self.out, ConversationId::LINK, &status)
    }

    /// Drains, which takes no time: whoever is to leave has tasks that end at once.
    async fn leave(mut self) -> Result<()> {
        ensure!(self.slots.running().len() == 0, "a stand-in leaves while a task runs");
        say(&mut self.out, ConversationId::LINK, &Draining {})?;
        let reason = "the stand-in has drained".into();
        say(&mut self.out, ConversationId::LINK, &Close { code: close::DRAINED, reason })?;
        Ok(self.stream.write_all(&self.out).await?)
    }
}

/// The attempt that a `DISPATCH` asks for: its arguments are the task's number, and how many
/// microseconds it holds its slot.
fn asked(frame: &Frame<'_>, arrived: Instant) -> Result<Asked> {
    ensure!(frame.header.flags & END == END, "a stand-in takes no arguments in chunks");
    let (_, arguments) = decode::<Dispatch>(frame)?;
    let (number, micros) = rmp_serde::from_slice::<(u64, u64)>(arguments)
        .context("a stand-in takes a number and microseconds")?;
    let attempt = AttemptId(frame.header.conversation.0);
    Ok(Asked { attempt, number, length: Duration::from_micros(micros), arrived })
}

/// Says something without a payload.
fn say<M: Message>(out: &mut Vec<u8>, conversation: ConversationId, message: &M) -> Result<()> {
    Ok(encode(out, conversation, message, &[], true)?)
}
