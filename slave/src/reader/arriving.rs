//! Payloads that arrive from a master, and what they are for.
//!
//! Owns: what follows when one is there, or does not come. Does not: decide whether it may come,
//! which the announcing message does. Invariant: whatever a payload belongs to is ended once: by the
//! payload, or by the reason for which there is none.

use super::Reader;
use crate::job::Job;
use crate::module::code::{CodeId, Wanted};
use crate::module::image::{self, Source};
use crate::residents;
use crate::session::{Session, too_many_bytes};
use crate::shares::Taken;
use crate::store::Answer;
use dpfw_link::LinkError;
use dpfw_protocol::Bytes;
use dpfw_protocol::error::Cause;
use dpfw_protocol::ids::ConversationId;
use dpfw_protocol::message::{
    CallResident, ImageBytes, ModuleBytes, Offer, StoreReply, StoreRequest,
};
use dpfw_protocol::receive::{ArrivalError, Step};
use dpfw_protocol::recycle::Arrived;
use dpfw_protocol::store::StoreOp;
use std::sync::Arc;
use std::time::Instant;

/// What a payload belongs to that is arriving.
#[derive(Debug)]
pub(super) enum Arriving {
    Args(Job),
    Module(ModuleBytes),
    Image(ImageBytes),
    Value(StoreRequest),
    /// The arguments of a resident's call, and when it came.
    Call(CallResident, Instant),
}

/// The same, with the room that it takes until it has arrived. That of arguments is the attempt's.
#[derive(Debug)]
pub(super) struct Coming {
    pub(super) what: Arriving,
    room: Option<Taken>,
}

impl Reader {
    /// A message announces a payload.
    pub(super) fn begin(
        &mut self,
        conversation: ConversationId,
        payload: u64,
        inline: &[u8],
        last: bool,
        arriving: Arriving,
    ) -> Result<(), LinkError> {
        let mut room = None;
        if !last && !matches!(arriving, Arriving::Args(_)) {
            room = self.core.held.lend(&self.session.holdings.bytes, payload);
            if room.is_none() {
                self.refuse(conversation, arriving, too_many_bytes());
                return Ok(());
            }
        }
        let coming = Coming { what: arriving, room };
        let step = self.arrivals.begin(conversation, payload, inline, last, coming);
        self.arrived(conversation, step)
    }

    /// Goes on with what has arrived, or grants credit for what is arriving.
    pub(super) fn arrived(
        &mut self,
        conversation: ConversationId,
        step: Result<Step<Coming>, ArrivalError<Coming>>,
    ) -> Result<(), LinkError> {
        match step {
            Ok(Step::Complete(Coming { what, room }, payload)) => {
                // What is made of it counts it anew.
                drop(room);
                self.complete(conversation, what, payload)?;
            }
            Ok(Step::More(Some(bytes))) => {
                self.session.outbox.grant(conversation, bytes)?;
            }
            Ok(Step::More(None) | Step::Stray) => {}
            Err(ArrivalError::NoRoom(Coming { what, .. })) => {
                let cause = Cause::Busy { what: "no room for another payload".into() };
                self.refuse(conversation, what, cause);
            }
            Err(error) => return Err(LinkError::Broken(error.to_string())),
        }
        Ok(())
    }

    /// A payload is there.
    fn complete(
        &mut self,
        conversation: ConversationId,
        what: Arriving,
        payload: Arrived,
    ) -> Result<(), LinkError> {
        let bytes = match what {
            Arriving::Args(mut job) => {
                job.args = payload;
                self.batch.push(job);
                return Ok(());
            }
            _ => payload.into_bytes(),
        };
        match what {
            // Seen to above.
            Arriving::Args(_) => {}
            Arriving::Module(offer) => {
                let source = Source::module(offer.module, bytes);
                self.core.offered(&self.session, CodeId::Module(offer.module), source);
            }
            Arriving::Image(offer) => self.offered(&offer, |offer| source_of(offer, bytes)),
            Arriving::Value(request) => self.apply(conversation, request, bytes),
            Arriving::Call(call, at) => self.called(conversation, call, bytes, at)?,
        }
        Ok(())
    }

    /// Does not take a payload, and lets the master stop sending it.
    pub(super) fn refuse(&self, conversation: ConversationId, arriving: Arriving, cause: Cause) {
        // It always fits a frame: causes are cut when they become failures.
        let _ = self.session.outbox.abandon(conversation, cause.clone());
        self.fail(conversation, arriving, cause);
    }

    /// Ends what waits for a payload that does not come.
    pub(super) fn fail(&self, conversation: ConversationId, arriving: Arriving, cause: Cause) {
        match arriving {
            Arriving::Args(job) => self.core.refuse(&job, cause),
            Arriving::Value(_) => self.reply(conversation, Err(cause)),
            Arriving::Call(..) => {
                residents::refuse(&self.core, &self.session, conversation, cause);
            }
            Arriving::Module(offer) => {
                self.core.offered(&self.session, CodeId::Module(offer.module), Err(cause));
            }
            Arriving::Image(offer) => match offer.offer {
                Offer::Snapshot { .. } if !cause.is_recoverable() => {
                    let wanted = Wanted::new(offer.image, None, &self.session);
                    self.core.snapshot_refused(&self.session, CodeId::Image(wanted.built), &cause);
                }
                _ => self.offered(&offer, |_| Err(cause)),
            },
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

    /// Does what is asked of the store. What waits for the disk is answered by its thread.
    fn apply(&self, conversation: ConversationId, request: StoreRequest, value: Bytes) {
        let (core, session) = (&self.core, &self.session);
        let StoreRequest { op, terms, .. } = request;
        if let StoreOp::Look { key } = &op {
            image::looked_at(core, session, key);
        }
        let is_awaited = core.store.is_awaited(&op, terms);
        let Session { namespace, principal, .. } = &**session;
        let answer = core.store.apply_on(terms, namespace, principal, op, value, &|| true);
        match answer {
            Ok(answer) if is_awaited => {
                let session = Arc::clone(session);
                let is_answered = core.store.when_kept(Box::new(move |kept| {
                    // Whoever calls this flushes.
                    reply(&session, conversation, kept.map(|()| answer));
                }));
                if is_answered {
                    self.session.outbox.flush();
                }
            }
            other => self.reply(conversation, other),
        }
    }

    fn reply(&self, conversation: ConversationId, answer: Result<Answer, Cause>) {
        if let Err(cause) = &answer {
            self.core.tell_refused(&self.session, None, cause);
        }
        reply(&self.session, conversation, answer);
        self.session.outbox.flush();
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
        Offer::Nothing => Err(Cause::ImageGone { image: id.to_string() }),
        Offer::Recipe { init, module } => {
            // It is no longer than the payload, or the message would not have been taken.
            let (mut wasm, at) = (bytes, usize::try_from(*module).unwrap_or(usize::MAX));
            let args = wasm.split_off(at.min(wasm.len()));
            Source::recipe(id, init.clone(), wasm, args)
        }
        Offer::Snapshot { module, init, init_us } => Ok(Source::Snapshot {
            id,
            module: *module,
            init: init.clone(),
            wasm: bytes,
            init_us: *init_us,
        }),
    }
}
