//! What a master says on a link, and what follows from it.
//!
//! Owns: the session's bound tasks, the payloads that arrive, the order of attempt ids.
//! Invariants: an attempt's id is greater than all before it, so that nothing is run
//! twice; a message out of turn ends the link.

use crate::core::Core;
use crate::drain;
use crate::job::{Bound, Job};
use crate::kept::{self, Keys};
use crate::module::code::{CodeId, Wanted};
use crate::module::image::{Source, fetch};
use crate::queue::Reservation;
use crate::session::{MOST_HELD, Session};
use crate::store::Answer;
use dpfw_link::{Inbox, LinkError};
use dpfw_protocol::Bytes;
use dpfw_protocol::changes::{Unwatch, Watch};
use dpfw_protocol::error::{Cause, Limit};
use dpfw_protocol::frame::{END, Frame};
use dpfw_protocol::ids::{AttemptId, BindId, ConversationId, Port};
use dpfw_protocol::limits::{MAX_BINDS, WINDOW};
use dpfw_protocol::message::{
    Abandon, Bind, BindImage, Cancel, Close, Credit, Describe, Dispatch, Drain, Extras, FetchImage,
    Heartbeat, ImageBytes, Locate, Located, MessageError, ModuleBytes, Offer, Recall, Release,
    Reserve, StoreReply, StoreRequest, TaskFlags, decode, kind,
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
    Image(ImageBytes),
    Value(StoreRequest),
}

/// Bytes that may be arriving at once in one session, and bytes of arguments that the slave
/// holds for all: the largest arguments, twice.
fn most_arriving(core: &Core) -> u64 {
    core.limits.arguments.max(core.limits.of_images().module).saturating_mul(2)
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
            kind::BIND_IMAGE => self.bind_image(decode::<BindImage>(frame)?.0),
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
            kind::IMAGE_BYTES => {
                let (offer, inline) = decode::<ImageBytes>(frame)?;
                self.image(conversation, offer, inline, last)
            }
            kind::FETCH_IMAGE => {
                let image = decode::<FetchImage>(frame)?.0.image;
                fetch::snapshot(&self.core, &self.session, conversation, image);
                Ok(())
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
            kind::WATCH => {
                let watch = decode::<Watch>(frame)?.0;
                self.session.watches.begin(&self.core, &self.session, conversation, watch);
                Ok(())
            }
            kind::UNWATCH => {
                decode::<Unwatch>(frame)?;
                self.session.watches.end(conversation);
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
                    && let Some(fiber) = self.core.fibers.find(&self.session, attempt)
                {
                    fiber.stop_aside(cause);
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
        let fiber = self.core.fibers.find(&self.session, attempt);
        match fiber.filter(|_| port == Port::Input) {
            Some(fiber) => fiber.feed(body, last).map_err(LinkError::Broken),
            None => Ok(()),
        }
    }

    fn bind(&mut self, bind: Bind) -> Result<(), LinkError> {
        self.check_turn(bind.bind)?;
        self.binds.push(Arc::new(Bound::new(bind)));
        Ok(())
    }

    fn bind_image(&mut self, bind: BindImage) -> Result<(), LinkError> {
        self.check_turn(bind.bind)?;
        self.binds.push(Arc::new(Bound::on_image(bind, &self.session)));
        Ok(())
    }

    fn check_turn(&self, bind: BindId) -> Result<(), LinkError> {
        match bind.0 as usize == self.binds.len() && self.binds.len() < MAX_BINDS {
            true => Ok(()),
            false => Err(LinkError::Broken(format!("task {bind} is bound out of turn"))),
        }
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
        let Some(bound) = self.binds.get_mut(dispatch.bind.0 as usize) else {
            return Err(LinkError::Broken(format!("task {} is not bound", dispatch.bind)));
        };
        let afresh = dispatch.flags.has(TaskFlags::AFRESH);
        if afresh || bound.is_stale() {
            *bound = Arc::new(bound.afresh());
        }
        let busy = || LinkError::Broken(format!("more than {MOST_HELD} attempts are under way"));
        let mut held = self.session.hold(&self.core.held).ok_or_else(busy)?;
        let has_room = held.take(dispatch.payload, most_arriving(&self.core));
        let deadline = dispatch.budget_us.and_then(|us| now.checked_add(Duration::from_micros(us)));
        let Extras { limits, keep, needs, .. } =
            dispatch.extras.map_or_else(Extras::default, |it| *it);
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
        if afresh {
            self.core.forgive(&job);
        }
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

    fn image(
        &mut self,
        conversation: ConversationId,
        offer: ImageBytes,
        inline: &[u8],
        last: bool,
    ) -> Result<(), LinkError> {
        let limits = &self.core.limits;
        let allowed = match &offer.offer {
            Offer::Snapshot { .. } => limits.of_images().module,
            Offer::Recipe { .. } | Offer::Nothing => limits.module.saturating_add(limits.arguments),
        };
        if offer.payload > allowed {
            let cause = Cause::Limit { limit: Limit::Module, allowed };
            self.refuse(conversation, Arriving::Image(offer), cause);
            return Ok(());
        }
        self.begin(conversation, offer.payload, inline, last, Arriving::Image(offer))
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
                let source = Source::module(offer.module, bytes);
                self.core.offered(&self.session, CodeId::Module(offer.module), source);
            }
            Ok(Step::Complete(Arriving::Image(offer), bytes)) => {
                self.offered(&offer, |offer| source_of(offer, bytes));
            }
            Ok(Step::Complete(Arriving::Value(request), value)) => {
                self.apply(conversation, request, value);
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

    /// Does what is asked of the store. What waits for the disk is answered by its thread.
    fn apply(&self, conversation: ConversationId, request: StoreRequest, value: Bytes) {
        let (core, session) = (&self.core, &self.session);
        let StoreRequest { op, terms, .. } = request;
        let is_awaited = core.store.is_awaited(&op, terms);
        let Session { namespace, principal, .. } = &**session;
        let answer = core.store.apply_on(terms, namespace, principal, op, value, &|| true);
        match answer {
            Ok(answer) if is_awaited => {
                let session = Arc::clone(session);
                core.store.when_kept(Box::new(move |kept| {
                    // Whoever calls this flushes.
                    reply(&session, conversation, kept.map(|()| answer));
                }));
                // It was answered already if the disk takes nothing.
                self.session.outbox.flush();
            }
            other => self.reply(conversation, other),
        }
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
                self.core.offered(&self.session, CodeId::Module(offer.module), Err(cause));
            }
            Arriving::Image(offer) => self.offered(&offer, |_| Err(cause)),
        }
    }

    fn offered(
        &self,
        offer: &ImageBytes,
        source: impl FnOnce(&ImageBytes) -> Result<Source, Cause>,
    ) {
        let wanted = Wanted::new(offer.image, None, &self.session);
        self.core.offered(&self.session, CodeId::Image(wanted.built), source(offer));
    }

    fn reply(&self, conversation: ConversationId, answer: Result<Answer, Cause>) {
        reply(&self.session, conversation, answer);
        self.session.outbox.flush();
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

/// Queues the answer to a request of the store.
fn reply(session: &Session, conversation: ConversationId, answer: Result<Answer, Cause>) {
    let (answer, failure) = match answer {
        Ok(answer) => (answer, None),
        Err(cause) => (Answer::default(), Some(cause.into())),
    };
    let reply = StoreReply {
        failure,
        hit: answer.hit,
        version: answer.version,
        entries: answer.entries,
        more: answer.more,
        payload: answer.value.len() as u64,
    };
    let told = session.outbox.message_with(conversation, &reply, answer.value.into());
    if let Err(error) = told {
        tracing::error!(%error, "an answer of the store cannot be told");
    }
    session.look_for_clog();
}

/// What an image is made of, as it arrived.
fn source_of(offer: &ImageBytes, bytes: Bytes) -> Result<Source, Cause> {
    let ImageBytes { image: id, .. } = *offer;
    match &offer.offer {
        Offer::Nothing => {
            let reason = "neither this slave nor the master has what the image is made of".into();
            Err(Cause::Rejected { reason })
        }
        Offer::Recipe { init, module } => {
            // It is no longer than the payload, or the message would not have been taken.
            let (mut wasm, at) = (bytes, usize::try_from(*module).unwrap_or(usize::MAX));
            let args = wasm.split_off(at.min(wasm.len()));
            Source::recipe(id, init.clone(), wasm, args)
        }
        Offer::Snapshot { module, init_us } => {
            Ok(Source::Snapshot { id, module: *module, wasm: bytes, init_us: *init_us })
        }
    }
}
