//! What a master says on a link, and what follows from it.
//!
//! Owns: the session's bound tasks, the payloads that arrive, the order of attempt ids.
//! Invariants: an attempt's id is greater than all before it, so that nothing is run
//! twice; a message out of turn ends the link.

use crate::core::Core;
use crate::drain;
use crate::job::{Bound, Job};
use crate::kept::{self, Keys};
use crate::queue::Reservation;
use crate::session::{MOST_HELD, Session};
use dpfw_link::{Inbox, LinkError};
use dpfw_protocol::Bytes;
use dpfw_protocol::error::{Cause, Limit};
use dpfw_protocol::frame::{END, Frame};
use dpfw_protocol::ids::{AttemptId, ConversationId, Port};
use dpfw_protocol::limits::{MAX_BINDS, WINDOW};
use dpfw_protocol::message::{
    Abandon, Bind, Cancel, Close, Credit, Describe, Dispatch, Drain, Extras, Heartbeat, Locate,
    Located, MessageError, ModuleBytes, Recall, Release, Reserve, StoreReply, StoreRequest, decode,
    kind,
};
use dpfw_protocol::receive::{ArrivalError, Arrivals, Step};
use dpfw_protocol::store::Key;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// What a payload belongs to that is arriving.
#[derive(Debug)]
enum Arriving {
    Args(Job),
    Module(ModuleBytes),
    Value(StoreRequest),
}

/// Bytes that may be arriving at once in one session, and bytes of arguments that the slave
/// holds for all: the largest arguments, twice.
fn most_arriving(core: &Core) -> u64 {
    core.limits.arguments.max(core.limits.module).saturating_mul(2)
}

/// The reading end of one session.
pub(crate) struct Reader {
    core: Arc<Core>,
    session: Arc<Session>,
    binds: Vec<Arc<Bound>>,
    last: AttemptId,
    arrivals: Arrivals<Arriving>,
    /// Attempts that came with the last bytes.
    batch: Vec<Job>,
    /// Whether arguments of any attempt are still coming.
    waits: bool,
}

impl Reader {
    pub(crate) fn new(core: Arc<Core>, session: Arc<Session>) -> Self {
        let arrivals = Arrivals::new(WINDOW, most_arriving(&core), core.buffers.clone());
        let (binds, batch) = (Vec::new(), Vec::new());
        Self { core, session, binds, last: AttemptId(0), arrivals, batch, waits: false }
    }

    pub(crate) async fn read(&mut self, inbox: &mut Inbox) -> LinkError {
        // What came in one piece with the hello is handled before more is waited for.
        let mut outcome = self.frames(inbox, Instant::now());
        loop {
            self.take_in();
            if let Err(error) = outcome {
                return error;
            }
            let arrived = match inbox.fill_payloads(&mut self.arrivals).await {
                Ok(arrived) => arrived,
                Err(error) => return error,
            };
            let now = Instant::now();
            outcome = match arrived {
                Some((conversation, step)) => self.arrived(conversation, step),
                None => Ok(()),
            };
            outcome = outcome.and_then(|()| self.frames(inbox, now));
        }
    }

    /// Admits what came with the last bytes, after which it is known to whoever asks which
    /// attempts there are.
    fn take_in(&mut self) {
        self.core.admit(&mut self.batch);
        if self.waits {
            let mut arriving = self.session.arriving();
            arriving.retain(|attempt| self.arrivals.has(attempt.conversation()));
            self.waits = !arriving.is_empty();
        }
        self.session.took(self.last);
    }

    fn frames(&mut self, inbox: &mut Inbox, now: Instant) -> Result<(), LinkError> {
        while let Some(frame) = inbox.next_frame()? {
            self.handle(&frame, now)?;
        }
        Ok(())
    }

    fn handle(&mut self, frame: &Frame<'_>, now: Instant) -> Result<(), LinkError> {
        let conversation = frame.header.conversation;
        let last = frame.header.flags & END != 0;
        match frame.header.kind {
            kind::DISPATCH => {
                let (dispatch, inline) = decode::<Dispatch>(frame)?;
                self.dispatch(conversation.attempt(), dispatch, inline, last, now)
            }
            kind::CHUNK if let Some((attempt, port)) = conversation.port() => {
                self.feed(attempt, port, frame.body, last)
            }
            kind::CHUNK => {
                let step = self.arrivals.chunk(conversation, frame.body, last);
                self.arrived(conversation, step)
            }
            kind::BIND => self.bind(decode::<Bind>(frame)?.0),
            kind::CANCEL => {
                decode::<Cancel>(frame)?;
                self.cancel(conversation.attempt());
                Ok(())
            }
            kind::RECALL => {
                self.core.admit(&mut self.batch);
                let recall = decode::<Recall>(frame)?.0;
                self.core.recall(&self.session, &recall.attempts);
                Ok(())
            }
            kind::MODULE_BYTES => {
                let (offer, inline) = decode::<ModuleBytes>(frame)?;
                self.module(conversation, offer, inline, last)
            }
            kind::STORE_REQUEST => {
                let (request, inline) = decode::<StoreRequest>(frame)?;
                self.store(conversation, request, inline, last)
            }
            kind::RESERVE => {
                let wait = decode::<Reserve>(frame)?.0.wait;
                self.reserve(conversation, wait);
                Ok(())
            }
            kind::RELEASE => {
                decode::<Release>(frame)?;
                self.core.release(&self.session);
                Ok(())
            }
            kind::LOCATE => {
                let keys = decode::<Locate>(frame)?.0.keys;
                self.locate(conversation, &keys);
                Ok(())
            }
            kind::DESCRIBE => {
                decode::<Describe>(frame)?;
                self.describe(conversation);
                Ok(())
            }
            kind::DRAIN => {
                decode::<Drain>(frame)?;
                self.core.admit(&mut self.batch);
                tracing::info!(master = %self.session.principal.0, "draining: a master asks for it");
                drain::begin(&self.core);
                Ok(())
            }
            kind::CREDIT => {
                let bytes = decode::<Credit>(frame)?.0.bytes;
                self.session.outbox.credit(conversation, bytes);
                Ok(())
            }
            kind::ABANDON => {
                let cause = decode::<Abandon>(frame)?.0.failure.into();
                if let Some((attempt, Port::Input)) = conversation.port()
                    && let Some(program) = self.core.programs.find(&self.session, attempt)
                {
                    program.stop_aside(cause);
                    return Ok(());
                }
                if let Some(arriving) = self.arrivals.abandon(conversation) {
                    self.fail(conversation, arriving, cause);
                }
                // What it will not take need not be sent.
                self.session.outbox.forget(conversation);
                Ok(())
            }
            kind::HEARTBEAT => Ok(decode::<Heartbeat>(frame).map(drop)?),
            kind::CLOSE => {
                let Close { code, reason } = decode::<Close>(frame)?.0;
                Err(LinkError::closed(code, &reason))
            }
            kind => Err(MessageError::OutOfTurn { kind }.into()),
        }
    }

    /// Bytes for a program's stdin. Those of one that is over are passed over.
    fn feed(
        &self,
        attempt: AttemptId,
        port: Port,
        body: &[u8],
        last: bool,
    ) -> Result<(), LinkError> {
        let program = self.core.programs.find(&self.session, attempt);
        match program.filter(|_| port == Port::Input) {
            Some(program) => program.feed(body, last).map_err(LinkError::Broken),
            None => Ok(()),
        }
    }

    fn bind(&mut self, bind: Bind) -> Result<(), LinkError> {
        if bind.bind.0 as usize != self.binds.len() || self.binds.len() >= MAX_BINDS {
            return Err(LinkError::Broken(format!("task {} is bound out of turn", bind.bind)));
        }
        self.binds.push(Arc::new(Bound::new(bind)));
        Ok(())
    }

    fn dispatch(
        &mut self,
        attempt: AttemptId,
        dispatch: Dispatch,
        inline: &[u8],
        last: bool,
        now: Instant,
    ) -> Result<(), LinkError> {
        if attempt <= self.last {
            return Err(LinkError::Broken(format!("attempt {attempt} is stale")));
        }
        self.last = attempt;
        let Some(bound) = self.binds.get(dispatch.bind.0 as usize) else {
            return Err(LinkError::Broken(format!("task {} is not bound", dispatch.bind)));
        };
        let busy = || LinkError::Broken(format!("more than {MOST_HELD} attempts are under way"));
        let mut held = self.session.hold(&self.core.held).ok_or_else(busy)?;
        let has_room = held.take(dispatch.payload, most_arriving(&self.core));
        let deadline = dispatch.budget_us.and_then(|us| now.checked_add(Duration::from_micros(us)));
        let Extras { limits, keep, needs } = dispatch.extras.map_or_else(Extras::default, |it| *it);
        let job = Job {
            session: Arc::clone(&self.session),
            _held: held,
            attempt,
            bound: Arc::clone(bound),
            args: Bytes::new(),
            flags: dispatch.flags,
            limits: limits.map(Box::new),
            keys: Keys::of(keep, needs),
            arrived: now,
            deadline,
        };
        let allowed = self.core.limits.arguments;
        if dispatch.payload > allowed {
            self.core.refuse(&job, Cause::Limit { limit: Limit::Arguments, allowed });
            return Ok(());
        }
        let (conversation, arriving) = (attempt.conversation(), Arriving::Args(job));
        if !has_room && dispatch.payload > 0 {
            let what = "the slave holds as many bytes of arguments as it may".into();
            self.refuse(conversation, arriving, Cause::Busy { what });
            return Ok(());
        }
        if !last {
            self.session.arriving().insert(attempt);
            self.waits = true;
        }
        self.begin(conversation, dispatch.payload, inline, last, arriving)
    }

    fn module(
        &mut self,
        conversation: ConversationId,
        offer: ModuleBytes,
        inline: &[u8],
        last: bool,
    ) -> Result<(), LinkError> {
        let allowed = self.core.limits.module;
        if offer.payload > allowed {
            let cause = Cause::Limit { limit: Limit::Module, allowed };
            self.refuse(conversation, Arriving::Module(offer), cause);
            return Ok(());
        }
        self.begin(conversation, offer.payload, inline, last, Arriving::Module(offer))
    }

    fn store(
        &mut self,
        conversation: ConversationId,
        request: StoreRequest,
        inline: &[u8],
        last: bool,
    ) -> Result<(), LinkError> {
        let allowed = self.core.limits.store_bytes;
        if request.payload > allowed {
            let cause = Cause::Limit { limit: Limit::Quota, allowed };
            self.refuse(conversation, Arriving::Value(request), cause);
            return Ok(());
        }
        if self.session.is_clogged() {
            let cause = Cause::Busy { what: "the master does not take what it asked for".into() };
            self.refuse(conversation, Arriving::Value(request), cause);
            return Ok(());
        }
        let payload = request.payload;
        self.begin(conversation, payload, inline, last, Arriving::Value(request))
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

    /// Goes on with what has arrived, or grants credit for what is arriving.
    fn arrived(
        &mut self,
        conversation: ConversationId,
        step: Result<Step<Arriving>, ArrivalError<Arriving>>,
    ) -> Result<(), LinkError> {
        match step {
            Ok(Step::Complete(Arriving::Args(mut job), bytes)) => {
                job.args = bytes;
                self.batch.push(job);
            }
            Ok(Step::Complete(Arriving::Module(offer), bytes)) => {
                self.core.module_offered(&self.session, offer.module, Ok(bytes));
            }
            Ok(Step::Complete(Arriving::Value(request), value)) => {
                let Session { namespace, principal, .. } = &*self.session;
                let answer = self.core.store.apply(namespace, principal, request.op, value);
                self.reply(conversation, answer);
            }
            Ok(Step::More(Some(bytes))) => {
                self.session.outbox.grant(conversation, bytes)?;
            }
            Ok(Step::More(None) | Step::Stray) => {}
            Err(ArrivalError::NoRoom(arriving)) => {
                let cause = Cause::Busy { what: "no room for another payload".into() };
                self.refuse(conversation, arriving, cause);
            }
            Err(error) => return Err(LinkError::Broken(error.to_string())),
        }
        Ok(())
    }

    /// Does not take a payload, and lets the master stop sending it.
    fn refuse(&self, conversation: ConversationId, arriving: Arriving, cause: Cause) {
        // It always fits a frame: causes are cut when they become failures.
        let _ = self.session.outbox.abandon(conversation, cause.clone());
        self.fail(conversation, arriving, cause);
    }

    /// Ends what waits for a payload that does not come.
    fn fail(&self, conversation: ConversationId, arriving: Arriving, cause: Cause) {
        match arriving {
            Arriving::Args(job) => self.core.refuse(&job, cause),
            Arriving::Value(_) => self.reply(conversation, Err(cause)),
            Arriving::Module(offer) => {
                self.core.module_offered(&self.session, offer.module, Err(cause));
            }
        }
    }

    fn reply(&self, conversation: ConversationId, answer: Result<crate::store::Answer, Cause>) {
        let (answer, failure) = match answer {
            Ok(answer) => (answer, None),
            Err(cause) => (Default::default(), Some(cause.into())),
        };
        let reply = StoreReply {
            failure,
            hit: answer.hit,
            version: answer.version,
            entries: answer.entries,
            more: answer.more,
            payload: answer.value.len() as u64,
        };
        let outbox = &self.session.outbox;
        if let Err(error) = outbox.message_with(conversation, &reply, answer.value.into()) {
            tracing::error!(%error, "an answer of the store cannot be told");
        }
        self.session.look_for_clog();
        outbox.flush();
    }

    fn locate(&self, conversation: ConversationId, keys: &[Key]) {
        let held = kept::locate(&self.core, &self.session, keys);
        // It always fits a frame.
        let _ = self.session.outbox.message(conversation, &Located { held });
        self.session.outbox.flush();
    }

    fn describe(&self, conversation: ConversationId) {
        let description = self.core.describe(&self.session);
        // It always fits a frame.
        let _ = self.session.outbox.message(conversation, &description);
        self.session.outbox.flush();
    }

    fn cancel(&mut self, attempt: AttemptId) {
        self.core.admit(&mut self.batch);
        let conversation = attempt.conversation();
        if let Some(Arriving::Args(job)) = self.arrivals.abandon(conversation) {
            self.core.refuse(&job, Cause::Cancelled);
        } else {
            self.core.cancel(&self.session, attempt);
        }
        // A result that is being sent is not wanted any more. The attempt ends all the same.
        if self.session.outbox.forget(conversation) {
            // It always fits a frame.
            let _ = self.session.outbox.abandon(conversation, Cause::Cancelled);
        }
    }

    fn reserve(&mut self, conversation: ConversationId, wait: bool) {
        self.core.admit(&mut self.batch);
        let wish = Reservation { session: Arc::clone(&self.session), conversation };
        self.core.reserve(wish, wait);
    }
}
