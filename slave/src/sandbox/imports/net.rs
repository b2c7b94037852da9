//! Outgoing connections, to where the guest was granted them.
//!
//! Linked twice, as all that waits is (see `wait`). Names are resolved here, by the system, and
//! connected to as they resolve: whoever answers for the name decides where that leads. Invariant:
//! nothing is resolved, and nothing opened, that was not granted by that name.

use super::{ABI, PIECE, Result, charge, memory, slice, slice_mut};
use crate::grants::{self, Used, used};
use crate::sandbox::host::{Host, Reply};
use std::io::{self, ErrorKind};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpStream;
use wasmtime::{Caller, Linker, Memory};

/// How long resolving a name, and connecting to what it resolves to, may take together.
const CONNECT: Duration = Duration::from_secs(10);

/// Bytes of a destination's name: what DNS allows, a port, brackets.
const MOST_NAME: u32 = 264;

/// It failed, and the reply says why.
const FAILED: u32 = u32::MAX;

/// Error numbers of preview 1, which the reply's version has.
const OTHER: u64 = 29;
const ACCES: u64 = 2;
const BADF: u64 = 8;
const MFILE: u64 = 33;
const TIMEDOUT: u64 = 73;

/// Why a call fails: a number and a text for people.
struct Failure(u64, String);

/// What a call comes to: the guest is told of a failure, and ends with an error.
type Outcome<T> = Result<Result<T, Failure>>;

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        let number = match error.kind() {
            ErrorKind::ConnectionRefused => 14,
            ErrorKind::ConnectionReset => 15,
            ErrorKind::ConnectionAborted => 13,
            ErrorKind::HostUnreachable | ErrorKind::NetworkUnreachable => 23,
            ErrorKind::BrokenPipe => 64,
            ErrorKind::TimedOut => TIMEDOUT,
            _ => OTHER,
        };
        Self(number, error.to_string())
    }
}

/// Links it for guests that have nobody beside them: there is nothing to connect to.
pub(super) fn link(linker: &mut Linker<Host>) -> Result<()> {
    let nowhere = |caller: &mut Caller<'_, Host>| -> Result<u32> {
        charge(caller)?;
        let why = "connections are there only where a task runs on a slave".into();
        Ok(told(caller.data_mut(), Err(Failure(ACCES, why))))
    };
    linker.func_wrap(ABI, "connect", move |mut caller: Caller<'_, Host>, _: u32, _: u32| {
        nowhere(&mut caller)
    })?;
    for name in ["connection_read", "connection_write"] {
        linker.func_wrap(
            ABI,
            name,
            move |mut caller: Caller<'_, Host>, _: u32, _: u32, _: u32| nowhere(&mut caller),
        )?;
    }
    linker.func_wrap(ABI, "connection_end", |mut caller: Caller<'_, Host>, number: u32| {
        charge(&mut caller)?;
        let ended = find(&caller, number).and_then(|stream| {
            Ok(rustix::net::shutdown(&*stream, rustix::net::Shutdown::Write)
                .map(|()| 0)
                .map_err(io::Error::from)?)
        });
        Ok(told(caller.data_mut(), ended))
    })?;
    linker.func_wrap(ABI, "connection_close", |mut caller: Caller<'_, Host>, number: u32| {
        charge(&mut caller)?;
        if let Some(outside) = &mut caller.data_mut().outside {
            outside.connections.close(number);
        }
        Ok(())
    })?;
    Ok(())
}

/// Links what waits, for guests on fibers.
pub(super) fn link_waiting(linker: &mut Linker<Host>) -> Result<()> {
    linker.func_wrap_async(
        ABI,
        "connect",
        |mut caller: Caller<'_, Host>, (at, len): (u32, u32)| {
            Box::new(async move {
                charge(&mut caller)?;
                let name = name(&mut caller, at, len)?;
                let outcome = connect(&mut caller, &name).await;
                Ok::<u32, wasmtime::Error>(told(caller.data_mut(), outcome))
            })
        },
    )?;
    linker.func_wrap_async(
        ABI,
        "connection_read",
        |mut caller: Caller<'_, Host>, (number, at, len): (u32, u32, u32)| {
            Box::new(async move {
                charge(&mut caller)?;
                let outcome = read(&mut caller, number, at, len).await?;
                Ok::<u32, wasmtime::Error>(told(caller.data_mut(), outcome))
            })
        },
    )?;
    linker.func_wrap_async(
        ABI,
        "connection_write",
        |mut caller: Caller<'_, Host>, (number, at, len): (u32, u32, u32)| {
            Box::new(async move {
                charge(&mut caller)?;
                let outcome = write(&mut caller, number, at, len).await?;
                Ok::<u32, wasmtime::Error>(told(caller.data_mut(), outcome))
            })
        },
    )?;
    Ok(())
}

/// Where the guest wants to connect to; what is too long to be a name is cut, and granted to
/// nobody.
fn name(caller: &mut Caller<'_, Host>, at: u32, len: u32) -> Result<String> {
    let memory = memory(caller)?;
    let bytes = slice(memory.data(caller), at, len)?;
    let bytes = &bytes[..bytes.len().min(MOST_NAME as usize)];
    Ok(String::from_utf8_lossy(bytes).into_owned())
}

async fn connect(caller: &mut Caller<'_, Host>, name: &str) -> Result<u32, Failure> {
    let state = caller.data_mut();
    let destination = grants::destination(name);
    let granted = state.outside.as_mut().zip(destination).filter(|(outside, (host, port))| {
        // Nothing is resolved before.
        outside.grant.may_connect(host, *port)
    });
    let Some((outside, (host, port))) = granted else {
        let why = format!("connecting to {} is not granted", name.escape_default());
        let module = state.outside.as_ref().and_then(|outside| outside.grant.module);
        state.lent.core.tell_refusal("grant", &state.session, module, &why);
        return Err(Failure(ACCES, why));
    };
    if outside.is_first_connection(name) {
        let (core, session) = (&state.lent.core, &state.session);
        used(core, session, state.attempt, &outside.grant, Used::Connection(name));
    }
    let number = outside.connections.take_place().map_err(|why| Failure(MFILE, why))?;
    let connected = match tokio::time::timeout(CONNECT, TcpStream::connect((&*host, port))).await {
        Ok(connected) => connected.map_err(Failure::from),
        Err(_) => Err(Failure(TIMEDOUT, format!("{name} does not answer within {CONNECT:?}"))),
    };
    // The number is below the most that there may be.
    let told = number as u32;
    if let Some(outside) = &mut caller.data_mut().outside {
        match connected {
            Ok(stream) => outside.connections.put(number, stream),
            Err(failure) => {
                outside.connections.close(told);
                return Err(failure);
            }
        }
    }
    Ok(told)
}

/// The guest's memory, which has to have these bytes; a connection of its; and how much of them is
/// read or written at once.
fn found(
    caller: &mut Caller<'_, Host>,
    number: u32,
    at: u32,
    len: u32,
) -> Outcome<(Memory, Arc<TcpStream>, u32)> {
    let memory = memory(caller)?;
    slice(memory.data(&caller), at, len)?;
    Ok(find(caller, number).map(|stream| (memory, stream, len.min(PIECE as u32))))
}

async fn read(caller: &mut Caller<'_, Host>, number: u32, at: u32, len: u32) -> Outcome<u32> {
    let (memory, stream, len) = match found(caller, number, at, len)? {
        Ok(found) => found,
        Err(failure) => return Ok(Err(failure)),
    };
    loop {
        // What is read at once is read into the guest's memory, which does not move meanwhile.
        let room = slice_mut(memory.data_mut(&mut *caller), at, len)?;
        match stream.try_read(room) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            // It is no longer than the room.
            outcome => return Ok(outcome.map(|n| n as u32).map_err(Failure::from)),
        }
        if let Err(error) = stream.readable().await {
            return Ok(Err(error.into()));
        }
    }
}

async fn write(caller: &mut Caller<'_, Host>, number: u32, at: u32, len: u32) -> Outcome<u32> {
    let (memory, stream, len) = match found(caller, number, at, len)? {
        Ok(found) => found,
        Err(failure) => return Ok(Err(failure)),
    };
    loop {
        match stream.try_write(slice(memory.data(&caller), at, len)?) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            outcome => return Ok(outcome.map(|n| n as u32).map_err(Failure::from)),
        }
        if let Err(error) = stream.writable().await {
            return Ok(Err(error.into()));
        }
    }
}

fn find(caller: &Caller<'_, Host>, number: u32) -> Result<Arc<TcpStream>, Failure> {
    let found = caller.data().outside.as_ref().and_then(|it| it.connections.find(number));
    found.ok_or_else(|| Failure(BADF, format!("there is no connection {number}")))
}

/// What came of a call, for the guest.
fn told(host: &mut Host, outcome: Result<u32, Failure>) -> u32 {
    match outcome {
        Ok(number) => number,
        Err(Failure(version, why)) => {
            host.reply = Reply { bytes: why.into(), version };
            FAILED
        }
    }
}
