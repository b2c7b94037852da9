//! What a master says on a link, and what follows from it.
//!
//! Owns: the session's bound tasks, the order of attempt ids. Does not: know what follows from a
//! payload (`arriving` does).
//! Invariants: an attempt's id is greater than all before it, so that nothing is run
//! twice; a message out of turn ends the link.

use crate::core::Core;
use crate::drain;
use crate::job::{Bound, Job};
use crate::kept::{self, Keys};
use crate::limits::MOST_DECLARED;
use crate::module::image::fetch;
use crate::queue::Reservation;
use crate::residents::{self, Method, Resident, Spawning};
use crate::session::{MOST_HELD, Session, tell_reserved, too_many, too_many_bytes};
use crate::shares::Taken;
use arriving::{Arriving, Coming};
use dpfw_link::{Inbox, LinkError};
use dpfw_protocol::changes::{Unwatch, Watch};
use dpfw_protocol::error::{Cause, Limit};
use dpfw_protocol::frame::{END, Frame};
use dpfw_protocol::ids::{AttemptId, BindId, ConversationId, Port};
use dpfw_protocol::limits::{MAX_BINDS, WINDOW};
use dpfw_protocol::message::{
    Abandon, Bind, BindImage, BindMethod, BindResident, CallResident, Cancel, Close, Credit,
    Describe, Dispatch, Drain, Extras, FetchImage, Heartbeat, ImageBytes, Locate, Located,
    MessageError, ModuleBytes, Offer, Recall, Release, Reserve, ResidentRequest, StoreRequest,
    TaskFlags, Withdraw, decode, kind,
};
use dpfw_protocol::receive::Arrivals;
use dpfw_protocol::recycle::Arrived;
use dpfw_protocol::store::Key;
use std::sync::Arc;
use std::time::{Duration, Instant};

mod arriving;
mod calls;
#[cfg(test)]
mod kit;
mod observer;
#[cfg(test)]
mod tests;

/// Bytes of answers that a master may leave unread: nothing more of what it says is read then.
const MOST_UNREAD: usize = 1 << 20;

/// Whether all frames that are there were handled.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Frames {
    Done,
    /// There may be more.
    Left,
}

/// Whether it is answered at once, and perhaps with much more than it takes to ask.
fn is_question(kind: u8) -> bool {
    matches!(
        kind,
        kind::STORE_REQUEST | kind::RESIDENT_REQUEST | kind::LOCATE | kind::DESCRIBE | kind::WATCH
    )
}

/// The reading end of one session.
pub(crate) struct Reader {
    core: Arc<Core>,
    session: Arc<Session>,
    binds: Vec<Arc<Bound>>,
    methods: Vec<Method>,
    /// The resident that was called last; calls of one mostly follow each other.
    called: Option<Arc<Resident>>,
    last: AttemptId,
    arrivals: Arrivals<Coming>,
    /// Attempts that came with the last bytes.
    batch: Vec<Job>,
    /// Whether arguments of any attempt are still coming.
    waits: bool,
}

impl Reader {
    pub(crate) fn new(core: Arc<Core>, session: Arc<Session>) -> Self {
        let arrivals = Arrivals::new(WINDOW, core.limits.most_arriving(), core.buffers.clone());
        Self {
            core,
            session,
            binds: Vec::new(),
            methods: Vec::new(),
            called: None,
            last: AttemptId(0),
            arrivals,
            batch: Vec::new(),
            waits: false,
        }
    }

    pub(crate) async fn read(&mut self, inbox: &mut Inbox) -> LinkError {
        // What came in one piece with the hello is handled before more is waited for.
        let mut outcome = self.frames(inbox, Instant::now());
        loop {
            self.take_in();
            let all = match outcome {
                Ok(all) => all,
                Err(error) => return error,
            };
            // The watches wait for the same, in the same task; so whoever is woken wakes both.
            self.session.outbox.control_below(MOST_UNREAD).await;
            if all == Frames::Left {
                outcome = self.frames(inbox, Instant::now());
                continue;
            }
            let arrived = match inbox.fill_payloads(&mut self.arrivals).await {
                Ok(arrived) => arrived,
                Err(error) => return error,
            };
            let now = Instant::now();
            let arrived = match arrived {
                Some((conversation, step)) => self.arrived(conversation, step),
                None => Ok(()),
            };
            outcome = arrived.and_then(|()| self.frames(inbox, now));
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

    /// Handles the frames that are there, as long as the master reads what it asks for.
    fn frames(&mut self, inbox: &mut Inbox, now: Instant) -> Result<Frames, LinkError> {
        while let Some(frame) = inbox.next_frame()? {
            self.handle(&frame, now)?;
            if is_question(frame.header.kind) && self.session.outbox.control_bytes() > MOST_UNREAD {
                return Ok(Frames::Left);
            }
        }
        Ok(Frames::Done)
    }

    fn handle(&mut self, frame: &Frame<'_>, now: Instant) -> Result<(), LinkError> {
        if !self.may_say(frame)? {
            return Ok(());
        }
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
            kind::BIND => {
                let bind = decode::<Bind>(frame)?.0;
                self.bind(bind.bind, Bound::new(bind))
            }
            kind::BIND_IMAGE => {
                let bind = decode::<BindImage>(frame)?.0;
                self.bind(bind.bind, Bound::on_image(bind, &self.session))
            }
            kind::CALL_RESIDENT => {
                let (call, inline) = decode::<CallResident>(frame)?;
                self.call(conversation, call, inline, last, now)
            }
            kind::BIND_RESIDENT => {
                let bind = decode::<BindResident>(frame)?.0;
                self.bind(bind.bind, Bound::of_resident(bind))
            }
            kind::BIND_METHOD => self.bind_method(decode::<BindMethod>(frame)?.0),
            kind::WITHDRAW => {
                decode::<Withdraw>(frame)?;
                self.core.residents.withdraw(&self.session, conversation);
                Ok(())
            }
            kind::RESIDENT_REQUEST => {
                let op = decode::<ResidentRequest>(frame)?.0.op;
                residents::ask(&self.core, &self.session, conversation, op);
                Ok(())
            }
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
                if !self.session.has_all {
                    return Err(self.untrusted("drain the slave"));
                }
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
                if let Some(Coming { what, .. }) = self.arrivals.abandon(conversation) {
                    self.fail(conversation, what, cause);
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

    /// A number stands for a task: a new one, or, from here on, one that stood for another.
    fn bind(&mut self, bind: BindId, mut bound: Bound) -> Result<(), LinkError> {
        bound.room = Some(Arc::new(self.room_for(bound.bytes())?));
        let (at, next) = (bind.0 as usize, self.binds.len());
        match self.binds.get_mut(at) {
            Some(other) => *other = Arc::new(bound),
            None if at == next && next < MAX_BINDS => self.binds.push(Arc::new(bound)),
            None => return Err(LinkError::Broken(format!("task {bind} is bound out of turn"))),
        }
        Ok(())
    }

    /// What is declared stays for as long as the session, or until another is declared by its number,
    /// and is counted for its principal.
    fn room_for(&self, bytes: u64) -> Result<Taken, LinkError> {
        let room = self.core.declared.lend(&self.session.holdings.declared, bytes);
        room.ok_or_else(|| {
            let most = MOST_DECLARED;
            let why = format!("more of the {most} bytes of declared tasks than a master may have");
            LinkError::Broken(why)
        })
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
        let spawns = dispatch.extras.as_ref().is_some_and(|extras| extras.spawn.is_some());
        if spawns != bound.is_constructor {
            let what = if spawns { "is no constructor" } else { "spawns nothing" };
            let why = format!("attempt {attempt} at task {} {what}", dispatch.bind);
            return Err(LinkError::Broken(why));
        }
        let afresh = dispatch.flags.has(TaskFlags::AFRESH);
        if afresh || bound.is_stale() {
            *bound = Arc::new(bound.afresh());
        }
        let busy = || LinkError::Broken(format!("more than {MOST_HELD} attempts are under way"));
        let mut held = self.session.hold(&self.core.held).ok_or_else(busy)?;
        let most = self.core.limits.attempts;
        // What names it has is held like its arguments.
        let said = dispatch.extras.as_deref().map_or(0, kept::bytes);
        let bytes = dispatch.payload.saturating_add(said);
        let no_room = match held.is_beyond(most) {
            true => Some(too_many(most)),
            false => (!held.take(bytes)).then(too_many_bytes),
        };
        let deadline = dispatch.budget_us.and_then(|us| now.checked_add(Duration::from_micros(us)));
        let Extras { limits, keep, needs, spawn } =
            dispatch.extras.map_or_else(Extras::default, |it| *it);
        let job = Job {
            session: Arc::clone(&self.session),
            _held: held,
            attempt,
            bound: Arc::clone(bound),
            args: Arrived::default(),
            flags: dispatch.flags,
            limits: limits.map(Box::new),
            spawn: spawn.map(|terms| Box::new(Spawning::new(*terms))),
            keys: Keys::of(keep, needs),
            refused: None,
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
        if let Some(cause) = no_room {
            self.refuse(conversation, arriving, cause);
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
        match self.arrivals.abandon(conversation).map(|coming| coming.what) {
            Some(arriving @ (Arriving::Args(_) | Arriving::Call(..))) => {
                self.fail(conversation, arriving, Cause::Cancelled);
            }
            _ if conversation.is_other() => {
                self.core.residents.cancel(&self.core, &self.session, conversation);
            }
            _ => self.core.cancel(&self.session, attempt),
        }
        // A result that is being sent is not wanted any more. The attempt ends all the same.
        if self.session.outbox.forget(conversation) {
            // It always fits a frame.
            let _ = self.session.outbox.abandon(conversation, Cause::Cancelled);
        }
    }

    /// Ends the link of a master that asks for what is everybody's.
    fn untrusted(&self, what: &str) -> LinkError {
        let who = &self.session.principal.0;
        let why = format!("{who} may not {what}: the slave's operator has not named it (--trust)");
        self.core.tell_refusal("rights", &self.session, None, &why);
        LinkError::Refused(why)
    }

    fn reserve(&mut self, conversation: ConversationId, wait: bool) {
        self.core.admit(&mut self.batch);
        let wish = Reservation { session: Arc::clone(&self.session), conversation };
        if !self.session.has_all {
            // It is told as one that finds all slots taken.
            let _ = self.untrusted("reserve the slave");
            return tell_reserved(&wish, false);
        }
        self.core.reserve(wish, wait);
    }
}
