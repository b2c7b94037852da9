//! What a guest may ask of the keyed store.
//!
//! Owns: the calls and the answers that wait to be taken. Does not: know what an operation
//! means. Invariant: what a guest passes is held against its limits before it is copied.

use super::{ABI, PIECE, Result, charge, go_on, memory, slice, slice_mut};
use crate::sandbox::host::{Host, Reply};
use crate::store::Answer;
use dpfw_protocol::Bytes;
use dpfw_protocol::error::{Cause, Limit};
use dpfw_protocol::limits::MAX_KEY;
use dpfw_protocol::store::{FullKey, Key, StoreOp, Terms};
use wasmtime::{Caller, Linker};

/// The answers of the store's functions.
pub(super) const MISS: u32 = 0;
pub(super) const HIT: u32 = 1;
const FAILED: u32 = 2;

/// A value that stays, or one that is written whatever is there.
const NONE: i64 = -1;

type Guest<'a> = Caller<'a, Host>;

/// Links the functions of the keyed store.
pub(super) fn link(linker: &mut Linker<Host>) -> Result<()> {
    linker.func_wrap(ABI, "store_get", |mut caller: Guest<'_>, k: u32, kl: u32| {
        ask(&mut caller, (k, kl), None, |key| StoreOp::Get { key })
    })?;
    linker.func_wrap(
        ABI,
        "store_get_range",
        |mut caller: Guest<'_>, k: u32, kl: u32, offset: u64, len: u64| {
            // An answer's length is 32 bits wide.
            let len = len.min(u32::MAX.into());
            ask(&mut caller, (k, kl), None, |key| StoreOp::GetRange { key, offset, len })
        },
    )?;
    linker.func_wrap(ABI, "store_remove", |mut caller: Guest<'_>, k: u32, kl: u32| {
        ask(&mut caller, (k, kl), None, |key| StoreOp::Remove { key })
    })?;
    linker.func_wrap(ABI, "store_pin", |mut caller: Guest<'_>, k: u32, kl: u32, pinned: u32| {
        ask(&mut caller, (k, kl), None, |key| StoreOp::Pin { key, pinned: pinned != 0 })
    })?;
    linker.func_wrap(ABI, "store_list", list)?;
    link_puts(linker)?;
    linker.func_wrap(ABI, "store_write_begin", write_begin)?;
    linker.func_wrap(ABI, "store_write_append", write_append)?;
    linker.func_wrap(ABI, "store_write_end", write_end)?;
    linker.func_wrap(ABI, "store_write_drop", write_drop)?;
    linker.func_wrap(ABI, "reply_len", |mut caller: Guest<'_>| {
        charge(&mut caller)?;
        Ok(caller.data().reply.bytes.len() as u32)
    })?;
    linker.func_wrap(ABI, "reply_version", |mut caller: Guest<'_>| {
        charge(&mut caller)?;
        Ok(caller.data().reply.version)
    })?;
    linker.func_wrap(ABI, "reply_take", reply_take)?;
    Ok(())
}

fn link_puts(linker: &mut Linker<Host>) -> Result<()> {
    linker.func_wrap(
        ABI,
        "store_put",
        |mut caller: Guest<'_>, k: u32, kl: u32, v: u32, vl: u32| {
            put(&mut caller, (k, kl), (v, vl), |key| StoreOp::Put { key }, Terms::default())
        },
    )?;
    linker.func_wrap(
        ABI,
        "store_put_if_absent",
        |mut caller: Guest<'_>, k: u32, kl: u32, v: u32, vl: u32| {
            put(&mut caller, (k, kl), (v, vl), |key| StoreOp::PutIfAbsent { key }, Terms::default())
        },
    )?;
    linker.func_wrap(
        ABI,
        "store_compare_and_swap",
        |mut caller: Guest<'_>, k: u32, kl: u32, v: u32, vl: u32, expected: u64| {
            let op = |key| StoreOp::CompareAndSwap { key, expected };
            put(&mut caller, (k, kl), (v, vl), op, Terms::default())
        },
    )?;
    linker.func_wrap(
        ABI,
        "store_update",
        |mut caller: Guest<'_>, k: u32, kl: u32, v: u32, vl: u32, expected: u64| {
            let op = |key| StoreOp::Update { key, expected };
            put(&mut caller, (k, kl), (v, vl), op, Terms::default())
        },
    )?;
    linker.func_wrap(ABI, "store_put_on", put_on)?;
    Ok(())
}

#[expect(clippy::too_many_arguments, reason = "the ABI's: numbers are all that can be passed")]
fn put_on(
    mut caller: Guest<'_>,
    key: u32,
    key_len: u32,
    value: u32,
    value_len: u32,
    expected: i64,
    evictable: u32,
    ttl_ms: i64,
) -> Result<u32> {
    let op = |key| match expected {
        NONE => StoreOp::Put { key },
        expected => StoreOp::CompareAndSwap { key, expected: expected.cast_unsigned() },
    };
    put(&mut caller, (key, key_len), (value, value_len), op, terms(evictable, ttl_ms))
}

pub(super) fn terms(evictable: u32, ttl_ms: i64) -> Terms {
    let ttl_ms = (ttl_ms != NONE).then_some(ttl_ms.cast_unsigned());
    Terms { evictable: evictable != 0, ttl_ms, ..Terms::default() }
}

fn put(
    caller: &mut Guest<'_>,
    key: (u32, u32),
    value: (u32, u32),
    op: impl FnOnce(Key) -> StoreOp,
    terms: Terms,
) -> Result<u32> {
    ask(caller, key, Some((value, terms)), op)
}

/// Asks the keyed store on behalf of the guest's master.
fn ask(
    caller: &mut Guest<'_>,
    (key, key_len): (u32, u32),
    value: Option<((u32, u32), Terms)>,
    op: impl FnOnce(Key) -> StoreOp,
) -> Result<u32> {
    charge(caller)?;
    let memory = memory(caller)?;
    let (data, host) = memory.data_and_store_mut(&mut *caller);
    let key = key_text(slice(data, key, key_len)?).and_then(Key::new);
    let (value, terms) = match value {
        Some(((ptr, len), terms)) => (slice(data, ptr, len)?, terms),
        None => (&[][..], Terms::default()),
    };
    let storable = host.lent.core.store.check_value(value.len() as u64);
    match key.and_then(|key| storable.map(|()| op(key))) {
        Ok(op) => {
            let value = copy(host, value)?;
            apply(host, terms, op, value)
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
    mut caller: Guest<'_>,
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
        Ok(op) => apply(host, Terms::default(), op, Bytes::new()),
        Err(cause) => Ok(failed(host, &cause)),
    }
}

/// What an init makes may not depend on what is in the store.
pub(super) fn unseen_by_init() -> Cause {
    let message = "an init sees nothing of the store: an image follows from its arguments";
    Cause::GuestAbi { message: message.into() }
}

fn refused_to_init(host: &mut Host) -> Option<u32> {
    host.is_init.then(|| failed(host, &unseen_by_init()))
}

fn apply(host: &mut Host, terms: Terms, op: StoreOp, value: Bytes) -> Result<u32> {
    if let Some(refused) = refused_to_init(host) {
        return Ok(refused);
    }
    let (store, session) = (&host.lent.core.store, &host.session);
    let may_go_on = || go_on(host).is_ok();
    let answer =
        store.apply_on(terms, &session.namespace, &session.principal, op, value, &may_go_on);
    tell(host, answer)
}

/// Leaves an answer for the guest to take.
fn tell(host: &mut Host, answer: Result<Answer, Cause>) -> Result<u32> {
    if matches!(answer, Err(Cause::Cancelled)) {
        // It was to stop while room was made for it.
        go_on(host)?;
    }
    Ok(match answer {
        Ok(mut answer) => {
            // To guests an image is an entry like any other.
            answer.entries.iter_mut().for_each(|entry| entry.image = None);
            let bytes = match answer.entries.is_empty() && !answer.is_listing {
                true => answer.value,
                // A list of plain values always encodes.
                false => rmp_serde::to_vec(&answer.entries).unwrap_or_default().into(),
            };
            host.reply = Reply { bytes, version: answer.version };
            if answer.hit { HIT } else { MISS }
        }
        Err(cause) => failed(host, &cause),
    })
}

pub(super) fn failed(host: &mut Host, cause: &Cause) -> u32 {
    host.reply = Reply { bytes: cause.to_string().into(), version: 0 };
    FAILED
}

pub(super) fn done(host: &mut Host, outcome: Result<u64, Cause>) -> u32 {
    match outcome {
        Ok(version) => {
            host.reply = Reply { bytes: Bytes::new(), version };
            HIT
        }
        Err(cause) => failed(host, &cause),
    }
}

fn write_begin(
    mut caller: Guest<'_>,
    key: u32,
    key_len: u32,
    evictable: u32,
    ttl_ms: i64,
) -> Result<u32> {
    charge(&mut caller)?;
    let memory = memory(&mut caller)?;
    let (data, host) = memory.data_and_store_mut(&mut caller);
    if let Some(refused) = refused_to_init(host) {
        return Ok(refused);
    }
    let key = key_text(slice(data, key, key_len)?).and_then(Key::new);
    let namespace = host.session.namespace.clone();
    let begun = key.and_then(|key| {
        let key = FullKey { namespace, key };
        host.drafts.begin(&host.lent.core.store, key, terms(evictable, ttl_ms))
    });
    Ok(done(host, begun.map(u64::from)))
}

fn write_append(mut caller: Guest<'_>, number: u32, piece: u32, piece_len: u32) -> Result<u32> {
    charge(&mut caller)?;
    let memory = memory(&mut caller)?;
    let (data, host) = memory.data_and_store_mut(&mut caller);
    let piece = slice(data, piece, piece_len)?;
    let mut drafts = std::mem::take(&mut host.drafts);
    let may_go_on = || go_on(host).is_ok();
    let (store, writer) = (&host.lent.core.store, &host.session.principal);
    let reserved = drafts.reserve(store, writer, number, piece.len() as u64, &may_go_on);
    if reserved.is_ok() {
        for piece in piece.chunks(PIECE) {
            go_on(host)?;
            drafts.append(number, piece);
        }
    }
    host.drafts = drafts;
    tell(host, reserved.map(|()| Answer { hit: true, ..Answer::default() }))
}

fn write_end(mut caller: Guest<'_>, number: u32) -> Result<u32> {
    charge(&mut caller)?;
    let host = caller.data_mut();
    let mut drafts = std::mem::take(&mut host.drafts);
    let may_go_on = || go_on(host).is_ok();
    let (store, writer) = (&host.lent.core.store, &host.session.principal);
    let answer = drafts.finish(store, writer, number, &may_go_on);
    host.drafts = drafts;
    tell(host, answer)
}

fn write_drop(mut caller: Guest<'_>, number: u32) -> Result<u32> {
    charge(&mut caller)?;
    let host = caller.data_mut();
    let outcome = host.drafts.give_up(number);
    Ok(done(host, outcome.map(|()| 0)))
}

fn reply_take(mut caller: Guest<'_>, ptr: u32) -> Result<()> {
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
