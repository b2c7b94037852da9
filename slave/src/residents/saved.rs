//! What residents have saved.
//!
//! Owns: the last state of each, which it is made of when it is begun again, what it is charged
//! for, and the record of it where the store is on disk: from there it is made again by whoever
//! spawns it after a restart of the slave. Without a disk a record is made only of one whose move
//! broke off. Invariants: whoever is told that a state is kept finds it
//! at the next restart; a state that cannot be kept is an error of the call that made it; one that
//! was stopped or has moved has no record, and one that ended otherwise, with its slave or because it
//! failed, leaves it.

use super::call::Call;
use super::resident::Resident;
use crate::core::Core;
use dpfw_protocol::Bytes;
use dpfw_protocol::error::Cause;
use dpfw_protocol::ids::{ModuleHash, ResidentId};
use dpfw_protocol::message::{ResidentReply, Timing};
use dpfw_protocol::resident::{End, ResidentInfo, Stage};
use dpfw_protocol::store::{EntryKind, FullKey, Principal};
use serde::{Deserialize, Serialize};
use std::num::NonZeroU64;

/// What a resident costs the store beside its state: its memory where a call has touched it, and
/// what the host knows of it.
pub(super) const EACH: u64 = 64 << 10;

/// States are charged in steps of this size or of their own, so that small changes are no writes
/// of the store.
const STEP: u64 = 4 << 10;

/// What a resident with such a state is charged.
pub(super) fn charge(state: Option<&Bytes>) -> u64 {
    let len = state.map_or(0, |state| state.len() as u64);
    if len == 0 { EACH } else { EACH.saturating_add(len.next_power_of_two().max(STEP)) }
}

/// A state that is kept: on disk, or, while it is moved, without one as well.
#[derive(Serialize, Deserialize)]
struct Record<'a> {
    /// The name of the class that saved it.
    class: &'a str,
    /// Its module.
    module: ModuleHash,
    #[serde(with = "serde_bytes")]
    state: &'a [u8],
    /// Of one that came with a move that is not known to be over, and may be where it was: a number
    /// that only this state has.
    #[serde(default)]
    comes: Option<NonZeroU64>,
    /// Whose it is, over moves and restarts.
    #[serde(default)]
    lineage: Option<NonZeroU64>,
}

/// Whether a state came with a move that is not known to be over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Comes {
    Yes,
    No,
}

/// A state under a key, and whose it is.
pub(super) struct Last {
    pub(super) state: Bytes,
    pub(super) lineage: Option<NonZeroU64>,
}

/// The state under a key that a resident of this class had when it failed or its slave ended.
///
/// # Errors
/// [`Cause::KeyTaken`] if it is another class's, or no state.
pub(super) fn of_last(core: &Core, key: &FullKey, class: &str) -> Result<Option<Last>, Cause> {
    let Some(record) = core.store.saved(key) else {
        return Ok(None);
    };
    match rmp_serde::from_slice::<Record<'_>>(&record) {
        Ok(Record { class: its, state, lineage, .. }) if its == class => {
            Ok(Some(Last { state: record.slice_ref(state), lineage }))
        }
        _ => Err(Cause::KeyTaken { key: key.key.to_string(), kind: EntryKind::Resident }),
    }
}

/// What is known of a resident that is not there, by its record.
pub(super) fn info(key: &FullKey, record: &[u8], owner: &Principal) -> Option<ResidentInfo> {
    let saved: Record<'_> = rmp_serde::from_slice(record).ok()?;
    Some(ResidentInfo {
        resident: ResidentId(0),
        key: key.key.clone(),
        class: saved.class.into(),
        module: saved.module,
        owner: owner.clone(),
        stage: Stage::Asleep,
        served: 0,
        waiting: 0,
        mailbox: 0,
        memory: saved.state.len() as u64,
        age_ms: 0,
        restarts: 0,
        saves: true,
        lineage: saved.lineage,
    })
}

/// The number of a state that came with a move that broke off: it gives way to one that comes
/// again.
pub(super) fn comes(record: &[u8]) -> Option<ResidentId> {
    let saved = rmp_serde::from_slice::<Record<'_>>(record).ok()?;
    saved.comes.map(|number| ResidentId(number.get()))
}

/// Forgets what a move that broke off left under a key, if it is this.
pub(super) fn give_way(core: &Core, key: &FullKey, left: ResidentId) {
    // Who spawns or moves there has its row or is there until its state is another one.
    let rows = core.residents.rows();
    if rows.contains_key(key) || core.residents.under(key).is_some() {
        return;
    }
    if core.store.saved(key).and_then(|record| comes(&record)) == Some(left) {
        core.store.forget_saved(key);
    }
    drop(rows);
}

/// What whoever looks for a resident is told that is not there, and whose state is. One that may
/// be where it came from is described as on its way.
pub(super) fn asleep(core: &Core, key: &FullKey) -> Option<ResidentReply> {
    let (record, owner) = core.store.saved_by(key)?;
    let info = info(key, &record, &owner);
    let residents = info.map(|info| match comes(&record) {
        Some(left) => ResidentInfo { resident: left, stage: Stage::Moving, ..info },
        None => info,
    });
    let why = "it failed, its move broke off, or its slave was started again; `get_or_spawn` begins \
               it with what it saved last, and removing its key from the store forgets that";
    let cause = Cause::ResidentEnded { key: key.key.to_string(), why: why.into() };
    let residents = residents.into_iter().collect();
    Some(ResidentReply { failure: Some(cause.into()), residents, ..Default::default() })
}

impl Resident {
    /// Keeps a state that was taken. Called by whoever has the resident in hand.
    ///
    /// # Errors
    /// [`Cause::Limit`] if the store has no room for it, [`Cause::Storage`] if its disk takes
    /// nothing.
    pub(super) fn keep(&self, core: &Core, state: Bytes) -> Result<(), Cause> {
        if core.store.is_on_disk() {
            self.record(core, &state, Comes::No)?;
            self.lock().state = Some(state);
            return Ok(());
        }
        let (old, version) = {
            let inner = self.lock();
            (charge(inner.state.as_ref()), inner.version)
        };
        let new = charge(Some(&state));
        // Nothing is locked: room may have to be made.
        let charged = match old != new && version != 0 {
            true => core.store.charge_resident(&self.key, &self.owner, new, version)?,
            false => None,
        };
        let mut inner = self.lock();
        // If the entry is gone the resident is about to end.
        inner.version = charged.unwrap_or(version);
        inner.state = Some(state);
        Ok(())
    }

    /// Has a state recorded, and written to disk within a second if there is one.
    pub(super) fn record(&self, core: &Core, state: &[u8], comes: Comes) -> Result<(), Cause> {
        let (class, module, lineage) = (&*self.class, self.module, self.terms.lineage);
        let comes = (comes == Comes::Yes).then(new_number).transpose()?;
        let record = Record { class, module, state, comes, lineage };
        let record = rmp_serde::to_vec(&record)
            .map_err(|error| Cause::Internal { message: error.to_string() })?;
        core.store.save(&self.key, &self.owner, record.into())
    }

    /// What becomes of its record when it ends.
    pub(super) fn forget_record(&self, core: &Core, end: &End) {
        // What failed, or ends with its slave, leaves it for whoever begins it again.
        if matches!(end, End::Stopped | End::Moved(_)) {
            core.store.forget_saved(&self.key);
        }
    }

    /// It ends in the middle of a move, and may have ended where it was: its state stays.
    pub(super) fn leave_record(&self, core: &Core, state: Option<&Bytes>) {
        // On disk there is one.
        if let Some(state) = state.filter(|_| !core.store.is_on_disk()) {
            self.try_to_record(core, state, Comes::Yes);
        }
    }

    /// It came with this state, and is nowhere else any more.
    pub(super) fn has_come(&self, core: &Core, state: Option<&Bytes>) {
        if let Some(state) = state.filter(|_| core.store.is_on_disk()) {
            self.try_to_record(core, state, Comes::No);
        }
    }

    fn try_to_record(&self, core: &Core, state: &[u8], comes: Comes) {
        if let Err(cause) = self.record(core, state, comes) {
            tracing::warn!(resident = %self.key.key, %cause, "a state was not recorded");
        }
    }

    /// Whether its callers are answered only when what they changed is on disk.
    pub(super) fn is_durable(&self) -> bool {
        self.terms.durable && self.saves()
    }
}

/// A number that nothing else has.
pub(super) fn new_number() -> Result<NonZeroU64, Cause> {
    let number = getrandom::u64();
    let number = number.map_err(|error| Cause::Internal { message: error.to_string() })?;
    Ok(NonZeroU64::new(number).unwrap_or(NonZeroU64::MAX))
}

/// Answers a call when all that was changed before is on disk.
pub(super) fn answer_when_kept(
    core: &Core,
    call: Call,
    timing: Timing,
    outcome: Result<Vec<u8>, Cause>,
) {
    core.store.when_kept(Box::new(move |kept| {
        match kept.and(outcome) {
            Ok(result) => call.done(timing, &result),
            Err(cause) => call.failed(timing, cause),
        }
        call.session().outbox.flush();
    }));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_from_before_there_were_moves_is_read() {
        #[derive(Serialize)]
        struct Before<'a>(&'a str, ModuleHash, #[serde(with = "serde_bytes")] &'a [u8]);

        let module = ModuleHash::of(b"module");
        let before = rmp_serde::to_vec(&Before("counter", module, &[7])).expect("it encodes");
        let record = Record {
            class: "counter",
            module,
            state: &[7],
            comes: NonZeroU64::new(3),
            lineage: NonZeroU64::new(5),
        };
        let now = rmp_serde::to_vec(&record).expect("it encodes");
        for (record, is) in
            [(before, (None, None)), (now, (NonZeroU64::new(3), NonZeroU64::new(5)))]
        {
            let read: Record<'_> = rmp_serde::from_slice(&record).expect("it decodes");
            assert_eq!((read.class, read.state), ("counter", &[7][..]));
            assert_eq!((read.comes, read.lineage), is);
        }
    }
}
