//! What masters ask of residents beside calling them.
//!
//! Owns: the answers, and who is answered later. Invariants: every request is answered once,
//! unless its session is gone; of a resident of another namespace nobody learns that it is there.

use super::call::key;
use super::life::Unmoved;
use super::resident::Resident;
use super::saved::{asleep, give_way};
use crate::core::Core;
use crate::session::{Held, Session, too_many};
use dpfw_protocol::Bytes;
use dpfw_protocol::error::Cause;
use dpfw_protocol::ids::{ConversationId, PeerId, ResidentId};
use dpfw_protocol::limits::MAX_LISTED;
use dpfw_protocol::message::{ResidentOp, ResidentReply, SpawnAs};
use dpfw_protocol::payload::Payload;
use dpfw_protocol::resident::{End, ResidentInfo};
use dpfw_protocol::store::{FullKey, Key};
use std::sync::Arc;

/// A request that is answered later. Counted among what its session holds.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) held: Held,
    pub(super) conversation: ConversationId,
}

impl Asked {
    pub(super) fn session(&self) -> &Arc<Session> {
        self.held.session()
    }

    /// Answers it.
    pub(super) fn reply(&self, reply: ResidentReply, payload: Payload) {
        let outbox = &self.session().outbox;
        let reply = ResidentReply { payload: payload.len() as u64, ..reply };
        if let Err(error) = outbox.message_with(self.conversation, &reply, payload) {
            tracing::error!(%error, "an answer about residents cannot be told");
        }
        self.session().look_for_clog();
        outbox.flush();
    }

    pub(super) fn answer(&self, answer: Result<ResidentReply, Cause>) {
        let failed =
            |cause: Cause| ResidentReply { failure: Some(cause.into()), ..Default::default() };
        self.reply(answer.unwrap_or_else(failed), Payload::default());
    }
}

/// How one ended, as those are told who wait for it.
pub(super) fn ended(end: End, failure: Option<&Cause>) -> ResidentReply {
    let failure = failure.cloned().map(Into::into);
    ResidentReply { failure, end: Some(end), ..Default::default() }
}

/// A session asks something; it is answered now, or later.
pub(crate) fn ask(
    core: &Arc<Core>,
    session: &Arc<Session>,
    conversation: ConversationId,
    op: ResidentOp,
) {
    let most = core.limits.attempts;
    let Some(held) = session.hold(&core.held).filter(|held| !held.is_beyond(most)) else {
        let cause = too_many(most);
        core.tell_refused(session, None, &cause);
        let reply = ResidentReply { failure: Some(cause.into()), ..Default::default() };
        // It always fits a frame.
        let _ = session.outbox.message(conversation, &reply);
        return session.outbox.flush();
    };
    let asked = Asked { held, conversation };
    match op {
        ResidentOp::Find { key } => {
            let key = full(session, key);
            let found = match (core.residents.under(&key), core.residents.moved_from(&key)) {
                (Some(resident), _) => {
                    Ok(ResidentReply { residents: vec![resident.info()], ..Default::default() })
                }
                (None, Some(moved)) => Err(moved),
                (None, None) => Ok(asleep(core, &key).unwrap_or_default()),
            };
            asked.answer(found);
        }
        ResidentOp::List { prefix, after, limit } => {
            asked.answer(Ok(list(core, session, &prefix, after, limit)));
        }
        ResidentOp::GiveWay { key, left } => {
            give_way(core, &full(session, key), left);
            asked.answer(Ok(ResidentReply::default()));
        }
        ResidentOp::Stop { resident } => with(core, asked, resident, |resident, asked| {
            let inner = &mut *resident.lock();
            inner.awaiting.push(asked);
            Some(End::Stopped)
        }),
        ResidentOp::Await { resident } => with(core, asked, resident, |resident, asked| {
            resident.lock().awaiting.push(asked);
            None
        }),
        ResidentOp::HandOver { resident } => with(core, asked, resident, |resident, asked| {
            begin_hand_over(core, resident, asked);
            None
        }),
        ResidentOp::TakeBack { resident } => with(core, asked, resident, |resident, asked| {
            let by = key(asked.session());
            let mut inner = resident.lock();
            if inner.life.comes_with(by) {
                // Who moves it does not know whether it has ended where it was.
                inner.is_left = true;
                inner.awaiting.push(asked);
                return Some(End::Stopped);
            }
            let done = inner.life.take_back(by);
            drop(inner);
            asked.answer(said(resident, done));
            resident.queue(core, resident.lock());
            None
        }),
        ResidentOp::LetGo { resident } => with(core, asked, resident, |resident, asked| {
            let by = key(asked.session());
            let state = {
                let inner = resident.lock();
                inner.state.clone().filter(|_| inner.life.comes_with(by))
            };
            // Nothing is locked: room may have to be made. Nothing is called before it is let go.
            resident.has_come(core, state.as_ref());
            let done = resident.lock().life.let_go(by);
            asked.answer(said(resident, done));
            resident.queue(core, resident.lock());
            None
        }),
        ResidentOp::Moved { resident, to } => {
            with(core, asked, resident, |resident, asked| moved(resident, asked, to))
        }
    }
}

/// Does something with a resident, and ends it if that is what follows.
fn with(
    core: &Arc<Core>,
    asked: Asked,
    id: ResidentId,
    with: impl FnOnce(&Arc<Resident>, Asked) -> Option<End>,
) {
    let namespace = &asked.session().namespace;
    match core.residents.find(id, namespace) {
        Ok(resident) => {
            if let Some(end) = with(&resident, asked) {
                resident.end(core, end);
            }
            // One that ended meanwhile has told those who waited before.
            resident.tell_end(core);
        }
        // Whoever waits for one that has ended is told how.
        Err(not_there) => match not_there.gone {
            Some(gone) => gone.tell(core, vec![asked]),
            None => asked.answer(Err(not_there.cause)),
        },
    }
}

fn full(session: &Session, key: Key) -> FullKey {
    FullKey { namespace: session.namespace.clone(), key }
}

/// The answer to somebody who says what becomes of a resident that it may not hold.
fn said(resident: &Resident, is_holder: bool) -> Result<ResidentReply, Cause> {
    match is_holder {
        true => Ok(ResidentReply { residents: vec![resident.info()], ..Default::default() }),
        false => Err(Cause::Rejected {
            reason: format!("the resident `{}` is not held by this master", resident.key.key),
        }),
    }
}

fn moved(resident: &Arc<Resident>, asked: Asked, to: PeerId) -> Option<End> {
    let is_its = resident.lock().life.is_held_by(key(asked.session()));
    if !is_its {
        asked.answer(said(resident, false));
        return None;
    }
    resident.lock().awaiting.push(asked);
    Some(End::Moved(to))
}

fn begin_hand_over(core: &Arc<Core>, resident: &Arc<Resident>, asked: Asked) {
    let mut inner = resident.lock();
    if !resident.saves() {
        drop(inner);
        return asked.answer(Err(super::work::no_save(&resident.class)));
    }
    match inner.life.hand_over(key(asked.session())) {
        Ok(()) => {
            inner.mover = Some(asked);
            resident.queue(core, inner);
        }
        Err(unmoved) => {
            drop(inner);
            let key = resident.key.key.to_string();
            asked.answer(Err(match unmoved {
                Unmoved::Ended => Cause::ResidentEnded { key, why: "before it was moved".into() },
                Unmoved::Now(why) => cannot_move(resident, why),
            }));
        }
    }
}

/// Why a resident cannot be moved now, and may be soon.
pub(super) fn cannot_move(resident: &Resident, why: &str) -> Cause {
    let key = &resident.key.key;
    Cause::Busy { what: format!("the resident `{key}` cannot be moved now: {why}") }
}

/// The state of one that is to be moved was taken, or was not. Gives who was told.
pub(super) fn hand_over(
    resident: &Arc<Resident>,
    outcome: Result<(), Cause>,
    state: Option<Bytes>,
) -> Option<Arc<Session>> {
    let mut inner = resident.lock();
    let mover = inner.mover.take();
    let (reply, payload) = match (outcome, state) {
        (Ok(()), Some(state)) => {
            inner.life.handed_over();
            let spawn =
                SpawnAs { state: Some(state.len() as u64), held: true, ..resident.terms.clone() };
            let constructor = resident.loaded.facts().residents.get(resident.roles.constructor);
            let reply = ResidentReply {
                spawn: Some(Box::new(spawn)),
                constructor: constructor.cloned(),
                ..Default::default()
            };
            (reply, [resident.args.clone(), state].into_iter().collect())
        }
        (outcome, _) => {
            if let Some(mover) = &mover {
                inner.life.take_back(key(mover.session()));
            }
            let cause = outcome.err().unwrap_or(Cause::Cancelled);
            let reply = ResidentReply { failure: Some(cause.into()), ..Default::default() };
            (reply, Payload::default())
        }
    };
    drop(inner);
    let mover = mover?;
    mover.reply(reply, payload);
    Some(Arc::clone(mover.session()))
}

fn list(
    core: &Core,
    session: &Session,
    prefix: &str,
    after: Option<Key>,
    limit: u32,
) -> ResidentReply {
    let most = usize::try_from(limit).unwrap_or(MAX_LISTED).clamp(1, MAX_LISTED);
    let (mut room, mut residents, mut more) = (LISTED_BYTES, Vec::new(), false);
    let (namespace, after) = (&session.namespace, after.as_ref());
    for info in core.residents.listed(&core.store, namespace, prefix, after, most + 1) {
        let bytes = size(&info);
        if residents.len() == most || bytes > room {
            more = true;
            break;
        }
        room -= bytes;
        residents.push(info);
    }
    ResidentReply { residents, more, ..Default::default() }
}

/// Bytes of a list that is sent in one message.
const LISTED_BYTES: usize = dpfw_protocol::limits::MAX_MESSAGE - 4096;

/// Bytes of one of its items, at most: its texts, and numbers of known widths.
fn size(info: &ResidentInfo) -> usize {
    info.key.as_str().len() + info.class.len() + info.owner.0.as_str().len() + 160
}
