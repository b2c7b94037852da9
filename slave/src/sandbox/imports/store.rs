//! What a guest may ask of the keyed store.
//!
//! Owns: the calls and the answers that wait to be taken. Does not: know what an operation
//! means. Invariant: what a guest passes is held against its limits before it is copied.

use super::{ABI, PIECE, Result, charge, go_on, memory, slice, slice_mut};
use crate::sandbox::host::{Host, Reply};
use dpfw_protocol::Bytes;
use dpfw_protocol::error::{Cause, Limit};
use dpfw_protocol::limits::MAX_KEY;
use dpfw_protocol::store::{Key, StoreOp};
use wasmtime::{Caller, Linker};

/// The answers of the store's functions.
pub(super) const MISS: u32 = 0;
pub(super) const HIT: u32 = 1;
const FAILED: u32 = 2;

/// Links the functions of the keyed store.
pub(super) fn link(linker: &mut Linker<Host>) -> Result<()> {
    linker.func_wrap(ABI, "store_get", |mut caller: Caller<'_, Host>, k: u32, kl: u32| {
        ask(&mut caller, (k, kl), None, |key| StoreOp::Get { key })
    })?;
    linker.func_wrap(ABI, "store_remove", |mut caller: Caller<'_, Host>, k: u32, kl: u32| {
        ask(&mut caller, (k, kl), None, |key| StoreOp::Remove { key })
    })?;
    linker.func_wrap(
        ABI,
        "store_put",
        |mut caller: Caller<'_, Host>, k: u32, kl: u32, v: u32, vl: u32| {
            ask(&mut caller, (k, kl), Some((v, vl)), |key| StoreOp::Put { key })
        },
    )?;
    linker.func_wrap(
        ABI,
        "store_put_if_absent",
        |mut caller: Caller<'_, Host>, k: u32, kl: u32, v: u32, vl: u32| {
            ask(&mut caller, (k, kl), Some((v, vl)), |key| StoreOp::PutIfAbsent { key })
        },
    )?;
    linker.func_wrap(
        ABI,
        "store_compare_and_swap",
        |mut caller: Caller<'_, Host>, k: u32, kl: u32, v: u32, vl: u32, expected: u64| {
            let op = |key| StoreOp::CompareAndSwap { key, expected };
            ask(&mut caller, (k, kl), Some((v, vl)), op)
        },
    )?;
    linker.func_wrap(ABI, "store_list", list)?;
    linker.func_wrap(ABI, "reply_len", |mut caller: Caller<'_, Host>| {
        charge(&mut caller)?;
        Ok(caller.data().reply.bytes.len() as u32)
    })?;
    linker.func_wrap(ABI, "reply_version", |mut caller: Caller<'_, Host>| {
        charge(&mut caller)?;
        Ok(caller.data().reply.version)
    })?;
    linker.func_wrap(ABI, "reply_take", reply_take)?;
    Ok(())
}

/// Asks the keyed store on behalf of the guest's master.
fn ask(
    caller: &mut Caller<'_, Host>,
    (key, key_len): (u32, u32),
    value: Option<(u32, u32)>,
    op: impl FnOnce(Key) -> StoreOp,
) -> Result<u32> {
    charge(caller)?;
    let memory = memory(caller)?;
    let (data, host) = memory.data_and_store_mut(&mut *caller);
    let key = key_text(slice(data, key, key_len)?).and_then(Key::new);
    let value = match value {
        Some((ptr, len)) => slice(data, ptr, len)?,
        None => &[],
    };
    let storable = host.lent.core.store.check_value(value.len() as u64);
    match key.and_then(|key| storable.map(|()| op(key))) {
        Ok(op) => {
            let value = copy(host, value)?;
            Ok(apply(host, op, value))
        }
        Err(cause) => Ok(failed(host, &cause)),
    }
}

/// A key or the beginning of one, as it stands in the guest's memory.
pub(super) fn key_text(bytes: &[u8]) -> Result<&str, Cause> {
    if bytes.len() > MAX_KEY {
        return Err(Cause::Limit { limit: Limit::Key, allowed: MAX_KEY as u64 });
    }
    let not_text = |_| Cause::GuestAbi { message: "a key is not UTF-8".into() };
    std::str::from_utf8(bytes).map_err(not_text)
}

/// A copy of a value.
pub(super) fn copy(host: &Host, value: &[u8]) -> Result<Bytes> {
    let mut copied = Vec::with_capacity(value.len());
    for piece in value.chunks(PIECE) {
        go_on(host)?;
        copied.extend_from_slice(piece);
    }
    Ok(copied.into())
}

fn list(
    mut caller: Caller<'_, Host>,
    prefix: u32,
    prefix_len: u32,
    after: u32,
    after_len: u32,
    limit: u32,
) -> Result<u32> {
    charge(&mut caller)?;
    let memory = memory(&mut caller)?;
    let (data, host) = memory.data_and_store_mut(&mut caller);
    let (prefix, after) = (slice(data, prefix, prefix_len)?, slice(data, after, after_len)?);
    let op = || -> Result<StoreOp, Cause> {
        let (prefix, after) = (key_text(prefix)?.to_owned(), key_text(after)?);
        let after = (!after.is_empty()).then(|| Key::new(after)).transpose()?;
        Ok(StoreOp::List { prefix, after, limit })
    };
    match op() {
        Ok(op) => Ok(apply(host, op, Bytes::new())),
        Err(cause) => Ok(failed(host, &cause)),
    }
}

fn apply(host: &mut Host, op: StoreOp, value: Bytes) -> u32 {
    let store = &host.lent.core.store;
    match store.apply(&host.session.namespace, &host.session.principal, op, value) {
        Ok(answer) => {
            let bytes = match answer.entries.is_empty() && !answer.is_listing {
                true => answer.value,
                // A list of plain values always encodes.
                false => rmp_serde::to_vec(&answer.entries).unwrap_or_default().into(),
            };
            host.reply = Reply { bytes, version: answer.version };
            if answer.hit { HIT } else { MISS }
        }
        Err(cause) => failed(host, &cause),
    }
}

pub(super) fn failed(host: &mut Host, cause: &Cause) -> u32 {
    host.reply = Reply { bytes: cause.to_string().into(), version: 0 };
    FAILED
}

fn reply_take(mut caller: Caller<'_, Host>, ptr: u32) -> Result<()> {
    charge(&mut caller)?;
    let memory = memory(&mut caller)?;
    let (data, host) = memory.data_and_store_mut(&mut caller);
    let bytes = std::mem::take(&mut host.reply.bytes);
    let room = slice_mut(data, ptr, bytes.len() as u32)?;
    for (room, piece) in room.chunks_mut(PIECE).zip(bytes.chunks(PIECE)) {
        go_on(host)?;
        room.copy_from_slice(piece);
    }
    Ok(())
}
