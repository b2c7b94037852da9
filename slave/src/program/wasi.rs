//! What a program finds around it: WASI preview 1 as `wasmtime-wasi` has it, with the
//! attempt's ports for stdin and stdout, its journal for stderr, what it was granted, and nothing
//! else.
//!
//! Invariant: no network; no file but in the directories that were granted; no environment but
//! that, and what its caller gave. Nothing here blocks a thread that others need: what waits is
//! polled, and files are waited for on threads of their own.

use super::Ports;
use super::outlet::Outlet;
use super::run::Exit;
use crate::fiber::control::Control;
use crate::grants::{self, Grant, Seeded};
use crate::limits::Granted;
use crate::sandbox::files::BESIDES;
use crate::sandbox::host::Calls;
use crate::sandbox::imports::PIECE;
use crate::sandbox::journal::{Journal, Output};
use crate::sandbox::limiter::Limiter;
use dpfw_link::inlet::{Inlet, Taken};
use dpfw_protocol::Bytes;
use dpfw_protocol::error::Cause;
use dpfw_protocol::program::Invocation;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use wasmtime::{Caller, Engine, Extern, Linker, Result, Trap};
use wasmtime_wasi::cli::{IsTerminal, StdinStream, StdoutStream};
use wasmtime_wasi::p1::{WasiP1Ctx, add_to_linker_async};
use wasmtime_wasi::p2::{InputStream, OutputStream, Pollable, StreamError, StreamResult};
use wasmtime_wasi::{WasiCtxBuilder, WasiView, async_trait};

/// The state of a program's sandbox.
pub(crate) struct State {
    pub(crate) limiter: Limiter,
    calls: Calls,
    control: Arc<Control>,
    /// In which it runs.
    engine: Engine,
    /// Its randomness, if that is fixed.
    seeded: Option<Seeded>,
    wasi: WasiP1Ctx,
    /// Given back with the sandbox.
    _lent: Option<grants::Files>,
}

/// Streams, and timers that a program waits for at once.
const MOST_RESOURCES: usize = 4096;

impl State {
    /// What a program is started with.
    pub(crate) fn new(
        invocation: &Invocation,
        ports: &Ports,
        control: &Arc<Control>,
        engine: &Engine,
        granted: &Granted,
        grant: Option<&Grant>,
    ) -> Self {
        let stdout = Stdout(Arc::clone(&ports.output), Arc::clone(control));
        let stderr = Stderr(Arc::clone(&ports.journal), Arc::clone(control));
        let mut builder = WasiCtxBuilder::new();
        if let Some(grant) = grant {
            let given = |name: &String| invocation.env.iter().any(|(given, _)| given == name);
            // What its caller says goes before what the operator does.
            grant.env.iter().filter(|(name, _)| !given(name)).for_each(|(name, value)| {
                builder.env(name, value);
            });
            if let Some(clock) = &grant.clock {
                let clock = clock.afresh();
                builder.wall_clock(clock.clone()).monotonic_clock(clock);
            }
        }
        let mut wasi = builder
            .args(&invocation.args)
            .envs(&invocation.env)
            .stdin(Stdin(Arc::clone(&ports.input)))
            .stdout(stdout)
            .stderr(stderr)
            .build_p1();
        let view = WasiView::ctx(&mut wasi);
        view.table.set_max_capacity(MOST_RESOURCES);
        let mut lent = None;
        if let Some((grant, directories)) =
            grant.and_then(|it| Some((it, it.directories.as_ref()?)))
        {
            let files = lent.insert(grant.files.lend());
            view.table.set_max_capacity(BESIDES + files.most());
            *view.ctx.filesystem() = directories.clone();
        }
        Self {
            limiter: Limiter::new(granted.memory, granted.table),
            calls: Calls::of(granted.host_calls),
            control: Arc::clone(control),
            engine: engine.clone(),
            seeded: grant.and_then(|grant| grant.seed).map(Seeded::of),
            _lent: lent,
            wasi,
        }
    }

    /// What the program calls, charged for. No call can be refused from here: a program that
    /// has used up what it may is interrupted as soon as it goes on.
    fn called(&mut self) -> &mut WasiP1Ctx {
        if !self.calls.charge() {
            self.control.stop();
            self.engine.increment_epoch();
        }
        &mut self.wasi
    }

    /// The limit that the program ran into, if it ran into one.
    pub(super) fn refused(&self) -> Option<Cause> {
        self.calls.refused().or_else(|| self.limiter.refused())
    }
}

/// Links what programs may import.
///
/// # Errors
/// What wasmtime says of a name that is defined twice.
pub(crate) fn link(linker: &mut Linker<State>) -> Result<()> {
    add_to_linker_async(linker, State::called)?;
    // Its own knows no status above 125, which other systems do.
    linker.allow_shadowing(true);
    linker.func_wrap(super::WASI, "proc_exit", |status: u32| -> Result<()> {
        Err(Exit(status).into())
    })?;
    linker.func_wrap(super::WASI, "random_get", random_get)?;
    linker.allow_shadowing(false);
    Ok(())
}

/// Ours, so that it can be fixed, and stopped between two pieces.
fn random_get(mut caller: Caller<'_, State>, at: u32, len: u32) -> Result<u32> {
    const SUCCESS: u32 = 0;
    caller.data_mut().called();
    // As all calls of WASI take what points outside.
    let outside =
        || wasmtime::format_err!("{len} bytes of randomness at {at} are not in its memory");
    let memory = caller.get_export("memory").and_then(Extern::into_memory).ok_or_else(outside)?;
    let (data, state) = memory.data_and_store_mut(&mut caller);
    let bytes = data.get_mut(at as usize..).and_then(|all| all.get_mut(..len as usize));
    let bytes = bytes.ok_or_else(outside)?;
    for piece in bytes.chunks_mut(PIECE) {
        if state.control.must_stop() {
            return Err(Trap::Interrupt.into());
        }
        match &mut state.seeded {
            Some(seeded) => seeded.fill(piece),
            None => {
                getrandom::fill(piece).map_err(|e| wasmtime::format_err!("no randomness: {e}"))?
            }
        }
    }
    Ok(SUCCESS)
}

#[derive(Clone)]
struct Stdin(Arc<Inlet>);

impl IsTerminal for Stdin {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdinStream for Stdin {
    fn async_stream(&self) -> Box<dyn AsyncRead + Send + Sync> {
        Box::new(self.clone())
    }

    fn p2_stream(&self) -> Box<dyn InputStream> {
        Box::new(self.clone())
    }
}

impl AsyncRead for Stdin {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        ready!(self.0.poll_ready(cx));
        match self.0.take(buffer.remaining()) {
            Taken::Bytes(bytes) => buffer.put_slice(&bytes),
            Taken::Nothing | Taken::End => {}
            Taken::Broken(why) => return Poll::Ready(Err(io::Error::other(why))),
        }
        Poll::Ready(Ok(()))
    }
}

#[async_trait]
impl Pollable for Stdin {
    async fn ready(&mut self) {
        std::future::poll_fn(|cx| self.0.poll_ready(cx)).await;
    }
}

impl InputStream for Stdin {
    fn read(&mut self, size: usize) -> StreamResult<Bytes> {
        match self.0.take(size) {
            Taken::Bytes(bytes) => Ok(bytes),
            Taken::Nothing => Ok(Bytes::new()),
            Taken::End => Err(StreamError::Closed),
            Taken::Broken(why) => Err(StreamError::LastOperationFailed(wasmtime::Error::msg(why))),
        }
    }
}

#[derive(Clone)]
struct Stdout(Arc<Outlet>, Arc<Control>);

impl IsTerminal for Stdout {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for Stdout {
    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        Box::new(self.clone())
    }

    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(self.clone())
    }
}

impl AsyncWrite for Stdout {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        ready!(self.0.poll_room(cx));
        let n = self.0.room().unwrap_or(0).min(bytes.len());
        match self.0.write(&bytes[..n]) {
            true => Poll::Ready(Ok(n)),
            false => Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

#[async_trait]
impl Pollable for Stdout {
    async fn ready(&mut self) {
        std::future::poll_fn(|cx| self.0.poll_room(cx)).await;
    }
}

impl OutputStream for Stdout {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        go_on(&self.1)?;
        self.0.write(&bytes).then_some(()).ok_or_else(nobody_reads)
    }

    /// What waits is written when the program does, when there is enough of it, and at each
    /// tick of the pacer: not for each line.
    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        self.0.room().ok_or_else(nobody_reads)
    }
}

/// Ends the guest as an epoch would, if it has to stop: a long write comes here for each 4 KiB,
/// and no epoch reaches it between them.
fn go_on(control: &Control) -> StreamResult<()> {
    match control.must_stop() {
        true => Err(StreamError::Trap(wasmtime::Trap::Interrupt.into())),
        false => Ok(()),
    }
}

/// `EPIPE` for the program: `wasmtime-wasi` goes by the system's number.
fn nobody_reads() -> StreamError {
    StreamError::LastOperationFailed(io::Error::from(rustix::io::Errno::PIPE).into())
}

#[derive(Clone)]
struct Stderr(Arc<Mutex<Journal>>, Arc<Control>);

impl Stderr {
    fn write(&self, bytes: &[u8]) {
        let mut journal = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        journal.write(Output::Stderr, bytes);
    }
}

/// What may be written to stderr at once.
const STDERR: usize = 64 << 10;

impl IsTerminal for Stderr {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for Stderr {
    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        Box::new(self.clone())
    }

    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(self.clone())
    }
}

impl AsyncWrite for Stderr {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.write(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

#[async_trait]
impl Pollable for Stderr {
    async fn ready(&mut self) {}
}

impl OutputStream for Stderr {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        go_on(&self.1)?;
        Stderr::write(self, &bytes);
        Ok(())
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(STDERR)
    }
}
