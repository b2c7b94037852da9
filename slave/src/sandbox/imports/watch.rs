//! Watching the keyed store: every change below a prefix, in order.
//!
//! Linked twice, as all that waits is (see `wait`). Invariant: what is told at one go is bounded,
//! and what was not taken waits in the store, which bounds that.

use super::store::{HIT, MISS, done, failed, key_text, unseen_by_init};
use super::wait::alone;
use super::{ABI, PIECE, Result, charge, memory, slice};
use crate::sandbox::host::{Host, Reply};
use crate::sandbox::watches::Watched;
use crate::watches::Room;
use dpfw_protocol::changes::Change;
use dpfw_protocol::error::Cause;
use wasmtime::{Caller, Linker};

/// Links it, for guests that have nobody beside them.
pub(super) fn link(linker: &mut Linker<Host>) -> Result<()> {
    linker.func_wrap(ABI, "store_watch", begin)?;
    linker.func_wrap(ABI, "store_watch_end", |mut caller: Caller<'_, Host>, number: u32| {
        charge(&mut caller)?;
        let host = caller.data_mut();
        let ended = host.watches.end(number);
        Ok(done(host, ended.map(|()| 0)))
    })?;
    linker.func_wrap(
        ABI,
        "store_watch_next",
        |mut caller: Caller<'_, Host>, number: u32, waits: u32| {
            charge(&mut caller)?;
            let watched = caller.data().watches.find(number);
            let host = caller.data_mut();
            Ok(match watched.map(|watched| take(host, &watched)) {
                Ok(None) if waits != 0 => alone(host),
                told => tell(host, told),
            })
        },
    )?;
    Ok(())
}

/// Links what waits, for guests on fibers.
pub(super) fn link_waiting(linker: &mut Linker<Host>) -> Result<()> {
    linker.func_wrap_async(
        ABI,
        "store_watch_next",
        |mut caller: Caller<'_, Host>, (number, waits): (u32, u32)| {
            Box::new(async move {
                charge(&mut caller)?;
                let told = match caller.data().watches.find(number) {
                    Ok(watched) => Ok(loop {
                        let told = take(caller.data(), &watched);
                        if told.is_some() || waits == 0 {
                            break told;
                        }
                        // What came between is remembered, so it is not slept over.
                        watched.wake.notified().await;
                    }),
                    Err(cause) => Err(cause),
                };
                Ok::<u32, wasmtime::Error>(tell(caller.data_mut(), told))
            })
        },
    )?;
    Ok(())
}

fn begin(mut caller: Caller<'_, Host>, prefix: u32, len: u32, present: u32) -> Result<u32> {
    charge(&mut caller)?;
    let memory = memory(&mut caller)?;
    let (data, host) = memory.data_and_store_mut(&mut caller);
    let prefix = key_text(slice(data, prefix, len)?);
    let begun = match host.is_init {
        true => Err(unseen_by_init()),
        false => prefix.and_then(|prefix| {
            host.watches.begin(&host.lent.core, &host.session, prefix, present != 0)
        }),
    };
    Ok(done(host, begun.map(u64::from)))
}

/// Changes, and how many were lost before them.
type Told = (u64, Vec<Change>);

/// What a watch has to tell, if there is anything now.
fn take(host: &Host, watched: &Watched) -> Option<Told> {
    let mut room = Room::new(PIECE);
    let store = &host.lent.core.store;
    let (missed, changes) = store.watched(&watched.watching, |change| room.takes(change));
    (missed > 0 || !changes.is_empty()).then_some((missed, changes))
}

/// Leaves it for the guest to take.
fn tell(host: &mut Host, told: Result<Option<Told>, Cause>) -> u32 {
    match told {
        Ok(Some((missed, changes))) => {
            // A list of plain values always encodes.
            let bytes = rmp_serde::to_vec(&changes).unwrap_or_default().into();
            host.reply = Reply { bytes, version: missed };
            HIT
        }
        Ok(None) => {
            host.reply = Reply::default();
            MISS
        }
        Err(cause) => failed(host, &cause),
    }
}

#[cfg(test)]
mod tests;
