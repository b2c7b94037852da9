//! The reading end of a link to a slave.
//!
//! Owns: the payloads that arrive. Does not: know what a task is; it passes on what the
//! slave says, a batch for each time that bytes came.

use crate::inbox::{Command, Inbox as Driver};
use crate::receipt::Progress;
use crate::slave::Linked;
use dpfw_dispatch::SlaveId;
use dpfw_link::{Inbox, LinkError};
use dpfw_protocol::Bytes;
use dpfw_protocol::attempts::AttemptSet;
use dpfw_protocol::changes::Changed;
use dpfw_protocol::error::{Cause, Limit};
use dpfw_protocol::frame::{END, Frame};
use dpfw_protocol::ids::{AttemptId, ConversationId, ImageId, ModuleHash};
use dpfw_protocol::limits::{MAX_MODULE, MAX_PAYLOAD, MAX_SLOTS, WINDOW};
use dpfw_protocol::message::{
    self, Abandon, Close, Credit, Description, Done, Draining, Failed, Heartbeat, ImageGone,
    ImageReady, KeptAs, Loading, Located, Log, MessageError, NeedImage, NeedModule, Queued,
    Reserved, ResidentReply, Returned, Snapshot, Started, Status, StoreReply, Timing, Waiting,
    decode, kind,
};
use dpfw_protocol::receive::{ArrivalError, Arrivals, Step};
use dpfw_protocol::recycle::Recycler;
use dpfw_protocol::store::Key;
use std::sync::Arc;
use tokio::sync::Semaphore;

mod residents;

use residents::Taken;

/// What a slave said that the driver has to know.
#[derive(Debug)]
pub(crate) enum FromSlave {
    Done(AttemptId, Timing, Bytes),
    /// With a result that stays there.
    Kept(AttemptId, Timing, KeptAs),
    Failed(AttemptId, Timing, Cause),
    Started(Vec<AttemptId>),
    Waiting(Vec<AttemptId>),
    Loading(Vec<AttemptId>),
    Queued(Vec<AttemptId>),
    Returned(Vec<AttemptId>),
    Status(Standing),
    Reserved(ConversationId, bool),
    Located(ConversationId, Vec<bool>),
    /// Whether it has a key that a task waits with.
    Key(Key, bool),
    Draining,
    Log(AttemptId, Log),
    Progress(AttemptId, Progress),
    NeedModule(ModuleHash),
    NeedImage(NeedImage),
    ImageReady(ImageReady),
    ImageGone(ImageId),
    /// The answer in this conversation.
    Snapshot(ConversationId, Result<Bytes, Cause>),
}

/// How a slave stands, as far as the policy wants to know.
#[derive(Debug)]
pub(crate) struct Standing {
    pub(crate) slots: u32,
    /// Whether another session holds all of them.
    pub(crate) taken: bool,
    /// The last attempt that it has taken in.
    pub(crate) upto: AttemptId,
    /// Attempts in a slot.
    pub(crate) running: Vec<AttemptId>,
    /// All that are not over, in their order.
    pub(crate) held: Vec<AttemptId>,
}

#[derive(Debug)]
enum Arriving {
    Result(Timing),
    /// Of a call of a resident.
    Called(Timing),
    /// What was asked of residents.
    Residents(ResidentReply),
    Value(StoreReply),
    Snapshot(Snapshot),
}

/// Bytes of results that may be arriving at once on one link.
const MOST_ARRIVING: u64 = 4 << 30;

/// The largest snapshot: a wasm module can have 1 GiB of data, and its code.
const MOST_SNAPSHOT: u64 = MAX_PAYLOAD + MAX_MODULE;

/// Bytes of what a slave has said that the driver need not have heard yet; beyond it the link
/// is not read, which holds the slave up. All its attempts may have ended with results of a
/// KiB or two; a batch that is larger waits until the driver has heard everything else.
const UNHEARD: usize = 16 << 20;

/// Reads a slave's messages until the link ends.
pub(crate) async fn read(
    linked: Arc<Linked>,
    driver: Arc<Driver>,
    buffers: Recycler,
    inbox: &mut Inbox,
) -> LinkError {
    let arrivals = Arrivals::new(WINDOW, MOST_ARRIVING, buffers);
    let unheard = Arc::new(Semaphore::new(UNHEARD));
    let mut reader = Reader { linked, driver, arrivals, said: Vec::new(), bytes: 0, unheard };
    // What came in one piece with the hello is handled before more is waited for.
    let mut outcome = reader.frames(inbox);
    loop {
        reader.pass_on().await;
        if let Err(error) = outcome {
            return error;
        }
        let arrived = match inbox.fill_payloads(&mut reader.arrivals).await {
            Ok(arrived) => arrived,
            Err(error) => return error,
        };
        outcome = match arrived {
            Some((conversation, step)) => reader.arrived(conversation, step),
            None => Ok(()),
        };
        outcome = outcome.and_then(|()| reader.frames(inbox));
    }
}

struct Reader {
    linked: Arc<Linked>,
    driver: Arc<Driver>,
    arrivals: Arrivals<Arriving>,
    said: Vec<FromSlave>,
    /// How many bytes brought it.
    bytes: usize,
    /// What is left of [`UNHEARD`].
    unheard: Arc<Semaphore>,
}

impl Reader {
    fn id(&self) -> SlaveId {
        self.linked.id
    }

    /// Passes on what was said, as soon as the driver has heard enough of what was before.
    async fn pass_on(&mut self) {
        let bytes = std::mem::take(&mut self.bytes) + size_of_val(&self.said[..]);
        if self.said.is_empty() {
            return;
        }
        let share = Arc::clone(&self.unheard).acquire_many_owned(bytes.min(UNHEARD) as u32).await;
        // It is never closed.
        if let Ok(share) = share {
            let said = std::mem::take(&mut self.said);
            self.driver.tell(Command::Said(self.id(), said, share));
        }
    }

    fn frames(&mut self, inbox: &mut Inbox) -> Result<(), LinkError> {
        while let Some(frame) = inbox.next_frame()? {
            self.handle(&frame)?;
        }
        Ok(())
    }

    fn handle(&mut self, frame: &Frame<'_>) -> Result<(), LinkError> {
        let conversation = frame.header.conversation;
        let attempt = conversation.attempt();
        let last = frame.header.flags & END != 0;
        self.bytes += frame.body.len();
        if conversation.is_other() && self.called(frame, last)? == Taken::Yes {
            // Its caller hears of it, and the driver does not.
            self.bytes -= frame.body.len();
            return Ok(());
        }
        match frame.header.kind {
            kind::DONE => {
                let (Done { timing, payload, kept }, inline) = decode(frame)?;
                // What of the arguments is not sent yet is not wanted any more.
                self.linked.outbox.forget(conversation);
                if let Some(kept) = kept.filter(|_| payload == 0) {
                    self.said.push(FromSlave::Kept(attempt, timing, kept));
                    return Ok(());
                }
                let arriving = Arriving::Result(timing);
                if payload > MAX_PAYLOAD {
                    let cause = Cause::Limit { limit: Limit::Result, allowed: MAX_PAYLOAD };
                    return self.refuse(conversation, arriving, cause);
                }
                return self.begin(conversation, payload, inline, last, arriving);
            }
            kind::CHUNK if let Some((attempt, port)) = conversation.port() => {
                // It is taken where it arrives; the driver need not hear of it.
                self.bytes -= frame.body.len();
                let fed = self.linked.ports.feed(attempt, port, frame.body, last);
                return fed.map_err(|e| LinkError::Broken(e.to_string()));
            }
            kind::CHUNK => {
                return {
                    let step = self.arrivals.chunk(conversation, frame.body, last);
                    self.arrived(conversation, step)
                };
            }
            kind::STORE_REPLY => {
                let (reply, inline) = decode::<StoreReply>(frame)?;
                let payload = reply.payload;
                if reply.failure.is_some() {
                    // What of the value is not sent yet is not wanted any more.
                    self.linked.outbox.forget(conversation);
                }
                if payload > MAX_PAYLOAD {
                    let cause = Cause::Limit { limit: Limit::Result, allowed: MAX_PAYLOAD };
                    return self.refuse(conversation, Arriving::Value(reply), cause);
                }
                return self.begin(conversation, payload, inline, last, Arriving::Value(reply));
            }
            kind::FAILED => {
                let Failed { timing, failure } = decode(frame)?.0;
                // What of the arguments is not sent yet is not wanted any more.
                self.linked.outbox.forget(conversation);
                self.arrivals.abandon(conversation);
                self.said.push(FromSlave::Failed(attempt, timing, failure.into()));
            }
            kind::STARTED => {
                self.said.push(FromSlave::Started(decode::<Started>(frame)?.0.attempts));
            }
            kind::LOADING => {
                self.said.push(FromSlave::Loading(decode::<Loading>(frame)?.0.attempts));
            }
            kind::QUEUED => {
                self.said.push(FromSlave::Queued(decode::<Queued>(frame)?.0.attempts));
            }
            kind::WAITING => {
                self.said.push(FromSlave::Waiting(decode::<Waiting>(frame)?.0.attempts));
            }
            kind::RETURNED => {
                let attempts = decode::<Returned>(frame)?.0.attempts;
                for attempt in &attempts {
                    self.linked.outbox.forget(attempt.conversation());
                }
                self.said.push(FromSlave::Returned(attempts));
            }
            kind::LOG => self.said.push(FromSlave::Log(attempt, decode::<Log>(frame)?.0)),
            kind::PROGRESS => {
                let message::Progress { done, total } = decode(frame)?.0;
                self.said.push(FromSlave::Progress(attempt, Progress { done, total }));
            }
            kind::STATUS => {
                let status = decode::<Status>(frame)?.0;
                self.said.push(FromSlave::Status(self.holding(status)));
            }
            kind::RESERVED => {
                let granted = decode::<Reserved>(frame)?.0.granted;
                self.said.push(FromSlave::Reserved(conversation, granted));
            }
            kind::LOCATED => {
                let held = decode::<Located>(frame)?.0.held;
                self.said.push(FromSlave::Located(conversation, held));
            }
            kind::DRAINING => {
                decode::<Draining>(frame)?;
                self.linked.set_draining();
                self.said.push(FromSlave::Draining);
            }
            kind::DESCRIPTION => {
                let description = decode::<Description>(frame)?.0;
                self.linked.descriptions.answer(conversation, description);
            }
            kind::CHANGED => self.changed(conversation, decode::<Changed>(frame)?.0),
            kind::NEED_MODULE => {
                let module = decode::<NeedModule>(frame)?.0.module;
                self.said.push(FromSlave::NeedModule(module));
            }
            kind::NEED_IMAGE => {
                self.said.push(FromSlave::NeedImage(decode::<NeedImage>(frame)?.0));
            }
            kind::IMAGE_READY => {
                self.said.push(FromSlave::ImageReady(decode::<ImageReady>(frame)?.0));
            }
            kind::IMAGE_GONE => {
                self.said.push(FromSlave::ImageGone(decode::<ImageGone>(frame)?.0.image));
            }
            kind::SNAPSHOT => {
                let (snapshot, inline) = decode::<Snapshot>(frame)?;
                let payload = snapshot.payload;
                let arriving = Arriving::Snapshot(snapshot);
                if payload > MOST_SNAPSHOT {
                    let cause = Cause::Limit { limit: Limit::Result, allowed: MOST_SNAPSHOT };
                    return self.refuse(conversation, arriving, cause);
                }
                return self.begin(conversation, payload, inline, last, arriving);
            }
            kind::CREDIT => {
                let bytes = decode::<Credit>(frame)?.0.bytes;
                self.linked.outbox.credit(conversation, bytes);
            }
            kind::ABANDON => {
                let cause = decode::<Abandon>(frame)?.0.failure.into();
                self.linked.outbox.forget(conversation);
                if let Some(arriving) = self.arrivals.abandon(conversation) {
                    self.fail(conversation, arriving, cause);
                }
            }
            kind::HEARTBEAT => drop(decode::<Heartbeat>(frame)?),
            kind::CLOSE => {
                let Close { code, reason } = decode(frame)?.0;
                return Err(LinkError::closed(code, &reason));
            }
            kind => return Err(MessageError::OutOfTurn { kind }.into()),
        }
        Ok(())
    }

    /// Entries have changed that are watched. The driver hears of those alone that tasks wait with.
    fn changed(&mut self, conversation: ConversationId, changed: Changed) {
        for change in &changed.changes {
            let there = change.what.is_there();
            if self.driver.noted().note(&change.key, (self.id(), there)) {
                self.said.push(FromSlave::Key(change.key.clone(), there));
            }
        }
        self.linked.feeds.feed(conversation, changed);
    }

    /// What the slave says of itself, and what it holds: an attempt whose result is arriving
    /// has ended there, and is not over.
    fn holding(&self, status: Status) -> Standing {
        let Status { slots, taken, upto, attempts, others, .. } = status;
        // As in its hello.
        let slots = slots.min(MAX_SLOTS);
        let running = attempts.into_vec();
        // Other conversations have ids beyond those of attempts.
        let arriving = self.arrivals.conversations().map(ConversationId::attempt);
        let arriving = arriving.filter(|attempt| *attempt <= upto);
        let held = running.iter().copied().chain(others.into_vec()).chain(arriving);
        Standing { slots, taken, upto, held: held.collect::<AttemptSet>().into_vec(), running }
    }

    /// A message announces a payload.
    fn begin(
        &mut self,
        conversation: ConversationId,
        payload: u64,
        inline: &[u8],
        last: bool,
        arriving: Arriving,
    ) -> Result<(), LinkError> {
        let step = self.arrivals.begin(conversation, payload, inline, last, arriving);
        self.arrived(conversation, step)
    }

    /// A payload is there.
    fn complete(&mut self, conversation: ConversationId, what: Arriving, bytes: Bytes) {
        match what {
            Arriving::Result(timing) => {
                self.bytes += bytes.len();
                self.said.push(FromSlave::Done(conversation.attempt(), timing, bytes));
            }
            Arriving::Called(timing) => {
                self.linked.residents.answered(conversation, timing, Ok(bytes));
            }
            Arriving::Residents(reply) => {
                self.linked.residents.replies.answer(conversation, (reply, bytes));
            }
            Arriving::Value(reply) => {
                self.linked.replies.answer(conversation, (reply, bytes));
            }
            Arriving::Snapshot(snapshot) => {
                let said = snapshot.failure.map_or(Ok(bytes), |failure| Err(failure.into()));
                self.said.push(FromSlave::Snapshot(conversation, said));
            }
        }
    }

    /// Goes on with what has arrived, or grants credit for what is arriving.
    fn arrived(
        &mut self,
        conversation: ConversationId,
        step: Result<Step<Arriving>, ArrivalError<Arriving>>,
    ) -> Result<(), LinkError> {
        match step {
            Ok(Step::Complete(what, payload)) => {
                self.complete(conversation, what, payload.into_bytes());
            }
            Ok(Step::More(Some(bytes))) => {
                self.linked.outbox.grant(conversation, bytes)?;
            }
            Ok(Step::More(None) | Step::Stray) => {}
            Err(ArrivalError::NoRoom(arriving)) => {
                // Not `Busy`, which would have the task run again.
                let cause = Cause::BadResult { message: "the master has no room for it".into() };
                return self.refuse(conversation, arriving, cause);
            }
            Err(error) => return Err(LinkError::Broken(error.to_string())),
        }
        Ok(())
    }

    /// Does not take a payload: whoever waits for it learns why, and the slave stops sending.
    fn refuse(
        &mut self,
        conversation: ConversationId,
        arriving: Arriving,
        cause: Cause,
    ) -> Result<(), LinkError> {
        self.linked.outbox.abandon(conversation, cause.clone())?;
        self.fail(conversation, arriving, cause);
        Ok(())
    }

    /// Tells whoever waits for a payload that it does not come.
    fn fail(&mut self, conversation: ConversationId, arriving: Arriving, cause: Cause) {
        match arriving {
            Arriving::Result(timing) => {
                self.said.push(FromSlave::Failed(conversation.attempt(), timing, cause));
            }
            Arriving::Called(timing) => {
                self.linked.residents.answered(conversation, timing, Err(cause));
            }
            Arriving::Residents(mut reply) => {
                reply.failure = Some(cause.into());
                self.linked.residents.replies.answer(conversation, (reply, Bytes::new()));
            }
            Arriving::Snapshot(_) => {
                self.said.push(FromSlave::Snapshot(conversation, Err(cause)));
            }
            Arriving::Value(mut reply) => {
                reply.failure = Some(cause.into());
                self.linked.replies.answer(conversation, (reply, Bytes::new()));
            }
        }
    }
}

#[cfg(test)]
mod tests;
