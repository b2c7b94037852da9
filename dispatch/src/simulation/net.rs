//! Links of a simulated world: bytes that cross in pieces, late, or no further.
//!
//! Owns: what each end has queued, what is under way, which paths are blocked or slow.
//! Does not: know what is said. A real link neither loses nor doubles a message while its
//! session lasts, and no more does this one: bytes arrive in their order or not at all,
//! and what a cut leaves of a frame is dropped with the session.

mod harm;

use crate::simulation::future::{Future, Happening};
use crate::simulation::random::Random;
use crate::simulation::wire::{Reader, Said};
use dpfw_protocol::ids::ConversationId;
use dpfw_protocol::limits::WINDOW;
use dpfw_protocol::message::{Close, Credit, Message};
use dpfw_protocol::send::SendQueue;
use std::collections::{BTreeMap, VecDeque};

/// A link, which is a session at both ends; never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct LinkId(pub(crate) u64);

/// An end of a link, and the direction of what it says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum End {
    Master,
    Slave,
}

impl End {
    pub(crate) fn other(self) -> Self {
        match self {
            Self::Master => Self::Slave,
            Self::Slave => Self::Master,
        }
    }
}

/// A master and a slave, by their numbers.
pub(crate) type Pair = (usize, usize);

#[derive(Debug)]
struct Pipe {
    queue: SendQueue,
    flight: VecDeque<Option<Vec<u8>>>,
    reader: Reader,
    last_at: u64,
    /// Whether what the end says is still sent.
    open: bool,
    /// Whether the end does not listen any more.
    deaf: bool,
}

#[derive(Debug)]
struct Link {
    pair: Pair,
    /// By the end that says it.
    pipes: BTreeMap<End, Pipe>,
}

/// What holds up a direction between a master and a slave.
#[derive(Clone, Copy, Debug, Default)]
struct Path {
    blocked_until: u64,
    slow_until: u64,
}

/// What comes out of a link at an instant.
#[derive(Debug)]
pub(crate) enum Arrived {
    /// Nothing: the end is closed, or the path is blocked until later.
    Nothing,
    Said(Vec<Said>),
    /// What was said before the bytes made no sense.
    Broken(Vec<Said>),
    /// The other end is closed.
    Ended,
}

/// All links.
#[derive(Debug)]
pub(crate) struct Net {
    links: BTreeMap<LinkId, Link>,
    paths: BTreeMap<(Pair, End), Path>,
    count: u64,
    dirty: Vec<(LinkId, End)>,
    /// One way, in nanoseconds.
    latency: u64,
    /// Whether writes and reads are cut at any byte.
    rough: bool,
}

/// A slow path takes so long for a byte: 100 KiB are 40 ms.
const SLOW: u64 = 400;

impl Net {
    pub(crate) fn new(latency: u64, rough: bool) -> Self {
        let (links, paths, dirty) = (BTreeMap::new(), BTreeMap::new(), Vec::new());
        Self { links, paths, count: 0, dirty, latency, rough }
    }

    pub(crate) fn link(&mut self, pair: Pair) -> LinkId {
        self.count += 1;
        let pipe = || Pipe {
            queue: SendQueue::new(WINDOW),
            flight: VecDeque::new(),
            reader: Reader::new(),
            last_at: 0,
            open: true,
            deaf: false,
        };
        let pipes = BTreeMap::from([(End::Master, pipe()), (End::Slave, pipe())]);
        self.links.insert(LinkId(self.count), Link { pair, pipes });
        LinkId(self.count)
    }

    pub(crate) fn pair(&self, link: LinkId) -> Option<Pair> {
        self.links.get(&link).map(|link| link.pair)
    }

    fn pipe(&mut self, link: LinkId, end: End) -> Option<&mut Pipe> {
        self.links.get_mut(&link)?.pipes.get_mut(&end)
    }

    /// The queue of what an end says, unless it is closed.
    pub(crate) fn queue(&mut self, link: LinkId, end: End) -> Option<&mut SendQueue> {
        self.dirty.push((link, end));
        self.pipe(link, end).filter(|pipe| pipe.open).map(|pipe| &mut pipe.queue)
    }

    pub(crate) fn say<M: Message>(
        &mut self,
        link: LinkId,
        end: End,
        conversation: ConversationId,
        message: &M,
    ) {
        if let Some(queue) = self.queue(link, end) {
            queue.message(conversation, message).expect("it fits a frame");
        }
    }

    fn path(&self, pair: Pair, end: End) -> Path {
        self.paths.get(&(pair, end)).copied().unwrap_or_default()
    }

    /// Whether a new link could be made.
    pub(crate) fn is_passable(&self, pair: Pair, now: u64) -> bool {
        [End::Master, End::Slave].iter().all(|end| self.path(pair, *end).blocked_until <= now)
    }

    /// Hands what was queued to the links.
    pub(crate) fn flush(&mut self, now: u64, random: &mut Random, future: &mut Future) {
        let mut dirty = std::mem::take(&mut self.dirty);
        dirty.sort_unstable();
        dirty.dedup();
        for (link, end) in dirty {
            self.write(link, end, now, random, future);
        }
    }

    /// Writes what the stream takes; the rest later.
    pub(crate) fn write(
        &mut self,
        link: LinkId,
        end: End,
        now: u64,
        random: &mut Random,
        future: &mut Future,
    ) {
        let most = match self.rough && random.one_in(4) {
            true => random.within(1..100_000) as usize,
            false => usize::MAX,
        };
        let Some(pipe) = self.pipe(link, end).filter(|pipe| pipe.open) else { return };
        let mut bytes = Vec::new();
        while bytes.len() < most && !pipe.queue.is_idle() {
            let (mut slices, before) = (Vec::new(), bytes.len());
            pipe.queue.slices(&mut slices);
            slices.iter().for_each(|slice| bytes.extend_from_slice(slice));
            bytes.truncate(most);
            pipe.queue.advance(bytes.len() - before);
            if bytes.len() == before {
                break;
            }
        }
        if !pipe.queue.is_idle() {
            future.add(now + 200_000, Happening::Writes(link, end));
        }
        let mut rest = &bytes[..];
        while !rest.is_empty() {
            let most = rest.len() as u64 + 1;
            let n = if self.rough && random.one_in(2) { random.within(1..most) } else { most - 1 };
            let (piece, then) = rest.split_at(n as usize);
            rest = then;
            self.launch(link, end, Some(piece.to_vec()), now, future);
        }
    }

    fn launch(
        &mut self,
        link: LinkId,
        end: End,
        piece: Option<Vec<u8>>,
        now: u64,
        future: &mut Future,
    ) {
        let Some(pair) = self.pair(link) else { return };
        let (path, latency) = (self.path(pair, end), self.latency);
        let Some(pipe) = self.pipe(link, end) else { return };
        let len = piece.as_ref().map_or(0, Vec::len) as u64;
        let at = (now + latency).max(pipe.last_at);
        pipe.last_at = at + if path.slow_until > now { len * SLOW } else { 0 };
        pipe.flight.push_back(piece);
        future.add(pipe.last_at, Happening::Arrives(link, end));
    }

    /// Something that an end said arrives at the other one.
    pub(crate) fn arrive(
        &mut self,
        link: LinkId,
        from: End,
        now: u64,
        future: &mut Future,
    ) -> Arrived {
        let Some(pair) = self.pair(link) else { return Arrived::Nothing };
        let path = self.path(pair, from);
        if path.blocked_until > now {
            future.add(path.blocked_until, Happening::Arrives(link, from));
            return Arrived::Nothing;
        }
        let is_heard = self.pipe(link, from.other()).is_some_and(|pipe| !pipe.deaf);
        let Some(pipe) = self.pipe(link, from) else { return Arrived::Nothing };
        let piece = pipe.flight.pop_front();
        if !is_heard {
            return Arrived::Nothing;
        }
        let mut said = Vec::new();
        match piece {
            None => Arrived::Nothing,
            Some(None) => Arrived::Ended,
            Some(Some(bytes)) => match pipe.reader.feed(&bytes, &mut said) {
                Ok(()) => Arrived::Said(said),
                Err(_) => Arrived::Broken(said),
            },
        }
    }

    /// What of a payload is still to come from the other end is not wanted.
    pub(crate) fn unwanted(&mut self, link: LinkId, end: End, conversation: ConversationId) {
        if let Some(pipe) = self.pipe(link, end.other()) {
            pipe.reader.abandon(conversation);
        }
    }

    pub(crate) fn grant(&mut self, link: LinkId, end: End, of: ConversationId, bytes: u64) {
        self.say(link, end, of, &Credit { bytes });
    }

    pub(crate) fn credit(&mut self, link: LinkId, end: End, of: ConversationId, bytes: u64) {
        if let Some(queue) = self.queue(link, end) {
            queue.credit(of, bytes);
        }
    }

    /// An end closes, with a word why if it can say one. The other end learns of it behind
    /// all that was said before.
    pub(crate) fn close(
        &mut self,
        link: LinkId,
        end: End,
        code: Option<u16>,
        now: u64,
        random: &mut Random,
        future: &mut Future,
    ) {
        if let Some(code) = code {
            let close = Close { code, reason: String::new() };
            self.say(link, end, ConversationId::LINK, &close);
            // It takes its time to say everything first.
            let rough = std::mem::take(&mut self.rough);
            self.write(link, end, now, random, future);
            self.rough = rough;
        }
        let Some(pipe) = self.pipe(link, end) else { return };
        pipe.deaf = true;
        if std::mem::take(&mut pipe.open) {
            self.launch(link, end, None, now, future);
        }
    }

    /// Forgets links that both ends have closed and that hold nothing.
    pub(crate) fn sweep(&mut self) {
        self.links.retain(|_, link| link.pipes.values().any(|pipe| !pipe.deaf));
    }
}
