//! Entries that are built once: claims on them, and waiting for them, for changes and for the
//! disk.
//!
//! What can wait is linked twice: for guests on fibers, which wait without a slot, and for
//! guests that have nobody beside them (a module that is tried out), which are told that they
//! would wait for ever. Invariant: a guest's claims are in its [`Host`], and go with it.

use super::store::{HIT, MISS, copy, failed, key_text, terms, unseen_by_init};
use super::{ABI, Ends, Result, charge, go_on, memory, slice, text};
use crate::claims::{self, Claimed, Claims, Turn};
use crate::sandbox::host::{Host, Reply};
use crate::store::Answer;
use dpfw_protocol::Bytes;
use dpfw_protocol::error::Cause;
use dpfw_protocol::store::{FullKey, Key, StoreOp, Terms, Version};
use std::sync::Arc;
use tokio::sync::oneshot;
use wasmtime::{Caller, Linker};

/// The entry is not there, and the guest is to build it.
const BUILD: u32 = MISS;

/// Links what builds entries, and what waits for guests that cannot.
pub(super) fn link(linker: &mut Linker<Host>) -> Result<()> {
    linker.func_wrap(
        ABI,
        "store_settle",
        |mut caller: Caller<'_, Host>, k: u32, kl: u32, v: u32, vl: u32| {
            // Whoever needs it again can build it again.
            settle(&mut caller, (k, kl), (v, vl), Terms { evictable: true, ..Terms::default() })
        },
    )?;
    linker.func_wrap(
        ABI,
        "store_settle_on",
        |mut caller: Caller<'_, Host>, k: u32, kl: u32, v: u32, vl: u32, evicts: u32, ttl: i64| {
            settle(&mut caller, (k, kl), (v, vl), terms(evicts, ttl))
        },
    )?;
    linker.func_wrap(ABI, "store_forgo", forgo)?;
    linker.func_wrap(ABI, "store_claim", |mut caller: Caller<'_, Host>, k: u32, kl: u32| {
        match claim(&mut caller, k, kl)? {
            Ok(Claimed::Wait(_)) => Ok(alone(caller.data_mut())),
            other => Ok(claimed(caller.data_mut(), other)),
        }
    })?;
    linker.func_wrap(ABI, "store_sync", |mut caller: Caller<'_, Host>, waits: u32| {
        Ok(match (sync(&mut caller)?, waits) {
            (Ok(()), 0) => kept(caller.data_mut(), Ok(())),
            (Ok(()), _) => alone(caller.data_mut()),
            (refused, _) => kept(caller.data_mut(), refused),
        })
    })?;
    linker.func_wrap(
        ABI,
        "store_wait",
        |mut caller: Caller<'_, Host>, k: u32, kl: u32, version: u64| {
            let key = key_of(&mut caller, k, kl)?;
            let host = caller.data_mut();
            Ok(match key.and_then(|key| changed(host, &key, version)) {
                Ok(Some(answer)) => seen(host, &answer),
                Ok(None) => alone(host),
                Err(cause) => failed(host, &cause),
            })
        },
    )?;
    Ok(())
}

/// Links what waits, for guests on fibers.
pub(super) fn link_waiting(linker: &mut Linker<Host>) -> Result<()> {
    linker.func_wrap_async(
        ABI,
        "store_claim",
        |mut caller: Caller<'_, Host>, (key, key_len): (u32, u32)| {
            Box::new(async move {
                let found = claim(&mut caller, key, key_len)?;
                let found = match found {
                    Ok(Claimed::Wait(waiter)) => Ok(match waiter.await {
                        Turn::Hit(answer) => Claimed::Hit(answer),
                        Turn::Build(claim) => Claimed::Build(claim),
                    }),
                    other => other,
                };
                Ok::<u32, wasmtime::Error>(claimed(caller.data_mut(), found))
            })
        },
    )?;
    linker.func_wrap_async(
        ABI,
        "store_sync",
        |mut caller: Caller<'_, Host>, (waits,): (u32,)| {
            Box::new(async move {
                let mut outcome = sync(&mut caller)?;
                if outcome.is_ok() && waits != 0 {
                    let (tell, told) = oneshot::channel();
                    // A guest that was stopped meanwhile needs nothing.
                    let tell = Box::new(move |outcome| _ = tell.send(outcome));
                    caller.data().lent.core.store.when_kept(tell);
                    outcome = told.await.unwrap_or(Err(Cause::Draining));
                }
                Ok::<u32, wasmtime::Error>(kept(caller.data_mut(), outcome))
            })
        },
    )?;
    linker.func_wrap_async(
        ABI,
        "store_wait",
        |mut caller: Caller<'_, Host>, (key, key_len, version): (u32, u32, u64)| {
            Box::new(async move {
                let key = match key_of(&mut caller, key, key_len)? {
                    Ok(key) => key,
                    Err(cause) => return Ok(failed(caller.data_mut(), &cause)),
                };
                let core = Arc::clone(&caller.data().lent.core);
                let answer = loop {
                    let (tell, told) = oneshot::channel();
                    // One that does not wait any more needs nothing.
                    let tell = Box::new(move || _ = tell.send(()));
                    // It is on the list before it looks, so that no change is missed.
                    let on_list = core.store.on_change(key.clone(), tell);
                    match changed(caller.data(), &key, version) {
                        Ok(None) => {}
                        Ok(Some(answer)) => break Ok(answer),
                        Err(cause) => break Err(cause),
                    }
                    // It is called, or this is dropped.
                    let _ = told.await;
                    drop(on_list);
                };
                let host = caller.data_mut();
                Ok::<u32, wasmtime::Error>(match answer {
                    Ok(answer) => seen(host, &answer),
                    Err(cause) => failed(host, &cause),
                })
            })
        },
    )?;
    Ok(())
}

/// Whether the guest may wait for the disk.
fn sync(caller: &mut Caller<'_, Host>) -> Result<Result<(), Cause>> {
    charge(caller)?;
    let host = caller.data();
    Ok(match host.is_init {
        true => Err(unseen_by_init()),
        false => host.lent.core.store.check_durable(),
    })
}

/// What came of waiting for the disk, for the guest.
fn kept(host: &mut Host, outcome: Result<(), Cause>) -> u32 {
    match outcome {
        Ok(()) => {
            host.reply = Reply::default();
            HIT
        }
        Err(cause) => failed(host, &cause),
    }
}

/// The key that a guest names, in its master's namespace.
fn key_of(caller: &mut Caller<'_, Host>, key: u32, len: u32) -> Result<Result<FullKey, Cause>> {
    charge(caller)?;
    let memory = memory(caller)?;
    let (data, host) = memory.data_and_store_mut(&mut *caller);
    if host.is_init {
        return Ok(Err(unseen_by_init()));
    }
    let key = key_text(slice(data, key, len)?).and_then(Key::new);
    Ok(key.map(|key| FullKey { namespace: host.session.namespace.clone(), key }))
}

/// Claims an entry. A ring ends the guest: nobody in it could go on.
fn claim(caller: &mut Caller<'_, Host>, key: u32, len: u32) -> Result<Result<Claimed, Cause>> {
    let key = key_of(caller, key, len)?;
    let host = caller.data_mut();
    let key = match key.and_then(|key| claims::check(host.claims.len()).map(|()| key)) {
        Ok(key) => key,
        Err(cause) => return Ok(Err(cause)),
    };
    let core = &host.lent.core;
    let who = host.who.get_or_insert_with(|| core.claims.who(host.lent.control()));
    match Claims::claim(core, &key, &host.session.principal, who) {
        Err(ring @ Cause::Ring { .. }) => Err(Ends(ring).into()),
        other => Ok(other),
    }
}

/// What a claim came to, for the guest.
fn claimed(host: &mut Host, outcome: Result<Claimed, Cause>) -> u32 {
    match outcome {
        Ok(Claimed::Hit(answer)) => {
            host.reply = Reply { bytes: answer.value, version: answer.version };
            HIT
        }
        Ok(Claimed::Build(claim)) => {
            host.claims.push(claim);
            host.reply = Reply::default();
            BUILD
        }
        Ok(Claimed::Wait(_)) => alone(host),
        Err(cause) => failed(host, &cause),
    }
}

fn settle(
    caller: &mut Caller<'_, Host>,
    (key, key_len): (u32, u32),
    (value, len): (u32, u32),
    terms: Terms,
) -> Result<u32> {
    let key = key_of(caller, key, key_len)?;
    let memory = memory(caller)?;
    let (data, host) = memory.data_and_store_mut(caller);
    let value = slice(data, value, len)?;
    let storable = host.lent.core.store.check_value(value.len() as u64);
    // Whatever comes of it, it is not this guest's any more.
    let claim = key.and_then(|key| take(host, &key, "settles"));
    let claim = claim.and_then(|claim| storable.map(|()| claim));
    let settled = match claim {
        Ok(claim) => {
            let value = copy(host, value)?;
            let may_go_on = || go_on(host).is_ok();
            claim.settle(&host.session.principal, value, terms, &may_go_on)
        }
        Err(cause) => Err(cause),
    };
    if matches!(settled, Err(Cause::Cancelled)) {
        // It was to stop while room was made for it.
        go_on(host)?;
    }
    Ok(match settled {
        Ok(Answer { hit: true, version, .. }) => {
            host.reply = Reply { version, ..Reply::default() };
            HIT
        }
        Ok(Answer { version, value, .. }) => {
            host.reply = Reply { bytes: value, version };
            MISS
        }
        Err(cause) => failed(host, &cause),
    })
}

fn forgo(mut caller: Caller<'_, Host>, k: u32, kl: u32, why: u32, why_len: u32) -> Result<u32> {
    let key = key_of(&mut caller, k, kl)?;
    let memory = memory(&mut caller)?;
    let (data, host) = memory.data_and_store_mut(&mut caller);
    let why = text(data, why, why_len)?;
    match key.and_then(|key| take(host, &key, "forgoes")) {
        Ok(claim) => {
            let key = claim.key().key.as_str();
            host.log(DEBUG, "dpfw", &format!("the entry `{key}` was not built: {why}"));
            drop(claim);
            host.reply = Reply::default();
            Ok(HIT)
        }
        Err(cause) => Ok(failed(host, &cause)),
    }
}

/// The level of a line that is for whoever looks for it.
const DEBUG: u8 = 4;

/// Takes the guest's claim on an entry.
fn take(host: &mut Host, key: &FullKey, what: &str) -> Result<claims::Claim, Cause> {
    let at = host.claims.iter().position(|claim| claim.key() == key);
    at.map(|at| host.claims.remove(at)).ok_or_else(|| Cause::GuestAbi {
        message: format!("it {what} the entry `{}`, which it does not build", key.key.as_str()),
    })
}

/// The entry, if it has another version.
fn changed(host: &Host, key: &FullKey, version: Version) -> Result<Option<Answer>, Cause> {
    let op = StoreOp::Get { key: key.key.clone() };
    let store = &host.lent.core.store;
    let answer = store.apply(&key.namespace, &host.session.principal, op, Bytes::new())?;
    Ok((answer.version != version).then_some(answer))
}

fn seen(host: &mut Host, answer: &Answer) -> u32 {
    host.reply = Reply { version: answer.version, ..Reply::default() };
    if answer.hit { HIT } else { MISS }
}

/// The guest is told that nobody is there who could do what it waits for.
pub(super) fn alone(host: &mut Host) -> u32 {
    let what = "nothing else runs here, so it would wait for ever".into();
    failed(host, &Cause::Busy { what })
}

#[cfg(test)]
mod tests;
