//! One task over many inputs, with bounded memory.
//!
//! Owns: the inputs that are out and the results that have come back. Inputs are taken as
//! results are consumed, so that memory is bounded by the window, whatever the number of
//! inputs. Small calls go together as one task; how many, is learnt from what they cost.

use crate::error::TaskError;
use crate::gather::Gathering;
use crate::handle::Raw;
use crate::image::{Image, Plan};
use crate::inbox::Room;
use crate::kept::Keys;
use crate::master::Master;
use crate::receipt::Receipt;
use crate::results::Results;
use crate::submit::Terms;
use dpfw_dispatch::Placement;
use dpfw_dispatch::chunk::Chunker;
use dpfw_protocol::call::Call;
use dpfw_protocol::error::Cause;
use dpfw_protocol::limits::MAX_ATTEMPTS;
use dpfw_protocol::message::{Extras, TaskFlags};
use dpfw_protocol::task_limits::TaskLimits;
use futures_core::Stream;
use serde::de::DeserializeOwned;
use std::collections::VecDeque;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

/// The results of a [`Master::map`], a stream.
///
/// Results come in the order of the inputs, or [`unordered`](Self::unordered) as they are
/// ready. A call that fails gives its error in its place; the others go on. Dropping the
/// stream cancels what is out.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let master = dpfw::Master::builder().build().await?;
/// use futures_util::StreamExt;
/// use quickstart_tasks::divide;
///
/// let mut results = master.map([4, 0, 2], |by| divide::call(8, by)).chunk(2);
/// assert_eq!(results.next().await.expect("the first")?, 2);
/// let error = results.next().await.expect("the second").expect_err("there is no such number");
/// println!("{error}");
/// assert_eq!(results.next().await.expect("the third")?, 4);
/// # Ok(())
/// # }
/// ```
#[must_use = "a map does nothing unless it is polled"]
pub struct Map<S, T> {
    master: Master,
    calls: Pin<Box<S>>,
    is_exhausted: bool,
    /// The call that did not fit the last chunk.
    next: Option<Call<T>>,
    gathering: Option<Gathering<T>>,
    /// The chunk that waits for room in the master's queue.
    held: Option<Gathering<T>>,
    room: Option<Pin<Box<dyn Future<Output = ()> + Send + Sync>>>,
    chunker: Chunker,
    out: VecDeque<Chunk>,
    ready: Results,
    order: Order,
    size: Option<u32>,
    isolated: bool,
    window: Option<usize>,
    timeout: Option<Duration>,
    extras: Option<Box<Extras>>,
    /// Where the keys are that its tasks are near.
    placement: Placement,
    /// Why none of them can be dispatched.
    refused: Option<Cause>,
    image: Option<Arc<Plan>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Order {
    Inputs,
    Ready,
}

/// A chunk that is out.
struct Chunk {
    handle: Raw,
    task: String,
    items: u32,
    outcome: Option<crate::ticket::Outcome>,
}

/// Chunks for each slot that are out at once: one that runs, one that waits there, and
/// one on the way.
const PER_SLOT: usize = 3;

/// Chunks that are out at once, however many slots the slaves say that they have: as many as
/// a single slave takes. Fleets with more slots are told by their program.
const MOST_OUT: usize = MAX_ATTEMPTS;

impl<S: Stream<Item = Call<T>>, T: DeserializeOwned> Map<S, T> {
    pub(crate) fn new(master: Master, calls: S) -> Self {
        Self {
            master,
            calls: Box::pin(calls),
            is_exhausted: false,
            next: None,
            gathering: None,
            held: None,
            room: None,
            chunker: Chunker::new(),
            out: VecDeque::new(),
            ready: Results::default(),
            order: Order::Inputs,
            size: None,
            isolated: false,
            window: None,
            timeout: None,
            extras: None,
            placement: Placement::Anywhere,
            refused: None,
            image: None,
        }
    }

    /// Gives results as they are ready, not in the order of the inputs.
    pub fn unordered(mut self) -> Self {
        self.order = Order::Ready;
        self
    }

    /// So many calls go together as one task, or fewer if their arguments are longer than a
    /// MiB together. They share a sandbox, unless [`isolated`](Self::isolated). Unless told,
    /// the number is learnt from their cost.
    pub fn chunk(mut self, calls: u32) -> Self {
        self.size = Some(calls.max(1));
        self
    }

    /// Each call gets a sandbox of its own, also within a chunk.
    pub fn isolated(mut self) -> Self {
        self.isolated = true;
        self
    }

    /// At most so many chunks are out at once; three for each slot unless told, and no more
    /// than 8,192. What the master's queue has no room for waits.
    pub fn window(mut self, chunks: usize) -> Self {
        self.window = Some(chunks.max(1));
        self
    }

    /// A call may take so long from its dispatch to its end. Calls do not go together then,
    /// so that a slow one takes no other with it; with [`chunk`](Self::chunk) they do, and
    /// the time is the chunk's.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// Each task may use less than its slave allows: a chunk of calls is one task.
    pub fn limits(mut self, limits: TaskLimits) -> Self {
        self.extras.get_or_insert_default().limits = Some(limits);
        self
    }

    /// Only where entries of the keyed store are; see [`CallExt::near`](crate::CallExt::near).
    pub fn near(mut self, keys: impl Into<Keys>) -> Self {
        let keys = keys.into();
        self.placement = keys.placement().unwrap_or(self.placement);
        let refused = keys.into_needs(&mut self.extras.get_or_insert_default().needs).err();
        self.refused = self.refused.or(refused);
        self
    }

    /// Every call starts from this image.
    pub fn image(mut self, image: &Image) -> Self {
        self.image = Some(Arc::clone(image.plan()));
        self
    }

    /// What the chunk cost whose result was given last, and where: all its calls together. `None`
    /// before the first result, and of calls that no slave has taken.
    pub fn receipt(&self) -> Option<&Receipt> {
        self.ready.receipt()
    }

    /// Waits for all results; the first failure ends it and cancels the rest.
    ///
    /// # Errors
    /// The first call's [`TaskError`].
    pub async fn all(mut self) -> Result<Vec<T>, TaskError> {
        let mut results = Vec::new();
        while let Some(result) = std::future::poll_fn(|cx| self.poll_result(cx)).await {
            results.push(result?);
        }
        Ok(results)
    }

    fn slots(&self) -> usize {
        let slaves = self.master.slaves();
        let most = MOST_OUT.div_ceil(PER_SLOT);
        let slots = slaves.iter().map(|slave| (slave.slots() as usize).min(most));
        slots.sum::<usize>().clamp(1, most)
    }

    fn poll_result(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<T, TaskError>>> {
        loop {
            if let Some(result) = self.ready.next() {
                return Poll::Ready(Some(result));
            }
            let is_starved = self.send_chunks(cx);
            if self.collect(cx) {
                continue;
            }
            let is_over = self.is_exhausted && self.out.is_empty();
            if self.ready.is_empty() && is_over && !is_starved {
                return Poll::Ready(None);
            }
            if self.ready.is_empty() {
                return Poll::Pending;
            }
        }
    }

    /// Sends as many chunks as the window allows. Whether inputs, or room, are awaited.
    fn send_chunks(&mut self, cx: &mut Context<'_>) -> bool {
        let slots = self.slots();
        let window = self.window.unwrap_or(MOST_OUT.min(PER_SLOT * slots));
        while self.out.len() < window {
            let most = match (self.size, self.timeout) {
                (Some(size), _) => size,
                (None, Some(_)) => 1,
                (None, None) => self.chunker.next(self.left(), slots as u32),
            };
            let chunk = match self.held.take() {
                Some(chunk) => chunk,
                None => match self.gather(cx, most) {
                    Poll::Ready(Some(chunk)) => chunk,
                    Poll::Ready(None) => return false,
                    Poll::Pending => return true,
                },
            };
            match self.poll_room(cx) {
                Poll::Ready(room) => self.send(chunk, room),
                Poll::Pending => {
                    self.held = Some(chunk);
                    return true;
                }
            }
        }
        false
    }

    /// Takes room in the master's queue, which others fill as well.
    fn poll_room(&mut self, cx: &mut Context<'_>) -> Poll<Room> {
        let inbox = &self.master.0.inbox;
        loop {
            if let Some(room) = inbox.take_room() {
                self.room = None;
                return Poll::Ready(room);
            }
            let wait = || -> Pin<Box<dyn Future<Output = ()> + Send + Sync>> {
                Box::pin(Arc::clone(inbox).room_for_map())
            };
            ready!(self.room.get_or_insert_with(wait).as_mut().poll(cx));
            self.room = None;
        }
    }

    /// How many inputs are left, if they say so.
    fn left(&self) -> Option<u64> {
        self.calls.size_hint().1.map(|left| left as u64)
    }

    /// Puts the next chunk together: calls of one task, as long as they come.
    fn gather(&mut self, cx: &mut Context<'_>, most: u32) -> Poll<Option<Gathering<T>>> {
        loop {
            // One that cannot be encoded fails alone.
            let is_over = |g: &Gathering<T>| g.is_full(most) || g.is_broken();
            if self.gathering.as_ref().is_some_and(is_over) {
                return Poll::Ready(self.gathering.take());
            }
            let call = match self.next.take() {
                Some(call) => call,
                None if self.is_exhausted => return Poll::Ready(self.gathering.take()),
                None => match self.calls.as_mut().poll_next(cx) {
                    Poll::Ready(Some(call)) => call,
                    Poll::Ready(None) => {
                        self.is_exhausted = true;
                        continue;
                    }
                    // What has been gathered does not wait for inputs that are slow.
                    Poll::Pending if self.gathering.is_some() => {
                        return Poll::Ready(self.gathering.take());
                    }
                    Poll::Pending => return Poll::Pending,
                },
            };
            let Some(chunk) = &mut self.gathering else {
                self.gathering = Some(Gathering::new(call));
                continue;
            };
            if !chunk.push(&call) {
                self.next = Some(call);
                return Poll::Ready(self.gathering.take());
            }
        }
    }

    fn send(&mut self, chunk: Gathering<T>, room: Room) {
        let (task, items) = (chunk.task.clone(), chunk.items);
        let mut flags = task.flags();
        if items > 1 {
            flags = flags.with(TaskFlags::BATCH);
            if self.isolated {
                flags = flags.with(TaskFlags::ISOLATED);
            }
        }
        let (timeout, placement) = (self.timeout, self.placement.clone());
        let (extras, refused, image) =
            (self.extras.clone(), self.refused.clone(), self.image.clone());
        let calls = items;
        let terms = Terms { flags, calls, timeout, extras, placement, ports: None, refused, image };
        let handle = self.master.submit(&task, chunk.into_args(), terms, Some(room));
        let task = task.name().to_owned();
        self.out.push_back(Chunk { handle, task, items, outcome: None });
    }

    /// Takes the chunks that have come back. Whether there are results now.
    fn collect(&mut self, cx: &mut Context<'_>) -> bool {
        for chunk in &mut self.out {
            if chunk.outcome.is_none()
                && let Poll::Ready(outcome) = chunk.handle.poll(cx)
            {
                if let Some(receipt) = chunk.handle.ticket.receipt() {
                    self.chunker.observe(chunk.items, receipt.executed + receipt.initialised);
                }
                chunk.outcome = Some(outcome);
            }
        }
        loop {
            let at = match self.order {
                Order::Inputs => self.out.front().filter(|c| c.outcome.is_some()).map(|_| 0),
                Order::Ready => self.out.iter().position(|c| c.outcome.is_some()),
            };
            let Some(mut chunk) = at.and_then(|at| self.out.remove(at)) else {
                return !self.ready.is_empty();
            };
            if let Some(outcome) = chunk.outcome.take() {
                let receipt = chunk.handle.ticket.receipt();
                self.ready.push(chunk.task, chunk.items, receipt, outcome);
            }
        }
    }
}

impl<S: Stream<Item = Call<T>>, T: DeserializeOwned> Stream for Map<S, T> {
    type Item = Result<T, TaskError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.poll_result(cx)
    }
}

// Nothing in it is pinned but the calls, which are boxed.
impl<S, T> Unpin for Map<S, T> {}

impl<S, T> fmt::Debug for Map<S, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Map({} chunks out, {:?})", self.out.len(), self.order)
    }
}
