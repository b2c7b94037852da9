//! Slaves to which things happen.
//!
//! Owns: one slave's process, and starting it again when it has ended. Invariant: in the end
//! it runs.

use super::SLOTS;
use super::random::Random;
use crate::process::Process;
use anyhow::{Result, ensure};
use rustix::process::Signal;
use serde::Serialize;
use std::path::PathBuf;
use std::time::Duration;
use tokio::sync::watch;

/// What was done to a slave.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Told {
    /// `SIGKILL`.
    pub killed: u32,
    /// `SIGTERM`, twice in a row among them.
    pub terminated: u32,
    /// `SIGSTOP` and `SIGCONT`.
    pub stopped: u32,
    /// Of these, for longer than silence is borne.
    pub lost: u32,
}

/// A slave's process and what was done to it.
#[derive(Debug)]
pub(super) struct Watched {
    pub(super) process: Process,
    pub(super) told: Told,
    program: PathBuf,
    name: String,
    address: String,
    /// Whether it may be ended.
    mortal: bool,
}

/// Longer than the silence after which a peer is lost.
const LONG: std::ops::Range<u64> = 5500..7000;

impl Watched {
    pub(super) fn new(
        process: Process,
        program: PathBuf,
        name: String,
        address: String,
        mortal: bool,
    ) -> Self {
        Self { process, told: Told::default(), program, name, address, mortal }
    }

    /// Sends signals at random until it is over, with such a mean pause; none without.
    pub(super) async fn tend(
        mut self,
        pauses: Option<(Duration, Random)>,
        mut over: watch::Receiver<()>,
    ) -> Result<Self> {
        let Some((mean, mut random)) = pauses else {
            // Its sender never sends; it goes.
            let _ = over.changed().await;
            return Ok(self);
        };
        loop {
            tokio::select! {
                _ = over.changed() => return Ok(self),
                () = tokio::time::sleep(random.pause(mean)) => {}
            }
            match random.within(0..10) {
                0..4 if self.mortal => self.kill().await?,
                4..7 if self.mortal => self.terminate(&mut random).await?,
                _ => self.stop(&mut random).await?,
            }
        }
    }

    async fn kill(&mut self) -> Result<()> {
        self.process.kill()?;
        self.told.killed += 1;
        self.start().await
    }

    /// Once in four times it is told twice.
    async fn terminate(&mut self, random: &mut Random) -> Result<()> {
        self.process.signal(Signal::TERM)?;
        self.told.terminated += 1;
        let twice = random.within(0..4) == 0;
        if twice {
            // It may have ended already.
            let _ = self.process.signal(Signal::TERM);
        }
        let status = self.process.end().await?;
        ensure!(status.success() || twice, "{} ended with {status}", self.name);
        self.start().await
    }

    /// For a moment, or for so long that it is taken for lost.
    async fn stop(&mut self, random: &mut Random) -> Result<()> {
        let long = random.within(0..4) == 0;
        let millis = if long { random.within(LONG) } else { random.within(0..500) };
        self.process.signal(Signal::STOP)?;
        tokio::time::sleep(Duration::from_millis(millis)).await;
        self.process.signal(Signal::CONT)?;
        self.told.stopped += 1;
        self.told.lost += u32::from(long);
        Ok(())
    }

    async fn start(&mut self) -> Result<()> {
        self.process = Process::dialling(&self.program, &self.name, SLOTS, &self.address).await?;
        Ok(())
    }
}
