//! Results that stay here, and entries that attempts need.
//!
//! Owns: looking up what an attempt needs, putting what it results in into the store, saying
//! which keys are here. Does not: hold entries; the store does. Invariants: a guest whose
//! entries are not there does not run; a result that stays is copied once, from the guest's
//! memory into the store, and not before the store may have room for it.

use crate::core::Core;
use crate::job::Job;
use crate::module::facts::Kind;
use crate::session::Session;
use dpfw_protocol::Bytes;
use dpfw_protocol::error::{Cause, Limit};
use dpfw_protocol::message::{Done, Extras, KeptAs, TaskFlags, Timing};
use dpfw_protocol::store::{Key, StoreOp};

/// The keys that an attempt names.
#[derive(Debug)]
pub(crate) struct Keys {
    /// Under which its result stays.
    pub(crate) keep: Option<Key>,
    /// Of entries that have to be there.
    pub(crate) needs: Vec<Key>,
}

impl Keys {
    /// `None` if there are none, which most attempts have.
    pub(crate) fn of(keep: Option<Key>, needs: Vec<Key>) -> Option<Box<Self>> {
        (keep.is_some() || !needs.is_empty()).then(|| Box::new(Self { keep, needs }))
    }
}

/// About how many bytes it takes, what an attempt says beside its arguments.
pub(crate) fn bytes(extras: &Extras) -> u64 {
    let Extras { keep, needs, spawn, limits: _ } = extras;
    let keys = keep.iter().chain(needs).chain(spawn.as_deref().map(|spawn| &spawn.key));
    keys.map(|key| (size_of::<Key>() + key.as_str().len()) as u64).sum()
}

/// Why an attempt is not run, for the keys that it names.
pub(crate) fn refusal(core: &Core, job: &Job) -> Option<Cause> {
    let keys = job.keys.as_deref()?;
    let target = job.bound.target().and_then(|target| target.as_ref().ok());
    let is_program = target.is_some_and(|it| it.module.facts().kind == Kind::Program);
    if keys.keep.is_some() && (is_program || job.flags.has(TaskFlags::BATCH)) {
        let what = if is_program { "the output of a program" } else { "the results of a batch" };
        return Some(Cause::Rejected { reason: format!("{what} cannot stay at the slave") });
    }
    let missing = keys.needs.iter().find(|key| !has(core, &job.session, key))?;
    Some(Cause::KeyGone { key: missing.to_string() })
}

/// Which of these keys are here.
pub(crate) fn locate(core: &Core, session: &Session, keys: &[Key]) -> Vec<bool> {
    keys.iter().map(|key| has(core, session, key)).collect()
}

/// Whether there is an entry of any kind. It counts as used.
fn has(core: &Core, session: &Session, key: &Key) -> bool {
    let op = StoreOp::Get { key: key.clone() };
    let found = core.store.apply(&session.namespace, &session.principal, op, Bytes::new());
    // What cannot be read as a value is there.
    found.map_or(true, |answer| answer.hit)
}

/// Whether a result of that length may stay here: asked before it is copied.
///
/// # Errors
/// [`Cause::Limit`] if it is longer than a result may be, or than the store.
pub(crate) fn check(core: &Core, bytes: u64, allowed: u64) -> Result<(), Cause> {
    match bytes <= allowed {
        true => core.store.check_value(bytes),
        false => Err(Cause::Limit { limit: Limit::Result, allowed }),
    }
}

/// Puts a result into the store and queues the end of its attempt.
///
/// # Errors
/// [`Cause::Limit`] if the store has no room for it.
pub(crate) fn keep(
    core: &Core,
    job: &Job,
    key: &Key,
    timing: Timing,
    value: Bytes,
) -> Result<(), Cause> {
    let Session { namespace, principal, outbox, .. } = &*job.session;
    if !job.session.is_open() {
        // Its master is gone, and has it done elsewhere.
        return Err(Cause::Cancelled);
    }
    let (op, bytes) = (StoreOp::Put { key: key.clone() }, value.len() as u64);
    let version = core.store.apply(namespace, principal, op, value)?.version;
    let done = Done { timing, payload: 0, kept: Some(KeptAs { version, bytes }) };
    let told = outbox.message(job.attempt.conversation(), &done);
    told.map_err(|error| Cause::Internal { message: error.to_string() })
}
