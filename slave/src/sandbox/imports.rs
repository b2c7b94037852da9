//! What a guest may import: the guest ABI and WASI preview 1, nothing else.
//!
//! Invariant: every pointer and length that a guest passes is checked against its memory
//! before anything is allocated for it, and lengths against their limits. No function works
//! for longer than a piece of [`PIECE`] bytes takes before it looks whether the guest has to
//! stop: no epoch reaches it here. Every function charges the guest for the call first.

use super::host::Host;
use super::wasi;
use crate::module::facts::{Facts, Kind};
use crate::scarce;
use dpfw_protocol::error::{Cause, Location};
use dpfw_protocol::limits::MAX_TEXT;
use std::sync::OnceLock;
use wasmtime::{Caller, Engine, Extern, Linker, Memory};
use wasmtime_wasi::p1::add_to_linker_async;

mod net;
mod store;
mod wait;
mod watch;

/// The module name of the ABI's imports; a later version has another one.
pub(crate) const ABI: &str = "dpfw_1";

/// The module name of WASI preview 1.
pub(crate) const WASI: &str = "wasi_snapshot_preview1";

/// What the ABI offers.
pub(crate) const ABI_NAMES: [&str; 34] = [
    "log",
    "progress",
    "panic",
    "store_get",
    "store_put",
    "store_put_if_absent",
    "store_compare_and_swap",
    "store_update",
    "store_remove",
    "store_list",
    "store_put_on",
    "store_get_range",
    "store_pin",
    "store_write_begin",
    "store_write_append",
    "store_write_end",
    "store_write_drop",
    "store_claim",
    "store_settle",
    "store_settle_on",
    "store_forgo",
    "store_wait",
    "store_sync",
    "store_watch",
    "store_watch_next",
    "store_watch_end",
    "connect",
    "connection_read",
    "connection_write",
    "connection_end",
    "connection_close",
    "reply_len",
    "reply_take",
    "reply_version",
];

/// Those of the ABI that can wait. A module that imports one has its tasks run on fibers.
pub(crate) const WAITING_NAMES: [&str; 7] = [
    "store_claim",
    "store_wait",
    "store_sync",
    "store_watch_next",
    "connect",
    "connection_read",
    "connection_write",
];

/// Whether it is what a guest connects by: that is there only where connections are granted.
pub(crate) fn is_connecting(module: &str, name: &str) -> bool {
    module == ABI && name == "connect"
}

/// Refuses modules that import what nobody grants.
///
/// # Errors
/// [`Cause::Rejected`] with the first such import's name.
pub(crate) fn check(facts: &Facts) -> Result<(), Cause> {
    for (module, name) in &facts.imports {
        if !is_granted(facts.kind, module, name) {
            return Err(match facts.kind {
                Kind::Plain => Cause::Rejected {
                    reason: format!("it imports `{module}.{name}`; plain modules import nothing"),
                },
                _ => not_granted(module, name),
            });
        }
    }
    Ok(())
}

/// The refusal of an import.
pub(crate) fn not_granted(module: &str, name: &str) -> Cause {
    Cause::Rejected { reason: format!("it imports `{module}.{name}`, which is not granted") }
}

/// Whether a module of this kind may import that.
pub(crate) fn is_granted(kind: Kind, module: &str, name: &str) -> bool {
    match (kind, module) {
        (Kind::Plain, _) | (Kind::Program, ABI) => false,
        (_, ABI) => ABI_NAMES.contains(&name),
        (_, WASI) => wasi::NAMES.contains(&name),
        _ => false,
    }
}

/// The guest may not go on, and this is why; unwinds to the host.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct Ends(pub(super) Cause);

/// A guest passed a pointer or a length that is outside its memory.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct Abi(pub(super) String);

type Result<T, E = wasmtime::Error> = std::result::Result<T, E>;

/// The guest's memory.
pub(super) fn memory(caller: &mut Caller<'_, Host>) -> Result<Memory> {
    match caller.get_export("memory") {
        Some(Extern::Memory(memory)) => Ok(memory),
        _ => Err(Abi("it exports no memory named `memory`".into()).into()),
    }
}

/// Every call of the host begins with this.
pub(super) fn charge(caller: &mut Caller<'_, Host>) -> Result<()> {
    caller.data_mut().charge()
}

/// A piece of memory.
pub(super) fn slice(data: &[u8], ptr: u32, len: u32) -> Result<&[u8]> {
    let end = u64::from(ptr) + u64::from(len);
    let range = ptr as usize..usize::try_from(end).unwrap_or(usize::MAX);
    data.get(range).ok_or_else(|| outside(ptr, len, data.len()))
}

/// A piece of memory, by its address and its length as they stand in memory.
pub(super) fn placed<'a>(data: &'a [u8], place: &[u8; 8]) -> Result<&'a [u8]> {
    let word = |at: usize| u32::from_le_bytes(std::array::from_fn(|i| place[at + i]));
    slice(data, word(0), word(4))
}

/// A piece of memory to write to.
pub(super) fn slice_mut(data: &mut [u8], ptr: u32, len: u32) -> Result<&mut [u8]> {
    let size = data.len();
    let end = u64::from(ptr) + u64::from(len);
    let range = ptr as usize..usize::try_from(end).unwrap_or(usize::MAX);
    data.get_mut(range).ok_or_else(|| outside(ptr, len, size))
}

fn outside(ptr: u32, len: u32, size: usize) -> wasmtime::Error {
    Abi(format!("{len} bytes at {ptr} are outside its memory of {size} bytes")).into()
}

/// Bytes that are worked on at once: some tens of microseconds.
pub(crate) const PIECE: usize = 64 << 10;

/// Ends the guest as an epoch would, if it has to stop.
pub(super) fn go_on(host: &Host) -> Result<()> {
    match host.lent.must_stop() {
        true => Err(wasmtime::Trap::Interrupt.into()),
        false => Ok(()),
    }
}

/// A text of the guest's, cut to what is sent.
fn text(data: &[u8], ptr: u32, len: u32) -> Result<String> {
    let bytes = slice(data, ptr, len)?;
    let bytes = &bytes[..bytes.len().min(MAX_TEXT)];
    Ok(String::from_utf8_lossy(bytes).into_owned())
}

/// Links everything that guests may import.
///
/// # Errors
/// What wasmtime says of a name that is defined twice.
pub(crate) fn link(linker: &mut Linker<Host>) -> Result<()> {
    linker.func_wrap(ABI, "log", log)?;
    linker.func_wrap(ABI, "panic", panic)?;
    linker.func_wrap(ABI, "progress", |mut caller: Caller<'_, Host>, done: u64, total: u64| {
        charge(&mut caller)?;
        caller.data_mut().progress(done, total);
        Ok(())
    })?;
    store::link(linker)?;
    wait::link(linker)?;
    watch::link(linker)?;
    net::link(linker)?;
    wasi::link(linker)
}

/// The same for guests on fibers, whose calls may wait without a slot.
///
/// # Errors
/// As [`link`].
pub(crate) fn link_waiting(linker: &mut Linker<Host>) -> Result<()> {
    link(linker)?;
    linker.allow_shadowing(true);
    wait::link_waiting(linker)?;
    watch::link_waiting(linker)?;
    net::link_waiting(linker)?;
    wasi::link_waiting(linker)?;
    linker.allow_shadowing(false);
    Ok(())
}

/// What guests of this engine may import that were granted directories: made when the first
/// comes.
///
/// # Errors
/// What wasmtime says of a name that is defined twice.
pub(crate) fn with_directories<'a>(
    made: &'a OnceLock<Linker<Host>>,
    engine: &Engine,
) -> Result<&'a Linker<Host>, Cause> {
    if let Some(linker) = made.get() {
        return Ok(linker);
    }
    let mut linker = Linker::new(engine);
    link_with_directories(&mut linker)
        .map_err(|error| scarce::cause("directories cannot be linked", &error))?;
    Ok(made.get_or_init(|| linker))
}

/// As [`link_waiting`], with the file calls of `wasmtime-wasi`.
fn link_with_directories(linker: &mut Linker<Host>) -> Result<()> {
    link_waiting(linker)?;
    linker.allow_shadowing(true);
    add_to_linker_async(linker, Host::file_call)?;
    // What is not about files is ours all the same.
    wasi::link_without_files(linker)?;
    wasi::link_waiting(linker)?;
    linker.allow_shadowing(false);
    Ok(())
}

fn log(
    mut caller: Caller<'_, Host>,
    level: u32,
    target: u32,
    target_len: u32,
    line: u32,
    line_len: u32,
) -> Result<()> {
    charge(&mut caller)?;
    let memory = memory(&mut caller)?;
    let (data, host) = memory.data_and_store_mut(&mut caller);
    let (target, line) = (text(data, target, target_len)?, text(data, line, line_len)?);
    host.log(level as u8, &target, &line);
    Ok(())
}

fn panic(
    mut caller: Caller<'_, Host>,
    message: u32,
    message_len: u32,
    file: u32,
    file_len: u32,
    line: u32,
    column: u32,
) -> Result<()> {
    charge(&mut caller)?;
    let memory = memory(&mut caller)?;
    let (data, host) = memory.data_and_store_mut(&mut caller);
    let (message, file) = (text(data, message, message_len)?, text(data, file, file_len)?);
    let location = (!file.is_empty()).then_some(Location { file, line, column });
    host.panicked(message, location);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_outside_memory_are_refused_before_anything_is_allocated() {
        let data = [0u8; 100];
        assert!(slice(&data, 90, 10).is_ok());
        for (ptr, len) in [(90, 11), (u32::MAX, u32::MAX), (0, u32::MAX), (101, 0)] {
            assert!(slice(&data, ptr, len).is_err(), "{len} at {ptr}");
        }
    }
}
