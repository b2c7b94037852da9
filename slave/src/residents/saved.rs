//! What residents have saved.
//!
//! Owns: the last state of each, which it is made of when it is begun again, and what it is
//! charged for. Invariant: whoever is told that a state is kept finds it at the next restart; a
//! state that cannot be kept is an error of the call that made it.

use super::resident::Resident;
use crate::core::Core;
use dpfw_protocol::Bytes;
use dpfw_protocol::error::Cause;

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

impl Resident {
    /// Keeps a state that was taken. Called by whoever has the resident in hand.
    ///
    /// # Errors
    /// [`Cause::Limit`] if the store has no room for it.
    pub(super) fn keep(&self, core: &Core, state: Bytes) -> Result<(), Cause> {
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
}
