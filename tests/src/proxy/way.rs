//! One direction of a proxy's connections.
//!
//! Owns: the rules by which bytes are carried, and how many were. Invariants: a change of
//! the rules acts on what has not been carried yet; bytes stay in order.

use std::collections::VecDeque;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

/// What is read at once.
const PIECE: usize = 4096;

/// Pieces under way in each connection: what a delay can hold back.
const PIECES: usize = 64;

/// One direction of all connections of a proxy.
#[derive(Debug, Default)]
pub struct Way {
    rules: watch::Sender<Rules>,
    passed: AtomicU64,
    faults: Mutex<Faults>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Rules {
    mode: Mode,
    delay: Duration,
    /// Bytes a second.
    rate: Option<u64>,
    garbled: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Mode {
    #[default]
    Pass,
    /// Nothing is read: whoever writes has to wait.
    Hold,
    /// What is read is forgotten, and so is the end.
    Swallow,
    /// The receiver is told that nothing more comes; what comes is forgotten.
    End,
}

/// What happens at places of the way, counted in bytes from its beginning.
#[derive(Debug, Default)]
struct Faults {
    flips: VecDeque<(u64, u8)>,
    reset: Option<u64>,
}

impl Way {
    fn set(&self, change: impl FnOnce(&mut Rules)) {
        self.rules.send_modify(change);
    }

    /// Carries everything at once, as a good network.
    pub fn pass(&self) {
        self.set(|rules| *rules = Rules::default());
    }

    /// Carries nothing, and lets whoever writes wait.
    pub fn hold(&self) {
        self.set(|rules| rules.mode = Mode::Hold);
    }

    /// Carries nothing, and nobody is told: what is written is lost, and so is an end.
    pub fn swallow(&self) {
        self.set(|rules| rules.mode = Mode::Swallow);
    }

    /// Ends this way alone: the receiver reads to the end, the other way stays.
    pub fn end(&self) {
        self.set(|rules| rules.mode = Mode::End);
    }

    /// Carries each byte so much later.
    pub fn delay(&self, delay: Duration) {
        self.set(|rules| rules.delay = delay);
    }

    /// Carries so many bytes a second.
    pub fn throttle(&self, rate: u64) {
        self.set(|rules| rules.rate = Some(rate.max(1)));
    }

    /// Changes every byte from now on.
    pub fn garble(&self) {
        self.set(|rules| rules.garbled = true);
    }

    /// Changes the bits of `mask` in the byte that comes after so many others.
    pub fn flip(&self, after: u64, mask: u8) {
        let place = self.passed() + after;
        let mut faults = self.faults.lock().unwrap_or_else(PoisonError::into_inner);
        faults.flips.push_back((place, mask));
    }

    /// Resets the connection, both ways, when so many bytes more have been carried.
    pub fn reset_after(&self, bytes: u64) {
        let place = self.passed() + bytes;
        self.faults.lock().unwrap_or_else(PoisonError::into_inner).reset = Some(place);
    }

    /// Bytes that were carried, of all connections.
    pub fn passed(&self) -> u64 {
        self.passed.load(Ordering::SeqCst)
    }

    /// Carries what `from` gives to `to`, until the end.
    pub(super) async fn carry(&self, from: ReadHalf<'_>, to: WriteHalf<'_>) -> io::Result<()> {
        let (sender, receiver) = mpsc::channel(PIECES);
        tokio::try_join!(self.take(from, sender), self.give(to, receiver)).map(drop)
    }

    async fn take(
        &self,
        mut from: ReadHalf<'_>,
        sender: mpsc::Sender<(Instant, Vec<u8>)>,
    ) -> io::Result<()> {
        let mut rules = self.rules.subscribe();
        let mut free = Instant::now();
        let mut has_ended = false;
        loop {
            let now = *rules.borrow_and_update();
            let piece = match now.mode {
                Mode::Hold => {
                    changed(&mut rules).await;
                    continue;
                }
                Mode::End if !has_ended => Ok(Vec::new()),
                // A tenth of a second's worth, so that a slow way is an even one.
                _ => tokio::select! {
                    piece = read(&mut from, now.rate.map_or(PIECE as u64, |rate| rate / 10)) => piece,
                    () = changed(&mut rules) => continue,
                },
            };
            match now.mode {
                Mode::Swallow | Mode::End if has_ended || now.mode == Mode::Swallow => {
                    if piece.map_or(true, |piece| piece.is_empty()) {
                        // The end is as little known as what came before it.
                        changed(&mut rules).await;
                    }
                    continue;
                }
                _ => {}
            }
            let piece = piece?;
            if let Some(rate) = now.rate {
                let takes = Duration::from_secs_f64(piece.len() as f64 / rate as f64);
                free = free.max(Instant::now()) + takes;
                tokio::time::sleep_until(free).await;
            }
            has_ended = piece.is_empty();
            if sender.send((Instant::now() + now.delay, piece)).await.is_err() {
                return Ok(());
            }
            if has_ended && now.mode != Mode::End {
                return Ok(());
            }
        }
    }

    async fn give(
        &self,
        mut to: WriteHalf<'_>,
        mut receiver: mpsc::Receiver<(Instant, Vec<u8>)>,
    ) -> io::Result<()> {
        while let Some((due, mut piece)) = receiver.recv().await {
            tokio::time::sleep_until(due).await;
            if piece.is_empty() {
                to.shutdown().await?;
                continue;
            }
            let cut = self.spoil(&mut piece);
            to.write_all(&piece).await?;
            self.passed.fetch_add(piece.len() as u64, Ordering::SeqCst);
            if cut {
                return Err(io::ErrorKind::ConnectionReset.into());
            }
        }
        Ok(())
    }

    /// Does to a piece what is to happen at its place; whether the connection ends with it.
    fn spoil(&self, piece: &mut Vec<u8>) -> bool {
        let place = self.passed();
        if self.rules.borrow().garbled {
            piece.iter_mut().for_each(|byte| *byte = !*byte);
        }
        let mut faults = self.faults.lock().unwrap_or_else(PoisonError::into_inner);
        faults.flips.retain(|(at, mask)| {
            let byte = at.checked_sub(place).and_then(|at| piece.get_mut(at as usize));
            byte.is_none_or(|byte| {
                *byte ^= mask;
                false
            })
        });
        let here = |at: &mut u64| *at < place + piece.len() as u64;
        let Some(at) = faults.reset.take_if(here) else { return false };
        piece.truncate(at.saturating_sub(place) as usize);
        true
    }
}

async fn read(from: &mut ReadHalf<'_>, most: u64) -> io::Result<Vec<u8>> {
    let mut piece = vec![0; (most as usize).clamp(1, PIECE)];
    let n = from.read(&mut piece).await?;
    piece.truncate(n);
    Ok(piece)
}

/// Waits for a change of the rules; for ever if there will be none.
async fn changed(rules: &mut watch::Receiver<Rules>) {
    if rules.changed().await.is_err() {
        std::future::pending().await
    }
}
