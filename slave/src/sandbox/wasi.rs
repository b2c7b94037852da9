//! WASI preview 1 as task modules have it: time, randomness, lines of output, the environment that
//! was granted; no files, no network, no arguments. (Where directories are granted `files` has the
//! calls that are about them.)
//!
//! Not `wasmtime-wasi`, which programs use: its synchronous calls block the thread where no
//! epoch reaches, and start a runtime of their own. Here nothing waits but `poll_oneoff`,
//! which the pacer can end.

use super::host::Host;
use super::imports::{PIECE, WASI, charge, go_on, memory, placed, slice, slice_mut};
use super::journal::Output;
use crate::grants::{Used, used};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use wasmtime::{Caller, Linker};

type Result<T> = wasmtime::Result<T>;

/// The functions of preview 1. All are linked; most find nothing that was granted.
pub(super) const NAMES: [&str; 46] = [
    "args_get",
    "args_sizes_get",
    "clock_res_get",
    "clock_time_get",
    "environ_get",
    "environ_sizes_get",
    "fd_advise",
    "fd_allocate",
    "fd_close",
    "fd_datasync",
    "fd_fdstat_get",
    "fd_fdstat_set_flags",
    "fd_fdstat_set_rights",
    "fd_filestat_get",
    "fd_filestat_set_size",
    "fd_filestat_set_times",
    "fd_pread",
    "fd_prestat_dir_name",
    "fd_prestat_get",
    "fd_pwrite",
    "fd_read",
    "fd_readdir",
    "fd_renumber",
    "fd_seek",
    "fd_sync",
    "fd_tell",
    "fd_write",
    "path_create_directory",
    "path_filestat_get",
    "path_filestat_set_times",
    "path_link",
    "path_open",
    "path_readlink",
    "path_remove_directory",
    "path_rename",
    "path_symlink",
    "path_unlink_file",
    "poll_oneoff",
    "proc_exit",
    "proc_raise",
    "random_get",
    "sched_yield",
    "sock_accept",
    "sock_recv",
    "sock_send",
    "sock_shutdown",
];

/// Error numbers of preview 1.
const SUCCESS: u32 = 0;
const BADF: u32 = 8;
const INVAL: u32 = 28;
const NOSYS: u32 = 52;
const SPIPE: u32 = 70;

/// Ids of clocks.
const REALTIME: u32 = 0;
const MONOTONIC: u32 = 1;

/// File types.
const CHARACTER_DEVICE: u8 = 2;

/// Links all of preview 1.
pub(super) fn link(linker: &mut Linker<Host>) -> Result<()> {
    link_without_files(linker)?;
    link_output(linker)?;
    link_nothing(linker)
}

/// Links what is not about files, and does not wait.
pub(super) fn link_without_files(linker: &mut Linker<Host>) -> Result<()> {
    linker.func_wrap(WASI, "clock_time_get", clock_time_get)?;
    linker.func_wrap(
        WASI,
        "clock_res_get",
        |mut caller: Caller<'_, Host>, id: u32, out: u32| {
            charge(&mut caller)?;
            match id {
                REALTIME | MONOTONIC => put(&mut caller, out, &1u64.to_le_bytes()),
                _ => Ok(INVAL),
            }
        },
    )?;
    linker.func_wrap(WASI, "random_get", random_get)?;
    linker.func_wrap(
        WASI,
        "args_sizes_get",
        |mut caller: Caller<'_, Host>, count: u32, size: u32| {
            charge(&mut caller)?;
            put(&mut caller, count, &[0; 4])?;
            put(&mut caller, size, &[0; 4])
        },
    )?;
    linker.func_wrap(WASI, "args_get", |caller: Caller<'_, Host>, _: u32, _: u32| {
        says(caller, SUCCESS)
    })?;
    linker.func_wrap(WASI, "environ_sizes_get", environ_sizes_get)?;
    linker.func_wrap(WASI, "environ_get", environ_get)?;
    linker.func_wrap(WASI, "sched_yield", |caller: Caller<'_, Host>| says(caller, SUCCESS))?;
    linker.func_wrap(WASI, "proc_exit", proc_exit)?;
    linker.func_wrap(WASI, "proc_raise", |caller: Caller<'_, Host>, _: u32| says(caller, NOSYS))?;
    linker.func_wrap(WASI, "poll_oneoff", poll_oneoff)?;
    Ok(())
}

/// Answers with an error number, and does nothing.
fn says(mut caller: Caller<'_, Host>, errno: u32) -> Result<u32> {
    charge(&mut caller)?;
    Ok(errno)
}

/// Writes to the guest's memory.
fn put(caller: &mut Caller<'_, Host>, ptr: u32, bytes: &[u8]) -> Result<u32> {
    let memory = memory(caller)?;
    slice_mut(memory.data_mut(caller), ptr, bytes.len() as u32)?.copy_from_slice(bytes);
    Ok(SUCCESS)
}

/// The environment as it was granted: `NAME=VALUE` and a zero, each. Of most it is empty.
fn environment(host: &Host) -> impl Iterator<Item = String> {
    let granted = host.outside.as_ref().map(|outside| &outside.grant.env);
    granted.into_iter().flatten().map(|(name, value)| format!("{name}={value}\0"))
}

fn environ_sizes_get(mut caller: Caller<'_, Host>, count: u32, size: u32) -> Result<u32> {
    charge(&mut caller)?;
    let all = environment(caller.data());
    let (n, bytes) = all.fold((0u32, 0u32), |(n, bytes), one| (n + 1, bytes + one.len() as u32));
    put(&mut caller, count, &n.to_le_bytes())?;
    put(&mut caller, size, &bytes.to_le_bytes())
}

fn environ_get(mut caller: Caller<'_, Host>, pointers: u32, texts: u32) -> Result<u32> {
    charge(&mut caller)?;
    let all: Vec<_> = environment(caller.data()).collect();
    if all.is_empty() {
        return Ok(SUCCESS);
    }
    let host = caller.data_mut();
    if let Some(outside) = &mut host.outside
        && outside.is_first_environment()
    {
        let (core, session) = (&host.lent.core, &host.session);
        used(core, session, host.attempt, &outside.grant, Used::Environment);
    }
    let mut addresses = Vec::with_capacity(4 * all.len());
    let mut at = texts;
    for one in &all {
        addresses.extend_from_slice(&at.to_le_bytes());
        at = at.saturating_add(one.len() as u32);
    }
    put(&mut caller, pointers, &addresses)?;
    put(&mut caller, texts, all.concat().as_bytes())
}

fn random_get(mut caller: Caller<'_, Host>, ptr: u32, len: u32) -> Result<u32> {
    charge(&mut caller)?;
    let memory = memory(&mut caller)?;
    let (data, host) = memory.data_and_store_mut(&mut caller);
    for piece in slice_mut(data, ptr, len)?.chunks_mut(PIECE) {
        go_on(host)?;
        match host.outside.as_mut().and_then(|outside| outside.seeded()) {
            Some(seeded) => seeded.fill(piece),
            None => {
                getrandom::fill(piece).map_err(|e| wasmtime::format_err!("no randomness: {e}"))?;
            }
        }
    }
    Ok(SUCCESS)
}

/// Nanoseconds of a clock; the monotonic one counts from the slave's start.
fn clock(host: &Host, id: u32) -> Option<u64> {
    if let Some(fixed) = host.outside.as_ref().and_then(|outside| outside.clock()) {
        return match id {
            REALTIME => Some(u64::try_from(fixed.wall().as_nanos()).unwrap_or(u64::MAX)),
            MONOTONIC => Some(fixed.monotonic()),
            _ => None,
        };
    }
    let since = match id {
        REALTIME => SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default(),
        MONOTONIC => Instant::now().saturating_duration_since(host.lent.core.started),
        _ => return None,
    };
    Some(u64::try_from(since.as_nanos()).unwrap_or(u64::MAX))
}

fn clock_time_get(mut caller: Caller<'_, Host>, id: u32, _: u64, out: u32) -> Result<u32> {
    charge(&mut caller)?;
    match clock(caller.data(), id) {
        Some(now) => put(&mut caller, out, &now.to_le_bytes()),
        None => Ok(INVAL),
    }
}

/// The guest ended itself; unwinds to the host.
#[derive(Debug, thiserror::Error)]
#[error("exit")]
struct Exit;

fn proc_exit(mut caller: Caller<'_, Host>, code: u32) -> Result<()> {
    charge(&mut caller)?;
    caller.data_mut().exited(code);
    Err(Exit.into())
}

/// Bytes of a subscription and of an event.
const SUBSCRIPTION: u32 = 48;
const EVENT: usize = 32;

/// Sleeps until the first of the clocks that are subscribed to. Other events never come,
/// and are reported as such at once.
fn poll_oneoff(
    mut caller: Caller<'_, Host>,
    subscriptions: u32,
    events: u32,
    count: u32,
    written: u32,
) -> Result<u32> {
    let Some(first) = first(&mut caller, subscriptions, count)? else {
        return Ok(INVAL);
    };
    // Where a guest waits without a slot another function of this name is linked.
    if let Some(watch) = caller.data().lent.watch() {
        watch.sleep(first.wait);
    }
    // One that was woken to stop has not slept: it must not go on as if it had.
    go_on(caller.data())?;
    happened(&mut caller, &first, events, written)
}

/// What comes first of what is subscribed to, and when.
struct First {
    wait: Duration,
    /// What the guest knows it by.
    user: u64,
}

/// The first of the subscriptions; `None` if their number cannot be.
fn first(caller: &mut Caller<'_, Host>, subscriptions: u32, count: u32) -> Result<Option<First>> {
    charge(caller)?;
    if count == 0 || count > 64 {
        return Ok(None);
    }
    let memory = memory(caller)?;
    let (data, host) = memory.data_and_store_mut(caller);
    let all = slice(data, subscriptions, count * SUBSCRIPTION)?;
    let mut first: Option<(Duration, u64)> = None;
    for one in all.as_chunks::<{ SUBSCRIPTION as usize }>().0 {
        let word = |at: usize| u64::from_le_bytes(std::array::from_fn(|i| one[at + i]));
        let user = word(0);
        let wait = match one[8] {
            0 => {
                let (id, timeout, absolute) = (word(16) as u32, word(24), one[40] & 1 == 1);
                let base = if absolute { clock(host, id).unwrap_or(0) } else { 0 };
                Duration::from_nanos(timeout.saturating_sub(base))
            }
            _ => Duration::ZERO,
        };
        if first.is_none_or(|(least, _)| wait < least) {
            first = Some((wait, user));
        }
    }
    let (wait, user) = first.unwrap_or_default();
    Ok(Some(First { wait, user }))
}

/// Tells the guest what it was woken for.
fn happened(
    caller: &mut Caller<'_, Host>,
    first: &First,
    events: u32,
    written: u32,
) -> Result<u32> {
    let mut event = [0; EVENT];
    event[..8].copy_from_slice(&first.user.to_le_bytes());
    put(caller, events, &event)?;
    put(caller, written, &1u32.to_le_bytes())
}

/// Links what waits, for guests on fibers: one that sleeps holds no slot.
pub(super) fn link_waiting(linker: &mut Linker<Host>) -> Result<()> {
    linker.func_wrap_async(
        WASI,
        "poll_oneoff",
        |mut caller: Caller<'_, Host>, (subs, events, count, written): (u32, u32, u32, u32)| {
            Box::new(async move {
                let Some(first) = first(&mut caller, subs, count)? else {
                    return Ok(INVAL);
                };
                match caller.data().lent.control().cloned() {
                    Some(control) => control.sleep(first.wait).await,
                    None => tokio::time::sleep(first.wait).await,
                }
                happened(&mut caller, &first, events, written)
            })
        },
    )?;
    Ok(())
}

fn link_output(linker: &mut Linker<Host>) -> Result<()> {
    linker.func_wrap(WASI, "fd_write", fd_write)?;
    // Standard input is at its end from the beginning.
    linker.func_wrap(
        WASI,
        "fd_read",
        |mut caller: Caller<'_, Host>, fd: u32, _: u32, _: u32, read: u32| {
            charge(&mut caller)?;
            match fd {
                0 => put(&mut caller, read, &[0; 4]),
                _ => Ok(BADF),
            }
        },
    )?;
    linker.func_wrap(
        WASI,
        "fd_fdstat_get",
        |mut caller: Caller<'_, Host>, fd: u32, out: u32| {
            charge(&mut caller)?;
            let mut stat = [0u8; 24];
            stat[0] = CHARACTER_DEVICE;
            match fd {
                0..=2 => put(&mut caller, out, &stat),
                _ => Ok(BADF),
            }
        },
    )?;
    let standard = |fd: u32| if fd <= 2 { SUCCESS } else { BADF };
    linker.func_wrap(WASI, "fd_close", move |caller: Caller<'_, Host>, fd: u32| {
        says(caller, standard(fd))
    })?;
    linker.func_wrap(
        WASI,
        "fd_seek",
        |caller: Caller<'_, Host>, fd: u32, _: u64, _: u32, _: u32| {
            says(caller, if fd <= 2 { SPIPE } else { BADF })
        },
    )?;
    Ok(())
}

fn fd_write(
    mut caller: Caller<'_, Host>,
    fd: u32,
    pieces: u32,
    count: u32,
    written: u32,
) -> Result<u32> {
    charge(&mut caller)?;
    let output = match fd {
        1 => Output::Stdout,
        2 => Output::Stderr,
        _ => return Ok(BADF),
    };
    if count > 1024 {
        return Ok(INVAL);
    }
    let memory = memory(&mut caller)?;
    let (data, host) = memory.data_and_store_mut(&mut caller);
    let mut total = 0u32;
    for piece in slice(data, pieces, count * 8)?.as_chunks::<8>().0 {
        let bytes = placed(data, piece)?;
        for bytes in bytes.chunks(PIECE) {
            if !host.may_log() {
                host.drop_line();
                break;
            }
            go_on(host)?;
            host.write(output, bytes);
        }
        total = total.saturating_add(bytes.len() as u32);
    }
    put(&mut caller, written, &total.to_le_bytes())
}

/// Everything that needs a file or a socket: there are none.
fn link_nothing(linker: &mut Linker<Host>) -> Result<()> {
    macro_rules! nothing {
        ($($name:literal($($ty:ty),*);)*) => {
            $(linker.func_wrap(
                WASI,
                $name,
                |caller: Caller<'_, Host>, $(_: $ty),*| says(caller, BADF),
            )?;)*
        };
    }
    nothing! {
        "fd_advise"(u32, u64, u64, u32);
        "fd_allocate"(u32, u64, u64);
        "fd_datasync"(u32);
        "fd_fdstat_set_flags"(u32, u32);
        "fd_fdstat_set_rights"(u32, u64, u64);
        "fd_filestat_get"(u32, u32);
        "fd_filestat_set_size"(u32, u64);
        "fd_filestat_set_times"(u32, u64, u64, u32);
        "fd_pread"(u32, u32, u32, u64, u32);
        "fd_prestat_dir_name"(u32, u32, u32);
        "fd_prestat_get"(u32, u32);
        "fd_pwrite"(u32, u32, u32, u64, u32);
        "fd_readdir"(u32, u32, u32, u64, u32);
        "fd_renumber"(u32, u32);
        "fd_sync"(u32);
        "fd_tell"(u32, u32);
        "path_create_directory"(u32, u32, u32);
        "path_filestat_get"(u32, u32, u32, u32, u32);
        "path_filestat_set_times"(u32, u32, u32, u32, u64, u64, u32);
        "path_link"(u32, u32, u32, u32, u32, u32, u32);
        "path_open"(u32, u32, u32, u32, u32, u64, u64, u32, u32);
        "path_readlink"(u32, u32, u32, u32, u32, u32);
        "path_remove_directory"(u32, u32, u32);
        "path_rename"(u32, u32, u32, u32, u32, u32);
        "path_symlink"(u32, u32, u32, u32, u32);
        "path_unlink_file"(u32, u32, u32);
        "sock_accept"(u32, u32, u32);
        "sock_recv"(u32, u32, u32, u32, u32, u32);
        "sock_send"(u32, u32, u32, u32, u32);
        "sock_shutdown"(u32, u32);
    }
    Ok(())
}
