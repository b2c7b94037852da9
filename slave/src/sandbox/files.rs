//! The directories that a task's sandbox was granted: WASI's file calls as `wasmtime-wasi` has
//! them.
//!
//! Only modules that were granted directories are linked to it. Their calls wait for the file
//! system on other threads, and so without a slot: what a file system is slow with, or a pipe that
//! nobody writes to, holds up nobody else, and the deadline holds. Owns: what a guest writes to
//! stdout and stderr by these calls, until its journal has it. Invariant: nothing is found but
//! what is in the directories; a call is charged for like any other.

use super::host::Host;
use super::journal::Output;
use crate::fiber::control::Control;
use crate::grants::{self, Used, used};
use dpfw_protocol::Bytes;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::task::{Context, Poll};
use tokio::io::AsyncWrite;
use wasmtime::Engine;
use wasmtime_wasi::cli::{IsTerminal, StdoutStream};
use wasmtime_wasi::filesystem::WasiFilesystemCtx;
use wasmtime_wasi::p1::WasiP1Ctx;
use wasmtime_wasi::p2::{OutputStream, Pollable, StreamError, StreamResult};
use wasmtime_wasi::{WasiCtxBuilder, WasiView, async_trait};

/// See the module's page.
pub(super) struct Files {
    wasi: WasiP1Ctx,
    lines: Lines,
    /// In which the guest runs.
    engine: Option<Engine>,
    /// Given back with the sandbox.
    _lent: Option<grants::Files>,
}

/// Streams and directories that a sandbox has beside the files that it may open.
pub(crate) const BESIDES: usize = 16;

impl Files {
    /// What a guest has of its directories, in this engine, with so many files.
    pub(super) fn new(
        directories: &WasiFilesystemCtx,
        engine: &Engine,
        lent: grants::Files,
    ) -> Self {
        let mut files = Self::of(directories.clone());
        WasiView::ctx(&mut files.wasi).table.set_max_capacity(BESIDES + lent.most());
        Self { engine: Some(engine.clone()), _lent: Some(lent), ..files }
    }

    fn of(directories: WasiFilesystemCtx) -> Self {
        let lines = Lines::default();
        let mut wasi = WasiCtxBuilder::new()
            .stdout(Stream(lines.clone(), Output::Stdout))
            .stderr(Stream(lines.clone(), Output::Stderr))
            .build_p1();
        let view = WasiView::ctx(&mut wasi);
        view.table.set_max_capacity(BESIDES);
        *view.ctx.filesystem() = directories;
        Self { wasi, lines, engine: None, _lent: None }
    }
}

impl std::fmt::Debug for Files {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Files")
    }
}

impl Host {
    /// What the guest calls, charged for. No call can be refused from here: one that has used up
    /// what it may is interrupted as soon as it goes on.
    pub(super) fn file_call(&mut self) -> &mut WasiP1Ctx {
        let may = self.charge().is_ok();
        self.take_lines();
        if let Some(outside) = &mut self.outside
            && outside.is_first_directory()
        {
            let (core, session) = (&self.lent.core, &self.session);
            used(core, session, self.attempt, &outside.grant, Used::Directories);
        }
        let control = self.lent.control().cloned();
        // Only who has directories is linked to this; another would find none.
        let files = self.files.get_or_insert_with(|| Box::new(Files::of(Default::default())));
        if let (false, Some(control), Some(engine)) = (may, &control, &files.engine) {
            control.stop();
            engine.increment_epoch();
        }
        // Who writes without end looks there whether it has to stop.
        files.lines.0.control.get_or_init(|| control);
        &mut files.wasi
    }

    /// What was written by file calls goes into the journal.
    pub(super) fn take_lines(&mut self) {
        let Some(files) = &self.files else { return };
        for (output, bytes) in files.lines.take() {
            self.journal.write(output, &bytes);
        }
    }
}

/// What was written, in its order.
#[derive(Clone, Default)]
struct Lines(Arc<Written>);

#[derive(Default)]
struct Written {
    all: Mutex<Vec<(Output, Bytes)>>,
    control: OnceLock<Option<Arc<Control>>>,
}

impl Lines {
    fn take(&self) -> Vec<(Output, Bytes)> {
        std::mem::take(&mut *self.0.all.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// What is beyond what is kept until the next call is not, as lines are not beyond their limit.
    fn write(&self, output: Output, bytes: Bytes) {
        let mut all = self.0.all.lock().unwrap_or_else(PoisonError::into_inner);
        if all.len() < MOST_PIECES {
            all.push((output, bytes));
        }
    }

    /// Ends the guest as an epoch would, if it has to stop: a long write comes here for each
    /// 4 KiB.
    fn go_on(&self) -> StreamResult<()> {
        let control = self.0.control.get().and_then(Option::as_ref);
        match control.is_some_and(|control| control.must_stop()) {
            true => Err(StreamError::Trap(wasmtime::Trap::Interrupt.into())),
            false => Ok(()),
        }
    }
}

/// Pieces of 4 KiB that one call may write: more than a task may log unless told otherwise.
const MOST_PIECES: usize = 1024;

#[derive(Clone)]
struct Stream(Lines, Output);

impl IsTerminal for Stream {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for Stream {
    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        Box::new(self.clone())
    }

    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(self.clone())
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.0.write(self.1, Bytes::copy_from_slice(bytes));
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
impl Pollable for Stream {
    async fn ready(&mut self) {}
}

impl OutputStream for Stream {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        self.0.go_on()?;
        self.0.write(self.1, bytes);
        Ok(())
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(PIECE)
    }
}

/// What may be written at once.
const PIECE: usize = 64 << 10;
