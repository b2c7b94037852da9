//! What a resident's guest does, as a future: it waits where its host calls wait, and is ready
//! at once where none does.
//!
//! Owns: the order of the guest's functions, and what is made of their results. Does not: know
//! who waits for it. Invariant: a guest whose memory is in doubt is called no more.

use super::call::Call;
use super::resident::Resident;
use crate::core::Core;
use crate::job::Job;
use crate::sandbox::host::{Allowance, Holder, Host, Lent};
use crate::sandbox::run::lasting::Lasting;
use crate::sandbox::run::{Ended, Returned};
use crate::session::Session;
use crate::slot::{micros, within};
use dpfw_protocol::Bytes;
use dpfw_protocol::error::Cause;
use dpfw_protocol::ids::ConversationId;
use dpfw_protocol::message::Timing;
use dpfw_protocol::resident::Saving;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Instant;

/// A guest that is alive.
pub(super) struct Body {
    pub(super) lasting: Lasting,
    /// What the last call gave; its memory is used again.
    out: Vec<u8>,
}

/// What is being done.
pub(super) enum Doing {
    /// It is made; for this attempt, if it is the first time.
    Begin(Option<Box<Job>>),
    Call(Call),
    Save,
    HandOver,
}

/// What was done.
pub(super) struct Ran {
    /// What is left of the guest; nothing if its memory is in doubt.
    pub(super) body: Option<Box<Body>>,
    /// The result of a call, which is in `out`.
    pub(super) outcome: Result<(), Cause>,
    pub(super) out: Vec<u8>,
    /// What was saved.
    pub(super) state: Option<Bytes>,
    pub(super) timing: Timing,
    /// Lines of its log that were not sent.
    pub(super) dropped: u64,
}

/// The same, under way on a stack of its own.
pub(super) type Running = Pin<Box<dyn Future<Output = Ran> + Send>>;

/// Bytes of a result for which memory is kept until the next one.
const OUT: usize = 16 << 10;

/// What the guest is to do.
pub(super) struct Work {
    pub(super) what: What,
    /// On whose behalf.
    pub(super) session: Arc<Session>,
    pub(super) conversation: ConversationId,
    pub(super) deadline: Option<Instant>,
}

pub(super) enum What {
    /// The constructor, or what makes it of this state.
    Make(Bytes, Option<Bytes>),
    /// A method, whose result may have so many bytes.
    Method {
        function: usize,
        args: Bytes,
        most: u64,
        is_cast: bool,
    },
    Save,
}

impl Ran {
    /// It could not go on.
    pub(super) fn broken(cause: Cause) -> Self {
        Self {
            body: None,
            outcome: Err(cause),
            out: Vec::new(),
            state: None,
            timing: Timing::default(),
            dropped: 0,
        }
    }

    /// Whether the guest's memory is in doubt.
    pub(super) fn is_in_doubt(&self) -> bool {
        self.body.is_none()
    }
}

/// Has the guest do it.
pub(super) async fn perform(
    core: &Arc<Core>,
    resident: &Resident,
    body: Option<Box<Body>>,
    work: &Work,
) -> Ran {
    let doing = async {
        match (&work.what, body) {
            (What::Make(args, state), _) => make(core, resident, args, state.as_ref(), work).await,
            (_, None) => Ran::broken(Cause::Internal { message: "the resident is gone".into() }),
            (What::Method { function, args, most, is_cast }, Some(body)) => {
                let most = if *is_cast { u64::MAX } else { *most };
                method(resident, body, *function, args, most, work).await
            }
            (What::Save, Some(body)) => save(resident, body, work).await,
        }
    };
    match work.deadline {
        // What does not wait is interrupted by its epoch.
        Some(deadline) if resident.waits => {
            match tokio::time::timeout_at(deadline.into(), doing).await {
                Ok(ran) => ran,
                Err(_) => Ran::broken(Cause::DeadlineExceeded),
            }
        }
        _ => doing.await,
    }
}

async fn make(
    core: &Arc<Core>,
    resident: &Resident,
    args: &Bytes,
    state: Option<&Bytes>,
    work: &Work,
) -> Ran {
    let started = Instant::now();
    let lent =
        Lent { core: Arc::clone(core), holder: Holder::Fiber(Arc::clone(&resident.control)) };
    let left = Allowance::of(&resident.granted);
    let host = Host::new(&Arc::new(lent), &work.session, work.conversation.attempt(), left);
    let host = host.granted(resident.grant.as_ref(), &resident.prepared.engine);
    let made = Lasting::new(&resident.prepared, host, &resident.control, resident.waits);
    let lasting = match made.await {
        Ok(lasting) => lasting,
        Err(cause) => return Ran::broken(cause),
    };
    let mut body = Box::new(Body { lasting, out: Vec::new() });
    let init_us = micros(started.elapsed());
    let ended = match (state, resident.roles.load) {
        (Some(state), Some(load)) => {
            // The state is the constructor's one argument.
            let args = [&[0x91][..], state].concat();
            body.lasting.call(load, &args).await
        }
        _ => body.lasting.call(resident.roles.constructor, args).await,
    };
    let outcome = taken(&mut body, ended, |_| Ok(()));
    let mut ran = finished(body, outcome, None);
    // One whose constructor gave an error is none.
    if ran.outcome.is_err() {
        ran.body = None;
    }
    ran.timing.init_us = init_us;
    ran
}

async fn method(
    resident: &Resident,
    mut body: Box<Body>,
    function: usize,
    args: &[u8],
    most: u64,
    work: &Work,
) -> Ran {
    body.lasting.begin(&work.session, work.conversation, &resident.granted);
    let ended = body.lasting.call(function, args).await;
    let outcome = taken(&mut body, ended, |len| within(len, most));
    let is_each = resident.terms.saving == Saving::EachCall || resident.is_durable();
    let saves = is_each && !is_unrun(&outcome);
    match resident.roles.save.filter(|_| saves && !is_doubtful(&outcome)) {
        None => finished(body, outcome, None),
        Some(save) => {
            let out = std::mem::take(&mut body.out);
            let (state, saved) = state_of(resident, &mut body, save).await;
            body.out = out;
            // Whoever called is told of a success only when it is kept.
            finished(body, first_error(outcome, saved), state)
        }
    }
}

async fn save(resident: &Resident, mut body: Box<Body>, work: &Work) -> Ran {
    body.lasting.begin(&work.session, work.conversation, &resident.granted);
    let Some(save) = resident.roles.save else {
        return finished(body, Outcome::Refused(no_save(&resident.class)), None);
    };
    let (state, outcome) = state_of(resident, &mut body, save).await;
    finished(body, outcome, state)
}

/// A resident of this class cannot be saved or moved.
pub(super) fn no_save(class: &str) -> Cause {
    Cause::Rejected { reason: format!("`{class}` offers no `save` and `load`") }
}

async fn state_of(resident: &Resident, body: &mut Body, save: usize) -> (Option<Bytes>, Outcome) {
    let ended = body.lasting.call(save, NO_ARGS).await;
    let most = resident.granted.result;
    let outcome = taken(body, ended, |len| within(len, most));
    let state = matches!(outcome, Outcome::Well).then(|| std::mem::take(&mut body.out).into());
    (state, outcome)
}

/// No arguments, encoded.
const NO_ARGS: &[u8] = &[0x90];

/// How a function of the guest ended.
enum Outcome {
    Well,
    /// With an error, and its memory in order.
    Refused(Cause),
    /// Its memory is in doubt.
    Doubt(Cause),
}

fn is_doubtful(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::Doubt(_))
}

/// Whether nothing of the guest's own was entered.
fn is_unrun(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::Refused(Cause::BadArguments { .. }))
}

fn first_error(first: Outcome, second: Outcome) -> Outcome {
    match (first, second) {
        (Outcome::Well, second) => second,
        // What is in doubt is, whatever else went wrong.
        (Outcome::Refused(_), doubt @ Outcome::Doubt(_)) => doubt,
        (first, _) => first,
    }
}

/// Copies what was returned, if it may be so long.
fn taken(body: &mut Body, ended: Ended, may: impl FnOnce(u64) -> Result<(), Cause>) -> Outcome {
    let returned: Returned = match ended {
        Ended::Returned(returned) => returned,
        // There was no stack for it: the guest was not entered.
        Ended::Broken(error) if error.is::<wasmtime::PoolConcurrencyLimitError>() => {
            let what = "as many calls wait at the slave as may".into();
            return Outcome::Refused(Cause::Busy { what });
        }
        Ended::Broken(error) => return Outcome::Doubt(body.lasting.cause(&error)),
        Ended::Refused(cause) => return Outcome::Refused(cause),
    };
    body.out.clear();
    match body.lasting.result(&returned) {
        Ok(given) => match may(given.len()) {
            Ok(()) => {
                given.append_to(&mut body.out);
                Outcome::Well
            }
            Err(cause) => Outcome::Refused(cause),
        },
        // It does not keep to the rules, so nothing it says of its memory can be relied on.
        Err(cause @ Cause::GuestAbi { .. }) => Outcome::Doubt(cause),
        Err(cause) => Outcome::Refused(cause),
    }
}

fn finished(mut body: Box<Body>, outcome: Outcome, state: Option<Bytes>) -> Ran {
    let dropped = body.lasting.end();
    let timing = Timing { memory: body.lasting.memory_bytes(), ..Timing::default() };
    let out = std::mem::take(&mut body.out);
    let (body, outcome) = match outcome {
        Outcome::Well => (Some(body), Ok(())),
        Outcome::Refused(cause) => (Some(body), Err(cause)),
        Outcome::Doubt(cause) => (None, Err(cause)),
    };
    Ran { body, outcome, out, state, timing, dropped }
}

impl Body {
    /// Takes the memory of a result back, to be used again.
    pub(super) fn keep_out(&mut self, out: Vec<u8>) {
        if out.capacity() <= OUT {
            self.out = out;
        }
    }
}
